//! From the cells of a row to the attachments of its request, each one looked at.

use std::borrow::Cow;

use arrow::array::{ArrayRef, RecordBatch};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::{StreamExt, TryStreamExt, stream};
use sha2::{Digest, Sha256};
use tokio::sync::{Semaphore, SemaphorePermit};
use url::Url;

use crate::base::http::shown;
use crate::base::{Components, Error, Location, ObjectMeta, Result, hex, nearest};
use crate::prompt::{Prompt, Prompts};
use crate::provider::Capability;
use crate::source::Source;
use crate::spec::Job;
use crate::work::{Attachment, AttachmentKind, AttachmentLimits, AttachmentSource, MediaType};

use super::cells::{Item, check_column, items, plain};
use super::objects::Objects;
use super::web::{ReadBy, Web, is_web};
use super::whole::{NO_FILE, Whole, read_file};

/// The attachments of a row, or why it has none that can be sent.
pub(crate) type Found = std::result::Result<Vec<Attachment>, String>;

/// What is attached to each row of `batch`, whose prompts are `prompts`, by a template that names `columns`;
/// nothing at all where nothing may be.
///
/// # Errors
/// As [`Attacher::rows`].
pub(crate) async fn found(
    attacher: Option<&Attacher>,
    batch: &RecordBatch,
    columns: &[String],
    prompts: &Prompts,
) -> Result<Vec<Found>> {
    match attacher {
        None => Ok(Vec::new()),
        Some(attacher) => attacher.rows(batch, columns, prompts).await,
    }
}

/// What an item is and the tokens that it may count as, or why it cannot be sent.
type Looked = std::result::Result<(AttachmentSource, u64), String>;

/// Objects that are looked at at once.
const AT_ONCE: usize = 32;
/// Documents that are read whole at once: how many pages one has may stand at its end.
const DOCUMENTS_AT_ONCE: usize = 4;
/// Bytes of an object that are enough to tell what picture it is, and how large.
const HEAD: u64 = 64 << 10;

/// Finds what is attached to rows.
#[derive(Debug)]
pub(crate) struct Attacher {
    columns: Vec<(String, AttachmentKind)>,
    limits: AttachmentLimits,
    /// Bytes that all of a request may have, before they become base64.
    bytes_max: u64,
    objects: Objects,
    web: Web,
    documents: Semaphore,
}

impl Attacher {
    /// What finds the attachments of the job, if it has some.
    ///
    /// # Errors
    /// `Invalid` if a column that is attached is not there or of another type, or a prefix cannot be read.
    pub(crate) fn of(
        job: &Job,
        source: &Source,
        capability: &Capability,
        components: &Components,
    ) -> Result<Option<Attacher>> {
        let prompt = &job.prompt;
        let of = |names: &[String], kind| {
            names
                .iter()
                .map(move |name| (name.clone(), kind))
                .collect::<Vec<_>>()
        };
        let mut columns = of(&prompt.images, AttachmentKind::Image);
        columns.extend(of(&prompt.documents, AttachmentKind::Document));
        let schema = source.schema();
        for (name, kind) in &columns {
            let known = schema.fields().iter().map(|field| field.name().as_str());
            let Ok(field) = schema.field_with_name(name) else {
                let error =
                    Error::invalid(format!("the {}s' column does not exist", kind.as_str()))
                        .with("column", name);
                return Err(match nearest(name, known.clone()) {
                    Some(near) => error.hint(format!("did you mean `{near}`?")),
                    None => error.hint(format!(
                        "the columns are: {}",
                        known.collect::<Vec<_>>().join(", ")
                    )),
                });
            };
            check_column(field)?;
        }
        if columns.is_empty() {
            return Ok(None);
        }
        Ok(Some(Attacher {
            columns,
            limits: capability.attachments.clone(),
            bytes_max: capability.limits.request_bytes_max / 4 * 3,
            objects: Objects::new(&components.stores, &prompt.attachments_from)?,
            web: Web::new(components, &prompt.attachments_from)?,
            documents: Semaphore::new(DOCUMENTS_AT_ONCE),
        }))
    }

