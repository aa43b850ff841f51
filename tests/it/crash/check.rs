//! What must hold, whatever happened.

use std::collections::{BTreeMap, BTreeSet};

use axum::body::Body;
use axum::http::{Method, Request};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use columnist::base::Location;
use columnist::emulator::{Bill, Sandbox};
use columnist::engine::Report;
use columnist::ledger::Log;
use columnist::ledger::action::Action;
use columnist::work::RowStatus;
use serde_json::Value;

use super::stage::{Ended, REASKS, Stage, picture_of};
use super::story::{Act, Pictures, Table};
use crate::attachments::picture;
use crate::world::{World, read_columns};

/// A row of the output: its answer, its status, its error.
type Row = (Option<String>, String, Option<String>);

/// The story has come to its end: everything holds, and another run does nothing.
pub(super) fn check_end(stage: &mut Stage) {
    let report = stage.report.clone().expect("a report");
    assert!(report.published, "{report:?}");
    let rows = check_rows(stage).expect("an output");
    assert_eq!(rows.len(), stage.story.rows, "every row");
    check_counts(&report, &rows);
    check_bill(stage, &rows);
    check_batches(stage);
    check_again(stage);
}

/// Whatever stands where the output goes is whole, and right.
pub(super) fn check_whole_or_absent(stage: &mut Stage) {
    check_rows(stage);
}

/// An error ended a run, and nothing that it had begun to send is without its receipt: the ledger says of
/// each of its attempts what became of it.
pub(super) fn check_receipts(stage: &mut Stage) {
    let mut open = BTreeSet::new();
    for fact in facts(stage) {
        match fact {
            Action::RunStarted(_) => open.clear(),
            Action::Promised(promised) => {
                open.insert(promised.attempt);
            }
            Action::Accepted(accepted) => {
                open.remove(&accepted.attempt);
            }
            Action::Rejected { attempt, .. }
            | Action::Lost { attempt, .. }
            | Action::Absent { attempt, .. } => {
                open.remove(&attempt);
            }
            _ => {}
        }
    }
    assert!(open.is_empty(), "without a receipt: {open:?}");
}

/// Every row once, in order, with the answer to its own prompt, or a reason why not. Nothing if
/// there is no output.
fn check_rows(stage: &mut Stage) -> Option<Vec<Row>> {
    let rows = read_output(stage)?;
    let bodies = stage.story.bodies();
    let ids: Vec<_> = rows.keys().copied().collect();
    assert_eq!(ids, (0..ids.len()).collect::<Vec<_>>(), "every row, once");
    assert!(
        ids.len() == bodies.len() || ids.len() == stage.rows_before,
        "the old rows or the new"
    );
    let rows: Vec<Row> = rows.into_values().collect();
    for (n, (row, body)) in rows.iter().zip(&bodies).enumerate() {
        let (label, status, error) = row;
        let Some(body) = body else {
            assert_eq!((label, status.as_str()), (&None, "skipped"), "row {n}");
            continue;
        };
        if status == "succeeded" {
            let mut asked = format!("Label this: {body}");
            if stage.story.pictures.is_some() {
                let picture = picture(picture_of(Some(body)));
                asked = format!("{asked}\n{}", STANDARD.encode(picture));
            }
            let answer = stage.world.answer(&asked);
            let label = label.as_deref().expect("an answer");
            assert!(label.ends_with(&answer), "row {n}: {label} is not {answer}");
            assert_eq!(*error, None, "row {n}");
        } else {
            assert!(stage.story.may_fail(), "row {n} is {status}: {error:?}");
            assert_eq!(*label, None, "row {n} is {status}");
            assert!(
                error.as_deref().is_some_and(|why| !why.is_empty()),
                "row {n} is {status}"
            );
        }
    }
    Some(rows)
}

