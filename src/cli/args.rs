//! The command line, as written. Nothing is decided here.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::BoolishValueParser;
use clap::{ArgAction, Args as ClapArgs, Parser, Subcommand, ValueEnum};

use super::exit;
use super::flags::{JobArgs, Target};
use crate::spec::parse_bytes;
use crate::work::RowStatus;

/// Writes a column: a table or a SQL query in, one LLM answer per row out.
///
/// Columnist renders a prompt for every row of a table, sends the prompts to a provider's batch API
/// at half the price, waits, and writes the table back with the answers as a new column. Work is
/// remembered in a ledger beside the output: run the same command again after a crash, an
/// interrupt or a change of the table, and only what is missing is sent.
#[derive(Debug, Parser)]
#[command(
    name = "columnist",
    version,
    max_term_width = 100,
    after_help = "Every command takes a job file, or flags that describe the job; see `columnist run --help`.",
    after_long_help = concat_help!(MAIN_EXAMPLES)
)]
pub(super) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// What every command takes.
    #[command(flatten)]
    pub common: Common,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Plan, submit, wait, collect, publish; safe to repeat, to kill, to run twice at once
    ///
    /// Does all of it: reads the source, sends what has no answer yet, waits for the provider, and
    /// publishes the table with its new column. Open batches of an earlier run are harvested
    /// first. On a terminal it ends with a summary; in a pipe or a file, or with --json, the last line
    /// on standard output is one JSON object: counts by status, tokens, cost, batch ids, output path
    /// and run id.
    #[command(after_long_help = concat_help!(RUN_EXAMPLES))]
    Run(RunArgs),
    /// Plan and submit, then return
    ///
    /// Sends what has no answer yet, and returns without waiting for the provider. `collect` brings
    /// the answers home, and sends what had to wait for a trial, for a request that primes the
    /// provider's cache, or for room in the provider's queue.
    #[command(after_long_help = concat_help!(SUBMIT_EXAMPLES))]
    Submit(RunArgs),
    /// One pass: poll, land, retry, publish if complete; exit 75 while work is pending
    ///
    /// Asks the provider where the open batches stand, lands what is finished, sends again what
    /// failed in passing, and publishes when nothing is missing. With --wait it stays until that
    /// is so. Acts on the stored plan, and says so where the job file differs by now.
    #[command(after_long_help = concat_help!(COLLECT_EXAMPLES))]
    Collect(Collect),
    /// What a run would do, and why; sends nothing
    ///
    /// Reads the source and compares it with the ledger: rows that are new, changed, answered,
    /// identical or skipped, the chunks that would be sent, and their size.
    Plan(Plan),
    /// Validate the job and render its first rows; no network but storage
    Check(Check),
    /// Where everything stands: rows by status, chunks, batches
    Status(Status),
    /// One row's story: the prompt, the request, every attempt, the raw answer, tokens
    Show(Show),
    /// Cancel open batches; what they finished is harvested
    ///
    /// Asks the provider to stop. Requests that are answered by then are paid for, and are landed
    /// by the next `collect` or `run`.
    Cancel(Cancel),
    /// Have rows without an answer sent again: all that failed, by --status, or by --key
    ///
    /// Rows that count as failed are `failed`, `refused`, `filtered`, `invalid`, `truncated`, `expired`,
    /// `canceled` and `missing`. A wish, written into the ledger without holding the job: a run that is at work takes it up when it
    /// has published, else the next `run` or `submit` does. Rows that were answered are not sent again.
    #[command(after_long_help = concat_help!(RETRY_EXAMPLES))]
    Retry(Retry),
    /// The job on its real rows against the built-in sandbox, with faults; spends nothing
    ///
    /// Runs the job as it stands (source, query, template, answer, chunks, layout) against a sandbox
    /// that speaks its provider's dialect and misbehaves as --faults says; with --kill the run is
    /// also killed by SIGKILL at every durable write and started again. Ledger and output are
    /// written to a scratch folder, no provider is contacted, no key is needed. Then every row of
    /// the output is held against what the sandbox answers to its prompt, and the sandbox's bill
    /// against the requests. What is said at the end: rows landed, lost and in the wrong row,
    /// requests billed twice, peak memory, and the seed; the last line is one JSON object. Exit 6
    /// says that a promise was broken.
    #[command(after_long_help = concat_help!(REHEARSE_EXAMPLES))]
    Rehearse(Rehearse),
    /// Serve the provider dialects on loopback, for trying and testing; takes any key
    ///
    /// Prints one base URL per dialect once it accepts connections: point a vendor's SDK, or
    /// `model.base_url`, at it. Answers are made from the seed, without a model. A job whose model
    /// is `sandbox/NAME` needs none of this: its sandbox runs in process.
    Sandbox(SandboxArgs),
    /// Delete what is no longer needed from the ledger: prompts and snapshots of older plans
    ///
    /// Goes through the plans that are older than --older-than, have nothing open, and are not the
    /// last one. Answers stay, so that nothing is asked twice; `show` tells all of a row but the
    /// prompt.
    Gc(Gc),
}