    /// The columns that are attached.
    pub(crate) fn columns(&self) -> impl Iterator<Item = &String> {
        self.columns.iter().map(|(name, _)| name)
    }

    /// The attachments of each row of `batch`, whose prompts are `prompts`, by a template that names
    /// `columns`.
    ///
    /// # Errors
    /// If a store is away or refuses. What is wrong with a row alone is said of that row.
    pub(crate) async fn rows(
        &self,
        batch: &RecordBatch,
        columns: &[String],
        prompts: &Prompts,
    ) -> Result<Vec<Found>> {
        let arrays = columns.iter().map(|name| match batch.column_by_name(name) {
            Some(array) => plain(array),
            None => Err(Error::internal("a column of the template was not read")),
        });
        let arrays = arrays.collect::<Result<Vec<_>>>()?;
        let rows = (0..prompts.len()).map(|row| self.row(row, columns, &arrays, prompts));
        stream::iter(rows).buffered(AT_ONCE).try_collect().await
    }

    async fn row(
        &self,
        row: usize,
        columns: &[String],
        arrays: &[ArrayRef],
        prompts: &Prompts,
    ) -> Result<Found> {
        if !matches!(prompts.get(row), Some(Prompt::Text(_))) {
            return Ok(Ok(Vec::new()));
        }
        let mut wanted = Vec::new();
        for (at, place) in prompts.attached(row) {
            let (Some(name), Some(array)) = (columns.get(place), arrays.get(place)) else {
                return Err(Error::internal("an attachment of no column"));
            };
            let kind = self.columns.iter().find(|(known, _)| known == name);
            let kind = kind.map(|(_, kind)| *kind);
            let kind = kind.ok_or_else(|| Error::internal("a column that is not attached"))?;
            let items = items(array, row).into_iter().enumerate();
            wanted.extend(items.map(|item| (at, name, kind, item)));
        }
        let images = wanted
            .iter()
            .filter(|(_, _, kind, _)| *kind == AttachmentKind::Image);
        let images = images.count();
        let mut found = Vec::with_capacity(wanted.len());
        for (at, name, kind, item) in wanted {
            match self.one(name, kind, item, images).await? {
                Ok((source, tokens)) => found.push(Attachment {
                    at,
                    kind,
                    tokens,
                    source,
                }),
                Err(why) => return Ok(Err(format!("{} of column `{name}`: {why}", kind.as_str()))),
            }
        }
        Ok(match self.limits.check_all(&found) {
            Ok(()) => Ok(found),
            Err(why) => Err(why),
        })
    }

