//! The Arrow schema that a writer left in a Parquet file, as it was before Parquet had its say.

use arrow::datatypes::Schema;
use arrow::ipc;
use arrow::ipc::convert::fb_to_schema;
use parquet::arrow::ARROW_SCHEMA_META_KEY;
use parquet::file::metadata::FileMetaData;

/// The schema under `ARROW:schema`, if there is one that can be read.
#[must_use]
pub fn written_schema(file: &FileMetaData) -> Option<Schema> {
    decode_schema(encoded(file)?)
}

/// The first column of the schema under `ARROW:schema` that has a type which Arrow's own reader breaks
/// down over, as Polars' whole numbers of 128 bits.
#[must_use]
pub fn unknown_column(file: &FileMetaData) -> Option<String> {
    let bytes = decode_base64(encoded(file)?)?;
    unknown_in(schema_in(&bytes)?)
}

/// The first column of `schema` that has such a type.
#[must_use]
pub fn unknown_in(schema: ipc::Schema<'_>) -> Option<String> {
    let mut fields = schema.fields().into_iter().flatten();
    let unknown = fields.find(|field| !is_known(*field))?;
    Some(unknown.name().unwrap_or_default().to_owned())
}

fn is_known(field: ipc::Field<'_>) -> bool {
    let is_whole = |int: ipc::Int<'_>| matches!(int.bitWidth(), 8 | 16 | 32 | 64);
    let is_decimal = |of: ipc::Decimal<'_>| matches!(of.bitWidth(), 32 | 64 | 128 | 256);
    let index = field
        .dictionary()
        .and_then(|dictionary| dictionary.indexType());
    let own = match field.type_type() {
        ipc::Type::Int => field.type_as_int().is_some_and(is_whole),
        ipc::Type::Decimal => field.type_as_decimal().is_some_and(is_decimal),
        ipc::Type::NONE => false,
        other => other.variant_name().is_some(),
    };
    own && index.is_none_or(is_whole) && field.children().into_iter().flatten().all(is_known)
}

fn encoded(file: &FileMetaData) -> Option<&str> {
    let pairs = file.key_value_metadata()?;
    let pair = pairs
        .iter()
        .find(|pair| pair.key == ARROW_SCHEMA_META_KEY)?;
    pair.value.as_deref()
}

/// The schema in such a text.
fn decode_schema(text: &str) -> Option<Schema> {
    let bytes = decode_base64(text)?;
    let schema = schema_in(&bytes)?;
    unknown_in(schema).is_none().then(|| fb_to_schema(schema))
}

/// The schema in an IPC message, with or without its length before it.
fn schema_in(bytes: &[u8]) -> Option<ipc::Schema<'_>> {
    let message = match bytes.strip_prefix(&[0xff; 4]) {
        Some(rest) => rest.get(4..)?,
        None => bytes,
    };
    let message = ipc::root_as_message(message).ok()?;
    message.header_as_schema()
}

fn decode_base64(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut count) = (0_u32, 0);
    for letter in text.trim_end_matches('=').bytes() {
        let value = match letter {
            b'A'..=b'Z' => letter - b'A',
            b'a'..=b'z' => letter - b'a' + 26,
            b'0'..=b'9' => letter - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push(u8::try_from(bits >> count & 0xff).ok()?);
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use arrow::datatypes::{DataType, Field};
    use parquet::arrow::encode_arrow_schema;

    use super::*;

    #[test]
    fn a_schema_survives_its_encoding_exactly() {
        let inner = Field::new("x", DataType::Utf8View, true)
            .with_metadata(HashMap::from([("deep".into(), "kept".into())]));
        let fields = [
            Field::new("s", DataType::Struct(vec![inner].into()), true),
            Field::new_fixed_size_list("v", Field::new("e", DataType::Float32, false), 3, true),
            Field::new_dictionary("d", DataType::Int8, DataType::Utf8, true),
        ];
        for count in 0..fields.len() {
            let metadata = HashMap::from([("owner".to_owned(), "é".repeat(count))]);
            let schema = Schema::new_with_metadata(fields[..count].to_vec(), metadata);
            assert_eq!(decode_schema(&encode_arrow_schema(&schema)), Some(schema));
        }
        assert_eq!(decode_schema("not base64!"), None);
        assert_eq!(decode_schema("AAAA"), None);
    }
}
