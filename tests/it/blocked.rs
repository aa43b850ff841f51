//! Work may block every thread that works. Connections and leases have a thread of their own.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use columnist::base::{Components, IoRuntime, Location, Uptime as _};
use columnist::ledger::{Holder, Leases, Patience, Scope, Taken};
use tokio::runtime::{Builder, Handle, Runtime};

use crate::s3;

/// As in the program.
const WORKERS: usize = 2;
const TTL: Duration = Duration::from_millis(1500);
/// Far longer than any machine needs for a call to a server in the same process.
const TOO_LONG: Duration = Duration::from_secs(20);

fn runtime(threads: usize) -> Runtime {
    let mut builder = Builder::new_multi_thread();
    let builder = builder.worker_threads(threads).enable_all();
    builder.build().expect("a runtime")
}

/// Has each worker of the runtime one is in block its thread, until `done` or for [`TOO_LONG`]; whether
/// it was `done` for all.
async fn block_workers(done: impl Fn() -> bool + Clone + Send + 'static) -> bool {
    let blocked = (0..WORKERS).map(|_| {
        let done = done.clone();
        tokio::spawn(async move { blocks_until(done) })
    });
    let ended = futures::future::join_all(blocked.collect::<Vec<_>>()).await;
    ended.into_iter().all(|ended| ended.expect("no panic"))
}

#[expect(clippy::disallowed_methods, reason = "to block is what it is for")]
fn blocks_until(done: impl Fn() -> bool) -> bool {
    let clock = columnist::base::SystemUptime;
    let start = clock.uptime();
    while !done() {
        if clock.uptime().saturating_sub(start) > TOO_LONG {
            return false;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    true
}

fn ledger(endpoint: &str, io: IoRuntime) -> (Components, Location) {
    let components = Components::system_with(io, s3::stores_at(endpoint));
    let place = components
        .stores
        .locate("s3://lake/ledger")
        .expect("a place");
    (components, place)
}

/// A bucket `lake`, served from a thread that nobody blocks.
fn serve(root: &Path, server: &Handle) -> String {
    std::fs::create_dir_all(root.join("lake")).expect("a bucket");
    format!("http://{}", server.block_on(s3::serve(root)))
}

#[test]
fn a_lease_is_renewed_while_work_blocks_every_worker() {
    let folder = tempfile::tempdir().expect("a folder");
    let (work, io, server) = (runtime(WORKERS), runtime(1), runtime(1));
    let endpoint = serve(folder.path(), server.handle());
    let (components, place) = ledger(&endpoint, IoRuntime::of(io.handle().clone()));
    let renewed = work.block_on(async {
        let holder = Holder::this_process("a", "run triage.toml", components.clock.now());
        let uptime = Arc::clone(&components.uptime);
        let leases = Leases::new(&components, uptime, &place, holder, TTL);
        let taken = leases.take(&Scope::job(), 0, Patience::NotAtAll).await;
        let Taken::Lease(lease) = taken.expect("a store") else {
            panic!("nobody else takes it")
        };
        let _keeper = lease.keep();
        // Time alone brings what remains down; a renewal alone brings it up again.
        let is_low = {
            let lease = lease.clone();
            move || lease.remaining() < TTL * 4 / 5
        };
        let is_high = move || lease.remaining() > TTL * 5 / 6;
        let mut renewed = true;
        for _ in 0..2 {
            renewed &= block_workers(is_low.clone()).await && block_workers(is_high.clone()).await;
        }
        renewed
    });
    assert!(renewed, "the keeper waits behind work");
}
