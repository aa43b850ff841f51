//! Arrow files and streams: folders that differ, batches of any size, files that are not whole.

use arrow::array::{StringDictionaryBuilder, UInt8Array};
use arrow::ipc::CompressionType;
use arrow::ipc::writer::{FileWriter, IpcWriteOptions, StreamWriter};

use super::*;
use crate::source::scan::BATCH_BYTES;

/// How a file is written.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    File,
    Stream,
    Packed,
}

const KINDS: [Kind; 3] = [Kind::File, Kind::Stream, Kind::Packed];

fn bytes_of(batches: &[RecordBatch], kind: Kind) -> Vec<u8> {
    let schema = batches[0].schema();
    let packed = (kind == Kind::Packed).then_some(CompressionType::LZ4_FRAME);
    let options = IpcWriteOptions::default().try_with_compression(packed);
    let options = options.unwrap();
    let mut bytes = Vec::new();
    if kind == Kind::Stream {
        let mut writer = StreamWriter::try_new_with_options(&mut bytes, &schema, options).unwrap();
        for batch in batches {
            writer.write(batch).unwrap();
        }
        writer.finish().unwrap();
    } else {
        let mut writer = FileWriter::try_new_with_options(&mut bytes, &schema, options).unwrap();
        for batch in batches {
            writer.write(batch).unwrap();
        }
        writer.finish().unwrap();
    }
    bytes
}

fn write(folder: &Path, name: &str, batches: &[RecordBatch], kind: Kind) {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes_of(batches, kind)).unwrap();
}

fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    let columns = columns.into_iter().map(|(name, array)| (name, array, true));
    RecordBatch::try_from_iter_with_nullable(columns).unwrap()
}

fn texts(texts: &[Option<&str>]) -> ArrayRef {
    Arc::new(texts.iter().copied().collect::<StringArray>())
}

fn words(words: &[&str]) -> ArrayRef {
    let mut builder = StringDictionaryBuilder::<Int32Type>::new();
    for word in words {
        builder.append_value(word);
    }
    Arc::new(builder.finish())
}

#[tokio::test]
async fn files_that_differ_are_matched_by_name_and_widened() {
    for (a, b) in [
        (Kind::File, Kind::File),
        (Kind::Stream, Kind::Packed),
        (Kind::Packed, Kind::Stream),
    ] {
        let folder = scratch();
        let first = batch(vec![
            ("n", Arc::new(Int32Array::from(vec![1, -2]))),
            ("text", texts(&[Some("one"), None])),
            ("label", words(&["x", "y"])),
        ]);
        let second = batch(vec![
            ("lang", texts(&[Some("en")])),
            (
                "text",
                Arc::new(StringViewArray::from(vec!["a text that is no short one"])),
            ),
            ("n", Arc::new(Int64Array::from(vec![1 << 40]))),
            ("label", words(&["z"])),
        ]);
        write(folder.path(), "dt=1/a.arrow", &[first], a);
        write(folder.path(), "dt=2/b.feather", &[second], b);
        let expected = batch(vec![
            ("n", Arc::new(Int64Array::from(vec![1, -2, 1 << 40]))),
            (
                "text",
                texts(&[Some("one"), None, Some("a text that is no short one")]),
            ),
            ("label", texts(&[Some("x"), Some("y"), Some("z")])),
            ("lang", texts(&[None, None, Some("en")])),
            ("dt", texts(&[Some("1"), Some("1"), Some("2")])),
        ]);
        let table = open(folder.path()).await.unwrap();
        let notes = table.notes().join("; ");
        assert!(
            notes.contains("`lang` (missing in dt=1/a.arrow)"),
            "{notes}"
        );
        let tables = [("t", folder.path())];
        let asked = query("select * from t", &tables, &[]).await.unwrap();
        for source in [table, asked] {
            let read = everything(&source).await;
            assert_eq!(read.num_rows(), 3, "{a:?} {b:?}");
            for (at, field) in expected.schema().fields().iter().enumerate() {
                let column = read.column_by_name(field.name()).unwrap();
                let plain = arrow::compute::cast(column, field.data_type()).unwrap();
                assert_eq!(&plain, expected.column(at), "{} {a:?} {b:?}", field.name());
            }
        }
        let filtered = query("select n, dt from t where dt = '2' and n > 5", &tables, &[]);
        let filtered = everything(&filtered.await.unwrap()).await;
        assert_eq!(filtered.num_rows(), 1);
        let counted = query("select count(*) as rows from t", &tables, &[]);
        let counted = everything(&counted.await.unwrap()).await;
        assert_eq!(counted.column(0).as_primitive::<Int64Type>().value(0), 3);
    }
}