/// What every command takes.
#[derive(Clone, Debug, ClapArgs)]
#[command(next_help_heading = "Common options")]
pub(super) struct Common {
    /// How progress and errors are written to standard error
    #[arg(
        long,
        global = true,
        value_name = "FORMAT",
        env = "COLUMNIST_LOG_FORMAT",
        default_value = "plain"
    )]
    pub log_format: LogFormat,
    /// A setting of the object stores, such as `aws_endpoint=http://127.0.0.1:9000`; wins over AWS_*, GOOGLE_* and AZURE_* variables; may be repeated
    #[arg(long = "storage-option", global = true, value_name = "KEY=VALUE", env = "COLUMNIST_STORAGE_OPTION", hide_env_values = true, value_parser = parse_pair)]
    pub storage_options: Vec<(String, String)>,
    /// What sorts and look-ups may use before they spill to disk
    #[arg(long, global = true, value_name = "BYTES", env = "COLUMNIST_MEMORY", default_value = "32MB", value_parser = parse_memory)]
    pub memory: usize,
    /// Show warnings and errors alone
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Log what is done (-vv: in detail); `RUST_LOG` says it more precisely
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub verbose: u8,
}

impl Command {
    /// What it was called with, if it is one of those that end with one JSON object.
    pub(super) fn as_run(&self) -> Option<&RunArgs> {
        match self {
            Command::Run(args) | Command::Submit(args) => Some(args),
            Command::Collect(args) => Some(&args.run),
            _ => None,
        }
    }
}

/// How progress and errors are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum LogFormat {
    /// Bars on a terminal, plain lines elsewhere
    Plain,
    /// One JSON object per line
    Json,
}

/// Which of the commands that carry a job out, and end with one JSON object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RunKind {
    Run,
    Submit,
    Collect { wait: bool },
}

impl RunKind {
    /// Its name.
    pub(super) fn name(self) -> &'static str {
        match self {
            RunKind::Run => "run",
            RunKind::Submit => "submit",
            RunKind::Collect { .. } => "collect",
        }
    }
}

/// `columnist run`, `columnist submit` and, with more, `columnist collect`
#[derive(Debug, ClapArgs)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub(super) struct RunArgs {
    /// The job.
    #[command(flatten)]
    pub target: Target,
    /// Print one JSON object as the last line on a terminal as well; in a pipe or a file it always is
    #[arg(long)]
    pub json: bool,
    /// Exit with 99 where there is nothing to do; Airflow shows the task as skipped
    #[arg(long, env = "COLUMNIST_SKIP_CODE", value_parser = BoolishValueParser::new())]
    pub skip_code: bool,
    /// Where the source changed meanwhile, `run` publishes its new rows as `deferred`, and leaves them to a run without this flag
    #[arg(long, env = "COLUMNIST_NO_FOLLOW", value_parser = BoolishValueParser::new())]
    pub no_follow: bool,
    /// Where nobody can tell whether the provider took a chunk (exit code 5), publish all other rows now; its rows are `pending`
    #[arg(long, env = "COLUMNIST_PUBLISH_PARTIAL", value_parser = BoolishValueParser::new())]
    pub publish_partial: bool,
    /// What becomes of open batches on SIGINT or SIGTERM: they go on, and the next run collects them; or they are canceled, and what they finished is collected
    #[arg(
        long,
        value_name = "WHAT",
        env = "COLUMNIST_ON_INTERRUPT",
        default_value = "leave"
    )]
    pub on_interrupt: OnInterrupt,
}

/// What becomes of open batches when the run is asked to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum OnInterrupt {
    /// They are canceled
    Cancel,
    /// They go on at the provider
    Leave,
}

/// `columnist collect`
#[derive(Debug, ClapArgs)]
pub(super) struct Collect {
    /// As for a run.
    #[command(flatten)]
    pub run: RunArgs,
    /// Stay until all is collected and published
    #[arg(long)]
    pub wait: bool,
}

/// `columnist plan`
#[derive(Debug, ClapArgs)]
pub(super) struct Plan {
    /// The job.
    #[command(flatten)]
    pub target: Target,
    /// Write the plan to this file as JSON
    #[arg(short = 'o', long = "save", value_name = "FILE")]
    pub save: Option<PathBuf>,
}

