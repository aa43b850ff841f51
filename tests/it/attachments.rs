//! Pictures and documents: each row's own go with its request, at every vendor, through faults, and what
//! cannot be sent is said of its row.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, Int64Array, ListBuilder, RecordBatch, StringArray, StringBuilder,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use parquet::arrow::ArrowWriter;
use serde_json::json;

use crate::world::{LABELS, VENDORS, World, hash, read_table};

/// A picture of one pixel, which `n` tells from others.
pub(crate) fn picture(n: u8) -> Vec<u8> {
    png([1, 1], n)
}

/// A picture of so many pixels, as far as anybody looks.
fn png([width, height]: [u32; 2], n: u8) -> Vec<u8> {
    let parts: &[&[u8]] = &[
        b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR",
        &width.to_be_bytes(),
        &height.to_be_bytes(),
        b"\x08\x02\0\0\0sum.\0\0\0\x28IDAT",
        &[n; 40],
        b"sum.\0\0\0\0IENDsum.",
    ];
    parts.concat()
}

pub(crate) const PDF: &[u8] =
    b"%PDF-1.4\n2 0 obj\n<< /Type /Pages /Kids [3 0 R] /Count 3 >>\nendobj\n%%EOF";

pub(crate) fn write(path: &Path, columns: Vec<(&str, ArrayRef)>) {
    let columns = columns.into_iter().map(|(name, array)| (name, array, true));
    let batch = RecordBatch::try_from_iter_with_nullable(columns).expect("a batch");
    let file = std::fs::File::create(path).expect("a file");
    let mut writer = ArrowWriter::try_new(file, batch.schema(), None).expect("a writer");
    writer.write(&batch).expect("written");
    writer.close().expect("closed");
}

pub(crate) fn bytes(cells: Vec<Option<Vec<u8>>>) -> ArrayRef {
    Arc::new(BinaryArray::from_iter(cells))
}

pub(crate) fn texts(cells: Vec<Option<&str>>) -> ArrayRef {
    Arc::new(StringArray::from(cells))
}

pub(crate) fn ids(rows: usize) -> ArrayRef {
    Arc::new((0i64..).take(rows).collect::<Int64Array>())
}

/// A world whose rows each have a picture, asked about in small chunks.
pub(crate) fn pictures(vendor: &'static str, faults: &str, rows: u8) -> World {
    let mut world = World::new(vendor, faults);
    let cells = (0..rows).map(|n| Some(picture(n))).collect();
    let columns = vec![("id", ids(rows.into())), ("photo", bytes(cells))];
    write(&world.path("in.parquet"), columns);
    world.job["prompt"]["user"] = "What is in {{ photo }} of {{ id }}?".into();
    world.job["prompt"]["images"] = json!(["photo"]);
    world.job["answer"]["answer"] = json!({ "type": "text" });
    world.job["model"]["max_requests_per_batch"] = 9.into();
    world
}

/// What the sandbox says to a text with attachments, by its own documentation.
pub(crate) fn answer_to(text: &str, attached: &[&[u8]]) -> String {
    let mut drawn = text.to_owned();
    for bytes in attached {
        drawn.push('\n');
        drawn.push_str(&STANDARD.encode(bytes));
    }
    format!(" #{:016x}", hash(&drawn))
}

