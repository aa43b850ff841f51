//! The job as it holds: checked, resolved, complete. No `Option` for what cannot be absent.

use std::collections::BTreeMap;
use std::time::Duration;

use arrow::datatypes::DataType;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::work::answer::Kind;
use crate::work::{AnswerType, Example, Precision, TooLong, meta, sql_type};

/// A job, resolved: paths are absolute or URLs, defaults are filled in, files are read.
///
/// It is stored with each plan, so that `collect` and `show` act on what was planned and not on a
/// file that has changed since. It never holds a key: connection settings name environment
/// variables at most.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// `[a-z0-9-]`; names the ledger.
    pub name: String,
    /// Which rows.
    pub source: SourceSpec,
    /// What to ask of each.
    pub prompt: PromptSpec,
    /// What the new column is.
    pub answer: AnswerSpec,
    /// Who answers.
    pub model: ModelSpec,
    /// What it may cost.
    pub budget: BudgetSpec,
    /// Where the table goes.
    pub output: OutputSpec,
    /// Where the work is remembered.
    pub ledger: LedgerSpec,
    /// The values given by `--var`: bound to `$name` in SQL, and `vars.name` in prompts and addresses.
    pub vars: BTreeMap<String, String>,
    /// Whether the address of the source or the output holds a variable that was given no value: see
    /// [`Job::completed_by`].
    #[serde(skip)]
    pub unfilled: bool,
}

impl Job {
    /// This job, with what `planned` says of places and variables, if it was resolved without some of
    /// the variables that its addresses name. A value that was given stands.
    #[must_use]
    pub fn completed_by(mut self, planned: &Job) -> Job {
        if !self.unfilled {
            return self;
        }
        let mut vars = planned.vars.clone();
        vars.append(&mut self.vars);
        Job {
            source: SourceSpec {
                input: planned.source.input.clone(),
                ..self.source
            },
            output: OutputSpec {
                path: planned.output.path.clone(),
                ..self.output
            },
            vars,
            unfilled: false,
            ..self
        }
    }
}

/// Which rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SourceSpec {
    /// A table or a query.
    pub input: SourceInput,
    /// The table's address with the variables by name, where it has some: the same every night.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pattern: Option<String>,
    /// The row id: unique, not null. Empty: the row's position.
    pub key: Vec<String>,
    /// An SQL predicate: rows that get a prompt.
    pub filter: Option<String>,
    /// At most this many rows get a prompt: the first ones.
    pub limit: Option<u64>,
    /// Rows that are drawn from all, where not all that are chosen get a prompt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sample: Option<SampleSpec>,
    /// The SQL types of columns of CSV and NDJSON.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub types: BTreeMap<String, String>,
    /// What separates the values of CSV.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delimiter: Option<u8>,
}

impl SourceSpec {
    /// The types that the job names, as Arrow's.
    #[must_use]
    pub fn column_types(&self) -> BTreeMap<String, DataType> {
        let types = self.types.iter();
        types
            .filter_map(|(column, name)| Some((column.clone(), sql_type::parse(name)?)))
            .collect()
    }
}

/// Rows that are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SampleSpec {
    /// How many.
    pub rows: u64,
    /// The same seed draws the same rows of the same table.
    pub seed: u64,
}

/// A table or a query.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SourceInput {
    /// A file, folder or glob, as an absolute path or a URL.
    Table(String),
    /// A query over named tables.
    Query {
        /// The SQL text.
        sql: String,
        /// Where it was read from, for messages.
        file: String,
        /// What each name in it reads: absolute paths or URLs.
        tables: BTreeMap<String, String>,
    },
}

