//! Real kills: the real binary against a real sandbox process, ended by SIGKILL at any moment, and
//! started again, until its work is done. By the sandbox's own books nothing was paid twice.
//!
//! The moments are drawn from a seed, which a failure prints and `COLUMNIST_KILL_SEED` gives back;
//! where in the program they fall is the machine's own affair, and so each kill is counted by the
//! last fact that the killed process left in the ledger (`--nocapture` shows the counts).

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::Child;
use std::sync::Arc;
use std::time::Duration;

use columnist::base::{Ids, SystemClock};
use columnist::emulator::{Bill, Sandbox, SandboxConfig};
use serde_json::Value;

use crate::shell::{Served, Shell};
use crate::world::{VENDORS, hash, read_table, write_table};

/// Kills that each vendor's job has to survive.
const KILLS: u64 = 25;
/// Kills within one night; the next process of it is left alone.
const KILLS_A_NIGHT: u64 = 8;
/// Rows by which the table grows every night.
const ROWS: usize = 40;
/// The longest that a process is left alone before it is killed, in milliseconds.
const MOMENT_MAX: u64 = 2500;

/// Facts after which a process is killed, in its next few milliseconds.
const FACTS: [&str; 9] = [
    "plan_started",
    "chunk_stored",
    "promised",
    "staged",
    "accepted",
    "landed",
    "publish_started",
    "publish_started",
    "published",
];

/// A folder with a job, and a sandbox that outlives every process that works on it.
pub(crate) struct Night {
    pub shell: Shell,
    _sandbox: Served,
    pub bodies: Vec<Option<String>>,
}

impl Night {
    /// A job for `vendor` whose batches take `batch_time`.
    pub(crate) fn new(vendor: &str, batch_time: &str) -> Night {
        let mut shell = Shell::new();
        let sandbox = shell.sandbox(&["--state", "sandbox", "--batch-time", batch_time]);
        let (name, model) = match vendor {
            "openai" => ("OPENAI_API_KEY", "openai/gpt-6-luna"),
            _ => ("ANTHROPIC_API_KEY", "anthropic/claude-haiku-4-5"),
        };
        shell.set(name, "sk-test");
        let url = sandbox.url(vendor);
        shell.write(
            "job.toml",
            format!(
                "name = \"triage\"\n[source]\ntable = \"in.parquet\"\nkey = [\"id\"]\n\
                 [prompt]\nuser = \"Label this: {{{{ body }}}}\"\n[answer]\ncolumn = \"label\"\ntype = \"text\"\n\
                 [model]\nuse = \"{model}\"\nbase_url = \"{url}\"\nmax_requests_per_batch = 8\n\
                 poll_min = \"100ms\"\npoll_max = \"300ms\"\n\
                 [output]\npath = \"out.parquet\"\n[ledger]\nsettle = \"1s\"\n"
            ),
        );
        Night {
            shell,
            _sandbox: sandbox,
            bodies: Vec::new(),
        }
    }

    /// Adds `rows` rows to the table.
    pub(crate) fn grow(&mut self, rows: usize) {
        let next = self.bodies.len();
        // Every eighth row asks what another one asks.
        let body = |n: usize| format!("ticket {}", if n % 8 == 7 { n / 2 } else { n });
        self.bodies
            .extend((next..next + rows).map(|n| Some(body(n))));
        write_table(&self.shell.path("in.parquet"), &self.bodies, 16);
    }

    /// The facts of the ledger, by name, in order.
    pub(crate) fn facts(&self) -> Vec<String> {
        let log = self.shell.path("_columnist/triage/log");
        let mut commits: Vec<PathBuf> = fs::read_dir(log)
            .map(|entries| {
                entries
                    .map(|entry| entry.expect("an entry").path())
                    .collect()
            })
            .unwrap_or_default();
        commits.retain(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.ends_with(".json") && !name.contains("checkpoint")
        });
        commits.sort();
        let text = |path: PathBuf| fs::read_to_string(path).unwrap_or_default();
        let lines = |text: String| {
            let fact = |line: &str| {
                let line: Value = serde_json::from_str(line).ok()?;
                Some(line["action"].as_str()?.to_owned())
            };
            text.lines().filter_map(fact).collect::<Vec<_>>()
        };
        commits.into_iter().map(text).flat_map(lines).collect()
    }

    /// The sandbox's books.
    pub(crate) fn bill(&self) -> Bill {
        let config = SandboxConfig {
            state_dir: Some(self.shell.path("sandbox")),
            ..SandboxConfig::default()
        };
        let sandbox = Sandbox::new(config, Arc::new(SystemClock)).expect("its state");
        sandbox.bill().expect("a bill")
    }

    /// Every row has the answer to its own prompt, and each distinct prompt was paid once.
    #[track_caller]
    pub(crate) fn check(&self) {
        let table = read_table(&self.shell.path("out.parquet"));
        assert_eq!(table["body"], self.bodies, "every row, once and in order");
        let mut prompts = std::collections::BTreeSet::new();
        for (n, body) in self.bodies.iter().flatten().enumerate() {
            let prompt = format!("Label this: {body}");
            let answer = format!("#{:016x}", hash(&prompt));
            let label = table["label"][n].as_deref().expect("an answer");
            assert!(label.ends_with(&answer), "row {n}: {label} is not {answer}");
            prompts.insert(prompt);
        }
        let (bill, paid) = (self.bill(), prompts.len() as u64);
        assert_eq!(bill.total.requests_accepted, paid, "{bill:?}");
        assert_eq!(bill.total.requests_billed, paid, "{bill:?}");
        assert_eq!(bill.billed_more_than_once, 0, "{bill:?}");
    }
}

