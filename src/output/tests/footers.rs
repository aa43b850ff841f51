//! Footers that are wrong about their columns, as writers of old times left them: the copy is right,
//! or it is refused before anything else happens.

use std::io::Write;

use arrow::array::{ArrayRef, Int64Array, StringArray};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Encoding, LogicalType};
use parquet::file::metadata::{
    ColumnChunkMetaData, ParquetMetaDataBuilder, ParquetMetaDataWriter, RowGroupMetaData,
};
use parquet::file::page_index::offset_index::OffsetIndexMetaData;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::TrackedWrite;

use super::stores::Bucket;
use super::*;
use crate::base::ErrorKind;
use crate::output::{Prepared, Published, prepare, publish};

/// The rows of the tables here.
const ROWS: i64 = 30;

/// A table of words that repeat, numbers, and lists, in row groups of eleven rows.
fn table() -> RecordBatch {
    let words = ["INDIA", "VIETNAM", "PERU", "FRANCE"];
    let word = |n: i64| words.get(usize::try_from(n * n % 5).unwrap()).copied();
    let lists = arrow::array::ListArray::from_iter_primitive::<arrow::datatypes::Int64Type, _, _>(
        (0..ROWS).map(|n| (n % 4 != 1).then(|| vec![Some(n); usize::try_from(n % 3).unwrap()])),
    );
    let columns: [(&str, ArrayRef); 4] = [
        (
            "nation",
            Arc::new((0..ROWS).map(word).collect::<StringArray>()),
        ),
        ("id", Arc::new(Int64Array::from_iter_values(0..ROWS))),
        (
            "other",
            Arc::new((0..ROWS).map(|n| word(n + 1)).collect::<StringArray>()),
        ),
        ("list", Arc::new(lists)),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true)))
        .unwrap()
}

fn whole() -> Vec<u8> {
    let properties = WriterProperties::builder()
        .set_max_row_group_row_count(Some(11))
        .set_data_page_row_count_limit(4)
        .set_write_batch_size(1)
        .set_column_bloom_filter_enabled("id".into(), true);
    super::table::write(&table(), properties.build())
}

type Columns = Vec<ColumnChunkMetaData>;

/// `bytes` with a footer in which `change` has been at the columns of every row group.
fn refooted(bytes: &[u8], change: impl Fn(Columns) -> Columns) -> Vec<u8> {
    let told = metadata(bytes);
    let changed = |group: &RowGroupMetaData| {
        let columns = change(group.columns().to_vec());
        let builder = group.clone().into_builder();
        builder.set_column_metadata(columns).build().unwrap()
    };
    let groups = told.row_groups().iter().map(changed).collect();
    // The indexes stay where they are, and are told of there.
    let footer = told.into_builder().set_row_groups(groups);
    with_footer(bytes, footer.set_offset_index(None).set_column_index(None))
}

/// The data of `bytes`, and another footer.
fn with_footer(bytes: &[u8], footer: ParquetMetaDataBuilder) -> Vec<u8> {
    let end = bytes.len() - 8;
    let length = u32::from_le_bytes(bytes[end..end + 4].try_into().unwrap());
    let mut out = bytes[..end - usize::try_from(length).unwrap()].to_vec();
    // New indexes lie before the footer, behind what was there.
    let mut written = Vec::new();
    let mut tracked = TrackedWrite::new(&mut written);
    tracked.write_all(&out).unwrap();
    ParquetMetaDataWriter::new_with_tracked(tracked, &footer.build())
        .finish()
        .unwrap();
    let begin = out.len();
    out.extend_from_slice(&written[begin..]);
    out
}

/// One column changed.
fn change(
    name: &'static str,
    change: impl Fn(&ColumnChunkMetaData) -> ColumnChunkMetaData,
) -> impl Fn(Columns) -> Columns {
    move |columns| {
        let one = |column: ColumnChunkMetaData| match column.column_path().string() {
            path if path.starts_with(name) => change(&column),
            _ => column,
        };
        columns.into_iter().map(one).collect()
    }
}

fn built(builder: parquet::file::metadata::ColumnChunkMetaDataBuilder) -> ColumnChunkMetaData {
    builder.build().unwrap()
}

pub(super) fn prepared(file: SourceFile, target: Target) -> Prepared {
    Prepared {
        sources: vec![file],
        layout: Layout::Mirror,
        columns: answers(0, 1).0.schema(),
        target,
    }
}