#[tokio::test]
async fn files_that_cannot_be_one_table_are_refused_by_both_names_and_the_column() {
    let number = || Arc::new(Int64Array::from(vec![1])) as ArrayRef;
    let text = || texts(&[Some("1")]);
    for (first, second, expected) in [
        (
            vec![("id", number()), ("n", number())],
            vec![("id", number()), ("n", text())],
            vec!["column=`n`", "b.arrow", "Utf8", "a.arrow", "Int64"],
        ),
        (
            vec![("id", number())],
            vec![("ID", number())],
            vec!["spell a column", "ID", "id", "b.arrow", "a.arrow"],
        ),
        (
            vec![("id", number())],
            vec![("other", text())],
            vec!["no column of the others", "b.arrow", "a.arrow"],
        ),
    ] {
        let folder = scratch();
        write(folder.path(), "a.arrow", &[batch(first)], Kind::File);
        write(folder.path(), "b.arrow", &[batch(second)], Kind::Stream);
        let table = open(folder.path()).await.unwrap_err();
        let tables = [("t", folder.path())];
        let asked = query("select * from t", &tables, &[]).await.unwrap_err();
        for error in [table, asked] {
            assert_eq!(error.kind(), ErrorKind::Invalid);
            let message = message(&error);
            for words in &expected {
                assert!(message.contains(words), "{words}: {message}");
            }
        }
    }
}

/// 40 rows of 2 MB in one batch: more than is handed on at once, in a file that packs them well.
#[tokio::test]
async fn a_batch_of_any_size_is_held_once_and_handed_on_in_pieces() {
    let long = |row: usize| format!("row {row} {}", "x".repeat(2 << 20));
    let text: StringArray = (0..40).map(|row| Some(long(row))).collect();
    let id = Int64Array::from_iter_values(0..40);
    let whole = batch(vec![("id", Arc::new(id)), ("text", Arc::new(text))]);
    for kind in KINDS {
        let folder = scratch();
        write(folder.path(), "a.arrow", std::slice::from_ref(&whole), kind);
        let path = folder.path().join("a.arrow");
        let source = open(&path).await.unwrap();
        let slices = slices(&source, Scan::of(["text"])).await;
        assert!(slices.len() > 4, "{kind:?}");
        let mut seen = 0;
        let mut places = std::collections::BTreeSet::new();
        for slice in &slices {
            let column = slice.batch.column(0).as_string::<i32>();
            places.insert(column.values().data_ptr().as_ptr() as usize);
            let lengths: usize = column.iter().flatten().map(str::len).sum();
            assert!(lengths as u64 <= BATCH_BYTES, "{kind:?}");
            for value in column.iter().flatten() {
                assert!(value.starts_with(&format!("row {seen} ")));
                seen += 1;
            }
        }
        assert_eq!((seen, places.len()), (40, 1), "{kind:?}: copied");

        // What a query puts together is bounded as well.
        let tables = [("t", path.as_path())];
        let sql = "select text || '!' as text from t where id % 2 = 1 order by id desc";
        let asked = query(sql, &tables, &[]).await.unwrap();
        let mut rows = 0;
        for slice in self::slices(&asked, Scan::of(["text"])).await {
            let column = slice.batch.column(0).as_string::<i32>();
            let lengths: usize = column.iter().flatten().map(str::len).sum();
            assert!(lengths as u64 <= BATCH_BYTES, "{kind:?}");
            rows += column.len();
        }
        assert_eq!(rows, 20);
    }
}

#[tokio::test]
async fn many_batches_keep_their_order_and_their_dictionaries() {
    for kind in [Kind::File, Kind::Stream] {
        let folder = scratch();
        // A stream replaces its dictionaries as it goes; a file cannot.
        let labels = |at: usize| match kind {
            Kind::Stream => [["a", "b"], ["c", "a"], ["d", "e"]][at],
            _ => ["a", "b"],
        };
        let part = |at: usize| {
            let first = i64::try_from(2 * at).unwrap();
            batch(vec![
                ("id", Arc::new(Int64Array::from(vec![first, first + 1]))),
                ("label", words(&labels(at))),
            ])
        };
        write(
            folder.path(),
            "a.arrows",
            &[part(0), part(1), part(2)],
            kind,
        );
        let source = open(&folder.path().join("a.arrows")).await.unwrap();
        let read = everything(&source).await;
        let ids = read.column(0).as_primitive::<Int64Type>().values().to_vec();
        assert_eq!(ids, [0, 1, 2, 3, 4, 5]);
        let read = arrow::compute::cast(read.column(1), &DataType::Utf8).unwrap();
        let expected: Vec<&str> = (0..3).flat_map(labels).collect();
        assert_eq!(read.as_string::<i32>(), &StringArray::from(expected));
        let later = Scan::of(["id"]).from(3).limit(2);
        assert_eq!(self::ids(&source, later).await, [(3, 3), (4, 4)]);
    }
}

