//! The notes of pandas on a table, which it keeps in the schema's metadata: what the rows' labels are
//! (its index), and what the columns' are. A table that is not the one that was noted needs others:
//! pandas would put labels on other rows, or could not open the file at all.

use std::borrow::Cow;
use std::collections::HashSet;

use serde_json::{Map, Value, json};

/// The key under which pandas keeps them.
pub const PANDAS_KEY: &str = "pandas";

/// What pandas calls labels that are texts, or are read as such. Whatever else it makes of the columns'
/// names, it cannot make of any name.
const TEXT_LABELS: [&str; 4] = ["unicode", "string", "mixed", "mixed-integer"];

/// `notes` for a table of `rows` rows with these `columns`: an index that counts rows stays if it counts
/// as many, and one that is a column if that is there; names that the notes do not know are labels.
/// As they were where all of it is true; nothing where they cannot be read.
#[must_use]
pub fn fitting<'n>(notes: &'n str, columns: &[&str], rows: u64) -> Option<Cow<'n, str>> {
    edited(notes, |notes| {
        let stays = |index: &Value| match index {
            Value::String(column) => columns.contains(&column.as_str()),
            range => range_rows(range) == Some(rows.into()),
        };
        let is_other = keep(notes, stays);
        label(notes, columns) || is_other
    })
}

/// `notes` without an index that counts rows: for rows that are not, or not only, those that it counted.
#[must_use]
pub fn without_range(notes: &str) -> Option<Cow<'_, str>> {
    edited(notes, |notes| keep(notes, Value::is_string))
}

/// `notes`, written anew if `edit` says that it changed them.
fn edited(notes: &str, edit: impl FnOnce(&mut Map<String, Value>) -> bool) -> Option<Cow<'_, str>> {
    let mut map: Map<String, Value> = serde_json::from_str(notes).ok()?;
    let is_other = edit(&mut map);
    Some(if is_other {
        Cow::Owned(Value::Object(map).to_string())
    } else {
        Cow::Borrowed(notes)
    })
}

/// Keeps the levels of the index that `stays` says, and says whether that are not all.
fn keep(notes: &mut Map<String, Value>, stays: impl FnMut(&Value) -> bool) -> bool {
    let Some(Value::Array(levels)) = notes.get_mut("index_columns") else {
        return false;
    };
    let before = levels.len();
    levels.retain(stays);
    levels.len() < before
}

/// How many rows a range counts.
fn range_rows(range: &Value) -> Option<i128> {
    let number = |name: &str| range.get(name)?.as_i64().map(i128::from);
    let (start, stop, step) = (number("start")?, number("stop")?, number("step")?);
    let (span, step) = if step < 0 {
        (start - stop, -step)
    } else {
        (stop - start, step)
    };
    (step > 0).then(|| (span.max(0) + step - 1) / step)
}

/// Makes labels of all `columns`, and says whether there was anything to do. Where labels have one
/// level, they are texts from now on, for a new name is one; where they have several, a new name is
/// the first, and the others are empty.
fn label(notes: &mut Map<String, Value>, columns: &[&str]) -> bool {
    let known: HashSet<&str> = list(notes, "columns").iter().filter_map(name_of).collect();
    let new = columns.iter().filter(|column| !known.contains(*column));
    let levels = list(notes, "column_indexes").len();
    let entries: Vec<Value> = new.map(|column| entry(column, levels)).collect();
    if entries.is_empty() {
        return false;
    }
    let mut is_other = false;
    if let Some(Value::Array(levels)) = notes.get_mut("column_indexes") {
        for level in levels.iter_mut().filter(|level| !is_text(level)) {
            level["pandas_type"] = json!("unicode");
            level["numpy_type"] = json!("object");
            level["metadata"] = json!({"encoding": "UTF-8"});
            is_other = true;
        }
    }
    if levels > 1
        && let Some(Value::Array(columns)) = notes.get_mut("columns")
    {
        columns.extend(entries);
        is_other = true;
    }
    is_other
}

fn list<'n>(notes: &'n Map<String, Value>, name: &str) -> &'n [Value] {
    let list = notes.get(name).and_then(Value::as_array);
    list.map_or(&[], Vec::as_slice)
}

/// The name of a column in the table. Old notes have its label alone.
fn name_of(column: &Value) -> Option<&str> {
    let name = column.get("field_name").or_else(|| column.get("name"));
    name.and_then(Value::as_str)
}

/// Of what is not an object nothing can be said, and nothing is changed.
fn is_text(level: &Value) -> bool {
    let kind = level.get("pandas_type").and_then(Value::as_str);
    kind.is_none_or(|kind| TEXT_LABELS.contains(&kind))
}

