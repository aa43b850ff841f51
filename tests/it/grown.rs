//! A ledger of many nights: what a plan reads of it, and how long a run takes to start, do not grow with
//! its history.
//!
//! The nights are made up from the facts of one real run. `COLUMNIST_GROWN=1000x10000` (plans, answers of
//! each) makes a larger ledger, on disk, and with `--nocapture` tells what starting takes.

use std::sync::Arc;

use columnist::base::{Components, Ids, Location, MemoryStore, Points, Stores};
use columnist::emulator::SandboxConfig;
use columnist::engine;
use columnist::ledger::action::{Action, PlanStarted};
use columnist::ledger::outcomes::OutcomesWriter;
use columnist::ledger::{Append, Author, Log};
use columnist::work::{Finish, KeyRule, Outcome, RequestKey, RowStatus, StatusCounts, Usage};

use crate::world::{World, read_table, write_table};

/// How many plans, and how many answers each has.
#[derive(Clone, Copy)]
struct Size {
    plans: u64,
    answers: u64,
}

/// A world whose ledger lies in a store that counts, or on disk.
fn world(on_disk: bool) -> (World, Arc<MemoryStore>) {
    let store = Arc::new(MemoryStore::new(None));
    let components = Components {
        ids: Arc::new(Ids::seeded(7)),
        stores: Arc::new(Stores::default().with_memory(Arc::clone(&store))),
        ..Components::system()
    };
    let mut world = World::of("anthropic", SandboxConfig::default(), components);
    if !on_disk {
        world.job["ledger"]["path"] = "memory://lake/_columnist/triage/".into();
    }
    (world, store)
}

fn ledger(world: &World) -> Location {
    let path = world.job["ledger"]["path"].as_str().expect("a path");
    world.components.stores.locate(path).expect("a place")
}

/// A key of a request that nobody makes.
fn made_up(plan: u64, ordinal: u64) -> RequestKey {
    let mut key = [0; RequestKey::LEN];
    for (at, word) in key.as_chunks_mut::<8>().0.iter_mut().enumerate() {
        let mixed =
            xxhash_rust::xxh3::xxh3_64_with_seed(&ordinal.to_le_bytes(), plan * 8 + at as u64);
        *word = mixed.to_be_bytes();
    }
    RequestKey(key)
}

/// The text of a row that was answered in some night.
fn body(n: usize) -> String {
    format!("ticket {n}")
}

/// Adds nights to the ledger of `world`, which has one. In the first of them the rows from 10 to 20 were
/// answered, each with its number; all other answers are nobody's.
async fn grow(world: &World, size: Size) {
    let root = ledger(world);
    let mut log = Log::open(&world.components, &root);
    let facts = log.replay::<Action>().await.expect("a whole ledger");
    let facts: Vec<Vec<Action>> = facts.into_iter().map(|commit| commit.actions).collect();
    let started = facts.iter().flatten().find_map(|fact| match fact {
        Action::PlanStarted(started) => Some(started.clone()),
        _ => None,
    });
    let started = started.expect("a plan");
    let author = Author {
        run: "grown".to_owned(),
        lease: None,
    };
    for plan in 1..size.plans {
        let mut night = facts.clone();
        for facts in &mut night {
            facts.retain(|fact| !is_first(fact));
        }
        for facts in night.iter_mut().filter(|facts| !facts.is_empty()) {
            for fact in facts.iter_mut() {
                relabel(fact, plan, size.answers);
            }
            let appended = log.append(&author, facts, Points::default()).await;
            assert!(matches!(appended, Ok(Append::Appended(_))), "{appended:?}");
        }
        let rows = root
            .join("plans/000000/rows.parquet")
            .get()
            .await
            .expect("read");
        let place = root.join(&format!("plans/{plan:06}/rows.parquet"));
        place.put(rows.expect("a row map")).await.expect("written");
        answer(world, &root, &started, (plan, size.answers)).await;
    }
}

/// Whether a fact is said once in a ledger, or of what the made up nights do not have.
fn is_first(fact: &Action) -> bool {
    matches!(
        fact,
        Action::LedgerMade(_) | Action::RequestKeys { .. } | Action::Discarded { .. }
    )
}

/// Makes a fact of the first night one of night `number`.
fn relabel(fact: &mut Action, number: u64, answers: u64) {
    let renamed = |attempt: &mut String| *attempt = format!("{}-{number:06}", &attempt[..8]);
    match fact {
        Action::PlanStarted(started) => started.plan = number,
        Action::ChunkStored(stored) => {
            stored.plan = number;
            stored.requests = answers;
        }
        Action::PlanCompleted(completed) => {
            completed.plan = number;
            completed.requests = answers;
        }
        Action::Promised(promised) => {
            promised.plan = number;
            promised.requests = answers;
            renamed(&mut promised.attempt);
        }
        Action::Accepted(accepted) => renamed(&mut accepted.attempt),
        Action::Staged { attempt, .. } => renamed(attempt),
        Action::Landed(landed) => {
            renamed(&mut landed.attempt);
            landed.counts = StatusCounts::default();
            landed.counts.add(RowStatus::Succeeded, answers);
        }
        Action::PublishStarted(started) => started.plan = number,
        Action::Published(published) => published.plan = number,
        Action::RunStarted(_) => {}
        fact => panic!("a fact that is not made up: {fact:?}"),
    }
}

