use super::*;
use crate::engine::decide::scenario::{Scenario, at, limits};
use crate::ledger::action::Action;

fn asked(scenario: &Scenario, in_flight: &InFlight, limits: &RunLimits) -> Next {
    next(&scenario.0, scenario.0.plan(), in_flight, limits, at(1))
}

#[track_caller]
fn check(scenario: &Scenario, steps: &[Step], status: &PlanStatus) {
    let next = asked(scenario, &InFlight::default(), &limits());
    assert_eq!(next.steps, steps);
    assert_eq!(&next.status, status);
}

fn submit(chunk: u64) -> Step {
    Step::Submit { chunk }
}

fn poll(attempt: &str) -> Step {
    Step::Poll {
        attempt: attempt.into(),
    }
}

fn recover(attempt: &str) -> Step {
    Step::Recover {
        attempt: attempt.into(),
    }
}

#[test]
fn as_many_chunks_are_sent_at_once_as_may_be() {
    let scenario = Scenario::of(&[10, 10, 10]);
    check(&scenario, &[submit(0), submit(1)], &PlanStatus::Working);
}

#[test]
fn what_is_open_is_looked_after_and_the_rest_is_sent() {
    let mut scenario = Scenario::of(&[10, 10, 10]);
    let lost = scenario.promised(0);
    let open = scenario.accepted(1);
    let steps = [recover(&lost), poll(&open), submit(2)];
    check(&scenario, &steps, &PlanStatus::Working);
}

#[test]
fn a_lost_attempt_keeps_its_chunk_waiting_and_no_other() {
    let mut scenario = Scenario::of(&[10]);
    let lost = scenario.promised(0);
    check(&scenario, &[recover(&lost)], &PlanStatus::Working);
    let assumed = false;
    scenario.tell(Action::Absent {
        attempt: lost,
        assumed,
    });
    check(&scenario, &[submit(0)], &PlanStatus::Working);
}

#[test]
fn what_nobody_can_settle_is_said_once_all_else_is_home() {
    let mut scenario = Scenario::of(&[10, 10]);
    let lost = scenario.promised(0);
    let why = "nobody knows".to_owned();
    scenario.tell(Action::Unsettled {
        attempt: lost.clone(),
        why,
    });
    check(&scenario, &[submit(1)], &PlanStatus::Working);
    scenario.landed(1, 0);
    let status = PlanStatus::Unsettled { attempt: lost };
    check(&scenario, &[], &status);
    let partial = RunLimits {
        publish_partial: true,
        ..limits()
    };
    let next = asked(&scenario, &InFlight::default(), &partial);
    assert_eq!((next.steps, next.status), (vec![Step::Publish], status));
    scenario.published(true);
    assert!(
        asked(&scenario, &InFlight::default(), &partial)
            .steps
            .is_empty()
    );
}

#[test]
fn a_new_run_looks_again_at_what_nobody_could_settle() {
    let mut scenario = Scenario::of(&[10]);
    let lost = scenario.promised(0);
    let why = "nobody knows".to_owned();
    scenario.tell(Action::Unsettled {
        attempt: lost.clone(),
        why,
    });
    scenario.tell(Action::RunStarted(crate::ledger::action::RunStarted {
        run: "run-2".into(),
        command: "run".into(),
        version: "0".into(),
        at: at(1),
    }));
    check(&scenario, &[recover(&lost)], &PlanStatus::Working);
}

#[test]
fn without_a_plan_only_what_is_open_counts() {
    let mut scenario = Scenario::of(&[10]);
    let status = |scenario: &Scenario| {
        next(&scenario.0, None, &InFlight::default(), &limits(), at(1)).status
    };
    assert_eq!(status(&scenario), PlanStatus::Settled);
    let lost = scenario.promised(0);
    assert_eq!(status(&scenario), PlanStatus::Working);
    let (attempt, why) = (lost.clone(), "nobody knows".to_owned());
    scenario.tell(Action::Unsettled { attempt, why });
    assert_eq!(status(&scenario), PlanStatus::Unsettled { attempt: lost });
}

