//! What is read of a source in a store: pages are walked before any spend with few requests, and
//! while they are copied with none.

use std::ops::Range;

use arrow::array::{Int64Array, StringArray};
use parquet::file::properties::WriterProperties;

use super::footers::prepared;
use super::stores::Bucket;
use super::*;
use crate::base::ErrorKind;
use crate::output::{prepare, publish};

/// A table of numbers and of texts that do not compress, a few megabytes in all.
fn table() -> RecordBatch {
    const ROWS: i64 = 40_000;
    let text = |n: i64| blake3::hash(&n.to_le_bytes()).to_hex().to_string();
    let numbers = |by: i64| Int64Array::from_iter_values((0..ROWS).map(move |n| n * by));
    let texts = StringArray::from_iter_values((0..ROWS).map(text));
    RecordBatch::try_from_iter([
        ("id", Arc::new(numbers(1)) as _),
        ("text", Arc::new(texts) as _),
        ("number", Arc::new(numbers(7)) as _),
    ])
    .unwrap()
}

fn written(page_bytes: usize, group_rows: usize) -> Vec<u8> {
    let properties = WriterProperties::builder()
        .set_dictionary_enabled(false)
        .set_data_page_size_limit(page_bytes)
        .set_write_batch_size(64)
        .set_max_row_group_row_count(Some(group_rows));
    super::table::write(&table(), properties.build())
}

/// The requests for the source's bytes.
fn reads(bucket: &Bucket) -> Vec<Range<u64>> {
    let reads = bucket.0.take_reads().into_iter();
    let of_source = reads.filter(|(path, _)| path.as_ref().starts_with("in/"));
    of_source.map(|(_, range)| range).collect()
}

fn bytes_of(reads: &[Range<u64>]) -> u64 {
    reads.iter().map(|range| range.end - range.start).sum()
}

/// The file's end is fetched whenever it is opened.
const TAIL: u64 = 256 << 10;

async fn in_bucket(bytes: &[u8]) -> (Bucket, SourceFile, Target) {
    let bucket = Bucket::new();
    let file = bucket.put("in", "t.parquet", bytes.to_vec()).await;
    let target = Target {
        location: bucket.at("out.parquet"),
        form: Form::File,
    };
    (bucket, file, target)
}

#[tokio::test]
async fn large_pages_are_passed_over_and_small_ones_come_many_at_once() {
    let size = |bytes: &[u8]| bytes.len() as u64;
    // Of pages of 300 KB little more than the headers is read; pages of 3 KB are read with what is
    // between them, and so are chunks of 12 KB.
    let large = written(300_000, 40_000);
    let small = written(3_000, 40_000);
    let groups = written(1 << 20, 1_000);
    let wide = size(&large) / 4;
    for (bytes, requests_max, bytes_max) in [
        (&large, 40, wide),
        (&small, 40, size(&small)),
        (&groups, 40, 2 * size(&groups)),
    ] {
        let (bucket, file, target) = in_bucket(bytes).await;
        prepare(prepared(file, target)).await.unwrap();
        let reads = reads(&bucket);
        assert!(reads.len() <= requests_max, "{} requests", reads.len());
        let read = bytes_of(&reads);
        assert!(read <= bytes_max + TAIL, "{read} of {bytes_max} bytes");
    }
}

#[tokio::test]
async fn what_is_copied_is_read_once() {
    for bytes in [written(300_000, 15_000), written(3_000, 1_000)] {
        let (bucket, file, target) = in_bucket(&bytes).await;
        publish(publication(vec![file], target)).await.unwrap();
        let reads = reads(&bucket);
        let groups = metadata(&bytes).num_row_groups();
        assert!(reads.len() <= groups + 1, "{} requests", reads.len());
        let read = bytes_of(&reads);
        assert!(
            read <= bytes.len() as u64 + TAIL,
            "{read} of {} bytes",
            bytes.len()
        );
        let output = read_table(&bucket.get("out.parquet").await);
        assert_eq!(
            output.project(&[0, 1, 2]).unwrap().columns(),
            table().columns()
        );
    }
}

#[tokio::test]
async fn a_page_that_is_damaged_deep_in_a_file_is_found_before_any_spend() {
    let bytes = written(3_000, 15_000);
    let told = metadata(&bytes);
    for (group, column) in [(0, 0), (0, 1), (1, 1), (1, 2)] {
        let pages = &told.offset_index().unwrap()[group][column].page_locations;
        let page = pages[pages.len() / 2].offset;
        let mut spoilt = bytes.clone();
        spoilt[usize::try_from(page).unwrap()] = 0xff;
        let (_, file, target) = in_bucket(&spoilt).await;
        let before = error_of(prepare(prepared(file.clone(), target.clone())).await);
        let after = error_of(publish(publication(vec![file], target)).await);
        for error in [before, after] {
            assert_eq!(error.kind(), ErrorKind::Invalid);
            let name = ["id", "text", "number"][column];
            assert!(
                error.to_string().contains(&format!("column=`{name}`")),
                "{error}"
            );
        }
    }
}
