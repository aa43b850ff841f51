//! Message Batches: create, list, retrieve, results, cancel, delete.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{FromRequestParts, Path, Query, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse as _, Response};
use chrono::SecondsFormat;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use xxhash_rust::xxh3::xxh3_64;

use super::message::write_line;
use super::params::{Endpoint, understand, verdicts};
use super::protocol::{MESSAGES, NAME, Version, not_found, too_large, version};
use crate::base::Time;
use crate::emulator::batch::{Batch, End, Phase};
use crate::emulator::download;
use crate::emulator::middleware;
use crate::emulator::problem::Problem;
use crate::emulator::rate::Rate;
use crate::emulator::record::RecordWriter;
use crate::emulator::results::Results;
use crate::emulator::schema::Verdicts;
use crate::emulator::split::Elements;
use crate::emulator::text::Borrowed;
use crate::emulator::world::{Caller, NewBatch, World, feed};

type Answer = Result<Response, Problem>;

/// Who calls, if all the batch endpoints together have room for one more call.
pub(super) struct Admitted(Caller);

impl FromRequestParts<Arc<World>> for Admitted {
    type Rejection = Problem;

    async fn from_request_parts(
        parts: &mut Parts,
        world: &Arc<World>,
    ) -> Result<Self, Self::Rejection> {
        let caller = parts.extensions.get::<Caller>().cloned();
        let caller = caller.ok_or_else(|| Problem::new(500, "api_error", "nobody calls"))?;
        if let Some(most) = world.config.anthropic.calls_per_minute_max {
            let per = Duration::from_mins(1);
            world
                .admit(Rate { most, per }, &caller.owner)
                .map_err(|wait| {
                    let text = format!(
                        "This request would exceed your organization's rate limit of {most} \
                         requests per minute."
                    );
                    Problem::new(429, "rate_limit_error", text).wait(wait)
                })?;
        }
        Ok(Admitted(caller))
    }
}

/// Takes the requests in as they come.
struct Intake<'w> {
    world: &'w World,
    version: Version,
    writer: RecordWriter,
    ids: HashSet<u64>,
    verdicts: Verdicts,
}

#[derive(Deserialize)]
struct Entry<'a> {
    #[serde(borrow)]
    custom_id: Option<Borrowed<'a>>,
    #[serde(borrow)]
    params: Option<&'a RawValue>,
}

impl Intake<'_> {
    fn take(&mut self, piece: &[u8]) -> Result<(), Problem> {
        let at = self.writer.count();
        if at >= self.world.config.anthropic.requests_max {
            let most = self.world.config.anthropic.requests_max;
            return Err(Problem::invalid(format!(
                "requests: List should have at most {most} items after validation"
            )));
        }
        let entry: Entry<'_> = serde_json::from_slice(piece).map_err(|error| {
            Problem::invalid(format!("The request body is not valid JSON: {error}"))
        })?;
        let missing = |field| Problem::invalid(format!("requests.{at}.{field}: Field required"));
        let custom_id = entry.custom_id.ok_or_else(|| missing("custom_id"))?.0;
        let params = entry.params.ok_or_else(|| missing("params"))?;
        check_id(&custom_id, at)?;
        if !self.ids.insert(xxh3_64(custom_id.as_bytes())) {
            return Err(Problem::invalid(format!(
                "requests.{at}.custom_id: \"{custom_id}\" is not unique within the batch"
            )));
        }
        let seed = self.world.config.seed;
        let rules = (self.version, Endpoint::Batch);
        let request = understand(params.get(), custom_id, seed, rules, &mut self.verdicts);
        Ok(self.writer.push(&request)?)
    }
}

fn check_id(id: &str, at: u64) -> Result<(), Problem> {
    let refuse = |what| {
        Err(Problem::invalid(format!(
            "requests.{at}.custom_id: String should {what}"
        )))
    };
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    match id.len() {
        0 => refuse("have at least 1 character"),
        65.. => refuse("have at most 64 characters"),
        _ if !id.bytes().all(allowed) => refuse("match pattern '^[a-zA-Z0-9_-]{1,64}$'"),
        _ => Ok(()),
    }
}

