//! Uploading a file: a form, read while it streams in.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::BodyDataStream;
use axum::extract::{Request, State};
use axum::http::header;
use axum::response::Response;
use futures::{StreamExt as _, stream};
use multer::{Constraints, Multipart, SizeLimit};
use serde::Deserialize;
use serde_json::value::RawValue;
use xxhash_rust::xxh3::xxh3_64;

use super::body::{understand, verdicts};
use super::files::answer;
use super::limits::check_upload;
use super::protocol::too_large;
use super::stored::OpenAiFile;
use crate::base::{ErrorKind, ResultExt as _};
use crate::emulator::batch::Failure;
use crate::emulator::problem::Problem;
use crate::emulator::record::RecordWriter;
use crate::emulator::schema::Verdicts;
use crate::emulator::split::Lines;
use crate::emulator::store::{create_file, remove};
use crate::emulator::text::Borrowed;
use crate::emulator::world::{Caller, World, drain};

/// Complaints kept of one file.
const FAILURES_MAX: usize = 20;

/// The most bytes of a form beside its file.
const FORM_BYTES_MAX: u64 = 1_000_000;

#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    custom_id: Option<Borrowed<'a>>,
    #[serde(borrow)]
    method: Option<Borrowed<'a>>,
    #[serde(borrow)]
    url: Option<Borrowed<'a>>,
    #[serde(borrow)]
    body: Option<&'a RawValue>,
}

/// What is found in the lines.
pub(super) struct Checked {
    pub(super) writer: RecordWriter,
    /// Different URLs and models, each with the line that has it first.
    pub(super) urls: Vec<(String, u64)>,
    pub(super) models: Vec<(String, u64)>,
    pub(super) failures: Vec<Failure>,
    ids: HashSet<u64>,
    verdicts: Verdicts,
    line: u64,
    seed: u64,
    requests_max: u64,
}

impl Checked {
    fn take(&mut self, line: &[u8]) -> Result<(), Problem> {
        self.line += 1;
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.trim_ascii().is_empty() || self.failures.len() >= FAILURES_MAX {
            return Ok(());
        }
        let Ok(line) = serde_json::from_slice::<Line<'_>>(line) else {
            let text = "This line is not parseable as valid JSON.";
            self.fail("invalid_json_line", text, None);
            return Ok(());
        };
        let (Some(id), Some(method), Some(url), Some(body)) =
            (line.custom_id, line.method, line.url, line.body)
        else {
            let text = "Each line needs 'custom_id', 'method', 'url' and 'body'.";
            self.fail("missing_required_parameter", text, None);
            return Ok(());
        };
        if method.0 != "POST" {
            let text = "The method of a batch request must be POST.";
            self.fail("invalid_method", text, Some("method"));
        }
        self.request(id.0, &url.0, body.get())
    }

    fn request(&mut self, id: Cow<'_, str>, url: &str, body: &str) -> Result<(), Problem> {
        if !self.ids.insert(xxh3_64(id.as_bytes())) {
            let text = format!("The custom_id '{id}' is used more than once.");
            self.fail("duplicate_custom_id", &text, Some("custom_id"));
        }
        let request = understand(body, id, self.seed, url, &mut self.verdicts);
        let model = &request.model;
        if model.is_empty() {
            let text = "Missing required parameter: 'model'.";
            self.fail("missing_required_parameter", text, Some("body.model"));
        }
        note(&mut self.urls, url, self.line);
        note(&mut self.models, model, self.line);
        if self.writer.count() < self.requests_max {
            self.writer.push(&request)?;
        } else if self.writer.count() == self.requests_max && self.failures.is_empty() {
            let text = format!("This file has more than {} requests.", self.requests_max);
            self.fail("too_many_tasks", &text, None);
        }
        Ok(())
    }

    fn fail(&mut self, code: &str, message: &str, param: Option<&str>) {
        self.failures.push(Failure {
            code: code.into(),
            message: message.into(),
            param: param.map(Into::into),
            line: Some(self.line),
        });
    }
}

/// Two are enough to see that they differ.
fn note(seen: &mut Vec<(String, u64)>, name: &str, line: u64) {
    if seen.len() < 2 && !seen.iter().any(|(seen, _)| seen == name) {
        seen.push((name.to_owned(), line));
    }
}

