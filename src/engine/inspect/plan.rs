//! `plan`: what a run would do, without doing it.

use std::sync::Arc;

use super::again_forecast::AgainForecast;
use super::changes::{self, Change};
use super::forecast::CacheForecast;
use super::preflight::{Inspected, reask_notes, unknown_model};
use crate::base::Result;
use crate::engine::context::job_parts::JobParts;
use crate::engine::context::owner::stored_job;
use crate::engine::context::setup::Setup;
use crate::engine::context::source::{compile, sample};
use crate::engine::decide::cache::CacheChoice;
use crate::engine::plan::earlier::IndexSetup;
use crate::engine::plan::input::PlanInput;
use crate::engine::plan::planner::{Sink, Tally, plan_all};
use crate::engine::plan::prior::{PlanQuestion, PriorAnswers};
use crate::engine::session::report::is_over;
use crate::ledger::action::PlanCounts;
use crate::ledger::state::State;
use crate::provider::Provider;
use crate::source::Source;
use crate::spec::Job;
use crate::work::caching::tokens_of;
use crate::work::price::{Pricing, Tariff, micro_usd};
use crate::work::{Content, Frame, KeyRule, Load, RowStatus, StatusCounts, Usage};

/// What a run would do.
#[derive(Clone, Debug, PartialEq)]
pub struct PlanReport {
    /// The job's name.
    pub job: String,
    /// Rows of the source.
    pub rows: u64,
    /// Rows by what the plan makes of them.
    pub counts: PlanCounts,
    /// Requests that would be sent.
    pub requests: u64,
    /// Batches that they would go in.
    pub chunks: u64,
    /// Estimated input tokens.
    pub input_tokens: u64,
    /// The most output tokens that they can have.
    pub output_tokens_max: u64,
    /// Estimated cost by batch, half of the output being used, in millionths of a US dollar.
    pub expected_micros: Option<u64>,
    /// The most that it can cost by batch.
    pub worst_micros: Option<u64>,
    /// The most that it could cost online.
    pub online_worst_micros: Option<u64>,
    /// Why a cost is not known, where one is not.
    pub unpriced: Option<String>,
    /// What a run would do about the provider's prompt cache, and why.
    pub cache: CacheForecast,
    /// What a run would ask again for an answer that cannot be used.
    pub again: AgainForecast,
    /// The plan that this one is held against, if there is one.
    pub since: Option<u64>,
    /// What of the job is another than in that plan: why rows are stale.
    pub changes: Vec<Change>,
    /// Rows of that plan that are gone, or not chosen any more; where rows have a key.
    pub gone: Option<u64>,
    /// Why rows are skipped, and how many for each reason.
    pub skipped: Vec<(String, u64)>,
    /// What a person should know before running it.
    pub notes: Vec<String>,
}

/// Batches smaller than this wait as long as large ones, for little.
const TINY: u64 = 100;

/// What a run would do. Reads everything and sends nothing.
///
/// # Errors
/// Whatever is wrong with the job, its source, its key, its ledger's place or its output's. What a
/// run looks at besides is left to it: who holds the job, and what the provider says to a trial.
pub async fn plan(setup: Setup, provider: Arc<dyn Provider>) -> Result<PlanReport> {
    let job = &setup.job;
    let Inspected {
        ledger,
        files,
        source,
        parts,
        mut notes,
        ..
    } = Box::pin(Inspected::of(&setup, &*provider)).await?;
    let state = ledger.state();
    let number = state.next_plan();
    let question = PlanQuestion {
        plan: number,
        shape: &parts.shape,
        rule: KeyRule::NEWEST,
    };
    let index = IndexSetup {
        state,
        files: &files,
        components: &setup.components,
        memory: setup.memory,
        is_kept: false,
    };
    let mut prior = PriorAnswers::read(index, &question).await?;
    prior.expect(state, &question, &files).await?;
    let input = PlanInput {
        source: &source,
        key: &job.source.key,
        filter: parts.filter.as_ref(),
        limit: job.source.limit,
        sample: sample(job, &source, parts.filter.as_ref()).await?,
        columns: &parts.columns,
        dedupe: job.prompt.dedupe,
        defer: false,
        keyer: parts.shape.keyer(KeyRule::NEWEST),
        frame: &parts.frame,
        inputs: parts.inputs,
        limits: parts.limits,
        cache_bytes: parts.cache_bytes,
        first: 0,
        primes: false,
        attacher: parts.attacher.as_deref(),
    };
    let template = compile(job, &source)?;
    let planned = plan_all(&input, number, template, prior, Sink::Count, |_| ());
    let (tally, _) = Box::pin(planned).await?;
    let report = report(job, &source, &parts, &tally, state);
    notes.extend(notes_of(job, &parts, &tally, report.chunks, state));
    Ok(PlanReport { notes, ..report })
}

