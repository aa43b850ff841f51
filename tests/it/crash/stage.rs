//! A world that lives several times: the sandbox and the storage stay, the process does not.

use std::collections::{BTreeSet, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, BinaryArray, Int64Array, StringArray};
use bytes::Bytes;
use columnist::base::http::RouterService;
use columnist::base::{Clock as _, Components, Crash, Ids, Location, Result, Stores, Time};
use columnist::emulator::{Faults, SandboxConfig};
use columnist::engine::{self, Report, Wanted};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::network::Network;
use super::stop::{Hook, Stop, When};
use super::story::{Act, Pictures, Place, Story, Table};
use super::time::{Skewed, WorldClock};
use crate::attachments::{picture, write};
use crate::world::{World, write_rows};

/// How a life ended.
#[derive(Debug)]
pub(super) enum Ended {
    /// At this point.
    Stopped(&'static str),
    /// By itself.
    Done(Result<()>),
}

/// The stage of one story.
pub(super) struct Stage {
    pub world: World,
    pub story: Story,
    clock: Arc<WorldClock>,
    now: Time,
    lives: usize,
    /// The points at which the world is still to stop.
    armed: BTreeSet<&'static str>,
    nths: VecDeque<usize>,
    hook: Option<Hook>,
    /// Every point that any life reached.
    pub reached: BTreeSet<&'static str>,
    /// Whether a person had to say what becomes of a batch.
    pub overruled: bool,
    /// Whether a person asked for what has no answer to be sent again.
    pub retried: bool,
    /// What the last run came to.
    pub report: Option<Report>,
    /// How many rows the table had before it last grew.
    pub rows_before: usize,
}

/// Times that an invalid answer is asked again, where one is.
pub(super) const REASKS: u32 = 2;

/// Rows by which a table grows.
const GROWTH: usize = 5;

/// No life lasts longer than this, by its own clock.
const LIFE_MAX: Duration = Duration::from_hours(60 * 24);

/// A folder in memory, where this machine has such a thing: thousands of small files are written.
fn folder() -> TempDir {
    let memory = Path::new("/dev/shm");
    let made = if memory.is_dir() {
        tempfile::tempdir_in(memory)
    } else {
        tempfile::tempdir()
    };
    made.expect("a folder")
}

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
        let folder = folder();
        let mut config = SandboxConfig {
            seed: 0,
            state_dir: Some(folder.path().join("sandbox")),
            batch_time: story.batch_time,
            faults: story.faults.parse::<Faults>().expect("faults"),
            ..SandboxConfig::default()
        };
        if story.narrow {
            config.anthropic.queue_requests_max = Some(story.per_batch * 3 / 2);
            config.openai.enqueued_tokens_max = Some(story.per_batch * 15);
        }
        let components = Components {
            clock: Arc::<WorldClock>::clone(&clock),
            uptime: Arc::<WorldClock>::clone(&clock),
            stores: Arc::new(Stores::default().with_clock(Arc::<WorldClock>::clone(&clock))),
            ..Components::system()
        };
        let mut world = World::within(folder, story.vendor, config, components);
        let sandbox = RouterService::new(world.sandbox.router());
        let network = Network::new(sandbox, Arc::clone(&clock), story.seed, story.ways);
        world.components.http = Arc::new(network);
        let mut stage = Stage {
            world,
            clock,
            now,
            lives: 0,
            armed: story.points.iter().copied().collect(),
            nths: story.nths.iter().copied().collect(),
            hook: None,
            reached: BTreeSet::new(),
            overruled: false,
            retried: false,
            report: None,
            rows_before: story.rows,
            story,
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
            Table::Csv => self.put("in.csv", csv(&story, &bodies).into()),
        }
        self.put_pictures();
        let (table, output) = (self.address(table), self.address(output));
        let ledger = self.address("_columnist/triage");
        let photos = self.address("photos/");
        let job = &mut self.world.job;
        job["source"]["input"]["table"] = table.into();
        job["output"]["path"] = output.into();
        job["ledger"]["path"] = ledger.into();
        job["ledger"]["keep_prompts"] = story.keep_prompts.into();
        job["ledger"]["on_ambiguous"] = story.policy.into();
        job["ledger"]["lease"] = seconds(story.lease);
        job["prompt"]["dedupe"] = story.dedupe.into();
        if story.shares {
            // About five thousand tokens.
            job["prompt"]["system"] = "rule".repeat(5000).into();
        }
        if story.pictures.is_some() {
            job["prompt"]["images"] = json!(["photo"]);
        }
        if story.pictures == Some(Pictures::Paths) {
            job["prompt"]["attachments_from"] = json!([photos]);
        }
        job["model"]["max_requests_per_batch"] = story.per_batch.into();
        job["model"]["poll_min"] = seconds(Duration::from_secs(10));
        job["model"]["poll_max"] = seconds(Duration::from_mins(5));
        job["budget"]["max_failed"] = json!({ "percent": 100.0 });
        if story.embeds {
            self.world.embed();
        }
        if story.asks_again {
            self.world.label();
            let answer = &mut self.world.job["answer"];
            answer["reask"] = REASKS.into();
            answer["grow_output_tokens"] = 2.0.into();
        }
    }

    fn put_table(&self, name: &str, bodies: &[Option<String>], first: usize) {
        let path = self.world.path("table.parquet");
        write_story(&self.story, &path, (first, bodies));
        self.put(name, std::fs::read(&path).expect("a table").into());
    }

    /// Puts the pictures where rows say that they lie.
    fn put_pictures(&self) {
        if self.story.pictures == Some(Pictures::Paths) {
            for body in self.story.bodies() {
                let n = picture_of(body.as_deref());
                let name = format!("photos/{n}.png");
                let place = self.locate(&name);
                // One that is written again is another one.
                let there = runtime().block_on(async { place.head().await });
                if there.expect("looked at").is_none() {
                    self.put(&name, picture(n).into());
                }
            }
        }
    }

    fn put(&self, name: &str, bytes: Bytes) {
        let place = self.locate(name);
        runtime()
            .block_on(async { place.put(bytes).await })
            .expect("stored");
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

    /// Does `act`, until it ends or the world stops.
    pub(super) fn live(&mut self, act: Act) -> Ended {
        match act {
            Act::Grow => {
                self.grow();
                return Ended::Done(Ok(()));
            }
            Act::RunGrowing if self.lives == 0 => self.hook = Some(self.growing()),
            _ => {}
        }
        self.be_born();
        let stop = Arc::new(Stop::new(self.when(), self.hook.take()));
        self.world.components.crash = Crash::with(Arc::<Stop>::clone(&stop));
        let ended = self.within(async |world| {
            let life = async {
                tokio::select! {
                    biased;
                    name = stop.stopped() => Err(name),
                    done = carry_out(world, act) => Ok(done),
                }
            };
            let life = tokio::time::timeout(LIFE_MAX, life);
            Box::pin(life).await.expect("a life of bearable length")
        });
        self.world.components.crash = Crash::never();
        self.reached.extend(stop.passed());
        self.hook = stop.hook();
        if act == Act::RunGrowing && self.hook.is_none() && self.story.rows == self.rows_before {
            self.story.rows += GROWTH;
        }
        match ended {
            Err(name) => {
                self.armed.remove(name);
                Ended::Stopped(name)
            }
            Ok(done) => Ended::Done(done.map(|report| {
                self.report = report.or(self.report.take());
            })),
        }
    }

    fn when(&mut self) -> When {
        match self.nths.pop_front() {
            Some(nth) => When::Nth(nth),
            None if self.armed.is_empty() => When::Never,
            None => When::At(self.armed.clone()),
        }
    }

    /// Another process, later, on another machine.
    fn be_born(&mut self) {
        let turn = |of: usize| self.lives % of;
        if self.lives > 0 {
            let delays = &self.story.delays;
            self.now += Duration::from_secs(delays[turn(delays.len())]);
        }
        let skew = self.story.skews[turn(self.story.skews.len())];
        self.lives += 1;
        let components = &mut self.world.components;
        components.clock = Arc::new(Skewed {
            clock: Arc::clone(&self.clock),
            by: chrono::Duration::minutes(skew),
        });
        components.ids = Arc::new(Ids::seeded(self.story.seed * 1000 + self.lives as u64));
    }

    /// No point stops the world any more.
    pub(super) fn disarm(&mut self) {
        self.armed.clear();
        self.nths.clear();
    }

    /// A person says that what nobody can tell is to be sent again; `false` where it can be told. A
    /// batch shows whose it is by its lines, and every line of a small one may be missing or broken.
    pub(super) fn overrule(&mut self) -> bool {
        let faults = self.story.faults;
        let words = ["missing", "garbage", "anonymous"];
        self.overruled = words.iter().any(|word| faults.contains(word));
        self.world.job["ledger"]["on_ambiguous"] = "resubmit".into();
        self.overruled
    }

    fn grow(&mut self) {
        self.rows_before = self.story.rows;
        self.story.rows += GROWTH;
        self.put_table("in.parquet", &self.story.bodies(), 0);
        self.put_pictures();
    }

    /// What makes a table on local disk grow when the first batch lands.
    fn growing(&self) -> Hook {
        let rows = self.story.rows + GROWTH;
        let story = Story {
            rows,
            ..self.story.clone()
        };
        let (path, photos) = (self.world.path("in.parquet"), self.world.path("photos"));
        let grow = move || {
            let bodies = story.bodies();
            write_story(&story, &path, (0, &bodies));
            if story.pictures == Some(Pictures::Paths) {
                for body in &bodies {
                    let n = picture_of(body.as_deref());
                    let file = photos.join(format!("{n}.png"));
                    if !file.exists() {
                        std::fs::write(file, picture(n)).expect("a picture");
                    }
                }
            }
        };
        ("commit.before_landed", Box::new(grow))
    }
}

