//! Pictures and documents that cannot be sent: each told with its reason, by `check` and `plan`, before any
//! spend; and those that are others by the time when they are sent.

use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryBuilder, Int64Array, ListBuilder, RecordBatch, StructArray};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use columnist::base::{Crash, CrashPoint, ErrorKind};
use columnist::engine;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use rustix::fs::{CWD, FileType, Mode, mknodat};
use serde_json::json;

use crate::attachments::{PDF, answer_to, bytes, ids, picture, pictures, texts, write};
use crate::world::{VENDORS, World, read_table};

/// The first rows of `world` as `check` shows them: why each cannot be sent, or nothing.
async fn checked(world: &World) -> Vec<Option<String>> {
    let checked = engine::check(world.setup("check"), world.provider(), 100).await;
    let first = checked.expect("a job in order").first;
    first.into_iter().map(|row| row.prompt.err()).collect()
}

#[track_caller]
fn same(found: &[Option<String>], expect: &[(&str, &str)]) {
    assert_eq!(found.len(), expect.len());
    for (found, (name, why)) in found.iter().zip(expect) {
        let found = found.as_deref().unwrap_or_default();
        let same = if why.is_empty() {
            found.is_empty()
        } else {
            found.contains(why)
        };
        assert!(same, "{name}: {found}");
    }
}

/// Names of files that are as good as any.
const ODD: [&str; 8] = [
    "a b.png",
    "100%.png",
    "50%25.png",
    "\u{fc}\u{4e2d}.png",
    "a#b?.png",
    "x~y*[1].png",
    "a\\b.png",
    "sub/in.png",
];

const OUTSIDE: &str = "it lies outside of `[prompt] attachments_from`";
const LEADS_OUT: &str = "its path leads out of its folder";

/// Addresses, and what is wrong with them.
const ADDRESSES: [(&str, &str); 24] = [
    ("own.png", ""),
    ("./a b.png", ""),
    ("./sub/./in.png", ""),
    (".", "it is no file"),
    ("./../secret.png", LEADS_OUT),
    ("own.png/a.png", "there is no such file"),
    ("https://example.org/\u{e4} b.png", ""),
    ("data:image/png,abc", "it is a `data:` URL without base64"),
    ("data:image/png;base64,@@", "its base64 cannot be read"),
    // Its type is not what it says.
    (
        "data:image/png;base64,R0lGODlh",
        "it is damaged: it does not say how large it is",
    ),
    ("s3://bucket/a.png", OUTSIDE),
    ("file:///etc/passwd", OUTSIDE),
    ("/etc/passwd", OUTSIDE),
    ("link.png", OUTSIDE),
    ("up/secret.png", OUTSIDE),
    ("../secret.png", LEADS_OUT),
    ("sub/../../secret.png", LEADS_OUT),
    ("sub", "it is no file"),
    ("pipe.png", "it is no file"),
    ("none.png", "there is no such file"),
    ("a%20b.png", "there is no such file"),
    ("ftp://example.org/a.png", "no store has this scheme"),
    (" ", "it is blank"),
    ("", "it is blank"),
];

/// Makes the folder `photos`, with a file of each odd name, links, a folder and a pipe; a file beside it.
fn make_photos(world: &World) -> PathBuf {
    let photos = world.path("photos");
    std::fs::create_dir_all(photos.join("sub")).expect("a folder");
    for name in ODD {
        std::fs::write(photos.join(name), picture(1)).expect("a file");
    }
    std::fs::write(world.path("secret.png"), picture(2)).expect("a file");
    let link = |to: PathBuf, name: &str| {
        std::os::unix::fs::symlink(to, photos.join(name)).expect("a link");
    };
    link(world.path("secret.png"), "link.png");
    link(world.path(""), "up");
    link("a b.png".into(), "own.png");
    let pipe = photos.join("pipe.png");
    mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("a pipe");
    photos
}

