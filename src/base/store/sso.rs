//! The token that `aws sso login` left, prolonged where it can be, as the AWS tools do it.

use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use chrono::SecondsFormat;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use url::Url;

use crate::base::http::{HeaderValue, HttpRequest, HttpService, Method, RequestBody};
use crate::base::{Clock, Time};

/// A token is prolonged so long before it runs out.
const AHEAD: Duration = Duration::from_mins(5);
/// The most bytes of an answer.
const ANSWER_MAX: usize = 1 << 20;

/// What `aws sso login` leaves. The last three are there where the session can be prolonged.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Session {
    access_token: String,
    expires_at: String,
    refresh_token: Option<String>,
    client_id: Option<String>,
    client_secret: Option<String>,
}

/// What a prolonged session has.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Prolonged {
    access_token: String,
    expires_in: u64,
    refresh_token: Option<String>,
}

/// Why there is no token.
pub(super) enum Lacking {
    /// There is no file, or it holds something else.
    NoFile,
    /// It ended then, and could not be prolonged.
    Ended(String),
}

/// The token in `file`; one that runs out is prolonged at `address`, and kept there for the AWS tools.
pub(super) async fn token(
    file: &Path,
    address: &Url,
    clock: &Arc<dyn Clock>,
    http: &Arc<dyn HttpService>,
) -> Result<String, Lacking> {
    let text = tokio::fs::read(file).await;
    let text = text.map_err(|_| Lacking::NoFile)?;
    let kept: Map<String, Value> = serde_json::from_slice(&text).map_err(|_| Lacking::NoFile)?;
    let session = Session::deserialize(Value::Object(kept.clone())).map_err(|_| Lacking::NoFile)?;
    let (now, until) = (clock.now(), session.expires_at.parse::<Time>().ok());
    if until.is_none_or(|until| until > now + AHEAD) {
        return Ok(session.access_token);
    }
    if let Some(new) = prolong(&session, address, http).await {
        let until = now + Duration::from_secs(new.expires_in.min(u64::from(u32::MAX)));
        let file = file.to_owned();
        let access = new.access_token.clone();
        // What cannot be kept is good for this run all the same.
        let _ = tokio::task::spawn_blocking(move || keep(&file, kept, &new, until)).await;
        return Ok(access);
    }
    if until.is_some_and(|until| until > now) {
        return Ok(session.access_token);
    }
    Err(Lacking::Ended(session.expires_at))
}

/// Asks for a token in the place of one that runs out; none, if there is nothing to ask with, or the answer
/// is no.
async fn prolong(
    session: &Session,
    address: &Url,
    http: &Arc<dyn HttpService>,
) -> Option<Prolonged> {
    let body = json!({
        "grantType": "refresh_token",
        "clientId": session.client_id.as_ref()?,
        "clientSecret": session.client_secret.as_ref()?,
        "refreshToken": session.refresh_token.as_ref()?,
    });
    let mut request = HttpRequest::new(Method::POST, address.clone());
    let json = HeaderValue::from_static("application/json");
    request.headers.insert("content-type", json);
    request.body = RequestBody::Whole(body.to_string().into());
    let answer = http.send(request).await.ok()?;
    if !answer.status.is_success() {
        return None;
    }
    let body = answer.bytes(ANSWER_MAX).await.ok()?;
    serde_json::from_slice(&body).ok()
}

/// Writes what changed into the file, for its owner alone, whole or not at all.
fn keep(file: &Path, mut kept: Map<String, Value>, new: &Prolonged, until: Time) -> io::Result<()> {
    let until = until.to_rfc3339_opts(SecondsFormat::Secs, true);
    kept.insert("accessToken".to_owned(), new.access_token.clone().into());
    kept.insert("expiresAt".to_owned(), until.into());
    if let Some(refresh) = &new.refresh_token {
        kept.insert("refreshToken".to_owned(), refresh.clone().into());
    }
    let aside = file.with_extension(format!("{}.tmp", std::process::id()));
    let mut options = std::fs::OpenOptions::new();
    let options = options.write(true).create(true).truncate(true).mode(0o600);
    serde_json::to_writer(options.open(&aside)?, &kept)?;
    std::fs::rename(&aside, file)
}
