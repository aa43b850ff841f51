use std::time::Duration;

use super::*;
use crate::engine::decide::limits::RunLimits;
use crate::engine::decide::next::{PlanStatus, next};
use crate::engine::decide::scenario::{Scenario, at, limits};
use crate::engine::decide::step::{InFlight, Step};
use crate::ledger::action::Action;
use crate::work::Variant;
use crate::work::price::Rates;

/// A cent is earned from the ninth request on: see the table of `work/caching.rs`.
fn policy() -> CachePolicy {
    let rates = Rates {
        input: 500_000,
        cache_read: 50_000,
        cache_write_5m: 625_000,
        cache_write_1h: 1_000_000,
        output: 0,
    };
    CachePolicy::Marked {
        kept: CacheUse::Hour,
        terms: Some(CacheTerms::new(CacheUse::Hour, rates, 5_000)),
        is_asked_for: false,
    }
}

fn at_time(scenario: &Scenario, seconds: i64) -> Caching {
    let plan = scenario.0.plan().expect("a plan");
    caching((&policy(), "account"), &scenario.0, plan, at(seconds))
}

/// A plan that is complete: a primer, and chunks of ten.
fn primed(chunks: u64) -> Scenario {
    let mut scenario = Scenario::with_trial(0);
    scenario.primer(0, 0, 1);
    for n in 0..chunks {
        scenario.stored(0, 1 + 10 * n, 10);
    }
    scenario.completed();
    scenario
}

const KEPT: Option<CacheUse> = Some(CacheUse::Hour);

#[test]
fn one_request_goes_first_and_the_others_when_it_has_ended() {
    let mut scenario = primed(2);
    let first = Caching::Primes(0, CacheUse::Hour);
    assert_eq!(at_time(&scenario, 0), first);
    let chunk = |n: u64| scenario.0.plans[&0].chunks[&n].stored.clone();
    let (own, behind) = (chunk(0), chunk(1));
    assert!(first.lets(&own) && !first.lets(&behind));
    assert_eq!((first.says(&own), first.says(&behind)), (KEPT, None));
    let primer = scenario.marked(0, 0);
    assert_eq!(at_time(&scenario, 10), Caching::Waits);
    scenario.caches(&primer, 60);
    assert_eq!(at_time(&scenario, 61), Caching::Says(KEPT));
}

#[test]
fn whoever_asks_what_is_next_is_told_the_same() {
    let mut scenario = primed(2);
    let limits = RunLimits {
        cache: policy(),
        ..limits()
    };
    let steps = |scenario: &Scenario, seconds| {
        let flight = InFlight::default();
        let next = next(
            &scenario.0,
            scenario.0.plan(),
            &flight,
            &limits,
            at(seconds),
        );
        assert_eq!(next.status, PlanStatus::Working);
        next.steps
    };
    assert_eq!(steps(&scenario, 0), [Step::Submit { chunk: 0 }]);
    let primer = scenario.marked(0, 0);
    let poll = Step::Poll {
        attempt: primer.clone(),
    };
    assert_eq!(steps(&scenario, 10), [poll]);
    scenario.caches(&primer, 60);
    let both = [Step::Submit { chunk: 1 }, Step::Submit { chunk: 2 }];
    assert_eq!(steps(&scenario, 61), both);
    // By then the entry is as good as gone: a request of the next chunk is to write it again.
    assert_eq!(steps(&scenario, 3600), [Step::Prime { chunk: 1 }]);
}

#[test]
fn few_requests_go_without_marks_and_at_once() {
    // Seven and the primer: one less than what earns a cent.
    let mut scenario = Scenario::with_trial(0);
    scenario.primer(0, 0, 1);
    scenario.stored(0, 1, 7);
    // More rows may come; nothing is sent before that is known.
    assert_eq!(at_time(&scenario, 0), Caching::Waits);
    scenario.completed();
    assert_eq!(at_time(&scenario, 0), Caching::Says(None));

    let mut scenario = Scenario::with_trial(0);
    scenario.primer(0, 0, 1);
    scenario.stored(0, 1, 8);
    let first = Caching::Primes(0, CacheUse::Hour);
    assert_eq!(at_time(&scenario, 0), first, "though more rows may come");
    scenario.completed();
    assert_eq!(at_time(&scenario, 0), first);
}