    /// One item of a cell: what it is, or why it cannot be sent.
    async fn one(
        &self,
        column: &str,
        kind: AttachmentKind,
        (item, value): (usize, Item<'_>),
        images: usize,
    ) -> Result<Looked> {
        let held = match value.bytes() {
            Ok(held) => held,
            Err(why) => return Ok(Err(why)),
        };
        if let Some(bytes) = held {
            let len = bytes.len() as u64;
            return Ok(self
                .check(kind, &bytes, len, images)
                .map(|(media, tokens)| {
                    let source = AttachmentSource::Cell {
                        column: column.to_owned(),
                        item,
                        media,
                        bytes: len,
                        sha256: sha256(&bytes),
                    };
                    (source, tokens)
                }));
        }
        let Item::Text(address) = value else {
            return Err(Error::internal("bytes without bytes"));
        };
        if address.trim().is_empty() {
            return Ok(Err("it is blank".into()));
        }
        let address = self.absolute(address);
        if is_web(&address) {
            return match self.web.reader_of(&address) {
                ReadBy::Us(url) => self.fetched(&url, kind, images).await,
                ReadBy::Nobody(why) => Ok(Err(why.into())),
                ReadBy::Provider if matches!(address, Cow::Owned(_)) => {
                    Ok(Err("its path leads out of its folder".into()))
                }
                ReadBy::Provider => {
                    let url = address.into_owned();
                    let tokens = self.limits.tokens_unseen(kind);
                    Ok(Ok((AttachmentSource::Url { url }, tokens)))
                }
            };
        }
        match self.objects.locate(&address) {
            Ok(place) if place.local.is_some() => self.file(&place, kind, images).await,
            Ok(place) => self.object(&place, kind, images).await,
            Err(why) => Ok(Err(why)),
        }
    }

    async fn object(
        &self,
        place: &Location,
        kind: AttachmentKind,
        images: usize,
    ) -> Result<Looked> {
        let _turn = self.turn(kind).await;
        let Some((meta, head)) = place.first_bytes(self.looked_at(kind)).await? else {
            return Ok(Err(NO_FILE.into()));
        };
        let checked = self.check(kind, &head, meta.size, images);
        Ok(checked.map(|(media, tokens)| {
            let source = AttachmentSource::Object {
                url: place.url.to_string(),
                media,
                bytes: meta.size,
                etag: version(&meta),
            };
            (source, tokens)
        }))
    }

    /// What a URL leads to that is read from here.
    async fn fetched(&self, url: &Url, kind: AttachmentKind, images: usize) -> Result<Looked> {
        let _turn = self.turn(kind).await;
        let keep = self.looked_at(kind);
        let read = self.web.fetch(url, self.bytes_max, keep).await?;
        Ok(read.and_then(|whole| self.whole(url, kind, whole, images)))
    }

    /// What a path of this machine leads to.
    async fn file(&self, place: &Location, kind: AttachmentKind, images: usize) -> Result<Looked> {
        let _turn = self.turn(kind).await;
        let read = read_file(place, self.bytes_max, self.looked_at(kind)).await?;
        Ok(read.and_then(|whole| self.whole(&place.url, kind, whole, images)))
    }

    /// What was read whole.
    fn whole(&self, url: &Url, kind: AttachmentKind, whole: Whole, images: usize) -> Looked {
        let (media, tokens) = self.check(kind, &whole.head, whole.bytes, images)?;
        let source = AttachmentSource::Fetched {
            url: url.to_string(),
            media,
            bytes: whole.bytes,
            sha256: whole.sha256,
        };
        Ok((source, tokens))
    }

    /// That `bytes` bytes that begin with `head` can be sent, what they are and what they may count as.
    fn check(
        &self,
        kind: AttachmentKind,
        head: &[u8],
        bytes: u64,
        images: usize,
    ) -> std::result::Result<(MediaType, u64), String> {
        if bytes > self.bytes_max {
            let max = self.bytes_max;
            return Err(format!(
                "it has {bytes} bytes, and a request may have {max} of them"
            ));
        }
        self.limits.check(kind, head, bytes, images)
    }

    /// How many bytes of an object or a URL are looked at.
    fn looked_at(&self, kind: AttachmentKind) -> u64 {
        match kind {
            AttachmentKind::Image => HEAD,
            AttachmentKind::Document => self.bytes_max,
        }
    }

    /// Leave to hold one that is read whole; pictures need none.
    async fn turn(&self, kind: AttachmentKind) -> Option<SemaphorePermit<'_>> {
        match kind {
            AttachmentKind::Image => None,
            // Nobody closes it.
            AttachmentKind::Document => self.documents.acquire().await.ok(),
        }
    }

