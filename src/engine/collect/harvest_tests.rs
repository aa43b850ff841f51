use std::collections::VecDeque;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Response};
use bytes::Bytes;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::base::http::RouterService;
use crate::base::mutate::spoilt;
use crate::base::{Time, TokioClock};
use crate::ledger::requests::LinePlace;
use crate::provider::{self, Network, Options};
use crate::work::{AnswerType, BatchId, BatchStatus, RequestCounts, RowStatus};

const WIRE: [(&str, &str); 4] = [
    (
        "anthropic",
        include_str!("../../../fixtures/wire/anthropic/results.jsonl"),
    ),
    (
        "openai",
        include_str!("../../../fixtures/wire/openai/output.jsonl"),
    ),
    (
        "openai",
        include_str!("../../../fixtures/wire/openai/error.jsonl"),
    ),
    (
        "openai",
        include_str!("../../../fixtures/wire/openai/embeddings.jsonl"),
    ),
];

/// A way of a download to end before its file does: at a byte of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cut {
    /// The connection breaks.
    Loud(usize),
    /// It closes as at the end of a file of which no length was said.
    Quiet(usize),
    /// The same, and always within a line.
    QuietAmid(usize),
}

impl Cut {
    fn at(self) -> usize {
        match self {
            Cut::Loud(at) | Cut::Quiet(at) | Cut::QuietAmid(at) => at,
        }
    }

    fn is_quiet(self) -> bool {
        !matches!(self, Cut::Loud(_))
    }

    /// Where a download of `file` from `start` on ends.
    fn end(self, file: &[u8], start: usize) -> usize {
        let mut end = self.at().max(start);
        let is_amid = |end: usize| {
            // A line of which only the end is not there is whole.
            end > start && file[end - 1] != b'\n' && file[end] != b'\n'
        };
        while matches!(self, Cut::QuietAmid(_)) && end < file.len() && !is_amid(end) {
            end += 1;
        }
        end
    }
}

/// A vendor with one result file.
#[derive(Debug)]
struct Shelf {
    file: Vec<u8>,
    has_ranges: bool,
    /// Bytes that it leaves out where it is asked to go on.
    leap: usize,
    /// The next downloads; later ones are whole.
    cuts: VecDeque<Cut>,
    downloads: u32,
}

impl Shelf {
    fn answer(&mut self, headers: &HeaderMap) -> Response<Body> {
        self.downloads += 1;
        let range = headers.get("range").filter(|_| self.has_ranges);
        let start = range.map_or(0, |range| {
            let range = range.to_str().expect("text");
            let start = range
                .strip_prefix("bytes=")
                .and_then(|r| r.strip_suffix('-'));
            start.expect("a range").parse::<usize>().expect("a number") + self.leap
        });
        let whole = self.file.len();
        let cut = self.cuts.pop_front();
        let end = cut.map_or(whole, |cut| cut.end(&self.file, start));
        let mut pieces = vec![Ok(Bytes::copy_from_slice(&self.file[start..end]))];
        let mut response = Response::builder();
        if cut.is_some_and(|cut| !cut.is_quiet()) {
            pieces.push(Err(io::Error::from(io::ErrorKind::ConnectionReset)));
            response = response.header("content-length", whole - start);
        }
        if range.is_some() {
            let total = if cut.is_some_and(Cut::is_quiet) {
                "*".into()
            } else {
                whole.to_string()
            };
            let place = format!("bytes {start}-{}/{total}", whole - 1);
            response = response.status(206).header("content-range", place);
        }
        let body = Body::from_stream(futures::stream::iter(pieces));
        response.body(body).expect("a response")
    }
}

/// The vendor whose file lies on `shelf`.
fn vendor(name: &str, shelf: &Arc<Mutex<Shelf>>) -> Arc<dyn Provider> {
    let components = Components::system();
    let options = Options {
        provider: name,
        base_url: None,
        api_key_env: None,
        service: None,
        env: &|name| name.ends_with("_API_KEY").then(|| "key".to_owned()),
    };
    let shelf = Arc::clone(shelf);
    let router = Router::new().fallback(move |headers: HeaderMap| {
        let response = shelf.lock().expect("no panic").answer(&headers);
        async move { response }
    });
    let network = Network {
        http: Arc::new(RouterService::new(router)),
        clock: components.clock,
        ids: components.ids,
    };
    provider::open(&options, network).expect("a provider")
}

