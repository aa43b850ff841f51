use super::super::story::{Story, at, pace};
use super::*;
use crate::ledger::action::Action;

fn asked(story: &Story, desk: &Desk, pace: &Pace) -> Next {
    next(&story.0, story.0.plan(), desk, pace, at(1))
}

#[track_caller]
fn check(story: &Story, steps: &[Step], standing: &Standing) {
    let next = asked(story, &Desk::default(), &pace());
    assert_eq!(next.steps, steps);
    assert_eq!(&next.standing, standing);
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
    let story = Story::of(&[10, 10, 10]);
    check(&story, &[submit(0), submit(1)], &Standing::Working);
}

#[test]
fn what_is_open_is_looked_after_and_the_rest_is_sent() {
    let mut story = Story::of(&[10, 10, 10]);
    let lost = story.promised(0);
    let open = story.accepted(1);
    let steps = [recover(&lost), poll(&open), submit(2)];
    check(&story, &steps, &Standing::Working);
}

#[test]
fn a_lost_attempt_keeps_its_chunk_waiting_and_no_other() {
    let mut story = Story::of(&[10]);
    let lost = story.promised(0);
    check(&story, &[recover(&lost)], &Standing::Working);
    let assumed = false;
    story.tell(Action::Absent {
        attempt: lost,
        assumed,
    });
    check(&story, &[submit(0)], &Standing::Working);
}

#[test]
fn what_nobody_can_settle_is_said_once_all_else_is_home() {
    let mut story = Story::of(&[10, 10]);
    let lost = story.promised(0);
    let why = "nobody knows".to_owned();
    story.tell(Action::Unsettled {
        attempt: lost.clone(),
        why,
    });
    check(&story, &[submit(1)], &Standing::Working);
    story.landed(1, 0);
    let standing = Standing::Unsettled { attempt: lost };
    check(&story, &[], &standing);
    let partial = Pace {
        publish_partial: true,
        ..pace()
    };
    let next = asked(&story, &Desk::default(), &partial);
    assert_eq!((next.steps, next.standing), (vec![Step::Publish], standing));
    story.published(true);
    assert!(asked(&story, &Desk::default(), &partial).steps.is_empty());
}

#[test]
fn a_new_run_looks_again_at_what_nobody_could_settle() {
    let mut story = Story::of(&[10]);
    let lost = story.promised(0);
    let why = "nobody knows".to_owned();
    story.tell(Action::Unsettled {
        attempt: lost.clone(),
        why,
    });
    story.tell(Action::RunStarted(crate::ledger::action::RunStarted {
        run: "run-2".into(),
        command: "run".into(),
        version: "0".into(),
        at: at(1),
    }));
    check(&story, &[recover(&lost)], &Standing::Working);
}

#[test]
fn without_a_plan_only_what_is_open_counts() {
    let mut story = Story::of(&[10]);
    let standing = |story: &Story| next(&story.0, None, &Desk::default(), &pace(), at(1)).standing;
    assert_eq!(standing(&story), Standing::Settled);
    let lost = story.promised(0);
    assert_eq!(standing(&story), Standing::Working);
    let (attempt, why) = (lost.clone(), "nobody knows".to_owned());
    story.tell(Action::Unsettled { attempt, why });
    assert_eq!(standing(&story), Standing::Unsettled { attempt: lost });
}

#[test]
fn an_attempt_that_was_given_up_is_looked_for_once_more_before_publishing() {
    let mut story = Story::of(&[10]);
    let lost = story.promised(0);
    let (attempt, assumed) = (lost.clone(), false);
    story.tell(Action::Absent { attempt, assumed });
    story.landed(0, 0);
    let recheck = Step::Recheck {
        attempt: lost.clone(),
    };
    check(&story, std::slice::from_ref(&recheck), &Standing::Settled);
    let desk = Desk {
        given_up: [recheck].into(),
        ..Desk::default()
    };
    assert_eq!(asked(&story, &desk, &pace()).steps, [Step::Publish]);
    story.tell(Action::Rechecked { attempt: lost });
    check(&story, &[Step::Publish], &Standing::Settled);
}

#[test]
fn an_adopted_batch_may_have_a_twin_and_is_looked_for_once_more() {
    let mut story = Story::of(&[10]);
    let attempt = story.promised(0);
    story.tell(Action::Accepted(crate::ledger::action::Accepted {
        attempt: attempt.clone(),
        batch: crate::work::BatchId("batch".into()),
        created_at: None,
        expires_at: None,
        adopted: true,
    }));
    check(&story, &[poll(&attempt)], &Standing::Working);
    story.lands(&attempt, 0);
    let recheck = Step::Recheck { attempt };
    check(&story, &[recheck], &Standing::Settled);
}

