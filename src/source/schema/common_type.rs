//! The type that holds the values of two types without loss, where there is one.
//!
//! | of | and | comes |
//! |---|---|---|
//! | nothing but nulls | any | the other |
//! | whole numbers | whole numbers | the narrowest that holds both |
//! | whole numbers | floats | a float, where it holds every one of them |
//! | whole numbers, decimals | decimals | a decimal with the digits of both |
//! | times of day, durations, moments | the same, in another unit | the finer unit |
//! | moments with a zone | moments with another zone | moments in UTC |
//! | texts (plain, large, dictionaries) | texts | text |
//! | bytes | bytes | bytes |
//! | lists | lists | a list of what holds both items |
//! | structs | structs | a struct with the fields of both, by name |
//!
//! Whatever is not here is refused: a number is no text, and a moment without a zone is none with one.

use std::sync::Arc;

use arrow::datatypes::{
    DECIMAL128_MAX_PRECISION, DECIMAL256_MAX_PRECISION, DataType, Field, FieldRef, Fields, TimeUnit,
};

/// The type that holds every value of `a` and of `b`.
pub(super) fn common_type(a: &DataType, b: &DataType) -> Option<DataType> {
    use DataType::{Date32, Date64, Dictionary, Duration, Null, RunEndEncoded, Struct, Timestamp};
    match (a, b) {
        (a, b) if a == b => Some(a.clone()),
        (Null, other) | (other, Null) => Some(other.clone()),
        (Dictionary(_, a), Dictionary(_, b)) => common_type(a, b),
        (Dictionary(_, value), other) | (other, Dictionary(_, value)) => common_type(value, other),
        (RunEndEncoded(_, value), other) | (other, RunEndEncoded(_, value)) => {
            common_type(value.data_type(), other)
        }
        (Date32, Date64) | (Date64, Date32) => Some(Date64),
        (Duration(a), Duration(b)) => Some(Duration(finer(*a, *b))),
        (Timestamp(a, here), Timestamp(b, there)) => Some(Timestamp(
            finer(*a, *b),
            common_zone(here.as_ref(), there.as_ref())?,
        )),
        (Struct(a), Struct(b)) => common_fields(a, b).map(Struct),
        (DataType::Map(a, sorted), DataType::Map(b, also_sorted)) if sorted == also_sorted => {
            common_entries(a, b).map(|entries| DataType::Map(Arc::new(entries), *sorted))
        }
        _ => common_time(a, b)
            .or_else(|| common_number(a, b))
            .or_else(|| common_bytes(a, b))
            .or_else(|| common_list(a, b)),
    }
}

fn finer(a: TimeUnit, b: TimeUnit) -> TimeUnit {
    a.max(b)
}

/// A moment that names its zone is the same moment in UTC; one that names none may be any.
#[expect(
    clippy::option_option,
    reason = "no zone is not the same as no common one"
)]
fn common_zone(a: Option<&Arc<str>>, b: Option<&Arc<str>>) -> Option<Option<Arc<str>>> {
    match (a, b) {
        (a, b) if a == b => Some(a.cloned()),
        (Some(_), Some(_)) => Some(Some("UTC".into())),
        _ => None,
    }
}

fn common_time(a: &DataType, b: &DataType) -> Option<DataType> {
    use DataType::{Time32, Time64};
    let unit = |of: &DataType| match of {
        Time32(unit) | Time64(unit) => Some(*unit),
        _ => None,
    };
    let unit = finer(unit(a)?, unit(b)?);
    Some(match unit {
        TimeUnit::Second | TimeUnit::Millisecond => Time32(unit),
        TimeUnit::Microsecond | TimeUnit::Nanosecond => Time64(unit),
    })
}

/// The bits of a whole number, and whether it may be negative.
fn whole(of: &DataType) -> Option<(u8, bool)> {
    use DataType::{Int8, Int16, Int32, Int64, UInt8, UInt16, UInt32, UInt64};
    Some(match of {
        Int8 => (8, true),
        Int16 => (16, true),
        Int32 => (32, true),
        Int64 => (64, true),
        UInt8 => (8, false),
        UInt16 => (16, false),
        UInt32 => (32, false),
        UInt64 => (64, false),
        _ => return None,
    })
}