/// A column of which only its name is known. A label of several levels is a tuple, as Python writes it;
/// the texts of JSON are texts of Python.
fn entry(column: &str, levels: usize) -> Value {
    let rest = ", \"\"".repeat(levels.saturating_sub(1));
    json!({
        "name": format!("({}{rest})", Value::from(column)),
        "field_name": column,
        "pandas_type": "object",
        "numpy_type": "object",
        "metadata": null,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notes(index: &Value, labels: &[&str]) -> String {
        let level = |kind: &&str| json!({"name": null, "pandas_type": kind, "numpy_type": kind, "metadata": null});
        let labels: Vec<Value> = labels.iter().map(level).collect();
        let columns = json!([{"name": "0", "field_name": "0"}, {"name": "old"}]);
        json!({"index_columns": index, "column_indexes": labels, "columns": columns}).to_string()
    }

    fn range(start: i64, stop: i64, step: i64) -> Value {
        json!({"kind": "range", "name": null, "start": start, "stop": stop, "step": step})
    }

    fn fitted(text: &str, columns: &[&str], rows: u64) -> Value {
        serde_json::from_str(&fitting(text, columns, rows).unwrap()).unwrap()
    }

    #[test]
    fn a_range_stays_where_it_counts_as_many_rows() {
        let cases = [
            (range(100, 108, 2), 4),
            (range(100, 107, 2), 4),
            (range(3, 0, -1), 3),
            (range(0, -5, -2), 3),
            (range(5, 5, 1), 0),
            (range(5, 0, 1), 0),
            (range(i64::MIN, i64::MAX, i64::MAX), 3),
        ];
        for (index, rows) in cases {
            let text = notes(&json!([index]), &["unicode"]);
            assert!(
                matches!(fitting(&text, &["0", "new"], rows), Some(Cow::Borrowed(same)) if same == text),
                "{index}"
            );
            let other = fitted(&text, &["0", "new"], rows + 1);
            assert_eq!(other["index_columns"], json!([]), "{index}");
        }
        for odd in [range(0, 4, 0), json!({"kind": "other"}), json!(7)] {
            let text = notes(&json!([odd]), &["unicode"]);
            assert_eq!(fitted(&text, &["0"], 4)["index_columns"], json!([]));
        }
    }

    #[test]
    fn an_index_that_is_a_column_stays_where_that_is_there() {
        let text = notes(&json!(["0", "old"]), &["unicode"]);
        assert_eq!(
            fitted(&text, &["0", "old"], 1)["index_columns"],
            json!(["0", "old"])
        );
        assert_eq!(fitted(&text, &["old"], 1)["index_columns"], json!(["old"]));
        let text = notes(&json!(["0", range(0, 1, 1)]), &["unicode"]);
        let without: Value = serde_json::from_str(&without_range(&text).unwrap()).unwrap();
        assert_eq!(without["index_columns"], json!(["0"]));
    }

    #[test]
    fn labels_of_one_level_become_texts_where_a_name_is_new() {
        let text = notes(&json!([]), &["int64"]);
        assert_eq!(
            fitting(&text, &["0", "old"], 1).unwrap(),
            text,
            "no name is new"
        );
        let fitted = fitted(&text, &["0", "new"], 1);
        let level = &fitted["column_indexes"][0];
        assert_eq!(
            (&level["pandas_type"], &level["numpy_type"]),
            (&json!("unicode"), &json!("object"))
        );
        assert_eq!(fitted["columns"].as_array().unwrap().len(), 2);
        for kind in TEXT_LABELS {
            let text = notes(&json!([]), &[kind]);
            assert_eq!(fitting(&text, &["0", "new"], 1).unwrap(), text);
        }
    }

    #[test]
    fn a_new_name_is_the_first_of_several_levels() {
        let text = notes(&json!([]), &["unicode", "int64"]);
        let fitted = fitted(&text, &["0", "it's \"new\""], 1);
        let kinds = [0, 1].map(|at| &fitted["column_indexes"][at]["pandas_type"]);
        assert_eq!(kinds, [&json!("unicode"), &json!("unicode")]);
        let columns = fitted["columns"].as_array().unwrap();
        assert_eq!(columns.len(), 3);
        assert_eq!(columns[2]["field_name"], json!("it's \"new\""));
        assert_eq!(columns[2]["name"], json!(r#"("it's \"new\"", "")"#));
    }

    #[test]
    fn notes_that_cannot_be_read_are_dropped_and_odd_ones_stay() {
        assert_eq!(fitting("{", &["a"], 1), None);
        assert_eq!(without_range("[]"), None);
        for odd in [
            "{}",
            r#"{"columns": []}"#,
            r#"{"column_indexes": [7], "columns": {}, "index_columns": 1}"#,
        ] {
            assert_eq!(fitting(odd, &["a"], 1).unwrap(), odd);
        }
    }
}