/// `columnist check`
#[derive(Debug, ClapArgs)]
pub(super) struct Check {
    /// The job.
    #[command(flatten)]
    pub target: Target,
    /// How many rows to render
    #[arg(short = 'n', long = "rows", value_name = "N", default_value_t = 3)]
    pub rows: u64,
}

/// `columnist status`
#[derive(Debug, ClapArgs)]
pub(super) struct Status {
    /// The job.
    #[command(flatten)]
    pub target: Target,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
    /// Look again every few seconds, until all is published, or nobody is at work and nothing is pending
    #[arg(long)]
    pub watch: bool,
}

/// `columnist show`
#[derive(Debug, ClapArgs)]
pub(super) struct Show {
    /// The job.
    #[command(flatten)]
    pub job: JobArgs,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
    /// The row's key; once per key column, in their order; without key columns, the row's position from 0
    #[arg(
        long = "key",
        value_name = "VALUE",
        required = true,
        allow_hyphen_values = true
    )]
    pub row: Vec<String>,
}

/// `columnist cancel`
#[derive(Debug, ClapArgs)]
pub(super) struct Cancel {
    /// The job.
    #[command(flatten)]
    pub target: Target,
}

/// `columnist retry`
#[derive(Debug, ClapArgs)]
pub(super) struct Retry {
    /// The job.
    #[command(flatten)]
    pub job: JobArgs,
    /// The rows with this status; may be repeated. Without it all that count as failed
    #[arg(long = "status", value_name = "STATUS", value_delimiter = ',', value_parser = parse_status)]
    pub statuses: Vec<RowStatus>,
    /// The row with this key, of those; may be repeated. Where there are several key columns, once for each, in their order; without key columns, the row's position from 0
    #[arg(long = "key", value_name = "VALUE", allow_hyphen_values = true)]
    pub keys: Vec<String>,
}

/// `columnist gc`
#[derive(Debug, ClapArgs)]
pub(super) struct Gc {
    /// The job.
    #[command(flatten)]
    pub target: Target,
    /// Keep the plans that are younger, such as 30d
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub older_than: Duration,
}

/// `columnist rehearse`
#[derive(Debug, ClapArgs)]
pub(super) struct Rehearse {
    /// The job.
    #[command(flatten)]
    pub target: Target,
    /// What goes wrong, and how often: a share or every nth, such as `429=0.1,lost_answer=1/5`; `none` for nothing
    #[arg(long, value_name = "NAME=RATE,...", default_value = FAULTS)]
    pub faults: String,
    /// What answers, times, faults and kills are made from
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    pub seed: u64,
    /// Kill the run at each kind of durable write in turn, and at some drawn from the seed, until it is done
    #[arg(long)]
    pub kill: bool,
    /// How long a batch takes, at least and at most, in the rehearsal's own time
    #[arg(long, value_name = "FROM..TO", default_value = "30s..3m")]
    pub batch_time: String,
    /// How fast time passes in the rehearsal: every wait of the job (poll, settle, retry) is so many times shorter
    #[arg(long, value_name = "TIMES", default_value_t = 120, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub speed: u32,
    /// Keep the scratch folder (ledger, output, the sandbox's books), and say where it is; it lies under $TMPDIR
    #[arg(long)]
    pub keep: bool,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
    /// What an account may have.
    #[command(flatten)]
    pub limits: LimitArgs,
}

/// Every fault, often enough to strike a job of a few batches, and seldom enough for it to end.
const FAULTS: &str = "429=0.05,5xx=0.05,slow=0.01,lost_answer=0.15,refused_lost=0.1,queue_full=0.1,\
fail_batch=0.1,late_output=0.3,truncate=0.2,short=0.1,duplicate=0.02,missing=0.02,stranger=0.01,garbage=0.01,\
misindexed=0.02,errored=0.02,expire=0.02";

/// `columnist sandbox`
#[derive(Debug, ClapArgs)]
pub(super) struct SandboxArgs {
    /// The port to listen on, on 127.0.0.1; 0 takes a free one
    #[arg(long, value_name = "PORT", default_value_t = 8089)]
    pub port: u16,
    /// What answers, times and faults are made from
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    pub seed: u64,
    /// How long a batch takes, at least and at most
    #[arg(long, value_name = "FROM..TO", default_value = "1s..3s")]
    pub batch_time: String,
    /// Batches end as soon as they are made
    #[arg(long, conflicts_with = "batch_time")]
    pub instant: bool,
    /// What goes wrong, and how often: a share or every nth, such as `429=0.1,lost_answer=1/20`
    #[arg(long, value_name = "NAME=RATE,...", default_value = "")]
    pub faults: String,
    /// Keep batches and files in this folder, so that they outlive the process
    #[arg(long, value_name = "DIR")]
    pub state: Option<PathBuf>,
    /// What an account may have.
    #[command(flatten)]
    pub limits: LimitArgs,
}

