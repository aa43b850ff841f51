//! The loop: ask what is next, do it, write down what came of it, ask again.
//!
//! Everything that takes time is a task; the loop owns the ledger and does nothing else than start
//! tasks, write what they tell, and wait. An event is never acted upon as it arrives: it is written
//! down, and `next` is asked what follows.

mod rest;
mod step_end;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::future;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::faults::unless_it_panics;
use super::goal::{Goal, Stop};
use super::steps::carry_out;
use crate::base::backoff::Growing;
use crate::base::{Error, ErrorKind, Result, Time};
use crate::engine::context::context::Context;
use crate::engine::context::interrupt::GRACE;
use crate::engine::context::ledger::JobLedger;
use crate::engine::context::writer::{LedgerWriter, Write};
use crate::engine::decide::limits::RunLimits;
use crate::engine::decide::next::{Next, next};
use crate::engine::decide::progress::progress;
use crate::engine::decide::step::{InFlight, Step, StepResult};
use crate::engine::decide::waits::WaitInputs;
use crate::engine::plan::rows::plan_rows;
use crate::ledger::action::Action;
use crate::ledger::state::PlanState;
use crate::work::progress::{Event, Progress, Waits};

/// What a task came back with.
pub(crate) struct Ended {
    pub step: Option<Step>,
    pub result: Result<StepResult>,
}

/// Times that the receipt of a batch is tried to be written down.
const RECEIPT_TRIES: u32 = 4;
/// How long to wait before a receipt, or a step for which something was away, is tried again.
const AGAIN: Growing = Growing::doubling(Duration::from_secs(2), Duration::from_secs(64));

/// One run of the loop.
pub(crate) struct Driver<'a> {
    pub ledger: &'a mut JobLedger,
    pub cx: Arc<Context>,
    pub goal: Goal,
    pub plan: Option<u64>,
    pub limits: RunLimits,
    in_flight: InFlight,
    running: JoinSet<Ended>,
    planning: bool,
    writer: LedgerWriter,
    writes: mpsc::Receiver<Write>,
    tries: BTreeMap<Step, u32>,
    /// How far it is and what it waits for, as that was told last.
    last_told: (Option<Progress>, Waits),
    /// Why a batch is not shown, of the first that is not.
    unseen: Option<Error>,
}

impl<'a> Driver<'a> {
    pub(crate) fn new(
        ledger: &'a mut JobLedger,
        cx: Arc<Context>,
        goal: Goal,
        plan: Option<u64>,
        limits: RunLimits,
    ) -> Self {
        let (writer, writes) = LedgerWriter::new();
        Driver {
            ledger,
            cx,
            goal,
            plan,
            limits,
            in_flight: InFlight::default(),
            running: JoinSet::new(),
            planning: false,
            writer,
            writes,
            tries: BTreeMap::new(),
            last_told: (None, Waits::default()),
            unseen: None,
        }
    }

    /// Tells whoever watches how far it is and what is waited for, where that is news.
    fn tell(&mut self) {
        let state = self.ledger.state();
        let Some(number) = self.plan.or(state.last_plan()) else {
            return;
        };
        let observed = self.cx.observations.observed();
        let inputs = WaitInputs {
            state,
            plan: self.plan(),
            in_flight: &self.in_flight,
            observed: &observed,
            cache: self.limits.cached(),
            is_planning: self.planning,
            settle: self.cx.job.ledger.settle,
            now: self.cx.now(),
        };
        let waits = inputs.waits();
        let progress = progress(state, number, &observed);
        let watch = &self.cx.notices;
        // First what is waited for: it says whether the provider was asked about all that is open.
        if self.last_told.1 != waits {
            watch.event(&Event::Waiting(waits.clone()));
        }
        if self.last_told.0 != Some(progress) {
            watch.event(&Event::Progress(progress));
        }
        self.last_told = (Some(progress), waits);
    }

