//! Progress for whoever watches, on standard error: bars on a terminal, plain lines elsewhere,
//! JSON lines where a machine asked for them.
//!
//! Nobody is left without a word: where nothing has been said for a while, it is said how far the job
//! is and what is waited for, at growing intervals. [`ProgressView::tick`] does so, and has to be called
//! every second or so.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::base::backoff::Growing;
use crate::base::{Clock, Time};
use crate::engine::Live;
use crate::work::progress::{Event, Planned, Progress, Waits, Watch};

use crate::cli::display::bars::{Bars, View};
use crate::cli::display::diagnose::Colour;
use crate::cli::display::json;
use crate::cli::display::stderr::Stderr;
use crate::cli::display::words::{self, grouped};

/// How long nothing is said, at first and at most. Twice as long each time while nothing is new.
const QUIET_MIN: Duration = Duration::from_secs(5);
const QUIET_MAX: Duration = Duration::from_mins(5);
const QUIET: Growing = Growing::doubling(QUIET_MIN, QUIET_MAX);
/// When bars are drawn for a job of which nothing is known yet but that it is waited for.
const BARS_AFTER: Duration = Duration::from_secs(1);

/// How progress is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli) enum ProgressStyle {
    /// Bars that move.
    Bars,
    /// Plain lines.
    Lines,
    /// JSON lines, one per event.
    Json,
    /// Warnings alone, in plain lines.
    Quiet,
}

/// Shows what happens.
#[derive(Debug)]
pub(in crate::cli) struct ProgressView {
    clock: Arc<dyn Clock>,
    stderr: Stderr,
    style: ProgressStyle,
    colour: Colour,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    started: Time,
    run: Option<String>,
    progress: Option<Progress>,
    waits: Waits,
    rate: Option<Rate>,
    bars: Option<Bars>,
    is_over: bool,
    silence: Silence,
    /// Whether it was said that rows are planned.
    is_planning: bool,
    /// How far the planning is, where that has not been said yet.
    unsaid: Option<Planned>,
    /// Whether answers have landed since it was last said how far the job is.
    has_landed: bool,
    /// Batches with the status that was said of each.
    told: BTreeMap<String, String>,
}

/// From where it is counted how fast the job goes.
#[derive(Clone, Copy, Debug)]
struct Rate {
    finished: u64,
    since: Time,
    /// Whether all that was done before is in it: each open batch has been looked at.
    is_whole: bool,
}

/// Since when nothing was said, and how long that may last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Silence {
    since: Time,
    may_last: Duration,
}

impl Silence {
    fn begin(now: Time) -> Silence {
        Silence {
            since: now,
            may_last: QUIET.first(),
        }
    }

    /// Whether something has to be said now.
    fn is_over(&self, now: Time) -> bool {
        (now - self.since).to_std().unwrap_or_default() >= self.may_last
    }

    /// The next one, where nothing but the old was said in this one.
    fn longer(&self, now: Time) -> Silence {
        Silence {
            since: now,
            may_last: QUIET.next(self.may_last),
        }
    }
}

impl State {
    fn take(&mut self, progress: Progress, now: Time) {
        let finished = progress.finished();
        let is_whole = self.waits.looks.values().all(|look| look.done.is_some());
        let rate = self.rate.filter(|rate| rate.is_whole);
        self.rate = Some(rate.unwrap_or(Rate {
            finished,
            since: now,
            is_whole: is_whole && progress.unplanned() == 0,
        }));
        self.progress = Some(progress);
    }

    fn time_left(&self, now: Time) -> Option<Duration> {
        let rate = self.rate.filter(|rate| rate.is_whole);
        let (progress, rate) = self.progress.as_ref().zip(rate)?;
        progress.time_left(rate.finished, since(rate.since, now))
    }

    /// How far the job is, in one line.
    fn so_far(&self, now: Time) -> Option<String> {
        let progress = self.progress.as_ref()?;
        Some(format!(
            "{}: {}; {}; {}",
            words::done(progress),
            words::states(progress),
            words::spent(&progress.usage, progress.cost_micros),
            words::times(since(self.started, now), self.time_left(now))
        ))
    }
}

