//! Whatever table is written, its text comes back; and whatever bytes are read, the rows are those that
//! another reader finds in them, or there is an error that names its place.

use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::DataType;
use arrow::json::LineDelimitedWriter;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use futures::TryStreamExt;
use proptest::prelude::*;
use serde_json::{Map, Value};

use crate::base::mutate::spoilt;
use crate::base::{ErrorKind, Result};
use crate::source::{Input as SourceInput, Scan, Source};

use super::read::{BufferedInput, CellKind, CsvReader, JsonReader, Keys, Row};

type Cells = Vec<Option<String>>;

/// All rows of the table in `bytes`.
fn batches(name: &str, bytes: &[u8]) -> Result<Vec<RecordBatch>> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join(name);
    std::fs::write(&path, bytes).expect("written");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let input = SourceInput::table(path.display().to_string());
        let source = Source::open(&input, &Arc::default(), folder.path()).await?;
        let names = source
            .schema()
            .fields()
            .iter()
            .map(|field| field.name().clone());
        let slices: Vec<_> = source.scan(Scan::of(names)).await?.try_collect().await?;
        Ok(slices.into_iter().map(|slice| slice.batch).collect())
    })
}

/// What may stand in a column of CSV: values of one kind, or of all kinds.
fn values() -> impl Strategy<Value = BoxedStrategy<String>> {
    let kinds: Vec<BoxedStrategy<String>> = vec![
        "[ -~\\n\\r\\té,;\"]{0,6}".boxed(),
        any::<i64>().prop_map(|n| n.to_string()).boxed(),
        "-?0{0,2}[0-9]{1,4}".boxed(),
        "[+-]?[0-9]{1,20}(\\.[0-9]{1,4})?(e[0-9])?".boxed(),
        "-?[0-9]{1,3}\\.[0-9]{2}".boxed(),
        any::<f64>().prop_map(|n| n.to_string()).boxed(),
        "true|false|True".boxed(),
        "20[0-9]{2}-[01][0-9]-[0-3][0-9]".boxed(),
        "20[0-9]{2}-0[1-9]-1[0-9][ T]1[0-9]:[0-5][0-9]:[0-6][0-9](\\.[0-9]{3})?Z?".boxed(),
    ];
    let mixed = prop::strategy::Union::new(kinds.clone()).boxed();
    prop::sample::select(kinds.into_iter().chain([mixed]).collect::<Vec<_>>())
}

fn csv_table() -> impl Strategy<Value = Vec<Cells>> {
    (prop::collection::vec(values(), 1..4), 0_usize..12).prop_flat_map(|(columns, rows)| {
        let cells: Vec<_> = columns.into_iter().map(prop::option::of).collect();
        prop::collection::vec(cells, rows)
    })
}

/// The table as CSV; `quoted` says of each cell whether it has quotes that it could do without.
fn as_csv(rows: &[Cells], line_end: &str, quoted: &[bool]) -> String {
    let width = rows.first().map_or(1, Vec::len);
    let names: Vec<String> = (0..width).map(|at| format!("c{at}")).collect();
    let mut text = names.join(",") + line_end;
    let mut quoted = quoted.iter().cycle();
    for row in rows {
        let cell = |cell: &Option<String>| {
            let asked = quoted.next() == Some(&true);
            match cell {
                None => String::new(),
                Some(text) if asked || text.is_empty() || text.contains([',', '"', '\n', '\r']) => {
                    format!("\"{}\"", text.replace('"', "\"\""))
                }
                Some(text) => text.clone(),
            }
        };
        let row: Vec<String> = row.iter().map(cell).collect();
        text.push_str(&row.join(","));
        text.push_str(line_end);
    }
    text
}

/// A moment is printed with a `T`.
fn printed(text: &str, data_type: &DataType) -> String {
    match data_type {
        DataType::Timestamp(..) => text.replacen(' ', "T", 1),
        _ => text.to_owned(),
    }
}

