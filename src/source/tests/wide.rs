//! Rows of any size: what is held at once is bounded in bytes as well as in rows.

use super::*;
use crate::source::scan::BATCH_BYTES;

/// A text of `size` bytes that says which row it is.
fn long(row: usize, size: usize) -> String {
    let mut text = format!("row {row} ");
    text.push_str(&"x".repeat(size - text.len()));
    text
}

fn bytes_of(slice: &Slice) -> u64 {
    let column = slice.batch.column(0);
    let lengths: usize = match column.data_type() {
        DataType::Utf8View => column.as_string_view().iter().flatten().map(str::len).sum(),
        _ => column
            .as_string::<i32>()
            .iter()
            .flatten()
            .map(str::len)
            .sum(),
    };
    lengths as u64
}

#[track_caller]
fn check(slices: &[Slice], rows: u64, first_words: &dyn Fn(u64) -> String) {
    let mut seen = 0;
    for slice in slices {
        assert!(bytes_of(slice) <= BATCH_BYTES || slice.batch.num_rows() == 1);
        for at in 0..slice.batch.num_rows() {
            let column = slice.batch.column(0);
            let text = match column.data_type() {
                DataType::Utf8View => column.as_string_view().value(at),
                _ => column.as_string::<i32>().value(at),
            };
            let row = slice.rows.get(at).unwrap();
            assert!(text.starts_with(&first_words(row)), "row {row}");
            seen += 1;
        }
    }
    assert_eq!(seen, rows);
}

/// A table of 20 rows of 5 MB each.
fn table(folder: &Path) -> std::path::PathBuf {
    let path = folder.join("wide.parquet");
    let text: StringArray = (0..20).map(|row| Some(long(row, 5 << 20))).collect();
    let id = Int64Array::from_iter_values(0..20);
    let batch =
        RecordBatch::try_from_iter([("text", Arc::new(text) as ArrayRef), ("id", Arc::new(id))]);
    write_parquet(&path, &batch.unwrap(), 1000);
    path
}

#[tokio::test]
async fn rows_of_megabytes_come_a_few_at_a_time_on_every_path() {
    let folder = scratch();
    let path = table(folder.path());
    let source = open(&path).await.unwrap();
    let name = |row: u64| format!("row {row} ");
    let all = Scan::of(["text"]);
    check(&slices(&source, all.clone()).await, 20, &name);
    check(&slices(&source, all.clone().views()).await, 20, &name);
    let filter = predicate("text like 'row 1%' and id >= 0", &source);
    check(
        &slices(&source, all.clone().filter(filter.clone())).await,
        11,
        &name,
    );
    check(
        &slices(&source, all.clone().filter(filter).views()).await,
        11,
        &name,
    );
    let tables = [("t", path.as_path())];
    let asked = query("select text from t where text like 'row%'", &tables, &[]);
    let asked = asked.await.unwrap();
    check(&slices(&asked, all.clone()).await, 20, &name);
    let sorted = query("select text from t order by id desc", &tables, &[]);
    let sorted = slices(&sorted.await.unwrap(), all.clone()).await;
    check(&sorted, 20, &|row| format!("row {} ", 19 - row));
    let stores: Arc<Stores> = Arc::default();
    let place = stores.locate(folder.path().join("s").to_str().unwrap());
    let kept = asked
        .snapshot(&place.unwrap(), &stores, folder.path())
        .await;
    check(&slices(&kept.unwrap(), all).await, 20, &name);
}

/// More than two gigabytes, as one text array would hold them, in a file of a few kilobytes.
#[tokio::test]
async fn a_dictionary_of_long_texts_does_not_overflow() {
    let folder = scratch();
    let path = folder.path().join("a.parquet");
    let text = long(7, 1 << 20);
    let id = Int64Array::from_iter_values(0..2500);
    let repeated: DictionaryArray<Int32Type> =
        std::iter::repeat_n(Some(text.as_str()), 2500).collect();
    let batch = RecordBatch::try_from_iter([
        ("text", Arc::new(repeated) as ArrayRef),
        ("id", Arc::new(id)),
    ]);
    let properties = WriterProperties::builder()
        .set_dictionary_page_size_limit(4 << 20)
        .set_max_row_group_row_count(Some(2500))
        // As a writer would have it that knows nothing of Arrow.
        .build();
    let options = parquet::arrow::arrow_writer::ArrowWriterOptions::new()
        .with_skip_arrow_metadata(true)
        .with_properties(properties);
    let batch = batch.unwrap();
    let file = File::create(&path).unwrap();
    let mut writer = ArrowWriter::try_new_with_options(file, batch.schema(), options).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    assert!(fs::metadata(&path).unwrap().len() < 3 << 20);
    let source = open(&path).await.unwrap();
    let scan = Scan::of(["text"])
        .filter(predicate("text is not null and id >= 0", &source))
        .batch_rows(2500);
    let mut rows = 0;
    let mut stream = source.scan(scan).await.unwrap();
    while let Some(slice) = stream.try_next().await.unwrap() {
        assert!(bytes_of(&slice) <= BATCH_BYTES);
        rows += slice.batch.num_rows();
    }
    assert_eq!(rows, 2500);
}