fn common_number(a: &DataType, b: &DataType) -> Option<DataType> {
    match (whole(a), whole(b)) {
        (Some((a, signed)), Some((b, also_signed))) if signed == also_signed => {
            whole_of(a.max(b), signed)
        }
        // One bit more than the unsigned one has.
        (Some((a, true)), Some((b, false))) | (Some((b, false)), Some((a, true))) => {
            whole_of(a.max(b.checked_mul(2)?), true)
        }
        _ => common_decimal(a, b).or_else(|| common_float(a, b)),
    }
}

fn whole_of(bits: u8, signed: bool) -> Option<DataType> {
    use DataType::{Int8, Int16, Int32, Int64, UInt8, UInt16, UInt32, UInt64};
    Some(match (bits, signed) {
        (8, true) => Int8,
        (16, true) => Int16,
        (32, true) => Int32,
        (64, true) => Int64,
        (8, false) => UInt8,
        (16, false) => UInt16,
        (32, false) => UInt32,
        (64, false) => UInt64,
        _ => return None,
    })
}

/// A float holds the whole numbers of as many bits as its fraction has.
fn common_float(a: &DataType, b: &DataType) -> Option<DataType> {
    use DataType::{Float16, Float32, Float64};
    let bits = |of: &DataType| match of {
        Float16 => Some(11),
        Float32 => Some(24),
        Float64 => Some(53),
        of => whole(of).map(|(bits, _)| bits),
    };
    let is_float = |of: &DataType| of.is_floating();
    let needed = bits(a)?.max(bits(b)?);
    match needed {
        _ if !is_float(a) && !is_float(b) => None,
        0..=11 => Some(Float16),
        12..=24 => Some(Float32),
        25..=53 => Some(Float64),
        _ => None,
    }
}

/// The digits of a whole number or a decimal, before and behind the point.
fn digits(of: &DataType) -> Option<(u8, i8)> {
    use DataType::{Decimal32, Decimal64, Decimal128, Decimal256};
    Some(match of {
        Decimal32(precision, scale)
        | Decimal64(precision, scale)
        | Decimal128(precision, scale)
        | Decimal256(precision, scale) => (*precision, *scale),
        of => match whole(of)? {
            (8, _) => (3, 0),
            (16, _) => (5, 0),
            (32, _) => (10, 0),
            (_, true) => (19, 0),
            (_, false) => (20, 0),
        },
    })
}

fn common_decimal(a: &DataType, b: &DataType) -> Option<DataType> {
    use DataType::{Decimal128, Decimal256};
    if !a.is_decimal() && !b.is_decimal() {
        return None;
    }
    let ((a_all, a_scale), (b_all, b_scale)) = (digits(a)?, digits(b)?);
    let before = |all: u8, scale: i8| i16::from(all) - i16::from(scale);
    let scale = a_scale.max(b_scale);
    let all = before(a_all, a_scale).max(before(b_all, b_scale)) + i16::from(scale);
    let all = u8::try_from(all.max(1)).ok()?;
    match all {
        0..=DECIMAL128_MAX_PRECISION => Some(Decimal128(all, scale)),
        _ if all <= DECIMAL256_MAX_PRECISION => Some(Decimal256(all, scale)),
        _ => None,
    }
}

fn common_bytes(a: &DataType, b: &DataType) -> Option<DataType> {
    use DataType::{Binary, BinaryView, FixedSizeBinary, LargeBinary, LargeUtf8, Utf8, Utf8View};
    let is_text = |of: &DataType| matches!(of, Utf8 | LargeUtf8 | Utf8View);
    let is_bytes =
        |of: &DataType| matches!(of, Binary | LargeBinary | BinaryView | FixedSizeBinary(_));
    let is_large = [a, b]
        .iter()
        .any(|of| matches!(of, LargeUtf8 | LargeBinary));
    match (is_text(a) && is_text(b), is_bytes(a) && is_bytes(b)) {
        (true, _) => Some(if is_large { LargeUtf8 } else { Utf8 }),
        (_, true) => Some(if is_large { LargeBinary } else { Binary }),
        _ => None,
    }
}

