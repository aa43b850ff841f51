//! From the JSON that came back to the value it stands for, exactly: nothing is rounded, wrapped or
//! guessed. What does not fit is said with its place.
//!
//! A value is kept as JSON in one form: the fields of a struct in their order, all of them; whole numbers
//! and decimals without an exponent; words as the job writes them; moments in UTC.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt::Write as _;
use std::str::FromStr;

use bigdecimal::{BigDecimal, ToPrimitive};
use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, NaiveTime, Timelike, Utc};
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::json_schema::below;
use super::value_type::{Kind, ValueType};
use crate::base::{Json, in_short};

/// What keeps a value from being of its type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misfit {
    /// Where it stands: `lines[0].qty`; the whole answer is `""`.
    pub path: String,
    /// What is wrong there.
    pub why: String,
}

impl std::fmt::Display for Misfit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.path.as_str() {
            "" => f.write_str(&self.why),
            path => write!(f, "{path}: {}", self.why),
        }
    }
}

/// Appends the value that `text` holds to `out`, in the one form of its type. Tells whether it says anything
/// otherwise than the schema would have it: words of a choice in another case, decimals as text.
///
/// # Errors
/// What does not fit, and where.
pub(super) fn read(text: &str, value: &ValueType, out: &mut String) -> Result<bool, Misfit> {
    into(text, value, out, false)
}

/// What `text` says, as it says it, but for what the schema would have otherwise.
///
/// # Errors
/// As for [`read`].
pub(super) fn as_asked(text: &str, value: &ValueType) -> Result<String, Misfit> {
    let mut out = String::new();
    into(text, value, &mut out, true)?;
    Ok(out)
}

fn into(text: &str, value: &ValueType, out: &mut String, as_said: bool) -> Result<bool, Misfit> {
    let raw: &RawValue = serde_json::from_str(text).map_err(|error| Misfit {
        path: String::new(),
        why: format!("it is not JSON: {error}"),
    })?;
    let mut reader = Reader {
        path: String::new(),
        out,
        as_said,
        is_otherwise: false,
    };
    match reader.value(raw.get(), value) {
        Ok(()) => Ok(reader.is_otherwise),
        Err(why) => Err(Misfit {
            path: reader.path,
            why,
        }),
    }
}

struct Reader<'a> {
    /// Where we are. After an error it stays where that was.
    path: String,
    out: &'a mut String,
    /// Whether values are written as they were said, and what was left out is left out.
    as_said: bool,
    /// Whether something was said otherwise than the schema would have it.
    is_otherwise: bool,
}

type Read = Result<(), String>;

