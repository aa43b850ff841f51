//! A world that lives several times: the sandbox and the storage stay, the process does not.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use columnist::base::http::RouterService;
use columnist::base::{Clock as _, Components, Crash, Ids, Location, Result, Stores, Time};
use columnist::emulator::{Faults, SandboxConfig};
use columnist::engine::Report;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use super::network::Network;
use super::stop::{Stop, When};
use super::story::{Place, Story, Table};
use super::time::{Skewed, WorldClock};
use crate::world::{World, write_rows};

/// How a life ended.
#[derive(Debug)]
pub(super) enum Ended {
    /// At this point.
    Stopped(&'static str),
    /// By itself.
    Done(Result<Report>),
}

/// The stage of one story.
pub(super) struct Stage {
    pub world: World,
    pub story: Story,
    clock: Arc<WorldClock>,
    now: Time,
    lives: usize,
    /// Every point that any life reached.
    pub reached: Vec<&'static str>,
}

/// No life lasts longer than this, by its own clock.
const LIFE_MAX: Duration = Duration::from_secs(60 * 24 * 3600);

/// A runtime whose time is paused. When it is dropped, nothing of what ran in it goes on.
fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime")
}

impl Stage {
    pub(super) fn new(story: Story) -> Stage {
        let now = Time::from_timestamp(1_800_000_000, 0).expect("in range");
        let clock = runtime().block_on(async { Arc::new(WorldClock::starting_at(now)) });
        let config = SandboxConfig {
            seed: 0,
            batch_time: story.batch_time,
            faults: story.faults.parse::<Faults>().expect("faults"),
            ..SandboxConfig::default()
        };
        let components = Components {
            clock: Arc::<WorldClock>::clone(&clock),
            uptime: Arc::<WorldClock>::clone(&clock),
            stores: Arc::new(Stores::default().with_clock(Arc::<WorldClock>::clone(&clock))),
            ..Components::system()
        };
        let mut world = World::of(story.vendor, config, components);
        let sandbox = RouterService::new(world.sandbox.router());
        let network = Network::new(sandbox, Arc::clone(&clock), story.seed, story.ways);
        world.components.http = Arc::new(network);
        let mut stage = Stage {
            world,
            story,
            clock,
            now,
            lives: 0,
            reached: Vec::new(),
        };
        stage.set();
        stage
    }

    /// Puts the table where it belongs, and writes the job.
    fn set(&mut self) {
        let story = self.story.clone();
        let bodies = story.bodies();
        let (table, output) = match story.table {
            Table::File => ("in.parquet", "out.parquet"),
            Table::Folder => ("in/", "out/"),
            Table::Csv => ("in.csv", "out.parquet"),
        };
        match story.table {
            Table::File => self.put_table("in.parquet", &bodies, 0),
            Table::Folder => {
                let (first, second) = bodies.split_at(bodies.len() / 2);
                self.put_table("in/a.parquet", first, 0);
                self.put_table("in/more/b.parquet", second, first.len());
            }
            Table::Csv => self.put("in.csv", csv(&bodies).into()),
        }
        let (table, output) = (self.address(table), self.address(output));
        let ledger = self.address("_columnist/triage");
        let job = &mut self.world.job;
        job["source"]["input"]["table"] = table.into();
        job["output"]["path"] = output.into();
        job["ledger"]["path"] = ledger.into();
        job["ledger"]["keep_prompts"] = story.keep_prompts.into();
        job["ledger"]["lease"] = seconds(story.lease);
        job["prompt"]["dedupe"] = story.dedupe.into();
        job["model"]["max_requests_per_batch"] = story.per_batch.into();
        job["model"]["poll_min"] = seconds(Duration::from_secs(10));
        job["model"]["poll_max"] = seconds(Duration::from_secs(300));
        job["budget"]["max_failed"] = json!({ "percent": 100.0 });
    }

    fn put_table(&self, name: &str, bodies: &[Option<String>], first: usize) {
        let path = self.world.path("table.parquet");
        let first = i64::try_from(first).expect("small");
        write_rows(&path, first, bodies, 16);
        self.put(name, std::fs::read(&path).expect("a table").into());
    }

    fn put(&self, name: &str, bytes: Bytes) {
        let place = self.locate(name);
        runtime().block_on(async { place.put(bytes).await }).expect("stored");
    }

    fn address(&self, name: &str) -> String {
        match self.story.place {
            Place::Disk => {
                let slash = if name.ends_with('/') { "/" } else { "" };
                let path: PathBuf = self.world.path(name.trim_end_matches('/'));
                format!("{}{slash}", path.display())
            }
            Place::Objects => format!("memory://lake/{name}"),
        }
    }

    pub(super) fn locate(&self, name: &str) -> Location {
        let stores = &self.world.components.stores;
        stores.locate(&self.address(name)).expect("a place")
    }

    /// Does something within the world's time.
    pub(super) fn within<T>(&mut self, work: impl AsyncFnOnce(&World) -> T) -> T {
        let runtime = runtime();
        let (came, now) = runtime.block_on(async {
            self.clock.go_on(self.now);
            let came = work(&self.world).await;
            (came, self.clock.now())
        });
        self.now = now;
        came
    }

    /// `columnist run`, until it ends or the world stops.
    pub(super) fn live(&mut self, when: When) -> Ended {
        let turn = |of: usize| self.lives % of;
        if self.lives > 0 {
            let delays = &self.story.delays;
            self.now += Duration::from_secs(delays[turn(delays.len())]);
        }
        let skew = self.story.skews[turn(self.story.skews.len())];
        self.lives += 1;
        let stop = Arc::new(Stop::new(when));
        let components = &mut self.world.components;
        components.clock = Arc::new(Skewed {
            clock: Arc::clone(&self.clock),
            by: chrono::Duration::minutes(skew),
        });
        components.ids = Arc::new(Ids::seeded(self.story.seed * 1000 + self.lives as u64));
        components.crash = Crash::with(Arc::<Stop>::clone(&stop));
        let ended = self.within(async |world| {
            let life = async {
                tokio::select! {
                    biased;
                    name = stop.stopped() => Ended::Stopped(name),
                    done = world.run() => Ended::Done(done),
                }
            };
            tokio::time::timeout(LIFE_MAX, life).await.expect("a life of bearable length")
        });
        self.reached.extend(stop.passed());
        ended
    }
}

fn seconds(duration: Duration) -> Value {
    json!({ "secs": duration.as_secs(), "nanos": 0 })
}

fn csv(bodies: &[Option<String>]) -> String {
    let mut text = "id,body\n".to_owned();
    for (id, body) in bodies.iter().enumerate() {
        let body = body.as_deref().expect("a body").replace('"', "\"\"");
        text.push_str(&format!("{id},\"{body}\"\n"));
    }
    text
}