fn common_list(a: &DataType, b: &DataType) -> Option<DataType> {
    use DataType::{FixedSizeList, LargeList, LargeListView, List, ListView};
    let item = |of: &DataType| match of {
        List(item) | LargeList(item) | ListView(item) | LargeListView(item) => {
            Some((Arc::clone(item), None))
        }
        FixedSizeList(item, size) => Some((Arc::clone(item), Some(*size))),
        _ => None,
    };
    let ((here, size), (there, other_size)) = (item(a)?, item(b)?);
    let same_kind = std::mem::discriminant(a) == std::mem::discriminant(b) && size == other_size;
    let field = Arc::new(common_element(&here, &there, same_kind)?);
    let is_large = |of: &DataType| matches!(of, LargeList(_) | LargeListView(_));
    match (size, other_size) {
        (Some(size), Some(other)) if size == other => Some(FixedSizeList(field, size)),
        _ if is_large(a) || is_large(b) => Some(LargeList(field)),
        _ => Some(List(field)),
    }
}

/// What lies in lists and maps, whatever it is called. Structs in them are matched by name only where
/// the lists are of one kind.
fn common_element(a: &FieldRef, b: &FieldRef, by_name: bool) -> Option<Field> {
    let common = if by_name {
        common_type(a.data_type(), b.data_type())?
    } else {
        common_in_order(a.data_type(), b.data_type())?
    };
    let nullable = a.is_nullable() || b.is_nullable();
    let field = a.as_ref().clone().with_data_type(common);
    Some(field.with_nullable(nullable))
}

/// As [`common_type`], but structs must have the same names in the same order, for those that are read are
/// matched by their places.
fn common_in_order(a: &DataType, b: &DataType) -> Option<DataType> {
    let (DataType::Struct(here), DataType::Struct(there)) = (a, b) else {
        let has_struct = |of: &DataType| of.is_nested() && !matches!(of, DataType::Dictionary(..));
        return match (has_struct(a) || has_struct(b), a == b) {
            (true, false) => None,
            _ => common_type(a, b),
        };
    };
    let same = |(a, b): (&FieldRef, &FieldRef)| a.name() == b.name();
    let same = here.len() == there.len() && here.iter().zip(there).all(same);
    same.then(|| in_order(here, there).map(DataType::Struct))?
}

/// The fields of both, one after the other.
fn in_order(here: &Fields, there: &Fields) -> Option<Fields> {
    let fields = here.iter().zip(there);
    fields.map(|(a, b)| common_element(a, b, false)).collect()
}

/// Keys and values of maps, whatever they are called.
fn common_entries(a: &FieldRef, b: &FieldRef) -> Option<Field> {
    let (DataType::Struct(here), DataType::Struct(there)) = (a.data_type(), b.data_type()) else {
        return None;
    };
    let common = in_order(here, there)?;
    Some(a.as_ref().clone().with_data_type(DataType::Struct(common)))
}

