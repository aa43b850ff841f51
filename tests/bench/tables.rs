//! The tables that are read.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryArray, Int64Array, RecordBatch, StringArray};
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

/// Rows of a row group of tickets.
const GROUP: usize = 50_000;
/// Rows of a row group of pictures, and the bytes of each.
const PICTURES_GROUP: usize = 100;
const PICTURE_BYTES: usize = 200_000;

/// Support tickets: an id, a subject of about 60 characters and a body of about 1 KB; one in five
/// repeats an earlier one.
pub(crate) fn write_tickets(path: &Path, rows: usize) {
    let mut rng = SmallRng::seed_from_u64(7);
    let words: Vec<String> = (0..6000).map(|_| word(&mut rng)).collect();
    let file = File::create(path).expect("a file");
    let mut writer = None;
    let mut before: Vec<(String, String)> = Vec::new();
    for start in (0..rows).step_by(GROUP) {
        let count = GROUP.min(rows - start);
        let tickets: Vec<(String, String)> = (0..count)
            .map(|_| {
                if !before.is_empty() && rng.random_bool(0.2) {
                    return before[rng.random_range(0..before.len())].clone();
                }
                (text(&mut rng, &words, 10), text(&mut rng, &words, 178))
            })
            .collect();
        let ids = (start..start + count).map(|id| i64::try_from(id).expect("small"));
        let columns: [(&str, ArrayRef); 3] = [
            ("id", Arc::new(Int64Array::from_iter_values(ids))),
            (
                "subject",
                Arc::new(StringArray::from_iter_values(tickets.iter().map(|t| &t.0))),
            ),
            (
                "body",
                Arc::new(StringArray::from_iter_values(tickets.iter().map(|t| &t.1))),
            ),
        ];
        let batch = RecordBatch::try_from_iter(columns).expect("columns of one length");
        let writer = writer.get_or_insert_with(|| {
            let file = file.try_clone().expect("the file");
            ArrowWriter::try_new(file, batch.schema(), None).expect("a writer")
        });
        writer.write(&batch).expect("written");
        writer.flush().expect("a row group");
        before = tickets;
    }
    writer.expect("at least one row").close().expect("closed");
}

fn word(rng: &mut SmallRng) -> String {
    let letters = rng.random_range(3..9);
    let mut word: String = (0..letters)
        .map(|_| char::from(rng.random_range(b'a'..=b'z')))
        .collect();
    match rng.random_range(0..40) {
        0 => word.insert(0, '"'),
        1 => word.push_str("é—"),
        2..5 => word.push_str(".\n"),
        _ => {}
    }
    word
}

fn text(rng: &mut SmallRng, words: &[String], count: usize) -> String {
    let words = (0..count).map(|_| words[rng.random_range(0..words.len())].as_str());
    words.collect::<Vec<_>>().join(" ")
}

/// Photos: an id and a picture of 200 KB, each with other bytes.
pub(crate) fn write_pictures(path: &Path, rows: usize) {
    let mut rng = SmallRng::seed_from_u64(7);
    let file = File::create(path).expect("a file");
    let properties = WriterProperties::builder()
        .set_compression(Compression::UNCOMPRESSED)
        .set_dictionary_enabled(false)
        .build();
    let mut writer = None;
    for start in (0..rows).step_by(PICTURES_GROUP) {
        let count = PICTURES_GROUP.min(rows - start);
        let ids = (start..start + count).map(|id| i64::try_from(id).expect("small"));
        let pictures: Vec<Vec<u8>> = (0..count).map(|_| picture(&mut rng)).collect();
        let columns: [(&str, ArrayRef); 2] = [
            ("id", Arc::new(Int64Array::from_iter_values(ids))),
            ("photo", Arc::new(BinaryArray::from_iter_values(pictures))),
        ];
        let batch = RecordBatch::try_from_iter(columns).expect("columns of one length");
        let writer = writer.get_or_insert_with(|| {
            let file = file.try_clone().expect("the file");
            let properties = Some(properties.clone());
            ArrowWriter::try_new(file, batch.schema(), properties).expect("a writer")
        });
        writer.write(&batch).expect("written");
        writer.flush().expect("a row group");
    }
    writer.expect("at least one row").close().expect("closed");
}

/// A PNG of 640 by 480, as far as anybody looks: its head, noise, and its end.
fn picture(rng: &mut SmallRng) -> Vec<u8> {
    let mut bytes = vec![0; PICTURE_BYTES];
    rng.fill(&mut bytes[..]);
    let head: &[&[u8]] = &[
        b"\x89PNG\r\n\x1a\n",
        &13u32.to_be_bytes(),
        b"IHDR",
        &640u32.to_be_bytes(),
        &480u32.to_be_bytes(),
        &[8, 2, 0, 0, 0],
        b"sum.",
        &u32::try_from(PICTURE_BYTES - 57)
            .expect("small")
            .to_be_bytes(),
        b"IDAT",
    ];
    let head = head.concat();
    bytes[..head.len()].copy_from_slice(&head);
    let end = b"\0\0\0\0IENDsum.";
    bytes[PICTURE_BYTES - end.len()..].copy_from_slice(end);
    bytes
}