#[tokio::test(flavor = "multi_thread")]
async fn addresses_of_every_kind_are_told_apart_before_any_spend() {
    let mut world = pictures("anthropic", "", 1);
    let photos = make_photos(&world);
    let shown = photos.display().to_string();
    let own = [
        (world.path("secret.png").display().to_string(), OUTSIDE),
        (format!("{shown}/../secret.png"), OUTSIDE),
        (format!("file://{shown}/a%20b.png"), ""),
        (format!("{shown}/a b.png"), ""),
        (
            format!("data:image/png;base64,{}", STANDARD.encode(picture(1))),
            "",
        ),
    ];
    let own = own.iter().map(|(address, why)| (address.as_str(), *why));
    let odd = ODD.map(|name| (name, ""));
    let rows: Vec<_> = odd.into_iter().chain(ADDRESSES).chain(own).collect();
    let cells = rows.iter().map(|(name, _)| Some(*name)).collect();
    let columns = vec![("id", ids(rows.len())), ("photo", texts(cells))];
    write(&world.path("in.parquet"), columns);
    world.job["prompt"]["attachments_from"] = json!([shown]);
    world.job["budget"]["max_failed"] = json!({ "rows": rows.len() });
    same(&checked(&world).await, &rows);
    let plan = engine::plan(world.setup("plan"), world.provider()).await;
    let plan = plan.expect("a plan");
    let good = rows.iter().filter(|(_, why)| why.is_empty()).count() as u64;
    assert_eq!(
        (plan.counts.failed, plan.requests),
        (rows.len() as u64 - good, good)
    );
    world.run().await.expect("a run");
    let table = read_table(&world.path("out.parquet"));
    for (n, (name, why)) in rows.iter().enumerate() {
        assert_eq!(table["label"][n].is_some(), why.is_empty(), "{name}");
    }
}

