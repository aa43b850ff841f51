//! The type of a column of CSV, from all its values.
//!
//! A column has a type other than text only if every value in it is written as that type prints, so
//! that nothing of what stands in the file is lost: no leading zeros, no plus sign, no digit. A moment
//! may be written with a blank or a `T` before its time, in one way throughout.

use arrow::datatypes::{DataType, TimeUnit};
use chrono::{Datelike, NaiveDate, NaiveTime};

use super::numbers::{decimal_digits, is_whole, prints_as_double};

const BOOL: u8 = 1;
const WHOLE: u8 = 1 << 1;
const DOUBLE: u8 = 1 << 2;
const DECIMAL: u8 = 1 << 3;
const DATE: u8 = 1 << 4;
const MOMENT: u8 = 1 << 5;
const ALL: u8 = (1 << 6) - 1;

/// The digits of the widest decimal.
const DECIMAL_DIGITS: usize = 38;

/// What all values so far may be.
#[derive(Debug)]
pub(super) struct CsvCandidates {
    left: u8,
    is_new: bool,
    /// The digits before and after the point.
    decimal: (usize, usize),
    moment: Moment,
}

impl Default for CsvCandidates {
    fn default() -> Self {
        CsvCandidates {
            left: ALL,
            is_new: true,
            decimal: (0, 0),
            moment: Moment::default(),
        }
    }
}

/// How moments are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Moment {
    separator: u8,
    /// Whether it ends in `Z`.
    utc: bool,
    /// The most digits of a second's fraction.
    digits: usize,
    /// Whether a year lies out of what 64 bits of nanoseconds reach.
    far: bool,
}

impl CsvCandidates {
    /// Takes a value into account.
    pub(super) fn observe(&mut self, text: &str) {
        if self.left == 0 {
            return;
        }
        let left = self.left;
        let may_be = |kind: u8, holds: bool| if left & kind != 0 && holds { kind } else { 0 };
        let mut fits = may_be(BOOL, matches!(text, "true" | "false"));
        if text.starts_with(|c: char| c.is_ascii_digit() || c == '-') {
            fits |= may_be(WHOLE, left & WHOLE != 0 && is_whole(text));
            fits |= may_be(DOUBLE, left & DOUBLE != 0 && prints_as_double(text));
            fits |= may_be(DECIMAL, left & DECIMAL != 0 && self.observe_decimal(text));
            fits |= may_be(DATE, left & DATE != 0 && date(text).is_some());
            fits |= may_be(MOMENT, left & MOMENT != 0 && self.observe_moment(text));
        }
        self.left &= fits;
        self.is_new = false;
    }

    fn observe_decimal(&mut self, text: &str) -> bool {
        let Some((whole, fraction)) = decimal_digits(text) else {
            return false;
        };
        let is_like_others = self.is_new || self.decimal.1 == fraction;
        self.decimal = (self.decimal.0.max(whole), fraction);
        is_like_others && self.decimal.0 + fraction <= DECIMAL_DIGITS
    }

    fn observe_moment(&mut self, text: &str) -> bool {
        let Some(this) = moment(text) else {
            return false;
        };
        let so_far = if self.is_new { this } else { self.moment };
        self.moment = Moment {
            digits: so_far.digits.max(this.digits),
            far: so_far.far || this.far,
            ..so_far
        };
        let is_like_others = this.separator == so_far.separator && this.utc == so_far.utc;
        is_like_others && !(self.moment.far && self.moment.digits > 6)
    }

    /// Whether it can be text alone.
    pub(super) fn is_text(&self) -> bool {
        self.left == 0
    }

    /// The type. A column without a value is text.
    pub(super) fn data_type(&self) -> DataType {
        let is = |kind: u8| !self.is_new && self.left & kind != 0;
        if is(BOOL) {
            DataType::Boolean
        } else if is(WHOLE) {
            DataType::Int64
        } else if is(DOUBLE) {
            DataType::Float64
        } else if is(DECIMAL) {
            let (whole, fraction) = self.decimal;
            let digits = u8::try_from(whole + fraction).unwrap_or(u8::MAX);
            DataType::Decimal128(digits, i8::try_from(fraction).unwrap_or(i8::MAX))
        } else if is(DATE) {
            DataType::Date32
        } else if is(MOMENT) {
            let unit = match self.moment.digits {
                // Parquet has no seconds.
                0..=3 => TimeUnit::Millisecond,
                4..=6 => TimeUnit::Microsecond,
                _ => TimeUnit::Nanosecond,
            };
            DataType::Timestamp(unit, self.moment.utc.then(|| "UTC".into()))
        } else {
            DataType::Utf8
        }
    }
}