/// What a command came to, if it says so.
async fn carry_out(world: &World, act: Act) -> Result<Option<Report>> {
    match act {
        Act::Run | Act::RunGrowing => world.run().await.map(Some),
        Act::Submit => {
            let submitted = engine::submit(world.setup("submit"), world.provider()).await;
            submitted.map(|_| None)
        }
        Act::Cancel => engine::cancel(world.setup("cancel")).await.map(|_| None),
        Act::Retry => {
            let all = Wanted::default();
            engine::retry(world.setup("retry"), all).await.map(|_| None)
        }
        Act::Clean => {
            let cleaned = engine::clean(world.setup("gc"), world.provider(), Duration::ZERO);
            cleaned.await.map(|_| None)
        }
        Act::Grow => Ok(None),
    }
}

fn seconds(duration: Duration) -> Value {
    json!({ "secs": duration.as_secs(), "nanos": 0 })
}

/// Which picture goes with a body: the same with the same.
pub(super) fn picture_of(body: Option<&str>) -> u8 {
    let bytes = body.unwrap_or_default().bytes();
    bytes.fold(0, |sum: u8, byte| sum.wrapping_mul(31).wrapping_add(byte))
}

/// Writes the rows of a story from number `first` on.
fn write_story(story: &Story, path: &Path, (first, bodies): (usize, &[Option<String>])) {
    let first = i64::try_from(first).expect("small");
    let Some(pictures) = story.pictures else {
        return write_rows(path, first, bodies, 16);
    };
    let own = bodies.iter().map(|body| picture_of(body.as_deref()));
    let photo: ArrayRef = match pictures {
        Pictures::Bytes => Arc::new(BinaryArray::from_iter_values(own.map(picture))),
        Pictures::Paths => {
            let names = own.map(|n| format!("{n}.png"));
            Arc::new(StringArray::from_iter_values(names))
        }
    };
    let ids = Int64Array::from_iter_values((first..).take(bodies.len()));
    let texts = bodies.iter().map(Option::as_deref).collect::<StringArray>();
    let columns: Vec<(_, ArrayRef)> = vec![
        ("id", Arc::new(ids)),
        ("body", Arc::new(texts)),
        ("photo", photo),
    ];
    write(path, columns);
}

fn csv(story: &Story, bodies: &[Option<String>]) -> String {
    let pictures = story.pictures.is_some();
    let mut text = if pictures {
        "id,body,photo\n"
    } else {
        "id,body\n"
    }
    .to_owned();
    for (id, body) in bodies.iter().enumerate() {
        let body = body.as_deref().expect("a body");
        let photo = picture_of(Some(body));
        let body = body.replace('"', "\"\"");
        text.extend([id.to_string(), ",\"".into(), body, "\"".into()]);
        if pictures {
            text.extend([",".to_owned(), photo.to_string(), ".png".into()]);
        }
        text.push('\n');
    }
    text
}