#[tokio::test]
async fn files_in_a_store_are_read_as_those_on_disk() {
    let stores: Arc<Stores> = Arc::default();
    let scratch = scratch();
    for kind in KINDS {
        let address = format!("memory:///arrow/{kind:?}/a.arrow");
        let place = stores.locate(&address).unwrap();
        let bytes = bytes_of(&[rows(0..9), rows(9..20)], kind);
        place.store.put(&place.path, bytes.into()).await.unwrap();
        let input = Input::table(&address);
        let source = Source::open(&input, &stores, scratch.path()).await.unwrap();
        assert_eq!(ids(&source, Scan::of(["id"])).await.len(), 20, "{kind:?}");
    }
}

#[tokio::test]
async fn a_file_that_is_not_whole_is_refused_before_a_row_is_read() {
    for kind in KINDS {
        let whole = bytes_of(&[rows(0..300), rows(300..600)], kind);
        for keep in [1, 6, 9, 200, whole.len() / 2, whole.len() - 30] {
            let folder = scratch();
            let path = folder.path().join("a.arrow");
            fs::write(&path, &whole[..keep]).unwrap();
            let error = open(&path).await;
            // A stream may end behind any message.
            let Err(error) = error else {
                assert!(kind == Kind::Stream && keep == whole.len() - 30, "{keep}");
                continue;
            };
            let text = message(&error);
            assert_eq!(error.kind(), ErrorKind::Invalid, "{kind:?} {keep}: {text}");
            assert!(text.contains("a.arrow"), "{kind:?} {keep}: {text}");
        }
    }
}

#[tokio::test]
async fn the_first_feather_and_no_arrow_at_all_are_refused_by_name() {
    for (bytes, expected) in [
        (&b"FEA1 and so on, and so on FEA1"[..], "first version"),
        (b"PAR1 and so on, and so on PAR1", "neither"),
        (b"id,text\n1,a\n2,b\n", "neither"),
        (b"", "neither"),
    ] {
        let folder = scratch();
        let path = folder.path().join("a.feather");
        fs::write(&path, bytes).unwrap();
        let error = open(&path).await.unwrap_err();
        let text = message(&error);
        assert_eq!(error.kind(), ErrorKind::Invalid, "{text}");
        assert!(
            text.contains(expected) && text.contains("a.feather"),
            "{text}"
        );
    }
}

/// The numbers 0 to 4, as PyArrow 0.17 packed them: Arrow's reader takes their length and the mark of LZ4 for
/// numbers.
#[tokio::test]
async fn what_an_old_version_packed_as_an_experiment_is_refused_and_not_misread() {
    let tables = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/tables");
    let error = open(&tables.join("arrow-0.17-lz4.feather"))
        .await
        .unwrap_err();
    let text = message(&error);
    assert_eq!(error.kind(), ErrorKind::Invalid, "{text}");
    for words in ["version 0.17 is packed", "arrow-0.17-lz4.feather"] {
        assert!(text.contains(words), "{text}");
    }
    assert!(error.hint_text().unwrap().contains("write_feather"));
}

#[tokio::test]
async fn an_empty_table_and_nulls_alone_are_read() {
    let folder = scratch();
    let none: ArrayRef = Arc::new(UInt8Array::from(Vec::<u8>::new()));
    write(
        folder.path(),
        "a.arrow",
        &[batch(vec![("n", none)])],
        Kind::File,
    );
    let some: ArrayRef = Arc::new(arrow::array::NullArray::new(2));
    write(
        folder.path(),
        "b.arrow",
        &[batch(vec![("n", some)])],
        Kind::Stream,
    );
    let read = everything(&open(folder.path()).await.unwrap()).await;
    assert_eq!((read.num_rows(), read.column(0).null_count()), (2, 2));
}