impl Reader<'_> {
    fn value(&mut self, raw: &str, value: &ValueType) -> Read {
        if raw == "null" {
            if !value.nullable {
                return Err("it is null".into());
            }
            self.put(raw);
            return Ok(());
        }
        match &value.kind {
            Kind::Text(Some(words)) => {
                let said = text(raw, "text")?;
                match choose(words, &said) {
                    Some(word) => {
                        self.is_otherwise |= *word != said;
                        self.quote(word)
                    }
                    None => Err(format!("{} is none of the choices", in_short(raw))),
                }
            }
            Kind::List(item) => self.list(raw, item),
            Kind::Struct(fields) => self.fields(raw, fields),
            Kind::Map(value) => self.map(raw, value),
            // A decimal as text is read, to be a number.
            Kind::Decimal(..) if self.as_said && raw.starts_with('"') => {
                self.plain(raw, &value.kind)
            }
            _ if self.as_said => {
                self.put(raw);
                Ok(())
            }
            plain => self.plain(raw, plain),
        }
    }

    /// A value within which no other lies that we know of.
    fn plain(&mut self, raw: &str, kind: &Kind) -> Read {
        match kind {
            Kind::Text(_) => {
                let text = text(raw, "text")?;
                self.quote(&text)
            }
            Kind::Boolean => match raw {
                "true" | "false" => {
                    self.put(raw);
                    Ok(())
                }
                _ => Err(not(raw, "true or false")),
            },
            Kind::Integer(bits) => self.integer(raw, *bits, true),
            Kind::Unsigned(bits) => self.integer(raw, *bits, false),
            Kind::Float(bits) => self.float(raw, *bits),
            Kind::Decimal(digits, scale) => self.decimal(raw, *digits, *scale),
            Kind::Date => self.date(raw),
            Kind::Timestamp { zoned } => self.timestamp(raw, *zoned),
            Kind::Time => self.time(raw),
            Kind::List(_) | Kind::Struct(_) | Kind::Map(_) => Err("it holds others".into()),
            Kind::Json => match Json::parse(raw) {
                Some(json) => match json.repeated_key() {
                    Some(key) => Err(format!("the name {} stands twice", in_short(key))),
                    None => self.quote(raw),
                },
                None => Err("it holds a number or a text that cannot be kept".into()),
            },
        }
    }

    fn put(&mut self, text: &str) {
        self.out.push_str(text);
    }

    fn quote(&mut self, text: &str) -> Read {
        self.out
            .push_str(&serde_json::to_string(text).map_err(|error| error.to_string())?);
        Ok(())
    }

    fn integer(&mut self, raw: &str, bits: u8, signed: bool) -> Read {
        let number = number(raw, "a whole number")?;
        if !number.is_integer() {
            return Err(format!("{} is not whole", in_short(raw)));
        }
        let values = 1_i128 << bits;
        let range = if signed {
            -values / 2..values / 2
        } else {
            0..values
        };
        match number.to_i128() {
            Some(whole) if range.contains(&whole) => {
                write!(self.out, "{whole}").map_err(|error| error.to_string())
            }
            _ => Err(format!("{} does not fit into {bits} bits", in_short(raw))),
        }
    }

    fn float(&mut self, raw: &str, bits: u8) -> Read {
        if !is_number(raw) {
            return Err(not(raw, "a number"));
        }
        #[expect(
            clippy::cast_possible_truncation,
            reason = "only the range is looked at"
        )]
        let fits = |number: f64| {
            let held = if bits == 64 {
                number
            } else {
                f64::from(number as f32)
            };
            // What is too small to be held would become nothing.
            held.is_finite() && (held != 0.0 || is_zero(raw))
        };
        match raw.parse::<f64>() {
            Ok(number) if fits(number) => {
                self.put(raw);
                Ok(())
            }
            _ => Err(format!("{} is out of range", in_short(raw))),
        }
    }

    fn decimal(&mut self, raw: &str, digits: u8, scale: i8) -> Read {
        // As text it keeps its digits wherever it passes, so that some write it so.
        let quoted = raw
            .starts_with('"')
            .then(|| text(raw, "a number"))
            .transpose()?;
        let written = quoted.as_deref().unwrap_or(raw);
        self.is_otherwise |= quoted.is_some();
        let number = number(written, "a number")?.normalized();
        let (unscaled, own) = number.as_bigint_and_exponent();
        let left = i64::from(scale);
        if own > left {
            return Err(format!(
                "{} has more than {} after the point",
                in_short(written),
                digits_of(left)
            ));
        }
        let length = i64::try_from(unscaled.magnitude().to_string().len()).unwrap_or(i64::MAX);
        let length = length.saturating_add(left - own);
        if unscaled.sign() != bigdecimal::num_bigint::Sign::NoSign && length > i64::from(digits) {
            let whole = i64::from(digits) - left;
            return Err(format!(
                "{} has more than {} before the point",
                in_short(written),
                digits_of(whole)
            ));
        }
        self.put(&number.with_scale(left).to_plain_string());
        Ok(())
    }

    fn date(&mut self, raw: &str) -> Read {
        let said = text(raw, "a date")?;
        match parsed(&said, "0000-00-00", |text| NaiveDate::from_str(text).ok()) {
            Some(date) => {
                known_year(date.year(), raw)?;
                self.quote(&date.format("%Y-%m-%d").to_string())
            }
            None => Err(not(raw, "a date such as 2026-02-28")),
        }
    }

    fn timestamp(&mut self, raw: &str, zoned: bool) -> Read {
        let said = text(raw, "a date and time")?;
        let moment = match DateTime::parse_from_rfc3339(&said) {
            Ok(moment) => Some(moment.with_timezone(&Utc).naive_utc()),
            Err(_) if zoned => None,
            Err(_) => local_moment(&said),
        };
        let Some(moment) = moment else {
            return Err(not(
                raw,
                if zoned {
                    "a date and time with its zone, such as 2026-02-28T12:30:00Z"
                } else {
                    "a date and time such as 2026-02-28T12:30:00"
                },
            ));
        };
        whole_micros(moment.nanosecond(), raw)?;
        known_year(moment.year(), raw)?;
        let form = if zoned {
            "%Y-%m-%dT%H:%M:%S%.6fZ"
        } else {
            "%Y-%m-%dT%H:%M:%S%.6f"
        };
        self.quote(&moment.format(form).to_string())
    }

    fn time(&mut self, raw: &str) -> Read {
        let said = text(raw, "a time")?;
        let plain = said.strip_suffix(['Z', 'z']).unwrap_or(&said);
        match parsed(plain, "00:00:00", |text| NaiveTime::from_str(text).ok()) {
            Some(time) => {
                whole_micros(time.nanosecond(), raw)?;
                self.quote(&time.format("%H:%M:%S%.6f").to_string())
            }
            None => Err(not(raw, "a time such as 12:30:00")),
        }
    }

    fn list(&mut self, raw: &str, item: &ValueType) -> Read {
        let items = deserialized(raw, "[", Items).ok_or_else(|| not(raw, "a list"))?;
        let len = self.path.len();
        self.out.push('[');
        for (at, raw) in items.into_iter().enumerate() {
            if at > 0 {
                self.out.push(',');
            }
            write!(self.path, "[{at}]").map_err(|error| error.to_string())?;
            self.value(raw.get(), item)?;
            self.path.truncate(len);
        }
        self.put("]");
        Ok(())
    }

    fn fields(&mut self, raw: &str, fields: &[(String, ValueType)]) -> Read {
        let pairs = Self::pairs(raw)?;
        if let Some((name, _)) = pairs
            .iter()
            .find(|(name, _)| fields.iter().all(|(field, _)| field != name))
        {
            return Err(format!("{} is not one of its fields", in_short(name)));
        }
        self.out.push('{');
        let mut is_first = true;
        for (name, value) in fields {
            let given = pairs.iter().find(|(given, _)| given == name);
            if self.as_said && given.is_none() {
                continue;
            }
            if !std::mem::take(&mut is_first) {
                self.out.push(',');
            }
            self.quote(name)?;
            self.out.push(':');
            self.within(name, |reader| match given {
                Some((_, raw)) => reader.value(raw.get(), value),
                None if value.nullable => {
                    reader.put("null");
                    Ok(())
                }
                None => Err("it is missing".into()),
            })?;
        }
        self.put("}");
        Ok(())
    }

    fn map(&mut self, raw: &str, value: &ValueType) -> Read {
        let pairs = Self::pairs(raw)?;
        self.out.push('{');
        for (at, (name, raw)) in pairs.iter().enumerate() {
            if at > 0 {
                self.out.push(',');
            }
            self.quote(name)?;
            self.out.push(':');
            self.within(name, |reader| reader.value(raw.get(), value))?;
        }
        self.put("}");
        Ok(())
    }

    /// The names and values of an object, each name once.
    fn pairs(raw: &str) -> Result<Vec<(String, &RawValue)>, String> {
        let pairs = pairs(raw).ok_or_else(|| not(raw, "an object"))?;
        // A model may write a hundred thousand names.
        let mut names = HashSet::with_capacity(pairs.len());
        let twice = pairs.iter().find(|(name, _)| !names.insert(name.as_str()));
        match twice {
            Some((name, _)) => Err(format!("the name {} stands twice", in_short(name))),
            None => Ok(pairs),
        }
    }

    /// Does `work` one step further down; the path stays there if it fails.
    fn within(&mut self, name: &str, work: impl FnOnce(&mut Self) -> Read) -> Read {
        let before = std::mem::take(&mut self.path);
        self.path = below(&before, name);
        work(self)?;
        self.path = before;
        Ok(())
    }
}

