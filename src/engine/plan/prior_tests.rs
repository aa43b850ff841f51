//! What earlier plans know, against a scan of all that they were told: histories of plans, limits, rules,
//! failed trials, retries and late batches are drawn, and the index is damaged between them.

use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::base::{Components, Crash, Stores, Time};
use crate::ledger::SharedMap;
use crate::ledger::action::{
    Action, ChunkStored, Landed, Oddities, PlanCompleted, PlanCounts, PlanStarted, Promised,
    RequestPlace, RetryAsked,
};
use crate::ledger::index::IndexFolder;
use crate::ledger::outcomes::OutcomesWriter;
use crate::work::{AnswerType, Api, BatchStatus, Content, Outcome, StatusCounts, Usage, Variant};

/// Prompts that there are.
const PROMPTS: u8 = 12;

/// What a person wants asked again.
#[derive(Clone, Copy, Debug)]
enum Retry {
    Status(RowStatus),
    /// The last plan's first request.
    First,
}

/// One plan, and what is done before the next.
#[expect(clippy::struct_excessive_bools, reason = "each is a choice of its own")]
#[derive(Clone, Debug)]
struct Planned {
    is_older: bool,
    model: &'static str,
    limit: u32,
    trial_fails: bool,
    /// Its requests: the prompt, how it ended, and whether that was in passing.
    requests: Vec<(u8, RowStatus, bool)>,
    /// Whether its outcomes land only after the next plan has looked at its rows.
    is_late: bool,
    /// What a person wants again afterwards.
    retry: Option<Retry>,
    /// Whether the next plan is only looked at.
    is_only_looked_at: bool,
    damage: Option<Damage>,
}

/// What befalls the files of the index.
#[derive(Clone, Copy, Debug)]
enum Damage {
    Gone,
    Cut,
    Altered,
    AllGone,
}

const SETTLED: [RowStatus; 5] = [
    RowStatus::Succeeded,
    RowStatus::Invalid,
    RowStatus::Refused,
    RowStatus::Truncated,
    RowStatus::Failed,
];

fn planned() -> impl Strategy<Value = Planned> {
    let request = (0..PROMPTS, select(&SETTLED[..]), prop::bool::weighted(0.1));
    let requests = prop::collection::btree_map(0..PROMPTS, request, 1..8);
    let status = select(&SETTLED[1..]).prop_map(Retry::Status);
    let retry = prop_oneof![status, Just(Retry::First)];
    let retry = prop::option::weighted(0.3, retry);
    let damage = select(vec![
        Damage::Gone,
        Damage::Cut,
        Damage::Altered,
        Damage::AllGone,
    ]);
    let odds = (
        prop::bool::weighted(0.3),
        prop::bool::weighted(0.15),
        prop::bool::weighted(0.2),
        prop::bool::weighted(0.2),
    );
    let names = (select(vec!["a", "b"]), select(vec![16u32, 32, 64]));
    (
        requests,
        retry,
        prop::option::weighted(0.3, damage),
        odds,
        names,
    )
        .prop_map(|(requests, retry, damage, odds, (model, limit))| Planned {
            is_older: odds.0,
            model,
            limit,
            trial_fails: odds.1,
            // Each prompt once.
            requests: requests
                .into_iter()
                .map(|(prompt, (_, status, transient))| (prompt, status, transient))
                .collect(),
            is_late: odds.2,
            retry,
            is_only_looked_at: odds.3,
            damage,
        })
}

fn shape(model: &str, limit: u32) -> Shape {
    Shape {
        api: Api::Messages,
        service: "service".into(),
        model: model.to_owned(),
        system: None,
        max_output_tokens: limit,
        temperature: None,
        params: serde_json::Map::new(),
        answer: AnswerType::Text,
        examples: Vec::new(),
        assistant_prefix: None,
        attachments: false,
    }
}

fn prompt(n: u8) -> String {
    format!("prompt {n}")
}

fn time() -> Time {
    Time::from_timestamp(1_800_000_000, 0).expect("in range")
}

/// A ledger that is told what happens.
struct History {
    state: State,
    files: Files,
    plans: Vec<Planned>,
    /// The retries, with the last plan at that time.
    retries: Vec<(u64, Retry)>,
    components: Components,
    folder: tempfile::TempDir,
}