/// The fields of both, those of `a` first; one that only one of them has may be null.
fn common_fields(a: &Fields, b: &Fields) -> Option<Fields> {
    let find = |fields: &Fields, name: &str| fields.find(name).map(|(_, field)| Arc::clone(field));
    let mut all: Vec<Field> = Vec::with_capacity(a.len());
    for field in a {
        all.push(match find(b, field.name()) {
            Some(other) => {
                let common = common_type(field.data_type(), other.data_type())?;
                let nullable = field.is_nullable() || other.is_nullable();
                let field = field.as_ref().clone().with_data_type(common);
                field.with_nullable(nullable)
            }
            None => field.as_ref().clone().with_nullable(true),
        });
    }
    let shared = a.iter().any(|field| b.find(field.name()).is_some());
    let new = b.iter().filter(|field| a.find(field.name()).is_none());
    all.extend(new.map(|field| field.as_ref().clone().with_nullable(true)));
    (shared || a.is_empty() || b.is_empty()).then(|| all.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    use DataType::{
        Binary, Boolean, Date32, Decimal128, Decimal256, Float16, Float32, Float64, Int8, Int16,
        Int32, Int64, LargeBinary, LargeUtf8, Null, Time32, Time64, Timestamp, UInt8, UInt32,
        UInt64, Utf8, Utf8View,
    };
    use TimeUnit::{Microsecond, Millisecond, Nanosecond, Second};

    fn list(item: DataType) -> DataType {
        DataType::new_list(item, true)
    }

    fn record(fields: &[(&str, DataType)]) -> DataType {
        let field = |(name, kind): &(&str, DataType)| Field::new(*name, kind.clone(), false);
        DataType::Struct(fields.iter().map(field).collect())
    }

    fn moment(unit: TimeUnit, zone: &str) -> DataType {
        Timestamp(unit, (!zone.is_empty()).then(|| zone.into()))
    }

    #[test]
    fn what_holds_both_is_found_and_what_would_lose_is_refused() {
        let words = DataType::Dictionary(Box::new(Int32), Box::new(Utf8));
        let fixed = |size| DataType::FixedSizeBinary(size);
        for (a, b, expected) in [
            (Null, Int64, Some(Int64)),
            (Int32, Int64, Some(Int64)),
            (Int8, UInt8, Some(Int16)),
            (UInt32, Int32, Some(Int64)),
            (UInt64, Int8, None),
            (Int16, Float32, Some(Float32)),
            (Int32, Float32, Some(Float64)),
            (Int64, Float64, None),
            (Float16, Float64, Some(Float64)),
            (Boolean, Int8, None),
            (Utf8, Int64, None),
            (
                Decimal128(10, 2),
                Decimal128(12, 4),
                Some(Decimal128(12, 4)),
            ),
            (
                Decimal128(10, 0),
                Decimal128(10, 8),
                Some(Decimal128(18, 8)),
            ),
            (
                Decimal128(38, 0),
                Decimal128(38, 18),
                Some(Decimal256(56, 18)),
            ),
            (Decimal256(76, 0), Decimal128(38, 18), None),
            (Int64, Decimal128(5, 2), Some(Decimal128(21, 2))),
            (Float64, Decimal128(5, 2), None),
            (Time32(Second), Time64(Nanosecond), Some(Time64(Nanosecond))),
            (
                moment(Millisecond, ""),
                moment(Microsecond, ""),
                Some(moment(Microsecond, "")),
            ),
            (
                moment(Second, "UTC"),
                moment(Second, "+02:00"),
                Some(moment(Second, "UTC")),
            ),
            (moment(Second, "UTC"), moment(Second, ""), None),
            (Date32, moment(Second, ""), None),
            (words.clone(), Utf8, Some(Utf8)),
            (words, LargeUtf8, Some(LargeUtf8)),
            (Utf8View, Utf8, Some(Utf8)),
            (Binary, LargeBinary, Some(LargeBinary)),
            (fixed(16), fixed(8), Some(Binary)),
            (Binary, Utf8, None),
        ] {
            check(&a, &b, expected.as_ref());
        }
    }

    #[test]
    fn lists_and_structs_are_widened_by_what_is_in_them() {
        for (a, b, expected) in [
            (list(Int32), list(Int64), Some(list(Int64))),
            (list(Int32), list(Utf8), None),
            (
                list(Int32),
                DataType::new_large_list(Int32, true),
                Some(DataType::new_large_list(Int32, true)),
            ),
            (
                list(Int32),
                DataType::new_fixed_size_list(Int32, 2, true),
                Some(list(Int32)),
            ),
            (
                list(record(&[("a", Int32)])),
                DataType::new_large_list(record(&[("b", Int32)]), true),
                None,
            ),
            (record(&[("a", Int32)]), record(&[("b", Int32)]), None),
        ] {
            check(&a, &b, expected.as_ref());
        }
    }

    #[track_caller]
    fn check(a: &DataType, b: &DataType, expected: Option<&DataType>) {
        assert_eq!(common_type(a, b).as_ref(), expected, "{a} and {b}");
        assert_eq!(
            common_type(b, a).is_some(),
            expected.is_some(),
            "{b} and {a}"
        );
    }

    #[test]
    fn structs_are_matched_by_name_whatever_their_order() {
        let common = common_type(
            &record(&[("a", Int32), ("b", Utf8)]),
            &record(&[("b", Utf8), ("a", Int64), ("c", Boolean)]),
        );
        let fields = [
            Field::new("a", Int64, false),
            Field::new("b", Utf8, false),
            Field::new("c", Boolean, true),
        ];
        assert_eq!(common, Some(DataType::Struct(fields.to_vec().into())));
    }

    #[test]
    fn the_names_of_a_lists_items_say_nothing() {
        let element = |name: &str| DataType::List(Arc::new(Field::new(name, Int32, false)));
        let common = common_type(&element("item"), &element("element"));
        assert_eq!(common, Some(element("item")));
    }
}