/// What to ask of each row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PromptSpec {
    /// The system prompt's template; may name `vars` alone, for it is the same for every row.
    pub system: Option<String>,
    /// The user prompt's template.
    pub user: String,
    /// Identical requests go once.
    pub dedupe: bool,
    /// Exchanges that come before each row's own. Templates that may name `vars` alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub examples: Vec<Example>,
    /// A table that holds them instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub examples_table: Option<ExamplesTable>,
    /// How each answer begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assistant_prefix: Option<String>,
    /// How the provider's prompt cache is used. It changes no request: it takes effect at once.
    #[serde(default, skip_serializing_if = "CacheSetting::is_auto")]
    pub cache: CacheSetting,
    /// Columns of pictures.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<String>,
    /// Columns of documents.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub documents: Vec<String>,
    /// Folders, as absolute paths or URLs: what paths in rows may lead into.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attachments_from: Vec<String>,
}

impl PromptSpec {
    /// The columns that are no text.
    pub fn attached(&self) -> impl Iterator<Item = &String> {
        self.images.iter().chain(&self.documents)
    }
}

/// A table of examples: text columns `user` and `assistant`, a row each.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExamplesTable {
    /// A file, folder or glob, as an absolute path or a URL.
    pub table: String,
    /// An SQL query over it, under the name `examples`. Without one it is read as it stands.
    pub query: Option<String>,
}

/// How the provider's prompt cache is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum CacheSetting {
    /// Where it pays.
    #[default]
    #[serde(rename = "auto")]
    Auto,
    /// Not at all.
    #[serde(rename = "off")]
    Off,
    /// What all requests share is kept for five minutes.
    #[serde(rename = "5m")]
    Minutes,
    /// What all requests share is kept for an hour.
    #[serde(rename = "1h")]
    Hour,
}

impl CacheSetting {
    /// Whether the arithmetic decides.
    #[must_use]
    pub fn is_auto(&self) -> bool {
        *self == CacheSetting::Auto
    }
}

/// What the new column is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AnswerSpec {
    /// Its name.
    pub column: String,
    /// Its type.
    pub answer: AnswerType,
    /// Where each field of the answer has a column of its own: what the columns' names begin with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flatten: Option<String>,
    /// Whether the column has texts without the blanks around them. The ledger keeps them as they came.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub trim: bool,
    /// What else is said of it where it is an embedding.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub embedding: Option<EmbeddingSpec>,
    /// The columns that say how each answer came about.
    pub meta: Meta,
    /// How many times an answer that breaks its type is asked again. This and the next two change no request
    /// that is asked for the first time: they take effect at once.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub reask: u32,
    /// The model that is asked then, where it is another; of the same provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reask_model: Option<String>,
    /// What the limit of output is multiplied by where it cut an answer, which is then asked again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grow_output_tokens: Option<f64>,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde hands on a reference"
)]
fn is_zero(count: &u32) -> bool {
    *count == 0
}

/// What is said of an embedding beside its dimensions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct EmbeddingSpec {
    /// How exactly the column holds its numbers.
    pub precision: Precision,
    /// What becomes of a text that is too long for the model.
    pub too_long: TooLong,
    /// The most tokens that a text may have, if that is known.
    pub max_input_tokens: Option<u64>,
}

impl AnswerSpec {
    /// How many numbers a vector has, and how exactly the column holds them, where answers are vectors.
    #[must_use]
    pub fn vector(&self) -> Option<(u32, Precision)> {
        let spec = self.embedding.unwrap_or_default();
        let dimensions = self.answer.dimensions()?;
        Some((dimensions, spec.precision))
    }

    /// The names of all columns that the job adds, in order.
    ///
    /// # Errors
    /// `Invalid` if the answer's schema says no type.
    pub fn columns(&self) -> crate::base::Result<Vec<String>> {
        let mut names = self.answer_columns()?;
        let endings: &[&[&str]] = match self.meta {
            Meta::Off => &[],
            Meta::Minimal => &[&meta::MINIMAL],
            Meta::Full => &[&meta::MINIMAL, &meta::FULL],
        };
        let endings = endings.iter().copied().flatten();
        names.extend(endings.map(|ending| meta::name(&self.column, ending)));
        Ok(names)
    }

