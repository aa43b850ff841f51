//! A state told fact by fact, for the tests of what is pure.

use crate::base::Time;
use crate::ledger::action::{
    Accepted, Action, ChunkStored, Landed, LedgerMade, Oddities, PlanCompleted, PlanCounts,
    PlanStarted, Promised, Published,
};
use crate::ledger::state::State;
use crate::provider::QueueUnit;
use crate::work::{
    AnswerType, Api, BatchId, BatchStatus, CacheUse, RowStatus, Shape, StatusCounts, Usage, Variant,
};

use super::again::AgainRule;
use super::cache::CachePolicy;
use super::limits::RunLimits;
use super::queue::Queue;

/// A plan, and what has become of it so far.
pub(crate) struct Scenario(pub State);

pub(crate) fn at(seconds: i64) -> Time {
    Time::from_timestamp(1_800_000_000 + seconds, 0).expect("in range")
}

pub(crate) fn limits() -> RunLimits {
    RunLimits {
        submits_max: 2,
        polls_max: 4,
        sends_max: 3,
        again: AgainRule::default(),
        may_submit: true,
        publish_partial: false,
        cancel_on_interrupt: false,
        queue: queue(QueueUnit::Requests),
        cache: CachePolicy::Nothing,
    }
}

pub(crate) fn queue(unit: QueueUnit) -> Queue {
    Queue {
        unit,
        account: "account".into(),
        model: "model".into(),
        limit: None,
    }
}

impl Scenario {
    /// A plan whose first `trial` requests are tried before the others.
    pub(crate) fn with_trial(trial: u64) -> Scenario {
        let mut scenario = Scenario(State::default());
        scenario.tell(Action::LedgerMade(LedgerMade {
            ledger: "ledger".into(),
            job: "job".into(),
            source: "table".into(),
            key: Vec::new(),
            output: None,
        }));
        scenario.tell(Action::PlanStarted(Box::new(PlanStarted {
            plan: 0,
            run: "run".into(),
            at: at(0),
            digest: "digest".into(),
            job: serde_json::Value::Null,
            shape: Shape {
                api: Api::Messages,
                service: "service".into(),
                model: "model".into(),
                system: None,
                max_output_tokens: 1,
                temperature: None,
                params: serde_json::Map::new(),
                answer: AnswerType::Text,
                examples: Vec::new(),
                assistant_prefix: None,
                attachments: false,
            },
            fingerprint: "fingerprint".into(),
            pins: Vec::new(),
            snapshot: false,
            rows: 0,
            has_key: false,
            trial,
            deferred: false,
        })));
        scenario
    }

    /// A completed plan of chunks with so many requests each.
    pub(crate) fn of(chunks: &[u64]) -> Scenario {
        let mut scenario = Scenario::with_trial(0);
        let mut first = 0;
        for requests in chunks {
            scenario.stored(0, first, *requests);
            first += requests;
        }
        scenario.completed();
        scenario
    }