/// Bytes, and what is wrong with them.
fn kinds() -> Vec<(&'static str, Option<Vec<u8>>)> {
    let png = picture(1);
    let (head, end) = (&png[..33], &png[png.len() - 12..]);
    let noise = vec![0; 30_000_000];
    let large = [
        head,
        &30_000_000u32.to_be_bytes(),
        b"IDAT",
        &noise,
        b"sum.",
        end,
    ]
    .concat();
    let kinds: [(&str, &[u8]); 14] = [
        ("", &png),
        ("it is empty", b""),
        ("it is cut: its end is missing", &png[..60]),
        ("it is cut: its end is missing", head),
        ("it is cut: its end is missing", b"RIFF\x24\0\0\0WEBPVP8 "),
        (
            "it is damaged: it does not say how large it is",
            b"\xff\xd8\xff\xe0\0\x10JFIF",
        ),
        ("bytes, and a request may have 21600000 of them", &large),
        (
            "bytes in base64, and the provider takes 10000000",
            &[&png[..], &noise[..9_000_000]].concat(),
        ),
        ("it is image/svg+xml, ", b"<?xml version='1.0'?><svg/>"),
        ("it is image/heic, ", b"\0\0\0\x20ftypheic\0\0\0\0"),
        ("it is image/avif, ", b"\0\0\0\x20ftypavif\0\0\0\0"),
        (
            "it is image/tiff, and the provider takes image/jpeg, image/png, ",
            b"II*\0\x08\0\0\0",
        ),
        ("it is application/pdf, ", PDF),
        ("its bytes are none of image/jpeg", b"hello"),
    ];
    let kinds = kinds
        .into_iter()
        .map(|(why, bytes)| (why, Some(bytes.to_vec())));
    kinds
        .chain([("skipped: column `photo` is null", None)])
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_of_every_kind_are_told_apart_before_any_spend() {
    let mut world = pictures("anthropic", "", 1);
    let kinds = kinds();
    let cells = kinds.iter().map(|(_, cell)| cell.clone()).collect();
    let columns = vec![("id", ids(kinds.len())), ("photo", bytes(cells))];
    write(&world.path("in.parquet"), columns);
    world.job["budget"]["max_failed"] = json!({ "rows": kinds.len() });
    let expect: Vec<_> = kinds.iter().map(|(why, _)| (*why, *why)).collect();
    same(&checked(&world).await, &expect);
    let plan = engine::plan(world.setup("plan"), world.provider()).await;
    let plan = plan.expect("a plan");
    assert_eq!(
        (plan.counts.failed, plan.counts.skipped, plan.requests),
        (13, 1, 1)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn documents_and_many_pictures_are_judged_before_any_spend() {
    let mut world = pictures("anthropic", "", 1);
    let pages = |count: &str| {
        let text = String::from_utf8(PDF.to_vec()).expect("text");
        text.replace("/Count 3", &format!("/Count {count}"))
            .into_bytes()
    };
    let encrypted = [PDF, b"\ntrailer <</Root 1 0 R /Encrypt 9 0 R>>"].concat();
    let papers = vec![
        Some(PDF.to_vec()),
        Some(pages("2000")),
        Some(encrypted),
        Some(pages("500")),
        Some(PDF.to_vec()),
        Some(picture(1)),
        Some(PDF.to_vec()),
    ];
    let mut lists = ListBuilder::new(BinaryBuilder::new());
    for count in [1, 1, 1, 101, 601, 1, 0] {
        lists.append_value((0..count).map(|_| Some(picture(1))));
    }
    let columns = vec![
        ("id", ids(7)),
        ("photo", Arc::new(lists.finish()) as ArrayRef),
        ("paper", bytes(papers)),
    ];
    write(&world.path("in.parquet"), columns);
    world.job["prompt"]["documents"] = json!(["paper"]);
    let expect = [
        ("all well", ""),
        (
            "2,000 pages",
            "it has 2000 pages, and the provider takes 600",
        ),
        (
            "encrypted",
            "it is encrypted, and the provider takes no such documents",
        ),
        (
            "500 pages and 101 pictures",
            "it has 601 pictures and pages, and the provider takes 600",
        ),
        (
            "601 pictures",
            "it has 604 pictures and pages, and the provider takes 600",
        ),
        (
            "a picture",
            "document of column `paper`: it is image/png, and the provider takes application/pdf",
        ),
        ("no pictures", ""),
    ];
    same(&checked(&world).await, &expect);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_column_that_holds_no_pictures_is_refused_by_its_type() {
    let world = pictures("openai", "", 1);
    let numbers: ArrayRef = Arc::new(Int64Array::from(vec![1]));
    let record = RecordBatch::try_from_iter([("x", Arc::clone(&numbers))]).expect("a batch");
    let record: ArrayRef = Arc::new(StructArray::from(record));
    for column in [numbers, record] {
        write(
            &world.path("in.parquet"),
            vec![("id", ids(1)), ("photo", column)],
        );
        for error in [
            engine::check(world.setup("check"), world.provider(), 3)
                .await
                .map(|_| ()),
            engine::plan(world.setup("plan"), world.provider())
                .await
                .map(|_| ()),
            world.run().await.map(|_| ()),
        ] {
            let error = error.expect_err("no pictures");
            assert_eq!(error.kind(), ErrorKind::Invalid);
            assert_eq!(
                error.message(),
                "a column of this type holds no pictures or documents"
            );
        }
    }
    assert_eq!(world.bill().total.batches_created, 0);
}

/// Replaces a file when the plan is made, and before its last chunk is sent.
#[derive(Debug)]
struct Replaced(PathBuf);

impl CrashPoint for Replaced {
    fn reached(&self, name: &'static str) -> BoxFuture<'static, ()> {
        if name == "commit.after_plan_sealed" {
            std::fs::write(&self.0, picture(200)).expect("a file");
        }
        futures::future::ready(()).boxed()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_replaced_before_it_is_sent_stops_its_chunk_and_costs_nothing() {
    for vendor in VENDORS {
        for restores in [true, false] {
            let mut world = pictures(vendor, "", 1);
            std::fs::create_dir(world.path("photos")).expect("a folder");
            let names: Vec<_> = (0u8..20).map(|n| format!("{n}.png")).collect();
            for (n, name) in (0u8..).zip(&names) {
                std::fs::write(world.path("photos").join(name), picture(n)).expect("a file");
            }
            let cells = names.iter().map(|name| Some(name.as_str())).collect();
            write(
                &world.path("in.parquet"),
                vec![("id", ids(20)), ("photo", texts(cells))],
            );
            world.job["prompt"]["attachments_from"] =
                json!([world.path("photos").display().to_string()]);
            let last = world.path("photos/19.png");
            world.components.crash = Crash::with(Arc::new(Replaced(last.clone())));
            let error = world.run().await.expect_err("another file");
            assert_eq!(error.kind(), ErrorKind::Invalid);
            assert_eq!(
                error.message(),
                "an attachment is not what it was when its request was planned"
            );
            world.components.crash = Crash::never();
            let own = if restores {
                // The same bytes, at another time: the run goes on as if nothing had been.
                std::fs::write(&last, picture(19)).expect("a file");
                19
            } else {
                engine::cancel(world.setup("cancel"))
                    .await
                    .expect("canceled");
                200
            };
            world.run().await.expect("a run");
            let table = read_table(&world.path("out.parquet"));
            for (n, label) in (0u8..).zip(&table["label"]) {
                let picture = picture(if n == 19 { own } else { n });
                let expect = answer_to(&format!("What is in  of {n}?"), &[&picture]);
                let label = label.as_deref().expect("an answer");
                assert!(label.ends_with(&expect), "{vendor} {n}: {label}");
            }
            let bill = world.bill();
            assert_eq!((bill.distinct_billed, bill.billed_more_than_once), (20, 0));
        }
    }
}