fn since(start: Time, now: Time) -> Duration {
    (now - start).to_std().unwrap_or_default()
}

impl ProgressView {
    /// A view that shows progress in `style` on `stderr`.
    #[must_use]
    pub(in crate::cli) fn new(
        clock: Arc<dyn Clock>,
        stderr: Stderr,
        style: ProgressStyle,
        colour: Colour,
    ) -> Self {
        let now = clock.now();
        let state = State {
            started: now,
            run: None,
            progress: None,
            waits: Waits::default(),
            rate: None,
            bars: None,
            is_over: false,
            silence: Silence::begin(now),
            is_planning: false,
            unsaid: None,
            has_landed: false,
            told: BTreeMap::new(),
        };
        ProgressView {
            clock,
            stderr,
            style,
            colour,
            state: Mutex::new(state),
        }
    }

    /// Says a sentence that is no event of a run.
    pub(in crate::cli) fn say(&self, sentence: &str) {
        match self.style {
            ProgressStyle::Json => self
                .stderr
                .line(&json::note_line(self.clock.now(), sentence)),
            ProgressStyle::Quiet => {}
            ProgressStyle::Lines | ProgressStyle::Bars => self.stderr.line(sentence),
        }
    }

    /// What is known of the job beside the ledger, for others to read.
    pub(in crate::cli) fn live(&self) -> Option<Live> {
        let state = self.lock();
        let run = state
            .run
            .clone()
            .filter(|_| !state.waits.looks.is_empty())?;
        let left = state.time_left(self.clock.now());
        Some(Live {
            run,
            since: state.started,
            seconds_left: left.map(|left| left.as_secs()),
            waits: state.waits.clone(),
        })
    }

    /// How long it has been watched.
    pub(in crate::cli) fn elapsed(&self) -> Duration {
        since(self.lock().started, self.clock.now())
    }

    /// Lets time show: on bars, and by a word where nothing has been said for a while.
    pub(in crate::cli) fn tick(&self) {
        let now = self.clock.now();
        let mut state = self.lock();
        match self.style {
            ProgressStyle::Bars => self.draw(&mut state, now),
            ProgressStyle::Quiet => {}
            ProgressStyle::Lines | ProgressStyle::Json if !state.silence.is_over(now) => {}
            ProgressStyle::Lines | ProgressStyle::Json => {
                self.say_so_far(&state, now);
                state.silence = state.silence.longer(now);
            }
        }
    }