/// When a process is killed.
#[derive(Debug)]
enum Moment {
    /// After so many milliseconds.
    After(u64),
    /// So many milliseconds after this fact came into the ledger.
    Fact(&'static str, u64),
}

impl Moment {
    fn draw(chance: &Ids) -> Moment {
        if chance.below(2) == 0 {
            return Moment::After(chance.below(MOMENT_MAX));
        }
        let fact = usize::try_from(chance.below(FACTS.len() as u64)).expect("small");
        Moment::Fact(FACTS[fact], chance.below(8))
    }
}

/// Kills, by what the killed process had written last.
type Kills = BTreeMap<String, u64>;

/// Runs the job until it is done, and kills it up to `kills` times.
fn run_until_done(night: &Night, chance: &Ids, kills: u64) -> Kills {
    let mut counted = Kills::new();
    loop {
        let spared = counted.values().sum::<u64>() >= kills;
        let moment = (!spared).then(|| Moment::draw(chance));
        let mut process = night.shell.start(&["run", "job.toml", "--quiet"]);
        let before = night.facts().len();
        if let Some(code) = wait(&mut process, night, before, moment.as_ref()) {
            let said = night.shell.said();
            assert_eq!(code, 0, "{said}");
            return counted;
        }
        process.kill().expect("a process to kill");
        process.wait().expect("its end");
        let facts = night.facts();
        let last = facts.last().map_or("nothing", String::as_str);
        *counted.entry(last.to_owned()).or_default() += 1;
    }
}

/// Waits for the moment, or for the process's end, and returns its exit code then.
#[expect(clippy::disallowed_methods, reason = "the moment is one of real time")]
fn wait(process: &mut Child, night: &Night, before: usize, moment: Option<&Moment>) -> Option<i32> {
    let started = std::time::Instant::now();
    loop {
        if let Some(status) = process.try_wait().expect("a child") {
            return Some(status.code().expect("no signal"));
        }
        match moment {
            Some(Moment::After(after)) if started.elapsed() >= Duration::from_millis(*after) => {
                return None;
            }
            Some(Moment::Fact(fact, after))
                if night.facts()[before..].iter().any(|there| there == fact) =>
            {
                std::thread::sleep(Duration::from_millis(*after));
                return None;
            }
            _ => std::thread::sleep(Duration::from_millis(2)),
        }
    }
}

/// Waits until `fact` comes into the ledger; false if the process ends before.
pub(crate) fn await_fact(
    process: &mut Child,
    night: &Night,
    before: usize,
    fact: &'static str,
) -> bool {
    wait(process, night, before, Some(&Moment::Fact(fact, 0))).is_none()
}

#[expect(
    clippy::print_stdout,
    reason = "the figures, for whoever asks for them with --nocapture"
)]
fn survives(vendor: &'static str) {
    let seed = std::env::var("COLUMNIST_KILL_SEED");
    let seed = seed.map_or(7, |seed| seed.parse().expect("a number"));
    println!("COLUMNIST_KILL_SEED={seed}");
    let chance = Ids::seeded(seed);
    let mut night = Night::new(vendor, "500ms..1500ms");
    let (mut kills, mut nights) = (Kills::new(), 0);
    while kills.values().sum::<u64>() < KILLS {
        nights += 1;
        night.grow(ROWS);
        for (fact, count) in run_until_done(&night, &chance, KILLS_A_NIGHT) {
            *kills.entry(fact).or_default() += count;
        }
        night.check();
    }
    let bill = night.bill();
    println!(
        "{vendor}: {} kills in {nights} nights, after {kills:?}; {} requests billed, {} twice",
        kills.values().sum::<u64>(),
        bill.total.requests_billed,
        bill.billed_more_than_once
    );
    assert!(kills.len() > 3, "the kills fell on few moments: {kills:?}");
}

#[test]
fn anthropic_jobs_survive_kills() {
    survives(VENDORS[0]);
}

#[test]
fn openai_jobs_survive_kills() {
    survives(VENDORS[1]);
}