impl History {
    fn new() -> History {
        let folder = tempfile::tempdir().expect("a folder");
        let ledger = folder.path().join("ledger").display().to_string();
        let root = Stores::default().locate(&ledger).expect("a place");
        History {
            state: State::default(),
            files: Files::new(&root, &Crash::never()).expect("files"),
            plans: Vec::new(),
            retries: Vec::new(),
            components: Components::system(),
            folder,
        }
    }

    fn tell(&mut self, action: &Action) {
        self.state.apply(action).expect("it follows");
    }

    fn next(&self) -> u64 {
        self.plans.len() as u64
    }

    /// Begins and sends a plan.
    fn plan(&mut self, planned: &Planned) {
        let number = self.next();
        // Rules never go back.
        let is_older = planned.is_older && self.state.key_rule == KeyRule::WithLimit;
        if !is_older {
            let rule = KeyRule::WithoutLimit;
            self.tell(&Action::RequestKeys { rule });
        }
        let shape = shape(planned.model, planned.limit);
        let requests = planned.requests.len() as u64;
        self.tell(&Action::PlanStarted(Box::new(PlanStarted {
            plan: number,
            run: "run".into(),
            at: time(),
            digest: "digest".into(),
            job: serde_json::Value::Null,
            fingerprint: shape.fingerprint(),
            shape,
            pins: Vec::new(),
            snapshot: false,
            rows: requests,
            has_key: false,
            trial: if planned.trial_fails { requests } else { 0 },
            deferred: false,
        })));
        self.tell(&Action::ChunkStored(ChunkStored {
            plan: number,
            chunk: 0,
            round: 0,
            first: 0,
            listed: false,
            requests,
            lines: None,
            body_bytes: 1,
            nonce: "nonce".into(),
            primer: false,
            variant: Variant::default(),
        }));
        self.tell(&Action::PlanCompleted(PlanCompleted {
            plan: number,
            requests,
            rows: PlanCounts::default(),
            prompt_bytes: 1,
        }));
        self.tell(&Action::Promised(Promised {
            attempt: attempt(number),
            plan: number,
            chunk: 0,
            number: 1,
            nonce: "nonce".into(),
            requests,
            body_bytes: 1,
            provider: "provider".into(),
            account: "account".into(),
            at: time(),
            cache: None,
        }));
        self.plans.push(Planned {
            is_older,
            ..planned.clone()
        });
    }

    /// Brings the outcomes of plan `number` home.
    fn land(&mut self, number: u64) {
        let planned = self.plans[usize::try_from(number).expect("small")].clone();
        let id = attempt(number);
        let place = self.files.outcomes(&self.state.attempts[&id]);
        let path = place.local.expect("on disk");
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        let mut writer = OutcomesWriter::create(&path, (&id, "batch"), None).expect("a file");
        let rule = rule(&planned);
        let keyer = shape(planned.model, planned.limit).keyer(rule);
        let mut counts = StatusCounts::default();
        let mut passing = 0;
        for (ordinal, (n, status, transient)) in (0..).zip(&planned.requests) {
            let status = if planned.trial_fails {
                RowStatus::Failed
            } else {
                *status
            };
            let transient = *transient && !planned.trial_fails;
            let outcome = match status {
                RowStatus::Succeeded => Outcome::succeeded("yes".into()),
                status => Outcome {
                    transient,
                    ..Outcome::without_answer(status, "no".into())
                },
            };
            counts.add(status, 1);
            passing += u64::from(outcome.transient);
            let key = keyer.key(&prompt(*n), None);
            writer.push(ordinal, key, &outcome).expect("written");
        }
        writer.finish().expect("finished");
        self.tell(&Action::Landed(Box::new(Landed {
            attempt: id,
            status: BatchStatus::Completed,
            error: None,
            counts,
            transient: passing,
            account: 0,
            cut: 0,
            usage: Usage::default(),
            cost_micros: None,
            oddities: Oddities::default(),
            cache_saved_micros: None,
            ended_at: None,
        })));
    }

    fn retry(&mut self, wanted: Retry) {
        let plan = self.next() - 1;
        let first = RequestPlace { plan, ordinal: 0 };
        let (statuses, requests) = match wanted {
            Retry::Status(status) => (vec![status], Vec::new()),
            Retry::First => (Vec::new(), vec![first]),
        };
        self.tell(&Action::RetryAsked(RetryAsked {
            plan,
            statuses,
            requests,
            at: time(),
        }));
        self.retries.push((plan, wanted));
    }