#[test]
fn chunks_wait_while_the_queue_is_full() {
    let mut story = Story::of(&[10, 10, 10]);
    story.learned(25, true);
    let first = story.accepted(0);
    check(&story, &[poll(&first), submit(1)], &Standing::Working);
    let busy = Desk {
        busy: [submit(1)].into(),
        ..Desk::default()
    };
    assert_eq!(asked(&story, &busy, &pace()).steps, [poll(&first)]);
    let second = story.promised(1);
    let steps = [poll(&first), recover(&second)];
    check(&story, &steps, &Standing::Working);
}

#[test]
fn one_chunk_is_split_at_a_time_and_only_in_a_whole_plan() {
    let mut story = Story::of(&[10, 10]);
    story.learned(5, true);
    check(&story, &[Step::Split { chunk: 0 }], &Standing::Working);
    let mut story = Story::with_trial(0);
    story.stored(0, 0, 10);
    story.learned(5, true);
    check(&story, &[], &Standing::Working);
}

#[test]
fn what_is_being_sent_is_not_split_nor_the_other_way_round() {
    let mut story = Story::of(&[10]);
    for (busy, limit) in [(submit(0), 5), (Step::Split { chunk: 0 }, 50)] {
        story.learned(limit, true);
        let desk = Desk {
            busy: [busy].into(),
            ..Desk::default()
        };
        assert!(asked(&story, &desk, &pace()).steps.is_empty());
    }
}

#[test]
fn what_the_provider_finds_too_large_is_split() {
    let story = Story::of(&[10]);
    let desk = Desk {
        too_large: [0].into(),
        ..Desk::default()
    };
    let next = asked(&story, &desk, &pace());
    assert_eq!(next.steps, [Step::Split { chunk: 0 }]);
}

#[test]
fn a_chunk_is_sent_whole_or_in_parts_and_never_both() {
    let story = Story::of(&[10]);
    let busy = |step: Step| Desk {
        too_large: [0].into(),
        busy: [step].into(),
        ..Desk::default()
    };
    // It is being sent, and is promised in a moment, when the lesson arrives that it is too large.
    let sending = asked(&story, &busy(submit(0)), &pace());
    assert_eq!(sending.steps, []);
    let splitting = asked(&story, &busy(Step::Split { chunk: 0 }), &pace());
    assert_eq!(splitting.steps, []);
}

#[test]
fn the_parts_of_a_split_chunk_take_its_place() {
    let mut story = Story::of(&[10]);
    story.rejected(0, true);
    story.tell(Action::ChunkSplit { plan: 0, chunk: 0 });
    story.stored(0, 0, 5);
    story.stored(0, 5, 5);
    check(&story, &[submit(1), submit(2)], &Standing::Working);
    story.landed(1, 0);
    story.landed(2, 0);
    check(&story, &[Step::Publish], &Standing::Settled);
}

#[test]
fn the_trial_goes_first_and_is_never_split() {
    let mut story = Story::with_trial(3);
    story.stored(0, 0, 3);
    story.stored(0, 3, 10);
    story.learned(2, true);
    story.sealed();
    check(&story, &[submit(0)], &Standing::Working);
}

#[test]
fn a_body_that_nothing_needs_is_discarded_once() {
    let mut story = Story::of(&[10]);
    let attempt = story.accepted(0);
    let file = "file-1".to_owned();
    story.tell(Action::Staged {
        attempt: attempt.clone(),
        file,
    });
    check(&story, &[poll(&attempt)], &Standing::Working);
    story.lands(&attempt, 0);
    let discard = Step::Discard {
        attempt: attempt.clone(),
    };
    check(&story, &[discard, Step::Publish], &Standing::Settled);
    story.tell(Action::Discarded { attempt });
    check(&story, &[Step::Publish], &Standing::Settled);
}

#[test]
fn what_failed_in_passing_is_sent_again_within_the_limit() {
    let mut story = Story::of(&[10]);
    story.landed(0, 4);
    check(&story, &[Step::Resend { wave: 1 }], &Standing::Working);
    story.stored(1, 0, 4);
    story.landed(1, 2);
    check(&story, &[Step::Resend { wave: 2 }], &Standing::Working);
    story.stored(2, 0, 2);
    story.landed(2, 1);
    check(&story, &[Step::Publish], &Standing::Settled);
}

#[test]
fn a_refusal_for_good_stops_the_plan() {
    let mut story = Story::of(&[10, 10]);
    let attempt = story.rejected(0, false);
    check(&story, &[], &Standing::Refused { attempt });
}

