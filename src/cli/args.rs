//! The command line, as close to the flags as possible.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Writes a column: a table or a SQL query in, one LLM answer per row out, through the providers'
/// batch APIs at half the price.
#[derive(Debug, Parser)]
#[command(name = "columnist", version, max_term_width = 100, after_help = EXIT_CODES)]
pub(super) struct Cli {
    #[command(subcommand)]
    pub command: Command,
    /// How progress is written to standard error, where that is no terminal
    #[arg(
        long,
        global = true,
        value_enum,
        default_value_t,
        env = "COLUMNIST_LOG_FORMAT"
    )]
    pub log_format: LogFormat,
    /// Say nothing but errors and the result
    #[arg(long, short, global = true)]
    pub quiet: bool,
    /// An option of the object store, such as aws_endpoint=http://… (may be repeated)
    #[arg(long = "storage-option", global = true, value_name = "KEY=VALUE")]
    pub storage_options: Vec<String>,
}

const EXIT_CODES: &str = "\
Exit codes:
  0  done, and within the error budget
  1  unexpected; storage or network away (a retry helps)
  2  the command or the job file is wrong
  3  published, but more rows failed than max_failed allows
  5  cannot tell whether a batch was accepted; a person must say
  7  credentials, quota or access refused
  8  stored state is corrupt, or was written by a newer version
 75  work is pending at the provider, or another process holds the job (a retry helps)
 99  nothing to do, only with --skip-code
130, 143  interrupted; the ledger is whole, batches go on (a retry helps)";

/// How progress is written where standard error is no terminal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum LogFormat {
    /// Lines for people
    #[default]
    Plain,
    /// One JSON object a line
    Json,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Plan, submit, wait, collect, publish
    ///
    /// Safe to repeat, to kill, and to run twice at once: a run goes on where the last one stopped,
    /// and what was answered is never sent again. The last line of standard output is one JSON
    /// object.
    #[command(
        after_help = "Example:\n  columnist run --table tickets.parquet --key ticket_id --prompt 'Label: {{ body }}' \\\n    --choices billing,bug,other --column label --model openai/gpt-6-luna --output out.parquet"
    )]
    Run(RunArgs),
    /// Plan and submit, then return
    Submit(RunArgs),
    /// One pass over what is open: poll, land, send again, publish if that completes it
    ///
    /// Exits with 75 while work is pending. Acts on what was planned, whatever the job file says now.
    Collect {
        #[command(flatten)]
        run: RunArgs,
        /// Stay until it is published
        #[arg(long)]
        wait: bool,
    },
    /// What a run would do, and what it would cost. Sends nothing
    Plan {
        #[command(flatten)]
        job: JobArgs,
        /// Write the plan as JSON to this file as well
        #[arg(long, short)]
        output_file: Option<PathBuf>,
    },
    /// Validate the job and render its first rows. No network but storage
    Check {
        #[command(flatten)]
        job: JobArgs,
        /// Rows to render
        #[arg(long, short = 'n', default_value_t = 3)]
        rows: u64,
    },
    /// Where everything stands
    Status {
        #[command(flatten)]
        job: JobArgs,
        /// As one JSON object
        #[arg(long)]
        json: bool,
        /// Again every two seconds, until nothing is open
        #[arg(long)]
        watch: bool,
    },
    /// One row's story: the prompt, every attempt, the answer, tokens
    Show {
        #[command(flatten)]
        job: JobArgs,
        /// The row, where no job file is given (with one, --key names the row): the values of its
        /// key, in order; without a key, its position
        #[arg(long = "row", short, value_name = "VALUE")]
        row: Vec<String>,
    },
    /// Cancel open batches; what they finished is harvested by the next run or collect
    Cancel {
        #[command(flatten)]
        job: JobArgs,
    },
    /// Delete from the ledger what is no longer needed
    ///
    /// Plans before the last are kept as long as their answers are used by it. Prompts of settled
    /// plans older than the given age go; answers stay.
    Gc {
        #[command(flatten)]
        job: JobArgs,
        /// Only what is older than this, such as 30d
        #[arg(long, default_value = "30d", value_parser = humantime::parse_duration)]
        older_than: std::time::Duration,
    },
    /// Serve the providers' dialects on loopback, for trying and testing
    ///
    /// Prints its URLs once it accepts; takes any key. Runs until it is interrupted.
    Sandbox(SandboxArgs),
}

