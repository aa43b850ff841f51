//! Whatever lies in a ledger's folder: no panic, no memory without end, and nothing that is believed
//! although it was changed. `PROPTEST_CASES=100000 cargo test fuzz` runs long.

use std::fs::File;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use proptest::prelude::*;
use tokio::runtime::{Builder, Runtime};

use super::action::Action;
use super::framing::{self, Lines};
use super::log::{Commit, parse};
use super::outcomes::{OutcomeColumns, OutcomesReader, OutcomesWriter};
use super::path::{ClaimFile, Version};
use super::requests::{LinePlace, RequestColumns, RequestsReader, RequestsWriter};
use super::row_map::{Place, RowKey, RowMapReader, RowMapWriter, RowPlan};
use super::state::State;
use super::testing::{TestClock, at};
use super::{Holder, Leases, Patience, Scope};
use crate::base::mutate::{one_spoilt, spoilt};
use crate::base::{ErrorKind, Location, Stores};
use crate::work::{Content, Outcome, RequestKey, RowStatus};

/// The facts in a ledger that is kept in `fixtures`.
fn facts_of(name: &str) -> Vec<String> {
    let log = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/ledgers/v1");
    let files = std::fs::read_dir(format!("{log}/{name}/log")).expect("a folder");
    let mut files: Vec<_> = files.map(|file| file.expect("a file").path()).collect();
    files.sort();
    let texts = files
        .iter()
        .map(|file| std::fs::read_to_string(file).expect("text"));
    let lines: Vec<String> = texts
        .flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>())
        .collect();
    lines
        .into_iter()
        .filter(|line| line.starts_with("{\"action\""))
        .collect()
}

/// All that one job wrote from beginning to end.
static DONE: LazyLock<Vec<String>> = LazyLock::new(|| facts_of("done"));

fn facts() -> Vec<String> {
    [DONE.clone(), facts_of("open")].concat()
}

fn head(version: u64) -> serde_json::Value {
    serde_json::json!({
        "format": 1, "version": version, "id": "01a22387", "time": "2026-11-20T12:00:00Z",
        "run": "run-1", "lease": { "scope": "job", "epoch": 1 },
    })
}

/// Raw lines with a head and a true end: damage that no checksum finds.
fn framed(head: &str, lines: &[Vec<u8>]) -> Vec<u8> {
    let mut text = format!("{head}\n");
    for line in lines {
        text += &String::from_utf8_lossy(line).replace('\n', " ");
        text.push('\n');
    }
    let mut framed = Lines::default();
    framed.push_raw(&text);
    framed.finish().expect("framed")
}

fn whole_commit() -> Vec<u8> {
    let lines: Vec<_> = DONE.iter().map(|line| line.clone().into_bytes()).collect();
    framed(&head(7).to_string(), &lines)
}

/// Folds what can be folded.
fn fold(state: &mut State, commit: &Commit<Action>) -> Result<(), TestCaseError> {
    for action in &commit.actions {
        if let Err(error) = state.apply(action) {
            prop_assert_eq!(error.kind(), ErrorKind::Data);
        }
    }
    Ok(())
}

fn block_on<F: Future>(call: F) -> F::Output {
    static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
        let runtime = Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime")
    });
    RUNTIME.block_on(call)
}

#[test]
fn the_seed_is_a_log_that_this_version_reads() {
    let commit = parse::<Action>(&whole_commit(), Version(7), true).expect("a commit");
    let mut state = State::default();
    for action in &commit.actions {
        state.apply(action).expect("a fact that follows");
    }
    assert!(state.published.is_some() && !state.attempts.is_empty());
}

/// Arrow panics over some of these.
#[test]
fn a_bulk_file_with_any_byte_of_its_footer_changed_is_rows_or_an_error() {
    let whole = &BULK[0];
    for at in whole.len() / 3..whole.len() {
        for bit in [0, 2, 5] {
            let mut bytes = whole.clone();
            bytes[at] ^= 1 << bit;
            let slices = RowMapReader::open(file(&bytes)).into_iter().flatten();
            for slice in slices.take(100) {
                let Ok(slice) = slice else { break };
                assert!((0..slice.len()).filter(|at| slice.row(*at).is_ok()).count() <= 80);
            }
        }
    }
}