/// `2024-01-02`.
fn date(text: &str) -> Option<NaiveDate> {
    let bytes: &[u8; 10] = text.as_bytes().try_into().ok()?;
    let plain = bytes.iter().enumerate().all(|(at, byte)| match at {
        4 | 7 => *byte == b'-',
        _ => byte.is_ascii_digit(),
    });
    let part = |range: std::ops::Range<usize>| text[range].parse::<u32>().ok();
    if !plain {
        return None;
    }
    NaiveDate::from_ymd_opt(text[..4].parse().ok()?, part(5..7)?, part(8..10)?)
}

/// `2024-01-02 03:04:05`, with `T`, a fraction, and `Z`.
fn moment(text: &str) -> Option<Moment> {
    let (day, rest) = text.split_at_checked(10)?;
    let day = date(day)?;
    let separator = *rest.as_bytes().first()?;
    let time = rest.get(1..).filter(|_| matches!(separator, b' ' | b'T'))?;
    let (time, utc) = match time.strip_suffix('Z') {
        Some(time) => (time, true),
        None => (time, false),
    };
    let (clock, fraction) = match time.split_once('.') {
        Some((clock, fraction)) => (clock, Some(fraction)),
        None => (time, None),
    };
    let shape = clock.bytes().enumerate().all(|(at, byte)| match at {
        2 | 5 => byte == b':',
        _ => byte.is_ascii_digit(),
    });
    let part = |range: std::ops::Range<usize>| clock.get(range)?.parse().ok();
    if clock.len() != 8 || !shape {
        return None;
    }
    NaiveTime::from_hms_opt(part(0..2)?, part(3..5)?, part(6..8)?)?;
    let digits = match fraction {
        None => 0,
        Some(digits) if (1..=9).contains(&digits.len()) => digits
            .bytes()
            .all(|b| b.is_ascii_digit())
            .then_some(digits.len())?,
        Some(_) => return None,
    };
    Some(Moment {
        separator,
        utc,
        digits,
        far: !(1700..=2200).contains(&day.year()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(values: &[&str], wanted: &DataType) {
        let mut candidates = CsvCandidates::default();
        for value in values {
            candidates.observe(value);
        }
        assert_eq!(&candidates.data_type(), wanted, "{values:?}");
    }

    #[test]
    fn a_column_has_a_type_if_every_value_is_written_as_it_prints() {
        check(&["1", "-20", "0"], &DataType::Int64);
        check(&["0.5", "10.25"], &DataType::Float64);
        check(&["19.90", "5.00", "-0.10"], &DataType::Decimal128(4, 2));
        check(
            &["1234567890123456.75", "0.25"],
            &DataType::Decimal128(18, 2),
        );
        check(&["true", "false"], &DataType::Boolean);
        check(&["2024-02-29"], &DataType::Date32);
        let moment = |unit, zone: Option<&str>| DataType::Timestamp(unit, zone.map(Into::into));
        let in_ms = moment(TimeUnit::Millisecond, None);
        check(&["2024-01-02 03:04:05", "2024-01-02 03:04:05.123"], &in_ms);
        check(&["0001-01-02T03:04:05"], &in_ms);
        let in_us = moment(TimeUnit::Microsecond, Some("UTC"));
        check(&["2024-01-02T03:04:05.123456Z"], &in_us);
        let in_ns = moment(TimeUnit::Nanosecond, None);
        check(&["2024-01-02T03:04:05.123456789"], &in_ns);
    }

    #[test]
    fn what_a_type_would_change_is_text() {
        for values in [
            &[][..],
            &["1", "07307"],
            &["+491234"],
            &["1", "x"],
            &["1", "2.5"],
            &["1.9", "1.10"],
            &["12345678901234567890"],
            &["0.1", "1e5"],
            &["-0"],
            &["NaN"],
            &["True"],
            &["true", "0"],
            &["2024-02-30"],
            &["2024-01-02", "2024-01-02 03:04:05"],
            &["2024-01-02 03:04:05", "2024-01-02 03:04:05 connection lost"],
            &["2024-01-02 03:04:05", "2024-01-02T03:04:05"],
            &["2024-01-02T03:04:05Z", "2024-01-02T03:04:05"],
            &["2024-01-02T03:04:05+02:00"],
            &["2024-01-02 24:00:00"],
            &["2024-01-02 03:04:60"],
            &["2024-01-02 03:04:05.1234567891"],
            &["0001-01-02T03:04:05.123456789"],
            &["1.5", "2024-01-02"],
        ] {
            check(values, &DataType::Utf8);
        }
    }
}
