//! The runs of a rehearsal: processes of this very program, one after the other, until the job is
//! done.
//!
//! Each run is `columnist run` on the rehearsed job. With `--kill` each is told where to die: at the
//! first kind of point (they stand before and after every durable write) at which none has died yet,
//! and, for some runs, at the nth point at the latest, drawn from the seed. When there is no such
//! point left on the way, the run comes to its end.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Stdio;

use serde_json::Value;
use tokio::process::Command;
use tokio_util::sync::CancellationToken;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::environment::{Environment, KEY};
use crate::base::{Error, ErrorKind, KillAt, Result, ResultExt};
use crate::cli::args::{Common, LogFormat};
use crate::cli::display::progress::ProgressView;
use crate::cli::test_hooks::{CLOCK, CRASH_AT};

/// How the job ended, and what it took.
#[derive(Debug, Default)]
pub(super) struct Ending {
    /// The exit code of the last run.
    pub(super) code: i32,
    /// Its last line.
    pub(super) line: Value,
    /// Where runs were killed, in order.
    pub(super) kills: Vec<String>,
    /// How often a run ended with work pending, or something away, and was started again.
    pub(super) restarts: u32,
    /// The most memory that one of them had at once.
    pub(super) peak_memory: Option<u64>,
}

/// A scheduler would give up sometime as well.
const RESTARTS_MAX: u32 = 50;

/// So many runs die at a point that is drawn, if not before.
const DRAWN_RUNS: u64 = 20;
/// A drawn point is at most the so-manyth that is reached.
const DRAWN_MAX: u64 = 20;

/// Where the runs are to die.
#[derive(Debug)]
struct KillSchedule {
    seed: u64,
    runs: u64,
    killed: BTreeSet<String>,
}

impl KillSchedule {
    /// What the next run is told.
    fn next(&mut self) -> KillAt {
        let draw = xxh3_64_with_seed(&self.runs.to_le_bytes(), self.seed);
        let latest = (self.runs < DRAWN_RUNS).then_some(draw % DRAWN_MAX + 1);
        self.runs += 1;
        let but = self.killed.iter().cloned().collect();
        KillAt::NotAt { but, latest }
    }
}

/// Plays the job to its end.
#[derive(Debug)]
pub(super) struct Runner<'a> {
    pub(super) environment: &'a Environment,
    pub(super) common: &'a Common,
    pub(super) progress: &'a ProgressView,
    pub(super) interrupt: &'a CancellationToken,
}

impl Runner<'_> {
    /// Starts runs until one is done, or none would get any further. None if it is interrupted.
    pub(super) async fn run_to_end(&self, kill_by: Option<u64>) -> Result<Option<Ending>> {
        let mut ending = Ending::default();
        let mut kills = kill_by.map(|seed| KillSchedule {
            seed,
            runs: 0,
            killed: BTreeSet::new(),
        });
        loop {
            let kill = kills.as_mut().map(KillSchedule::next);
            let Some((code, line)) = self.run(kill).await? else {
                return Ok(None);
            };
            ending.peak_memory = ending.peak_memory.max(line["peak_memory_bytes"].as_u64());
            if let (None, Some(point), Some(kills)) =
                (code, line["killed_at"].as_str(), kills.as_mut())
            {
                self.progress.say(&format!("killed at {point}; once more"));
                kills.killed.insert(point.to_owned());
                ending.kills.push(point.to_owned());
                continue;
            }
            ending.code = code.ok_or_else(|| {
                Error::unavailable("the rehearsed run was killed, and not by the rehearsal")
            })?;
            ending.line = line;
            if !matches!(ending.code, 1 | 75) || ending.restarts == RESTARTS_MAX {
                return Ok(Some(ending));
            }
            ending.restarts += 1;
            self.progress
                .say(&format!("the run ended with {}; once more", ending.code));
        }
    }

    /// One run: its exit code, if it was not killed, and its last line.
    async fn run(&self, kill: Option<KillAt>) -> Result<Option<(Option<i32>, Value)>> {
        let mut command = Command::new(program()?);
        command
            .arg("run")
            .arg("--resolved")
            .arg(self.environment.job_file())
            .args(self.common_args())
            .env(KEY, "rehearsal")
            .env(CLOCK, self.environment.clock.to_string())
            .env("NO_PROXY", no_proxy())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true);
        for ours in ["SET", "VAR", "SKIP_CODE", "NO_FOLLOW", "CRASH_AT"] {
            command.env_remove(format!("COLUMNIST_{ours}"));
        }
        command.envs(kill.map(|kill| (CRASH_AT, kill.to_string())));
        let child = command
            .spawn()
            .or_err(ErrorKind::Unavailable, "cannot start a run")?;
        let done = tokio::select! {
            done = child.wait_with_output() => done,
            () = self.interrupt.cancelled() => return Ok(None),
        };
        let done = done.or_err(ErrorKind::Unavailable, "cannot wait for a run")?;
        let text = String::from_utf8_lossy(&done.stdout);
        let line = text.lines().last().unwrap_or_default();
        let line = serde_json::from_str(line).unwrap_or_default();
        Ok(Some((done.status.code(), line)))
    }

    /// The flags that every command takes, as this process has them.
    fn common_args(&self) -> Vec<String> {
        let format = match self.common.log_format {
            LogFormat::Plain => "plain",
            LogFormat::Json => "json",
        };
        let mut args = vec![
            format!("--memory={}B", self.common.memory),
            format!("--log-format={format}"),
        ];
        if self.common.quiet {
            args.push("--quiet".into());
        }
        args.extend((0..self.common.verbose).map(|_| "-v".to_owned()));
        // What came by the environment goes on that way, where nobody else can read it.
        if std::env::var_os("COLUMNIST_STORAGE_OPTION").is_none() {
            let options = self.common.storage_options.iter();
            args.extend(options.map(|(key, value)| format!("--storage-option={key}={value}")));
        }
        args
    }
}

fn program() -> Result<PathBuf> {
    std::env::current_exe().or_err(ErrorKind::Unavailable, "cannot find this program's file")
}

/// The sandbox is asked without detours, whatever proxy there is for the storage.
fn no_proxy() -> String {
    let names = ["NO_PROXY", "no_proxy"];
    let there = names.iter().find_map(|name| std::env::var(name).ok());
    there.map_or_else(|| "127.0.0.1".into(), |there| format!("{there},127.0.0.1"))
}