#[tokio::test(flavor = "multi_thread")]
async fn each_row_is_answered_by_its_own_picture() {
    for vendor in VENDORS {
        let world = pictures(vendor, "", 30);
        world.run().await.expect("a run");
        let table = read_table(&world.path("out.parquet"));
        assert_eq!(table["label"].len(), 30);
        for (n, label) in (0u8..).zip(&table["label"]) {
            let expect = answer_to(&format!("What is in  of {n}?"), &[&picture(n)]);
            let label = label.as_deref().expect("an answer");
            assert!(label.ends_with(&expect), "{n}: {label}");
        }
        let billed = world.bill().distinct_billed;
        world.run().await.expect("a second run");
        assert_eq!(
            world.bill().distinct_billed,
            billed,
            "nothing is paid twice"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_picture_may_be_all_that_a_row_asks() {
    for vendor in VENDORS {
        let mut world = pictures(vendor, "", 3);
        world.job["prompt"]["user"] = "{{ photo }}".into();
        world.run().await.expect("a run");
        let table = read_table(&world.path("out.parquet"));
        for (n, label) in (0u8..).zip(&table["label"]) {
            let expect = answer_to("", &[&picture(n)]);
            let label = label.as_deref().expect("an answer");
            assert!(label.ends_with(&expect), "{n}: {label}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn through_faults_no_row_gets_the_answer_to_another_picture() {
    for vendor in VENDORS {
        for keeps in [true, false] {
            let faults =
                "errored=0.1,expire=0.2,missing=0.1,duplicate=0.1,lost_answer=0.3,truncate=0.2";
            let mut world = pictures(vendor, faults, 40);
            world.job["ledger"]["keep_prompts"] = keeps.into();
            world.job["budget"]["max_failed"] = json!({ "rows": 40 });
            world.run().await.expect("a run");
            let table = read_table(&world.path("out.parquet"));
            let mut answered = 0;
            for (n, label) in (0u8..).zip(&table["label"]) {
                if let Some(label) = label {
                    answered += 1;
                    let expect = answer_to(&format!("What is in  of {n}?"), &[&picture(n)]);
                    assert!(label.ends_with(&expect), "{vendor} {n}: {label}");
                }
            }
            assert!(answered > 30, "{answered}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_picture_is_asked_about_once_and_another_is_another_question() {
    for vendor in VENDORS {
        let mut world = pictures(vendor, "", 6);
        let cells = [0, 1, 0, 1, 2, 0].map(|n| Some(picture(n)));
        let columns = vec![("id", ids(6)), ("photo", bytes(cells.to_vec()))];
        write(&world.path("in.parquet"), columns);
        world.job["prompt"]["user"] = "What is this?".into();
        world.run().await.expect("a run");
        assert_eq!(world.bill().distinct_billed, 3);
        let table = read_table(&world.path("out.parquet"));
        for (row, n) in [0u8, 1, 0, 1, 2, 0].into_iter().enumerate() {
            let expect = answer_to("What is this?", &[&picture(n)]);
            let label = table["label"][row].as_deref().expect("an answer");
            assert!(label.ends_with(&expect), "{row}: {label}");
        }
        // One picture changes: one request.
        let cells = [0, 1, 0, 9, 2, 0].map(|n| Some(picture(n)));
        let columns = vec![("id", ids(6)), ("photo", bytes(cells.to_vec()))];
        write(&world.path("in.parquet"), columns);
        world.run().await.expect("another run");
        assert_eq!(world.bill().distinct_billed, 4);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_sent_is_said_of_its_row_and_the_others_go_on() {
    let many = String::from_utf8(PDF.to_vec())
        .expect("text")
        .replace("/Count 3", "/Count 2000");
    let wide = png([9001, 1], 0);
    for vendor in VENDORS {
        let mut world = pictures(vendor, "", 1);
        let photos = vec![
            Some(picture(1)),
            None,
            Some(b"no picture".to_vec()),
            Some(Vec::new()),
            Some(PDF.to_vec()),
            Some(wide.clone()),
            Some(picture(2)),
        ];
        let mut papers = vec![Some(PDF.to_vec()); 6];
        papers.push(Some(many.clone().into_bytes()));
        let columns = vec![
            ("id", ids(7)),
            ("photo", bytes(photos)),
            ("paper", bytes(papers)),
        ];
        write(&world.path("in.parquet"), columns);
        world.job["prompt"]["user"] = "Is {{ paper }} of {{ id }}?".into();
        world.job["prompt"]["documents"] = json!(["paper"]);
        world.job["budget"]["max_failed"] = json!({ "rows": 7 });
        world.run().await.expect("a run");
        let table = read_table(&world.path("out.parquet"));
        let status = |row: usize| table["label_status"][row].clone().unwrap_or_default();
        let error = |row: usize| table["label_error"][row].clone().unwrap_or_default();
        // The picture is placed nowhere, and so stands before the text.
        let expect = answer_to("Is  of 0?", &[&picture(1), PDF]);
        assert!(
            table["label"][0]
                .as_deref()
                .is_some_and(|label| label.ends_with(&expect))
        );
        assert_eq!(
            (status(1), error(1)),
            ("skipped".into(), "column `photo` is null".into())
        );
        for (row, why) in [
            (2, "its bytes are none of image/jpeg"),
            (3, "it is empty"),
            (
                4,
                "it is application/pdf, and the provider takes image/jpeg",
            ),
        ] {
            assert_eq!(status(row), "failed");
            let why = format!("image of column `photo`: {why}");
            assert!(error(row).starts_with(&why), "{}", error(row));
        }
        // Only one of the vendors says how large a picture and how long a document may be.
        let limited = vendor == "anthropic";
        let expect = if limited { "failed" } else { "succeeded" };
        assert_eq!(
            [status(5), status(6)],
            [expect, expect],
            "{} {}",
            error(5),
            error(6)
        );
        if limited {
            assert!(
                error(5).ends_with("its longer side has 9001 pixels, and the provider takes 8000")
            );
            assert!(error(6).ends_with("it has 2000 pages, and the provider takes 600"));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn urls_go_unread_and_files_are_read_where_the_job_says_so() {
    for vendor in VENDORS {
        let mut world = pictures(vendor, "", 1);
        std::fs::create_dir(world.path("photos")).expect("a folder");
        std::fs::write(world.path("photos/a.png"), picture(5)).expect("a file");
        std::fs::write(world.path("secret.png"), picture(6)).expect("a file");
        let inside = world.path("photos/a.png").display().to_string();
        let outside = world.path("secret.png").display().to_string();
        let links = vec![
            Some("https://example.org/a.png"),
            Some("http://169.254.169.254/latest/meta-data/404"),
            Some(&*inside),
            Some(&*outside),
            Some("a.png"),
            Some("none.png"),
            Some(" "),
        ];
        let columns = vec![("id", ids(7)), ("photo", texts(links))];
        write(&world.path("in.parquet"), columns);
        let photos = world.path("photos").display().to_string();
        world.job["prompt"]["attachments_from"] = json!([photos]);
        world.job["prompt"]["user"] = "{{ photo }}{{ id }}".into();
        world.job["budget"]["max_failed"] = json!({ "rows": 7 });
        world.run().await.expect("a run");
        let table = read_table(&world.path("out.parquet"));
        let error = |row: usize| table["label_error"][row].clone().unwrap_or_default();
        let label = |row: usize| table["label"][row].clone().unwrap_or_default();
        let drawn = format!(" #{:016x}", hash("0\nhttps://example.org/a.png"));
        assert!(label(0).ends_with(&drawn), "{}", label(0));
        assert!(
            error(1).contains("Unable to download the file"),
            "{}",
            error(1)
        );
        assert!(label(2).ends_with(&answer_to("2", &[&picture(5)])));
        assert!(
            error(3).ends_with("it lies outside of `[prompt] attachments_from`"),
            "{}",
            error(3)
        );
        assert!(label(4).ends_with(&answer_to("4", &[&picture(5)])));
        assert!(error(5).ends_with("there is no such file"));
        assert!(error(6).ends_with("it is blank"));
        // Another file of the same name is another question.
        let billed = world.bill().distinct_billed;
        world.run().await.expect("a second run");
        assert_eq!(world.bill().distinct_billed, billed, "the same files");
        std::fs::write(world.path("photos/a.png"), picture(7)).expect("a file");
        world.run().await.expect("another run");
        assert_eq!(world.bill().distinct_billed, billed + 2);
        let table = read_table(&world.path("out.parquet"));
        let label = table["label"][2].clone().unwrap_or_default();
        assert!(label.ends_with(&answer_to("2", &[&picture(7)])));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_are_sent_in_their_order_and_hostile_text_moves_nothing() {
    for vendor in VENDORS {
        let mut world = pictures(vendor, "", 1);
        let mut lists = ListBuilder::new(StringBuilder::new());
        lists.append_value([
            Some("https://example.org/1"),
            None,
            Some("https://example.org/2"),
        ]);
        lists.append_value([None::<&str>; 0]);
        lists.append_null();
        lists.append_value([Some("https://example.org/3")]);
        let mark = "\u{fdd0}\u{f0000}\u{fdd1}";
        let texts = texts(vec![Some("a"), Some("b"), Some("c"), Some(mark)]);
        let columns = vec![
            ("id", ids(4)),
            ("photo", Arc::new(lists.finish()) as ArrayRef),
            ("text", texts),
        ];
        write(&world.path("in.parquet"), columns);
        world.job["prompt"]["user"] =
            "{% if photo %}see {{ photo }}{% else %}no picture{% endif %} {{ text }}".into();
        world.job["budget"]["max_failed"] = json!({ "rows": 4 });
        world.run().await.expect("a run");
        let table = read_table(&world.path("out.parquet"));
        let label = |row: usize| table["label"][row].clone().unwrap_or_default();
        let drawn = |text: &str| format!(" #{:016x}", hash(text));
        let two = "see  a\nhttps://example.org/1\nhttps://example.org/2";
        assert!(label(0).ends_with(&drawn(two)));
        assert!(label(1).ends_with(&drawn("no picture b")));
        assert!(label(2).ends_with(&drawn("no picture c")));
        let error = table["label_error"][3].clone().unwrap_or_default();
        assert!(
            error.contains("cannot be told from what stands for attachments"),
            "{error}"
        );
    }
}

/// What is wrong with an answer follows the question, which still has its picture.
#[tokio::test(flavor = "multi_thread")]
async fn a_picture_goes_along_when_an_answer_is_asked_for_again() {
    for vendor in VENDORS {
        for keeps in [true, false] {
            let mut world = pictures(vendor, "invalid=0.4,max_tokens=0.1", 30);
            world.label();
            world.job["ledger"]["keep_prompts"] = keeps.into();
            world.job["answer"]["reask"] = 10.into();
            world.job["answer"]["grow_output_tokens"] = 2.0.into();
            let report = world.run().await.expect("a run");
            assert!(report.progress.asked_again.reasked > 3, "{report:?}");
            let table = read_table(&world.path("out.parquet"));
            for (n, label) in (0u8..).zip(&table["label"]) {
                let drawn = format!("What is in  of {n}?\n{}", STANDARD.encode(picture(n)));
                let at = usize::try_from(hash(&drawn) % LABELS.len() as u64).expect("small");
                assert_eq!(label.as_deref(), Some(LABELS[at]), "{vendor} {n}");
            }
        }
    }
}