/// The names and values of the object that `raw` is, as they stand there.
pub(super) fn pairs(raw: &str) -> Option<Vec<(String, &RawValue)>> {
    deserialized(raw, "{", Pairs)
}

/// So many digits, in words.
fn digits_of(count: i64) -> String {
    match count {
        0 => "no digits".to_owned(),
        1 => "one digit".to_owned(),
        _ => format!("{count} digits"),
    }
}

/// The word that `said` means: the same word, else the only one that is the same but for blanks around it, else
/// the only one that is so but for case as well.
pub(super) fn choose<'w>(words: &'w [String], said: &str) -> Option<&'w String> {
    let same = words.iter().find(|word| word.as_str() == said);
    let own = said.trim();
    same.or_else(|| only(words, |word| word.trim() == own))
        .or_else(|| {
            let folded = own.to_lowercase();
            only(words, |word| word.trim().to_lowercase() == folded)
        })
}

/// The one word of which `is` holds.
fn only(words: &[String], is: impl Fn(&str) -> bool) -> Option<&String> {
    let mut found = words.iter().filter(|word| is(word));
    let first = found.next();
    first.filter(|_| found.next().is_none())
}

fn not(raw: &str, what: &str) -> String {
    format!("{} is not {what}", in_short(raw))
}

fn text<'r>(raw: &'r str, what: &str) -> Result<Cow<'r, str>, String> {
    if !raw.starts_with('"') {
        return Err(not(raw, what));
    }
    // A half of a surrogate pair, alone, is no text.
    let text = serde_json::from_str::<String>(raw);
    text.map(Cow::Owned)
        .map_err(|_| "it is text that no file can hold".to_owned())
}

