use super::*;
use crate::engine::decide::scenario::{Scenario, at, queue};

fn admitted(scenario: &Scenario, chunk: u64, entering: u64, now: Time) -> Admission {
    let gauge = queue(QueueUnit::Requests).gauge(&scenario.0, now);
    gauge.admit(&scenario.0.plans[&0].chunks[&chunk].stored, entering)
}

#[test]
fn without_a_known_limit_everything_enters() {
    let mut scenario = Scenario::of(&[100, 100, 100]);
    scenario.accepted(0);
    scenario.accepted(1);
    assert_eq!(admitted(&scenario, 2, 1_000_000, at(1)), Admission::Enter);
}

#[test]
fn within_a_limit_chunks_wait_their_turn() {
    let mut scenario = Scenario::of(&[100, 100, 100]);
    scenario.learned(250, true);
    let first = scenario.accepted(0);
    assert_eq!(admitted(&scenario, 1, 0, at(1)), Admission::Enter);
    assert_eq!(
        admitted(&scenario, 1, 100, at(1)),
        Admission::Wait,
        "one is on its way"
    );
    scenario.promised(1);
    assert_eq!(
        admitted(&scenario, 2, 0, at(1)),
        Admission::Wait,
        "what may be there counts"
    );
    scenario.lands(&first, 0);
    assert_eq!(admitted(&scenario, 2, 0, at(1)), Admission::Enter);
}

#[test]
fn what_nobody_can_settle_does_not_keep_the_others_waiting() {
    let mut scenario = Scenario::of(&[100, 100]);
    scenario.learned(150, true);
    let lost = scenario.promised(0);
    assert_eq!(admitted(&scenario, 1, 0, at(1)), Admission::Wait);
    let why = "nobody knows".to_owned();
    scenario.tell(crate::ledger::action::Action::Unsettled { attempt: lost, why });
    assert_eq!(admitted(&scenario, 1, 0, at(1)), Admission::Enter);
}

#[test]
fn a_chunk_that_alone_is_too_large_is_split_unless_it_is_one_request() {
    let mut scenario = Scenario::of(&[100, 1]);
    scenario.learned(99, true);
    assert_eq!(admitted(&scenario, 0, 0, at(1)), Admission::Split);
    scenario.learned(0, true);
    assert_eq!(
        admitted(&scenario, 1, 0, at(1)),
        Admission::Enter,
        "try it all the same"
    );
}

#[test]
fn a_limit_is_believed_for_a_while() {
    for (told, hours) in [(true, 24), (false, 1)] {
        let mut scenario = Scenario::of(&[100]);
        scenario.learned(50, told);
        let end = at(hours * 3600);
        assert_eq!(
            admitted(&scenario, 0, 0, at(hours * 3600 - 1)),
            Admission::Split
        );
        assert_eq!(admitted(&scenario, 0, 0, end), Admission::Enter);
    }
}

#[test]
fn the_lower_of_the_jobs_limit_and_the_learned_one_holds() {
    let mut scenario = Scenario::of(&[100]);
    let mut queue = queue(QueueUnit::Requests);
    let admit = |queue: &Queue, scenario: &Scenario| {
        let chunk = &scenario.0.plans[&0].chunks[&0].stored;
        queue.gauge(&scenario.0, at(1)).admit(chunk, 0)
    };
    queue.limit = Some(60);
    assert_eq!(admit(&queue, &scenario), Admission::Split);
    queue.limit = Some(1000);
    assert_eq!(admit(&queue, &scenario), Admission::Enter);
    scenario.learned(60, true);
    assert_eq!(admit(&queue, &scenario), Admission::Split);
}

#[test]
fn only_the_same_account_and_model_count() {
    let mut scenario = Scenario::of(&[100, 100]);
    scenario.learned(150, true);
    scenario.accepted(0);
    let gauge = |unit, account: &str, model: &str| {
        let queue = Queue {
            account: account.into(),
            model: model.into(),
            ..queue(unit)
        };
        let gauge = queue.gauge(&scenario.0, at(1));
        (gauge.limit, gauge.enqueued)
    };
    assert_eq!(
        gauge(QueueUnit::Requests, "account", "model"),
        (Some(150), 100)
    );
    assert_eq!(gauge(QueueUnit::Requests, "other", "model"), (None, 0));
    // One queue of requests is all models'.
    assert_eq!(
        gauge(QueueUnit::Requests, "account", "other"),
        (Some(150), 100)
    );
    assert_eq!(
        gauge(QueueUnit::PromptTokens, "account", "other"),
        (None, 0)
    );
}