    /// The names of the columns that hold the answer itself.
    ///
    /// # Errors
    /// `Invalid` if the answer's schema says no type.
    pub fn answer_columns(&self) -> crate::base::Result<Vec<String>> {
        let kind = self.answer.value()?.map(|value| value.kind);
        Ok(match (kind, &self.flatten) {
            (Some(Kind::Struct(fields)), Some(prefix)) => {
                let names = fields
                    .into_iter()
                    .map(|(name, _)| format!("{prefix}{name}"));
                names.collect()
            }
            _ => vec![self.column.clone()],
        })
    }
}

/// The columns that say how each answer came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Meta {
    /// None.
    Off,
    /// `<column>_status` and `<column>_error`.
    Minimal,
    /// And the request key, model, tokens, cost, batch and raw answer: see [`meta::FULL`].
    Full,
}

/// How requests travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// The provider's batch interface.
    Batch,
}

/// Who answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelSpec {
    /// The provider, as in `[model] use = "provider/model"`.
    pub provider: String,
    /// The model, as the provider names it.
    pub model: String,
    /// How requests travel.
    pub mode: Mode,
    /// The most tokens that an answer may have.
    pub max_output_tokens: u32,
    /// The sampling temperature.
    pub temperature: Option<f64>,
    /// Passed through as they are.
    pub params: Map<String, Value>,
    /// Another endpoint than the vendor's.
    pub base_url: Option<String>,
    /// The environment variable that holds the key, where it is not the vendor's own.
    pub api_key_env: Option<String>,
    /// A name for the service behind `base_url`, which request keys then carry instead of it.
    pub service: Option<String>,
    /// Fewer requests in a batch than the provider takes.
    pub max_requests_per_batch: Option<u64>,
    /// Fewer bytes in a batch than the provider takes.
    pub max_bytes_per_batch: Option<u64>,
    /// What may be in the provider's queue at once, in its own unit: requests for Anthropic, prompt
    /// tokens of the model for OpenAI. Without it, the limit is learned from refusals.
    pub max_enqueued: Option<u64>,
    /// A batch that is older is canceled, and what it finished is harvested.
    pub max_batch_age: Option<Duration>,
    /// The first wait between two looks at a batch.
    pub poll_min: Duration,
    /// The longest wait between two looks at a batch.
    pub poll_max: Duration,
}

/// What it may cost.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BudgetSpec {
    /// Failed rows that are tolerated.
    pub max_failed: MaxFailed,
}

/// Failed rows that are tolerated.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MaxFailed {
    /// So many.
    Rows(u64),
    /// So many of a hundred.
    Percent(f64),
}

/// Where the table goes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OutputSpec {
    /// An absolute path or a URL, with `vars` filled in.
    pub path: String,
    /// How it is laid out; `None` for the default, which depends on the source.
    pub layout: Option<LayoutSpec>,
    /// Whether an output that is not ours may be replaced.
    pub overwrite: bool,
}

/// How the output is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LayoutSpec {
    /// The source's files.
    Mirror,
    /// One file.
    Single,
    /// The row id and the new columns alone. Stored under its older name, so that ledgers and
    /// fingerprints stay what they are.
    #[serde(rename = "delta", alias = "keyed")]
    Keyed,
}

/// Where the work is remembered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LedgerSpec {
    /// An absolute path or a URL of a folder.
    pub path: String,
    /// Where an older version would have put it, if that is elsewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub older: Option<String>,
    /// The output that `path` follows from, where neither the ledger's place nor the job's name is given: from
    /// the folder on in which both stand, with variables by name. Two outputs may come to one place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<String>,
    /// How long a holder's claim lasts without being renewed.
    pub lease: Duration,
    /// How long "not found at the provider" must hold before it means "never accepted".
    pub settle: Duration,
    /// What to do where nobody can tell whether a batch was accepted.
    pub on_ambiguous: AmbiguousPolicy,
    /// Whether prompts are kept as they were sent.
    pub keep_prompts: bool,
}

/// What to do where nobody can tell whether a batch was accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AmbiguousPolicy {
    /// Wait until it is settled.
    Wait,
    /// Stop, with exit code 5.
    Fail,
    /// Send again, at the risk of paying twice.
    Resubmit,
}