/// The form as far as it has come.
struct Form {
    part: String,
    filename: Option<String>,
    purpose: String,
    anchor: String,
    seconds: String,
    lines: Lines,
    found: Checked,
    raw: Option<BufWriter<File>>,
    bytes: u64,
}

impl Form {
    /// A part of the form begins.
    fn begin(&mut self, name: &str, filename: Option<&str>) {
        name.clone_into(&mut self.part);
        if name == "file" {
            self.filename = Some(filename.unwrap_or("upload").to_owned());
        }
    }

    /// Takes some bytes of the part that has begun.
    fn take(&mut self, bytes: &[u8]) -> Result<(), Problem> {
        let text = || String::from_utf8_lossy(bytes);
        match self.part.as_str() {
            "file" => return self.file(bytes),
            "purpose" => self.purpose.push_str(&text()),
            "expires_after[anchor]" => self.anchor.push_str(&text()),
            "expires_after[seconds]" => self.seconds.push_str(&text()),
            _ => {}
        }
        Ok(())
    }

    fn file(&mut self, bytes: &[u8]) -> Result<(), Problem> {
        self.bytes += bytes.len() as u64;
        if let Some(raw) = &mut self.raw {
            raw.write_all(bytes)
                .or_err(ErrorKind::Unavailable, "cannot keep an upload")?;
        }
        if self.is_batch() {
            self.lines.feed(bytes, &mut |line| self.found.take(line))?;
        }
        Ok(())
    }

    /// Whether the file is for a batch, or may be: its purpose may come after it.
    fn is_batch(&self) -> bool {
        self.purpose.is_empty() || self.purpose == "batch"
    }

    fn check(&self) -> Result<(), Problem> {
        let missing = |name: &str| {
            let text = format!("'{name}' is a required property");
            Err(Problem::invalid(text).param(name))
        };
        let Some(filename) = &self.filename else {
            return missing("file");
        };
        if self.purpose.is_empty() {
            return missing("purpose");
        }
        let purposes = [
            "assistants",
            "batch",
            "evals",
            "fine-tune",
            "user_data",
            "vision",
        ];
        if !purposes.contains(&self.purpose.as_str()) {
            let text = format!("'{}' is not one of {purposes:?} - 'purpose'", self.purpose);
            return Err(Problem::invalid(text).param("purpose"));
        }
        if self.purpose == "batch" && !filename.as_bytes().ends_with(b".jsonl") {
            let text = format!("Invalid file format for Batch API. Must be .jsonl, got {filename}");
            return Err(Problem::invalid(text).param("file"));
        }
        Ok(())
    }

    /// How long the file is kept.
    fn kept(&self) -> Result<Option<Duration>, Problem> {
        if self.anchor.is_empty() && self.seconds.is_empty() {
            return Ok((self.purpose == "batch").then_some(Duration::from_hours(30 * 24)));
        }
        let seconds = self
            .seconds
            .parse()
            .ok()
            .filter(|s| (3_600..=2_592_000).contains(s));
        match seconds {
            Some(seconds) if self.anchor == "created_at" => Ok(Some(Duration::from_secs(seconds))),
            _ => Err(Problem::invalid("Invalid 'expires_after'.").param("expires_after")),
        }
    }
}

/// Removes the raw copy of an upload that was not finished.
struct RawGuard(Option<PathBuf>);

impl Drop for RawGuard {
    fn drop(&mut self) {
        if let Some(path) = &self.0 {
            // Best effort: nothing refers to it.
            drop(remove(path));
        }
    }
}

