//! A batch's answers, put in order: lines come as they like, outcomes leave by ordinal.
//!
//! Each line that is understood is judged at once, and what is worth keeping of it goes to a spool,
//! in memory while it is small and in a file when it is not. A slot per request remembers where. So
//! a batch of long answers costs no more memory than one of short ones.

use std::borrow::Cow;
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::base::{Error, ErrorKind, Result, ResultExt, scratch_error};
use crate::work::{Finish, Outcome, RowStatus, Usage};

/// Where the outcome of one request lies in the spool; nothing of it has come while `len` is zero.
#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    at: u64,
    len: u32,
    worth: Worth,
}

/// What an outcome is worth, where one request has several: an answer was paid for, and a success is
/// what is wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Worth {
    /// It was not reached.
    #[default]
    Nothing,
    /// It failed, unpaid.
    Failure,
    /// It was answered, and not as it should be.
    Answer,
    /// It was answered.
    Success,
}

impl Worth {
    fn of(outcome: &Outcome<'_>) -> Worth {
        match outcome.status {
            RowStatus::Succeeded => Worth::Success,
            RowStatus::Invalid | RowStatus::Refused | RowStatus::Truncated => Worth::Answer,
            // A model answered, and so was paid; what it said is no use, or was kept back.
            RowStatus::Missing | RowStatus::Filtered if outcome.model.is_some() => Worth::Answer,
            RowStatus::Failed | RowStatus::Filtered => Worth::Failure,
            _ => Worth::Nothing,
        }
    }
}

/// The outcomes of one batch, as they come.
#[derive(Debug)]
pub(crate) struct Slots {
    of_request: Vec<Slot>,
    spool: Spool,
    record: Vec<u8>,
    models: Models,
    answered: u64,
    failed: u64,
}

/// Whether a request had an outcome already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Put {
    /// It is the first.
    First,
    /// There was one.
    Again,
}

impl Slots {
    /// Slots for `count` requests; what does not fit into `memory_max` bytes lies in `folder`.
    pub(crate) fn new(count: usize, folder: &Path, memory_max: usize) -> Self {
        Slots {
            of_request: vec![Slot::default(); count],
            spool: Spool::new(folder, memory_max),
            record: Vec::new(),
            models: Models::default(),
            answered: 0,
            failed: 0,
        }
    }

    /// Keeps the outcome of request `n`. Where there are several, a success wins over the others, an
    /// answer over what is none, and else the first.
    pub(crate) fn put(&mut self, n: usize, outcome: &Outcome<'_>) -> Result<Put> {
        let (old, new) = (self.of_request[n].worth, self.keep(n, outcome)?);
        let (put, worth) = new;
        self.count(old, worth);
        Ok(put)
    }

    /// The same of a request that shares its line of the body with another one, which stands for the line
    /// where lines are counted.
    pub(crate) fn put_beside(&mut self, n: usize, outcome: &Outcome<'_>) -> Result<Put> {
        self.keep(n, outcome).map(|(put, _)| put)
    }

    /// Keeps an outcome if it is the best; whether it is the first, and what the best is worth.
    fn keep(&mut self, n: usize, outcome: &Outcome<'_>) -> Result<(Put, Worth)> {
        let slot = self.of_request[n];
        let put = if slot.len == 0 {
            Put::First
        } else {
            Put::Again
        };
        let worth = Worth::of(outcome);
        let wins = worth > slot.worth && worth >= Worth::Answer;
        if put == Put::First || wins {
            self.record.clear();
            encode(outcome, &mut self.models, &mut self.record);
            let len = u32::try_from(self.record.len()).or_err(
                ErrorKind::Unavailable,
                "an answer is larger than four gigabytes",
            )?;
            let at = self.spool.append(&self.record)?;
            self.of_request[n] = Slot { at, len, worth };
            return Ok((put, worth));
        }
        Ok((put, slot.worth))
    }

    fn count(&mut self, old: Worth, new: Worth) {
        self.answered += u64::from(new >= Worth::Answer && old < Worth::Answer);
        self.failed += u64::from(new == Worth::Failure);
        self.failed -= u64::from(old == Worth::Failure);
    }

    /// Requests that have an answer.
    pub(crate) fn answered(&self) -> u64 {
        self.answered
    }

    /// Requests that have failed.
    pub(crate) fn failed(&self) -> u64 {
        self.failed
    }

    /// How many requests there are.
    pub(crate) fn len(&self) -> usize {
        self.of_request.len()
    }

    /// The outcome of request `n`, if there is one, read into `buffer`.
    pub(crate) fn take<'a>(
        &'a self,
        n: usize,
        buffer: &'a mut Vec<u8>,
    ) -> Result<Option<Outcome<'a>>> {
        let slot = self.of_request[n];
        if slot.len == 0 {
            return Ok(None);
        }
        self.spool.read(slot.at, slot.len as usize, buffer)?;
        decode(buffer, &self.models)
            .map(Some)
            .ok_or_else(|| Error::internal("a spooled outcome does not parse"))
    }
}