proptest! {
    #[test]
    fn a_commit_that_was_changed_is_not_believed(bytes in spoilt(whole_commit()), last: bool) {
        let whole = whole_commit();
        match parse::<Action>(&bytes, Version(7), last) {
            Ok(_) => prop_assert!(bytes == whole, "another commit was believed"),
            Err(error) => {
                prop_assert_eq!(error.kind(), ErrorKind::Data);
                prop_assert!(error.hint_text().is_some(), "{error}");
            }
        }
    }

    #[test]
    fn facts_that_nobody_wrote_are_refused_or_folded(
        odd_head in one_spoilt(vec![head(7).to_string()]),
        lines in prop::collection::vec(one_spoilt(facts()), 0..20),
        order in prop::collection::vec(prop::sample::select(facts()), 0..20),
    ) {
        let mut state = State::default();
        for (first, lines) in [
            (&*String::from_utf8_lossy(&odd_head), lines.clone()),
            (&head(7).to_string(), lines),
            // True facts in an order in which nothing makes sense.
            (&head(7).to_string(), order.into_iter().map(String::into_bytes).collect()),
        ] {
            match parse::<Action>(&framed(first, &lines), Version(7), true) {
                Ok(commit) => fold(&mut state, &commit)?,
                Err(error) => prop_assert_eq!(error.kind(), ErrorKind::Data),
            }
            // One by one, for one bad line refuses all of a commit.
            for line in lines {
                let bytes = framed(&head(7).to_string(), &[line]);
                if let Ok(commit) = parse::<Action>(&bytes, Version(7), true) {
                    fold(&mut state, &commit)?;
                }
            }
        }
    }

    #[test]
    fn a_checkpoint_of_anything_is_a_state_or_none(bytes in spoilt(whole_state()), raw in spoilt(whole_state())) {
        let line = String::from_utf8_lossy(&bytes).replace('\n', " ");
        if let Ok(mut state) = framing::line::<State>(&line) {
            let commit = parse::<Action>(&whole_commit(), Version(7), true).expect("a commit");
            fold(&mut state, &commit)?;
        }
        prop_assert!(framing::unframe(&raw).is_err(), "no end, and yet believed");
    }

    #[test]
    fn a_claim_of_anybody_is_a_holder_or_an_error(bytes in one_spoilt(vec![CLAIM.to_owned()])) {
        let ledger = Stores::default().locate("memory:///ledger").expect("a place");
        let claim = format!("lease/job/{}", ClaimFile::Claim(3));
        let told = block_on(async {
            ledger.join(&claim).put(bytes).await.expect("stored");
            let leases = leases(&ledger);
            let told = leases.holder(&Scope::job()).await.map(|_| ());
            told.and(leases.take(&Scope::job(), 0, Patience::NotAtAll).await.map(|_| ()))
        });
        if let Err(error) = told {
            prop_assert_eq!(error.kind(), ErrorKind::Data);
            prop_assert!(error.hint_text().is_some(), "{error}");
        }
    }

    #[test]
    fn a_bulk_file_of_anything_is_rows_or_an_error(
        rows in spoilt(BULK[0].clone()), requests in spoilt(BULK[1].clone()), outcomes in spoilt(BULK[2].clone()),
    ) {
        for slice in RowMapReader::open(file(&rows)).into_iter().flatten().take(100) {
            let Ok(slice) = slice else { break };
            for at in 0..slice.len() {
                let _ = (slice.row(at), slice.row_id(at));
            }
        }
        for some in RequestsReader::open(file(&requests), RequestColumns::All).into_iter().flatten().take(100) {
            let Ok(some) = some else { break };
            for at in 0..some.len() {
                let _ = (some.key(at), some.prompt(at), some.place(at));
            }
        }
        let outcomes = OutcomesReader::open(file(&outcomes), OutcomeColumns::All);
        for some in outcomes.into_iter().flatten().take(100) {
            let Ok(some) = some else { break };
            for at in 0..some.len() {
                let _ = (some.ordinal(at), some.key(at), some.status(at), some.is_transient(at));
                let _ = (some.answer(at), some.error(at), some.text("raw", at), some.usage(at));
                let _ = some.vector(at);
            }
        }
    }
}

