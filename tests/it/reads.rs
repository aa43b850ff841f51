//! What is read of a ledger on object storage.

use std::ops::Range;
use std::sync::Arc;

use columnist::base::{Components, Ids, MemoryStore, Stores};
use columnist::emulator::SandboxConfig;
use columnist::engine;

use object_store::path::Path;

use crate::world::{World, check_file, hash, taking, write_table};

/// A world whose ledger lies in a store that counts.
fn counted(config: SandboxConfig) -> (World, Arc<MemoryStore>) {
    let store = Arc::new(MemoryStore::new(None));
    let stores = Stores::default().with_memory(Arc::clone(&store));
    let components = Components {
        ids: Arc::new(Ids::seeded(7)),
        stores: Arc::new(stores),
        ..Components::system()
    };
    let mut world = World::of("anthropic", config, components);
    world.job["ledger"]["path"] = "memory://lake/_columnist/triage/".into();
    (world, store)
}

/// The requests for files in whose paths `part` is.
fn reads_of(part: &str, reads: &[(Path, Range<u64>)]) -> Vec<Range<u64>> {
    let of_part = reads
        .iter()
        .filter(|(path, _)| path.as_ref().contains(part));
    of_part.map(|(_, range)| range.clone()).collect()
}

fn bytes_of(reads: &[Range<u64>]) -> u64 {
    reads.iter().map(|range| range.end - range.start).sum()
}

/// Texts of two kilobytes that do not compress.
fn bodies() -> Vec<Option<String>> {
    let word = |row: u64, word: u64| format!("{:016x}", hash(&format!("{row} {word}")));
    let body = |row| (0..128).map(|n| word(row, n)).collect::<String>();
    (0..3000).map(|row| Some(body(row))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn landing_a_chunk_fetches_its_keys_and_no_prompts() {
    let (world, store) = counted(SandboxConfig::default());
    let bodies = bodies();
    write_table(&world.path("in.parquet"), &bodies, 1000);
    let submitted = engine::submit(world.setup("submit"), world.provider()).await;
    submitted.expect("a submission");
    let sent = reads_of("/requests/", &store.take_reads());
    let collected = engine::collect(world.setup("collect"), world.provider(), true).await;
    assert!(collected.expect("a collection").published);
    let reads = store.take_reads();
    let landed = reads_of("/requests/", &reads);
    assert!(
        bytes_of(&landed) * 10 < bytes_of(&sent),
        "{landed:?} of {sent:?}"
    );
    let maps = reads_of("/rows.parquet", &reads);
    assert_eq!(maps.len(), 1, "publishing reads the row map once: {maps:?}");
    check_file(&world, &world.path("out.parquet"), &bodies);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_already_is_known_from_a_store_as_well() {
    let (world, _) = counted(taking(1, 2));
    let bodies = bodies();
    let grow = |rows: usize| write_table(&world.path("in.parquet"), &bodies[..rows], 1000);
    grow(300);
    let submitted = engine::submit(world.setup("submit"), world.provider()).await;
    submitted.expect("a submission");
    // What is open counts as asked.
    grow(400);
    let planned = engine::plan(world.setup("plan"), world.provider()).await;
    assert_eq!(planned.expect("a plan").requests, 100);
    assert_eq!(world.bill().total.requests_accepted, 300);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_answered_before_is_known_from_a_store_as_well() {
    let (world, _) = counted(SandboxConfig::default());
    let bodies = bodies();
    for rows in [300, 400, 3000] {
        write_table(&world.path("in.parquet"), &bodies[..rows], 1000);
        let report = world.run().await.expect("a run");
        assert!(report.published, "{report:?}");
        assert_eq!(world.bill().total.requests_accepted, rows as u64);
    }
    assert!(world.run().await.expect("a second run").unchanged);
}