/// What came of a harvest.
#[derive(Debug)]
struct Reaped {
    done: Result<()>,
    /// Requests of which something is known.
    kept: usize,
    oddities: Oddities,
    downloads: u32,
}

/// Harvests what lies on `shelf` for a batch of `requests`, of which the vendor counts `succeeded`.
fn reap(name: &str, shelf: Shelf, (requests, succeeded): (usize, u64)) -> Reaped {
    let shelf = Arc::new(Mutex::new(shelf));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .expect("a runtime");
    let folder = tempfile::tempdir().expect("a folder");
    let (done, kept, oddities) = runtime.block_on(async {
        let components = Components {
            clock: Arc::new(TokioClock::starting_at(Time::UNIX_EPOCH)),
            ..Components::system()
        };
        let provider = vendor(name, &shelf);
        let mut harvest = harvest(&*provider, &components, requests, folder.path());
        let view = BatchView {
            counts: RequestCounts {
                total: requests as u64,
                succeeded,
                failed: 0,
            },
            results: vec![ResultFile("file".into())],
            ..BatchView::bare(BatchId("batch".into()), BatchStatus::Completed)
        };
        let done = harvest.gather(&view).await;
        (done, kept(&harvest, requests), harvest.oddities)
    });
    let downloads = shelf.lock().expect("no panic").downloads;
    Reaped {
        done: done.map(drop),
        kept,
        oddities,
        downloads,
    }
}

static TEXT: std::sync::LazyLock<Judge> =
    std::sync::LazyLock::new(|| Judge::new(&AnswerType::Text).expect("a text"));
static VECTOR: std::sync::LazyLock<Judge> = std::sync::LazyLock::new(|| {
    let answer = AnswerType::Embedding {
        dimensions: 2,
        shortened: false,
    };
    Judge::new(&answer).expect("a vector")
});

fn harvest<'a>(
    provider: &'a dyn Provider,
    components: &'a Components,
    requests: usize,
    folder: &Path,
) -> Harvest<'a> {
    Harvest {
        ids: CustomId::new(NONCE, 3),
        judge: &TEXT,
        provider,
        components,
        take_what_is_there: false,
        lines: None,
        slots: Slots::new(requests, folder, 1 << 20),
        oddities: Oddities::default(),
    }
}

fn kept(harvest: &Harvest<'_>, requests: usize) -> usize {
    let mut buffer = Vec::new();
    (0..requests)
        .filter(|n| {
            let outcome = harvest.slots.take(*n, &mut buffer);
            outcome.expect("no I/O error").is_some()
        })
        .count()
}

const NONCE: &str = "abcdefghjkmn";

/// The answers to `requests` requests, a line each.
fn answers(name: &str, requests: usize) -> Vec<u8> {
    let line = |n: usize| match name {
        "openai" => json!({
            "custom_id": format!("{NONCE}-000003-{n:06}"),
            "response": { "status_code": 200, "body": { "model": "m", "choices": [
                { "message": { "content": format!("answer {n}") }, "finish_reason": "stop" }
            ] } },
        }),
        _ => json!({
            "custom_id": format!("{NONCE}-000003-{n:06}"),
            "result": { "type": "succeeded", "message": { "model": "m", "stop_reason": "end_turn",
                "content": [{ "type": "text", "text": format!("answer {n}") }] } },
        }),
    };
    (0..requests)
        .map(|n| line(n).to_string() + "\n")
        .collect::<String>()
        .into_bytes()
}

fn shelf(file: Vec<u8>, has_ranges: bool, cuts: &[Cut]) -> Shelf {
    Shelf {
        file,
        has_ranges,
        leap: 0,
        cuts: cuts.iter().copied().collect(),
        downloads: 0,
    }
}

/// Vendors, and whether they skip what was read already.
const VENDORS: [(&str, bool); 3] = [("anthropic", false), ("openai", false), ("openai", true)];

/// The bytes up to the end of line `n`.
fn end_of(file: &[u8], n: usize) -> usize {
    memchr::memchr_iter(b'\n', file).nth(n).expect("a line") + 1
}

#[test]
fn a_download_that_ends_before_what_was_read_is_not_the_whole_file() {
    for name in ["anthropic", "openai"] {
        let file = answers(name, 8);
        // Cut within the sixth line; the next one ends within the third. Nothing is counted, so that
        // only the length tells.
        let cuts = [
            Cut::Quiet(end_of(&file, 4) + 9),
            Cut::Quiet(end_of(&file, 1) + 9),
        ];
        let reaped = reap(name, shelf(file, false, &cuts), (8, 0));
        reaped.done.expect("harvested");
        assert_eq!(
            (reaped.kept, reaped.oddities, reaped.downloads),
            (8, Oddities::default(), 3)
        );
    }
}