fn report(
    job: &Job,
    source: &Source,
    parts: &JobParts,
    tally: &Tally,
    state: &State,
) -> PlanReport {
    let bytes = tally.prompt_bytes + tally.requests * overhead(&parts.frame);
    let by_count = tally.requests.div_ceil(parts.limits.requests_max.max(1));
    let by_bytes = bytes.div_ceil(parts.limits.bytes_max.max(1));
    let primer = parts.cache.policy.primer(tally.requests);
    let chunks = by_count.max(by_bytes) + primer;
    let pricing = Pricing::of(&parts.shape.service, &parts.shape.model);
    let input_tokens = tokens_of(tally.prompt_bytes + tally.requests * parts.shared_bytes);
    let cache = CacheForecast::of(&parts.cache, tally.requests).priced(pricing);
    let limit = job.model.max_output_tokens;
    let once = tally.requests * u64::from(limit);
    let again = AgainForecast::of(job);
    let [own, other] = again.worst(tally.requests, input_tokens, limit);
    let other_pricing = match &again.reask_model {
        Some(model) => Pricing::of(&parts.shape.service, model),
        None => pricing,
    };
    let cost = |tariff, output, is_worst: bool| {
        if tally.requests == 0 {
            return Some(0);
        }
        let usage = Usage {
            input: input_tokens,
            output,
            ..Usage::default()
        };
        let mut cost = pricing.cost(tariff, &usage);
        if is_worst {
            cost += pricing.cost(tariff, &own) + other_pricing.cost(tariff, &other);
        }
        let is_known = pricing.is_known() && (!is_worst || other_pricing.is_known());
        is_known.then(|| micro_usd(cost))
    };
    let expected = cost(Tariff::Batch, once / 2, false);
    let worst = cost(Tariff::Batch, once, true);
    // What a cache saves is sure of nothing.
    let less = cache.saved_micros.unwrap_or(0);
    PlanReport {
        job: job.name.clone(),
        rows: source.rows().unwrap_or_default(),
        counts: tally.rows,
        requests: tally.requests,
        chunks,
        input_tokens,
        output_tokens_max: once + own.output + other.output,
        expected_micros: expected.map(|cost| cost.saturating_add_signed(-less)),
        worst_micros: worst.map(|cost| cost + cache.extra_micros),
        online_worst_micros: cost(Tariff::Online, once, true),
        unpriced: unpriced(job, &parts.shape.service, (pricing, other_pricing)),
        cache,
        again,
        since: state.plan().map(|last| last.started.plan),
        changes: last_job(state).map_or_else(Vec::new, |last| changes::between(&last, job)),
        gone: tally.gone,
        skipped: tally.reasons.skipped.clone().into_iter().collect(),
        notes: Vec::new(),
    }
}

/// Why nobody here knows what `service` takes for the job's model, or for the one that is asked again.
fn unpriced(job: &Job, service: &str, (own, other): (Pricing, Pricing)) -> Option<String> {
    if own.is_known() && other.is_known() {
        return None;
    }
    let reask_model = job.answer.reask_model.as_ref().filter(|_| own.is_known());
    let model = reask_model.unwrap_or(&job.model.model);
    if Pricing::of(&job.model.provider, model).is_known() && service != job.model.provider {
        let by = match (&job.model.service, &job.model.base_url) {
            (None, Some(_)) => "`base_url` leads to",
            _ => "the requests go to",
        };
        return Some(format!(
            "{by} {service}, and this version knows what the vendor itself takes"
        ));
    }
    Some(format!("this version has no price for the model {model}"))
}

/// The job as the last plan has it.
fn last_job(state: &State) -> Option<Job> {
    stored_job(state.plan()?).ok()
}

/// Bytes of a body that a request adds beside its text.
fn overhead(frame: &Frame) -> u64 {
    match frame.inputs {
        Some(_) => Load::of("", 2).bytes,
        None => frame.added_len(Content::text("")),
    }
}

fn notes_of(job: &Job, parts: &JobParts, tally: &Tally, chunks: u64, state: &State) -> Vec<String> {
    let mut notes = Vec::new();
    let open = state.open_attempts().filter(|open| !open.cancel_sent);
    let open: u64 = open.map(|open| open.promised.requests).sum();
    if open > 0 {
        notes.push(format!(
            "batches with {open} requests are open; a run harvests them first, and the rows that \
             ask the same are among the answered"
        ));
    }
    if state.is_retry_asked() {
        notes.push(
            "a retry was asked for: the rows that it means are among the changed, and are sent again"
                .to_owned(),
        );
    }
    if tally.requests > 0 && tally.requests / chunks.max(1) < TINY {
        notes.push(format!(
            "tiny batches: {} requests in {chunks}; a batch of a few takes as long as one of many",
            tally.requests
        ));
    }
    let mut counts = StatusCounts::default();
    counts.add(RowStatus::Failed, tally.rows.failed);
    counts.add(RowStatus::Pending, tally.rows.total() - tally.rows.failed);
    if is_over(job.budget.max_failed, &counts) {
        notes.push(
            "more rows cannot be asked than `max_failed` allows: a run asks the others, and ends with exit code 3"
                .to_owned(),
        );
    }
    if let Some(why) = &tally.reasons.failed {
        notes.push(format!("the first row that cannot be asked: {why}"));
    }
    notes.extend(movable(parts, tally.requests));
    notes.extend(reask_notes(job, &parts.shape.service));
    notes.extend(unknown_model(job, &parts.shape.service));
    notes
}

/// What to say where rows share the beginning of their own prompts, and it could be cached elsewhere.
fn movable(parts: &JobParts, requests: u64) -> Option<String> {
    let primes = |choice: &CacheChoice| choice.policy.primer(requests) > 0;
    (!primes(&parts.cache) && primes(&parts.cache_if_moved)).then(|| {
        "what `prompt.user` begins with is the same for all rows: in `prompt.system` it could be cached, and \
         that would pay"
            .to_owned()
    })
}
