//! What was there comes back as it was.

use arrow::array::{Array, RecordBatch};
use arrow::datatypes::Schema;
use parquet::arrow::ARROW_SCHEMA_META_KEY;
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData};
use parquet::file::writer::SerializedFileWriter;

use super::table::{plain, rich, rich_table};
use super::*;
use crate::output::publish;

/// The source and its output, both as bytes.
async fn spliced(bytes: Vec<u8>) -> (Vec<u8>, Vec<u8>) {
    let root = tempfile::tempdir().unwrap();
    let source = source(root.path(), "in.parquet", &bytes);
    let target = file_target(&root.path().join("out.parquet"));
    let published = publish(publication(vec![source], target)).await.unwrap();
    let output = std::fs::read(root.path().join("out.parquet")).unwrap();
    assert_eq!(published.bytes(), output.len() as u64);
    assert_eq!(listing(root.path()), ["in.parquet", "out.parquet"]);
    (bytes, output)
}

fn slice(bytes: &[u8], offset: Option<i64>, length: Option<i32>) -> Option<&[u8]> {
    let start = usize::try_from(offset?).unwrap();
    Some(&bytes[start..start + usize::try_from(length?).unwrap()])
}

fn chunk<'b>(bytes: &'b [u8], column: &ColumnChunkMetaData) -> &'b [u8] {
    let (start, length) = column.byte_range();
    &bytes[usize::try_from(start).unwrap()..usize::try_from(start + length).unwrap()]
}

fn check_chunk(old: (&[u8], &ColumnChunkMetaData), new: (&[u8], &ColumnChunkMetaData)) {
    let ((old_bytes, old), (new_bytes, new)) = (old, new);
    assert!(
        chunk(old_bytes, old) == chunk(new_bytes, new),
        "{}",
        old.column_path()
    );
    assert_eq!(old.statistics(), new.statistics());
    assert_eq!(old.compression_codec(), new.compression_codec());
    assert_eq!(old.encodings_mask(), new.encodings_mask());
    assert_eq!(old.page_encoding_stats(), new.page_encoding_stats());
    assert_eq!(old.num_values(), new.num_values());
    assert_eq!(old.uncompressed_size(), new.uncompressed_size());
    assert_eq!(
        old.definition_level_histogram(),
        new.definition_level_histogram()
    );
    assert_eq!(
        old.repetition_level_histogram(),
        new.repetition_level_histogram()
    );
    assert_eq!(
        old.unencoded_byte_array_data_bytes(),
        new.unencoded_byte_array_data_bytes()
    );
    let bloom = |bytes, c: &ColumnChunkMetaData| {
        slice(bytes, c.bloom_filter_offset(), c.bloom_filter_length()).map(<[u8]>::to_vec)
    };
    assert_eq!(bloom(old_bytes, old), bloom(new_bytes, new));
    let column_index = |bytes, c: &ColumnChunkMetaData| {
        slice(bytes, c.column_index_offset(), c.column_index_length()).map(<[u8]>::to_vec)
    };
    assert_eq!(column_index(old_bytes, old), column_index(new_bytes, new));
}

fn check_row_groups(old_bytes: &[u8], new_bytes: &[u8]) {
    let (old, new) = (metadata(old_bytes), metadata(new_bytes));
    assert_eq!(old.num_row_groups(), new.num_row_groups());
    for (at, (a, b)) in old.row_groups().iter().zip(new.row_groups()).enumerate() {
        assert_eq!(
            (a.num_rows(), a.sorting_columns()),
            (b.num_rows(), b.sorting_columns())
        );
        assert_eq!(
            (a.num_columns() + 3, Some(at)),
            (
                b.num_columns(),
                b.ordinal().map(|n| n.unsigned_abs().into())
            )
        );
        let total: i64 = b
            .columns()
            .iter()
            .map(ColumnChunkMetaData::uncompressed_size)
            .sum();
        assert_eq!(b.total_byte_size(), total);
        for (old, new) in a.columns().iter().zip(b.columns()) {
            check_chunk((old_bytes, old), (new_bytes, new));
        }
        check_pages(&old, &new, new_bytes, at);
    }
}

