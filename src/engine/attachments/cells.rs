//! What lies in the cells of a column that is attached.

use std::borrow::Cow;

use arrow::array::{Array, ArrayRef, AsArray, GenericListArray, OffsetSizeTrait, StructArray};
use arrow::datatypes::{DataType, Field};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::base::{Error, ErrorKind, Result, ResultExt};
use crate::prompt::ATTACHED_FIELDS;

/// One picture or document, as a cell has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Item<'a> {
    /// Its bytes.
    Bytes(&'a [u8]),
    /// A URL, a path, or the bytes as a `data:` URL.
    Text(&'a str),
}

/// That a column can be attached.
///
/// # Errors
/// `Invalid` if its type is none that holds pictures or documents.
pub(crate) fn check_column(field: &Field) -> Result<()> {
    if is_attachable(field.data_type(), true) {
        return Ok(());
    }
    Err(
        Error::invalid("a column of this type holds no pictures or documents")
            .with("column", field.name())
            .with("type", field.data_type())
            .hint("attached columns are of bytes, or of texts that are URLs or paths, or lists of these; or write its value into the prompt"),
    )
}

fn is_attachable(data_type: &DataType, may_list: bool) -> bool {
    match data_type {
        // All of whose values are null: nobody knows what they would be.
        DataType::Null
        | DataType::Binary
        | DataType::LargeBinary
        | DataType::BinaryView
        | DataType::FixedSizeBinary(_)
        | DataType::Utf8
        | DataType::LargeUtf8
        | DataType::Utf8View => true,
        DataType::Dictionary(_, values) => is_attachable(values, may_list),
        DataType::RunEndEncoded(_, values) => is_attachable(values.data_type(), may_list),
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _)
            if may_list =>
        {
            is_attachable(item.data_type(), false)
        }
        DataType::Struct(fields) => {
            let known = fields
                .iter()
                .filter(|f| ATTACHED_FIELDS.contains(&f.name().as_str()));
            known.clone().count() > 0
                && known
                    .into_iter()
                    .all(|f| is_attachable(f.data_type(), false))
        }
        _ => false,
    }
}

/// The column as [`items`] reads it.
///
/// # Errors
/// `Invalid` if it cannot be decoded.
pub(crate) fn plain(array: &ArrayRef) -> Result<ArrayRef> {
    crate::prompt::plain(array).or_err(ErrorKind::Invalid, "cannot decode a column")
}

/// What row `row` of a plain column has. Nulls in a list are passed by.
pub(crate) fn items(array: &ArrayRef, row: usize) -> Vec<Item<'_>> {
    if array.is_null(row) {
        return Vec::new();
    }
    match array.data_type() {
        DataType::List(_) => of_list(array.as_list::<i32>(), row),
        DataType::LargeList(_) => of_list(array.as_list::<i64>(), row),
        DataType::FixedSizeList(_, len) => {
            let (list, len) = (
                array.as_fixed_size_list(),
                usize::try_from(*len).unwrap_or(0),
            );
            let start = row * len;
            let range = start..start + len;
            range.filter_map(|at| item(list.values(), at)).collect()
        }
        _ => item(array, row).into_iter().collect(),
    }
}

fn of_list<O: OffsetSizeTrait>(list: &GenericListArray<O>, row: usize) -> Vec<Item<'_>> {
    let ends = &list.value_offsets()[row..];
    let range = ends[0].as_usize()..ends[1].as_usize();
    range.filter_map(|at| item(list.values(), at)).collect()
}

fn item(array: &ArrayRef, at: usize) -> Option<Item<'_>> {
    if array.is_null(at) {
        return None;
    }
    Some(match array.data_type() {
        DataType::Binary => Item::Bytes(array.as_binary::<i32>().value(at)),
        DataType::LargeBinary => Item::Bytes(array.as_binary::<i64>().value(at)),
        DataType::BinaryView => Item::Bytes(array.as_binary_view().value(at)),
        DataType::FixedSizeBinary(_) => Item::Bytes(array.as_fixed_size_binary().value(at)),
        DataType::Utf8 => Item::Text(array.as_string::<i32>().value(at)),
        DataType::LargeUtf8 => Item::Text(array.as_string::<i64>().value(at)),
        DataType::Utf8View => Item::Text(array.as_string_view().value(at)),
        DataType::Struct(_) => return field(array.as_struct(), at),
        _ => return None,
    })
}

fn field(record: &StructArray, at: usize) -> Option<Item<'_>> {
    let columns = ATTACHED_FIELDS
        .into_iter()
        .filter_map(|name| record.column_by_name(name));
    columns.into_iter().find_map(|column| item(column, at))
}

impl<'a> Item<'a> {
    /// Its bytes, where they are in the cell; `None` where the cell says where they are.
    ///
    /// # Errors
    /// If it is a `data:` URL that cannot be read.
    pub(crate) fn bytes(self) -> std::result::Result<Option<Cow<'a, [u8]>>, String> {
        let text = match self {
            Item::Bytes(bytes) => return Ok(Some(Cow::Borrowed(bytes))),
            Item::Text(text) => text,
        };
        let Some(rest) = text.strip_prefix("data:") else {
            return Ok(None);
        };
        let packed = rest.split_once(";base64,");
        let (_, packed) = packed.ok_or("it is a `data:` URL without base64")?;
        let bytes = STANDARD.decode(packed.trim());
        let bytes = bytes.map_err(|error| format!("its base64 cannot be read: {error}"))?;
        Ok(Some(Cow::Owned(bytes)))
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{
        BinaryArray, FixedSizeListBuilder, ListArray, ListBuilder, NullArray, RecordBatch,
        StringArray, StringDictionaryBuilder, StringRunBuilder,
    };
    use arrow::datatypes::{Int32Type, UInt8Type};