pub(super) async fn create(
    State(world): State<Arc<World>>,
    Admitted(caller): Admitted,
    request: Request,
) -> Answer {
    let version = version(request.headers())?;
    let (_, name) = world.new_id("upload_");
    let writer = RecordWriter::create(&world.store.requests(&name))?;
    let mut intake = Intake {
        world: &world,
        version,
        writer,
        ids: HashSet::new(),
        verdicts: verdicts(),
    };
    let mut elements = Elements::under("requests");
    let most = world.config.anthropic.body_bytes_max;
    feed(request.into_body(), most, too_large(), |chunk| {
        elements.feed(chunk, &mut |piece| intake.take(piece))
    })
    .await?;
    if !elements.finish()? {
        return Err(Problem::invalid("requests: Field required"));
    }
    let count = intake.writer.count();
    if count == 0 {
        let text = "requests: List should have at least 1 item after validation, not 0";
        return Err(Problem::invalid(text));
    }
    check_queue(&world, &caller, count)?;
    let summary = intake.writer.finish()?;
    let batch = world.new_batch(NewBatch {
        prefix: "msgbatch_01",
        dialect: NAME,
        endpoint: MESSAGES.into(),
        owner: caller.owner.clone(),
        requests: name,
        summary,
        details: Value::Null,
    });
    world.store.write(&batch)?;
    // Whatever the clock says, a batch that was just made has not ended.
    Ok(middleware::json(
        shown(&world, &caller, &batch, Phase::Running)?.to_string(),
    ))
}

/// The limit that the message names where only a fault says that it is reached.
const QUEUE_REQUESTS_MAX: u64 = 200_000;

fn check_queue(world: &World, caller: &Caller, count: u64) -> Result<(), Problem> {
    let most = world.config.anthropic.queue_requests_max;
    let is_full = match most {
        _ if world.queue_full().is_some() => true,
        Some(most) => {
            let queued = world.queued(NAME, caller)?;
            queued.iter().map(|batch| batch.summary.count).sum::<u64>() + count > most
        }
        None => false,
    };
    if !is_full {
        return Ok(());
    }
    let most = most.unwrap_or(QUEUE_REQUESTS_MAX);
    let text = format!(
        "Your organization has reached its limit of {most} batch requests in the processing queue."
    );
    Err(Problem::new(429, "rate_limit_error", text))
}

/// A batch as the vendor shows it.
fn shown(world: &World, caller: &Caller, batch: &Batch, phase: Phase) -> Result<Value, Problem> {
    let ended = matches!(phase, Phase::Ended(_));
    let counts = if ended {
        let tally = world.tally(batch)?;
        let unread = tally.succeeded - tally.billed;
        json!({"processing": 0, "succeeded": tally.billed, "errored": tally.errored + unread,
            "canceled": tally.cancelled, "expired": tally.expired})
    } else {
        json!({"processing": batch.summary.count, "succeeded": 0, "errored": 0, "canceled": 0,
            "expired": 0})
    };
    let archived = archived_at(world, batch);
    let url = format!(
        "{}/anthropic/v1/messages/batches/{}/results",
        caller.origin, batch.id
    );
    Ok(json!({
        "id": batch.id,
        "type": "message_batch",
        "processing_status": match phase {
            Phase::Ended(_) => "ended",
            Phase::Cancelling => "canceling",
            _ => "in_progress",
        },
        "request_counts": counts,
        "created_at": time(batch.created_at),
        "expires_at": time(batch.expires_at()),
        "ended_at": ended.then(|| time(batch.ends_at())),
        "cancel_initiated_at": batch.cancelled_at.map(time),
        "archived_at": archived.map(time),
        "results_url": (ended && archived.is_none()).then_some(url),
    }))
}

/// Since when the results are gone, if they are.
fn archived_at(world: &World, batch: &Batch) -> Option<Time> {
    let at = batch.created_at + world.config.anthropic.results_kept;
    (world.now() >= at).then_some(at)
}

fn time(time: Time) -> String {
    time.to_rfc3339_opts(SecondsFormat::Micros, true)
}

/// The batch, if it is the caller's.
fn find(world: &World, caller: &Caller, id: &str) -> Result<Batch, Problem> {
    world
        .store
        .read::<Batch>(id)?
        .filter(|batch| is_seen(batch, caller))
        .ok_or_else(|| not_found(format!("Message batch {id} not found")))
}

fn is_seen(batch: &Batch, caller: &Caller) -> bool {
    batch.dialect == NAME && batch.owner == caller.owner && !batch.deleted
}

fn answer(world: &World, caller: &Caller, batch: &Batch) -> Answer {
    let shown = shown(world, caller, batch, batch.phase(world.now()))?;
    Ok(middleware::json(shown.to_string()))
}