/// Every page that the output's indexes name begins where the one before ended.
fn check_pages(old: &ParquetMetaData, new: &ParquetMetaData, bytes: &[u8], at: usize) {
    let Some(index) = new.offset_index() else {
        assert!(old.offset_index().is_none(), "the page index is lost");
        return;
    };
    for (leaf, column) in new.row_group(at).columns().iter().enumerate() {
        let (start, length) = column.byte_range();
        let mut place = column.data_page_offset();
        for page in index[at][leaf].page_locations() {
            assert_eq!(page.offset, place, "{}", column.column_path());
            place += i64::from(page.compressed_page_size);
        }
        assert_eq!(place, i64::try_from(start + length).unwrap());
        assert!(usize::try_from(place).unwrap() <= bytes.len());
        if let Some(old_index) = old.offset_index().and_then(|all| all[at].get(leaf)) {
            let rows = |index: &parquet::file::page_index::offset_index::OffsetIndexMetaData| {
                let pages = index.page_locations().iter();
                pages
                    .map(|page| (page.first_row_index, page.compressed_page_size))
                    .collect::<Vec<_>>()
            };
            assert_eq!(rows(old_index), rows(&index[at][leaf]));
        }
    }
}

fn check_old_columns(old: &RecordBatch, new: &RecordBatch) {
    assert_eq!(new.num_columns(), old.num_columns() + 3);
    for (at, field) in old.schema().fields().iter().enumerate() {
        assert_eq!(field, &new.schema().fields()[at]);
        assert_eq!(old.column(at), new.column(at), "{}", field.name());
    }
}

#[tokio::test]
async fn old_columns_are_bit_equal_with_everything_that_belongs_to_them() {
    let (old, new) = spliced(rich(40)).await;
    check_row_groups(&old, &new);
    assert!(metadata(&new).offset_index().is_some() && metadata(&new).column_index().is_some());
    assert!(
        metadata(&old)
            .row_group(0)
            .column(0)
            .bloom_filter_offset()
            .is_some()
    );
    let table = read_table(&new);
    check_old_columns(&rich_table(40), &table);
    check_answers(&table, 0);
}

#[tokio::test]
async fn a_file_without_page_indexes_stays_without() {
    let (old, new) = spliced(plain(20)).await;
    check_row_groups(&old, &new);
    assert!(metadata(&new).offset_index().is_none());
    check_answers(&read_table(&new), 0);
}

#[tokio::test]
async fn key_values_stay_but_for_those_that_would_be_wrong() {
    let (old, new) = spliced(rich(8)).await;
    let (old, new) = (metadata(&old), metadata(&new));
    let value = |key: &str| {
        let pairs = new.file_metadata().key_value_metadata().unwrap();
        let mut found = pairs.iter().filter(|pair| pair.key == key);
        let value = found.next().and_then(|pair| pair.value.clone());
        assert!(found.next().is_none(), "{key} is there twice");
        value
    };
    assert_eq!(value("owner.note").as_deref(), Some("kept"));
    assert_eq!(value("pandas").as_deref(), Some("{\"columns\": []}"));
    assert_eq!(value("huggingface"), None);
    assert_eq!(value("org.apache.spark.sql.parquet.row.metadata"), None);
    assert_eq!(value("columnist.run").as_deref(), Some("run-1"));
    assert_eq!(value("columnist.job").as_deref(), Some("triage"));
    assert!(value(ARROW_SCHEMA_META_KEY).is_some());
    assert_eq!(
        new.file_metadata().created_by(),
        old.file_metadata().created_by()
    );
    assert_eq!(new.file_metadata().version(), old.file_metadata().version());
}

#[tokio::test]
async fn the_schema_keeps_its_own_metadata_and_the_new_fields_have_theirs() {
    let (_, new) = spliced(rich(8)).await;
    let schema = read_table(&new).schema();
    assert_eq!(schema.metadata()["owner"], "data team");
    assert!(!schema.metadata().contains_key("huggingface"));
    let label = schema.field_with_name("label").unwrap();
    assert_eq!(label.metadata()["columnist.model"], "m-1");
}

