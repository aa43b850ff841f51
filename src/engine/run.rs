//! The loop: ask what is next, do it, write down what came of it, ask again.
//!
//! Everything that takes time is a task; the loop owns the ledger and does nothing else than start
//! tasks, write what they tell, and wait. An event is never acted upon as it arrives: it is written
//! down, and `next` is asked what follows.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::future;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::base::{Error, ErrorKind, Result, Time};
use crate::ledger::action::Action;
use crate::ledger::state::{Phase, PlanState};
use crate::work::progress::{Event, Progress, Waits};

use super::GRACE;
use super::book::Book;
use super::next::{Desk, Next, Pace, Standing, Step, next};
use super::progress::progress;
use super::recover::unsettled;
use super::scribe::{Entry, Scribe};
use super::submit::After;
use super::tasks::Tasks;
use super::waits::Scene;

/// How far a run goes before it returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Goal {
    /// Until the output is published.
    Publish,
    /// Until everything that may be sent is sent.
    Submit,
    /// Once through everything that is open; the output is published if that completes it.
    OnePass,
    /// Until no batch is open any more. Nothing is sent.
    Harvest,
}

/// Where a run stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// The output shows the plan.
    Published,
    /// The source is not what was planned any more: the rows must be looked at again.
    SourceChanged,
    /// Work is pending at the provider.
    Pending,
    /// No batch is open.
    Idle,
    /// It was asked to stop.
    Interrupted,
}

/// What a task came back with.
pub(super) struct Ended {
    pub step: Option<Step>,
    pub result: Result<After>,
}

/// Steps that failed because something was away are tried again so many times in a row.
const TRIES_MAX: u32 = 8;

/// One run of the loop.
pub(super) struct Loop<'a> {
    pub book: &'a mut Book,
    pub tasks: Arc<Tasks>,
    pub goal: Goal,
    pub plan: Option<u64>,
    pub pace: Pace,
    desk: Desk,
    running: JoinSet<Ended>,
    planning: bool,
    scribe: Scribe,
    entries: mpsc::Receiver<Entry>,
    tries: BTreeMap<Step, u32>,
    /// Why which chunks wait, as far as it was said.
    told: BTreeSet<(u64, String)>,
    /// How far it is and what it waits for, as that was told last.
    last_told: (Option<Progress>, Waits),
    /// Why a batch is not shown, of the first that is not.
    unseen: Option<Error>,
}

impl<'a> Loop<'a> {
    pub(super) fn new(
        book: &'a mut Book,
        tasks: Arc<Tasks>,
        goal: Goal,
        plan: Option<u64>,
        pace: Pace,
    ) -> Self {
        let (scribe, entries) = Scribe::new();
        Loop {
            book,
            tasks,
            goal,
            plan,
            pace,
            desk: Desk::default(),
            running: JoinSet::new(),
            planning: false,
            scribe,
            entries,
            tries: BTreeMap::new(),
            told: BTreeSet::new(),
            last_told: (None, Waits::default()),
            unseen: None,
        }
    }