    use std::sync::Arc;

    use super::*;

    fn texts<'a>(items: &[Item<'a>]) -> Vec<&'a str> {
        let text = |item: &Item<'a>| match item {
            Item::Text(text) => *text,
            Item::Bytes(bytes) => std::str::from_utf8(bytes).expect("text"),
        };
        items.iter().map(text).collect()
    }

    #[test]
    fn cells_of_every_shape_hold_their_items() {
        let list = ListArray::from_iter_primitive::<UInt8Type, _, _>([Some(vec![Some(1)])]);
        let field = Field::new("a", list.data_type().clone(), true);
        assert!(check_column(&field).is_err(), "numbers are no pictures");

        let bytes: ArrayRef = Arc::new(BinaryArray::from_opt_vec(vec![Some(b"ab"), None]));
        assert_eq!(texts(&items(&bytes, 0)), ["ab"]);
        assert_eq!(items(&bytes, 1), []);

        let mut lists = arrow::array::ListBuilder::new(arrow::array::StringBuilder::new());
        lists.append_value([Some("a"), None, Some("b")]);
        lists.append_value([Some("c")]);
        let lists: ArrayRef = Arc::new(lists.finish());
        let rows = lists.slice(1, 1);
        assert_eq!(texts(&items(&lists, 0)), ["a", "b"]);
        assert_eq!(texts(&items(&rows, 0)), ["c"], "a slice has its own rows");

        let record = RecordBatch::try_from_iter([
            (
                "bytes",
                Arc::new(BinaryArray::from_opt_vec(vec![Some(b"x"), None])) as ArrayRef,
            ),
            (
                "path",
                Arc::new(StringArray::from(vec!["p0", "p1"])) as ArrayRef,
            ),
        ]);
        let record: ArrayRef = Arc::new(StructArray::from(record.expect("a batch")));
        assert_eq!(items(&record, 0), [Item::Bytes(b"x")]);
        assert_eq!(items(&record, 1), [Item::Text("p1")]);

        let mut words = StringDictionaryBuilder::<Int32Type>::new();
        words.append_value("w");
        let words: ArrayRef = Arc::new(words.finish());
        assert!(check_column(&Field::new("a", words.data_type().clone(), true)).is_ok());
        assert_eq!(texts(&items(&plain(&words).expect("decoded"), 0)), ["w"]);
    }

    /// What is in `array`, by row, where that is a column that can be attached.
    fn rows(array: &ArrayRef) -> Vec<Vec<String>> {
        let field = Field::new("a", array.data_type().clone(), true);
        check_column(&field).expect("a column of pictures");
        let array = plain(array).expect("decoded");
        let row = |row| {
            texts(&items(&array, row))
                .into_iter()
                .map(str::to_owned)
                .collect()
        };
        (0..array.len()).map(row).collect()
    }

    #[test]
    fn layouts_that_save_space_lose_no_picture() {
        let words = StringDictionaryBuilder::<Int32Type>::new;
        let mut runs = StringRunBuilder::<Int32Type>::new();
        runs.extend([Some("a"), Some("a"), None, Some("b")]);
        let runs: ArrayRef = Arc::new(runs.finish());
        let expect = [vec!["a"], vec!["a"], vec![], vec!["b"]];
        assert_eq!(rows(&runs), expect);
        assert_eq!(
            rows(&runs.slice(1, 2)),
            expect[1..3],
            "a slice has its own rows"
        );

        let mut lists = ListBuilder::new(words());
        lists.values().append_value("a");
        lists.values().append_null();
        lists.values().append_value("b");
        lists.append(true);
        lists.append(false);
        let lists: ArrayRef = Arc::new(lists.finish());
        assert_eq!(rows(&lists), [vec!["a", "b"], vec![]]);

        let mut pairs = FixedSizeListBuilder::new(words(), 2);
        for word in ["a", "b", "c", "d"] {
            pairs.values().append_value(word);
        }
        pairs.append(true);
        pairs.append(true);
        let pairs: ArrayRef = Arc::new(pairs.finish());
        assert_eq!(rows(&pairs), [["a", "b"], ["c", "d"]]);
        assert_eq!(rows(&pairs.slice(1, 1)), [["c", "d"]]);

        let mut paths = words();
        paths.append_value("p");
        let path = Arc::new(paths.finish()) as ArrayRef;
        let record = RecordBatch::try_from_iter([("path", path)]).expect("a batch");
        assert_eq!(
            rows(&(Arc::new(StructArray::from(record)) as ArrayRef)),
            [["p"]]
        );

        let nulls: ArrayRef = Arc::new(NullArray::new(2));
        assert_eq!(rows(&nulls), [[""; 0], []]);
    }

    #[test]
    fn a_data_url_holds_its_bytes() {
        let bytes = |text| Item::Text(text).bytes();
        assert_eq!(
            bytes("data:image/png;base64,YWJj"),
            Ok(Some(Cow::Borrowed(&b"abc"[..])))
        );
        assert_eq!(bytes("https://example.org/a.png"), Ok(None));
        assert!(bytes("data:image/png,abc").is_err());
        assert!(bytes("data:image/png;base64,*").is_err());
    }
}