#[tokio::test]
async fn a_file_without_an_arrow_schema_reads_with_the_types_it_had() {
    let table = rich_table(9);
    let options =
        parquet::arrow::arrow_writer::ArrowWriterOptions::new().with_skip_arrow_metadata(true);
    let mut bytes = Vec::new();
    let mut writer =
        parquet::arrow::ArrowWriter::try_new_with_options(&mut bytes, table.schema(), options)
            .unwrap();
    writer.write(&table).unwrap();
    writer.close().unwrap();
    let before = read_table(&bytes);
    let (_, new) = spliced(bytes).await;
    let after = read_table(&new);
    let types = |table: &RecordBatch, count| {
        let schema: Arc<Schema> = table.schema();
        let fields = schema.fields().iter().take(count);
        fields
            .map(|field| field.data_type().clone())
            .collect::<Vec<_>>()
    };
    let count = before.num_columns();
    assert_eq!(types(&before, count), types(&after, count));
    assert_eq!(&before.columns()[..count], &after.columns()[..count]);
    let label = after.schema().field_with_name("label").unwrap().clone();
    assert_eq!(label.metadata()["columnist.model"], "m-1");
}

#[tokio::test]
async fn an_empty_table_gets_its_columns() {
    let (_, new) = spliced(rich(0)).await;
    let table = read_table(&new);
    assert_eq!((table.num_rows(), metadata(&new).num_row_groups()), (0, 0));
    check_old_columns(&rich_table(0), &table);
}

/// A row group of no rows, as PyArrow writes for an empty table.
fn empty_row_group() -> Vec<u8> {
    let descriptor = parquet::arrow::ArrowSchemaConverter::new();
    let schema = rich_table(0).project(&[0, 1]).unwrap().schema();
    let root = descriptor.convert(&schema).unwrap().root_schema_ptr();
    let mut bytes = Vec::new();
    let mut writer = SerializedFileWriter::new(&mut bytes, root, Arc::default()).unwrap();
    let mut group = writer.next_row_group().unwrap();
    while let Some(column) = group.next_column().unwrap() {
        column.close().unwrap();
    }
    group.close().unwrap();
    writer.close().unwrap();
    bytes
}

#[tokio::test]
async fn a_row_group_of_no_rows_is_carried_over() {
    let (old, new) = spliced(empty_row_group()).await;
    assert_eq!(metadata(&old).num_row_groups(), 1);
    assert_eq!(metadata(&new).num_row_groups(), 1);
    let table = read_table(&new);
    assert_eq!((table.num_rows(), table.num_columns()), (0, 5));
}

#[tokio::test]
async fn an_output_can_be_a_source_again() {
    let root = tempfile::tempdir().unwrap();
    let (_, first) = spliced(rich(8)).await;
    let source = source(root.path(), "in.parquet", &first);
    let mut next = publication(vec![source], file_target(&root.path().join("out.parquet")));
    let metadata = [("columnist.model".to_owned(), "m-2".to_owned())];
    let mut columns = AnswerColumns::of_text("second", MetaColumns::Off, &metadata);
    (0..8).for_each(|_| {
        columns
            .push(RowStatus::Succeeded, Some(AnswerRef::Text("x")), None)
            .unwrap();
    });
    next.columns = columns.schema();
    let batch = columns.finish();
    next.batches = stream::iter([batch]).boxed();
    publish(next).await.unwrap();
    let table = read_table(&std::fs::read(root.path().join("out.parquet")).unwrap());
    let names = ["label", "label_status", "label_error", "second"];
    let from = table.num_columns() - 4;
    for (at, name) in names.iter().enumerate() {
        assert_eq!(table.schema().field(from + at).name(), name);
    }
    assert_eq!(
        table.schema().field(from).metadata()["columnist.model"],
        "m-1"
    );
    assert_eq!(table.column(from + 3).null_count(), 0);
}
