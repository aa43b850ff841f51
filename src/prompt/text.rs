//! How bytes, moments and small floats are written.

use arrow::array::{Array, ArrayRef};
use arrow::compute::cast;
use arrow::datatypes::{ArrowPrimitiveType, DataType, Field, Float16Type};
use arrow::error::ArrowError;
use arrow::util::display::{ArrayFormatter, DurationFormat, FormatOptions};

use crate::base::hex;

/// Bytes as text. What a column says of itself decides, not what happens to lie in a row: UUIDs are
/// written as such; bytes of one length and of an extension type that is not known here, which are
/// hashes, keys and shapes, in hexadecimal digits. Other bytes are text, if they are UTF-8 without a
/// zero byte; else there is none.
pub(super) fn bytes_text(field: &Field, is_fixed: bool, bytes: &[u8]) -> Option<String> {
    match field.extension_type_name() {
        Some("arrow.uuid") if bytes.len() == 16 => Some(uuid(bytes)),
        Some(_) => Some(hex(bytes)),
        None if is_fixed => Some(hex(bytes)),
        _ => {
            let text = std::str::from_utf8(bytes).ok()?;
            (!text.contains('\0')).then(|| text.to_owned())
        }
    }
}

fn uuid(bytes: &[u8]) -> String {
    let hex = hex(bytes);
    let parts = [0..8, 8..12, 12..16, 16..20, 20..32].map(|part| &hex[part]);
    parts.join("-")
}

type F16 = <Float16Type as ArrowPrimitiveType>::Native;

/// A 16-bit float as the 64-bit float with the fewest digits that is the same: 0.1, not
/// 0.0999755859375.
pub(super) fn shortest(number: F16) -> f64 {
    let wide = number.to_f32();
    let shorter = (0..5).map(|digits| format!("{wide:.digits$e}"));
    let mut same = shorter.filter(|text| {
        let read = text.parse::<f32>().map(F16::from_f32);
        read.is_ok_and(|read| read == number)
    });
    let text = same.next();
    let parsed = text.and_then(|text| text.parse().ok());
    parsed.unwrap_or_else(|| f64::from(wide))
}

const FORMAT: FormatOptions<'_> = FormatOptions::new()
    .with_display_error(false)
    .with_duration_format(DurationFormat::ISO8601);

/// Dates, times, moments and spans, as ISO 8601 writes them.
///
/// # Errors
/// If the value is beyond what a calendar holds.
pub(super) fn formatted(array: &ArrayRef, row: usize) -> Result<String, ArrowError> {
    match array.data_type() {
        DataType::Date64 => {
            let text = written(array, row)?;
            Ok(text
                .strip_suffix("T00:00:00")
                .map(str::to_owned)
                .unwrap_or(text))
        }
        // A zone that is not known here, such as `tzlocal()`: the same moment, in UTC.
        DataType::Timestamp(unit, Some(_)) => written(array, row).or_else(|_| {
            let utc = DataType::Timestamp(*unit, Some("+00:00".into()));
            written(&cast(&array.slice(row, 1), &utc)?, 0)
        }),
        _ => written(array, row),
    }
}

fn written(array: &ArrayRef, row: usize) -> Result<String, ArrowError> {
    ArrayFormatter::try_new(array.as_ref(), &FORMAT)?
        .value(row)
        .try_to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_float_has_its_own_digits() {
        for (text, number) in [
            ("0.1", 0.1_f32),
            ("2.5", 2.5),
            ("65500", 65504.0),
            ("1", 1.0),
            ("0.00000006", 5.960_464_5e-8),
            ("-0.3333", -1.0 / 3.0),
        ] {
            assert_eq!(shortest(F16::from_f32(number)).to_string(), text);
        }
        assert!(shortest(F16::from_f32(f32::NAN)).is_nan());
        assert!(shortest(F16::from_f32(f32::INFINITY)).is_infinite());
    }
}