/// What comes of a source of these bytes, and what was said before: on local disk, and in a store alike.
async fn published(bytes: &[u8]) -> Result<(Vec<u8>, Vec<String>)> {
    let local = published_on_disk(bytes).await;
    let (before, done, there) = published_in_store(bytes).await;
    match (&local, before, done) {
        (Ok((output, notes)), Ok(said), Ok(_)) => {
            assert_eq!(said.len(), notes.len());
            assert!(&there == output, "the store's output is another one");
        }
        (Err(here), Err(before), Err(after)) => {
            assert_eq!(before.message(), here.message());
            assert_eq!(after.message(), here.message());
        }
        other => panic!("{other:?}"),
    }
    local
}

async fn published_in_store(bytes: &[u8]) -> (Result<Vec<String>>, Result<Published>, Vec<u8>) {
    let bucket = Bucket::new();
    let file = bucket.put("in", "in.parquet", bytes.to_vec()).await;
    let target = Target {
        location: bucket.at("out.parquet"),
        form: Form::File,
    };
    let before = prepare(prepared(file.clone(), target.clone())).await;
    let done = publish(publication(vec![file], target)).await;
    let output = match done {
        Ok(_) => bucket.get("out.parquet").await,
        Err(_) => Vec::new(),
    };
    (before, done, output)
}

async fn published_on_disk(bytes: &[u8]) -> Result<(Vec<u8>, Vec<String>)> {
    let root = tempfile::tempdir().unwrap();
    let file = source(root.path(), "in.parquet", bytes);
    let target = file_target(&root.path().join("out.parquet"));
    let before = prepare(prepared(file.clone(), target.clone())).await;
    let done = publish(publication(vec![file], target)).await;
    match (before, done) {
        (Ok(notes), Ok(_)) => {
            let output = std::fs::read(root.path().join("out.parquet")).unwrap();
            Ok((output, notes))
        }
        (Err(before), Err(after)) => {
            assert_eq!(before.to_string(), after.to_string());
            assert_eq!(listing(root.path()), ["in.parquet"]);
            Err(before)
        }
        (before, after) => panic!("{before:?} before, {after:?} after"),
    }
}

/// The old columns of an output of these bytes are those of the table, its footer is true, and so
/// many sentences were said.
async fn check_right(bytes: &[u8], notes_expected: usize) -> (ParquetMetaData, Vec<String>) {
    let (output, notes) = published(bytes).await.unwrap();
    assert_eq!(notes.len(), notes_expected, "{notes:?}");
    (check_output(&output), notes)
}

fn check_output(output: &[u8]) -> ParquetMetaData {
    let read = read_table(output);
    check_answers(&read, 0);
    let old = read.project(&[0, 1, 2, 3]).unwrap();
    assert_eq!(old.columns(), table().columns());
    let told = metadata(output);
    let mut places = Vec::new();
    for chunk in told.row_groups().iter().flat_map(RowGroupMetaData::columns) {
        let start = chunk
            .dictionary_page_offset()
            .unwrap_or(chunk.data_page_offset());
        assert!(start <= chunk.data_page_offset());
        places.push((start, start + chunk.compressed_size()));
    }
    places.sort_unstable();
    assert!(
        places.windows(2).all(|pair| pair[0].1 <= pair[1].0),
        "{places:?}"
    );
    told
}

/// The header of a dictionary page in these files is this long.
const DICTIONARY_HEADER: i64 = 14;

#[tokio::test]
async fn a_file_as_it_should_be_comes_along_whole() {
    let (told, _) = check_right(&whole(), 0).await;
    assert!(told.offset_index().is_some());
    assert!(told.row_group(0).column(1).bloom_filter_offset().is_some());
}

#[tokio::test]
async fn a_length_that_leaves_out_the_dictionarys_header_loses_nothing() {
    for name in ["nation", "id", "other", "list"] {
        let short = change(name, |chunk| {
            let length = chunk.compressed_size() - DICTIONARY_HEADER;
            built(
                chunk
                    .clone()
                    .into_builder()
                    .set_total_compressed_size(length),
            )
        });
        check_right(&refooted(&whole(), short), 0).await;
    }
    let none = change("", |chunk| {
        built(chunk.clone().into_builder().set_total_compressed_size(0))
    });
    check_right(&refooted(&whole(), none), 0).await;
}

#[tokio::test]
async fn a_length_that_reaches_too_far_is_cut() {
    let long = change("nation", |chunk| {
        let length = chunk.compressed_size() + 20;
        built(
            chunk
                .clone()
                .into_builder()
                .set_total_compressed_size(length),
        )
    });
    check_right(&refooted(&whole(), long), 0).await;
}

