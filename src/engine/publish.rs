//! Publishing: the answers beside the rows, visible at once.

use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::RecordBatch;
use futures::StreamExt;
use tokio::sync::mpsc;

use crate::base::{Error, Location, Result};
use crate::ledger::action::{Action, PublishStarted, Published, stored_counts};
use crate::ledger::state::{PlanState, State};
use crate::output::{
    self, AnswerColumns, Existing, Form, Layout, MetaColumns, PUBLISH_KEY, RUN_KEY, Target,
};
use crate::source::Source;
use crate::spec::{Job, LayoutSpec, Meta, SourceInput};
use crate::work::progress::Event;
use crate::work::{RowStatus, StatusCounts};

use super::files::Files;
use super::join::{Rows, join};
use super::next::account_refused;
use super::report::check_sum;
use super::scribe::Scribe;
use super::tasks::Tasks;

/// The key-value that holds the ledger's id.
pub(super) const LEDGER_KEY: &str = "columnist.ledger";
/// The key-value that holds the job's name.
const JOB_KEY: &str = "columnist.job";

/// Where the output goes, and what it says of itself.
#[derive(Clone, Debug)]
pub(super) struct Publication {
    pub target: Target,
    pub layout: Layout,
    pub overwrite: bool,
    /// The answer's column.
    pub column: String,
    pub meta: MetaColumns,
    /// What the new columns' own metadata says: the model, the job, the prompt's fingerprint.
    pub about: Vec<(String, String)>,
    /// The fingerprint of the plan and of the output's settings.
    pub digest: String,
    /// The run's, the ledger's and the job's names, for the output's own metadata.
    pub identity: Vec<(String, String)>,
}

