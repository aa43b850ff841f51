//! Progress for whoever watches, on standard error: bars on a terminal, plain lines elsewhere,
//! JSON lines where a machine asked for them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::base::{Clock, Time};
use crate::work::RowStatus;
use crate::work::progress::{Event, Watch};

use super::diagnose::Colour;
use super::json;
use super::outlet::Outlet;

/// Two plain lines that say no more than "still at it" are at least so far apart.
const LINE_GAP: Duration = Duration::from_secs(5);

/// How progress is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Face {
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
pub(super) struct Screen {
    clock: Arc<dyn Clock>,
    outlet: Outlet,
    face: Face,
    colour: Colour,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    tally: Tally,
    bars: Option<Bars>,
    last_line: Option<Time>,
    /// How far the plan is, where that has not been said yet.
    unsaid: Option<String>,
}

/// What the events sum to.
#[derive(Debug, Default)]
struct Tally {
    rows: u64,
    requests: u64,
    submitted: u64,
    landed: u64,
    failed: u64,
    /// Batches that have not landed, each with where it stands and how many requests are done.
    running: BTreeMap<String, (String, u64)>,
}

impl Screen {
    /// A screen that shows `face` on `outlet`.
    #[must_use]
    pub(super) fn new(clock: Arc<dyn Clock>, outlet: Outlet, face: Face, colour: Colour) -> Self {
        let state = State {
            tally: Tally::default(),
            bars: (face == Face::Bars).then(Bars::new),
            last_line: None,
            unsaid: None,
        };
        Screen {
            clock,
            outlet,
            face,
            colour,
            state: Mutex::new(state),
        }
    }

    /// Says a sentence that is no event of a run.
    pub(super) fn say(&self, sentence: &str) {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match (self.face, &state.bars) {
            (Face::Bars, Some(bars)) => bars.say(sentence),
            (Face::Json, _) => self
                .outlet
                .line(&json::note_line(self.clock.now(), sentence)),
            (Face::Quiet, _) => {}
            _ => self.outlet.line(sentence),
        }
    }

    /// Takes the bars away and shuts the outlet: nothing is shown any more.
    pub(super) fn finish(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bars) = state.bars.take() {
            bars.clear();
        }
        self.outlet.shut();
    }

    fn show_bars(&self, bars: &Bars, tally: &Tally, event: &Event) {
        match event {
            Event::Warning(_) | Event::Published { .. } => {
                bars.say(&self.sentence(event, tally));
            }
            _ => bars.update(tally),
        }
    }

    fn show_line(&self, state: &mut State, news: bool, event: &Event) {
        let now = self.clock.now();
        let recent = state
            .last_line
            .is_some_and(|last| (now - last).to_std().unwrap_or_default() < LINE_GAP);
        let sentence = self.sentence(event, &state.tally);
        if news || !recent {
            // The last word on the plan comes before whatever follows from it.
            if let Some(unsaid) = state.unsaid.take().filter(|_| news) {
                self.outlet.line(&unsaid);
            }
            state.last_line = Some(now);
            self.outlet.line(&sentence);
        } else if let Event::Planned { .. } = event {
            state.unsaid = Some(sentence);
        }
    }

    /// `event` in words.
    fn sentence(&self, event: &Event, tally: &Tally) -> String {
        match event {
            Event::Opened { run } => format!("run {run}"),
            Event::Planned { rows, requests } => format!(
                "{} rows planned, {} requests to send",
                grouped(*rows),
                grouped(*requests)
            ),
            Event::Submitted { chunk } => format!(
                "chunk {chunk} submitted, {} so far",
                grouped(tally.submitted)
            ),
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
                requests, counts, ..
            } => {
                let failed = match failures(counts) {
                    0 => String::new(),
                    failed => format!(", {} of them failed", grouped(failed)),
                };
                format!(
                    "{} answers landed{failed}; {} of {}",
                    grouped(*requests),
                    grouped(tally.landed),
                    grouped(tally.requests.max(tally.landed))
                )
            }
            Event::Published { output } => format!("published {output}"),
            Event::Warning(text) => format!("{} {text}", self.colour.yellow("warning:")),
        }
    }
}

impl Watch for Screen {
    fn event(&self, event: &Event) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let news = state.tally.count(event);
        match self.face {
            Face::Bars => {
                if let Some(bars) = &state.bars {
                    self.show_bars(bars, &state.tally, event);
                }
            }
            Face::Lines => self.show_line(&mut state, news, event),
            Face::Json => self.outlet.line(&json::event_line(self.clock.now(), event)),
            Face::Quiet => {
                if let Event::Warning(_) = event {
                    self.outlet.line(&self.sentence(event, &state.tally));
                }
            }
        }
    }
}

impl Tally {
    /// Counts `event`; says whether it is news, and not only progress.
    fn count(&mut self, event: &Event) -> bool {
        match event {
            Event::Planned { rows, requests } => {
                (self.rows, self.requests) = (*rows, *requests);
                return false;
            }
            Event::Polled {
                batch,
                status,
                done,
                ..
            } => {
                let now = (status.clone(), *done);
                let before = self.running.insert(batch.clone(), now);
                return before.is_none_or(|(before, _)| before != *status);
            }
            Event::Submitted { .. } => self.submitted += 1,
            Event::Landed {
                batch,
                requests,
                counts,
            } => {
                self.landed += requests;
                self.failed += failures(counts);
                self.running.remove(batch);
            }
            Event::Opened { .. } | Event::Published { .. } | Event::Warning(_) => {}
        }
        true
    }

    /// Requests that the provider says are done, in batches that have not landed.
    fn done(&self) -> u64 {
        self.running.values().map(|(_, done)| done).sum()
    }
}