#[tokio::test]
async fn a_dictionary_that_the_footer_does_not_tell_of_is_found() {
    for offset in [None, Some(0)] {
        let at_its_place = change("", |chunk| {
            let place = chunk.dictionary_page_offset().unwrap();
            let builder = chunk
                .clone()
                .into_builder()
                .set_dictionary_page_offset(offset);
            built(builder.set_data_page_offset(place))
        });
        let (told, _) = check_right(&refooted(&whole(), at_its_place), 0).await;
        let chunk = told.row_group(0).column(0);
        assert!(chunk.dictionary_page_offset().unwrap() < chunk.data_page_offset());
        let before_the_data = change("", |chunk| {
            built(
                chunk
                    .clone()
                    .into_builder()
                    .set_dictionary_page_offset(offset),
            )
        });
        check_right(&refooted(&whole(), before_the_data), 0).await;
    }
}

#[tokio::test]
async fn a_dictionary_that_is_not_there_is_not_told_of() {
    let properties = WriterProperties::builder().set_dictionary_enabled(false);
    let bytes = super::table::write(&table(), properties.build());
    let told_of = change("other", |chunk| {
        let before = chunk.data_page_offset() - 9;
        built(
            chunk
                .clone()
                .into_builder()
                .set_dictionary_page_offset(Some(before)),
        )
    });
    let (told, _) = check_right(&refooted(&bytes, told_of), 0).await;
    assert_eq!(told.row_group(0).column(2).dictionary_page_offset(), None);
}

/// What is walked while it is copied may turn out to lie elsewhere, when its bytes have gone already: here
/// the last column's end is counted to the next row group.
#[tokio::test]
async fn chunks_that_only_seem_to_lie_side_by_side_come_from_a_store_whole() {
    let properties = WriterProperties::builder()
        .set_dictionary_enabled(false)
        .set_max_row_group_row_count(Some(11));
    let bytes = super::table::write(&table(), properties.build());
    let askew = refooted(&bytes, |mut columns: Columns| {
        let (first, last) = (&columns[0], &columns[3]);
        let (longer, shorter) = (first.compressed_size() + 9, last.compressed_size() - 9);
        let place = first.data_page_offset() - 9;
        let builder = |at: usize| columns[at].clone().into_builder();
        let first = builder(0).set_dictionary_page_offset(Some(place));
        let last = builder(3).set_total_compressed_size(shorter);
        (columns[0], columns[3]) = (built(first.set_total_compressed_size(longer)), built(last));
        columns
    });
    let (local, _) = published_on_disk(&askew).await.unwrap();
    check_output(&local);
    let (before, done, output) = published_in_store(&askew).await;
    assert_eq!(before.unwrap(), Vec::<String>::new());
    done.unwrap();
    check_output(&output);
}

#[tokio::test]
async fn counts_and_encodings_that_are_wrong_are_mended() {
    for values in [0, 3, 500] {
        let wrong = change("nation", |chunk| {
            built(chunk.clone().into_builder().set_num_values(values))
        });
        let (told, _) = check_right(&refooted(&whole(), wrong), 0).await;
        assert_eq!(told.row_group(0).column(0).num_values(), 11);
    }
    let wrong = change("nation", |chunk| {
        built(
            chunk
                .clone()
                .into_builder()
                .set_encodings(vec![Encoding::PLAIN]),
        )
    });
    let (told, _) = check_right(&refooted(&whole(), wrong), 0).await;
    let encodings: Vec<_> = told.row_group(0).column(0).encodings().collect();
    assert!(
        encodings.contains(&Encoding::RLE_DICTIONARY),
        "{encodings:?}"
    );
}

#[tokio::test]
async fn lists_whose_number_nobody_can_tell_are_refused_by_name() {
    for difference in [-1, 1] {
        let wrong = change("list", |chunk| {
            let values = chunk.num_values() + difference;
            built(chunk.clone().into_builder().set_num_values(values))
        });
        let error = error_of(published(&refooted(&whole(), wrong)).await);
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().contains("list"), "{error}");
    }
}