proptest! {
    #[test]
    fn a_table_that_is_written_as_csv_comes_back(
        rows in csv_table(),
        line_end in prop::sample::select(vec!["\n", "\r\n"]),
        quoted in prop::collection::vec(any::<bool>(), 7),
    ) {
        let text = as_csv(&rows, line_end, &quoted);
        let batches = batches("t.csv", text.as_bytes()).expect("readable");
        let options = FormatOptions::default();
        let mut at = 0;
        for batch in batches {
            for row in 0..batch.num_rows() {
                for (column, wanted) in batch.columns().iter().zip(&rows[at]) {
                    let format = ArrayFormatter::try_new(column, &options).expect("printable");
                    let found = column.is_valid(row).then(|| format.value(row).to_string());
                    let is_text = *column.data_type() == DataType::Utf8;
                    let wanted = wanted.as_ref()
                        .filter(|text| is_text || !text.is_empty())
                        .map(|text| printed(text, column.data_type()));
                    prop_assert_eq!(found, wanted, "{}", &text);
                }
                at += 1;
            }
        }
        prop_assert_eq!(at, rows.len(), "{}", &text);
    }

    #[test]
    fn a_table_that_is_written_as_ndjson_comes_back(
        rows in prop::collection::vec(json_object(), 1..8),
        in_a_list: bool,
    ) {
        let lines: Vec<String> = rows.iter().map(|row| Value::Object(row.clone()).to_string()).collect();
        let text = if in_a_list {
            format!("[{}]", lines.join(",\n"))
        } else {
            lines.join("\n")
        };
        let batches = match batches("t.json", text.as_bytes()) {
            Ok(batches) => batches,
            Err(error) => {
                prop_assert!(rows.iter().all(Map::is_empty), "{error} for {text}");
                return Ok(());
            }
        };
        let found: Vec<Map<String, Value>> = batches.iter().flat_map(written).collect();
        prop_assert_eq!(found.len(), rows.len());
        for (found, wanted) in found.iter().zip(&rows) {
            for (key, wanted) in wanted {
                let found = found.get(key).unwrap_or(&Value::Null);
                prop_assert!(same(found, wanted), "{} is {} in {}", wanted, found, &text);
            }
        }
    }

    #[test]
    fn damaged_csv_is_read_as_another_reader_reads_it_or_refused(
        bytes in spoilt(b"id,body,note\n1,\"a \"\"b\"\"\nc\",x\r\n22,,\"\"\n\n333,d e,5\" f\n".to_vec()),
        at_once in 1_usize..9,
    ) {
        let read = |at_once| csv(&bytes, at_once);
        let ours = read(at_once);
        match (&ours, &read(1 << 16)) {
            (Ok(few), Ok(all)) => prop_assert_eq!(few, all),
            (Err(few), Err(all)) => prop_assert_eq!(few.to_string(), all.to_string()),
            _ => prop_assert!(false, "it depends on how the bytes come"),
        }
        match ours {
            Ok(rows) => prop_assert_eq!(plain(rows), by_the_csv_crate(&bytes)),
            Err(error) => {
                prop_assert_eq!(error.kind(), ErrorKind::Invalid);
                prop_assert!(error.value("file").is_some() && error.hint_text().is_some(), "{error}");
            }
        }
    }

    #[test]
    fn damaged_json_is_read_as_another_reader_reads_it_or_refused(
        bytes in prop_oneof![
            spoilt(b"{\"a\":1,\"b\":\"x\\n\\\"\"}\n\n{\"a\":-2.5e3,\"c\":[{\"d\":null}]}\r\n{}\n".to_vec()),
            spoilt(b"[{\"a\":1,\"b\":\"}]\"},\n {\"a\":true,\"c\":{\"d\":[]}}]\n".to_vec()),
        ],
        at_once in 1_usize..9,
    ) {
        match (json(&bytes, at_once), json(&bytes, 1 << 16)) {
            (Ok(few), Ok(all)) => {
                prop_assert_eq!(&few, &all);
                if let Some(wanted) = by_serde(&bytes) {
                    prop_assert_eq!(few, wanted);
                }
            }
            (Err(few), Err(all)) => {
                prop_assert_eq!(few.to_string(), all.to_string());
                prop_assert_eq!(few.kind(), ErrorKind::Invalid);
                prop_assert!(few.value("file").is_some() && few.hint_text().is_some(), "{few}");
            }
            (few, all) => prop_assert!(false, "it depends on how the bytes come: {few:?}, {all:?}"),
        }
    }

    #[test]
    fn noise_is_read_or_refused(noise in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = csv(&noise, 7);
        let _ = json(&noise, 7);
    }
}

/// The header and the rows of a CSV file.
fn csv(bytes: &[u8], at_once: usize) -> Result<Vec<Cells>> {
    let mut rows = CsvReader::open(BufferedInput::of_bytes(bytes, at_once)?, Some(b','))?;
    let mut all = vec![rows.names().iter().cloned().map(Some).collect()];
    let mut row = Row::default();
    while rows.next(&mut row)? {
        let cell = |at| {
            let (kind, text) = row.get(at);
            (kind != CellKind::Null).then(|| text.to_owned())
        };
        all.push((0..row.len()).map(cell).collect());
    }
    Ok(all)
}

/// Without the difference between an empty string and nothing, which the other reader does not make.
fn plain(rows: Vec<Cells>) -> Vec<Vec<String>> {
    let is_narrow = rows[0].len() == 1;
    rows.into_iter()
        .filter(|row| !is_narrow || row[0].as_ref().is_some_and(|cell| !cell.is_empty()))
        .map(|row| row.into_iter().map(Option::unwrap_or_default).collect())
        .collect()
}

fn by_the_csv_crate(bytes: &[u8]) -> Vec<Vec<String>> {
    let mut reader = csv::ReaderBuilder::new();
    let mut reader = reader.flexible(true).has_headers(false).from_reader(bytes);
    let rows = reader.records().map(|row| row.expect("read by us"));
    let rows: Vec<Vec<String>> = rows
        .map(|row| row.iter().map(str::to_owned).collect())
        .collect();
    let is_blank = |row: &[String]| row.len() == 1 && row[0].trim_matches([' ', '\t']).is_empty();
    let mut rows = rows.into_iter().skip_while(|row| is_blank(row));
    let Some(mut names) = rows.next() else {
        return vec![Vec::new()];
    };
    let all = names.len();
    while names.last().is_some_and(String::is_empty) {
        names.pop();
    }
    let width = names.len();
    let mut found = vec![names];
    for mut row in rows {
        if all > 1 && is_blank(&row) || width == 1 && row[0].is_empty() {
            continue;
        }
        row.truncate(width);
        found.push(row);
    }
    found
}