    /// An address as it stands in a row; a relative path beneath the one prefix there is, where that is one of
    /// URLs.
    fn absolute<'a>(&self, address: &'a str) -> Cow<'a, str> {
        let is_relative = !address.starts_with('/') && !address.contains("://");
        match self.web.only() {
            Some(only) if is_relative && self.objects.is_empty() => {
                Cow::Owned(format!("{only}{address}"))
            }
            _ => Cow::Borrowed(address),
        }
    }

    /// What goes over the wire for each of `attachments`, of row `row` of `batch`: base64, or a URL.
    ///
    /// # Errors
    /// If it cannot be read.
    pub(crate) async fn sent(
        &self,
        batch: &RecordBatch,
        row: usize,
        attachments: &[Attachment],
    ) -> Result<Vec<String>> {
        let mut sent = Vec::new();
        for Attachment { source, .. } in attachments {
            let held = match source {
                AttachmentSource::Cell { column, .. } => batch.column_by_name(column),
                AttachmentSource::Url { url } => {
                    sent.push(url.clone());
                    continue;
                }
                AttachmentSource::Object { .. } | AttachmentSource::Fetched { .. } => None,
            };
            let held = held.map(plain).transpose()?;
            let cell = match (&held, source) {
                (Some(array), AttachmentSource::Cell { item, .. }) => {
                    items(array, row).into_iter().nth(*item)
                }
                _ => None,
            };
            sent.push(STANDARD.encode(self.read(source, cell).await?));
        }
        Ok(sent)
    }

    /// The bytes of one attachment, as they are now; `cell` has the row's own. Nothing of a URL.
    ///
    /// # Errors
    /// `Invalid` if they are not what was planned; if a store is away or refuses.
    pub(super) async fn read<'c>(
        &self,
        source: &AttachmentSource,
        cell: Option<Item<'c>>,
    ) -> Result<Cow<'c, [u8]>> {
        match source {
            AttachmentSource::Url { .. } => Ok(Cow::Borrowed(&[])),
            AttachmentSource::Cell {
                column,
                sha256: planned,
                ..
            } => {
                let bytes = cell.and_then(|item| item.bytes().ok().flatten());
                match bytes {
                    Some(bytes) if sha256(&bytes) == *planned => Ok(bytes),
                    _ => Err(changed().with("column", column)),
                }
            }
            AttachmentSource::Object {
                url,
                etag,
                bytes: planned,
                ..
            } => {
                let place = self.place_of(url)?;
                match place.first_bytes(*planned).await? {
                    Some((meta, bytes)) if version(&meta) == *etag && meta.size == *planned => {
                        Ok(Cow::Owned(bytes.into()))
                    }
                    _ => Err(changed().with("file", place)),
                }
            }
            AttachmentSource::Fetched {
                url, bytes, sha256, ..
            } => {
                let read = self.again(url, *bytes).await?;
                match read {
                    Ok(whole) if whole.sha256 == *sha256 => Ok(Cow::Owned(whole.head)),
                    Ok(_) => Err(told(changed(), url)),
                    Err(why) => Err(told(changed(), url).with("why", why)),
                }
            }
        }
    }

    /// The `bytes` bytes at `url`, which is one of the web or of a file of this machine.
    async fn again(&self, url: &str, bytes: u64) -> Result<std::result::Result<Whole, String>> {
        if !is_web(url) {
            return read_file(&self.place_of(url)?, bytes, bytes).await;
        }
        match self.web.reader_of(url) {
            ReadBy::Us(url) => self.web.fetch(&url, bytes, bytes).await,
            _ => Err(Error::invalid(
                "a URL is not under `prompt.attachments_from`",
            )),
        }
    }

    /// The file or object at `url`.
    fn place_of(&self, url: &str) -> Result<Location> {
        let place = self.objects.locate(url);
        place.map_err(|why| told(changed(), url).with("why", why))
    }
}

/// The error with the place of the attachment: without what a signature may be in.
fn told(error: Error, url: &str) -> Error {
    match Url::parse(url) {
        Ok(url) if is_web(url.as_str()) => error.with("url", shown(&url)),
        Ok(url) if url.scheme() == "file" => match url.to_file_path() {
            Ok(path) => error.with("file", path.display()),
            Err(()) => error.with("file", url),
        },
        _ => error.with("file", url),
    }
}

fn changed() -> Error {
    Error::invalid("an attachment is not what it was when its request was planned")
        .hint("restore it and run again; or `columnist cancel JOB`, then `columnist run JOB`, which plans it anew and pays nothing twice")
}

/// What a store calls this version of an object.
fn version(meta: &ObjectMeta) -> String {
    let tag = meta.e_tag.clone();
    tag.unwrap_or_else(|| meta.last_modified.timestamp_micros().to_string())
}

fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}