#[tokio::test]
async fn an_offset_index_that_points_elsewhere_is_left_behind() {
    let elsewhere = |change: fn(&mut OffsetIndexMetaData)| {
        let bytes = whole();
        let told = metadata(&bytes);
        let mut indexes = told.offset_index().unwrap().clone();
        change(&mut indexes[1][0]);
        with_footer(&bytes, told.into_builder().set_offset_index(Some(indexes)))
    };
    let changes: [fn(&mut OffsetIndexMetaData); 4] = [
        |index| index.page_locations[0].offset += 1,
        |index| index.page_locations[1].compressed_page_size += 1,
        |index| index.page_locations[1].first_row_index += 1,
        |index| index.page_locations.truncate(1),
    ];
    for change in changes {
        let (told, notes) = check_right(&elsewhere(change), 1).await;
        assert!(told.offset_index().is_none());
        assert!(notes[0].contains("page indexes"), "{notes:?}");
    }
    let garbage = change("id", |chunk| {
        built(
            chunk
                .clone()
                .into_builder()
                .set_offset_index_offset(Some(4)),
        )
    });
    // The library writes places of its own where it has indexes; so none are left to it.
    let bytes = whole();
    let told = metadata(&bytes);
    let groups = told.row_groups().iter().map(|group| {
        let columns = garbage(group.columns().to_vec());
        group
            .clone()
            .into_builder()
            .set_column_metadata(columns)
            .build()
            .unwrap()
    });
    let groups = groups.collect();
    let footer = told.into_builder().set_row_groups(groups);
    let footer = footer.set_offset_index(None).set_column_index(None);
    check_right(&with_footer(&bytes, footer), 1).await;
}

#[tokio::test]
async fn a_bloom_filter_that_is_not_there_is_left_behind() {
    let lengths = [Some(i32::MAX), Some(-1), Some(0), Some(5)];
    let places = [Some(1 << 40), Some(5), Some(-7), None];
    for (length, place) in lengths.into_iter().zip(places) {
        let wrong = change("id", |chunk| {
            let builder = chunk.clone().into_builder().set_bloom_filter_length(length);
            let place = place.or(chunk.bloom_filter_offset());
            built(builder.set_bloom_filter_offset(place))
        });
        let (told, notes) = check_right(&refooted(&whole(), wrong), 1).await;
        assert_eq!(told.row_group(0).column(1).bloom_filter_offset(), None);
        assert!(
            notes[0].contains("bloom filters of column `id`"),
            "{notes:?}"
        );
    }
}

/// A file whose column `nation` has a logical type that no version has yet.
fn of_the_future() -> Vec<u8> {
    let table = table();
    let root = parquet::arrow::ArrowSchemaConverter::new()
        .convert(&table.schema())
        .unwrap()
        .root_schema_ptr();
    let nation = parquet::schema::types::Type::primitive_type_builder(
        "nation",
        parquet::basic::Type::BYTE_ARRAY,
    )
    .with_repetition(parquet::basic::Repetition::OPTIONAL)
    .with_logical_type(Some(LogicalType::Json))
    .build()
    .unwrap();
    let mut kinds = root.get_fields().to_vec();
    kinds[0] = Arc::new(nation);
    let root = parquet::schema::types::Type::group_type_builder("schema")
        .with_fields(kinds)
        .build()
        .unwrap();
    let schema = parquet::schema::types::SchemaDescriptor::new(Arc::new(root));
    let options = parquet::arrow::arrow_writer::ArrowWriterOptions::new()
        .with_parquet_schema(schema)
        .with_skip_arrow_metadata(true);
    let mut bytes = Vec::new();
    let mut writer =
        ArrowWriter::try_new_with_options(&mut bytes, table.schema(), options).unwrap();
    writer.write(&table).unwrap();
    writer.close().unwrap();
    // `converted_type = JSON` and `logicalType = { JSON = {} }` become a logical type of number 9, which
    // is reserved, alone.
    let json = [0x25, 0x26, 0x4c, 0xcc, 0x00, 0x00];
    let at = bytes.windows(json.len()).rposition(|window| window == json);
    let at = at.unwrap();
    bytes.splice(at..at + json.len(), [0x6c, 0x9c, 0x00, 0x00]);
    let end = bytes.len() - 8;
    let length = u32::from_le_bytes(bytes[end..end + 4].try_into().unwrap()) - 2;
    bytes[end..end + 4].copy_from_slice(&length.to_le_bytes());
    bytes
}

#[tokio::test]
async fn a_logical_type_that_is_not_known_is_left_behind_with_its_statistics() {
    let bytes = of_the_future();
    let told = metadata(&bytes);
    let kind = told.file_metadata().schema_descr().column(0);
    let kind = kind.logical_type_ref();
    assert!(
        matches!(kind, Some(LogicalType::_Unknown { .. })),
        "{kind:?}"
    );
    assert!(told.row_group(0).column(0).statistics().is_some());
    let (output, notes) = published(&bytes).await.unwrap();
    let read = read_table(&output);
    check_answers(&read, 0);
    let as_text = arrow::compute::cast(read.column(0), &arrow::datatypes::DataType::Utf8).unwrap();
    assert_eq!(&as_text, table().column(0));
    assert_eq!(read.columns()[1..4], table().columns()[1..4]);
    let told = metadata(&output);
    assert_eq!(
        told.file_metadata()
            .schema_descr()
            .column(0)
            .logical_type_ref(),
        None
    );
    assert!(told.row_group(0).column(0).statistics().is_none());
    assert!(told.row_group(0).column(1).statistics().is_some());
    assert_eq!(notes.len(), 1);
    assert!(notes[0].contains("`nation`"), "{notes:?}");
}

