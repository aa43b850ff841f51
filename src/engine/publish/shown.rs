//! What is shown of a row, and the same as bytes: rows whose answer lies elsewhere are sorted twice.

use crate::base::Time;
use crate::output::Provenance;
use crate::work::{AnswerRef, RequestKey, RowStatus, Usage};

/// What is shown of a row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct ShownRow<'a> {
    pub status: RowStatus,
    pub answer: Option<AnswerRef<'a>>,
    /// Why there is none.
    pub error: Option<&'a str>,
    /// How it came about, where the output wants to know and anything has come back.
    pub provenance: Option<Provenance<'a>>,
}

impl<'a> ShownRow<'a> {
    /// A row for which nothing has come back.
    pub(crate) fn without_answer(status: RowStatus, error: Option<&'a str>) -> Self {
        ShownRow {
            status,
            answer: None,
            error,
            provenance: None,
        }
    }

    /// The row as bytes.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.push(self.status.code());
        // A vector is marked as one, and a text is not.
        let vector = match self.answer {
            Some(AnswerRef::Vector(vector)) => Some(vector),
            _ => None,
        };
        let said = match self.answer {
            Some(AnswerRef::Text(said)) => Some(said),
            _ => None,
        };
        bytes(vector, out);
        text(said, out);
        text(self.error, out);
        let Some(provenance) = &self.provenance else {
            return;
        };
        out.extend_from_slice(&provenance.key.0);
        let tokens = provenance.usage.classes();
        out.extend_from_slice(tokens.map(u64::to_le_bytes).as_flattened());
        out.extend_from_slice(&provenance.cost.unwrap_or(u128::MAX).to_le_bytes());
        out.extend_from_slice(&provenance.attempts.to_le_bytes());
        let at = provenance.answered_at.map(|at| at.timestamp_micros());
        out.extend_from_slice(&at.unwrap_or(i64::MIN).to_le_bytes());
        let Provenance {
            model,
            finish,
            batch,
            raw,
            ..
        } = *provenance;
        for word in [model, finish, batch, raw] {
            text(word, out);
        }
    }

    /// The row of such bytes; nothing if they are not of a row.
    pub(crate) fn decode(bytes: &'a [u8]) -> Option<ShownRow<'a>> {
        let mut reader = Reader(bytes);
        let [status] = reader.take()?;
        let vector = reader.bytes()?.map(AnswerRef::Vector);
        let said = reader.text()?.0.map(AnswerRef::Text);
        let row = ShownRow {
            status: RowStatus::from_code(status)?,
            answer: vector.or(said),
            error: reader.text()?.0,
            provenance: None,
        };
        if reader.0.is_empty() {
            return Some(row);
        }
        let key = RequestKey(reader.take()?);
        let mut classes = [0; 6];
        for class in &mut classes {
            *class = reader.number()?;
        }
        let usage = Usage::of_classes(classes);
        let cost = u128::from_le_bytes(reader.take()?);
        let attempts = u32::from_le_bytes(reader.take()?);
        let at = i64::from_le_bytes(reader.take()?);
        let provenance = Provenance {
            key,
            usage,
            cost: (cost != u128::MAX).then_some(cost),
            attempts,
            answered_at: Time::from_timestamp_micros(at),
            model: reader.text()?.0,
            finish: reader.text()?.0,
            batch: reader.text()?.0,
            raw: reader.text()?.0,
        };
        Some(ShownRow {
            provenance: Some(provenance),
            ..row
        })
    }
}

/// Writes a text and its length; one that is not there has the length that none has.
fn text(text: Option<&str>, out: &mut Vec<u8>) {
    bytes(text.map(str::as_bytes), out);
}

/// The same of any bytes.
fn bytes(bytes: Option<&[u8]>, out: &mut Vec<u8>) {
    let len = bytes.map_or(u64::MAX, |bytes| bytes.len() as u64);
    out.extend_from_slice(&len.to_le_bytes());
    out.extend_from_slice(bytes.unwrap_or_default());
}

/// A text that was written, or that there was none.
struct Word<'a>(Option<&'a str>);

/// What is left of some bytes.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*taken)
    }

    fn number(&mut self) -> Option<u64> {
        self.take().map(u64::from_le_bytes)
    }

    fn text(&mut self) -> Option<Word<'a>> {
        let Some(text) = self.bytes()? else {
            return Some(Word(None));
        };
        std::str::from_utf8(text).ok().map(|text| Word(Some(text)))
    }

    /// Bytes that were written; within, nothing if there were none.
    #[expect(
        clippy::option_option,
        reason = "none at all, and none that can be read"
    )]
    fn bytes(&mut self) -> Option<Option<&'a [u8]>> {
        let len = self.number()?;
        if len == u64::MAX {
            return Some(None);
        }
        let (bytes, rest) = self.0.split_at_checked(usize::try_from(len).ok()?)?;
        self.0 = rest;
        Some(Some(bytes))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_row_is_read_as_it_was_written(
            status in 0u8..11, texts: [Option<String>; 6], key: [u8; 24], tokens: [u64; 6],
            cost in prop::option::of(0..u128::MAX), attempts: u32,
            at in prop::option::of(0i64..1 << 50), is_known: bool, is_vector: bool,
        ) {
            let [answer, error, model, finish, batch, raw] = texts.each_ref().map(Option::as_deref);
            let provenance = Provenance {
                key: RequestKey(key),
                model,
                finish,
                usage: Usage::of_classes(tokens),
                cost,
                batch,
                attempts,
                answered_at: at.and_then(Time::from_timestamp_micros),
                raw,
            };
            let row = ShownRow {
                status: RowStatus::from_code(status).expect("a status"),
                answer: answer.map(|answer| if is_vector {
                    AnswerRef::Vector(answer.as_bytes())
                } else {
                    AnswerRef::Text(answer)
                }),
                error,
                provenance: is_known.then_some(provenance),
            };
            let mut bytes = Vec::new();
            row.encode(&mut bytes);
            prop_assert_eq!(ShownRow::decode(&bytes), Some(row));
        }

        #[test]
        fn no_bytes_are_misread(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            // Whatever it is, reading it does not panic.
            let _ = ShownRow::decode(&bytes);
        }
    }
}
