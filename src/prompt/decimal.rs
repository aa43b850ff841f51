//! Decimals, exact: as they are printed, compared and calculated.
//!
//! The engine's own numbers are 128-bit integers and 64-bit floats. A float holds fifteen digits, so
//! that two decimals may be one float, and it forgets trailing zeros. A decimal is therefore an object
//! that keeps the digits of the table, and the engine's operators are replaced for templates that
//! read decimals: see [`operators`](super::operators).

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use bigdecimal::{BigDecimal, RoundingMode};
use minijinja::Value;
use minijinja::value::{DynObject, Object, ObjectRepr, ValueKind};

/// A decimal, by its digits.
#[derive(Debug)]
pub(super) struct Decimal(String);

impl Object for Decimal {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn is_true(self: &Arc<Self>) -> bool {
        self.0.bytes().any(|digit| matches!(digit, b'1'..=b'9'))
    }

    fn custom_cmp(self: &Arc<Self>, other: &DynObject) -> Option<Ordering> {
        let other = other.downcast_ref::<Decimal>()?;
        let parse = |decimal: &Decimal| decimal.0.parse::<BigDecimal>().ok();
        Some(parse(self)?.cmp(&parse(other)?))
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The decimal that is written like this.
pub(super) fn from_digits(digits: String) -> Value {
    Value::from_object(Decimal(digits))
}

fn from_number(number: &BigDecimal) -> Value {
    from_digits(number.to_plain_string())
}

/// Whether a value is a decimal.
pub(super) fn is_decimal(value: &Value) -> bool {
    value.downcast_object_ref::<Decimal>().is_some()
}

/// The number that a value is, exactly; none for what is no finite number.
pub(super) fn exact(value: &Value) -> Option<BigDecimal> {
    if let Some(decimal) = value.downcast_object_ref::<Decimal>() {
        return decimal.0.parse().ok();
    }
    match value.kind() {
        ValueKind::Bool => Some(BigDecimal::from(u8::from(value.is_true()))),
        ValueKind::Number => value.to_string().parse().ok(),
        _ => None,
    }
}

/// A decimal as the engine's own number: an integer where it is whole, else the nearest float.
/// Anything else stays what it is.
pub(super) fn as_engine_number(value: &Value) -> Value {
    match value.downcast_object_ref::<Decimal>() {
        None => value.clone(),
        Some(_) => whole(value).unwrap_or_else(|| as_float(value)),
    }
}

/// A decimal as the nearest float.
pub(super) fn as_float(value: &Value) -> Value {
    match value.downcast_object_ref::<Decimal>() {
        None => value.clone(),
        Some(decimal) => Value::from(decimal.0.parse::<f64>().unwrap_or(f64::NAN)),
    }
}

fn whole(value: &Value) -> Option<Value> {
    let number = exact(value).filter(BigDecimal::is_integer)?;
    let digits = number.with_scale(0).to_plain_string();
    digits.parse::<i128>().ok().map(Value::from)
}

/// A number without its fraction.
pub(super) fn truncated(value: &Value) -> Option<Value> {
    let number = exact(value)?.with_scale_round(0, RoundingMode::Down);
    let digits = number.to_plain_string();
    let small = digits.parse::<i128>().ok().map(Value::from);
    Some(small.unwrap_or_else(|| from_digits(digits)))
}

/// A number rounded to so many digits behind the point, which are then there.
pub(super) fn rounded(value: &Value, digits: i32, method: &str) -> Option<Value> {
    let mode = match method {
        "common" => RoundingMode::HalfUp,
        "ceil" => RoundingMode::Ceiling,
        "floor" => RoundingMode::Floor,
        _ => return None,
    };
    let number = exact(value)?.with_scale_round(digits.into(), mode);
    Some(from_number(&number))
}

/// A number without its sign.
pub(super) fn absolute(value: &Value) -> Option<Value> {
    Some(from_number(&exact(value)?.abs()))
}

/// A number with the other sign.
pub(super) fn negated(value: &Value) -> Option<Value> {
    Some(from_number(&-exact(value)?))
}

/// Two numbers calculated exactly; none where the result has no end (`/`) or a value is no number.
pub(super) fn calculated(sign: &str, left: &Value, right: &Value) -> Option<Value> {
    let (left, right) = (exact(left)?, exact(right)?);
    match sign {
        "+" => Some(from_number(&(left + right))),
        "-" => Some(from_number(&(left - right))),
        "*" => Some(from_number(&(left * right))),
        _ => None,
    }
}

/// Which of two numbers is the larger one; none where a value is no number.
pub(super) fn compared(left: &Value, right: &Value) -> Option<Ordering> {
    Some(exact(left)?.cmp(&exact(right)?))
}

/// Any number as a decimal, so that it can be ordered among decimals.
pub(super) fn leveled(value: Value) -> Value {
    match value.kind() {
        ValueKind::Number | ValueKind::Bool => match exact(&value) {
            Some(number) => from_number(&number),
            None => value,
        },
        _ => value,
    }
}