#[tokio::test]
async fn columns_that_lie_elsewhere_or_in_another_order_are_refused_by_name() {
    let elsewhere = change("other", |chunk| {
        built(
            chunk
                .clone()
                .into_builder()
                .set_file_path("part-0.parquet".into()),
        )
    });
    let error = error_of(published(&refooted(&whole(), elsewhere)).await);
    assert!(error.to_string().contains("column=`other`"), "{error}");
    assert!(
        error
            .hint_text()
            .is_some_and(|hint| hint.contains("source.table"))
    );

    let swapped = |mut columns: Columns| {
        columns.swap(0, 2);
        columns
    };
    let error = error_of(published(&refooted(&whole(), swapped)).await);
    assert!(
        error.to_string().contains("column=`nation`, found=`other`"),
        "{error}"
    );
}

#[tokio::test]
async fn pages_that_are_damaged_are_refused_by_column() {
    let bytes = whole();
    let index = metadata(&bytes).offset_index().unwrap()[1][2].clone();
    let pages = index.page_locations.iter().map(|page| page.offset);
    for page in pages {
        let mut spoilt = bytes.clone();
        spoilt[usize::try_from(page).unwrap()] = 0xff;
        let error = error_of(published(&spoilt).await);
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().contains("column=`other`"), "{error}");
    }
}

#[tokio::test]
async fn a_dictionary_whose_header_is_not_there_is_refused_by_column() {
    let bytes = whole();
    let chunk = metadata(&bytes).row_group(1).column(2).clone();
    let dictionary = chunk.dictionary_page_offset().unwrap();
    let mut broken = bytes.clone();
    broken[usize::try_from(dictionary).unwrap()] = 0xff;
    // Nobody tells of it, and the chunk before it is said to reach over it.
    let length = chunk.data_page_offset() - dictionary;
    let hidden = refooted(&bytes, |mut columns: Columns| {
        let builder = |at: usize| columns[at].clone().into_builder();
        let before = builder(1).set_total_compressed_size(columns[1].compressed_size() + length);
        let other = builder(2)
            .set_dictionary_page_offset(None)
            .set_total_compressed_size(columns[2].compressed_size() - length);
        (columns[1], columns[2]) = (built(before), built(other));
        columns
    });
    for bytes in [broken, hidden] {
        let error = error_of(published(&bytes).await);
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().contains("column=`other`"), "{error}");
    }
}

#[tokio::test]
async fn a_place_of_the_data_that_is_wrong_is_mended() {
    let distance = |chunk: &ColumnChunkMetaData| {
        chunk.data_page_offset() - chunk.dictionary_page_offset().unwrap()
    };
    let right = metadata(&whole());
    for by in [-5, 5, 40] {
        let wrong = change("other", |chunk| {
            let place = chunk.data_page_offset() + by;
            built(chunk.clone().into_builder().set_data_page_offset(place))
        });
        let (told, _) = check_right(&refooted(&whole(), wrong), 0).await;
        for (told, right) in told.row_groups().iter().zip(right.row_groups()) {
            assert_eq!(distance(told.column(2)), distance(right.column(2)));
        }
    }
}

#[tokio::test]
async fn statistics_that_are_judged_by_their_writers_name_do_not_outlive_it() {
    let root = tempfile::tempdir().unwrap();
    let of = |name: &str, creator: &str| {
        let properties = WriterProperties::builder().set_created_by(creator.to_owned());
        source(
            root.path(),
            name,
            &super::table::write(&table(), properties.build()),
        )
    };
    let old = of(
        "a.parquet",
        "parquet-mr version 1.6.0 (build 6aa21f8776625b5fa6b18059cfebe7549f2e00cb)",
    );
    let new = of("b.parquet", "somebody else version 3.0.0");
    for (sources, expect) in [
        (vec![old.clone(), new], [false, true]),
        (vec![old], [true, true]),
    ] {
        let target = file_target(&root.path().join(format!("out-{}.parquet", sources.len())));
        let path = target.location.local.clone().unwrap();
        let mut single = publication(sources, target);
        single.layout = Layout::Single;
        publish(single).await.unwrap();
        let told = metadata(&std::fs::read(path).unwrap());
        for (group, expect) in told.row_groups().iter().zip(expect) {
            assert_eq!(group.column(0).statistics().is_some(), expect);
        }
    }
}
