//! Mirror, single and keyed.

use arrow::array::AsArray;
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Int64Type};
use parquet::file::metadata::RowGroupMetaData;

use super::table::{plain, rich, simple};
use super::*;
use crate::output::{ROW_COLUMN, publish};

const HIVE: [&str; 4] = [
    "dt=2024-01-01/a.parquet",
    "dt=2024-01-01/b.parquet",
    "dt=__HIVE_DEFAULT_PARTITION__/a.parquet",
    "dt=a%20b/a.parquet",
];

/// Four files of 6, 0, 3 and 9 rows.
fn hive(root: &Path) -> Vec<SourceFile> {
    let rows = [(0, 6), (6, 0), (6, 3), (9, 9)];
    let files = HIVE.iter().zip(rows);
    files
        .map(|(name, (first, rows))| source(&root.join("in"), name, &simple(first, rows)))
        .collect()
}

#[tokio::test]
async fn a_hive_folder_is_mirrored_file_by_file() {
    let root = tempfile::tempdir().unwrap();
    let target = root.path().join("out");
    let published = publish(publication(hive(root.path()), folder_target(&target)))
        .await
        .unwrap();
    assert_eq!(published.rows(), 18);
    let mut expected: Vec<_> = HIVE.map(str::to_owned).to_vec();
    expected.sort();
    assert_eq!(listing(&target), expected);
    let mut first = 0;
    for (name, file) in HIVE.iter().zip(&published.files) {
        let bytes = std::fs::read(target.join(name)).unwrap();
        let table = read_table(&bytes);
        assert_eq!(
            (file.relative.as_str(), file.rows),
            (*name, table.num_rows() as u64)
        );
        assert_eq!(table.num_columns(), 5, "the partition stays in the path");
        check_answers(&table, first);
        first += file.rows;
    }
}

#[tokio::test]
async fn a_single_file_has_all_row_groups_and_the_partitions_as_columns() {
    let root = tempfile::tempdir().unwrap();
    let target = root.path().join("out.parquet");
    let mut single = publication(hive(root.path()), file_target(&target));
    single.layout = Layout::Single;
    publish(single).await.unwrap();
    let bytes = std::fs::read(&target).unwrap();
    let groups = metadata(&bytes);
    let rows: Vec<_> = groups
        .row_groups()
        .iter()
        .map(RowGroupMetaData::num_rows)
        .collect();
    assert_eq!(rows, [4, 2, 3, 4, 4, 1]);
    let table = read_table(&bytes);
    let names: Vec<_> = table
        .schema()
        .fields()
        .iter()
        .map(|f| f.name().clone())
        .collect();
    assert_eq!(
        names,
        ["name", "id", "dt", "label", "label_status", "label_error"]
    );
    let dt = table.column(2).as_string::<i32>();
    let dt: Vec<_> = dt.iter().collect();
    let expected = [
        vec![Some("2024-01-01"); 6],
        vec![None; 3],
        vec![Some("a%20b"); 9],
    ]
    .concat();
    assert_eq!(dt, expected);
    let ids: Vec<_> = table
        .column(1)
        .as_primitive::<Int64Type>()
        .values()
        .to_vec();
    assert_eq!(ids, (0..18).collect::<Vec<_>>());
    check_answers(&table, 0);
}

#[tokio::test]
async fn a_single_file_drops_page_indexes_that_only_some_files_have() {
    let root = tempfile::tempdir().unwrap();
    let with = source(root.path(), "a.parquet", &rich(9));
    let without = source(root.path(), "b.parquet", &plain(9));
    let target = root.path().join("out");
    let mut single = publication(vec![with, without], folder_target(&target));
    single.layout = Layout::Single;
    publish(single).await.unwrap();
    let bytes = std::fs::read(target.join("part-00000.parquet")).unwrap();
    assert!(metadata(&bytes).offset_index().is_none());
    let table = read_table(&bytes);
    let twice = [read_table(&rich(9)), read_table(&rich(9))];
    let expected = concat_batches(&twice[0].schema(), &twice).unwrap();
    assert_eq!(
        &table.columns()[..expected.num_columns()],
        expected.columns()
    );
    check_answers(&table, 0);
}

async fn keyed(key: &[&str]) -> RecordBatch {
    let root = tempfile::tempdir().unwrap();
    let target = root.path().join("out.parquet");
    let mut keyed = publication(hive(root.path()), file_target(&target));
    let key = key.iter().map(|column| (*column).to_owned()).collect();
    keyed.layout = Layout::Keyed { key };
    publish(keyed).await.unwrap();
    read_table(&std::fs::read(&target).unwrap())
}

fn names(table: &RecordBatch) -> Vec<String> {
    let schema = table.schema();
    schema
        .fields()
        .iter()
        .map(|field| field.name().clone())
        .collect()
}

#[tokio::test]
async fn a_keyed_output_has_the_key_in_its_order_and_the_answers() {
    let table = keyed(&["id", "name"]).await;
    assert_eq!(
        names(&table),
        ["id", "name", "label", "label_status", "label_error"]
    );
    let ids = table
        .column(0)
        .as_primitive::<Int64Type>()
        .values()
        .to_vec();
    assert_eq!(ids, (0..18).collect::<Vec<_>>());
    assert_eq!(table.column(1).as_string::<i32>().value(17), "n17");
    check_answers(&table, 0);
}

#[tokio::test]
async fn a_keyed_output_takes_a_key_from_the_partitions_too() {
    let table = keyed(&["dt", "id"]).await;
    assert_eq!(
        names(&table),
        ["id", "dt", "label", "label_status", "label_error"]
    );
    assert_eq!(table.column(1).as_string::<i32>().value(9), "a%20b");
    check_answers(&table, 0);
}

#[tokio::test]
async fn a_keyed_output_without_a_key_has_the_position() {
    let table = keyed(&[]).await;
    assert_eq!(
        names(&table),
        [ROW_COLUMN, "label", "label_status", "label_error"]
    );
    assert_eq!(table.schema().field(0).data_type(), &DataType::Int64);
    let rows = table
        .column(0)
        .as_primitive::<Int64Type>()
        .values()
        .to_vec();
    assert_eq!(rows, (0..18).collect::<Vec<_>>());
    check_answers(&table, 0);
}

#[tokio::test]
async fn sorting_is_kept_as_far_as_its_columns_are() {
    let root = tempfile::tempdir().unwrap();
    for (key, expected) in [(["Subject", "id"], Some(1)), (["Subject", "large"], None)] {
        let target = root.path().join("out.parquet");
        let file = source(root.path(), "in.parquet", &rich(8));
        let mut keyed = publication(vec![file], file_target(&target));
        let key = key.map(str::to_owned).to_vec();
        keyed.layout = Layout::Keyed { key };
        publish(keyed).await.unwrap();
        let metadata = metadata(&std::fs::read(&target).unwrap());
        let sorting = metadata.row_group(0).sorting_columns();
        assert_eq!(sorting.map(|columns| columns[0].column_idx), expected);
    }
}