pub(super) async fn create(
    State(world): State<Arc<World>>,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Result<Response, Problem> {
    let content_type = request.headers().get(header::CONTENT_TYPE);
    let boundary = content_type
        .and_then(|value| multer::parse_boundary(value.to_str().ok()?).ok())
        .ok_or_else(not_a_form)?;
    let (_, name) = world.new_id("upload_");
    let raw_path = world.store.requests(&name).with_extension("raw");
    let mut guard = RawGuard(world.config.keep_uploads.then(|| raw_path.clone()));
    let mut form = form(&world, &name, &guard)?;
    let most = world.config.openai.file_bytes_max;
    let mut body = request.into_body().into_data_stream();
    let read = read_form(&mut body, boundary, &mut form, most).await;
    if read.is_err() {
        drain(body, most.saturating_mul(4)).await;
    }
    read?;
    form.check()?;
    check_upload(&world, &caller)?;
    let kept = form.kept()?;
    let Form {
        found: mut lines,
        bytes,
        filename,
        purpose,
        raw,
        ..
    } = form_lines(form)?;
    if let Some(mut raw) = raw {
        raw.flush()
            .or_err(ErrorKind::Unavailable, "cannot keep an upload")?;
    }
    let (urls, models) = (
        std::mem::take(&mut lines.urls),
        std::mem::take(&mut lines.models),
    );
    let failures = std::mem::take(&mut lines.failures);
    let (seq, id) = world.new_id("file-");
    let created_at = world.now();
    let file = OpenAiFile {
        id,
        seq,
        owner: caller.owner,
        filename: filename.unwrap_or_default(),
        purpose,
        bytes,
        created_at,
        expires_at: kept.map(|kept| created_at + kept),
        requests: name,
        summary: lines.writer.finish()?,
        urls,
        models,
        failures,
        deleted: false,
        of_batch: None,
    };
    world.store.write(&file)?;
    guard.0 = None;
    Ok(answer(&file))
}

/// Reads a form part by part, up to `most` bytes of its file.
async fn read_form(
    body: &mut BodyDataStream,
    boundary: String,
    form: &mut Form,
    most: u64,
) -> Result<(), Problem> {
    // The parser takes in all that is ready at once: made to wait after each piece, it holds one.
    let pieces = stream::unfold((body, false), |(body, had_one)| async move {
        if had_one {
            tokio::task::yield_now().await;
        }
        body.next().await.map(|piece| (piece, (body, true)))
    });
    let size = SizeLimit::new().whole_stream(most + FORM_BYTES_MAX);
    let limits = Constraints::new().size_limit(size);
    let mut parts = Multipart::with_constraints(pieces, boundary, limits);
    while let Some(mut part) = parts.next_field().await.map_err(unreadable)? {
        form.begin(part.name().unwrap_or_default(), part.file_name());
        while let Some(piece) = part.chunk().await.map_err(unreadable)? {
            form.take(&piece)?;
            if form.bytes > most {
                return Err(too_large());
            }
        }
    }
    Ok(())
}

fn not_a_form() -> Problem {
    Problem::invalid("Could not parse multipart form")
}

#[expect(clippy::needless_pass_by_value, reason = "it is mapped over errors")]
fn unreadable(error: multer::Error) -> Problem {
    match error {
        multer::Error::StreamSizeExceeded { .. } => too_large(),
        multer::Error::StreamReadFailed(_) => Problem::invalid("the request body was cut off"),
        _ => not_a_form(),
    }
}

fn form(world: &World, name: &str, guard: &RawGuard) -> Result<Form, Problem> {
    let open =
        |path: &PathBuf| create_file(path).map(|file| BufWriter::with_capacity(1 << 17, file));
    let raw = guard.0.as_ref().map(open).transpose();
    Ok(Form {
        part: String::new(),
        filename: None,
        purpose: String::new(),
        anchor: String::new(),
        seconds: String::new(),
        lines: Lines::default(),
        found: Checked {
            writer: RecordWriter::create(&world.store.requests(name))?,
            urls: Vec::new(),
            models: Vec::new(),
            failures: Vec::new(),
            ids: HashSet::new(),
            verdicts: verdicts(),
            line: 0,
            seed: world.config.seed,
            requests_max: world.config.openai.requests_max,
        },
        raw: raw.or_err(ErrorKind::Unavailable, "cannot keep an upload")?,
        bytes: 0,
    })
}

/// Takes the last line, which needs no end.
fn form_lines(mut form: Form) -> Result<Form, Problem> {
    if form.is_batch() {
        std::mem::take(&mut form.lines).finish(&mut |line| form.found.take(line))?;
    }
    Ok(form)
}