/// The records of a JSON file, without nulls.
fn json(bytes: &[u8], at_once: usize) -> Result<Vec<Map<String, Value>>> {
    let mut rows = JsonReader::open(BufferedInput::of_bytes(bytes, at_once)?, Keys::default())?;
    let (mut all, mut row) = (Vec::new(), Row::default());
    while rows.next(&mut row)? {
        let mut record = Map::new();
        for at in 0..row.len() {
            let (kind, text) = row.get(at);
            let value = match kind {
                CellKind::Null => continue,
                CellKind::Text => text.into(),
                // What serde does not take for a value is told when its column's type is looked for.
                _ => serde_json::from_str(text).unwrap_or_else(|_| text.into()),
            };
            record.insert(rows.names()[at].clone(), value);
        }
        all.push(record);
    }
    Ok(all)
}

/// The same, as serde reads them; nothing, where there is a number or half a character that it has no
/// value for.
fn by_serde(bytes: &[u8]) -> Option<Vec<Map<String, Value>>> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let values = serde_json::Deserializer::from_slice(bytes).into_iter::<Value>();
    let values = match values.collect::<serde_json::Result<Vec<Value>>>() {
        Ok(values) => values,
        Err(error) => {
            let said = error.to_string();
            let has_no_value = ["out of range", "surrogate", "hex escape"];
            assert!(
                has_no_value.iter().any(|word| said.contains(word)),
                "{said}"
            );
            return None;
        }
    };
    let records = match &values[..] {
        [Value::Array(list)] => list.clone(),
        _ => values,
    };
    let record = |value: Value| match value {
        Value::Object(fields) => fields
            .into_iter()
            .filter(|(_, value)| !value.is_null())
            .collect(),
        other => panic!("{other} is no record"),
    };
    Some(records.into_iter().map(record).collect())
}

fn json_object() -> impl Strategy<Value = Map<String, Value>> {
    let scalar = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-3_i64..3).prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        (-1e3..1e3).prop_map(Value::from),
        "[ -~é\\n]{0,5}".prop_map(Value::from),
    ];
    let value = scalar.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::btree_map("[xyz]", inner, 0..3)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    });
    // Few keys, so that values of many kinds meet in one column, or few of them.
    prop::collection::btree_map("[a-d]", value, 0..4)
        .prop_map(|fields| fields.into_iter().collect())
}

/// A batch as JSON; a column of text, where it is no string but what stood in the file, as that.
fn written(batch: &RecordBatch) -> Vec<Map<String, Value>> {
    let mut writer = LineDelimitedWriter::new(Vec::new());
    writer.write(batch).expect("JSON");
    writer.finish().expect("JSON");
    let text = String::from_utf8(writer.into_inner()).expect("UTF-8");
    let mut rows: Vec<Map<String, Value>> = text
        .lines()
        .map(|line| serde_json::from_str(line).expect("an object"))
        .collect();
    rows.resize(batch.num_rows(), Map::new());
    for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
        if *field.data_type() != DataType::Utf8 {
            continue;
        }
        for (row, value) in rows.iter_mut().zip(column.as_string::<i32>()) {
            row.insert(field.name().clone(), value.into());
        }
    }
    rows
}

/// Whether two doubles are one, but for the last digit, which is lost as the test reads them.
fn near(found: &serde_json::Number, wanted: &serde_json::Number) -> bool {
    match (found.as_f64(), wanted.as_f64()) {
        (Some(found), Some(wanted)) => (found - wanted).abs() <= wanted.abs() * 1e-15,
        _ => false,
    }
}

/// Whether `found` is the same value; a column of text holds what is no string as it was written.
fn same(found: &Value, wanted: &Value) -> bool {
    match (found, wanted) {
        (Value::Number(found), Value::Number(wanted)) => {
            found == wanted || (found.is_f64() || wanted.is_f64()) && near(found, wanted)
        }
        (Value::Array(found), Value::Array(wanted)) => {
            found.len() == wanted.len() && found.iter().zip(wanted).all(|(a, b)| same(a, b))
        }
        (Value::Object(found), Value::Object(wanted)) => {
            let of = |fields: &Map<String, Value>, key: &String| {
                fields.get(key).cloned().unwrap_or_default()
            };
            found
                .keys()
                .chain(wanted.keys())
                .all(|key| same(&of(found, key), &of(wanted, key)))
        }
        (Value::String(found), Value::String(wanted)) => found == wanted,
        (Value::String(found), wanted) => {
            serde_json::from_str::<Value>(found).is_ok_and(|found| same(&found, wanted))
        }
        (found, wanted) => found == wanted,
    }
}
