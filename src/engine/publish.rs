//! Publishing: the answers beside the rows, visible at once.

use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::RecordBatch;
use futures::StreamExt;
use tokio::sync::mpsc;

use crate::base::{Error, Result};
use crate::ledger::action::{Action, PublishStarted, Published, stored_counts};
use crate::ledger::state::{PlanState, State};
use crate::output::{self, AnswerColumns, Layout, MetaColumns, Target};
use crate::source::Source;
use crate::work::progress::Event;
use crate::work::{RowStatus, StatusCounts};

use super::files::Files;
use super::join::{Rows, join};
use super::report::check_sum;
use super::scribe::Scribe;
use super::tasks::Tasks;

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
    /// Publishes `plan`. The intent is durable before anything becomes visible.
    pub(super) async fn carry_out(
        &self,
        tasks: &Tasks,
        plan: &PlanState,
        state: &State,
        scribe: &Scribe,
    ) -> Result<()> {
        let components = &tasks.components;
        let id = components.ids.uuid(components.clock.now()).to_string();
        let number = plan.started.plan;
        let started = PublishStarted {
            publish: id.clone(),
            plan: number,
            digest: self.digest.clone(),
            output: self.target.location.url.to_string(),
        };
        scribe.write(vec![Action::PublishStarted(started)]).await?;
        let counts = Arc::new(Mutex::new(StatusCounts::default()));
        let batches = self.batches(tasks, plan, state, Arc::clone(&counts));
        output::publish(output::Publication {
            sources: sources(&tasks.source),
            layout: self.layout.clone(),
            columns: self.columns().schema(),
            batches,
            identity: self.identity.clone(),
            target: self.target.clone(),
            overwrite: self.overwrite,
            staging_id: id.clone(),
            crash: components.crash.clone(),
        })
        .await?;
        let output = self.target.location.url.to_string();
        // Told before it is written down: the loop ends as soon as that is done.
        tasks.watch.event(&Event::Published { output });
        let counts = *counts.lock().unwrap_or_else(PoisonError::into_inner);
        let published = Published {
            publish: id,
            plan: number,
            digest: self.digest.clone(),
            output: self.target.location.url.to_string(),
            rows: stored_counts(&counts),
            landed: state.landed_count(number),
            at: components.clock.now(),
        };
        scribe
            .write(vec![Action::Published(Box::new(published))])
            .await
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
            let joined = join_all(&state, number, rows, &files, memory, &mut builder).await;
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
    rows: u64,
    files: &Files,
    memory: usize,
    builder: &mut Builder,
) -> Result<StatusCounts> {
    let counts = join(state, plan, files, memory, builder).await?;
    check_sum(&counts, rows)?;
    if counts.of(RowStatus::Pending) > 0 {
        return Err(
            Error::internal("a row is still pending").with("rows", counts.of(RowStatus::Pending))
        );
    }
    builder.flush().await?;
    Ok(counts)
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
