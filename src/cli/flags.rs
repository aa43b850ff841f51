//! The flags that describe a job: a job file and what overrides it, or a one-liner.

use std::path::{Path, PathBuf};

use clap::{ArgAction, Args};

use crate::base::{Error, ErrorKind, Result, ResultExt};
use crate::spec::{Draft, FlagValue, Job, Surroundings};

/// Which job, and what to change in it.
#[derive(Clone, Debug, Default, Args)]
pub(super) struct JobArgs {
    /// The job file; left out, the flags below describe the job
    #[arg(value_name = "JOB")]
    pub job: Option<PathBuf>,
    /// A job that is resolved already, in JSON: what `rehearse` gives to the runs that it starts
    #[arg(long, value_name = "FILE", hide = true, conflicts_with = "job")]
    pub resolved: Option<PathBuf>,
    /// Override any key of the job file, such as model.temperature=0.2 (TOML, else text); may be repeated
    #[arg(
        long,
        value_name = "SECTION.KEY=VALUE",
        env = "COLUMNIST_SET",
        hide_env_values = true
    )]
    pub set: Vec<String>,
    /// Give a value to $name in SQL and to {{ vars.name }} in prompts and in the paths of source and output; may be repeated
    #[arg(
        long,
        value_name = "NAME=VALUE",
        env = "COLUMNIST_VAR",
        hide_env_values = true
    )]
    pub var: Vec<String>,
    /// The flags that stand for keys.
    #[command(flatten)]
    pub keys: KeyFlags,
}

/// The row id. Apart from the others, because `show --key` names a row.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "The job, key by key (a flag wins over the job file)")]
pub(super) struct KeyFlag {
    /// The columns of the row id: unique, not null; left out, the row's position
    #[arg(long, value_name = "COLUMNS", value_delimiter = ',')]
    pub key: Option<Vec<String>>,
}

/// A job, with its key.
#[derive(Clone, Debug, Default, Args)]
pub(super) struct Target {
    /// Which job, and what to change in it.
    #[command(flatten)]
    pub job: JobArgs,
    /// The row id.
    #[command(flatten)]
    pub key: KeyFlag,
}

impl Target {
    /// The job that the arguments mean.
    ///
    /// # Errors
    /// `Invalid`, with every mistake at once.
    pub(super) fn resolve(&self, around: &Surroundings) -> Result<Job> {
        self.job.resolve(Some(&self.key), around)
    }

    /// The job that was planned: see [`Draft::resolve_planned`].
    ///
    /// # Errors
    /// `Invalid`, with every mistake at once.
    pub(super) fn resolve_planned(&self, around: &Surroundings) -> Result<Job> {
        self.job.resolve_planned(Some(&self.key), around)
    }

    /// The same, for a command that carries out all of the job: nothing may be said in vain.
    ///
    /// # Errors
    /// `Invalid`, with every mistake at once.
    pub(super) fn resolve_whole(&self, around: &Surroundings) -> Result<Job> {
        match &self.job.resolved {
            Some(path) => read_resolved(path),
            None => self
                .job
                .draft(Some(&self.key), around)?
                .resolve_whole(around),
        }
    }

    /// Whether the ledger of `job` lies in a folder for temporary files only because the job file does,
    /// or the command runs there: schedulers run commands in folders that go away.
    pub(super) fn ledger_goes_away(&self, job: &Job, around: &Surroundings) -> bool {
        let is_temporary = Path::new(&job.ledger.path).starts_with(std::env::temp_dir());
        let draft = self
            .job
            .resolved
            .is_none()
            .then(|| self.job.draft(Some(&self.key), around));
        let draft = draft.and_then(Result::ok);
        is_temporary && draft.is_some_and(|draft| draft.has_relative_ledger())
    }
}