#[test]
fn an_attempt_that_was_given_up_is_looked_for_once_more_before_publishing() {
    let mut scenario = Scenario::of(&[10]);
    let lost = scenario.promised(0);
    let (attempt, assumed) = (lost.clone(), false);
    scenario.tell(Action::Absent { attempt, assumed });
    scenario.landed(0, 0);
    let recheck = Step::Recheck {
        attempt: lost.clone(),
    };
    check(
        &scenario,
        std::slice::from_ref(&recheck),
        &PlanStatus::Settled,
    );
    let in_flight = InFlight {
        given_up: [recheck].into(),
        ..InFlight::default()
    };
    assert_eq!(
        asked(&scenario, &in_flight, &limits()).steps,
        [Step::Publish]
    );
    scenario.tell(Action::Rechecked { attempt: lost });
    check(&scenario, &[Step::Publish], &PlanStatus::Settled);
}

#[test]
fn an_adopted_batch_may_have_a_twin_and_is_looked_for_once_more() {
    let mut scenario = Scenario::of(&[10]);
    let attempt = scenario.promised(0);
    scenario.tell(Action::Accepted(crate::ledger::action::Accepted {
        attempt: attempt.clone(),
        batch: crate::work::BatchId("batch".into()),
        created_at: None,
        expires_at: None,
        adopted: true,
    }));
    check(&scenario, &[poll(&attempt)], &PlanStatus::Working);
    scenario.lands(&attempt, 0);
    let recheck = Step::Recheck { attempt };
    check(&scenario, &[recheck], &PlanStatus::Settled);
}

#[test]
fn chunks_wait_while_the_queue_is_full() {
    let mut scenario = Scenario::of(&[10, 10, 10]);
    scenario.learned(25, true);
    let first = scenario.accepted(0);
    check(&scenario, &[poll(&first), submit(1)], &PlanStatus::Working);
    let busy = InFlight {
        busy: [submit(1)].into(),
        ..InFlight::default()
    };
    assert_eq!(asked(&scenario, &busy, &limits()).steps, [poll(&first)]);
    let second = scenario.promised(1);
    let steps = [poll(&first), recover(&second)];
    check(&scenario, &steps, &PlanStatus::Working);
}

#[test]
fn one_chunk_is_split_at_a_time_and_only_in_a_whole_plan() {
    let mut scenario = Scenario::of(&[10, 10]);
    scenario.learned(5, true);
    check(&scenario, &[Step::Split { chunk: 0 }], &PlanStatus::Working);
    let mut scenario = Scenario::with_trial(0);
    scenario.stored(0, 0, 10);
    scenario.learned(5, true);
    check(&scenario, &[], &PlanStatus::Working);
}

#[test]
fn what_is_being_sent_is_not_split_nor_the_other_way_round() {
    let mut scenario = Scenario::of(&[10]);
    for (busy, limit) in [(submit(0), 5), (Step::Split { chunk: 0 }, 50)] {
        scenario.learned(limit, true);
        let in_flight = InFlight {
            busy: [busy].into(),
            ..InFlight::default()
        };
        assert!(asked(&scenario, &in_flight, &limits()).steps.is_empty());
    }
}

#[test]
fn what_the_provider_finds_too_large_is_split() {
    let scenario = Scenario::of(&[10]);
    let in_flight = InFlight {
        too_large: [0].into(),
        ..InFlight::default()
    };
    let next = asked(&scenario, &in_flight, &limits());
    assert_eq!(next.steps, [Step::Split { chunk: 0 }]);
}

#[test]
fn a_chunk_is_sent_whole_or_in_parts_and_never_both() {
    let scenario = Scenario::of(&[10]);
    let busy = |step: Step| InFlight {
        too_large: [0].into(),
        busy: [step].into(),
        ..InFlight::default()
    };
    // It is being sent, and is promised in a moment, when the lesson arrives that it is too large.
    let sending = asked(&scenario, &busy(submit(0)), &limits());
    assert_eq!(sending.steps, []);
    let splitting = asked(&scenario, &busy(Step::Split { chunk: 0 }), &limits());
    assert_eq!(splitting.steps, []);
}

