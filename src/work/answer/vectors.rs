//! Vectors as they came, and what becomes of them: one line of results is the outcome of several requests.

use std::borrow::Cow;

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use crate::base::Result;
use crate::work::embedding::divided;
use crate::work::{Finish, Outcome, RowStatus, Usage, Vector};

/// What one line of a body carried: the inputs of consecutive requests.
#[derive(Clone, Copy, Debug)]
pub struct LineInputs<'a> {
    /// Where the inputs of each request begin among all inputs of the body; and where those of the last end.
    pub starts: &'a [u32],
    /// Bytes of each of the line's inputs.
    pub lens: &'a [u32],
}

impl LineInputs<'_> {
    /// How many requests it carried.
    #[must_use]
    pub fn requests(&self) -> usize {
        self.starts.len().saturating_sub(1)
    }

    /// The places, among the line's inputs, of those of request `n`.
    fn inputs(&self, n: usize) -> std::ops::Range<usize> {
        let at = |n: usize| (self.starts[n] - self.starts[0]) as usize;
        at(n)..at(n + 1)
    }

    /// `usage` divided among the requests, in the proportion of their bytes.
    pub(super) fn divide(&self, usage: Usage) -> Vec<Usage> {
        let weights: Vec<u64> = (0..self.requests())
            .map(|n| {
                self.lens[self.inputs(n)]
                    .iter()
                    .map(|len| u64::from(*len))
                    .sum()
            })
            .collect();
        let mut parts = vec![Usage::default(); weights.len()];
        let mut divide = |total: u64, class: fn(&mut Usage) -> &mut u64| {
            for (part, count) in parts.iter_mut().zip(divided(total, &weights)) {
                *class(part) = count;
            }
        };
        divide(usage.input, |part| &mut part.input);
        divide(usage.cache_read, |part| &mut part.cache_read);
        divide(usage.cache_write_5m, |part| &mut part.cache_write_5m);
        divide(usage.cache_write_1h, |part| &mut part.cache_write_1h);
        divide(usage.output, |part| &mut part.output);
        divide(usage.reasoning, |part| &mut part.reasoning);
        parts
    }
}

