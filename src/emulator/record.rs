//! What is kept of a request: enough to answer it, and no more.
//!
//! A file of records is written once, while the upload streams in, and read in segments:
//!
//! ```text
//! <id>.requests   record, record, ...   about 90 bytes beside the id and the model's name
//! <id>.schemas    the distinct answer schemas, one after the other
//! ```

use std::borrow::Cow;
use std::collections::HashMap;
use std::fs::File;
use std::io::{BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::prefix::{self, PrefixUse, Wanted};
use super::problem::Problem;
use super::store::create_file;
use crate::base::{Error, ErrorKind, Result, ResultExt};

/// Records per segment: results are shuffled within it, and it is what a download holds in memory.
const SEGMENT: u64 = 16_384;

/// Schemas remembered while writing; beyond it a repeated schema is stored again.
const SCHEMAS_REMEMBERED: usize = 4096;

/// A request as a dialect has understood it.
#[derive(Debug)]
pub(super) struct Request<'a> {
    pub(super) custom_id: Cow<'a, str>,
    pub(super) model: Cow<'a, str>,
    /// The hash of its body, for the bill.
    pub(super) body: u64,
    /// What the answer is drawn from: one number, or one per embedding input.
    pub(super) draws: Vec<u64>,
    pub(super) input_tokens: u32,
    /// The most tokens the answer may have.
    pub(super) budget: u32,
    pub(super) shape: Shape<'a>,
    /// What it wants of the cache.
    pub(super) cache: Wanted,
    /// Why it fails, if it must.
    pub(super) problem: Option<Problem>,
}

/// What an answer must look like.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Shape<'a> {
    /// A sentence.
    Text,
    /// Any JSON object.
    Object,
    /// JSON that satisfies this schema.
    Schema(&'a str),
    /// The same, with or without words around: the prompt alone told of it. See [`told`](super::schema::told).
    Told(String),
    /// One unit vector per draw.
    Vectors { dimensions: u32, base64: bool },
}

/// A shape as stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Stored {
    Text,
    Object,
    /// The place and length of the schema in its file.
    Schema(u32, u32),
    /// The same of a schema that the prompt told.
    Told(u32, u32),
    Vectors {
        dimensions: u32,
        base64: bool,
    },
}

/// A request as stored.
#[derive(Clone, Copy, Debug)]
pub(super) struct Record<'a> {
    pub(super) custom_id: &'a str,
    pub(super) model: &'a str,
    pub(super) body: u64,
    pub(super) input_tokens: u32,
    pub(super) budget: u32,
    pub(super) shape: Stored,
    pub(super) cache: Wanted,
    draws: &'a [u8],
    problem: &'a str,
}

impl Record<'_> {
    /// What the answer is drawn from.
    pub(super) fn draws(&self) -> impl ExactSizeIterator<Item = u64> {
        self.draws
            .as_chunks::<8>()
            .0
            .iter()
            .map(|bytes| u64::from_le_bytes(*bytes))
    }

    /// Why it fails, if it must.
    pub(super) fn problem(&self) -> Option<Problem> {
        serde_json::from_str(self.problem).ok()
    }

    /// Whether it must fail.
    pub(super) fn is_invalid(&self) -> bool {
        !self.problem.is_empty()
    }

    /// Writes it as [`Record::decode`] reads it.
    fn encode(&self, out: &mut Vec<u8>) {
        let (kind, a, b) = match self.shape {
            Stored::Text => (0, 0, 0),
            Stored::Object => (1, 0, 0),
            Stored::Schema(at, len) => (2, at, len),
            Stored::Vectors { dimensions, base64 } => (3, dimensions, u32::from(base64)),
            Stored::Told(at, len) => (4, at, len),
        };
        let cache = self.cache;
        let cached = [cache.tokens, cache.life, cache.read, cache.write];
        out.extend_from_slice(&self.body.to_le_bytes());
        out.extend_from_slice(&cache.prefix.to_le_bytes());
        let words = [kind, self.input_tokens, self.budget, a, b];
        for word in words.into_iter().chain(cached) {
            out.extend_from_slice(&word.to_le_bytes());
        }
        let fields = [self.custom_id.as_bytes(), self.model.as_bytes(), self.draws];
        for field in fields.into_iter().chain([self.problem.as_bytes()]) {
            out.extend_from_slice(&u32::try_from(field.len()).unwrap_or(0).to_le_bytes());
            out.extend_from_slice(field);
        }
    }
}

