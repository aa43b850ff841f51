//! Publishing: the answers beside the rows, visible at once.

use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::RecordBatch;
use futures::StreamExt;
use tokio::sync::mpsc;

use super::join::{Rows, check_sum, join};
use super::shown::ShownRow;
use crate::base::{Error, ErrorKind, Result, Task, sent_by};
use crate::engine::context::context::Context;
use crate::engine::context::files::Files;
use crate::engine::context::publish_spec::{PublishSpec, sources};
use crate::engine::context::writer::LedgerWriter;
use crate::engine::decide::step::StepResult;
use crate::engine::decide::trial::account_refused;
use crate::ledger::action::{Action, PublishStarted, Published};
use crate::ledger::outcomes::OutcomeColumns;
use crate::ledger::state::{PlanState, State};
use crate::output::{self, AnswerColumns, Existing, PUBLISH_KEY};
use crate::source::drift;
use crate::work::progress::Event;
use crate::work::{Pin, RowStatus, StatusCounts};

/// Joins and publishes `plan`, unless the source has changed since it was planned.
///
/// # Errors
/// Whatever keeps the answers from being read, or the output from being written.
pub(crate) async fn publish(
    cx: &Context,
    plan: &PlanState,
    state: &State,
    writer: &LedgerWriter,
) -> Result<StepResult> {
    if !plan.started.snapshot && has_changed(cx, &plan.started.pins).await? {
        cx.publishing.source_changed();
        return Ok(StepResult::Done);
    }
    let publisher = Publisher {
        cx,
        spec: &cx.publishing.spec,
        plan,
        state,
    };
    // A person stopped the plan, and not in order to have holes where answers were.
    if plan.canceled
        && !cx.publishing.partial
        && let Some(counts) = publisher.holes().await?
    {
        if cx.publishing.hold_back(counts) {
            cx.notices.warn(&format!(
                "the plan was canceled, and {} rows have no answer for it: the older output stays as it is; \
                 `columnist run` asks them again, `collect --publish-partial` publishes what there is",
                counts.of(RowStatus::Canceled)
            ));
        }
        return Ok(StepResult::Done);
    }
    publisher.carry_out(writer).await?;
    cx.publishing.unpublish(false);
    Ok(StepResult::Done)
}