    /// Takes the bars away and shuts standard error: nothing is shown any more.
    pub(in crate::cli) fn finish(&self) {
        let mut state = self.lock();
        self.stderr.above(None);
        if let Some(bars) = state.bars.take() {
            bars.clear();
        }
        state.is_over = true;
        self.stderr.shut();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Draws the bars, once there is something to show.
    fn draw(&self, state: &mut State, now: Time) {
        let elapsed = since(state.started, now);
        let is_soon = state.progress.is_none() && elapsed < BARS_AFTER;
        if state.is_over || is_soon {
            return;
        }
        let (progress, left) = (state.progress, state.time_left(now));
        let bars = state.bars.get_or_insert_with(|| {
            let bars = Bars::new();
            self.stderr.above(Some(bars.all()));
            bars
        });
        bars.show(&View {
            progress: progress.as_ref(),
            waits: &state.waits,
            elapsed,
            left,
            now,
        });
    }

    /// Says how far it is and what is waited for, though neither is new.
    fn say_so_far(&self, state: &State, now: Time) {
        if self.style == ProgressStyle::Json {
            if let Some(progress) = &state.progress {
                let event = Event::Progress(*progress);
                self.stderr.line(&json::event_line(now, &event));
            }
            let event = Event::Waiting(state.waits.clone());
            return self.stderr.line(&json::event_line(now, &event));
        }
        if let Some(so_far) = state.so_far(now) {
            self.stderr.line(&so_far);
        }
        if !state.waits.waits.is_empty() {
            self.stderr.line(&words::waiting(&state.waits, now));
        }
    }

    /// Tells `event`, and with it whatever it follows from.
    fn tell(&self, state: &mut State, event: &Event, now: Time) {
        if let Some(unsaid) = state.unsaid.take() {
            self.tell_one(&Event::Planned(unsaid), state, now);
        }
        self.tell_one(event, state, now);
        state.silence = Silence::begin(now);
    }

    fn tell_one(&self, event: &Event, state: &State, now: Time) {
        match self.style {
            ProgressStyle::Json => self.stderr.line(&json::event_line(now, event)),
            _ => self.stderr.line(&self.sentence(event, state, now)),
        }
    }

    /// `event` in words.
    fn sentence(&self, event: &Event, state: &State, now: Time) -> String {
        match event {
            Event::Planned(planned) => format!(
                "{} rows planned, {} requests to send",
                grouped(planned.rows()),
                grouped(planned.requests)
            ),
            Event::Submitted { chunk, requests } => {
                format!("chunk {chunk} submitted, {} requests", grouped(*requests))
            }
            Event::Polled {
                batch,
                status,
                done,
                total,
            } => format!(
                "batch {batch}: {status}, {} of {} requests",
                grouped(*done),
                grouped(*total)
            ),
            Event::Landed {
                batch,
                requests,
                counts,
            } => {
                let failed = match counts.failed() {
                    0 => String::new(),
                    failed => format!(", {} of them failed", grouped(failed)),
                };
                format!(
                    "{} answers landed of batch {batch}{failed}",
                    grouped(*requests)
                )
            }
            Event::Progress(_) => state.so_far(now).unwrap_or_default(),
            Event::Waiting(waits) => words::waiting(waits, now),
            Event::Opened { run } => format!("run {run}"),
            Event::Published { output } => format!("published {output}"),
            Event::Warning(text) => format!("{} {text}", self.colour.yellow("warning:")),
        }
    }

    /// Whether `event` is told as it comes; else it is told of when there is nothing else to tell.
    fn is_news(&self, state: &mut State, event: &Event, now: Time) -> bool {
        match event {
            Event::Planned(planned) => {
                let is_due = !state.is_planning || state.silence.is_over(now);
                state.is_planning = true;
                state.unsaid = Some(*planned).filter(|_| !is_due);
                is_due
            }
            Event::Polled { batch, status, .. } => {
                let before = state.told.insert(batch.clone(), status.clone());
                before.as_ref() != Some(status)
            }
            Event::Progress(progress) => {
                let rows = progress.by_row();
                let is_done = rows.settled() == progress.rows;
                let is_due = state.has_landed && (is_done || state.silence.is_over(now));
                state.has_landed &= !is_due;
                is_due
            }
            Event::Landed { batch, .. } => {
                state.told.remove(batch);
                state.has_landed = true;
                true
            }
            Event::Opened { .. } => self.style == ProgressStyle::Json,
            Event::Waiting(_) => false,
            Event::Submitted { .. } | Event::Published { .. } | Event::Warning(_) => true,
        }
    }
}

impl Watch for ProgressView {
    fn event(&self, event: &Event) {
        let now = self.clock.now();
        let mut state = self.lock();
        match event {
            Event::Opened { run } => state.run = Some(run.clone()),
            Event::Progress(progress) => state.take(*progress, now),
            Event::Waiting(waits) => state.waits.clone_from(waits),
            Event::Planned(planned) => {
                if let Some(progress) = &mut state.progress {
                    progress.planned = *planned;
                }
            }
            _ => {}
        }
        match (self.style, event) {
            (ProgressStyle::Bars, Event::Published { .. })
            | (ProgressStyle::Bars | ProgressStyle::Quiet, Event::Warning(_)) => {
                self.stderr.line(&self.sentence(event, &state, now));
            }
            (ProgressStyle::Bars, _) => self.draw(&mut state, now),
            (ProgressStyle::Quiet, _) => {}
            (ProgressStyle::Lines | ProgressStyle::Json, _) => {
                if self.is_news(&mut state, event, now) {
                    self.tell(&mut state, event, now);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{self, Write};

    use super::*;
    use crate::work::progress::{Look, Then, Wait};
    use crate::work::{RowStatus, StatusCounts};

    /// A clock that goes when it is told to.
    #[derive(Clone, Debug)]
    struct HandClock(Arc<Mutex<Time>>);

    impl HandClock {
        fn advance(&self, by: Duration) {
            *self.0.lock().unwrap() += by;
        }
    }

    impl Clock for HandClock {
        fn now(&self) -> Time {
            *self.0.lock().unwrap()
        }

        fn sleep(&self, duration: Duration) -> futures::future::BoxFuture<'static, ()> {
            self.advance(duration);
            Box::pin(async {})
        }
    }

    #[derive(Clone, Default)]
    struct Paper(Arc<Mutex<Vec<u8>>>);

    impl Write for Paper {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Paper {
        fn lines(&self) -> Vec<String> {
            let text = String::from_utf8(self.0.lock().unwrap().clone()).expect("UTF-8");
            text.lines().map(str::to_owned).collect()
        }
    }

    fn view(style: ProgressStyle) -> (ProgressView, Paper, HandClock) {
        let origin = chrono::DateTime::from_timestamp(1_800_000_000, 0).expect("in range");
        let clock = HandClock(Arc::new(Mutex::new(origin)));
        let paper = Paper::default();
        let stderr = Stderr::to(paper.clone());
        (
            ProgressView::new(Arc::new(clock.clone()), stderr, style, Colour::Never),
            paper,
            clock,
        )
    }

    fn polled(status: &str, done: u64) -> Event {
        Event::Polled {
            batch: "b1".into(),
            status: status.into(),
            done,
            total: 2_000,
        }
    }

    fn planned(requests: u64, skipped: u64) -> Planned {
        Planned {
            requests,
            skipped,
            ..Planned::default()
        }
    }

    /// A plan of 50 requests, of which so many succeeded.
    fn progress(succeeded: u64) -> Progress {
        Progress {
            rows: 100,
            planned: planned(50, 50),
            sent: 50 - succeeded,
            succeeded,
            cost_micros: Some(0),
            ..Progress::default()
        }
    }

    fn waiting(what: &str) -> Event {
        Event::Waiting(Wait::of(what).into())
    }

    fn landed(requests: u64) -> Event {
        let mut counts = StatusCounts::default();
        counts.add(RowStatus::Succeeded, requests - 5);
        counts.add(RowStatus::Failed, 3);
        counts.add(RowStatus::Skipped, 2);
        Event::Landed {
            batch: "b1".into(),
            requests,
            counts,
        }
    }

    #[test]
    fn plain_lines_tell_news_at_once_and_the_rest_when_there_is_nothing_else() {
        let (view, paper, _) = view(ProgressStyle::Lines);
        for rows in 1..=100 {
            let requests = rows / 2;
            view.event(&Event::Planned(planned(requests, rows - requests)));
        }
        view.event(&Event::Submitted {
            chunk: 0,
            requests: 50,
        });
        for done in 0..1_000 {
            view.event(&polled("in progress", done));
        }
        view.event(&polled("completed", 2_000));
        view.event(&landed(2_000));
        view.event(&Event::Progress(progress(50)));
        assert_eq!(
            paper.lines(),
            [
                "1 rows planned, 0 requests to send",
                "100 rows planned, 50 requests to send",
                "chunk 0 submitted, 50 requests",
                "batch b1: in progress, 0 of 2,000 requests",
                "batch b1: completed, 2,000 of 2,000 requests",
                "2,000 answers landed of batch b1, 3 of them failed",
                "100 of 100 rows done: 50 answered, 50 skipped; 0 tokens in, 0 out, $0.00; 0s so far",
            ]
        );
    }

    #[test]
    fn a_wait_is_never_silent_and_is_told_at_growing_intervals() {
        for style in [ProgressStyle::Lines, ProgressStyle::Json] {
            let (view, paper, clock) = view(style);
            view.event(&waiting("the lease"));
            let mut told = Vec::new();
            for second in 1..=3_600 {
                clock.advance(Duration::from_secs(1));
                view.tick();
                if paper.lines().len() > told.len() {
                    told.push(second);
                }
            }
            assert_eq!(
                told,
                [
                    5, 15, 35, 75, 155, 315, 615, 915, 1215, 1515, 1815, 2115, 2415, 2715, 3015,
                    3315
                ],
                "{style:?}"
            );
            assert!(paper.lines()[0].contains("the lease"), "{style:?}");
            // What is new is told at once, and after it the wait is short again.
            view.event(&Event::Warning("mind".into()));
            clock.advance(QUIET_MIN);
            view.tick();
            assert_eq!(paper.lines().len(), told.len() + 2, "{style:?}");
        }
    }

    #[test]
    fn a_silence_is_ended_by_how_far_it_is_and_by_what_is_waited_for() {
        let (view, paper, clock) = view(ProgressStyle::Lines);
        let when = clock.now() + Duration::from_secs(71);
        let wait = Wait::of("word whether the provider took chunk 3 (9 requests)");
        view.event(&Event::Progress(progress(25)));
        view.event(&Event::Waiting(wait.until(Some(when), Then::End).into()));
        clock.advance(QUIET_MIN);
        view.event(&Event::Progress(progress(30)));
        view.tick();
        assert_eq!(
            paper.lines(),
            [
                "80 of 100 rows done: 30 answered, 50 skipped, 20 at the provider; \
                 0 tokens in, 0 out, $0.00; 5s so far, about 20s left",
                "waiting for word whether the provider took chunk 3 (9 requests), until 08:01:11Z (in 1m 6s)",
            ]
        );
    }

    #[test]
    fn what_was_done_before_says_nothing_of_how_fast_it_goes() {
        let (view, _, clock) = view(ProgressStyle::Lines);
        let look = |done| {
            Event::Waiting(Waits {
                waits: Vec::new(),
                looks: [("a".to_owned(), Look { done, next: None })].into(),
            })
        };
        view.event(&look(None));
        view.event(&Event::Progress(progress(0)));
        clock.advance(Duration::from_secs(10));
        // The first look shows what the batch did while nobody watched.
        view.event(&look(Some(40)));
        let done = |done| {
            Event::Progress(Progress {
                done,
                ..progress(0)
            })
        };
        view.event(&done(40));
        assert_eq!(view.lock().time_left(clock.now()), None);
        clock.advance(Duration::from_secs(10));
        view.event(&done(45));
        let left = view.lock().time_left(clock.now());
        assert_eq!(left, Some(Duration::from_secs(10)));
    }

    #[test]
    fn nothing_follows_the_end() {
        for style in [
            ProgressStyle::Lines,
            ProgressStyle::Json,
            ProgressStyle::Quiet,
            ProgressStyle::Bars,
        ] {
            let (view, paper, clock) = view(style);
            view.event(&waiting("the end"));
            view.finish();
            view.event(&Event::Warning("late".into()));
            clock.advance(QUIET_MAX);
            view.tick();
            view.say("late");
            assert_eq!(paper.lines(), Vec::<String>::new(), "{style:?}");
        }
    }

    #[test]
    fn quiet_tells_warnings_alone() {
        let (view, paper, clock) = view(ProgressStyle::Quiet);
        view.event(&Event::Opened { run: "r".into() });
        view.event(&Event::Warning("w".into()));
        view.event(&Event::Progress(progress(1)));
        clock.advance(QUIET_MAX);
        view.tick();
        assert_eq!(paper.lines(), ["warning: w"]);
    }

    #[test]
    fn json_tells_news_with_the_last_count_before_it() {
        let (view, paper, _) = view(ProgressStyle::Json);
        for rows in 1..=3 {
            view.event(&Event::Planned(planned(0, rows)));
        }
        view.event(&landed(10));
        view.event(&Event::Progress(progress(50)));
        let lines = paper.lines();
        let values: Vec<serde_json::Value> = lines
            .iter()
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect();
        let told: Vec<_> = values
            .iter()
            .map(|value| (value["event"].as_str().expect("a word"), &value["rows"]))
            .collect();
        assert_eq!(
            told,
            [
                ("planned", &1.into()),
                ("planned", &3.into()),
                ("landed", &serde_json::Value::Null),
                ("progress", &100.into()),
            ]
        );
        assert_eq!(values[3]["by_state"]["succeeded"], 50);
        assert_eq!(values[3]["by_state"]["skipped"], 50);
    }
}