    #[expect(
        clippy::needless_pass_by_value,
        reason = "facts are written where they are told"
    )]
    pub(crate) fn tell(&mut self, action: Action) {
        self.0.apply(&action).expect("the fact follows");
    }

    /// Stores the next chunk. Each request has forty bytes.
    pub(crate) fn stored(&mut self, round: u32, first: u64, requests: u64) {
        self.store(round, (first, requests), false, Variant::default());
    }

    /// The same, of requests that are asked as `variant`.
    pub(crate) fn varied(&mut self, round: u32, requests: u64, variant: Variant) {
        self.store(round, (0, requests), false, variant);
    }

    /// The same, of a chunk that goes before the others.
    pub(crate) fn primer(&mut self, round: u32, first: u64, requests: u64) {
        self.store(round, (first, requests), true, Variant::default());
    }

    fn store(&mut self, round: u32, (first, requests): (u64, u64), primer: bool, variant: Variant) {
        let chunk = self.0.plans[&0].chunks.len() as u64;
        self.tell(Action::ChunkStored(ChunkStored {
            plan: 0,
            chunk,
            round,
            first,
            listed: round > 0,
            requests,
            lines: None,
            body_bytes: 40 * requests,
            nonce: format!("nonce{chunk}"),
            primer,
            variant,
        }));
    }

    /// Completes the plan. Each prompt has eight bytes.
    pub(crate) fn completed(&mut self) {
        let chunks = self.0.plans[&0].chunks.values();
        let requests = chunks.map(|chunk| chunk.stored.requests).sum();
        self.tell(Action::PlanCompleted(PlanCompleted {
            plan: 0,
            requests,
            rows: PlanCounts {
                new: requests,
                ..PlanCounts::default()
            },
            prompt_bytes: 8 * requests,
        }));
    }

    /// Promises an attempt at `chunk`; its name.
    pub(crate) fn promised(&mut self, chunk: u64) -> String {
        self.promise(chunk, at(0), None)
    }

    pub(crate) fn promise(&mut self, chunk: u64, at: Time, cache: Option<CacheUse>) -> String {
        let attempt = format!("attempt-{:03}", self.0.attempts.len());
        let stored = self.0.plans[&0].chunks[&chunk].stored.clone();
        self.tell(Action::Promised(Promised {
            attempt: attempt.clone(),
            plan: 0,
            chunk,
            number: 1,
            nonce: stored.nonce,
            requests: stored.requests,
            body_bytes: stored.body_bytes,
            provider: "provider".into(),
            account: "account".into(),
            at,
            cache,
        }));
        attempt
    }

    /// Promises an attempt that the provider took.
    pub(crate) fn accepted(&mut self, chunk: u64) -> String {
        let attempt = self.promised(chunk);
        self.accept(&attempt);
        attempt
    }

    /// The same, of one that marks what its requests share, to be kept for an hour; promised so many
    /// seconds after the beginning.
    pub(crate) fn marked(&mut self, chunk: u64, seconds: i64) -> String {
        let attempt = self.promise(chunk, at(seconds), Some(CacheUse::Hour));
        self.accept(&attempt);
        attempt
    }

    fn accept(&mut self, attempt: &str) {
        let created_at = Some(self.0.attempts[attempt].promised.at);
        self.tell(Action::Accepted(Accepted {
            attempt: attempt.to_owned(),
            batch: BatchId(format!("batch of {attempt}")),
            created_at,
            expires_at: None,
            adopted: false,
        }));
    }

    /// An attempt that landed; all its requests succeeded but those that failed in passing.
    pub(crate) fn landed(&mut self, chunk: u64, transient: u64) -> String {
        let attempt = self.accepted(chunk);
        self.lands(&attempt, transient);
        attempt
    }

    /// All its requests failed for good.
    pub(crate) fn fails(&mut self, attempt: &str) {
        self.comes_home(attempt, (RowStatus::Failed, 0), (0, None));
    }

    /// So many of its requests were refused for the account's sake.
    pub(crate) fn refused_account(&mut self, attempt: &str, requests: u64) {
        self.comes_home(attempt, (RowStatus::Succeeded, requests), (requests, None));
    }

    pub(crate) fn lands(&mut self, attempt: &str, transient: u64) {
        self.comes_home(attempt, (RowStatus::Succeeded, transient), (0, None));
    }

    /// So many of its requests failed in passing, had an invalid answer and one that was cut; the others
    /// succeeded.
    pub(crate) fn returns(&mut self, chunk: u64, [failed, invalid, cut]: [u64; 3]) {
        let attempt = self.accepted(chunk);
        let requests = self.0.attempts[&attempt].promised.requests;
        let mut counts = StatusCounts::default();
        counts.add(RowStatus::Failed, failed);
        counts.add(RowStatus::Invalid, invalid);
        counts.add(RowStatus::Truncated, cut);
        counts.add(RowStatus::Succeeded, requests - failed - invalid - cut);
        self.tell(Action::Landed(Box::new(Landed {
            attempt,
            status: BatchStatus::Completed,
            error: None,
            counts,
            transient: failed,
            account: 0,
            cut,
            usage: Usage::default(),
            cost_micros: None,
            cache_saved_micros: None,
            ended_at: None,
            oddities: Oddities::default(),
        })));
    }

    /// All its requests succeeded, and used the provider's cache; so many seconds after the beginning.
    pub(crate) fn caches(&mut self, attempt: &str, seconds: i64) {
        let ended = Some(at(seconds));
        self.comes_home(attempt, (RowStatus::Succeeded, 0), (0, ended));
    }

    fn comes_home(
        &mut self,
        attempt: &str,
        (most, transient): (RowStatus, u64),
        (account, cached): (u64, Option<Time>),
    ) {
        let requests = self.0.attempts[attempt].promised.requests;
        let mut counts = StatusCounts::default();
        counts.add(most, requests - transient);
        counts.add(RowStatus::Failed, transient);
        self.tell(Action::Landed(Box::new(Landed {
            attempt: attempt.to_owned(),
            status: BatchStatus::Completed,
            error: None,
            counts,
            transient,
            account,
            cut: 0,
            usage: Usage {
                input: 7 * requests,
                cache_write_1h: u64::from(cached.is_some()),
                ..Usage::default()
            },
            cost_micros: None,
            cache_saved_micros: None,
            ended_at: cached,
            oddities: Oddities::default(),
        })));
    }

    /// An attempt that the provider refused, for now or for good.
    pub(crate) fn rejected(&mut self, chunk: u64, again: bool) -> String {
        let attempt = self.promised(chunk);
        let why = "no".to_owned();
        self.tell(Action::Rejected {
            attempt: attempt.clone(),
            why,
            again,
        });
        attempt
    }

    /// The provider's queue, or the job, says what fits in.
    pub(crate) fn learned(&mut self, limit: u64, told: bool) {
        self.tell(Action::QueueFull {
            account: "account".into(),
            model: "model".into(),
            limit,
            told,
            at: at(0),
        });
    }

    pub(crate) fn published(&mut self, partial: bool) {
        let landed = self.0.landed_count(0);
        self.tell(Action::Published(Box::new(Published {
            publish: "publish".into(),
            plan: 0,
            digest: "digest".into(),
            output: "output".into(),
            rows: StatusCounts::default(),
            landed,
            partial,
            at: at(0),
        })));
    }
}