#[test]
fn the_parts_of_a_split_chunk_take_its_place() {
    let mut scenario = Scenario::of(&[10]);
    scenario.rejected(0, true);
    scenario.tell(Action::ChunkSplit { plan: 0, chunk: 0 });
    scenario.stored(0, 0, 5);
    scenario.stored(0, 5, 5);
    check(&scenario, &[submit(1), submit(2)], &PlanStatus::Working);
    scenario.landed(1, 0);
    scenario.landed(2, 0);
    check(&scenario, &[Step::Publish], &PlanStatus::Settled);
}

#[test]
fn the_trial_goes_first_and_is_never_split() {
    let mut scenario = Scenario::with_trial(3);
    scenario.stored(0, 0, 3);
    scenario.stored(0, 3, 10);
    scenario.learned(2, true);
    scenario.completed();
    check(&scenario, &[submit(0)], &PlanStatus::Working);
}

#[test]
fn what_waits_for_a_trial_that_nobody_can_settle_waits_for_a_person() {
    let mut scenario = Scenario::with_trial(3);
    scenario.stored(0, 0, 3);
    scenario.stored(0, 3, 10);
    scenario.completed();
    let attempt = scenario.promised(0);
    scenario.tell(Action::Unsettled {
        attempt: attempt.clone(),
        why: "`on_ambiguous` is `fail`".into(),
    });
    check(&scenario, &[], &PlanStatus::Unsettled { attempt });
}

#[test]
fn a_body_that_nothing_needs_is_discarded_once() {
    let mut scenario = Scenario::of(&[10]);
    let attempt = scenario.accepted(0);
    let file = "file-1".to_owned();
    scenario.tell(Action::Staged {
        attempt: attempt.clone(),
        file,
    });
    check(&scenario, &[poll(&attempt)], &PlanStatus::Working);
    scenario.lands(&attempt, 0);
    let discard = Step::Discard {
        attempt: attempt.clone(),
    };
    check(&scenario, &[discard, Step::Publish], &PlanStatus::Settled);
    scenario.tell(Action::Discarded { attempt });
    check(&scenario, &[Step::Publish], &PlanStatus::Settled);
}

#[test]
fn what_failed_in_passing_is_sent_again_within_the_limit() {
    let mut scenario = Scenario::of(&[10]);
    scenario.landed(0, 4);
    check(
        &scenario,
        &[Step::Resend { round: 1 }],
        &PlanStatus::Working,
    );
    scenario.stored(1, 0, 4);
    scenario.landed(1, 2);
    check(
        &scenario,
        &[Step::Resend { round: 2 }],
        &PlanStatus::Working,
    );
    scenario.stored(2, 0, 2);
    scenario.landed(2, 1);
    check(&scenario, &[Step::Publish], &PlanStatus::Settled);
}

#[test]
fn a_refusal_for_good_stops_the_plan() {
    let mut scenario = Scenario::of(&[10, 10]);
    let attempt = scenario.rejected(0, false);
    check(&scenario, &[], &PlanStatus::Refused { attempt });
}

#[test]
fn a_cancel_stops_what_is_open_and_sends_nothing_more() {
    let mut scenario = Scenario::of(&[10, 10]);
    let attempt = scenario.accepted(0);
    scenario.tell(Action::CancelAsked { plan: 0 });
    let cancel = Step::Cancel {
        attempt: attempt.clone(),
    };
    check(&scenario, &[cancel], &PlanStatus::Working);
    scenario.tell(Action::CancelSent {
        attempt: attempt.clone(),
    });
    check(&scenario, &[poll(&attempt)], &PlanStatus::Working);
    scenario.lands(&attempt, 10);
    check(&scenario, &[Step::Publish], &PlanStatus::Settled);
}

#[test]
fn nothing_is_tried_again_before_its_time() {
    let scenario = Scenario::of(&[10]);
    let in_flight = InFlight {
        not_before: [(submit(0), at(30))].into(),
        ..InFlight::default()
    };
    let next = asked(&scenario, &in_flight, &limits());
    assert_eq!((next.steps, next.wake), (vec![], Some(at(30))));
}

