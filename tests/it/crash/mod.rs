//! Crashes, in simulation: the world stops at every named point, and between any two writes, and is
//! started again until the job is done. Nothing is paid twice, and nothing is lost.
//!
//! Each story is drawn from a seed, in one process, on paused time; a failure prints its seed, and
//! `COLUMNIST_SEEDS=17,18` (or `0..200`) plays those again.

mod check;
mod need;
mod network;
mod seeds;
mod squares;
mod stage;
mod stop;
mod story;
mod time;

use std::collections::{BTreeMap, BTreeSet};

use columnist::base::ErrorKind;
use columnist::engine::crash_points;

use check::{
    asked_again, billed, check_end, check_receipts, check_whole_or_absent, facts, primers,
};
use need::{applies, stories};
use seeds::{play_all, seeds};
use stage::{Ended, Stage};
use story::{Act, Story};

use crate::world::VENDORS;

/// Stories of each kind and vendor, unless the environment names others.
const SEEDS: usize = 20;

/// Lives after which an act must have come to its end.
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
    /// Batches that went before others.
    primers: usize,
    /// Chunks of requests whose answers could not be used.
    asked_again: usize,
}

/// Plays a story to its end, and checks whatever must hold.
fn play(story: &Story) -> Came {
    let mut stage = Stage::new(story.clone());
    let mut came = Came {
        vendor: story.vendor,
        stopped: Vec::new(),
        reached: BTreeSet::new(),
        lives: 0,
        billed: 0,
        primers: 0,
        asked_again: 0,
    };
    for act in &story.acts {
        perform(&mut stage, *act, &mut came);
    }
    check_end(&mut stage);
    came.reached = std::mem::take(&mut stage.reached);
    came.billed = billed(&stage.world);
    came.primers = primers(&mut stage);
    came.asked_again = asked_again(&mut stage);
    came
}

/// Does `act` again and again until it succeeds.
fn perform(stage: &mut Stage, act: Act, came: &mut Came) {
    for _ in 0..LIVES_MAX {
        came.lives += 1;
        let ended = stage.live(act);
        if std::env::var_os("COLUMNIST_FACTS").is_some() {
            tell(stage, &ended);
        }
        match ended {
            Ended::Stopped(point) => {
                came.stopped.push(point);
                check_whole_or_absent(stage);
            }
            Ended::Done(Ok(())) => {
                stage.retried |= act == Act::Retry;
                return;
            }
            // Every row was answered.
            Ended::Done(Err(error)) if act == Act::Retry && error.kind() == ErrorKind::Invalid => {
                return;
            }
            Ended::Done(Err(error)) if act == Act::Cancel && error.kind() == ErrorKind::Invalid => {
                // It was asked for before the world stopped.
                assert!(
                    came.stopped
                        .iter()
                        .any(|point| point.starts_with("commit.")),
                    "{error:?}"
                );
                return;
            }
            Ended::Done(Err(error)) => {
                check_receipts(stage);
                let passes = match error.kind() {
                    // What is away comes back; and the lease of the dead runs out.
                    ErrorKind::Unavailable | ErrorKind::Held => true,
                    ErrorKind::Ambiguous if stage.story.policy == "fail" => true,
                    ErrorKind::Ambiguous => stage.overrule(),
                    // A call was refused that was as good as any other.
                    ErrorKind::Invalid => stage.story.ways.denied > 0,
                    // Credit is there again with the next life; what nobody's id is on is given up.
                    ErrorKind::Refused => {
                        stage.story.faults.contains("no_credit") || stage.overrule()
                    }
                    _ => false,
                };
                assert!(passes, "{error:?}");
            }
        }
    }
    panic!("{act:?} is not done after {LIVES_MAX} lives");
}

/// What a life left in the ledger, for whoever looks for the cause of a failure.
#[expect(clippy::print_stdout, reason = "it is asked for")]
fn tell(stage: &mut Stage, ended: &Ended) {
    for fact in facts(stage) {
        println!("{fact:?}");
    }
    println!("{ended:?}");
}

#[test]
fn a_crash_anywhere_costs_nothing() {
    let stories: Vec<_> = VENDORS
        .iter()
        .flat_map(|vendor| {
            seeds(SEEDS as u64)
                .into_iter()
                .map(|seed| Story::draw(vendor, seed).stopping_anywhere())
        })
        .collect();
    let came = play_all(&stories, |story| story.seed, play);
    report(&came);
}