#[test]
fn files_that_lack_counted_answers_are_read_again() {
    for (name, has_ranges) in VENDORS {
        for lines in [0, 3] {
            let file = answers(name, 8);
            let end = if lines == 0 {
                0
            } else {
                end_of(&file, lines - 1)
            };
            let reaped = reap(name, shelf(file, has_ranges, &[Cut::Quiet(end)]), (8, 8));
            reaped.done.expect("harvested");
            assert_eq!(
                (reaped.kept, reaped.oddities, reaped.downloads),
                (8, Oddities::default(), 2)
            );
        }
    }
}

#[test]
fn files_that_lack_answers_twice_are_believed() {
    for (name, has_ranges) in VENDORS {
        let reaped = reap(name, shelf(answers(name, 6), has_ranges, &[]), (8, 8));
        reaped.done.expect("harvested");
        assert_eq!(
            (reaped.kept, reaped.oddities, reaped.downloads),
            (6, Oddities::default(), 2)
        );
    }
}

#[test]
fn a_file_that_is_cut_itself_is_read_as_far_as_it_goes() {
    for (name, has_ranges) in VENDORS {
        let mut file = answers(name, 8);
        file.truncate(end_of(&file, 5) + 9);
        let cuts = [Cut::Quiet(file.len()); 12];
        let reaped = reap(name, shelf(file, has_ranges, &cuts), (8, 8));
        reaped.done.expect("harvested");
        let broken = Oddities {
            broken: 1,
            ..Oddities::default()
        };
        // Three times to believe the end, and as often when the files are read again.
        assert_eq!(
            (reaped.kept, reaped.oddities, reaped.downloads),
            (6, broken, 6)
        );
    }
}

#[test]
fn a_download_that_leaves_bytes_out_is_not_taken() {
    let file = answers("openai", 8);
    let cut = Cut::Quiet(end_of(&file, 2) + 9);
    let shelf = Shelf {
        leap: 300,
        ..shelf(file, true, &[cut])
    };
    let reaped = reap("openai", shelf, (8, 0));
    assert_eq!(
        reaped.done.expect_err("a hole").kind(),
        ErrorKind::Unavailable
    );
}

#[test]
fn a_connection_that_always_breaks_lands_nothing() {
    for (name, has_ranges) in VENDORS {
        let file = answers(name, 8);
        let cut = Cut::Loud(end_of(&file, 5) + 9);
        let reaped = reap(name, shelf(file, has_ranges, &[cut; 12]), (8, 8));
        assert_eq!(
            reaped.done.expect_err("no end").kind(),
            ErrorKind::Unavailable
        );
    }
}

/// A file with some answers, and ways in which downloads of it end, as often as a file may end without
/// getting any further. At most one looks like the end of the file in every respect.
fn cuts() -> impl Strategy<Value = ((&'static str, bool), usize, Vec<Cut>)> {
    let cut = (0.0..1.0, any::<bool>());
    let cuts = prop::collection::vec(cut, 0..CUTS_MAX as usize);
    (prop::sample::select(&VENDORS[..]), 1usize..12, cuts).prop_map(|(vendor, requests, cuts)| {
        let file = answers(vendor.0, requests);
        let mut has_clean = false;
        let cut = |(share, is_quiet): (f64, bool)| {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_precision_loss,
                clippy::cast_sign_loss,
                reason = "a share of a length"
            )]
            let at = (file.len() as f64 * share) as usize;
            let is_first = is_quiet && !has_clean;
            has_clean |= is_quiet;
            match (is_quiet, is_first) {
                (false, _) => Cut::Loud(at),
                (true, true) => Cut::Quiet(at),
                (true, false) => Cut::QuietAmid(at),
            }
        };
        (vendor, requests, cuts.into_iter().map(cut).collect())
    })
}