#[test]
fn a_trial_that_is_too_large_is_split_and_its_parts_are_the_trial() {
    let mut scenario = Scenario::with_trial(3);
    scenario.stored(0, 0, 3);
    scenario.stored(0, 3, 10);
    scenario.completed();
    let in_flight = InFlight {
        too_large: [0].into(),
        ..InFlight::default()
    };
    let next = asked(&scenario, &in_flight, &limits());
    assert_eq!(next.steps, [Step::Split { chunk: 0 }]);
    scenario.tell(Action::ChunkSplit { plan: 0, chunk: 0 });
    scenario.stored(0, 0, 2);
    scenario.stored(0, 2, 1);
    check(&scenario, &[submit(2), submit(3)], &PlanStatus::Working);
    scenario.landed(2, 0);
    let part = scenario.accepted(3);
    check(&scenario, &[poll(&part), submit(1)], &PlanStatus::Working);
}

#[test]
fn one_request_that_is_too_large_is_landed_as_failed() {
    let scenario = Scenario::of(&[1]);
    let in_flight = InFlight {
        too_large: [0].into(),
        ..InFlight::default()
    };
    assert_eq!(
        asked(&scenario, &in_flight, &limits()).steps,
        [Step::Fail { chunk: 0 }]
    );
}

#[test]
fn a_new_run_sends_again_what_was_refused() {
    let mut scenario = Scenario::of(&[10]);
    scenario.rejected(0, false);
    scenario.tell(Action::RunStarted(crate::ledger::action::RunStarted {
        run: "run-2".into(),
        command: "run".into(),
        version: "0".into(),
        at: at(1),
    }));
    check(&scenario, &[submit(0)], &PlanStatus::Working);
}

#[test]
fn whichever_part_of_a_split_trial_comes_home_first_lets_the_others_go() {
    let split = || {
        let mut scenario = Scenario::with_trial(3);
        scenario.stored(0, 0, 3);
        scenario.stored(0, 3, 10);
        scenario.completed();
        scenario.tell(Action::ChunkSplit { plan: 0, chunk: 0 });
        scenario.stored(0, 0, 2);
        scenario.stored(0, 2, 1);
        scenario
    };
    let mut scenario = split();
    let open = scenario.accepted(2);
    scenario.landed(3, 0);
    check(&scenario, &[poll(&open), submit(1)], &PlanStatus::Working);

    // One part is refused for good, and the other is not.
    let mut scenario = split();
    let failed = scenario.accepted(2);
    scenario.fails(&failed);
    let open = scenario.accepted(3);
    check(&scenario, &[poll(&open)], &PlanStatus::Working);
    scenario.lands(&open, 0);
    check(&scenario, &[submit(1)], &PlanStatus::Working);

    let mut scenario = split();
    for part in [2, 3] {
        let failed = scenario.accepted(part);
        scenario.fails(&failed);
    }
    let next = asked(&scenario, &InFlight::default(), &limits());
    assert!(
        matches!(next.status, PlanStatus::TrialFailed { .. }),
        "{next:?}"
    );
}

#[test]
fn nothing_more_is_sent_once_the_account_was_refused_and_what_is_open_comes_home() {
    let mut scenario = Scenario::of(&[10, 10, 10]);
    let refused = scenario.accepted(0);
    let open = scenario.accepted(1);
    scenario.refused_account(&refused, 4);
    check(&scenario, &[poll(&open)], &PlanStatus::Working);
    scenario.lands(&open, 2);
    let status = PlanStatus::AccountRefused { attempt: refused };
    check(&scenario, &[], &status);
    let partial = RunLimits {
        publish_partial: true,
        ..limits()
    };
    let next = asked(&scenario, &InFlight::default(), &partial);
    assert_eq!((next.steps, next.status), (vec![Step::Publish], status));
    scenario.tell(Action::CancelAsked { plan: 0 });
    check(&scenario, &[Step::Publish], &PlanStatus::Settled);
}

#[test]
fn a_chunk_whose_time_has_not_come_takes_no_room_from_those_behind_it() {
    let mut scenario = Scenario::of(&[10, 10]);
    scenario.learned(15, true);
    let in_flight = InFlight {
        not_before: [(submit(0), at(30))].into(),
        ..InFlight::default()
    };
    let next = asked(&scenario, &in_flight, &limits());
    assert_eq!((next.steps, next.wake), (vec![submit(1)], Some(at(30))));
}