impl<'a> Record<'a> {
    /// Takes one record off the front of `bytes`.
    pub(super) fn decode(bytes: &mut &'a [u8]) -> Option<Self> {
        let body = u64::from_le_bytes(*take(bytes)?);
        let prefix = u64::from_le_bytes(*take(bytes)?);
        let kind = word(bytes)?;
        let (input_tokens, budget, a, b) = (word(bytes)?, word(bytes)?, word(bytes)?, word(bytes)?);
        let cache = Wanted {
            prefix,
            tokens: word(bytes)?,
            life: word(bytes)?,
            read: word(bytes)?,
            write: word(bytes)?,
        };
        let shape = match kind {
            0 => Stored::Text,
            1 => Stored::Object,
            2 => Stored::Schema(a, b),
            4 => Stored::Told(a, b),
            _ => Stored::Vectors {
                dimensions: a,
                base64: b != 0,
            },
        };
        let custom_id = std::str::from_utf8(field(bytes)?).ok()?;
        let model = std::str::from_utf8(field(bytes)?).ok()?;
        let draws = field(bytes)?;
        let problem = std::str::from_utf8(field(bytes)?).ok()?;
        Some(Record {
            custom_id,
            model,
            body,
            input_tokens,
            budget,
            shape,
            cache,
            draws,
            problem,
        })
    }
}

fn take<'a, const N: usize>(bytes: &mut &'a [u8]) -> Option<&'a [u8; N]> {
    let (head, rest) = bytes.split_first_chunk::<N>()?;
    *bytes = rest;
    Some(head)
}

fn word(bytes: &mut &[u8]) -> Option<u32> {
    take(bytes).map(|word| u32::from_le_bytes(*word))
}

fn field<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let len = usize::try_from(word(bytes)?).ok()?;
    let (head, rest) = bytes.split_at_checked(len)?;
    *bytes = rest;
    Some(head)
}

/// What is known of a file of records without opening it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Summary {
    pub(super) count: u64,
    /// Requests that must fail.
    pub(super) invalid: u64,
    pub(super) input_tokens: u64,
    /// Draws in all: for embeddings, the inputs.
    pub(super) draws: u64,
    /// What its requests begin with, as far as that is cached.
    #[serde(default)]
    pub(super) prefixes: Vec<PrefixUse>,
    /// Where each segment begins; the last entry is the end.
    segments: Vec<u64>,
}

/// Writes a file of records, and takes it away again unless it is finished.
#[derive(Debug)]
pub(super) struct RecordWriter {
    records: BufWriter<File>,
    schemas: BufWriter<File>,
    paths: [PathBuf; 2],
    summary: Summary,
    remembered: HashMap<u64, (u32, u32)>,
    buffer: Vec<u8>,
    bytes: u64,
    schema_bytes: u32,
    finished: bool,
}

impl RecordWriter {
    pub(super) fn create(base: &Path) -> Result<Self> {
        let paths = [
            base.with_extension("requests"),
            base.with_extension("schemas"),
        ];
        let create = |path: &Path| {
            let file = create_file(path).or_err(ErrorKind::Unavailable, "cannot keep requests")?;
            Ok::<_, Error>(BufWriter::with_capacity(128 * 1024, file))
        };
        Ok(RecordWriter {
            records: create(&paths[0])?,
            schemas: create(&paths[1])?,
            paths,
            summary: Summary::default(),
            remembered: HashMap::new(),
            buffer: Vec::new(),
            bytes: 0,
            schema_bytes: 0,
            finished: false,
        })
    }

    /// How many there are so far.
    pub(super) fn count(&self) -> u64 {
        self.summary.count
    }

    pub(super) fn push(&mut self, request: &Request<'_>) -> Result<()> {
        if self.summary.count.is_multiple_of(SEGMENT) {
            self.summary.segments.push(self.bytes);
        }
        let shape = self.stored(&request.shape)?;
        let draws: Vec<u8> = request
            .draws
            .iter()
            .flat_map(|draw| draw.to_le_bytes())
            .collect();
        let problem = request
            .problem
            .as_ref()
            .map(Problem::stored)
            .unwrap_or_default();
        let record = Record {
            custom_id: &request.custom_id,
            model: &request.model,
            body: request.body,
            input_tokens: request.input_tokens,
            budget: request.budget,
            shape,
            cache: request.cache,
            draws: &draws,
            problem: &problem,
        };
        self.buffer.clear();
        record.encode(&mut self.buffer);
        self.records
            .write_all(&self.buffer)
            .or_err(ErrorKind::Unavailable, KEEP)?;
        self.bytes += self.buffer.len() as u64;
        if request.problem.is_none() {
            prefix::note(
                &mut self.summary.prefixes,
                request.cache,
                self.summary.count,
            );
        }
        self.summary.count += 1;
        self.summary.invalid += u64::from(request.problem.is_some());
        self.summary.input_tokens += u64::from(request.input_tokens);
        self.summary.draws += request.draws.len() as u64;
        Ok(())
    }