#[test]
fn a_primer_serves_all_chunks_and_is_renewed_before_its_life_ends() {
    let mut scenario = primed(4);
    let primer = scenario.marked(0, 0);
    scenario.caches(&primer, 60);
    assert_eq!(at_time(&scenario, 60 + 1799), Caching::Says(KEPT));
    // Half an hour is left at most: what is sent then may begin too late.
    assert_eq!(at_time(&scenario, 60 + 1800), Caching::Parts(1));
    // Whatever used the entry keeps it alive.
    let other = scenario.marked(1, 100);
    scenario.caches(&other, 2_000);
    assert_eq!(at_time(&scenario, 2_000 + 1799), Caching::Says(KEPT));
    assert_eq!(at_time(&scenario, 2_000 + 1800), Caching::Parts(2));
    // What is parted off is a primer, and the others wait for it.
    scenario.tell(Action::ChunkSplit { plan: 0, chunk: 2 });
    scenario.primer(0, 11, 1);
    scenario.stored(0, 12, 9);
    assert_eq!(
        at_time(&scenario, 4_000),
        Caching::Primes(5, CacheUse::Hour)
    );
    let renewed = scenario.marked(5, 4_000);
    assert_eq!(at_time(&scenario, 4_010), Caching::Waits);
    scenario.caches(&renewed, 4_020);
    assert_eq!(at_time(&scenario, 4_030), Caching::Says(KEPT));
}

#[test]
fn another_account_reads_nothing() {
    let mut scenario = primed(2);
    let primer = scenario.marked(0, 0);
    scenario.caches(&primer, 60);
    let plan = scenario.0.plan().expect("a plan");
    let other = caching((&policy(), "another"), &scenario.0, plan, at(61));
    assert_eq!(other, Caching::Parts(1));
}

#[test]
fn what_is_left_over_is_not_worth_a_primer() {
    let mut scenario = primed(1);
    let primer = scenario.marked(0, 0);
    scenario.caches(&primer, 60);
    let rest = scenario.marked(1, 100);
    scenario.caches(&rest, 200);
    // Three failed in passing, and are sent again: at once they read, later they go without marks.
    scenario.stored(1, 4, 3);
    assert_eq!(at_time(&scenario, 300), Caching::Says(KEPT));
    assert_eq!(at_time(&scenario, 7_200), Caching::Says(None));
}

#[test]
fn a_primer_that_failed_is_tried_once_more_and_then_nothing_is_marked() {
    let mut scenario = primed(3);
    let first = scenario.marked(0, 0);
    scenario.lands(&first, 1);
    assert_eq!(at_time(&scenario, 60), Caching::Parts(1));
    scenario.tell(Action::ChunkSplit { plan: 0, chunk: 1 });
    scenario.primer(0, 1, 1);
    scenario.stored(0, 2, 9);
    let second = scenario.marked(4, 70);
    scenario.lands(&second, 1);
    assert_eq!(at_time(&scenario, 100), Caching::Says(None));
}

#[test]
fn entries_that_are_gone_whenever_somebody_looks_are_given_up() {
    // Whoever looks every two hours finds each entry gone.
    let mut scenario = primed(3);
    let first = scenario.marked(0, 0);
    scenario.caches(&first, 60);
    assert_eq!(at_time(&scenario, 7_200), Caching::Parts(1));
    scenario.tell(Action::ChunkSplit { plan: 0, chunk: 1 });
    scenario.primer(0, 1, 1);
    scenario.stored(0, 2, 9);
    let second = scenario.marked(4, 7_200);
    scenario.caches(&second, 7_260);
    assert_eq!(at_time(&scenario, 14_400), Caching::Says(None));
}

#[test]
fn a_batch_that_took_longer_than_an_entry_lives_says_nothing_of_it() {
    let mut scenario = primed(3);
    let primer = scenario.marked(0, 0);
    scenario.caches(&primer, 3_601);
    assert_eq!(at_time(&scenario, 3_602), Caching::Parts(1));
    let mut scenario = primed(3);
    let primer = scenario.marked(0, 0);
    scenario.caches(&primer, 3_600);
    assert_eq!(at_time(&scenario, 3_602), Caching::Says(KEPT));
}