proptest! {
    #[test]
    fn answers_are_whole_however_downloads_end(((name, has_ranges), requests, cuts) in cuts()) {
        let shelf = shelf(answers(name, requests), has_ranges, &cuts);
        let reaped = reap(name, shelf, (requests, requests as u64));
        prop_assert!(reaped.done.is_ok(), "{:?}", reaped.done);
        // An end that comes three times counts as a broken line, and the line is read again.
        let odd = Oddities { broken: 0, ..reaped.oddities };
        prop_assert_eq!((reaped.kept, odd), (requests, Oddities::default()));
    }

    #[test]
    fn no_line_is_lost_without_being_counted(
        (vendor, file) in prop::sample::select(&WIRE[..]).prop_flat_map(|(vendor, text)| {
            (Just(vendor), spoilt(text.as_bytes().to_vec()))
        }),
    ) {
        let shelf = Arc::new(Mutex::new(shelf(Vec::new(), false, &[])));
        let (provider, folder) = (self::vendor(vendor, &shelf), tempfile::tempdir().expect("a folder"));
        let components = Components::system();
        let mut harvest = harvest(&*provider, &components, 200, folder.path());
        let mut lines = 0;
        for line in file.split(|byte| *byte == b'\n') {
            harvest.line(line).expect("no I/O error");
            lines += u64::from(!line.iter().all(u8::is_ascii_whitespace));
        }
        let kept = kept(&harvest, 200) as u64;
        let odd = harvest.oddities;
        prop_assert_eq!(kept + odd.broken + odd.duplicates + odd.strangers, lines);
    }

    #[test]
    fn lines_are_whole_however_the_bytes_arrive(
        text in prop::collection::vec("[a-z\u{e9}]{0,12}", 0..20),
        tail in "[a-z]{0,5}",
        cuts in prop::collection::vec(1usize..9, 1..40),
    ) {
        let mut bytes = text.join("\n");
        if !text.is_empty() {
            bytes.push('\n');
        }
        let whole = bytes.len() as u64;
        bytes.push_str(&tail);
        let mut rest = Bytes::from(bytes);
        let (mut lines, mut seen) = (Lines::default(), Vec::new());
        let mut cuts = cuts.into_iter().cycle();
        while !rest.is_empty() {
            let cut = cuts.next().unwrap_or(1).min(rest.len());
            let piece = rest.split_to(cut);
            lines
                .feed(&piece, |line| {
                    seen.push(String::from_utf8_lossy(line).into_owned());
                    Ok(())
                })
                .expect("no line is too long");
        }
        prop_assert_eq!(seen, text);
        prop_assert_eq!(lines.consumed, whole);
        prop_assert_eq!(lines.partial, tail.as_bytes());
    }
}

/// A harvest of eight lines that carried two texts each, of ten and thirty bytes.
fn harvest_pairs<'a>(
    provider: &'a dyn Provider,
    components: &'a Components,
    folder: &Path,
) -> Harvest<'a> {
    let mut lines = BodyLines::default();
    for n in 0..16 {
        let inputs = [if n % 2 == 0 { 10 } else { 30 }];
        let inputs = &inputs;
        assert!(lines.push(LinePlace {
            line: n / 2,
            inputs
        }));
    }
    Harvest {
        judge: &VECTOR,
        lines: Some(lines.finished()),
        ..harvest(provider, components, 16, folder)
    }
}

const EMBEDDINGS: &str = WIRE[3].1;

fn statuses(harvest: &Harvest<'_>) -> Vec<Option<(RowStatus, u64)>> {
    let mut buffer = Vec::new();
    let mut all = Vec::new();
    for n in 0..16 {
        let outcome = harvest.slots.take(n, &mut buffer).expect("no I/O error");
        all.push(outcome.map(|outcome| (outcome.status, outcome.usage.input)));
    }
    all
}

