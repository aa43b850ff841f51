//! Which numbers a type holds without changing them.

/// Digits that a double always keeps.
const SURE_DIGITS: usize = 15;

/// Whether `text` is a whole number of 64 bits, and written as it would be printed.
pub(super) fn is_whole(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let plain = match digits.as_bytes() {
        [b'0'] => digits.len() == text.len(),
        [b'1'..=b'9', rest @ ..] => rest.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    plain && text.parse::<i64>().is_ok()
}

/// Whether `text`, a JSON number, is the same number as a double.
pub(super) fn same_number(text: &str) -> bool {
    let digits = text.bytes().filter(u8::is_ascii_digit).count();
    if digits <= SURE_DIGITS && !text.contains(['e', 'E']) {
        return true;
    }
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() => {
            let written = normal(text);
            // Where two texts of so many digits are equally near to the double, printers differ.
            let last = written.0.len().saturating_sub(1);
            written == normal(&format!("{number:e}"))
                && written == normal(&format!("{number:.last$e}"))
        }
        _ => false,
    }
}

/// Doubles that every printer writes with a point and without an exponent.
const PLAIN: std::ops::Range<f64> = 1e-4..1e15;

/// Whether `text` is what a double prints as: with a point, without an exponent.
pub(super) fn prints_as_double(text: &str) -> bool {
    let exact = match text.parse::<f64>() {
        Ok(number) if number == 0.0 || PLAIN.contains(&number.abs()) => number.to_string(),
        _ => return false,
    };
    text.contains('.')
        && (exact == text || (!exact.contains('.') && text.strip_suffix(".0") == Some(&exact)))
        && same_number(text)
}

/// The digits before and after the point of a plain decimal number, written as a decimal of that scale
/// prints: no zeros before its first digit, no sign before nothing.
pub(super) fn decimal_digits(text: &str) -> Option<(usize, usize)> {
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = unsigned.split_once('.')?;
    let are_digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    let is_plain = whole == "0" || !whole.starts_with('0');
    let is_zero = unsigned.bytes().all(|byte| matches!(byte, b'0' | b'.'));
    let is_negative = unsigned.len() != text.len();
    (are_digits(whole) && are_digits(fraction) && is_plain && !(is_negative && is_zero))
        .then_some((whole.len(), fraction.len()))
}

/// A number's digits without the zeros around them, and the power of ten of the last one.
fn normal(text: &str) -> (String, i64) {
    let unsigned = text.trim_start_matches('-');
    let (mantissa, exponent) = unsigned.split_once(['e', 'E']).unwrap_or((unsigned, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all = format!("{whole}{fraction}");
    let kept = all.trim_end_matches('0');
    let digits = kept.trim_start_matches('0').to_owned();
    if digits.is_empty() {
        return (digits, 0);
    }
    let power = exponent.parse::<i64>().unwrap_or(i64::MAX / 2);
    let shift = (all.len() - kept.len()).cast_signed() - fraction.len().cast_signed();
    (digits, power.saturating_add(shift as i64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_number_is_one_that_prints_as_it_is_written() {
        for text in [
            "0",
            "7",
            "-7",
            "10",
            "9223372036854775807",
            "-9223372036854775808",
        ] {
            assert!(is_whole(text), "{text}");
        }
        for text in [
            "",
            "-",
            "-0",
            "07",
            "+7",
            " 7",
            "7 ",
            "7.0",
            "1e3",
            "٣",
            "9223372036854775808",
        ] {
            assert!(!is_whole(text), "{text}");
        }
    }

    #[test]
    fn a_double_is_a_number_that_loses_no_digit() {
        for text in [
            "1.5",
            "19.90",
            "0.1",
            "1e5",
            "-2.5E-3",
            "0.30000000000000004",
            "1e300",
        ] {
            assert!(same_number(text), "{text}");
        }
        for text in [
            "0.1234567890123456789",
            "9007199254740993.0",
            "1e400",
            "123456789012345678",
            // Both are a twentieth away from 600000000000000.25.
            "600000000000000.3",
            "600000000000000.2",
        ] {
            assert!(!same_number(text), "{text}");
            assert!(!prints_as_double(text), "{text}");
        }
        for text in ["1.5", "-0.25", "100.0", "0.1", "0.0001", "0.0"] {
            assert!(prints_as_double(text), "{text}");
        }
        for text in [
            "1.50", "1", "1.", ".5", "+1.5", "1e5", "NaN", "inf", "0.00001", "01.5", "1.5 ",
        ] {
            assert!(!prints_as_double(text), "{text}");
        }
    }

    #[test]
    fn a_decimal_is_plain() {
        assert_eq!(decimal_digits("19.90"), Some((2, 2)));
        assert_eq!(decimal_digits("-0.50"), Some((1, 2)));
        for text in [
            "19", "-0.00", "007.10", "1.", ".5", "1.2.3", "1,5", "+1.5", "1.5e3",
        ] {
            assert_eq!(decimal_digits(text), None, "{text}");
        }
    }
}