pub(super) async fn retrieve(
    State(world): State<Arc<World>>,
    Admitted(caller): Admitted,
    Path(id): Path<String>,
) -> Answer {
    answer(&world, &caller, &find(&world, &caller, &id)?)
}

#[derive(Deserialize)]
pub(super) struct Page {
    limit: Option<String>,
    after_id: Option<String>,
    before_id: Option<String>,
}

pub(super) async fn list(
    State(world): State<Arc<World>>,
    Admitted(caller): Admitted,
    Query(page): Query<Page>,
) -> Answer {
    let most = world.config.anthropic.page_max;
    let limit = match page.limit.as_deref().map(str::parse::<u64>) {
        None => 20.min(most),
        Some(Ok(limit)) if (1..=most).contains(&limit) => limit,
        Some(_) => {
            return Err(Problem::invalid(format!(
                "limit: Input should be between 1 and {most}"
            )));
        }
    };
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let mut all = world.store.all::<Batch>()?;
    all.retain(|batch| is_seen(batch, &caller));
    let place = |id: &str| {
        let found = all.iter().position(|batch| batch.id == *id);
        found.ok_or_else(|| Problem::invalid(format!("no batch has the id {id}")))
    };
    let (range, has_more) = match (&page.after_id, &page.before_id) {
        (Some(_), Some(_)) => {
            return Err(Problem::invalid(
                "after_id and before_id cannot both be given",
            ));
        }
        (None, Some(before)) => {
            let end = place(before)?;
            let start = end.saturating_sub(limit);
            (start..end, start > 0)
        }
        (after, None) => {
            let start = after
                .as_deref()
                .map_or(Ok(0), |after| place(after).map(|at| at + 1))?;
            let end = all.len().min(start + limit);
            (start..end, end < all.len())
        }
    };
    let data: Result<Vec<_>, Problem> = all[range]
        .iter()
        .map(|batch| shown(&world, &caller, batch, batch.phase(world.now())))
        .collect();
    let data = data?;
    let id = |batch: Option<&Value>| batch.map(|batch| batch["id"].clone());
    let (first, last) = (id(data.first()), id(data.last()));
    let page = json!({"data": data, "has_more": has_more, "first_id": first, "last_id": last});
    Ok(middleware::json(page.to_string()))
}

pub(super) async fn results(
    State(world): State<Arc<World>>,
    Admitted(caller): Admitted,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Answer {
    let batch = find(&world, &caller, &id)?;
    if !matches!(batch.phase(world.now()), Phase::Ended(_)) {
        return Err(not_found(format!(
            "Batch {id} has no available results yet"
        )));
    }
    if archived_at(&world, &batch).is_some() {
        return Err(not_found(format!(
            "The results of batch {id} are no longer available"
        )));
    }
    let draw = download::Draw::new(&world, &id, headers.get(header::RANGE).is_some());
    let results = Results::open(&world.store, batch, |_| true, write_line)?;
    let body = download::whole(results, draw);
    Ok(([(header::CONTENT_TYPE, "application/x-jsonl")], body).into_response())
}

pub(super) async fn cancel(
    State(world): State<Arc<World>>,
    Admitted(caller): Admitted,
    Path(id): Path<String>,
) -> Answer {
    let mut batch = find(&world, &caller, &id)?;
    if matches!(batch.phase(world.now()), Phase::Ended(_)) {
        return Err(Problem::invalid(format!("Batch {id} has already ended")));
    }
    if batch.cancelled_at.is_none() {
        batch.cancelled_at = Some(world.now());
        debug_assert_eq!(batch.end(), End::Cancelled);
        world.store.write(&batch)?;
    }
    Ok(middleware::json(
        shown(&world, &caller, &batch, Phase::Cancelling)?.to_string(),
    ))
}

pub(super) async fn delete(
    State(world): State<Arc<World>>,
    Admitted(caller): Admitted,
    Path(id): Path<String>,
) -> Answer {
    let mut batch = find(&world, &caller, &id)?;
    if !matches!(batch.phase(world.now()), Phase::Ended(_)) {
        return Err(Problem::invalid(format!(
            "Batch {id} cannot be deleted before it has ended"
        )));
    }
    batch.deleted = true;
    world.store.write(&batch)?;
    Ok(middleware::json(
        json!({"id": id, "type": "message_batch_deleted"}).to_string(),
    ))
}