#[test]
fn each_input_of_a_line_has_its_own_vector_or_its_own_reason() {
    use RowStatus::{Failed, Invalid, Missing, Succeeded};
    let shelf = Arc::new(Mutex::new(shelf(Vec::new(), false, &[])));
    let (provider, folder) = (
        vendor("openai", &shelf),
        tempfile::tempdir().expect("a folder"),
    );
    let components = Components::system();
    let mut harvest = harvest_pairs(&*provider, &components, folder.path());
    for line in EMBEDDINGS.lines() {
        harvest.line(line.as_bytes()).expect("no I/O error");
    }
    // The line that fails for good fails in passing, for it may be the fault of one of the two.
    let expect = [
        [(Succeeded, 2), (Succeeded, 6)],
        [(Succeeded, 2), (Succeeded, 5)],
        [(Missing, 2), (Missing, 6)],
        [(Invalid, 2), (Succeeded, 6)],
        [(Failed, 0), (Failed, 0)],
        [(Missing, 2), (Missing, 6)],
        [(Invalid, 2), (Succeeded, 6)],
        [(Invalid, 0), (Succeeded, 0)],
    ];
    let expect: Vec<_> = expect.concat().into_iter().map(Some).collect();
    assert_eq!(statuses(&harvest), expect);
    let mut buffer = Vec::new();
    let vector = |n: usize, buffer: &mut Vec<u8>| {
        let outcome = harvest.slots.take(n, buffer).expect("no I/O error");
        let vector = outcome.and_then(|outcome| Some(outcome.vector?.into_owned()));
        vector.map(|bytes| crate::work::answer::floats(&bytes).collect::<Vec<f32>>())
    };
    assert_eq!(vector(0, &mut buffer), Some(vec![1.0, 0.0]));
    assert_eq!(vector(1, &mut buffer), Some(vec![0.6, 0.8]));
    assert_eq!(vector(3, &mut buffer), Some(vec![0.001, 3.0]));
    // Seven lines were answered, one failed: lines are what the provider counts.
    assert_eq!((harvest.slots.answered(), harvest.slots.failed()), (7, 1));
    let counted = |succeeded, failed| BatchView {
        counts: RequestCounts {
            total: 8,
            succeeded,
            failed,
        },
        ..BatchView::bare(BatchId("batch".into()), BatchStatus::Completed)
    };
    assert_eq!(harvest.lost(&counted(7, 1)), 0);
    assert_eq!(
        harvest.lost(&counted(8, 0)),
        0,
        "a failure counted as an answer"
    );
    assert_eq!(harvest.lost(&counted(9, 1)), 2);
    assert_eq!(harvest.oddities, Oddities::default());
}

#[test]
fn a_line_that_comes_twice_is_odd_once_and_the_better_one_counts() {
    let shelf = Arc::new(Mutex::new(shelf(Vec::new(), false, &[])));
    let (provider, folder) = (
        vendor("openai", &shelf),
        tempfile::tempdir().expect("a folder"),
    );
    let components = Components::system();
    let mut harvest = harvest_pairs(&*provider, &components, folder.path());
    let lines: Vec<&str> = EMBEDDINGS.lines().collect();
    // What could not be matched, then what could; then the other way round.
    let good = lines[0].replace("-000000\"", "-000002\"");
    let bad = lines[2].replace("-000002\"", "-000000\"");
    for line in [
        lines[2],
        &good,
        lines[0],
        &bad,
        "{\"custom_id\":\"abcdefghjkmn-000003-000008\"}",
    ] {
        harvest.line(line.as_bytes()).expect("no I/O error");
    }
    let all = statuses(&harvest);
    for n in [0, 1, 4, 5] {
        assert_eq!(
            all[n].map(|(status, _)| status),
            Some(RowStatus::Succeeded),
            "{n}"
        );
    }
    assert_eq!(harvest.slots.answered(), 2);
    let odd = Oddities {
        duplicates: 2,
        strangers: 1,
        broken: 0,
    };
    assert_eq!(harvest.oddities, odd, "there are eight lines");
}

proptest! {
    /// Whatever is wrong with a file of vectors: no input gets two, or half of one, and the lines add up.
    #[test]
    fn spoilt_vectors_are_vectors_or_reasons(file in spoilt(EMBEDDINGS.as_bytes().to_vec())) {
        let shelf = Arc::new(Mutex::new(shelf(Vec::new(), false, &[])));
        let (provider, folder) = (vendor("openai", &shelf), tempfile::tempdir().expect("a folder"));
        let components = Components::system();
        let mut harvest = harvest_pairs(&*provider, &components, folder.path());
        let mut lines = 0;
        for line in file.split(|byte| *byte == b'\n') {
            harvest.line(line).expect("no I/O error");
            lines += u64::from(!line.iter().all(u8::is_ascii_whitespace));
        }
        let mut buffer = Vec::new();
        let mut known = 0;
        for n in 0..16 {
            let Some(outcome) = harvest.slots.take(n, &mut buffer).expect("no I/O error") else { continue };
            known += u64::from(n % 2 == 0);
            prop_assert_eq!(outcome.vector.is_some(), outcome.status == RowStatus::Succeeded);
            if let Some(vector) = outcome.vector {
                prop_assert_eq!(vector.len(), 8);
                prop_assert!(crate::work::answer::floats(&vector).all(f32::is_finite));
            } else {
                prop_assert!(outcome.error.is_some());
            }
        }
        let odd = harvest.oddities;
        prop_assert_eq!(known + odd.broken + odd.duplicates + odd.strangers, lines);
    }
}