/// The rows of the output, by id; nothing if there is none, or a folder on object storage without its
/// `_SUCCESS`.
fn read_output(stage: &mut Stage) -> Option<BTreeMap<usize, Row>> {
    let is_folder = stage.story.table == Table::Folder;
    let files = if is_folder {
        &["out/a.parquet", "out/more/b.parquet"][..]
    } else {
        &["out.parquet"]
    };
    let places: Vec<_> = files.iter().map(|name| stage.locate(name)).collect();
    let success = stage.locate("out/_SUCCESS");
    let got = stage.within(async |_| {
        if is_folder && success.local.is_none() && read(&success).await.is_none() {
            return None;
        }
        let mut got = Vec::new();
        for place in &places {
            got.push(read(place).await);
        }
        let there = got.iter().flatten().count();
        let is_whole = there == got.len() || (there == 0 && success.local.is_some());
        assert!(
            !is_folder || is_whole,
            "a folder that is there lacks a file"
        );
        got.into_iter().collect::<Option<Vec<_>>>()
    })?;
    let mut rows = BTreeMap::new();
    for bytes in got {
        let columns = read_columns(bytes);
        for (n, id) in columns["id"].iter().enumerate() {
            let id = id.as_deref().and_then(|id| id.parse().ok()).expect("an id");
            let at = |name: &str| columns[name][n].clone();
            let status = at("label_status").expect("a status");
            let row = (at("label"), status, at("label_error"));
            assert!(rows.insert(id, row).is_none(), "row {id} is there twice");
        }
    }
    Some(rows)
}

async fn read(place: &Location) -> Option<bytes::Bytes> {
    place.get().await.expect("readable")
}

/// The statuses sum to the rows, and are the output's.
fn check_counts(report: &Report, rows: &[Row]) {
    assert_eq!(report.counts.total(), rows.len() as u64);
    assert_eq!(report.counts.of(RowStatus::Pending), 0);
    let mut counts = BTreeMap::<&str, u64>::new();
    for (_, status, _) in rows {
        *counts.entry(status).or_default() += 1;
    }
    for (status, count) in report.counts.iter() {
        let found = counts.get(status.as_str()).copied().unwrap_or_default();
        assert_eq!(found, count, "{status}");
    }
}

/// By the sandbox's own books every request was paid once, and everything that was paid for is in
/// the output.
fn check_bill(stage: &mut Stage, rows: &[Row]) {
    let bodies = stage.story.bodies();
    let paid = ["succeeded", "invalid", "refused", "filtered", "truncated"];
    let paid = rows
        .iter()
        .zip(bodies)
        .enumerate()
        .filter(|(_, ((_, status, _), _))| paid.contains(&status.as_str()));
    let requests: BTreeSet<_> = paid
        .map(|(n, (_, body))| {
            if stage.story.dedupe {
                (0, body)
            } else {
                (n, body)
            }
        })
        .collect();
    let bill = stage.world.bill();
    if stage.story.asks_again {
        check_asked_again(stage, requests.len() as u64);
        return;
    }
    if stage.story.embeds {
        check_texts(stage, requests.len() as u64);
        return;
    }
    if stage.story.ways.doubled > 0 || stage.overruled || stage.retried {
        // A proxy pays twice, or a person who has what nobody can tell, or what was answered badly, sent
        // again.
        assert!(
            bill.total.requests_billed >= requests.len() as u64,
            "{bill:?}"
        );
        return;
    }
    assert_eq!(
        bill.total.requests_billed,
        requests.len() as u64,
        "{bill:?}"
    );
    if stage.story.dedupe {
        assert_eq!(bill.billed_more_than_once, 0, "{bill:?}");
    }
    if !stage.story.sends_again() && stage.story.dedupe && !stage.story.acts.contains(&Act::Cancel)
    {
        // Nothing failed, so that nothing had to be sent again.
        let failed = bill.total.requests_accepted - bill.total.requests_billed;
        assert_eq!(failed, 0, "{bill:?}");
    }
}