/// What the sandbox allows an account; without them, what the vendors refuse for size alone.
#[derive(Clone, Debug, Default, ClapArgs)]
#[command(next_help_heading = "Limits of an account (without them there are none)")]
pub(super) struct LimitArgs {
    /// `OpenAI`: prompt tokens of one model in all batches that have not ended
    #[arg(long, value_name = "TOKENS")]
    pub enqueued_tokens: Option<u64>,
    /// `OpenAI`: how a batch over that is refused: it fails validation, or creating it is answered with 400 or 429
    #[arg(long, value_name = "HOW", default_value = "failed")]
    pub enqueued_tokens_refusal: RefusalArg,
    /// Anthropic: requests in all batches that have not ended; over it creating is answered with 429
    #[arg(long, value_name = "REQUESTS")]
    pub queue_requests: Option<u64>,
    /// `OpenAI`: batches created in one hour
    #[arg(long, value_name = "BATCHES")]
    pub batches_per_hour: Option<u64>,
    /// Anthropic: calls to the batch endpoints in one minute
    #[arg(long, value_name = "CALLS")]
    pub calls_per_minute: Option<u64>,
    /// `OpenAI`: files uploaded in one minute
    #[arg(long, value_name = "FILES")]
    pub uploads_per_minute: Option<u64>,
    /// `OpenAI`: uploaded files that are kept at once
    #[arg(long, value_name = "FILES")]
    pub files: Option<u64>,
}

/// How a batch over the limit of enqueued tokens is refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum RefusalArg {
    /// It is created, and fails validation
    #[default]
    Failed,
    /// Creating it is answered with 400
    #[value(name = "400")]
    BadRequest,
    /// Creating it is answered with 429
    #[value(name = "429")]
    TooManyRequests,
}

fn parse_pair(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("write KEY=VALUE")?;
    Ok((key.trim().to_ascii_lowercase(), value.to_owned()))
}

fn parse_status(text: &str) -> Result<RowStatus, String> {
    let failures = || RowStatus::ALL.into_iter().filter(|s| s.is_failure());
    let known = failures().find(|status| status.as_str() == text);
    known.ok_or_else(|| {
        let words: Vec<_> = failures().map(RowStatus::as_str).collect();
        format!("the statuses are {}", words.join(", "))
    })
}

/// Below this, the sorts cannot work.
const MEMORY_MIN: usize = 16_000_000;

fn parse_memory(text: &str) -> Result<usize, String> {
    match parse_bytes(text).and_then(|bytes| usize::try_from(bytes).ok()) {
        Some(bytes) if bytes >= MEMORY_MIN => Ok(bytes),
        Some(_) => Err("at least 16MB are needed".into()),
        None => Err("write a number of bytes with its unit, such as 64MB (10^6)".into()),
    }
}

macro_rules! concat_help {
    ($examples:ident) => {
        format!("{}\n\n{}", $examples, exit::HELP)
    };
}
use concat_help;

const MAIN_EXAMPLES: &str = "\
Examples:
  columnist check job.toml          look at the first prompts; sends nothing
  columnist plan job.toml           see what a run would send
  columnist run job.toml            do it, and publish the table
  columnist status job.toml --json  where it stands, for machines";

const RUN_EXAMPLES: &str = "\
Examples:
  columnist run queries/triage.toml
  columnist run nightly.toml --var ds=2026-08-01 --skip-code
  columnist run job.toml --limit 100 --set model.temperature=0.2
  columnist run --table tickets.parquet --key ticket_id \\
      --prompt 'Label this ticket: {{ body }}' --choices billing,bug,other \\
      --column triage --model openai/gpt-6-luna --output out.parquet";

const REHEARSE_EXAMPLES: &str = "\
Examples:
  columnist rehearse job.toml
  columnist rehearse job.toml --kill --seed 7
  columnist rehearse job.toml --limit 2000 --set model.max_requests_per_batch=200
  columnist rehearse job.toml --faults 'lost_answer=0.5,truncate=1/2' --enqueued-tokens 90000";

const RETRY_EXAMPLES: &str = "\
Examples:
  columnist retry job.toml                            all that failed, for whatever reason
  columnist retry job.toml --status failed,missing
  columnist retry job.toml --key 4711 --key 4712; columnist run job.toml";

const SUBMIT_EXAMPLES: &str = "\
Examples:
  columnist submit nightly.toml --var ds=2026-08-01
  columnist collect nightly.toml --var ds=2026-08-01 --wait";

const COLLECT_EXAMPLES: &str = "\
Examples:
  columnist collect job.toml; test $? -eq 75 && echo 'not yet'
  columnist collect job.toml --wait";
