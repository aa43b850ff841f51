//! Planning every row of a plan, or what is left of it, into the ledger.

use super::chunks::chunk_writer;
use super::earlier::IndexSetup;
use super::input::PlanInput;
use super::planner::{Sink, Tally, plan_all};
use super::prior::{PlanQuestion, PriorAnswers};
use crate::base::{Error, Result};
use crate::engine::context::context::Context;
use crate::engine::context::points;
use crate::engine::context::source::sample;
use crate::engine::context::writer::LedgerWriter;
use crate::engine::decide::progress::planned;
use crate::ledger::action::{Action, PlanCompleted};
use crate::ledger::row_map::RowMapWriter;
use crate::ledger::state::{PlanState, State};
use crate::work::progress::Event;

/// Plans every row of `plan`, or what is left of it.
///
/// # Errors
/// Whatever keeps the source from being read, or the ledger from being written.
pub(crate) async fn plan_rows(
    cx: &Context,
    state: &State,
    plan: PlanState,
    writer: &LedgerWriter,
) -> Result<()> {
    let number = plan.started.plan;
    let first_round = plan.round(0).into_iter();
    let stored = first_round.map(|chunk| chunk.stored.requests).sum();
    let draft = cx.files.draft("rows.parquet");
    let sink = Sink::Ledger {
        chunks: Box::new(chunk_writer(cx, state, cx.parts.limits, (&plan, 0))),
        rows: Box::new(RowMapWriter::create(&draft, &cx.key_columns()?)?),
        writer,
        stored,
    };
    let question = PlanQuestion {
        plan: number,
        shape: &cx.parts.shape,
        rule: plan.key_rule,
    };
    let setup = IndexSetup {
        state,
        files: &cx.files,
        components: &cx.components,
        memory: cx.memory,
        is_kept: true,
    };
    let prior = PriorAnswers::read(setup, &question).await?;
    let mut input = PlanInput::of(cx, plan.started.trial, plan.started.deferred)?;
    input.sample = sample(&cx.job, cx.source()?, cx.parts.filter.as_ref()).await?;
    let progress = |tally: &Tally| {
        let planned = planned(&tally.rows);
        cx.observations.planned(planned);
        cx.notices.event(&Event::Planned(planned));
    };
    let planning = plan_all(&input, number, cx.template()?, prior, sink, progress);
    let (tally, rows) = planning.await?;
    if let Some(rows) = rows {
        rows.finish()?;
    }
    cx.files
        .keep(&draft, &cx.files.rows(number), points::ROWS)
        .await?;
    if tally.rows.total() != plan.started.rows {
        return Err(
            Error::internal("the plan's rows do not sum to the source's")
                .with("planned", tally.rows.total())
                .with("rows", plan.started.rows),
        );
    }
    let completed = PlanCompleted {
        plan: number,
        requests: tally.requests,
        rows: tally.rows,
        prompt_bytes: tally.prompt_bytes,
    };
    writer.write(vec![Action::PlanCompleted(completed)]).await
}