/// Whether a pinned file is another one by now, or gone, or files have come to it.
async fn has_changed(cx: &Context, pinned: &[Pin]) -> Result<bool> {
    if cx.source()?.pins() != pinned {
        return Ok(true);
    }
    for pin in pinned {
        if drift(pin, &cx.components.stores).await?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// One plan to publish, and what it takes.
struct Publisher<'a> {
    cx: &'a Context,
    spec: &'a PublishSpec,
    plan: &'a PlanState,
    state: &'a State,
}

impl Publisher<'_> {
    /// Publishes `plan`. The intent is durable before anything becomes visible; an output that
    /// became visible before it could be written down is recognised, and not made again.
    async fn carry_out(&self, writer: &LedgerWriter) -> Result<()> {
        let started = self.start();
        let (started, counts) = if let Some(earlier) = self.visible(&started).await? {
            let counts = self.count(&earlier).await?;
            output::clear(&self.spec.target).await?;
            (earlier, counts)
        } else {
            let intent = Action::PublishStarted(started.clone());
            writer.write(vec![intent]).await?;
            let counts = self.publish(&started).await?;
            (started, counts)
        };
        // Told before it is written down: the loop ends as soon as that is done.
        self.cx.notices.event(&Event::Published {
            output: started.output.clone(),
        });
        let published = Published {
            publish: started.publish,
            plan: started.plan,
            digest: started.digest,
            output: started.output,
            rows: counts,
            landed: started.landed,
            partial: started.partial,
            at: self.cx.now(),
        };
        let published = Action::Published(Box::new(published));
        writer.write(vec![published]).await
    }

    fn start(&self) -> PublishStarted {
        let (components, number) = (&self.cx.components, self.plan.started.plan);
        PublishStarted {
            publish: components.ids.uuid(components.clock.now()).to_string(),
            plan: number,
            digest: self.spec.digest.clone(),
            output: self.spec.target.location.url.to_string(),
            landed: self.state.landed_count(number),
            partial: self.cx.publishing.partial && is_partial(self.state, self.plan),
        }
    }

    /// The publication of the same that was begun before and is visible, though the ledger does not
    /// say so.
    async fn visible(&self, wanted: &PublishStarted) -> Result<Option<PublishStarted>> {
        let same = |earlier: &&PublishStarted| {
            let publish = earlier.publish.clone();
            PublishStarted {
                publish,
                ..wanted.clone()
            } == **earlier
        };
        let Some(earlier) = self.state.publishing.as_ref().filter(same) else {
            return Ok(None);
        };
        let mark = (PUBLISH_KEY.to_owned(), earlier.publish.clone());
        Ok(match output::examine(&self.spec.target).await? {
            Existing::Ours {
                identity,
                complete: true,
            } if identity.contains(&mark) => Some(earlier.clone()),
            _ => None,
        })
    }

    async fn publish(&self, started: &PublishStarted) -> Result<StatusCounts> {
        let counts = Arc::new(Mutex::new(StatusCounts::default()));
        let mut identity = self.spec.identity.clone();
        identity.push((PUBLISH_KEY.to_owned(), started.publish.clone()));
        output::publish(output::Publication {
            sources: sources(self.cx.source()?),
            layout: self.spec.layout.clone(),
            columns: self.spec.columns()?.schema(),
            batches: self.batches(started.partial, Arc::clone(&counts))?,
            identity,
            target: self.spec.target.clone(),
            overwrite: self.spec.overwrite,
            staging_id: started.publish.clone(),
            fence: self.cx.guard.fence(),
            crash: self.cx.components.crash.clone(),
        })
        .await?;
        let counts = *counts.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(counts)
    }

    /// The rows by status of an output that is there already.
    async fn count(&self, started: &PublishStarted) -> Result<StatusCounts> {
        let (files, memory) = (&self.cx.files, self.cx.memory);
        let which = (self.plan.started.plan, started.partial);
        let counts = join(self.state, which, files, memory, &mut CountOnly).await?;
        check_counts(&counts, self.plan.started.rows, started.partial)?;
        Ok(counts)
    }

    /// The rows by status, if some of them were canceled and would take the place of an older output.
    async fn holes(&self) -> Result<Option<StatusCounts>> {
        if output::examine(&self.spec.target).await? == Existing::Nothing {
            return Ok(None);
        }
        let counts = self.count(&self.start()).await?;
        Ok((counts.of(RowStatus::Canceled) > 0).then_some(counts))
    }

    /// The new columns, row by row, joined while they are read. The last of them comes only when
    /// the rows by status are the rows.
    fn batches(
        &self,
        partial: bool,
        counted: Arc<Mutex<StatusCounts>>,
    ) -> Result<futures::stream::BoxStream<'static, Result<RecordBatch>>> {
        let (sender, receiver) = mpsc::channel(2);
        let (state, files, memory) = (self.state.clone(), self.cx.files.clone(), self.cx.memory);
        let (number, rows) = (self.plan.started.plan, self.plan.started.rows);
        let mut builder = Builder {
            columns: self.spec.columns()?,
            outcomes: self.spec.outcomes(),
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
        let cut = |error| Error::new(ErrorKind::Internal, "joining was cut off").because(error);
        Ok(sent_by(receiver, Task::spawn(work), cut).boxed())
    }
}

/// Whether rows of `plan` may still get an answer.
fn is_partial(state: &State, plan: &PlanState) -> bool {
    let mut open = state.open_attempts();
    let is_open = open.any(|attempt| attempt.promised.plan == plan.started.plan);
    is_open || (!plan.canceled && account_refused(state, plan).is_some())
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
struct CountOnly;

impl Rows for CountOnly {
    fn columns(&self) -> OutcomeColumns {
        OutcomeColumns::Verdicts
    }

    async fn push(&mut self, _: &ShownRow<'_>) -> Result<()> {
        Ok(())
    }
}

/// Rows into batches of the new columns.
struct Builder {
    columns: AnswerColumns,
    outcomes: OutcomeColumns,
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
    fn columns(&self) -> OutcomeColumns {
        self.outcomes
    }

    async fn push(&mut self, row: &ShownRow<'_>) -> Result<()> {
        match &row.provenance {
            Some(provenance) => {
                let columns = &mut self.columns;
                columns.push_known(row.status, row.answer, row.error, provenance)?;
            }
            None => self.columns.push(row.status, row.answer, row.error)?,
        }
        if self.columns.is_full() {
            self.flush().await
        } else {
            Ok(())
        }
    }
}