#[test]
fn tokens_are_estimated_until_batches_have_counted_them() {
    let weigh = |scenario: &Scenario, chunk| {
        let gauge = queue(QueueUnit::PromptTokens).gauge(&scenario.0, at(1));
        gauge.weigh(&scenario.0.plans[&0].chunks[&chunk].stored)
    };
    let mut scenario = Scenario::with_trial(0);
    scenario.stored(0, 0, 100);
    scenario.stored(0, 100, 40);
    // Forty bytes a request, of four bytes a token.
    assert_eq!(weigh(&scenario, 1), 400);
    scenario.completed();
    // Two tokens of the prompt, and nine of what is around it.
    assert_eq!(weigh(&scenario, 1), 440);
    scenario.landed(0, 0);
    // Seven tokens a request, as the landed ones had.
    assert_eq!(weigh(&scenario, 1), 280);
}

#[test]
fn a_batch_that_ended_early_does_not_teach_how_many_tokens_there_are() {
    let mut scenario = Scenario::of(&[100, 40]);
    scenario.landed(0, 1);
    let gauge = queue(QueueUnit::PromptTokens).gauge(&scenario.0, at(1));
    assert_eq!(gauge.weigh(&scenario.0.plans[&0].chunks[&1].stored), 440);
}

#[test]
fn a_refusal_teaches_the_limit() {
    let mut scenario = Scenario::of(&[100, 100]);
    let lesson = |scenario: &Scenario, refusals, named| {
        let gauge = queue(QueueUnit::Requests).gauge(&scenario.0, at(1));
        gauge.lesson(&scenario.0.plans[&0].chunks[&1].stored, refusals, named)
    };
    assert_eq!(
        lesson(&scenario, 1, Some(90)),
        Some((90, true)),
        "it was named"
    );
    assert_eq!(
        lesson(&scenario, 1, Some(900)),
        None,
        "others fill the queue"
    );
    assert_eq!(lesson(&scenario, 1, None), None);
    assert_eq!(
        lesson(&scenario, 3, None),
        Some((50, false)),
        "nothing of ours is in it"
    );
    scenario.accepted(0);
    assert_eq!(
        lesson(&scenario, 1, None),
        Some((100, false)),
        "so much was in it"
    );
    assert_eq!(lesson(&scenario, 1, Some(150)), Some((150, true)));
    assert_eq!(
        lesson(&scenario, 1, Some(900)),
        Some((100, false)),
        "less fits in than it says"
    );
}

#[test]
fn refusals_are_counted_in_a_row() {
    let mut scenario = Scenario::of(&[10]);
    scenario.rejected(0, true);
    let lost = scenario.promised(0);
    let assumed = false;
    scenario.tell(crate::ledger::action::Action::Absent {
        attempt: lost,
        assumed,
    });
    scenario.rejected(0, true);
    scenario.rejected(0, true);
    assert_eq!(refusals(&scenario.0, &scenario.0.plans[&0].chunks[&0]), 2);
}

#[test]
fn what_is_learned_of_a_shared_queue_holds_for_every_model() {
    let other = |unit| Queue {
        model: "another".into(),
        ..queue(unit)
    };
    let mut scenario = Scenario::of(&[100]);
    let limit = |scenario: &Scenario, unit| other(unit).gauge(&scenario.0, at(1)).limit;
    // By the name of the model that met it, as older versions wrote it.
    scenario.learned(40, true);
    assert_eq!(limit(&scenario, QueueUnit::Requests), Some(40));
    assert_eq!(limit(&scenario, QueueUnit::PromptTokens), None);
    for (unit, model) in [
        (QueueUnit::Requests, ""),
        (QueueUnit::PromptTokens, "another"),
    ] {
        assert_eq!(other(unit).counted_by(), model);
    }
}