#[test]
fn a_claim_for_ever_is_held_and_no_overflow() {
    let ledger = Stores::default()
        .locate("memory:///ledger")
        .expect("a place");
    let claim = ledger.join(&format!("lease/job/{}", ClaimFile::Claim(3)));
    let held = block_on(async {
        let for_ever = CLAIM.replace("60000", &u64::MAX.to_string());
        claim.put(for_ever).await.expect("stored");
        leases(&ledger).holder(&Scope::job()).await
    });
    assert!(held.expect("told").is_some());
}

const CLAIM: &str = r#"{"format":1,"id":"01a22387","epoch":3,"ttl_ms":60000,"holder":{"run":"run-1","command":"run","host":"h","pid":7,"since":"2026-11-20T12:00:00Z"}}"#;

fn leases(ledger: &Location) -> Leases {
    let components = at(1, TestClock::new(true));
    let holder = Holder::this_process("run-2", "run", components.clock.now());
    let uptime = Arc::clone(&components.uptime);
    Leases::new(&components, uptime, ledger, holder, Duration::from_mins(1))
}

fn whole_state() -> Vec<u8> {
    let commit = parse::<Action>(&whole_commit(), Version(7), true).expect("a commit");
    let mut state = State::default();
    for action in &commit.actions {
        state.apply(action).expect("a fact that follows");
    }
    serde_json::to_vec(&state).expect("a state")
}

/// A small row map, requests and outcomes.
static BULK: LazyLock<[Vec<u8>; 3]> = LazyLock::new(|| {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("bulk.parquet");
    let read = || std::fs::read(&path).expect("a file");
    let mut rows = RowMapWriter::create(&path, &[]).expect("a file");
    for ordinal in 0..40 {
        let asks = RowPlan::Asks(Place { plan: 0, ordinal });
        let key = RowKey {
            hash: ordinal,
            place: 0,
        };
        rows.push(&asks, Some(key)).expect("written");
        rows.push(&RowPlan::Failed("too large"), None)
            .expect("written");
    }
    rows.finish().expect("written");
    let rows = read();
    let mut requests = RequestsWriter::create(&path, true).expect("a file");
    for n in 0..40u8 {
        let key = RequestKey([n; RequestKey::LEN]);
        let (line, inputs) = (u32::from(n / 3), &[8][..]);
        let place = LinePlace { line, inputs };
        let request = (n.into(), n.into(), key);
        requests
            .push_at(place, request, Content::text("a prompt"))
            .expect("written");
    }
    requests.finish().expect("written");
    let requests = read();
    let mut outcomes =
        OutcomesWriter::create(&path, ("attempt-1", "batch-1"), Some(2)).expect("a file");
    for n in 0..40u8 {
        let failed = Outcome::without_answer(RowStatus::Failed, "why".into());
        let vector = Outcome::embedded(vec![n; 8].into());
        let outcome = if n % 2 == 0 { &failed } else { &vector };
        outcomes
            .push(n.into(), RequestKey([n; RequestKey::LEN]), outcome)
            .expect("written");
    }
    outcomes.finish().expect("written");
    [rows, requests, read()]
});

/// A file that holds `bytes`.
fn file(bytes: &[u8]) -> File {
    use std::io::{Seek, Write};
    let mut file = tempfile::tempfile().expect("a file");
    file.write_all(bytes).expect("written");
    file.rewind().expect("at its start");
    file
}