/// Whether `text` is a number as JSON writes it.
fn is_number(text: &str) -> bool {
    text.starts_with(|c: char| c == '-' || c.is_ascii_digit())
        && serde_json::from_str::<&RawValue>(text).is_ok()
}

/// Whether a number as JSON writes it has no digit but 0.
fn is_zero(number: &str) -> bool {
    let digits = number.split(['e', 'E']).next().unwrap_or_default();
    !digits.contains(|digit: char| ('1'..='9').contains(&digit))
}

/// The number that `text` is, exactly.
fn number(text: &str, what: &str) -> Result<BigDecimal, String> {
    if !is_number(text) {
        return Err(not(text, what));
    }
    let exponent = text
        .split_once(['e', 'E'])
        .map_or(Ok(0), |(_, e)| e.parse());
    // Its digits are counted and written out: far-away points would take all memory.
    let is_near = |exponent: i32| exponent.abs() <= 400 && text.len() <= 2000;
    match (exponent, BigDecimal::from_str(text)) {
        (Ok(exponent), Ok(number)) if is_near(exponent) => Ok(number),
        _ => Err(format!("{} is out of range", in_short(text))),
    }
}

/// What `parse` makes of `text`, if that is written in the very form of `form`: digits where it has
/// digits, the rest as it is, and a fraction after it at most.
fn parsed<T>(text: &str, form: &str, parse: impl Fn(&str) -> Option<T>) -> Option<T> {
    let (head, rest) = text.split_at_checked(form.len())?;
    let is_like = head.bytes().zip(form.bytes()).all(|(byte, like)| {
        if like == b'0' {
            byte.is_ascii_digit()
        } else {
            byte == like
        }
    });
    let is_fraction = |rest: &str| {
        let digits = rest.strip_prefix('.').unwrap_or_default();
        !digits.is_empty() && form.contains(':') && digits.bytes().all(|b| b.is_ascii_digit())
    };
    (is_like && (rest.is_empty() || is_fraction(rest))).then(|| parse(text))?
}

/// A date and time without a zone.
fn local_moment(text: &str) -> Option<NaiveDateTime> {
    let text = text.replacen(['T', 't'], " ", 1);
    parsed(&text, "0000-00-00 00:00:00", |text| {
        NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f").ok()
    })
}

/// Within the years that SQL has: Python and pandas break down over others, and Arrow reads none with a sign.
fn known_year(year: i32, raw: &str) -> Read {
    if (1..=9999).contains(&year) {
        Ok(())
    } else {
        Err(format!(
            "{} is not within the years 1 to 9999",
            in_short(raw)
        ))
    }
}

/// Neither finer than a microsecond nor within a leap second: such moments have no place in a column.
fn whole_micros(nanos: u32, raw: &str) -> Read {
    if nanos >= 1_000_000_000 {
        return Err(format!("{} is a leap second", in_short(raw)));
    }
    if nanos.is_multiple_of(1000) {
        Ok(())
    } else {
        Err(format!("{} is finer than a microsecond", in_short(raw)))
    }
}

fn deserialized<'r, V: Visitor<'r>>(raw: &'r str, opened: &str, visitor: V) -> Option<V::Value> {
    if !raw.starts_with(opened) {
        return None;
    }
    serde_json::Deserializer::from_str(raw)
        .deserialize_any(visitor)
        .ok()
}

struct Items;

impl<'de> Visitor<'de> for Items {
    type Value = Vec<&'de RawValue>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(list)
    }
}

struct Pairs;

impl<'de> Visitor<'de> for Pairs {
    type Value = Vec<(String, &'de RawValue)>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut pairs: A) -> Result<Self::Value, A::Error> {
        let mut list = Vec::new();
        while let Some(pair) = pairs.next_entry()? {
            list.push(pair);
        }
        Ok(list)
    }
}

#[cfg(test)]
mod tests {
    use super::super::type_name;
    use super::*;