#[derive(Debug, Args)]
pub(super) struct RunArgs {
    #[command(flatten)]
    pub job: JobArgs,
    /// Exit with 99 if there was nothing to do (Airflow shows the task as skipped)
    #[arg(long)]
    pub skip_code: bool,
    /// Rows that are new in a source that changed meanwhile are deferred, not sent
    #[arg(long)]
    pub no_follow: bool,
    /// Megabytes that sorting and joining may use
    #[arg(
        long,
        default_value_t = 32,
        env = "COLUMNIST_MEMORY_MB",
        value_name = "MB"
    )]
    pub memory: usize,
}

/// The job: a file, flags over a file, or flags alone.
#[derive(Clone, Debug, Args)]
pub(super) struct JobArgs {
    /// The job file. Without one, the flags say everything
    pub job: Option<PathBuf>,
    /// Override any key of the job file (may be repeated)
    #[arg(long = "set", value_name = "SECTION.KEY=VALUE")]
    pub sets: Vec<String>,
    /// Give a value to $name in SQL and {{ vars.name }} in prompts (may be repeated)
    #[arg(long = "var", value_name = "NAME=VALUE")]
    pub vars: Vec<String>,
    /// The source: a file, folder or glob of Parquet, CSV, NDJSON or Arrow files
    #[arg(long, help_heading = "One-liner")]
    pub table: Option<String>,
    /// A file with a SQL query, in the place of --table
    #[arg(long, help_heading = "One-liner")]
    pub query: Option<String>,
    /// What the query's names read (may be repeated)
    #[arg(
        long = "tables",
        value_name = "NAME=ADDRESS",
        help_heading = "One-liner"
    )]
    pub tables: Vec<String>,
    /// The row id's columns (for `show JOB`: the values of the row's key)
    #[arg(long, value_delimiter = ',', help_heading = "One-liner")]
    pub key: Vec<String>,
    /// A SQL predicate: rows that get a prompt
    #[arg(long = "where", value_name = "SQL", help_heading = "One-liner")]
    pub filter: Option<String>,
    /// At most this many rows get a prompt
    #[arg(long, help_heading = "One-liner")]
    pub limit: Option<u64>,
    /// The prompt's template
    #[arg(long, help_heading = "One-liner")]
    pub prompt: Option<String>,
    /// The system prompt
    #[arg(long, help_heading = "One-liner")]
    pub system: Option<String>,
    /// The new column's name
    #[arg(long, help_heading = "One-liner")]
    pub column: Option<String>,
    /// The answer is one of these words
    #[arg(long, value_delimiter = ',', help_heading = "One-liner")]
    pub choices: Vec<String>,
    /// The model, as provider/model; sandbox/<anything> needs no key
    #[arg(long, help_heading = "One-liner")]
    pub model: Option<String>,
    /// The most tokens that an answer may have
    #[arg(long, help_heading = "One-liner")]
    pub max_output_tokens: Option<u64>,
    /// The sampling temperature
    #[arg(long, help_heading = "One-liner")]
    pub temperature: Option<f64>,
    /// Another endpoint than the vendor's
    #[arg(long, help_heading = "One-liner")]
    pub base_url: Option<String>,
    /// Where the table goes
    #[arg(long, help_heading = "One-liner")]
    pub output: Option<String>,
    /// mirror, single or delta
    #[arg(long, help_heading = "One-liner")]
    pub layout: Option<String>,
    /// Replace an output that columnist did not write
    #[arg(long, help_heading = "One-liner")]
    pub overwrite: bool,
    /// The ledger's folder
    #[arg(long, help_heading = "One-liner")]
    pub ledger: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct SandboxArgs {
    /// The port; 0 takes a free one
    #[arg(long, default_value_t = 8089)]
    pub port: u16,
    /// The seed of answers, times and faults
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// How long a batch takes at least and at most, such as 1s..3s
    #[arg(long, default_value = "1s..3s")]
    pub batch_time: String,
    /// Batches end at once
    #[arg(long)]
    pub instant: bool,
    /// Faults, such as 429=0.1,missing=0.01,lost_answer=1/20
    #[arg(long, default_value = "")]
    pub faults: String,
    /// Where its state lies, to go on after a restart; else in a temporary folder
    #[arg(long)]
    pub state: Option<PathBuf>,
}