#[test]
fn a_cancel_stops_what_is_open_and_sends_nothing_more() {
    let mut story = Story::of(&[10, 10]);
    let attempt = story.accepted(0);
    story.tell(Action::CancelAsked { plan: 0 });
    let cancel = Step::Cancel {
        attempt: attempt.clone(),
    };
    check(&story, &[cancel], &Standing::Working);
    story.tell(Action::CancelSent {
        attempt: attempt.clone(),
    });
    check(&story, &[poll(&attempt)], &Standing::Working);
    story.lands(&attempt, 10);
    check(&story, &[Step::Publish], &Standing::Settled);
}

#[test]
fn nothing_is_tried_again_before_its_time() {
    let story = Story::of(&[10]);
    let desk = Desk {
        not_before: [(submit(0), at(30))].into(),
        ..Desk::default()
    };
    let next = asked(&story, &desk, &pace());
    assert_eq!((next.steps, next.wake), (vec![], Some(at(30))));
}

#[test]
fn a_trial_that_is_too_large_is_split_and_its_parts_are_the_trial() {
    let mut story = Story::with_trial(3);
    story.stored(0, 0, 3);
    story.stored(0, 3, 10);
    story.sealed();
    let desk = Desk {
        too_large: [0].into(),
        ..Desk::default()
    };
    let next = asked(&story, &desk, &pace());
    assert_eq!(next.steps, [Step::Split { chunk: 0 }]);
    story.tell(Action::ChunkSplit { plan: 0, chunk: 0 });
    story.stored(0, 0, 2);
    story.stored(0, 2, 1);
    check(&story, &[submit(2), submit(3)], &Standing::Working);
    story.landed(2, 0);
    let part = story.accepted(3);
    check(&story, &[poll(&part), submit(1)], &Standing::Working);
}

#[test]
fn one_request_that_is_too_large_is_landed_as_failed() {
    let story = Story::of(&[1]);
    let desk = Desk {
        too_large: [0].into(),
        ..Desk::default()
    };
    assert_eq!(
        asked(&story, &desk, &pace()).steps,
        [Step::Fail { chunk: 0 }]
    );
}

#[test]
fn a_new_run_sends_again_what_was_refused() {
    let mut story = Story::of(&[10]);
    story.rejected(0, false);
    story.tell(Action::RunStarted(crate::ledger::action::RunStarted {
        run: "run-2".into(),
        command: "run".into(),
        version: "0".into(),
        at: at(1),
    }));
    check(&story, &[submit(0)], &Standing::Working);
}

#[test]
fn whichever_part_of_a_split_trial_comes_home_first_lets_the_others_go() {
    let split = || {
        let mut story = Story::with_trial(3);
        story.stored(0, 0, 3);
        story.stored(0, 3, 10);
        story.sealed();
        story.tell(Action::ChunkSplit { plan: 0, chunk: 0 });
        story.stored(0, 0, 2);
        story.stored(0, 2, 1);
        story
    };
    let mut story = split();
    let open = story.accepted(2);
    story.landed(3, 0);
    check(&story, &[poll(&open), submit(1)], &Standing::Working);

    // One part is refused for good, and the other is not.
    let mut story = split();
    let failed = story.accepted(2);
    story.fails(&failed);
    let open = story.accepted(3);
    check(&story, &[poll(&open)], &Standing::Working);
    story.lands(&open, 0);
    check(&story, &[submit(1)], &Standing::Working);

    let mut story = split();
    for part in [2, 3] {
        let failed = story.accepted(part);
        story.fails(&failed);
    }
    let next = asked(&story, &Desk::default(), &pace());
    assert!(
        matches!(next.standing, Standing::TrialFailed { .. }),
        "{next:?}"
    );
}

#[test]
fn nothing_more_is_sent_once_the_account_was_refused_and_what_is_open_comes_home() {
    let mut story = Story::of(&[10, 10, 10]);
    let refused = story.accepted(0);
    let open = story.accepted(1);
    story.refused_account(&refused, 4);
    check(&story, &[poll(&open)], &Standing::Working);
    story.lands(&open, 2);
    let standing = Standing::AccountRefused { attempt: refused };
    check(&story, &[], &standing);
    let partial = Pace {
        publish_partial: true,
        ..pace()
    };
    let next = asked(&story, &Desk::default(), &partial);
    assert_eq!((next.steps, next.standing), (vec![Step::Publish], standing));
    story.tell(Action::CancelAsked { plan: 0 });
    check(&story, &[Step::Publish], &Standing::Settled);
}

#[test]
fn a_chunk_whose_time_has_not_come_takes_no_room_from_those_behind_it() {
    let mut story = Story::of(&[10, 10]);
    story.learned(15, true);
    let desk = Desk {
        not_before: [(submit(0), at(30))].into(),
        ..Desk::default()
    };
    let next = asked(&story, &desk, &pace());
    assert_eq!((next.steps, next.wake), (vec![submit(1)], Some(at(30))));
}