/// The same where answers that cannot be used are asked again: every answer that was paid for is in the ledger,
/// and none was asked for more often than it may be.
fn check_asked_again(stage: &mut Stage, requests: u64) {
    let mut answers = 0;
    for fact in facts(stage) {
        match fact {
            Action::Landed(landed) => {
                let counts = landed.counts.iter();
                let paid = counts.filter(|(status, _)| PAID.contains(status));
                answers += paid.map(|(_, count)| count).sum::<u64>();
            }
            Action::ChunkStored(stored) => {
                assert!(stored.variant.reasks <= REASKS, "{stored:?}");
                assert!(stored.failures() < 3, "{stored:?}");
            }
            _ => {}
        }
    }
    let billed = stage.world.bill().total.requests_billed;
    assert!(billed >= requests, "{billed} of {requests}");
    if stage.story.ways.doubled == 0 && !stage.overruled {
        assert_eq!(
            billed, answers,
            "what was paid for, and what the ledger has"
        );
    }
}

/// What was answered and paid for.
const PAID: [RowStatus; 5] = [
    RowStatus::Succeeded,
    RowStatus::Invalid,
    RowStatus::Refused,
    RowStatus::Filtered,
    RowStatus::Truncated,
];

/// The same where a request on the wire is several of ours: by the texts that were paid for.
fn check_texts(stage: &Stage, requests: u64) {
    let (all, distinct) = stage.world.billed_texts();
    if stage.story.ways.doubled > 0 || stage.overruled || stage.retried {
        assert!(all >= requests, "{all} of {requests}");
        return;
    }
    assert_eq!(all, requests, "{distinct} different ones");
    if stage.story.dedupe {
        assert_eq!(all, distinct, "billed twice");
    }
}

/// The provider's batches are those that the ledger knows, each as one attempt's; so no body has two.
fn check_batches(stage: &mut Stage) {
    let there = batches(stage);
    let known = facts(stage);
    let mut accepted = Vec::new();
    let mut wasted = Vec::new();
    for fact in &known {
        match fact {
            Action::Accepted(batch) => accepted.push(batch.batch.to_string()),
            Action::Wasted { batch, .. } => wasted.push(batch.to_string()),
            _ => {}
        }
    }
    let all: Vec<_> = accepted.iter().chain(&wasted).cloned().collect();
    let distinct: BTreeSet<_> = all.iter().cloned().collect();
    assert_eq!(
        all.len(),
        distinct.len(),
        "a batch is two attempts': {all:?}"
    );
    let there: BTreeSet<_> = there.into_iter().collect();
    let unread = ["garbage", "missing", "anonymous"]
        .iter()
        .any(|word| stage.story.faults.contains(word));
    let has_twins = stage.story.vendor == "anthropic" && (stage.story.ways.doubled > 0 || unread);
    if has_twins || stage.overruled {
        // A batch that still runs cannot be told from a stranger's: the twin of one that was found. Nor
        // can one without a readable line, and nothing was paid for it.
        assert!(there.is_superset(&distinct), "{there:?} {distinct:?}");
        return;
    }
    assert_eq!(
        there, distinct,
        "the provider's batches, and those that the ledger knows"
    );
    if stage.story.ways.doubled == 0 {
        assert_eq!(wasted, Vec::<String>::new(), "nothing was sent twice");
    }
}

/// The ledger's facts, read from its beginning.
pub(super) fn facts(stage: &mut Stage) -> Vec<Action> {
    let root = stage.locate("_columnist/triage");
    stage.within(async |world| {
        let mut log = Log::open(&world.components, &root);
        let commits = log.replay::<Action>().await.expect("a whole ledger");
        commits
            .into_iter()
            .flat_map(|commit| commit.actions)
            .collect()
    })
}

