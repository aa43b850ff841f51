//! Files: what was uploaded, and what a batch has written.

use std::io::{Read as _, Seek as _, SeekFrom};
use std::ops::Range;
use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};

use super::message::write_line;
use super::protocol::{not_found, page_limit};
use super::stored::{OpenAiFile, result_id};
use crate::base::{ErrorKind, ResultExt as _};
use crate::emulator::batch::Batch;
use crate::emulator::download::{self, Draw};
use crate::emulator::middleware;
use crate::emulator::problem::Problem;
use crate::emulator::results::Results;
use crate::emulator::world::{Caller, World};

type Answer = Result<Response, Problem>;

/// Brings a result file up to date; nothing if it is not there (yet, or any more).
fn current(world: &World, mut file: OpenAiFile) -> Result<Option<OpenAiFile>, Problem> {
    if let Some((batch, side)) = &file.of_batch {
        let Some(batch) = world.store.read::<Batch>(batch)? else {
            return Ok(None);
        };
        let shown = result_id(world, &batch, *side)?;
        if shown.as_ref() != Some(&file.id) {
            return Ok(None);
        }
        file.created_at = batch.ends_at();
        let kept = batch.details["output_expires_after"]["seconds"].as_u64();
        let kept = kept.map_or(
            world.config.openai.results_kept,
            std::time::Duration::from_secs,
        );
        file.expires_at = Some(file.created_at + kept);
        let open = || Results::open(&world.store, batch.clone(), side.wants(), write_line);
        file.bytes = world.length(&file.id, || download::length(open()?))?;
    }
    let gone = file.expires_at.is_some_and(|at| world.now() >= at);
    Ok(Some(file).filter(|_| !gone))
}

/// The file, if it is the caller's.
pub(super) fn find(world: &World, caller: &Caller, id: &str) -> Result<OpenAiFile, Problem> {
    let kept = world.store.read::<OpenAiFile>(id)?;
    let mine = kept.filter(|file| file.owner == caller.owner && !file.deleted);
    let file = match mine {
        Some(file) => current(world, file)?,
        None => None,
    };
    file.ok_or_else(|| not_found(format!("No such File object: {id}")).param("id"))
}

fn shown(file: &OpenAiFile) -> Value {
    json!({
        "id": file.id,
        "object": "file",
        "bytes": file.bytes,
        "created_at": file.created_at.timestamp(),
        "expires_at": file.expires_at.map(|at| at.timestamp()),
        "filename": file.filename,
        "purpose": file.purpose,
        "status": "processed",
        "status_details": null,
    })
}

/// A file as the vendor shows it.
pub(super) fn answer(file: &OpenAiFile) -> Response {
    middleware::json(shown(file).to_string())
}

pub(super) async fn retrieve(
    State(world): State<Arc<World>>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Answer {
    Ok(answer(&find(&world, &caller, &id)?))
}

#[derive(Deserialize)]
pub(super) struct Page {
    purpose: Option<String>,
    limit: Option<String>,
    order: Option<String>,
    after: Option<String>,
}

pub(super) async fn list(
    State(world): State<Arc<World>>,
    Extension(caller): Extension<Caller>,
    Query(page): Query<Page>,
) -> Answer {
    let most = world.config.openai.file_page_max;
    let limit = page_limit(page.limit.as_deref(), most, most)?;
    let mut files = Vec::new();
    for file in world.store.all::<OpenAiFile>()? {
        let mine = file.owner == caller.owner && !file.deleted;
        let wanted = page
            .purpose
            .as_ref()
            .is_none_or(|purpose| *purpose == file.purpose);
        if mine && wanted {
            files.extend(current(&world, file)?);
        }
    }
    match page.order.as_deref() {
        None | Some("desc") => {}
        Some("asc") => files.reverse(),
        Some(_) => return Err(Problem::invalid("'order' must be 'asc' or 'desc'").param("order")),
    }
    let start = start_after(page.after.as_deref(), files.iter().map(|file| &*file.id))?;
    let has_more = files.len() > start + limit;
    let data: Vec<_> = files.iter().skip(start).take(limit).map(shown).collect();
    Ok(middleware::json(listed(&data, has_more).to_string()))
}

/// Where the page after the item called `after` begins.
pub(super) fn start_after<'a>(
    after: Option<&str>,
    mut ids: impl Iterator<Item = &'a str>,
) -> Result<usize, Problem> {
    let Some(after) = after else { return Ok(0) };
    let found = ids.position(|id| id == after);
    found.map(|at| at + 1).ok_or_else(|| {
        Problem::invalid(format!("Invalid 'after': no object has the id {after}.")).param("after")
    })
}