#[test]
fn where_the_provider_caches_nothing_nothing_more_is_marked() {
    let mut scenario = primed(2);
    let primer = scenario.marked(0, 0);
    // It was answered, and nothing was written: what is shared is shorter than was thought.
    scenario.lands(&primer, 0);
    assert_eq!(at_time(&scenario, 60), Caching::Says(None));
}

#[test]
fn a_primer_of_which_nobody_can_tell_keeps_nothing_waiting() {
    let mut scenario = primed(2);
    let attempt = scenario.promise(0, at(0), KEPT);
    assert_eq!(at_time(&scenario, 10), Caching::Waits);
    let why = "nobody knows".to_owned();
    scenario.tell(Action::Unsettled { attempt, why });
    assert_eq!(at_time(&scenario, 20), Caching::Parts(1));
}

#[test]
fn a_trial_is_the_primer() {
    let mut scenario = Scenario::with_trial(3);
    scenario.primer(0, 0, 3);
    scenario.stored(0, 3, 10);
    scenario.completed();
    // Three that write need thirteen to earn a cent, and there are thirteen.
    assert_eq!(at_time(&scenario, 0), Caching::Primes(0, CacheUse::Hour));
    let trial = scenario.marked(0, 0);
    scenario.caches(&trial, 60);
    assert_eq!(at_time(&scenario, 61), Caching::Says(KEPT));
}

#[test]
fn a_plan_that_was_begun_without_a_primer_gets_one() {
    let mut scenario = Scenario::of(&[10, 10]);
    assert_eq!(at_time(&scenario, 0), Caching::Parts(0));
    let mut small = Scenario::of(&[1, 1, 1, 1, 1, 1, 1, 1, 1]);
    assert_eq!(at_time(&small, 0), Caching::Primes(0, CacheUse::Hour));
    // It is told by its chunk alone that others wait for it.
    let first = small.marked(0, 0);
    assert_eq!(at_time(&small, 1), Caching::Waits);
    small.caches(&first, 60);
    assert_eq!(at_time(&small, 61), Caching::Says(KEPT));
    // Nothing is parted while rows are being read.
    let mut open = Scenario::with_trial(0);
    open.stored(0, 0, 20);
    assert_eq!(at_time(&open, 0), Caching::Waits);
    scenario.tell(Action::CancelAsked { plan: 0 });
}

#[test]
fn a_setting_that_marks_nothing_holds_nothing_back() {
    let scenario = primed(2);
    let plan = scenario.0.plan().expect("a plan");
    for (policy, says) in [
        (CachePolicy::Nothing, None),
        (CachePolicy::Always(CacheUse::Key), Some(CacheUse::Key)),
    ] {
        let now = caching((&policy, "account"), &scenario.0, plan, at(0));
        assert_eq!(now, Caching::Says(says));
    }
    assert_eq!(CacheUse::Minutes.life(), Some(Duration::from_mins(5)));
}

/// What another model is asked about invalid answers neither waits for a primer nor is one, and says nothing of
/// a cache that is not its own.
#[test]
fn another_model_has_nothing_to_do_with_the_plans_cache() {
    let mut scenario = primed(2);
    let other = Variant {
        reasks: 1,
        model: Some("other".into()),
        ..Variant::default()
    };
    let primer = scenario.marked(0, 0);
    scenario.varied(1, 1, other);
    assert_eq!(at_time(&scenario, 10), Caching::Waits);
    let chunks = &scenario.0.plans[&0].chunks;
    let last = *chunks.keys().next_back().expect("a chunk");
    let stored = chunks[&last].stored.clone();
    assert!(Caching::Waits.lets(&stored));
    assert_eq!(Caching::Says(KEPT).says(&stored), None);
    scenario.caches(&primer, 60);
    assert_eq!(at_time(&scenario, 61), Caching::Says(KEPT));
    // Once all others are home it is the only one that is unsent, and no primer of more that are like it.
    let own: Vec<u64> = scenario.0.plans[&0].chunks.keys().copied().collect();
    for chunk in own
        .into_iter()
        .filter(|chunk| *chunk != 0 && *chunk != last)
    {
        scenario.landed(chunk, 0);
    }
    scenario.varied(1, 20, stored.variant);
    assert_eq!(at_time(&scenario, 100_000), Caching::Says(None));
}