    fn damage(&self, damage: Damage) {
        let folder = self.files.index().local.expect("on disk");
        let entries = std::fs::read_dir(folder).into_iter().flatten();
        let mut files: Vec<_> = entries
            .map(|entry| entry.expect("an entry").path())
            .collect();
        files.sort();
        for path in files.iter().rev() {
            let mut bytes = std::fs::read(path).expect("readable");
            let middle = bytes.len() / 3;
            match damage {
                Damage::Gone | Damage::AllGone => std::fs::remove_file(path).expect("removed"),
                Damage::Cut => std::fs::write(path, &bytes[..middle]).expect("written"),
                Damage::Altered => {
                    bytes[middle] ^= 1;
                    std::fs::write(path, bytes).expect("written");
                }
            }
            if !matches!(damage, Damage::AllGone) {
                return;
            }
        }
    }

    /// What a plan of `shape` finds for each prompt.
    async fn found(&self, shape: &Shape, is_kept: bool) -> Vec<Option<Place>> {
        let setup = IndexSetup {
            state: &self.state,
            files: &self.files,
            components: &self.components,
            memory: 1 << 20,
            is_kept,
        };
        let question = PlanQuestion {
            plan: self.next(),
            shape,
            rule: KeyRule::NEWEST,
        };
        let mut prior = PriorAnswers::read(setup, &question).await.expect("read");
        let keyer = shape.keyer(KeyRule::NEWEST);
        prior.begin(PROMPTS.into());
        for n in 0..PROMPTS {
            let prompt = prompt(n);
            prior.want(
                n.into(),
                keyer.key(&prompt, None),
                Content::text(&prompt),
                None,
            );
        }
        prior.look_up().await.expect("looked up");
        let mut find = |n: u8| {
            let prompt = prompt(n);
            prior.find(
                n.into(),
                keyer.key(&prompt, None),
                Content::text(&prompt),
                None,
            )
        };
        (0..PROMPTS)
            .map(|n| find(n).expect("found or not"))
            .collect()
    }

    /// The same by looking at everything that ever came back.
    fn scanned(&self, shape: &Shape) -> Vec<Option<Place>> {
        (0..PROMPTS).map(|n| self.scan(shape, n)).collect()
    }

    fn scan(&self, shape: &Shape, n: u8) -> Option<Place> {
        let mut best = None;
        for (number, planned) in (0..).zip(&self.plans) {
            let landed = self.state.attempts[&attempt(number)].landed.is_some();
            if !landed || planned.trial_fails || planned.model != shape.model {
                continue;
            }
            for (ordinal, (prompt, status, transient)) in (0..).zip(&planned.requests) {
                let is_passing = *transient && *status != RowStatus::Succeeded;
                if *prompt != n || is_passing || self.is_retried(number, ordinal, *status) {
                    continue;
                }
                let (then, now) = (planned.limit, shape.max_output_tokens);
                let settles = match status {
                    RowStatus::Succeeded => 3,
                    RowStatus::Invalid | RowStatus::Refused => 2,
                    RowStatus::Truncated if then >= now => 1,
                    RowStatus::Failed if then == now => 1,
                    _ => continue,
                };
                let plan = u32::try_from(number).expect("small");
                best = best.max(Some((settles, Place { plan, ordinal })));
            }
        }
        best.map(|(_, place)| place)
    }

    fn is_retried(&self, plan: u64, ordinal: u64, status: RowStatus) -> bool {
        let mut retries = self.retries.iter().filter(|(last, _)| *last >= plan);
        status != RowStatus::Succeeded
            && retries.any(|(last, wanted)| match wanted {
                Retry::Status(wanted) => *wanted == status,
                Retry::First => *last == plan && ordinal == 0,
            })
    }
}

fn rule(planned: &Planned) -> KeyRule {
    if planned.is_older {
        KeyRule::WithLimit
    } else {
        KeyRule::WithoutLimit
    }
}

fn attempt(plan: u64) -> String {
    format!("attempt-{plan:03}")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_plan_finds_what_a_scan_of_all_outcomes_does(
        plans in prop::collection::vec(planned(), 1..7),
        asks in prop::collection::vec((select(vec!["a", "b"]), select(vec![16u32, 32, 64])), 7),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let mut history = History::new();
            let mut late = None;
            for (planned, (model, limit)) in plans.iter().zip(asks) {
                history.plan(planned);
                let number = history.next() - 1;
                if !planned.is_late {
                    history.land(number);
                }
                if let Some(wanted) = planned.retry {
                    history.retry(wanted);
                }
                if let Some(damage) = planned.damage {
                    history.damage(damage);
                }
                let shape = shape(model, limit);
                let found = history.found(&shape, !planned.is_only_looked_at).await;
                assert_eq!(found, history.scanned(&shape), "after plan {number}");
                // What is late is home before the plan after the next.
                let landed: Option<u64> = std::mem::replace(&mut late, planned.is_late.then_some(number));
                if let Some(number) = landed {
                    history.land(number);
                }
            }
            drop(history.folder);
        });
    }
}