/// The ids of the batches that the sandbox holds.
fn batches(stage: &mut Stage) -> Vec<String> {
    let path = match stage.story.vendor {
        "openai" => "/openai/v1/batches?limit=100",
        _ => "/anthropic/v1/messages/batches?limit=1000",
    };
    let page = stage.within(async |world| {
        // The sandbox's faults befall this call as well.
        for _ in 0..100 {
            if let Some(page) = ask(&world.sandbox, path).await["data"].as_array() {
                return page.clone();
            }
        }
        panic!("no list of batches");
    });
    assert!(page.len() < 100, "one page is enough");
    let id = |batch: &Value| batch["id"].as_str().expect("an id").to_owned();
    page.iter().map(id).collect()
}

async fn ask(sandbox: &Sandbox, path: &str) -> Value {
    let request = Request::builder()
        .method(Method::GET)
        .uri(path)
        .header("authorization", "Bearer sk-test")
        .header("anthropic-version", "2023-06-01")
        .body(Body::empty())
        .expect("a request");
    let answer = sandbox.call(request).await;
    let body = axum::body::to_bytes(answer.into_body(), 1 << 20).await;
    body.ok()
        .and_then(|body| serde_json::from_slice(&body).ok())
        .unwrap_or_default()
}

/// Another run spends nothing, sends nothing, and leaves the output alone.
fn check_again(stage: &mut Stage) {
    let before = stand(stage);
    stage.disarm();
    let Ended::Done(done) = stage.live(Act::Run) else {
        panic!("nothing stops this one");
    };
    done.expect("another run");
    let again = stage.report.take().expect("a report");
    if stage.story.pictures == Some(Pictures::Paths) {
        // What paths lead to is looked at anew, which makes another plan; what failed in passing is asked again.
        assert!(again.published, "{again:?}");
        if !stage.story.may_fail() {
            assert_eq!(stand(stage).bill, before.bill);
        }
        return;
    }
    assert!(again.unchanged && again.published, "{again:?}");
    assert_eq!(stand(stage), before);
}

/// All that a run without anything to do must leave as it is.
#[derive(Debug, PartialEq)]
struct Stand {
    bill: Option<Bill>,
    output: Vec<(String, chrono::DateTime<chrono::Utc>, u64)>,
    sent: Value,
}

fn stand(stage: &mut Stage) -> Stand {
    let folder = stage.locate(".");
    let output = stage.within(async |_| {
        let files = folder.list().await.expect("a listing");
        let files = files
            .into_iter()
            .map(|file| (file.location.to_string(), file.last_modified, file.size));
        files
            .filter(|(name, ..)| !name.contains("_columnist") && !name.contains("/sandbox/"))
            .collect()
    });
    let mut sent = stage.within(async |world| ask(&world.sandbox, "/__sandbox/calls").await);
    if let Some(sent) = sent.as_object_mut() {
        sent.retain(|call, _| !call.starts_with("GET"));
    }
    // What a proxy sent twice may end, and be billed, later.
    let is_doubled = stage.story.ways.doubled > 0;
    Stand {
        bill: (!is_doubled).then(|| stage.world.bill()),
        output,
        sent,
    }
}

/// How many rows of the output were answered, for the figures.
pub(super) fn billed(world: &World) -> u64 {
    world.bill().total.requests_billed
}

/// How many chunks were stored of requests that are asked again for an answer that cannot be used.
pub(super) fn asked_again(stage: &mut Stage) -> usize {
    let facts = facts(stage).into_iter();
    let is_again = |fact: &Action| match fact {
        Action::ChunkStored(chunk) => !chunk.variant.is_plain(),
        _ => false,
    };
    facts.filter(is_again).count()
}

/// How many chunks were stored to go before others.
pub(super) fn primers(stage: &mut Stage) -> usize {
    let facts = facts(stage).into_iter();
    facts
        .filter(|fact| matches!(fact, Action::ChunkStored(chunk) if chunk.primer))
        .count()
}
