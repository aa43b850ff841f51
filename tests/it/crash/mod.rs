//! Crashes, in simulation: the world stops at every named point, and between any two writes, and is
//! started again until the job is done. Nothing is paid twice, and nothing is lost.
//!
//! Each story is drawn from a seed, in one process, on paused time; a failure prints its seed, and
//! `COLUMNIST_SEEDS=17,18` (or `0..200`) plays those again.

mod check;
mod network;
mod seeds;
mod stage;
mod stop;
mod story;
mod time;

use std::collections::{BTreeMap, BTreeSet};

use columnist::base::ErrorKind;
use columnist::engine::crash_points;

use check::{billed, check_end, check_whole_or_absent};
use seeds::{play_all, seeds};
use stage::{Ended, Stage};
use stop::When;
use story::Story;

use crate::world::VENDORS;

/// Lives after which a story must have come to its end.
const LIVES_MAX: usize = 60;

/// What came of a story.
struct Came {
    vendor: &'static str,
    /// The points at which it was stopped.
    stopped: Vec<&'static str>,
    /// All that were reached.
    reached: BTreeSet<&'static str>,
    lives: usize,
    billed: u64,
}

/// Plays a story to its end, and checks whatever must hold.
fn play(story: &Story) -> Came {
    let mut stage = Stage::new(story.clone());
    let mut crashes = story.crashes.iter();
    let mut stopped = Vec::new();
    for lives in 1..=LIVES_MAX {
        let when = crashes.next().copied().unwrap_or(When::Never);
        match stage.live(when) {
            Ended::Stopped(point) => {
                stopped.push(point);
                check_whole_or_absent(&mut stage);
            }
            Ended::Done(Ok(report)) => {
                if std::env::var("DBG").is_ok() { for f in check::facts_timed(&mut stage) { eprintln!("{f}"); } }
                check_end(&mut stage, &report);
                return Came {
                    vendor: story.vendor,
                    stopped,
                    reached: stage.reached.iter().copied().collect(),
                    lives,
                    billed: billed(&stage.world),
                };
            }
            // What is away comes back.
            Ended::Done(Err(error)) => {
                assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
            }
        }
    }
    panic!("not done after {LIVES_MAX} lives");
}

#[test]
fn a_crash_anywhere_costs_nothing() {
    let stories: Vec<_> = VENDORS
        .iter()
        .flat_map(|vendor| seeds(20).into_iter().map(|seed| Story::draw(vendor, seed).stopping_anywhere()))
        .collect();
    let came = play_all(&stories, |story| story.seed, play);
    report(&came);
}

#[expect(clippy::print_stdout, reason = "the figures, for whoever asks for them with --nocapture")]
fn report(came: &[Came]) {
    let mut stops = BTreeMap::<_, u64>::new();
    for point in came.iter().flat_map(|came| &came.stopped) {
        *stops.entry(*point).or_default() += 1;
    }
    let lives: usize = came.iter().map(|came| came.lives).sum();
    let billed: u64 = came.iter().map(|came| came.billed).sum();
    println!(
        "{} stories, {lives} lives, {} crashes at {} points, {billed} requests billed, none twice",
        came.len(),
        stops.values().sum::<u64>(),
        stops.len()
    );
    for (point, count) in stops {
        println!("  {count:4} {point}");
    }
}