/// Hands each request of a line what `vectors` hold of it.
pub(super) fn judge(
    dimensions: u32,
    (vectors, model, usage): (&[Vector<'_>], &str, Usage),
    line: LineInputs<'_>,
    put: &mut impl FnMut(usize, &Outcome<'_>) -> Result<()>,
) -> Result<()> {
    let ordered = in_order(vectors, line.lens.len());
    let mut sum = Sum::default();
    for (n, usage) in line.divide(usage).into_iter().enumerate() {
        let outcome = match &ordered {
            // Nobody can tell whose they are. They were paid for all the same.
            None => Outcome::without_answer(RowStatus::Missing, UNMATCHED.into()),
            Some(ordered) => {
                let places = line.inputs(n);
                let own = ordered[places.clone()].iter().map(|vector| &*vector.json);
                match sum.of(dimensions, own.zip(&line.lens[places])) {
                    Ok(()) => Outcome::embedded(Cow::Borrowed(&sum.bytes)),
                    Err(why) => Outcome::without_answer(RowStatus::Invalid, why.into()),
                }
            }
        };
        let outcome = Outcome {
            finish: Some(Finish::Stop),
            model: Some(Cow::Borrowed(model)),
            usage,
            ..outcome
        };
        put(n, &outcome)?;
    }
    Ok(())
}

const UNMATCHED: &str = "the answer does not have one vector for each of its inputs";

/// The vectors by their index, if there is each of `count` exactly once.
fn in_order<'v, 'a>(vectors: &'v [Vector<'a>], count: usize) -> Option<Vec<&'v Vector<'a>>> {
    let mut ordered = vec![None; count];
    for vector in vectors {
        let slot = ordered.get_mut(usize::try_from(vector.index).ok()?)?;
        if slot.replace(vector).is_some() {
            return None;
        }
    }
    ordered.into_iter().collect()
}

/// The vector of one request, from one or several.
#[derive(Debug, Default)]
struct Sum {
    /// The vector.
    bytes: Vec<u8>,
    piece: Vec<u8>,
    total: Vec<f64>,
}

impl Sum {
    /// Leaves in `bytes` the only one of `vectors`, as it is; or the average of several, weighted by the
    /// bytes that each is of, and brought to a length of one.
    fn of<'v>(
        &mut self,
        dimensions: u32,
        mut vectors: impl ExactSizeIterator<Item = (&'v str, &'v u32)>,
    ) -> std::result::Result<(), String> {
        if vectors.len() == 1 {
            let only = vectors.next().map_or("", |(json, _)| json);
            return read(only, dimensions, &mut self.bytes);
        }
        self.total.clear();
        self.total.resize(dimensions as usize, 0.0);
        for (json, weight) in vectors {
            read(json, dimensions, &mut self.piece)?;
            for (total, number) in self.total.iter_mut().zip(floats(&self.piece)) {
                *total += f64::from(number) * f64::from(*weight);
            }
        }
        let length = self
            .total
            .iter()
            .map(|number| number * number)
            .sum::<f64>()
            .sqrt();
        if length == 0.0 || !length.is_finite() {
            return Err("the vectors of its pieces have no average of a direction".into());
        }
        self.bytes.clear();
        for number in &self.total {
            #[expect(clippy::cast_possible_truncation, reason = "no component is above one")]
            let number = (number / length) as f32;
            self.bytes.extend_from_slice(&number.to_le_bytes());
        }
        Ok(())
    }
}

/// The numbers of a vector.
#[must_use]
pub fn floats(bytes: &[u8]) -> impl ExactSizeIterator<Item = f32> {
    bytes
        .as_chunks::<4>()
        .0
        .iter()
        .map(|four| f32::from_le_bytes(*four))
}

/// Standard base64. Some servers leave the padding out.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Reads the vector that `json` is into `out`: `dimensions` finite numbers.
fn read(json: &str, dimensions: u32, out: &mut Vec<u8>) -> std::result::Result<(), String> {
    out.clear();
    let json = json.trim();
    if let Some(text) = json
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'))
    {
        decode(json, text, dimensions, out)?;
    } else if let Some(list) = json
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
    {
        for number in list.split(',').filter(|_| !list.trim().is_empty()) {
            // What is no number here is nested, or null: no such vector is finite.
            let number = number.trim().parse::<f32>().unwrap_or(f32::NAN);
            out.extend_from_slice(&number.to_le_bytes());
        }
    } else {
        return Err("its vector is neither a list of numbers nor base64".into());
    }
    let count = out.len() / 4;
    if count != dimensions as usize {
        return Err(format!(
            "its vector has {count} numbers, and not {dimensions}"
        ));
    }
    if floats(out).any(|number| !number.is_finite()) {
        return Err("its vector holds what is no finite number".into());
    }
    Ok(())
}

/// Decodes a JSON string of base64, `text` within its quotes.
fn decode(
    json: &str,
    text: &str,
    dimensions: u32,
    out: &mut Vec<u8>,
) -> std::result::Result<(), String> {
    let not = |_| "its vector is not base64".to_owned();
    // Some servers write a slash as `\/`.
    let text = if text.contains('\\') {
        Cow::Owned(serde_json::from_str(json).unwrap_or_default())
    } else {
        Cow::Borrowed(text)
    };
    out.reserve(4 * dimensions as usize);
    BASE64.decode_vec(&*text, out).map_err(not)?;
    if out.len().is_multiple_of(4) {
        Ok(())
    } else {
        Err("its vector is not made of 32-bit floats".into())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::work::answer::{AnswerType, Judge};
    use crate::work::{FailureClass, ReplyBody};

    /// What was put, request by request.
    type Put = Vec<(
        usize,
        RowStatus,
        Option<Vec<f32>>,
        Usage,
        bool,
        Option<String>,
    )>;

    fn embedding(dimensions: u32) -> Judge {
        let answer = AnswerType::Embedding {
            dimensions,
            shortened: false,
        };
        Judge::new(&answer).expect("a type")
    }

    fn put(dimensions: u32, reply: ReplyBody<'_>, requests: &[&[u32]]) -> Put {
        let mut starts = vec![7];
        for lens in requests {
            let last = starts[starts.len() - 1];
            starts.push(last + u32::try_from(lens.len()).expect("few"));
        }
        let lens = requests.concat();
        let line = LineInputs {
            starts: &starts,
            lens: &lens,
        };
        let mut all = Vec::new();
        let keep = |n: usize, outcome: &Outcome<'_>| {
            let vector = outcome.vector.as_ref().map(|bytes| floats(bytes).collect());
            let error = outcome.error.as_ref().map(ToString::to_string);
            all.push((
                n,
                outcome.status,
                vector,
                outcome.usage,
                outcome.transient,
                error,
            ));
            Ok(())
        };
        embedding(dimensions)
            .judge_line(reply, line, keep)
            .expect("no I/O");
        all
    }

    fn reply<'a>(vectors: &[(u64, &'a str)], input: u64) -> ReplyBody<'a> {
        let vector = |(index, json): &(u64, &'a str)| Vector {
            index: *index,
            json: (*json).into(),
        };
        ReplyBody::Embedded {
            vectors: vectors.iter().map(vector).collect(),
            model: "m".into(),
            usage: Usage {
                input,
                ..Usage::default()
            },
        }
    }

    fn base64(numbers: &[f32]) -> String {
        let bytes: Vec<u8> = numbers.iter().flat_map(|n| n.to_le_bytes()).collect();
        format!("\"{}\"", BASE64.encode(bytes))
    }

    #[test]
    fn vectors_are_matched_by_index_and_usage_is_divided_by_length() {
        let packed = base64(&[0.5, -2.0]);
        let all = put(
            2,
            reply(&[(1, "[3, 4e0]"), (0, &packed), (2, " [0,-0.0] ")], 10),
            &[&[4], &[4], &[1]],
        );
        let vectors: Vec<_> = all
            .iter()
            .map(|put| put.2.clone().expect("a vector"))
            .collect();
        assert_eq!(vectors, [[0.5, -2.0], [3.0, 4.0], [0.0, 0.0]]);
        assert_eq!(
            all.iter().map(|put| put.3.input).collect::<Vec<_>>(),
            [5, 4, 1]
        );
        assert!(
            all.iter()
                .all(|put| put.1 == RowStatus::Succeeded && !put.4)
        );
    }

    #[test]
    fn unless_each_index_is_there_once_all_are_missing_and_paid() {
        for vectors in [
            &[(0, "[1]")][..],
            &[(0, "[1]"), (0, "[2]")],
            &[(0, "[1]"), (1, "[2]"), (1, "[2]")],
            &[(0, "[1]"), (2, "[2]")],
            &[(1, "[1]"), (u64::MAX, "[2]")],
            &[],
        ] {
            let all = put(1, reply(vectors, 5), &[&[1], &[1]]);
            assert_eq!(all.len(), 2);
            for (_, status, vector, _, transient, error) in &all {
                assert_eq!(
                    (*status, vector, *transient),
                    (RowStatus::Missing, &None, true)
                );
                assert_eq!(error.as_deref(), Some(UNMATCHED));
            }
            assert_eq!(
                all.iter().map(|put| put.3.input).sum::<u64>(),
                5,
                "paid for"
            );
        }
    }

    #[test]
    fn a_vector_that_is_none_is_invalid_and_its_neighbours_are_not() {
        let nan = base64(&[f32::NAN, 1.0]);
        let infinite = base64(&[f32::INFINITY, 1.0]);
        let (short, long) = (base64(&[1.0]), base64(&[1.0; 3]));
        for (json, why) in [
            (nan.as_str(), "its vector holds what is no finite number"),
            (&infinite, "its vector holds what is no finite number"),
            ("[1e400, 1]", "its vector holds what is no finite number"),
            ("[1e39, 1]", "its vector holds what is no finite number"),
            ("[null, 1]", "its vector holds what is no finite number"),
            ("[[1], 1]", "its vector holds what is no finite number"),
            (&short, "its vector has 1 numbers, and not 2"),
            (&long, "its vector has 3 numbers, and not 2"),
            ("[]", "its vector has 0 numbers, and not 2"),
            ("\"\"", "its vector has 0 numbers, and not 2"),
            ("\"AAAA\"", "its vector is not made of 32-bit floats"),
            ("\"%%%%\"", "its vector is not base64"),
            ("null", "its vector is neither a list of numbers nor base64"),
            ("{}", "its vector is neither a list of numbers nor base64"),
        ] {
            let all = put(2, reply(&[(0, "[1,2]"), (1, json)], 2), &[&[1], &[1]]);
            assert_eq!(all[0].1, RowStatus::Succeeded, "{json}");
            let (_, status, vector, usage, transient, error) = &all[1];
            assert_eq!(
                (*status, vector, *transient),
                (RowStatus::Invalid, &None, false),
                "{json}"
            );
            assert_eq!((usage.input, error.as_deref()), (1, Some(why)), "{json}");
        }
    }

    #[test]
    fn base64_is_read_however_servers_write_it() {
        let packed = base64(&[-1.0e-5, 3.0]);
        let slashes = packed.replace('/', "\\/");
        let bare = packed.replace('=', "");
        assert!(packed.contains('='));
        for json in [packed.as_str(), &slashes, &bare] {
            let all = put(2, reply(&[(0, json)], 1), &[&[9]]);
            assert_eq!(all[0].2, Some(vec![-1.0e-5, 3.0]), "{json}");
        }
    }

    #[test]
    fn pieces_are_averaged_by_their_length_and_brought_to_a_length_of_one() {
        let all = put(
            2,
            reply(&[(0, "[1,0]"), (1, "[0,1]"), (2, "[0,1]"), (3, "[7,0]")], 8),
            &[&[1], &[30, 10], &[4]],
        );
        let vectors: Vec<_> = all
            .iter()
            .map(|put| put.2.clone().expect("a vector"))
            .collect();
        assert_eq!(vectors[0], [1.0, 0.0]);
        assert_eq!(vectors[1], [0.0, 1.0]);
        assert_eq!(vectors[2], [7.0, 0.0], "what is whole is as it came");
        let all = put(2, reply(&[(0, "[1,0]"), (1, "[0,1]")], 8), &[&[30, 40]]);
        assert_eq!(all[0].2, Some(vec![0.6, 0.8]));
        let all = put(2, reply(&[(0, "[1,0]"), (1, "[-1,0]")], 8), &[&[5, 5]]);
        assert_eq!((all[0].1, &all[0].2), (RowStatus::Invalid, &None));
    }

    #[test]
    fn a_line_of_several_that_fails_for_good_does_not_say_whose_fault_it_is() {
        let failed = |class| ReplyBody::Failed {
            class,
            code: "invalid".into(),
            message: "too long".into(),
        };
        let alone = put(1, failed(FailureClass::Permanent), &[&[1]]);
        assert_eq!((alone[0].1, alone[0].4), (RowStatus::Failed, false));
        let several = put(1, failed(FailureClass::Permanent), &[&[1], &[1]]);
        assert!(
            several
                .iter()
                .all(|put| put.1 == RowStatus::Failed && put.4)
        );
        assert_eq!(several[1].5.as_deref(), Some("invalid: too long"));
        assert!(
            put(1, ReplyBody::Expired, &[&[1], &[1]])
                .iter()
                .all(|put| put.1 == RowStatus::Expired)
        );
    }

    #[test]
    fn a_text_is_no_vector_and_a_vector_is_no_text() {
        let text = ReplyBody::Answered {
            text: "hello".into(),
            finish: Finish::Stop,
            refusal: None,
            model: "m".into(),
            usage: Usage {
                output: 3,
                ..Usage::default()
            },
        };
        let all = put(1, text, &[&[1], &[1]]);
        assert!(all.iter().all(|put| put.1 == RowStatus::Invalid));
        assert_eq!(all.iter().map(|put| put.3.output).sum::<u64>(), 3);
        let outcome = Judge::new(&AnswerType::Text).expect("a type");
        let outcome = outcome.judge(reply(&[(0, "[1]")], 4));
        assert_eq!(
            (outcome.status, outcome.usage.input),
            (RowStatus::Invalid, 4)
        );
    }

    proptest! {
        #[test]
        fn any_vectors_come_out_as_they_went_in(
            vectors in prop::collection::vec(prop::collection::vec(any::<f32>().prop_filter("finite", |n| n.is_finite()), 3), 1..8),
            packed in prop::collection::vec(any::<bool>(), 8), turn in 0usize..8,
        ) {
            let json: Vec<String> = vectors.iter().zip(&packed).map(|(vector, packed)| {
                if *packed { base64(vector) } else { serde_json::to_string(vector).expect("finite") }
            }).collect();
            let mut own: Vec<(u64, &str)> = (0..).zip(json.iter().map(String::as_str)).collect();
            let count = own.len();
            own.rotate_left(turn % count);
            let lens = [2u32];
            let requests: Vec<&[u32]> = vec![&lens[..]; vectors.len()];
            let all = put(3, reply(&own, 17), &requests);
            let bits = |vector: &Vec<f32>| vector.iter().map(|n| n.to_bits()).collect::<Vec<_>>();
            for (put, vector) in all.iter().zip(&vectors) {
                prop_assert_eq!(put.2.as_ref().map(bits), Some(bits(vector)));
            }
            prop_assert_eq!(all.iter().map(|put| put.3.input).sum::<u64>(), 17);
        }

        #[test]
        fn whatever_stands_for_a_vector_is_read_or_refused(json in "(?s)[\\[\\]\"0-9eE.,+A-Za-z/=\\\\ -]{0,40}", dimensions in 0u32..5) {
            let mut out = Vec::new();
            if read(&json, dimensions, &mut out).is_ok() {
                prop_assert_eq!(out.len(), 4 * dimensions as usize);
                prop_assert!(floats(&out).all(f32::is_finite));
            }
        }
    }
}