/// Writes the answers of a night.
async fn answer(
    world: &World,
    root: &Location,
    started: &PlanStarted,
    (plan, answers): (u64, u64),
) {
    let path = world.path("outcomes.parquet");
    let mut writer = OutcomesWriter::create(&path, ("attempt", "batch"), None).expect("a file");
    let keyer = started.shape.keyer(KeyRule::NEWEST);
    for ordinal in 0..answers {
        let n = usize::try_from(ordinal).expect("small");
        let key = if plan == 1 && (10..20).contains(&n) {
            let prompt = format!("Label this: {}", body(n));
            keyer.key(&prompt, None)
        } else {
            made_up(plan, ordinal)
        };
        let outcome = Outcome {
            finish: Some(Finish::Stop),
            usage: Usage::default(),
            ..Outcome::succeeded(format!("answer {n}").into())
        };
        writer.push(ordinal, key, &outcome).expect("written");
    }
    writer.finish().expect("finished");
    let place = root.join(&format!("plans/{plan:06}/outcomes/000000-01.parquet"));
    place.upload_file(&path).await.expect("stored");
}

/// Where and in what size ledgers are made.
fn sizes() -> (bool, Vec<Size>) {
    let Ok(text) = std::env::var("COLUMNIST_GROWN") else {
        let small = Size {
            plans: 10,
            answers: 400,
        };
        let large = Size {
            plans: 120,
            answers: 400,
        };
        return (false, vec![small, large]);
    };
    let size = |text: &str| {
        let (plans, answers) = text.split_once('x').expect("plans x answers");
        Size {
            plans: plans.parse().expect("a number"),
            answers: answers.parse().expect("a number"),
        }
    };
    (true, text.split(',').map(size).collect())
}

/// What the reads of a run of `world` came to: requests, and bytes, of the index, of outcomes and of the
/// log.
fn read_of(store: &MemoryStore, parts: &[&str]) -> (usize, u64) {
    let reads = store.take_reads();
    let of_parts = reads
        .iter()
        .filter(|(path, _)| parts.iter().any(|part| path.as_ref().contains(part)));
    let lens: Vec<u64> = of_parts.map(|(_, range)| range.end - range.start).collect();
    (lens.len(), lens.iter().sum())
}

const PARTS: [&str; 3] = ["/index/", "/outcomes/", "/log/"];

#[tokio::test(flavor = "multi_thread")]
#[expect(
    clippy::print_stdout,
    reason = "the figures, for whoever asks for them"
)]
async fn what_a_plan_reads_does_not_grow_with_history() {
    let (on_disk, sizes) = sizes();
    let mut came = Vec::new();
    for size in sizes {
        let (world, store) = world(on_disk);
        write_table(
            &world.path("in.parquet"),
            &(0..10).map(body).map(Some).collect::<Vec<_>>(),
            64,
        );
        world.run().await.expect("the first run");
        grow(&world, size).await;
        // The first plan over it makes the index of what has landed.
        let bodies: Vec<_> = (0..1000).map(body).map(Some).collect();
        write_table(&world.path("in.parquet"), &bodies[..20], 64);
        let began = world.components.uptime.uptime();
        let report = world.run().await.expect("a run that makes the index");
        let made = world.components.uptime.uptime().saturating_sub(began);
        assert_eq!((report.requests, report.answered), (0, 20), "{report:?}");
        let table = read_table(&world.path("out.parquet"));
        assert_eq!(table["label"][15].as_deref(), Some("answer 15"));
        // A thousand rows, of which twenty are answered.
        write_table(&world.path("in.parquet"), &bodies, 64);
        read_of(&store, &[]);
        let began = world.components.uptime.uptime();
        let submitted = engine::submit(world.setup("submit"), world.provider()).await;
        let started = world.components.uptime.uptime().saturating_sub(began);
        let report = submitted.expect("a submission");
        assert_eq!((report.requests, report.answered), (980, 20), "{report:?}");
        let read = read_of(&store, &PARTS);
        println!(
            "{} plans of {} answers: index made by a run of {made:.2?}, submitted in {started:.2?}, {read:?} read",
            size.plans, size.answers
        );
        came.push(read);
    }
    // Up to a checkpoint's commits, and a checkpoint that is larger: nothing else is more.
    if let (false, [small, large]) = (on_disk, &came[..]) {
        assert!(large.0 <= small.0 + 64, "requests: {small:?} {large:?}");
    }
}