    /// Goes on until the goal is reached.
    ///
    /// # Errors
    /// The first error that another try would not mend. It ends the run as an interrupt does: what is
    /// being sent comes to its receipt first. The ledger is whole in any case; what is at the provider
    /// stays there for the next run.
    pub(crate) async fn run(mut self, interrupt: &CancellationToken) -> Result<Stop> {
        self.begin_planning();
        let stop = self.work(interrupt).await;
        let until = interrupt.is_cancelled().then(|| self.cx.now() + GRACE);
        self.finish(is_submit, until, interrupt).await;
        if let Some(until) = until
            && self.limits.cancel_on_interrupt
        {
            self.cancel_all(until, interrupt).await?;
        }
        stop
    }

    /// Asks what is next and does it, until the goal is reached, the run is asked to stop, or something
    /// fails.
    async fn work(&mut self, interrupt: &CancellationToken) -> Result<Stop> {
        loop {
            if interrupt.is_cancelled() {
                return Ok(Stop::Interrupted);
            }
            if let Some(stop) = self.stop() {
                return Ok(stop);
            }
            let mut next = self.next();
            let looks = |step: &Step| {
                use Step::{Poll, Resend, Submit};
                matches!(step, Poll { .. } | Submit { .. } | Resend { .. })
            };
            if next.steps.iter().any(looks) {
                tokio::select! {
                    biased;
                    () = interrupt.cancelled() => continue,
                    taken = self.take_in() => taken?,
                }
                next = self.next();
            }
            for step in &next.steps {
                self.begin(step.clone());
            }
            if self.running.is_empty()
                && let Some(stop) = self.at_rest(&next)?
            {
                return Ok(stop);
            }
            self.tell();
            self.wait(next.wake, interrupt.cancelled()).await?;
        }
    }

    /// Takes in what others have written: whoever asks for a cancel needs no lease. It is looked for
    /// before anything is sent, and with each look at a batch; where the ledger is away, with the next.
    async fn take_in(&mut self) -> Result<()> {
        match self.ledger.catch_up().await {
            Err(error) if error.kind() == ErrorKind::Unavailable => {
                let what = "the ledger was not read for what others ask";
                self.cx
                    .notices
                    .warn_seldom(what, &format!("{what}: {error}"));
                Ok(())
            }
            done => done,
        }
    }

    /// Begins nothing more, and lets the steps of a kind come to their ends: until a moment, if one is
    /// given, or for so long after the run was asked to stop meanwhile. What fails while this lasts is
    /// for the log alone: why the run ends is known already.
    async fn finish(
        &mut self,
        kind: impl Fn(&Step) -> bool,
        mut until: Option<Time>,
        interrupt: &CancellationToken,
    ) {
        let clock = Arc::clone(&self.cx.components.clock);
        while self.in_flight.busy.iter().any(&kind) && !self.running.is_empty() {
            if interrupt.is_cancelled() && until.is_none() {
                until = Some(clock.now() + GRACE);
            }
            if until.is_some_and(|until| clock.now() >= until) {
                return;
            }
            self.tell();
            let is_known = until.is_some();
            let call = async {
                if is_known {
                    future::pending::<()>().await;
                } else {
                    interrupt.cancelled().await;
                }
            };
            if let Err(error) = self.wait(until, call).await {
                warn!(%error, "while the run came to its end");
            }
        }
    }

    /// Asks for every open batch to be canceled, and tells the provider as far as time allows; the
    /// next run goes on with it, and harvests what they finished.
    async fn cancel_all(&mut self, until: Time, interrupt: &CancellationToken) -> Result<()> {
        let open = self.ledger.state().open_attempts();
        let plans: BTreeSet<u64> = open.map(|attempt| attempt.promised.plan).collect();
        let asked = plans.into_iter().map(|plan| Action::CancelAsked { plan });
        let asked: Vec<Action> = asked.collect();
        if !asked.is_empty() {
            self.ledger.record(asked).await?;
        }
        let is_cancel = |step: &Step| matches!(step, Step::Cancel { .. });
        for step in self.next().steps.into_iter().filter(is_cancel) {
            self.begin(step);
        }
        self.finish(is_cancel, Some(until), interrupt).await;
        Ok(())
    }