/// Bytes that are appended and read back; in memory first, in a file when they are many.
#[derive(Debug)]
struct Spool {
    folder: PathBuf,
    memory_max: usize,
    /// What has not been written to the file yet. It starts at `written`.
    tail: Vec<u8>,
    written: u64,
    file: Option<File>,
}

impl Spool {
    fn new(folder: &Path, memory_max: usize) -> Self {
        Spool {
            folder: folder.to_owned(),
            memory_max,
            tail: Vec::new(),
            written: 0,
            file: None,
        }
    }

    fn append(&mut self, bytes: &[u8]) -> Result<u64> {
        let at = self.written + self.tail.len() as u64;
        self.tail.extend_from_slice(bytes);
        if self.tail.len() > self.memory_max {
            self.flush()?;
        }
        Ok(at)
    }

    fn flush(&mut self) -> Result<()> {
        let failed = |error: std::io::Error| scratch_error(&self.folder, error);
        let file = match self.file.take() {
            Some(file) => file,
            None => tempfile::tempfile_in(&self.folder).map_err(failed)?,
        };
        (&file).write_all(&self.tail).map_err(failed)?;
        self.written += self.tail.len() as u64;
        self.tail.clear();
        self.file = Some(file);
        Ok(())
    }

    fn read(&self, at: u64, len: usize, buffer: &mut Vec<u8>) -> Result<()> {
        buffer.clear();
        if let Some(start) = at.checked_sub(self.written) {
            let start =
                usize::try_from(start).or_err(ErrorKind::Internal, "a spool is too long")?;
            buffer.extend_from_slice(&self.tail[start..start + len]);
            return Ok(());
        }
        buffer.resize(len, 0);
        let file = self
            .file
            .as_ref()
            .ok_or_else(|| Error::internal("a spool has no file"))?;
        file.read_exact_at(buffer, at)
            .or_err(ErrorKind::Unavailable, "cannot read the scratch folder")
    }
}

/// The names of models, of which a batch has one or two: a record holds a number for each.
#[derive(Debug, Default)]
struct Models(Vec<String>);

impl Models {
    /// Names that get a number; a provider with more of them has each written out.
    const MAX: usize = 16;

    /// The number of `name`, counted from one; zero if it has none.
    fn number(&mut self, name: &str) -> u64 {
        let known = self.0.iter().position(|known| known == name);
        let place = known.or_else(|| {
            (self.0.len() < Self::MAX).then(|| {
                self.0.push(name.to_owned());
                self.0.len() - 1
            })
        });
        place.map_or(0, |place| place as u64 + 1)
    }
}

/// Marks of the texts that are there.
const ANSWER: u8 = 1;
const RAW: u8 = 2;
const ERROR: u8 = 4;
const MODEL: u8 = 8;
const TRANSIENT: u8 = 16;
const ACCOUNT: u8 = 1 << 5;
const VECTOR: u8 = 1 << 6;

fn encode(outcome: &Outcome<'_>, models: &mut Models, out: &mut Vec<u8>) {
    let mark = |is_there: bool, mark: u8| if is_there { mark } else { 0 };
    let marks = mark(outcome.answer.is_some(), ANSWER)
        | mark(outcome.raw.is_some(), RAW)
        | mark(outcome.error.is_some(), ERROR)
        | mark(outcome.model.is_some(), MODEL)
        | mark(outcome.transient, TRANSIENT)
        | mark(outcome.account, ACCOUNT)
        | mark(outcome.vector.is_some(), VECTOR);
    let finish = outcome.finish.map_or(u8::MAX, |finish| finish as u8);
    out.extend_from_slice(&[outcome.status.code(), marks, finish]);
    let used = outcome.usage;
    for count in [
        used.input,
        used.cache_read,
        used.cache_write_5m,
        used.cache_write_1h,
        used.output,
        used.reasoning,
    ] {
        write_number(count, out);
    }
    let texts = [&outcome.answer, &outcome.raw, &outcome.error];
    for text in texts.into_iter().flatten() {
        write_text(text, out);
    }
    if let Some(model) = &outcome.model {
        let number = models.number(model);
        write_number(number, out);
        if number == 0 {
            write_text(model, out);
        }
    }
    if let Some(vector) = &outcome.vector {
        write_number(vector.len() as u64, out);
        out.extend_from_slice(vector);
    }
}

fn write_text(text: &str, out: &mut Vec<u8>) {
    write_number(text.len() as u64, out);
    out.extend_from_slice(text.as_bytes());
}

/// Seven bits a byte, the lowest first; all bytes but the last have the high bit.
fn write_number(mut number: u64, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    out.push(number.to_le_bytes()[0]);
}

fn read_number(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

fn read_bytes<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let len = usize::try_from(read_number(bytes)?).ok()?;
    let (own, rest) = bytes.split_at_checked(len)?;
    *bytes = rest;
    Some(own)
}

fn read_text<'a>(bytes: &mut &'a [u8]) -> Option<Cow<'a, str>> {
    let text = read_bytes(bytes)?;
    Some(Cow::Borrowed(std::str::from_utf8(text).ok()?))
}