/// Requests that ended in a failure.
fn failures(counts: &BTreeMap<String, u64>) -> u64 {
    counts
        .iter()
        .filter(|(word, _)| word.parse().is_ok_and(RowStatus::is_failure))
        .map(|(_, count)| count)
        .sum()
}

/// The bars of a terminal. They draw themselves, and no more than twenty times a second.
#[derive(Debug)]
struct Bars {
    all: MultiProgress,
    planned: ProgressBar,
    answered: ProgressBar,
    landed: ProgressBar,
}

impl Bars {
    fn new() -> Self {
        let all = MultiProgress::with_draw_target(ProgressDrawTarget::stderr());
        let style = |template: &str| {
            ProgressStyle::with_template(template)
                .unwrap_or_else(|_| ProgressStyle::default_bar())
                .progress_chars("=> ")
        };
        let line = style("{prefix:>8} {human_pos} {msg}");
        let bar = style("{prefix:>8} [{bar:32}] {human_pos}/{human_len} {msg}");
        let add = |prefix: &'static str, style: &ProgressStyle| {
            let bar = ProgressBar::new(0).with_style(style.clone());
            all.add(bar.with_prefix(prefix))
        };
        Bars {
            planned: add("planned", &line),
            answered: add("answered", &bar),
            landed: add("landed", &bar),
            all,
        }
    }

    fn update(&self, tally: &Tally) {
        let batches = grouped(tally.submitted);
        self.planned.set_position(tally.rows);
        self.planned
            .set_message(format!("rows, {batches} chunks submitted"));
        let set = |bar: &ProgressBar, position: u64, message: String| {
            bar.set_length(tally.requests.max(position));
            bar.set_position(position);
            bar.set_message(message);
        };
        let running = grouped(tally.running.len() as u64);
        let answered = tally.landed + tally.done();
        set(
            &self.answered,
            answered,
            format!("requests, {running} batches running"),
        );
        let failed = grouped(tally.failed);
        set(
            &self.landed,
            tally.landed,
            format!("requests, {failed} failed"),
        );
    }

    fn say(&self, text: &str) {
        let _ = self.all.println(text);
    }

    fn clear(&self) {
        for bar in [&self.planned, &self.answered, &self.landed] {
            bar.finish_and_clear();
        }
        let _ = self.all.clear();
        self.all.set_draw_target(ProgressDrawTarget::hidden());
    }
}

/// `1234567` as `1,234,567`.
#[must_use]
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use std::io::{self, Write};

    use super::*;

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

    fn screen(face: Face) -> (Screen, Paper, HandClock) {
        let origin = chrono::DateTime::from_timestamp(1_800_000_000, 0).expect("in range");
        let clock = HandClock(Arc::new(Mutex::new(origin)));
        let paper = Paper::default();
        let outlet = Outlet::to(paper.clone());
        (
            Screen::new(Arc::new(clock.clone()), outlet, face, Colour::Never),
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

    #[test]
    fn plain_lines_tell_news_at_once_and_progress_now_and_then() {
        let (screen, paper, clock) = screen(Face::Lines);
        for rows in 1..=100 {
            let requests = rows / 2;
            screen.event(&Event::Planned { rows, requests });
        }
        screen.event(&Event::Submitted { chunk: 0 });
        for done in 0..1_000 {
            screen.event(&polled("in progress", done));
        }
        clock.advance(LINE_GAP);
        screen.event(&polled("in progress", 1_500));
        screen.event(&polled("completed", 2_000));
        let counts = [("succeeded", 1_995), ("failed", 3), ("skipped", 2)];
        screen.event(&Event::Landed {
            batch: "b1".into(),
            requests: 2_000,
            counts: counts.map(|(word, count)| (word.to_owned(), count)).into(),
        });
        assert_eq!(
            paper.lines(),
            [
                "1 rows planned, 0 requests to send",
                "100 rows planned, 50 requests to send",
                "chunk 0 submitted, 1 so far",
                "batch b1: in progress, 0 of 2,000 requests",
                "batch b1: in progress, 1,500 of 2,000 requests",
                "batch b1: completed, 2,000 of 2,000 requests",
                "2,000 answers landed, 3 of them failed; 2,000 of 2,000",
            ]
        );
    }

    #[test]
    fn nothing_follows_the_end() {
        for face in [Face::Lines, Face::Json, Face::Quiet, Face::Bars] {
            let (screen, paper, _) = screen(face);
            screen.finish();
            screen.event(&Event::Warning("late".into()));
            assert_eq!(paper.lines(), Vec::<String>::new(), "{face:?}");
        }
    }

    #[test]
    fn quiet_tells_warnings_alone() {
        let (screen, paper, _) = screen(Face::Quiet);
        screen.event(&Event::Opened { run: "r".into() });
        screen.event(&Event::Warning("w".into()));
        assert_eq!(paper.lines(), ["warning: w"]);
    }

    #[test]
    fn json_tells_every_event() {
        let (screen, paper, _) = screen(Face::Json);
        for rows in 1..=3 {
            screen.event(&Event::Planned { rows, requests: 0 });
        }
        let lines = paper.lines();
        assert_eq!(lines.len(), 3);
        let value: serde_json::Value = serde_json::from_str(&lines[2]).expect("JSON");
        assert_eq!(
            (&value["event"], &value["rows"]),
            (&"planned".into(), &3.into())
        );
    }

    #[test]
    fn digits_stand_in_threes() {
        for (number, text) in [
            (0, "0"),
            (999, "999"),
            (1_000, "1,000"),
            (12_345_678, "12,345,678"),
        ] {
            assert_eq!(grouped(number), text);
        }
    }
}