/// One flag for each key of the job file that a one-liner may need. Paths are relative to the
/// current folder.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "The job, key by key (a flag wins over the job file)")]
pub(super) struct KeyFlags {
    /// The job's name [a-z0-9-]; a one-liner is named after its output
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// The table: a file, a folder (Hive partitions) or a glob; Parquet, or .csv .ndjson .arrow; may hold {{ vars.name }}
    #[arg(long, value_name = "PATH", conflicts_with = "query")]
    pub table: Option<String>,
    /// A file with the SQL query whose result is the table
    #[arg(long, value_name = "FILE.sql")]
    pub query: Option<String>,
    /// What a table's name in the query reads; may be repeated
    #[arg(long, value_name = "NAME=PATH", value_parser = parse_table, requires = "query")]
    pub tables: Option<Vec<(String, String)>>,
    /// Which rows get a prompt, in SQL; the others come back with nulls
    #[arg(long = "where", value_name = "SQL")]
    pub filter: Option<String>,
    /// At most so many rows get a prompt
    #[arg(long, value_name = "ROWS")]
    pub limit: Option<u64>,
    /// So many rows get a prompt, drawn from all that are chosen
    #[arg(long, value_name = "ROWS", conflicts_with = "limit")]
    pub sample: Option<u64>,
    /// Which rows are drawn: the same number draws the same rows of the same table; default 0
    #[arg(long, value_name = "NUMBER")]
    pub sample_seed: Option<u64>,
    /// The prompt's template, such as 'Label this ticket: {{ body }}'
    #[arg(long, value_name = "TEMPLATE")]
    pub prompt: Option<String>,
    /// The system prompt
    #[arg(long, value_name = "TEMPLATE", conflicts_with = "system_file")]
    pub system: Option<String>,
    /// A file with the system prompt
    #[arg(long, value_name = "FILE")]
    pub system_file: Option<String>,
    /// The columns of pictures, with commas between them
    #[arg(long, value_name = "COLUMNS", value_delimiter = ',')]
    pub images: Option<Vec<String>>,
    /// The columns of documents (PDF), with commas between them
    #[arg(long, value_name = "COLUMNS", value_delimiter = ',')]
    pub documents: Option<Vec<String>>,
    /// Whether identical requests go once
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", action = ArgAction::Set)]
    pub dedupe: Option<bool>,
    /// The new column's name
    #[arg(long, value_name = "NAME")]
    pub column: Option<String>,
    /// The words that an answer may be, with commas between them; without them, an answer is text
    #[arg(long, value_name = "WORDS", value_delimiter = ',')]
    pub choices: Option<Vec<String>>,
    /// Which columns say how each answer came about: off, minimal, full
    #[arg(long, value_name = "WHICH")]
    pub meta: Option<String>,
    /// Who answers: provider/model, such as anthropic/claude-haiku-4-5 or openai/gpt-6-luna; sandbox/x, which is built in, needs no key and costs nothing
    #[arg(long, value_name = "PROVIDER/MODEL")]
    pub model: Option<String>,
    /// The most tokens that an answer may have, longer ones are `truncated`; default 1024, for choices 256
    #[arg(long, value_name = "TOKENS")]
    pub max_output_tokens: Option<u64>,
    /// The sampling temperature
    #[arg(long, value_name = "NUMBER")]
    pub temperature: Option<f64>,
    /// Another endpoint than the vendor's, as that vendor's SDK takes it
    #[arg(long, value_name = "URL")]
    pub base_url: Option<String>,
    /// The environment variable that holds the key
    #[arg(long, value_name = "NAME")]
    pub api_key_env: Option<String>,
    /// A name for the service behind the base URL, by which its answers are known
    #[arg(long, value_name = "NAME")]
    pub service: Option<String>,
    /// Fewer requests in a batch than the provider takes
    #[arg(long, value_name = "COUNT")]
    pub max_requests_per_batch: Option<u64>,
    /// Fewer bytes in a batch than the provider takes, such as 50MB
    #[arg(long, value_name = "BYTES")]
    pub max_bytes_per_batch: Option<String>,
    /// The first wait between two looks at a batch
    #[arg(long, value_name = "DURATION")]
    pub poll_min: Option<String>,
    /// The longest wait between two looks at a batch
    #[arg(long, value_name = "DURATION")]
    pub poll_max: Option<String>,
    /// Failed rows that are tolerated: rows, or a share such as 1%
    #[arg(long, value_name = "ROWS|%")]
    pub max_failed: Option<String>,
    /// Where the table goes: a file or a folder; may hold {{ vars.name }}
    #[arg(long, value_name = "PATH")]
    pub output: Option<String>,
    /// mirror: the source's files; single: one file; keyed: row id and new columns alone
    #[arg(long, value_name = "LAYOUT")]
    pub layout: Option<String>,
    /// Replace an output that is not ours
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", action = ArgAction::Set)]
    pub overwrite: Option<bool>,
    /// Where the work is remembered; default: _columnist/NAME/ beside the output
    #[arg(long, value_name = "PATH")]
    pub ledger: Option<String>,
}

impl JobArgs {
    /// The job that the arguments mean.
    ///
    /// # Errors
    /// `Invalid`, with every mistake at once.
    pub(super) fn resolve(&self, key: Option<&KeyFlag>, around: &Surroundings) -> Result<Job> {
        match &self.resolved {
            Some(path) => read_resolved(path),
            None => self.draft(key, around)?.resolve(around),
        }
    }