impl Publication {
    /// Where the output of `job` goes, and what it says of itself. `fingerprint` is the prompt's.
    pub(super) fn of(
        job: &Job,
        location: Location,
        (is_table, is_single_file): (bool, bool),
        fingerprint: String,
        (run, ledger): (&str, &str),
    ) -> Publication {
        let spec = job.output.layout.unwrap_or(match job.source.input {
            SourceInput::Table(_) if is_table => LayoutSpec::Mirror,
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
            job.output.path.ends_with('/') || (spec == LayoutSpec::Mirror && !is_single_file);
        let form = if is_folder { Form::Folder } else { Form::File };
        let meta = match job.answer.meta {
            Meta::Off => MetaColumns::Off,
            Meta::Minimal => MetaColumns::Minimal,
        };
        let about = [
            (
                "columnist.model",
                format!("{}/{}", job.model.provider, job.model.model),
            ),
            (JOB_KEY, job.name.clone()),
            ("columnist.prompt", fingerprint),
        ];
        let identity = [
            (RUN_KEY, run.to_owned()),
            (LEDGER_KEY, ledger.to_owned()),
            (JOB_KEY, job.name.clone()),
        ];
        Publication {
            target: Target { location, form },
            layout,
            overwrite: job.output.overwrite,
            column: job.answer.column.clone(),
            meta,
            about: about.map(|(key, value)| (key.to_owned(), value)).to_vec(),
            digest: job.fingerprints().output,
            identity: identity
                .map(|(key, value)| (key.to_owned(), value))
                .to_vec(),
        }
    }

    /// Publishes `plan`. The intent is durable before anything becomes visible; an output that
    /// became visible before it could be written down is recognised, and not made again.
    pub(super) async fn carry_out(
        &self,
        tasks: &Tasks,
        plan: &PlanState,
        state: &State,
        scribe: &Scribe,
    ) -> Result<()> {
        let started = self.start(tasks, plan, state);
        let (started, counts) = if let Some(earlier) = self.visible(&started, state).await? {
            let counts = self.count(tasks, plan, state, &earlier).await?;
            output::clear(&self.target).await?;
            (earlier, counts)
        } else {
            let intent = Action::PublishStarted(started.clone());
            scribe.write(vec![intent]).await?;
            let counts = self.publish(tasks, plan, state, &started).await?;
            (started, counts)
        };
        // Told before it is written down: the loop ends as soon as that is done.
        tasks.watch.event(&Event::Published {
            output: started.output.clone(),
        });
        let published = Published {
            publish: started.publish,
            plan: started.plan,
            digest: started.digest,
            output: started.output,
            rows: stored_counts(&counts),
            landed: started.landed,
            partial: started.partial,
            at: tasks.components.clock.now(),
        };
        let published = Action::Published(Box::new(published));
        scribe.write(vec![published]).await
    }

    /// Tries all that publishing does with `source`, before any spend. What of it will not come along,
    /// a sentence each.
    pub(super) async fn prepare(&self, source: &Source) -> Result<Vec<String>> {
        let prepared = output::Prepared {
            sources: sources(source),
            layout: self.layout.clone(),
            columns: self.columns().schema(),
            target: self.target.clone(),
        };
        output::prepare(prepared).await
    }

    fn start(&self, tasks: &Tasks, plan: &PlanState, state: &State) -> PublishStarted {
        let (components, number) = (&tasks.components, plan.started.plan);
        PublishStarted {
            publish: components.ids.uuid(components.clock.now()).to_string(),
            plan: number,
            digest: self.digest.clone(),
            output: self.target.location.url.to_string(),
            landed: state.landed_count(number),
            partial: tasks.partial && is_partial(state, plan),
        }
    }

    /// The publication of the same that was begun before and is visible, though the ledger does not
    /// say so.
    async fn visible(
        &self,
        wanted: &PublishStarted,
        state: &State,
    ) -> Result<Option<PublishStarted>> {
        let same = |earlier: &&PublishStarted| {
            let publish = earlier.publish.clone();
            PublishStarted {
                publish,
                ..wanted.clone()
            } == **earlier
        };
        let Some(earlier) = state.publishing.as_ref().filter(same) else {
            return Ok(None);
        };
        let mark = (PUBLISH_KEY.to_owned(), earlier.publish.clone());
        Ok(match output::examine(&self.target).await? {
            Existing::Ours {
                identity,
                complete: true,
            } if identity.contains(&mark) => Some(earlier.clone()),
            _ => None,
        })
    }

    async fn publish(
        &self,
        tasks: &Tasks,
        plan: &PlanState,
        state: &State,
        started: &PublishStarted,
    ) -> Result<StatusCounts> {
        let counts = Arc::new(Mutex::new(StatusCounts::default()));
        let mut identity = self.identity.clone();
        identity.push((PUBLISH_KEY.to_owned(), started.publish.clone()));
        output::publish(output::Publication {
            sources: sources(tasks.source()?),
            layout: self.layout.clone(),
            columns: self.columns().schema(),
            batches: self.batches(tasks, plan, state, started.partial, Arc::clone(&counts)),
            identity,
            target: self.target.clone(),
            overwrite: self.overwrite,
            staging_id: started.publish.clone(),
            fence: tasks.fence(),
            crash: tasks.components.crash.clone(),
        })
        .await?;
        let counts = *counts.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(counts)
    }

    /// The rows by status of an output that is there already.
    async fn count(
        &self,
        tasks: &Tasks,
        plan: &PlanState,
        state: &State,
        started: &PublishStarted,
    ) -> Result<StatusCounts> {
        let (files, memory) = (&tasks.files, tasks.memory);
        let which = (plan.started.plan, started.partial);
        let counts = join(state, which, files, memory, &mut Nowhere).await?;
        check_counts(&counts, plan.started.rows, started.partial)?;
        Ok(counts)
    }

    /// The rows by status, if some of them were canceled and would take the place of an older output.
    pub(super) async fn holes(
        &self,
        tasks: &Tasks,
        plan: &PlanState,
        state: &State,
    ) -> Result<Option<StatusCounts>> {
        if output::examine(&self.target).await? == Existing::Nothing {
            return Ok(None);
        }
        let counts = self
            .count(tasks, plan, state, &self.start(tasks, plan, state))
            .await?;
        Ok((counts.of(RowStatus::Canceled) > 0).then_some(counts))
    }

    fn columns(&self) -> AnswerColumns {
        AnswerColumns::new(&self.column, self.meta, &self.about)
    }

    /// The new columns, row by row, joined while they are read. The last of them comes only when
    /// the rows by status are the rows.
    fn batches(
        &self,
        tasks: &Tasks,
        plan: &PlanState,
        state: &State,
        partial: bool,
        counted: Arc<Mutex<StatusCounts>>,
    ) -> futures::stream::BoxStream<'static, Result<RecordBatch>> {
        let (sender, receiver) = mpsc::channel(2);
        let (state, files, memory) = (state.clone(), tasks.files.clone(), tasks.memory);
        let (number, rows) = (plan.started.plan, plan.started.rows);
        let mut builder = Builder {
            columns: self.columns(),
            sender,
        };
        let work = async move {
            let whole = (rows, partial);
            let joined = join_all(&state, number, whole, &files, memory, &mut builder).await;
            match joined {
                Ok(counts) => *counted.lock().unwrap_or_else(PoisonError::into_inner) = counts,
                // Whoever stopped reading has an error of his own.
                Err(error) => drop(builder.sender.send(Err(error)).await),
            }
        };
        let task = tokio::spawn(work);
        let stream =
            futures::stream::unfold((receiver, Abort(task)), |(mut receiver, task)| async {
                receiver.recv().await.map(|batch| (batch, (receiver, task)))
            });
        stream.boxed()
    }
}

/// Whether rows of `plan` may still get an answer.
fn is_partial(state: &State, plan: &PlanState) -> bool {
    let mut open = state.open_attempts();
    let is_open = open.any(|attempt| attempt.promised.plan == plan.started.plan);
    is_open || (!plan.canceled && account_refused(state, plan).is_some())
}

/// A task that ends with whoever reads from it.
struct Abort(tokio::task::JoinHandle<()>);

impl Drop for Abort {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn join_all(
    state: &State,
    plan: u64,
    (rows, partial): (u64, bool),
    files: &Files,
    memory: usize,
    builder: &mut Builder,
) -> Result<StatusCounts> {
    let counts = join(state, (plan, partial), files, memory, builder).await?;
    check_counts(&counts, rows, partial)?;
    builder.flush().await?;
    Ok(counts)
}

/// Checks that the rows by status are the rows, and that none is pending that should not be.
fn check_counts(counts: &StatusCounts, rows: u64, partial: bool) -> Result<()> {
    check_sum(counts, rows)?;
    let pending = counts.of(RowStatus::Pending);
    if pending > 0 && !partial {
        return Err(Error::internal("a row is still pending").with("rows", pending));
    }
    Ok(())
}

/// Rows that are only counted.
struct Nowhere;

impl Rows for Nowhere {
    async fn push(&mut self, _: RowStatus, _: Option<&str>, _: Option<&str>) -> Result<()> {
        Ok(())
    }
}

/// Rows into batches of the new columns.
struct Builder {
    columns: AnswerColumns,
    sender: mpsc::Sender<Result<RecordBatch>>,
}

impl Builder {
    async fn flush(&mut self) -> Result<()> {
        if self.columns.rows() == 0 {
            return Ok(());
        }
        let batch = self.columns.finish()?;
        let stopped = |_| Error::internal("the output stopped reading");
        self.sender.send(Ok(batch)).await.map_err(stopped)
    }
}

impl Rows for Builder {
    async fn push(
        &mut self,
        status: RowStatus,
        answer: Option<&str>,
        error: Option<&str>,
    ) -> Result<()> {
        self.columns.push(status, answer, error);
        if self.columns.is_full() {
            self.flush().await
        } else {
            Ok(())
        }
    }
}

/// The source's files as the output knows them.
fn sources(source: &Source) -> Vec<output::SourceFile> {
    let file = |file: &crate::source::SourceFile| output::SourceFile {
        location: file.location.clone(),
        relative: file.relative.clone(),
        size: file.pin.size,
        rows: file.rows,
        partitions: source.partitions_of(file),
    };
    source.files().iter().map(file).collect()
}