    fn stored(&mut self, shape: &Shape<'_>) -> Result<Stored> {
        Ok(match *shape {
            Shape::Text => Stored::Text,
            Shape::Object => Stored::Object,
            Shape::Vectors { dimensions, base64 } => Stored::Vectors { dimensions, base64 },
            Shape::Schema(schema) => {
                let (at, len) = self.schema(schema)?;
                Stored::Schema(at, len)
            }
            Shape::Told(ref schema) => {
                let (at, len) = self.schema(schema)?;
                Stored::Told(at, len)
            }
        })
    }

    fn schema(&mut self, schema: &str) -> Result<(u32, u32)> {
        let hash = xxh3_64(schema.as_bytes());
        if let Some(place) = self.remembered.get(&hash) {
            return Ok(*place);
        }
        let len = u32::try_from(schema.len()).or_err(ErrorKind::Invalid, "a schema is too long")?;
        let place = (self.schema_bytes, len);
        self.schemas
            .write_all(schema.as_bytes())
            .or_err(ErrorKind::Unavailable, KEEP)?;
        self.schema_bytes = self
            .schema_bytes
            .checked_add(len)
            .ok_or_else(|| Error::invalid("the schemas of one upload exceed 4 GB"))?;
        if self.remembered.len() < SCHEMAS_REMEMBERED {
            self.remembered.insert(hash, place);
        }
        Ok(place)
    }

    /// Makes the file whole.
    pub(super) fn finish(mut self) -> Result<Summary> {
        self.summary.segments.push(self.bytes);
        self.records.flush().or_err(ErrorKind::Unavailable, KEEP)?;
        self.schemas.flush().or_err(ErrorKind::Unavailable, KEEP)?;
        self.finished = true;
        Ok(std::mem::take(&mut self.summary))
    }
}

const KEEP: &str = "cannot keep requests";

impl Drop for RecordWriter {
    fn drop(&mut self) {
        if !self.finished {
            // Best effort: nothing refers to the files of an upload that was not finished.
            self.paths
                .iter()
                .for_each(|path| drop(std::fs::remove_file(path)));
        }
    }
}

/// Reads a file of records, a segment at a time.
#[derive(Debug)]
pub(super) struct RecordReader {
    records: File,
    schemas: File,
    segments: Vec<u64>,
}

impl RecordReader {
    pub(super) fn open(base: &Path, summary: &Summary) -> Result<Self> {
        let open = |ending| {
            File::open(base.with_extension(ending)).or_err(ErrorKind::Data, "requests are gone")
        };
        let segments = summary.segments.clone();
        Ok(RecordReader {
            records: open("requests")?,
            schemas: open("schemas")?,
            segments,
        })
    }

    /// How many segments there are.
    pub(super) fn segments(&self) -> usize {
        self.segments.len().saturating_sub(1)
    }

    /// The number of the first record in a segment.
    pub(super) fn first_of(segment: usize) -> u64 {
        segment as u64 * SEGMENT
    }

    /// Fills `buffer` with the bytes of a segment, to be decoded.
    pub(super) fn read(&mut self, segment: usize, buffer: &mut Vec<u8>) -> Result<()> {
        let (start, end) = (self.segments[segment], self.segments[segment + 1]);
        buffer.resize(usize::try_from(end - start).unwrap_or(0), 0);
        self.records
            .seek(SeekFrom::Start(start))
            .and_then(|_| self.records.read_exact(buffer))
            .or_err(ErrorKind::Data, "requests are cut off")
    }

    /// The text of a schema.
    pub(super) fn schema(&mut self, at: u32, len: u32) -> Result<String> {
        let mut text = String::new();
        self.schemas
            .seek(SeekFrom::Start(at.into()))
            .and_then(|_| (&self.schemas).take(len.into()).read_to_string(&mut text))
            .or_err(ErrorKind::Data, "a schema is cut off")?;
        Ok(text)
    }
}