    /// The job that was planned: see [`Draft::resolve_planned`].
    ///
    /// # Errors
    /// `Invalid`, with every mistake at once.
    pub(super) fn resolve_planned(
        &self,
        key: Option<&KeyFlag>,
        around: &Surroundings,
    ) -> Result<Job> {
        match &self.resolved {
            Some(path) => read_resolved(path),
            None => self.draft(key, around)?.resolve_planned(around),
        }
    }

    /// What the user wrote: the job file if one is named, with `--set`, flags and `--var`.
    ///
    /// # Errors
    /// `Invalid` if the job file cannot be read, or if nothing describes a job at all.
    pub(super) fn draft(&self, key: Option<&KeyFlag>, around: &Surroundings) -> Result<Draft> {
        let mut flags = self.keys.given();
        if let Some(columns) = key.and_then(|key| key.key.clone()) {
            flags.push(("source.key", FlagValue::List(columns)));
        }
        let mut draft = match &self.job {
            Some(path) => Draft::read(path, around)?,
            None if flags.is_empty() && self.set.is_empty() => return Err(no_job()),
            None => Draft::one_liner(),
        };
        for assignment in &self.set {
            draft.set(assignment);
        }
        for (key, value) in flags {
            draft.flag(key, value)?;
        }
        for assignment in &self.var {
            draft.var(assignment);
        }
        Ok(draft)
    }
}

fn read_resolved(path: &Path) -> Result<Job> {
    let text = std::fs::read_to_string(path).or_err(ErrorKind::Invalid, "cannot read the job")?;
    serde_json::from_str(&text).or_err(ErrorKind::Invalid, "the job is not a resolved one")
}

fn no_job() -> Error {
    Error::invalid("no job is named").hint(
        "name a job file, as in `columnist run job.toml`, or describe the job by flags: \
         --table, --prompt, --column, --model and --output",
    )
}

impl KeyFlags {
    /// The flags that were given, each with its key.
    fn given(&self) -> Vec<(&'static str, FlagValue)> {
        let texts = [
            ("name", &self.name),
            ("source.table", &self.table),
            ("source.query", &self.query),
            ("source.where", &self.filter),
            ("prompt.user", &self.prompt),
            ("prompt.system", &self.system),
            ("prompt.system_file", &self.system_file),
            ("answer.column", &self.column),
            ("answer.meta", &self.meta),
            ("model.use", &self.model),
            ("model.base_url", &self.base_url),
            ("model.api_key_env", &self.api_key_env),
            ("model.service", &self.service),
            ("model.max_bytes_per_batch", &self.max_bytes_per_batch),
            ("model.poll_min", &self.poll_min),
            ("model.poll_max", &self.poll_max),
            ("output.path", &self.output),
            ("output.layout", &self.layout),
            ("ledger.path", &self.ledger),
        ];
        let counts = [
            ("source.limit", self.limit),
            ("source.sample", self.sample),
            ("source.seed", self.sample_seed),
            ("model.max_output_tokens", self.max_output_tokens),
            ("model.max_requests_per_batch", self.max_requests_per_batch),
        ];
        let yes_or_no = [
            ("prompt.dedupe", self.dedupe),
            ("output.overwrite", self.overwrite),
        ];
        let texts = texts
            .into_iter()
            .filter_map(|(key, text)| Some((key, FlagValue::Text(text.clone()?))));
        let counts = counts
            .into_iter()
            .filter_map(|(key, count)| Some((key, FlagValue::Count(count?))));
        let yes_or_no = yes_or_no
            .into_iter()
            .filter_map(|(key, yes)| Some((key, FlagValue::Bool(yes?))));
        texts
            .chain(counts)
            .chain(yes_or_no)
            .chain(self.others())
            .collect()
    }

    fn others(&self) -> impl Iterator<Item = (&'static str, FlagValue)> {
        let rows_or_share = |text: &String| match text.parse() {
            Ok(rows) => FlagValue::Count(rows),
            Err(_) => FlagValue::Text(text.clone()),
        };
        [
            ("source.tables", self.tables.clone().map(FlagValue::Pairs)),
            ("prompt.images", self.images.clone().map(FlagValue::List)),
            (
                "prompt.documents",
                self.documents.clone().map(FlagValue::List),
            ),
            ("answer.choices", self.choices.clone().map(FlagValue::List)),
            ("model.temperature", self.temperature.map(FlagValue::Number)),
            (
                "budget.max_failed",
                self.max_failed.as_ref().map(rows_or_share),
            ),
        ]
        .into_iter()
        .filter_map(|(key, value)| Some((key, value?)))
    }
}

fn parse_table(text: &str) -> Result<(String, String), String> {
    let (name, path) = text.split_once('=').ok_or("write NAME=PATH")?;
    Ok((name.trim().to_owned(), path.to_owned()))
}
