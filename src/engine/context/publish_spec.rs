//! Where the output goes, and what it says of itself.

use crate::base::{Result, Stores};
use crate::ledger::outcomes::OutcomeColumns;
use crate::output::{self, AnswerColumns, AnswerSpec, Form, Layout, MetaColumns, RUN_KEY, Target};
use crate::source::Source;
use crate::spec::{Job, LayoutSpec, Meta, SourceInput};
use crate::work::Precision;
use crate::work::answer::ValueType;

use super::job_parts::JobParts;
use super::source::needs_snapshot;

/// The key-value that holds the ledger's id.
pub(crate) const LEDGER_KEY: &str = "columnist.ledger";
/// The key-value that holds the job's name.
const JOB_KEY: &str = "columnist.job";

/// Where the output goes, and what it says of itself.
#[derive(Clone, Debug)]
pub(crate) struct PublishSpec {
    pub target: Target,
    pub layout: Layout,
    pub overwrite: bool,
    /// The answer's column.
    pub column: String,
    /// What its values are, where they are no texts.
    value: Option<ValueType>,
    /// Where they are vectors, how many numbers each has, and how exactly it holds them.
    vector: Option<(u32, Precision)>,
    /// Where each field has a column of its own, what its name begins with.
    flatten: Option<String>,
    trim: bool,
    pub meta: MetaColumns,
    /// What the new columns' own metadata says: the model, the job, the prompt's fingerprint.
    pub about: Vec<(String, String)>,
    /// The fingerprint of the plan and of the output's settings.
    pub digest: String,
    /// The run's, the ledger's and the job's names, for the output's own metadata.
    pub identity: Vec<(String, String)>,
}

impl PublishSpec {
    /// Where the output of `job` goes, and what it says of itself; `run` and `ledger` are their ids.
    ///
    /// # Errors
    /// If the output's address is none.
    pub(crate) fn of(
        job: &Job,
        parts: &JobParts,
        stores: &Stores,
        (run, ledger): (&str, &str),
    ) -> Result<PublishSpec> {
        let location = stores.locate(&job.output.path)?;
        let spec = job.output.layout.unwrap_or(match job.source.input {
            SourceInput::Table(_) if parts.is_table => LayoutSpec::Mirror,
            _ => LayoutSpec::Single,
        });
        let layout = match spec {
            LayoutSpec::Mirror => Layout::Mirror,
            LayoutSpec::Single => Layout::Single,
            LayoutSpec::Keyed => Layout::Keyed {
                key: job.source.key.clone(),
            },
        };
        let is_folder =
            job.output.path.ends_with('/') || (spec == LayoutSpec::Mirror && !parts.is_single_file);
        let form = if is_folder { Form::Folder } else { Form::File };
        let meta = meta_columns(job);
        let about = [
            (
                "columnist.model",
                format!("{}/{}", job.model.provider, job.model.model),
            ),
            (JOB_KEY, job.name.clone()),
            ("columnist.prompt", parts.shape.fingerprint()),
        ];
        let identity = [
            (RUN_KEY, run.to_owned()),
            (LEDGER_KEY, ledger.to_owned()),
            (JOB_KEY, job.name.clone()),
        ];
        Ok(PublishSpec {
            target: Target { location, form },
            layout,
            overwrite: job.output.overwrite,
            column: job.answer.column.clone(),
            value: job.answer.answer.value()?,
            vector: job.answer.vector(),
            flatten: job.answer.flatten.clone(),
            trim: job.answer.trim,
            meta,
            about: about.map(|(key, value)| (key.to_owned(), value)).to_vec(),
            digest: job.fingerprints().output,
            identity: identity
                .map(|(key, value)| (key.to_owned(), value))
                .to_vec(),
        })
    }

    /// Tries all that publishing does with `source`, before any spend. What of it will not come along,
    /// a sentence each.
    pub(crate) async fn prepare(&self, job: &Job, source: &Source) -> Result<Vec<String>> {
        // What is written down first, as Parquet of our own, always fits.
        if needs_snapshot(job, source) {
            return Ok(Vec::new());
        }
        let prepared = output::Prepared {
            sources: sources(source),
            layout: self.layout.clone(),
            columns: self.columns()?.schema(),
            target: self.target.clone(),
        };
        output::prepare(prepared).await
    }

    /// Which columns of the outcomes the added ones are made of.
    pub(crate) fn outcomes(&self) -> OutcomeColumns {
        match self.meta {
            MetaColumns::Full => OutcomeColumns::All,
            MetaColumns::Off | MetaColumns::Minimal => OutcomeColumns::Answers,
        }
    }

    /// The columns that are added.
    ///
    /// # Errors
    /// `Internal`, if no column can hold the answers.
    pub(crate) fn columns(&self) -> Result<AnswerColumns> {
        AnswerColumns::new(&AnswerSpec {
            column: &self.column,
            value: self.value.as_ref(),
            vector: self.vector,
            flatten: self.flatten.as_deref(),
            trim: self.trim,
            meta: self.meta,
            about: &self.about,
        })
    }
}

/// The source's files as the output knows them.
pub(crate) fn sources(source: &Source) -> Vec<output::SourceFile> {
    let file = |file: &crate::source::SourceFile| output::SourceFile {
        location: file.location.clone(),
        relative: file.relative.clone(),
        size: file.pin.size,
        rows: file.rows,
        partitions: source.partitions_of(file),
    };
    source.files().iter().map(file).collect()
}

/// The columns that say how each answer came about.
pub(crate) fn meta_columns(job: &Job) -> MetaColumns {
    match job.answer.meta {
        Meta::Off => MetaColumns::Off,
        Meta::Minimal => MetaColumns::Minimal,
        Meta::Full => MetaColumns::Full,
    }
}