fn decode<'a>(bytes: &'a [u8], models: &'a Models) -> Option<Outcome<'a>> {
    let ([status, marks, code], mut rest) = bytes.split_first_chunk::<3>()?;
    let rest = &mut rest;
    let usage = Usage {
        input: read_number(rest)?,
        cache_read: read_number(rest)?,
        cache_write_5m: read_number(rest)?,
        cache_write_1h: read_number(rest)?,
        output: read_number(rest)?,
        reasoning: read_number(rest)?,
    };
    // A text that is there and cannot be read makes the record unreadable.
    let mut text = |mark| match marks & mark {
        0 => Some(None),
        _ => read_text(rest).map(Some),
    };
    let (answer, raw, error) = (text(ANSWER)?, text(RAW)?, text(ERROR)?);
    let model = match marks & MODEL {
        0 => None,
        _ => Some(match usize::try_from(read_number(rest)?).ok()? {
            0 => read_text(rest)?,
            number => Cow::Borrowed(models.0.get(number - 1)?.as_str()),
        }),
    };
    let vector = match marks & VECTOR {
        0 => None,
        _ => Some(Cow::Borrowed(read_bytes(rest)?)),
    };
    Some(Outcome {
        vector,
        status: RowStatus::from_code(*status)?,
        transient: marks & TRANSIENT > 0,
        account: marks & ACCOUNT > 0,
        finish: finish(*code),
        usage,
        answer,
        raw,
        error,
        model,
    })
}

fn finish(code: u8) -> Option<Finish> {
    use Finish::{Filter, Length, Other, Refusal, Stop, Tool, Unfinished, Window};
    [
        Stop, Length, Tool, Refusal, Unfinished, Other, Filter, Window,
    ]
    .into_iter()
    .find(|finish| *finish as u8 == code)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn texts() -> impl Strategy<Value = Option<Cow<'static, str>>> {
        prop::option::of("(?s).{0,40}".prop_map(Cow::Owned))
    }

    fn outcomes() -> impl Strategy<Value = Outcome<'static>> {
        let vector =
            prop::option::of(prop::collection::vec(any::<u8>(), 0..20).prop_map(Cow::Owned));
        let words = (texts(), texts(), texts(), texts(), vector);
        let status = (0u8..9).prop_map(|n| {
            if n == 8 {
                RowStatus::Filtered.code()
            } else {
                n
            }
        });
        (status, any::<bool>(), 0u8..9, any::<[u64; 6]>(), words).prop_map(
            |(status, transient, code, tokens, (answer, raw, error, model, vector))| Outcome {
                vector,
                status: RowStatus::from_code(status).expect("a status"),
                transient,
                account: transient && code % 2 == 1,
                finish: finish(code),
                usage: Usage {
                    input: tokens[0],
                    cache_read: tokens[1],
                    cache_write_5m: tokens[2],
                    cache_write_1h: tokens[3],
                    output: tokens[4],
                    reasoning: tokens[5],
                },
                answer,
                raw,
                error,
                model,
            },
        )
    }

    proptest! {
        #[test]
        fn what_comes_in_any_order_leaves_by_number(
            lines in prop::collection::vec((0usize..20, outcomes()), 0..60),
            memory_max in 0usize..2000,
        ) {
            let folder = tempfile::tempdir().expect("a folder");
            let mut slots = Slots::new(20, folder.path(), memory_max);
            let mut expect: Vec<Option<Outcome<'static>>> = vec![None; 20];
            for (n, outcome) in &lines {
                let put = slots.put(*n, outcome).expect("no I/O error");
                prop_assert_eq!(put == Put::First, expect[*n].is_none());
                let worth = |o: &Outcome<'_>| match o.status {
                    RowStatus::Succeeded => 2,
                    RowStatus::Invalid | RowStatus::Refused | RowStatus::Truncated => 1,
                    RowStatus::Missing | RowStatus::Filtered if o.model.is_some() => 1,
                    _ => 0,
                };
                let wins = expect[*n].as_ref().is_none_or(|old| worth(old) < worth(outcome));
                if wins {
                    expect[*n] = Some(outcome.clone());
                }
            }
            let count = |is: fn(&Outcome<'_>) -> bool| expect.iter().flatten().filter(|o| is(o)).count() as u64;
            let is_answer = |o: &Outcome<'_>| o.status < RowStatus::Failed
                || (matches!(o.status, RowStatus::Missing | RowStatus::Filtered) && o.model.is_some());
            prop_assert_eq!(slots.answered(), count(is_answer));
            let is_failure = |o: &Outcome<'_>| o.status == RowStatus::Failed
                || (o.status == RowStatus::Filtered && o.model.is_none());
            prop_assert_eq!(slots.failed(), count(is_failure));
            let mut buffer = Vec::new();
            for (n, expect) in expect.into_iter().enumerate() {
                prop_assert_eq!(slots.take(n, &mut buffer).expect("no I/O error"), expect);
            }
        }
    }
}