#[test]
fn a_crash_at_any_point_costs_nothing() {
    let points = crash_points();
    let seeds = seeds(SEEDS as u64);
    let stories: Vec<_> = VENDORS
        .iter()
        .flat_map(|vendor| {
            seeds
                .iter()
                .flat_map(|seed| stories(&points, vendor, *seed))
        })
        .collect();
    let came = play_all(&stories, |story| story.seed, play);
    report(&came);
    if seeds.len() < SEEDS {
        // A few seeds do not come by everything.
        return;
    }
    for vendor in VENDORS {
        for point in points.iter().filter(|point| applies(point, vendor)) {
            let of_vendor = came.iter().filter(|came| came.vendor == vendor);
            let stops = of_vendor
                .filter(|came| came.stopped.contains(point))
                .count();
            // What takes luck to come by is not come by in every story.
            assert!(
                stops * 4 >= seeds.len(),
                "{vendor} stopped at {point} only {stops} times"
            );
        }
    }
    let reached: BTreeSet<_> = came
        .iter()
        .flat_map(|came| &came.reached)
        .copied()
        .collect();
    let listed: BTreeSet<_> = points.into_iter().collect();
    assert_eq!(
        reached, listed,
        "every point is listed, and every listed point is reached"
    );
}

/// Between a request that goes first and those that read what it leaves in the provider's cache.
#[test]
fn a_crash_around_a_primer_costs_nothing() {
    let points = crash_points();
    let seeds = seeds(SEEDS as u64 / 5);
    let stories = |seed: &u64| {
        let at = stories(&points, "anthropic", *seed).into_iter();
        let at = at.map(Story::sharing);
        let anywhere = VENDORS.map(|vendor| {
            let story = Story::draw(vendor, *seed).sharing();
            story.stopping_anywhere()
        });
        at.chain(anywhere).collect::<Vec<_>>()
    };
    let stories: Vec<_> = seeds.iter().flat_map(stories).collect();
    let came = play_all(&stories, |story| story.seed, play);
    report(&came);
    let primed = came.iter().filter(|came| came.primers > 0).count();
    assert!(
        primed * 2 > came.len(),
        "{primed} of {} stories",
        came.len()
    );
    let stopped = came
        .iter()
        .filter(|came| came.primers > 0 && !came.stopped.is_empty());
    assert!(stopped.count() > 0);
}

/// While answers that cannot be used are asked again: with the reason, and with a higher limit of output.
#[test]
fn a_crash_while_answers_are_asked_again_costs_nothing() {
    let points = crash_points();
    let seeds = seeds(SEEDS as u64 / 10);
    let stories = |seed: &u64| {
        let of = |vendor: &'static str| {
            let at = stories(&points, vendor, *seed).into_iter();
            let anywhere = Story::draw(vendor, *seed).stopping_anywhere();
            at.chain([anywhere]).map(Story::asking_again)
        };
        VENDORS.into_iter().flat_map(of).collect::<Vec<_>>()
    };
    let stories: Vec<_> = seeds.iter().flat_map(stories).collect();
    let came = play_all(&stories, |story| story.seed, play);
    report(&came);
    let again = came.iter().filter(|came| came.asked_again > 0);
    let (again, stopped) = (
        again.clone().count(),
        again.filter(|came| !came.stopped.is_empty()).count(),
    );
    assert!(
        again * 2 > came.len() && stopped > 0,
        "{again} of {}",
        came.len()
    );
}

/// With a picture in each row, which is read again when it is sent.
#[test]
fn a_crash_among_pictures_costs_nothing() {
    let points = crash_points();
    let seeds = seeds(SEEDS as u64 / 5);
    let stories = |seed: &u64| {
        let of_vendor = |vendor| {
            let at = stories(&points, vendor, *seed).into_iter();
            at.chain([Story::draw(vendor, *seed).stopping_anywhere()])
        };
        let all = VENDORS.into_iter().flat_map(of_vendor);
        all.map(Story::picturing).collect::<Vec<_>>()
    };
    let stories: Vec<_> = seeds.iter().flat_map(stories).collect();
    let came = play_all(&stories, |story| story.seed, play);
    report(&came);
    let stopped: BTreeSet<_> = came.iter().flat_map(|came| &came.stopped).collect();
    for point in [
        "call.before_stage",
        "call.after_submit",
        "commit.after_promised",
    ] {
        assert!(stopped.contains(&point), "never stopped at {point}");
    }
}

#[expect(
    clippy::print_stdout,
    reason = "the figures, for whoever asks for them with --nocapture"
)]
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