/// A plan that is gone on with finds what it found at first, whatever a person asked for meanwhile: the
/// numbers of its requests follow from that.
#[tokio::test]
async fn a_retry_is_for_the_plan_after_the_one_that_is_being_made() {
    let mut history = History::new();
    let planned = Planned {
        is_older: false,
        model: "a",
        limit: 64,
        trial_fails: false,
        requests: vec![
            (0, RowStatus::Refused, false),
            (1, RowStatus::Succeeded, false),
        ],
        is_late: false,
        retry: None,
        is_only_looked_at: false,
        damage: None,
    };
    history.plan(&planned);
    history.land(0);
    let shape = shape("a", 64);
    let before = history.found(&shape, true).await;
    assert!(before[0].is_some() && before[1].is_some(), "{before:?}");
    // Plan 1 is being made when the wish is written.
    let begun = PlanStarted {
        plan: 1,
        ..history.state.plans[&0].started.clone()
    };
    history.tell(&Action::PlanStarted(Box::new(begun)));
    history.tell(&Action::RetryAsked(RetryAsked {
        plan: 1,
        statuses: vec![RowStatus::Refused],
        requests: Vec::new(),
        at: time(),
    }));
    assert_eq!(history.found(&shape, true).await, before);
    // The one after it asks anew.
    history.plans.push(planned);
    let next = history.found(&shape, true).await;
    assert_eq!((next[0], next[1]), (None, before[1]));
}

/// A log that was replaced by an older copy, and went on otherwise: what the index says is not of it.
#[tokio::test]
async fn an_index_of_another_history_is_not_believed() {
    let planned = |requests: &[(u8, RowStatus, bool)]| Planned {
        is_older: false,
        model: "a",
        limit: 64,
        trial_fails: false,
        requests: requests.to_vec(),
        is_late: false,
        retry: None,
        is_only_looked_at: false,
        damage: None,
    };
    let mut history = History::new();
    history.plan(&planned(&[(0, RowStatus::Succeeded, false)]));
    history.land(0);
    let shape = shape("a", 64);
    assert!(history.found(&shape, true).await[0].is_some());
    // Another attempt, of another request, where that one was.
    (history.state, history.plans) = (State::default(), Vec::new());
    let other = planned(&[(1, RowStatus::Succeeded, false)]);
    history.plan(&other);
    let mut attempt = history.state.attempts[&attempt(0)].clone();
    attempt.promised.attempt = "another".to_owned();
    history.land(0);
    attempt.landed = history.state.attempts[&self::attempt(0)].landed.clone();
    history.state.attempts = SharedMap::default();
    history.state.attempts.insert("another".to_owned(), attempt);
    let found = history.found(&shape, true).await;
    assert_eq!((found[0], found[1].is_some()), (None, true));
}

/// What may still get outcomes is looked at anew each time, and becomes part of the index when it cannot.
#[tokio::test]
async fn a_plan_whose_batches_are_open_is_not_in_the_index_yet() {
    let planned = |n: u8| Planned {
        is_older: false,
        model: "a",
        limit: 64,
        trial_fails: false,
        requests: vec![(n, RowStatus::Succeeded, false)],
        is_late: false,
        retry: None,
        is_only_looked_at: false,
        damage: None,
    };
    let mut history = History::new();
    for n in 0..3 {
        history.plan(&planned(n));
    }
    history.land(0);
    history.land(2);
    let shape = shape("a", 64);
    let covered = async |history: &History| {
        let found = history.found(&shape, true).await;
        let folder = IndexFolder::list(&history.files.index()).await;
        let manifest = folder.expect("listed").manifest().await.expect("read");
        let found: Vec<_> = found[..3].iter().map(Option::is_some).collect();
        (manifest.map(|manifest| manifest.plans), found)
    };
    assert_eq!(covered(&history).await, (Some(1), vec![true, false, true]));
    history.land(1);
    assert_eq!(covered(&history).await, (Some(3), vec![true, true, true]));
}