    fn read_as(name: &str, text: &str) -> Result<String, String> {
        let mut out = String::new();
        let value = type_name::parse(name).expect("a type");
        match read(text, &value, &mut out) {
            Ok(_) => Ok(out),
            Err(misfit) => Err(misfit.to_string()),
        }
    }

    #[test]
    fn values_are_read_exactly_and_written_in_one_form() {
        for (name, text, expect) in [
            ("VARCHAR", r#""a\u00e9\n\u0000""#, "\"aé\\n\\u0000\""),
            ("BOOLEAN", " true ", "true"),
            ("TINYINT", "-128", "-128"),
            ("SMALLINT", "32767", "32767"),
            ("INT", "3.0", "3"),
            ("BIGINT", "9223372036854775807", "9223372036854775807"),
            ("BIGINT", "-9.223372036854775808e18", "-9223372036854775808"),
            ("DOUBLE", "1e300", "1e300"),
            ("REAL", "0.1", "0.1"),
            ("DOUBLE", "-0.0e-999", "-0.0e-999"),
            (
                "BIGINT UNSIGNED",
                "18446744073709551615",
                "18446744073709551615",
            ),
            ("usmallint", "6.5535e4", "65535"),
            ("UINTEGER", "-0", "0"),
            (
                "DECIMAL(20,2)",
                "123456789012345678.91",
                "123456789012345678.91",
            ),
            ("DECIMAL(4,2)", "1.5e1", "15.00"),
            ("DECIMAL(4,2)", "\"-99.990\"", "-99.99"),
            ("DECIMAL(2,2)", "0", "0.00"),
            ("DATE", "\"2024-02-29\"", "\"2024-02-29\""),
            ("DATE", "\"0001-01-01\"", "\"0001-01-01\""),
            ("DATE", "\"9999-12-31\"", "\"9999-12-31\""),
            (
                "TIMESTAMP WITH TIME ZONE",
                "\"2024-01-02T03:04:05.5+02:00\"",
                "\"2024-01-02T01:04:05.500000Z\"",
            ),
            (
                "TIMESTAMP",
                "\"2024-01-02 03:04:05\"",
                "\"2024-01-02T03:04:05.000000\"",
            ),
            ("TIME", "\"23:59:59.000001\"", "\"23:59:59.000001\""),
            ("INT[]", "[1, null ,2]", "[1,null,2]"),
            (
                "STRUCT(b INT, a VARCHAR)",
                r#"{"a":"x"}"#,
                r#"{"b":null,"a":"x"}"#,
            ),
            (
                "MAP(VARCHAR, INT)",
                r#"{"z":1,"a":null}"#,
                r#"{"z":1,"a":null}"#,
            ),
            ("JSON", r#"{"a": [1, "x"]}"#, r#""{\"a\": [1, \"x\"]}""#),
        ] {
            assert_eq!(read_as(name, text).as_deref(), Ok(expect), "{name} {text}");
        }
    }

    /// A type, an answer, and what is wrong with it.
    const MISFITS: &[(&str, &str, &str)] = &[
        (
            "INT",
            "",
            "it is not JSON: EOF while parsing a value at line 1 column 0",
        ),
        (
            "INT",
            "1 2",
            "it is not JSON: trailing characters at line 1 column 3",
        ),
        ("INT", "null", "it is null"),
        ("INT", "\"1\"", "\"1\" is not a whole number"),
        ("INT", "1.5", "1.5 is not whole"),
        ("TINYINT", "128", "128 does not fit into 8 bits"),
        (
            "BIGINT",
            "9223372036854775808",
            "9223372036854775808 does not fit into 64 bits",
        ),
        ("BIGINT", "1e400", "1e400 does not fit into 64 bits"),
        ("BIGINT", "1e999999999", "1e999999999 is out of range"),
        ("BIGINT", "1e99999999999", "1e99999999999 is out of range"),
        ("DOUBLE", "1e400", "1e400 is out of range"),
        ("DOUBLE", "true", "true is not a number"),
        ("REAL", "1e39", "1e39 is out of range"),
        ("REAL", "1e-50", "1e-50 is out of range"),
        ("DOUBLE", "-4.2E-400", "-4.2E-400 is out of range"),
        ("INT UNSIGNED", "-1", "-1 does not fit into 32 bits"),
        ("UTINYINT", "256", "256 does not fit into 8 bits"),
        (
            "DECIMAL(4,2)",
            "1.005",
            "1.005 has more than 2 digits after the point",
        ),
        (
            "DECIMAL(4,2)",
            "100",
            "100 has more than 2 digits before the point",
        ),
        ("DECIMAL(4,2)", "\"NaN\"", "NaN is not a number"),
        ("BOOLEAN", "1", "1 is not true or false"),
        ("VARCHAR", "1", "1 is not text"),
        ("VARCHAR", r#""\ud800""#, "it is text that no file can hold"),
        (
            "DATE",
            "\"2026-02-30\"",
            "\"2026-02-30\" is not a date such as 2026-02-28",
        ),
        (
            "DATE",
            "\"26-2-3\"",
            "\"26-2-3\" is not a date such as 2026-02-28",
        ),
        (
            "DATE",
            "\"2026-02-03T00:00:00Z\"",
            "\"2026-02-03T00:00:00Z\" is not a date such as 2026-02-28",
        ),
        (
            "DATE",
            "\"0000-01-01\"",
            "\"0000-01-01\" is not within the years 1 to 9999",
        ),
        // In UTC it is another year.
        (
            "TIMESTAMPTZ",
            "\"9999-12-31T23:59:59-01:00\"",
            "\"9999-12-31T23:59:59-01:00\" is not within the years 1 to 9999",
        ),
        (
            "TIMESTAMP",
            "\"0001-01-01T00:30:00+01:00\"",
            "\"0001-01-01T00:30:00+01:00\" is not within the years 1 to 9999",
        ),
        (
            "TIMESTAMP",
            "\"0000-06-01T00:00:00\"",
            "\"0000-06-01T00:00:00\" is not within the years 1 to 9999",
        ),
        (
            "TIMESTAMPTZ",
            "\"2026-02-28T12:30:00\"",
            "\"2026-02-28T12:30:00\" is not a date and time with its zone, such as 2026-02-28T12:30:00Z",
        ),
        (
            "TIMESTAMPTZ",
            "\"2026-02-28T12:30:00.0000001Z\"",
            "\"2026-02-28T12:30:00.0000001Z\" is finer than a microsecond",
        ),
        (
            "TIMESTAMPTZ",
            "\"2016-12-31T23:59:60Z\"",
            "\"2016-12-31T23:59:60Z\" is a leap second",
        ),
        (
            "TIME",
            "\"12:30\"",
            "\"12:30\" is not a time such as 12:30:00",
        ),
        (
            "TIME",
            "\"12:30:00+02:00\"",
            "\"12:30:00+02:00\" is not a time such as 12:30:00",
        ),
        ("INT[]", "{}", "{} is not a list"),
        ("INT[]", "[1, 2.5]", "[1]: 2.5 is not whole"),
        ("STRUCT(a INT)", "[1]", "[1] is not an object"),
        ("STRUCT(a INT)", r#"{"b":1}"#, "b is not one of its fields"),
        (
            "STRUCT(a INT)",
            r#"{"a":1,"a":2}"#,
            "the name a stands twice",
        ),
        (
            "MAP(VARCHAR, INT)",
            r#"{"a":1,"a":1}"#,
            "the name a stands twice",
        ),
        ("JSON", r#"{"a":{"b":1,"b":2}}"#, "the name b stands twice"),
        (
            "JSON",
            "[1e400]",
            "it holds a number or a text that cannot be kept",
        ),
        (
            "STRUCT(lines STRUCT(sku VARCHAR, qty SMALLINT)[])",
            r#"{"lines":[{"sku":"a","qty":1},{"sku":"b","qty":40000}]}"#,
            "lines[1].qty: 40000 does not fit into 16 bits",
        ),
    ];

    #[test]
    fn a_word_is_the_same_word_before_it_is_one_like_it() {
        let words = [" a ", "a", "B", "", "Yes", "YES"].map(str::to_owned);
        for (said, expect) in [
            (" a ", Some(" a ")),
            ("a", Some("a")),
            ("b\n", Some("B")),
            ("", Some("")),
            ("YES", Some("YES")),
            // It may be either.
            ("yes", None),
            ("A", None),
            ("no", None),
        ] {
            assert_eq!(choose(&words, said).map(String::as_str), expect, "{said:?}");
        }
        // Where the job writes it with blanks, it may be said without.
        assert_eq!(choose(&words[..1], "A"), Some(&words[0]));
    }

    #[test]
    fn what_does_not_fit_is_said_with_its_place() {
        for (name, text, why) in MISFITS {
            assert_eq!(read_as(name, text), Err((*why).to_owned()), "{name} {text}");
        }
    }
}