    /// Tells whoever watches how far it is and what is waited for, where that is news.
    fn tell(&mut self) {
        let state = self.book.state();
        let last = state.plans.keys().next_back().copied();
        let Some(number) = self.plan.or(last) else {
            return;
        };
        let sight = self.tasks.seen.sight();
        let scene = Scene {
            state,
            plan: self.plan(),
            desk: &self.desk,
            sight: &sight,
            is_planning: self.planning,
            settle: self.tasks.job.ledger.settle,
            now: self.tasks.components.clock.now(),
        };
        let waits = scene.waits();
        let progress = progress(state, number, &sight);
        let watch = &self.tasks.watch;
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
    /// The first error that another try would not mend. The ledger is whole in any case; what is at
    /// the provider stays there for the next run.
    pub(super) async fn run(mut self, interrupt: &CancellationToken) -> Result<Stop> {
        self.begin_planning();
        loop {
            if interrupt.is_cancelled() {
                return self.wind_up().await;
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

    /// Begins nothing more, and lets what is being sent come to its receipt. Open batches go on at
    /// the provider, unless they are to be canceled.
    async fn wind_up(mut self) -> Result<Stop> {
        let until = self.tasks.components.clock.now() + GRACE;
        self.finish(|step| matches!(step, Step::Submit { .. }), until)
            .await?;
        if self.pace.cancel_on_interrupt {
            self.cancel_all(until).await?;
        }
        Ok(Stop::Interrupted)
    }

    /// Takes in what others have written: whoever asks for a cancel needs no lease. It is looked for
    /// before anything is sent, and with each look at a batch; where the ledger is away, with the next.
    async fn take_in(&mut self) -> Result<()> {
        match self.book.catch_up().await {
            Err(error) if error.kind() == ErrorKind::Unavailable => {
                warn!(%error, "the ledger was not read for what others ask");
                Ok(())
            }
            done => done,
        }
    }

    /// Waits for the steps of a kind, until a moment.
    async fn finish(&mut self, kind: impl Fn(&Step) -> bool, until: Time) -> Result<()> {
        let clock = Arc::clone(&self.tasks.components.clock);
        while self.desk.busy.iter().any(&kind) && clock.now() < until {
            self.wait(Some(until), future::pending()).await?;
        }
        Ok(())
    }

    /// Asks for every open batch to be canceled, and tells the provider as far as time allows; the
    /// next run goes on with it, and harvests what they finished.
    async fn cancel_all(&mut self, until: Time) -> Result<()> {
        let open = self.book.state().open_attempts();
        let plans: BTreeSet<u64> = open.map(|attempt| attempt.promised.plan).collect();
        let asked = plans.into_iter().map(|plan| Action::CancelAsked { plan });
        let asked: Vec<Action> = asked.collect();
        if !asked.is_empty() {
            self.book.record(asked).await?;
        }
        let is_cancel = |step: &Step| matches!(step, Step::Cancel { .. });
        for step in self.next().steps.into_iter().filter(is_cancel) {
            self.begin(step);
        }
        self.finish(is_cancel, until).await
    }

    fn plan(&self) -> Option<&PlanState> {
        self.plan
            .and_then(|plan| self.book.state().plans.get(&plan))
    }

    fn next(&self) -> Next {
        let now = self.tasks.components.clock.now();
        let mut next = next(self.book.state(), self.plan(), &self.desk, &self.pace, now);
        next.steps.retain(|step| match step {
            Step::Publish => matches!(self.goal, Goal::Publish | Goal::OnePass),
            _ => true,
        });
        next
    }

    /// A plan that is not sealed is worked on by a task of its own.
    fn begin_planning(&mut self) {
        let Some(plan) = self.plan().filter(|plan| plan.sealed.is_none()).cloned() else {
            return;
        };
        let (tasks, scribe) = (Arc::clone(&self.tasks), self.scribe.clone());
        self.planning = true;
        let state = self.book.shared();
        self.running.spawn(async move {
            let result = tasks
                .plan(&state, plan, &scribe)
                .await
                .map(|()| After::Done);
            Ended { step: None, result }
        });
    }

    fn begin(&mut self, step: Step) {
        debug!(?step, "begun");
        self.desk.busy.insert(step.clone());
        let (tasks, scribe) = (Arc::clone(&self.tasks), self.scribe.clone());
        let (state, plan) = (self.book.shared(), self.plan);
        self.running.spawn(async move {
            let result = tasks.carry_out(&step, &state, plan, &scribe).await;
            Ended {
                step: Some(step),
                result,
            }
        });
    }

    /// Waits for whatever comes first: a call from outside, facts to write, a task's end, or the time
    /// to ask again. What is being written then is written to its end.
    async fn wait(&mut self, wake: Option<Time>, call: impl Future<Output = ()>) -> Result<()> {
        let clock = Arc::clone(&self.tasks.components.clock);
        let pause = wake.map_or(Duration::from_hours(1), |at| {
            (at - clock.now()).to_std().unwrap_or_default()
        });
        tokio::select! {
            biased;
            () = call => Ok(()),
            Some(entry) = self.entries.recv() => self.write(entry).await,
            Some(ended) = self.running.join_next(), if !self.running.is_empty() => {
                let ended = ended.map_err(|error| Error::internal("a task panicked").because(error))?;
                self.end(ended)
            }
            () = clock.sleep(pause) => Ok(()),
        }
    }

    async fn write(&mut self, entry: Entry) -> Result<()> {
        for action in &entry.actions {
            if let Action::Promised(promised) = action {
                // Whoever promised it is at work on it: nobody else is to look for it meanwhile.
                self.desk.busy.insert(Step::Recover {
                    attempt: promised.attempt.clone(),
                });
            }
        }
        self.book.record(entry.actions).await?;
        // Nobody waits any more when the task was dropped; the facts are true all the same.
        let _ = entry.written.send(());
        Ok(())
    }

    fn end(&mut self, ended: Ended) -> Result<()> {
        let Some(step) = ended.step else {
            self.planning = false;
            return ended.result.map(|_| ());
        };
        debug!(?step, result = ?ended.result, "ended");
        self.desk.busy.remove(&step);
        if let Step::Submit { chunk } = &step {
            self.release(*chunk);
        }
        match ended.result {
            Ok(After::Done | After::Lost) => {
                self.tries.remove(&step);
                self.desk.not_before.remove(&step);
            }
            Ok(After::NotBefore(at)) => {
                self.tries.remove(&step);
                self.desk.not_before.insert(step, at);
            }
            Ok(After::Later(at, why)) => {
                self.tries.remove(&step);
                self.say_once(&step, &why);
                self.desk.not_before.insert(step, at);
            }
            Ok(After::SendAgain(plan, chunk, at)) => {
                self.tries.remove(&step);
                if self.plan == Some(plan) {
                    self.desk.not_before.insert(Step::Submit { chunk }, at);
                }
            }
            Ok(After::TooLarge(chunk)) => {
                self.desk.too_large.insert(chunk);
            }
            Ok(After::GivenUp) => {
                self.desk.given_up.insert(step);
            }
            Err(error) if matches!(step, Step::Discard { .. }) => {
                self.tasks
                    .warn(&format!("an uploaded file stays at the provider: {error}"));
                self.desk.given_up.insert(step);
            }
            Err(error) if matches!(step, Step::Recheck { .. }) => {
                let what = "whether a chunk was taken twice could not be looked up";
                self.tasks.warn(&format!("{what}: {error}"));
                self.desk.given_up.insert(step);
            }
            Err(error) if error.kind() == ErrorKind::Refused && self.looked_in_vain(&step) => {
                self.unseen.get_or_insert(error);
                self.desk.given_up.insert(step);
            }
            Err(error) if error.kind() == ErrorKind::Unavailable => self.again(step, error)?,
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Whether `step` is a look at a batch of which nothing more is known than before.
    fn looked_in_vain(&self, step: &Step) -> bool {
        let Step::Poll { attempt } = step else {
            return false;
        };
        let attempt = self.book.state().attempts.get(attempt);
        attempt.is_some_and(|attempt| attempt.phase == Phase::Accepted)
    }

    /// Says why a step waits, the first time that it does so for this reason. Not to whoever asked for
    /// a stop, and keeps it from being sent.
    fn say_once(&mut self, step: &Step, why: &str) {
        let Step::Submit { chunk } = step else {
            return;
        };
        if !self.tasks.interrupt.is_cancelled() && self.told.insert((*chunk, why.to_owned())) {
            self.tasks.warn(&format!("chunk {chunk} waits: {why}"));
        }
    }

    /// The promised attempts of a chunk are nobody's now: if one is still open, it is looked for.
    fn release(&mut self, chunk: u64) {
        let attempts = self.book.state().attempts.values();
        for attempt in attempts.filter(|a| Some(a.promised.plan) == self.plan) {
            if attempt.promised.chunk == chunk {
                let attempt = attempt.promised.attempt.clone();
                self.desk.busy.remove(&Step::Recover { attempt });
            }
        }
    }

    /// Something was away: the same again, later and later, but not for ever.
    fn again(&mut self, step: Step, error: Error) -> Result<()> {
        let tries = self.tries.entry(step.clone()).or_default();
        *tries += 1;
        if *tries >= TRIES_MAX {
            return Err(error);
        }
        let wait = Duration::from_secs(1 << (*tries).min(6));
        let hint = error.hint_text().map(|hint| format!(" ({hint})"));
        let hint = hint.unwrap_or_default();
        self.tasks.warn(&format!(
            "{error}{hint}; trying again in {} s",
            wait.as_secs()
        ));
        let at = self.tasks.components.clock.now() + self.tasks.components.ids.jitter(wait);
        self.desk.not_before.insert(step, at);
        Ok(())
    }

    /// Whether the goal is reached already.
    fn stop(&self) -> Option<Stop> {
        if self.tasks.source_changed() {
            return Some(Stop::SourceChanged);
        }
        let published = self
            .plan()
            .is_some_and(|plan| self.tasks.is_published(self.book.state(), plan));
        if published && !self.planning && matches!(self.goal, Goal::Publish | Goal::OnePass) {
            return Some(Stop::Published);
        }
        None
    }

    /// Nothing is being done: waiting is all that is left, or the run is over.
    fn at_rest(&mut self, next: &Next) -> Result<Option<Stop>> {
        // What the provider does not show keeps nothing else from being brought home.
        let is_last = next.wake.is_none() || matches!(self.goal, Goal::Submit | Goal::OnePass);
        if let Some(error) = self.unseen.take_if(|_| is_last) {
            return Err(error);
        }
        let open = self.book.state().open_attempts().next().is_some();
        match &next.standing {
            Standing::TrialFailed { attempt } => {
                return Err(Tasks::trial_failed(self.book.state(), attempt));
            }
            Standing::Refused { attempt } => return Err(refused(attempt)),
            Standing::Unsettled { .. } if self.is_shown_partially() => {
                return Ok(Some(Stop::Published));
            }
            Standing::Unsettled { attempt } => {
                let attempt = self.book.state().attempts.get(attempt);
                return Err(attempt.map_or_else(|| Error::internal("no such attempt"), unsettled));
            }
            _ => {}
        }
        Ok(match self.goal {
            Goal::Harvest if !open => Some(Stop::Idle),
            Goal::Submit | Goal::OnePass => Some(Stop::Pending),
            Goal::Publish if next.standing == Standing::Unsent => Some(Stop::Pending),
            Goal::Publish if !open && next.wake.is_none() => {
                return Err(Error::internal(
                    "nothing is left to do, and the output is not there",
                ));
            }
            Goal::Publish | Goal::Harvest => None,
        })
    }
}

impl Loop<'_> {
    /// Whether the output shows all that can be settled, as a person asked for.
    fn is_shown_partially(&self) -> bool {
        let shown = |plan| self.tasks.is_shown(self.book.state(), plan);
        self.pace.publish_partial && self.plan().is_some_and(shown)
    }
}

fn refused(attempt: &str) -> Error {
    Error::new(ErrorKind::Refused, "the provider refused a chunk for good")
        .with("attempt", attempt)
        .hint("`columnist status` shows what it said; mend that, and change the job or run again")
}