    fn plan(&self) -> Option<&PlanState> {
        self.plan
            .and_then(|plan| self.ledger.state().plans.get(&plan))
    }

    fn next(&self) -> Next {
        let now = self.cx.now();
        let mut next = next(
            self.ledger.state(),
            self.plan(),
            &self.in_flight,
            &self.limits,
            now,
        );
        next.steps.retain(|step| match step {
            Step::Publish => matches!(self.goal, Goal::Publish | Goal::OnePass),
            _ => true,
        });
        next
    }

    /// A plan that is not completed is worked on by a task of its own.
    fn begin_planning(&mut self) {
        let Some(plan) = self.plan().filter(|plan| plan.completed.is_none()).cloned() else {
            return;
        };
        let (cx, writer) = (Arc::clone(&self.cx), self.writer.clone());
        self.planning = true;
        let state = self.ledger.shared();
        self.running.spawn(async move {
            let work = plan_rows(&cx, &state, plan, &writer);
            let result = Box::pin(unless_it_panics(work))
                .await
                .map(|()| StepResult::Done);
            Ended { step: None, result }
        });
    }

    fn begin(&mut self, step: Step) {
        debug!(?step, "begun");
        self.in_flight.busy.insert(step.clone());
        let (cx, writer) = (Arc::clone(&self.cx), self.writer.clone());
        let (state, plan) = (self.ledger.shared(), self.plan);
        self.running.spawn(async move {
            let work = carry_out(&cx, &step, (&state, plan), &writer);
            let result = Box::pin(unless_it_panics(work)).await;
            Ended {
                step: Some(step),
                result,
            }
        });
    }

    /// Waits for whatever comes first: a call from outside, facts to write, a task's end, or the time
    /// to ask again. What is being written then is written to its end.
    async fn wait(&mut self, wake: Option<Time>, call: impl Future<Output = ()>) -> Result<()> {
        let clock = Arc::clone(&self.cx.components.clock);
        let pause = wake.map_or(Duration::from_hours(1), |at| {
            (at - clock.now()).to_std().unwrap_or_default()
        });
        tokio::select! {
            biased;
            () = call => Ok(()),
            Some(write) = self.writes.recv() => self.write(write).await,
            Some(ended) = self.running.join_next(), if !self.running.is_empty() => {
                let ended = ended.map_err(|error| Error::internal("a task panicked").because(error))?;
                self.end(ended)
            }
            () = clock.sleep(pause) => Ok(()),
        }
    }

    async fn write(&mut self, write: Write) -> Result<()> {
        for action in &write.actions {
            if let Action::Promised(promised) = action {
                // Whoever promised it is at work on it: nobody else is to look for it meanwhile.
                self.in_flight.busy.insert(Step::Recover {
                    attempt: promised.attempt.clone(),
                });
            }
        }
        self.record(write.actions).await?;
        // Nobody waits any more when the task was dropped; the facts are true all the same.
        let _ = write.written.send(());
        Ok(())
    }

    /// Writes facts down. The receipt of a batch is worth more than one try: without it the batch has to
    /// be looked for.
    async fn record(&mut self, actions: Vec<Action>) -> Result<()> {
        let is_receipt = |action: &Action| matches!(action, Action::Accepted(_));
        let tries = if actions.iter().any(is_receipt) {
            RECEIPT_TRIES
        } else {
            1
        };
        for tried in 1.. {
            match self.ledger.record(actions.clone()).await {
                Err(error) if error.kind() == ErrorKind::Unavailable && tried < tries => {
                    warn!(%error, "a receipt was not written down; trying again");
                    let clock = &self.cx.components.clock;
                    clock.sleep(AGAIN.after(tried - 1)).await;
                }
                done => return done,
            }
        }
        Ok(())
    }
}

fn is_submit(step: &Step) -> bool {
    matches!(step, Step::Submit { .. })
}