/// A page of a list.
pub(super) fn listed(data: &[Value], has_more: bool) -> Value {
    let id = |item: Option<&Value>| item.map(|item| item["id"].clone());
    let (first, last) = (id(data.first()), id(data.last()));
    json!({"object": "list", "data": data, "first_id": first, "last_id": last, "has_more": has_more})
}

pub(super) async fn delete(
    State(world): State<Arc<World>>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Answer {
    let mut file = find(&world, &caller, &id)?;
    file.deleted = true;
    world.store.write(&file)?;
    Ok(middleware::json(
        json!({"id": id, "object": "file", "deleted": true}).to_string(),
    ))
}

pub(super) async fn content(
    State(world): State<Arc<World>>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Answer {
    let file = find(&world, &caller, &id)?;
    let asked = headers
        .get(header::RANGE)
        .and_then(|range| range.to_str().ok());
    let range = match asked.map(|text| parse_range(text, file.bytes)) {
        None | Some(None) => None,
        Some(Some(range)) if range.is_empty() => {
            let whole = [(header::CONTENT_RANGE, format!("bytes */{}", file.bytes))];
            let problem =
                Problem::new(416, "invalid_request_error", "the range is not satisfiable");
            return Ok((whole, problem).into_response());
        }
        Some(range) => range,
    };
    let bytes = range.clone().unwrap_or(0..file.bytes);
    let mut is_told = true;
    let body = match &file.of_batch {
        None => raw(&world, &file, bytes.clone())?,
        Some((batch, side)) => {
            let gone = || not_found(format!("No such File object: {id}"));
            let batch = world.store.read::<Batch>(batch)?.ok_or_else(gone)?;
            let draw = Draw::new(&world, &file.id, range.is_some());
            is_told = !draw.is_quiet();
            let results = Results::open(&world.store, batch, side.wants(), write_line)?;
            download::part(results, draw, bytes.start, bytes.end - bytes.start)
        }
    };
    let plain = [
        (header::CONTENT_TYPE, "application/octet-stream".to_owned()),
        (header::ACCEPT_RANGES, "bytes".to_owned()),
    ];
    let mut response = match range {
        None => (plain, body).into_response(),
        Some(range) => {
            let place = format!("bytes {}-{}/{}", range.start, range.end - 1, file.bytes);
            let status = StatusCode::PARTIAL_CONTENT;
            (status, plain, [(header::CONTENT_RANGE, place)], body).into_response()
        }
    };
    if is_told {
        let length = bytes.end - bytes.start;
        response
            .headers_mut()
            .insert(header::CONTENT_LENGTH, length.into());
    }
    Ok(response)
}

/// One range of bytes; an empty one if it lies outside, none if it is not understood.
fn parse_range(text: &str, length: u64) -> Option<Range<u64>> {
    let (start, end) = text.strip_prefix("bytes=")?.split_once('-')?;
    if start.is_empty() {
        let last: u64 = end.parse().ok()?;
        return Some(length.saturating_sub(last)..length);
    }
    let start: u64 = start.parse().ok()?;
    let end = if end.is_empty() {
        length
    } else {
        end.parse::<u64>().ok()?.saturating_add(1)
    };
    Some(start..end.min(length).max(start))
}

/// An upload as it came.
fn raw(world: &World, file: &OpenAiFile, bytes: Range<u64>) -> Result<Body, Problem> {
    let path = world.store.requests(&file.requests).with_extension("raw");
    let opened = std::fs::File::open(&path);
    let mut source = opened.map_err(|_| not_found("the sandbox does not keep uploads"))?;
    source
        .seek(SeekFrom::Start(bytes.start))
        .or_err(ErrorKind::Unavailable, "cannot read an upload")?;
    let left = source.take(bytes.end - bytes.start);
    Ok(Body::from_stream(futures::stream::try_unfold(
        left,
        |mut left| async move {
            let mut piece = Vec::new();
            left.by_ref().take(128 * 1024).read_to_end(&mut piece)?;
            Ok::<_, std::io::Error>((!piece.is_empty()).then(|| (Bytes::from(piece), left)))
        },
    )))
}

#[cfg(test)]
mod tests {
    use super::parse_range;

    #[test]
    fn ranges_are_read_as_http_has_them() {
        assert_eq!(parse_range("bytes=0-", 10), Some(0..10));
        assert_eq!(parse_range("bytes=3-5", 10), Some(3..6));
        assert_eq!(parse_range("bytes=3-99", 10), Some(3..10));
        assert_eq!(parse_range("bytes=-4", 10), Some(6..10));
        assert!(parse_range("bytes=10-", 10).is_some_and(|range| range.is_empty()));
        assert_eq!(parse_range("lines=1-2", 10), None);
    }
}
