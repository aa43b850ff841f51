//! What came of a rehearsal, judged from outside: by the output's own rows and by the sandbox's bill.
//!
//! The engine's row map and join are not asked. Each row of the output is rendered anew; what the
//! sandbox answers to that prompt is worked out by its documented rule, written here a second time;
//! and that is what has to stand beside it. A layout that has the old columns is its own source, so
//! that a row with another row's answer is seen even if both were moved; of a layout that has not, the
//! source is read, and the keys have to agree.

use std::path::Path;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringArray};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use futures::StreamExt;

use super::asked::{Ask, AskedRows};
use crate::base::{Components, Error, ErrorKind, Result, ResultExt, Sorter};
use crate::cli::providers;
use crate::emulator::Sandbox;
use crate::engine::{Attacher, source_input};
use crate::output::{AnswerColumns, AnswerSpec, MetaColumns};
use crate::provider::Provider;
use crate::source::{Input, RowIds, Scan, Source};
use crate::spec::{Job, LayoutSpec, Meta};
use crate::work::{AnswerRef, AnswerType, InputRule, Judge, RowStatus, StatusCounts};

/// What was found.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Verdict {
    /// The source's rows.
    pub(super) rows: u64,
    /// The output's rows by status; none where the job wants no such column.
    pub(super) counts: Option<StatusCounts>,
    /// Rows that are not there, or of which nobody can say what became of them.
    pub(super) lost: u64,
    /// Rows that hold what is not the answer to their prompt.
    pub(super) wrong: u64,
    /// Some of the lost and the wrong, for a person.
    pub(super) examples: Vec<String>,
    /// Requests that were billed.
    pub(super) billed: u64,
    /// Of those, how many were billed beyond what the rows ask.
    pub(super) billed_twice: u64,
}

/// Offenders that are named.
const EXAMPLES_MAX: usize = 5;

/// Judges the output of `job`, and the bill of the `sandbox` that answered from `seed`.
pub(super) async fn judge(
    job: &Job,
    (sandbox, seed): (&Sandbox, u64),
    (components, memory): (&Components, usize),
    scratch: &Path,
) -> Result<Verdict> {
    let source = Source::open(&source_input(job), &components.stores, scratch).await?;
    let address = job.output.path.clone();
    let output = Source::open(&Input::table(address), &components.stores, scratch).await?;
    let is_keyed = job.output.layout == Some(LayoutSpec::Keyed);
    let key = if is_keyed { &job.source.key[..] } else { &[] };
    let table = if is_keyed { &source } else { &output };
    let provider = providers::open_offline(job, components)?;
    let attacher = Attacher::of(job, &source, provider.capability(), components)?;
    let rows_of = (seed, attacher, input_rule(job, &*provider));
    let mut asked = AskedRows::open(job, &source, table, key, rows_of).await?;
    let mut verdict = Verdict::default();
    let mut sums = Sorter::new(scratch, memory);
    let mut given = output.scan(Scan::of(columns(job, key)?)).await?;
    let ids = match key {
        [] => None,
        key => Some(RowIds::new(output.schema(), key)?),
    };
    let mut rule = Rule::of(job, components)?;
    let mut row = 0;
    while let Some(slice) = given.next().await {
        let batch = slice?.batch;
        let keys = ids.as_ref().map(|ids| ids.encode(&batch)).transpose()?;
        let given = Given::of(job, &batch)?;
        for at in 0..batch.num_rows() {
            let (ask, asked_key) = asked.row(row).await?;
            let given_row = given.row(at)?;
            let mark = match &ask {
                Ask::Pieces(_) => PIECE,
                _ if given_row.answer.is_none() => UNMET,
                _ => ASKED,
            };
            for draw in ask.draws() {
                sums.push(draw, |bytes| bytes.push(mark))?;
            }
            let key = keys.as_ref().map(|keys| keys.row(at));
            let moved = asked_key
                .is_some_and(|asked| key.as_ref().is_some_and(|key| asked != key.as_ref()));
            let finding = if moved {
                Finding::Wrong("it has another row's key")
            } else {
                rule.find(&ask, &given_row)?
            };
            verdict.note(row, given_row.status, finding);
            row += 1;
        }
    }
    verdict.rows = rows(&source).await?;
    verdict.lost += verdict.rows.saturating_sub(row);
    verdict.wrong += row.saturating_sub(verdict.rows);
    let again = u64::from(job.answer.reask) + growths(job);
    verdict.settle(sums, sandbox, (job.prompt.dedupe, again))?;
    Ok(verdict)
}

/// Which texts are too long, where texts are embedded.
fn input_rule(job: &Job, provider: &dyn Provider) -> Option<InputRule> {
    job.answer.answer.dimensions()?;
    let spec = job.answer.embedding.unwrap_or_default();
    let line = provider.capability().embeddings?.line;
    Some(InputRule {
        too_long: spec.too_long,
        tokens_max: spec.max_input_tokens.unwrap_or(u64::MAX),
        together_max: line.tokens_max,
    })
}

/// Times that the limit of output of a request may grow.
fn growths(job: &Job) -> u64 {
    let Some(factor) = job.answer.grow_output_tokens else {
        return 0;
    };
    let (mut limit, mut count) = (f64::from(job.model.max_output_tokens.max(1)), 0);
    while limit < OUTPUT_MAX {
        (limit, count) = (limit * factor, count + 1);
    }
    count
}

/// As high as no model's limit of output is.
const OUTPUT_MAX: f64 = 1e6;

/// How many rows a source has.
async fn rows(source: &Source) -> Result<u64> {
    if let Some(rows) = source.rows() {
        return Ok(rows);
    }
    let first = source.schema().fields().first();
    let mut slices = source
        .scan(Scan::of(first.map(|field| field.name().clone())))
        .await?;
    let mut rows = 0;
    while let Some(slice) = slices.next().await {
        rows += slice?.batch.num_rows() as u64;
    }
    Ok(rows)
}

/// What is read of the output.
fn columns(job: &Job, key: &[String]) -> Result<Vec<String>> {
    let mut columns = job.answer.columns()?;
    columns.extend(key.iter().cloned());
    Ok(columns)
}

/// The new columns of some rows.
struct Given {
    /// The answer's own columns.
    answers: Vec<ArrayRef>,
    meta: Option<(StringArray, StringArray)>,
}

/// What a row was given.
#[derive(Clone, Debug)]
struct GivenRow {
    /// The answer in words, which are the same for the same answer.
    answer: Option<String>,
    status: Status,
    has_reason: bool,
}

/// What the output says became of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Status {
    Is(RowStatus),
    /// There is none, or one that nobody knows.
    Unknown,
    /// The job wants no such column.
    Untold,
}

impl Given {
    fn of(job: &Job, batch: &RecordBatch) -> Result<Given> {
        let text = |name: &str| -> Result<StringArray> {
            let column = batch
                .column_by_name(name)
                .ok_or_else(|| Error::internal("a column was not read").with("column", name))?;
            let text = cast(column, &DataType::Utf8).or_err(ErrorKind::Internal, "no text")?;
            Ok(text.as_string::<i32>().clone())
        };
        let column = &job.answer.column;
        let names = job.answer.answer_columns()?;
        let meta = match job.answer.meta {
            Meta::Off => None,
            Meta::Minimal | Meta::Full => Some((
                text(&format!("{column}_status"))?,
                text(&format!("{column}_error"))?,
            )),
        };
        let answers = names.iter().map(|name| batch.column_by_name(name).cloned());
        Ok(Given {
            answers: answers
                .collect::<Option<_>>()
                .ok_or_else(|| Error::internal("a column was not read").with("column", column))?,
            meta,
        })
    }

    fn row(&self, at: usize) -> Result<GivenRow> {
        let status = |word: Option<&str>| match word.map(str::parse) {
            Some(Ok(status)) => Status::Is(status),
            _ => Status::Unknown,
        };
        let answer = words(&self.answers, at)?;
        Ok(match &self.meta {
            None => GivenRow {
                answer,
                status: Status::Untold,
                has_reason: false,
            },
            Some((statuses, errors)) => GivenRow {
                answer,
                status: status(word(statuses, at)),
                has_reason: word(errors, at).is_some_and(|error| !error.is_empty()),
            },
        })
    }
}

/// What stands in a row of these columns, in words; `None` if all of them are null.
fn words(columns: &[ArrayRef], at: usize) -> Result<Option<String>> {
    if columns.iter().all(|column| column.is_null(at)) {
        return Ok(None);
    }
    let failed = "cannot print an answer";
    let options = FormatOptions::default().with_null("null");
    let mut all = Vec::new();
    for column in columns {
        let printer =
            ArrayFormatter::try_new(column, &options).or_err(ErrorKind::Internal, failed)?;
        all.push(printer.value(at).to_string());
    }
    // A control character that no answer of the sandbox has.
    Ok(Some(all.join("\u{1f}")))
}

fn word(array: &StringArray, at: usize) -> Option<&str> {
    array.is_valid(at).then(|| array.value(at))
}

/// What is said of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Finding {
    Right,
    Lost(&'static str),
    Wrong(&'static str),
}

/// The rule of the answers, a second time: what the sandbox makes of a prompt's number.
enum Rule {
    Text,
    Choice(Vec<String>),
    /// A value of this schema, as the sandbox was asked for it.
    Json {
        schema: String,
        judge: Judge,
        columns: Box<AnswerColumns>,
    },
    /// A vector of so many numbers.
    Vector {
        dimensions: u32,
        columns: Box<AnswerColumns>,
    },
}

impl Rule {
    fn of(job: &Job, components: &Components) -> Result<Rule> {
        Ok(match &job.answer.answer {
            AnswerType::Text | AnswerType::BoundedText(_) => Rule::Text,
            AnswerType::Choice(answer) if answer.is_plain() => Rule::Choice(answer.choices.clone()),
            answer @ (AnswerType::Choice(_) | AnswerType::Json(_)) => {
                let asked = providers::open_offline(job, components)?.schema(answer)?;
                let asked = asked.or_else(|| answer.told());
                Rule::Json {
                    schema: asked.map(|schema| schema.to_string()).unwrap_or_default(),
                    judge: Judge::new(answer)?,
                    columns: Box::new(answer_columns(job)?),
                }
            }
            AnswerType::Embedding { dimensions, .. } => Rule::Vector {
                dimensions: *dimensions,
                columns: Box::new(answer_columns(job)?),
            },
        })
    }

    /// Whether a row that asks `ask` was given what it must be.
    fn find(&mut self, ask: &Ask, given: &GivenRow) -> Result<Finding> {
        use Finding::{Lost, Right, Wrong};
        let Some(text) = &given.answer else {
            return Ok(find_without(ask, given));
        };
        Ok(match (ask, given.status) {
            (Ask::Failed | Ask::Nothing, _) => Wrong("it has an answer, and asks nothing"),
            (ask, Status::Is(RowStatus::Succeeded) | Status::Untold)
                if self.is_answer(ask, text)? =>
            {
                Right
            }
            (_, Status::Unknown) => Lost("it has no status"),
            _ => Wrong("its answer is not that of its prompt"),
        })
    }

    fn is_answer(&mut self, ask: &Ask, text: &str) -> Result<bool> {
        if let Rule::Vector {
            dimensions,
            columns,
        } = self
        {
            let vector = vector(ask, *dimensions);
            let bytes: Vec<u8> = vector.into_iter().flat_map(f32::to_le_bytes).collect();
            columns.push(RowStatus::Succeeded, Some(AnswerRef::Vector(&bytes)), None)?;
            return Ok(words(columns.finish()?.columns(), 0)?.as_deref() == Some(text));
        }
        let &Ask::Prompt(draw) = ask else {
            return Ok(false);
        };
        Ok(match self {
            Rule::Vector { .. } => false,
            Rule::Text => text.ends_with(&format!(" #{draw:016x}")),
            Rule::Choice(words) => {
                let at = usize::try_from(draw % words.len().max(1) as u64).unwrap_or_default();
                words.get(at).is_some_and(|word| word == text)
            }
            Rule::Json {
                schema,
                judge,
                columns,
            } => {
                let answer = judge.read(&Sandbox::instance(schema, draw));
                let answer = answer.as_deref().ok().map(AnswerRef::Text);
                columns.push(RowStatus::Succeeded, answer, None)?;
                words(columns.finish()?.columns(), 0)?.as_deref() == Some(text)
            }
        })
    }
}

/// The columns of the job's answers, to print what an answer must be as the output is printed.
fn answer_columns(job: &Job) -> Result<AnswerColumns> {
    let value = job.answer.answer.value()?;
    AnswerColumns::new(&AnswerSpec {
        column: &job.answer.column,
        value: value.as_ref(),
        vector: job.answer.vector(),
        flatten: job.answer.flatten.as_deref(),
        trim: job.answer.trim,
        meta: MetaColumns::Off,
        about: &[],
    })
}

/// The vector of a text: the sandbox's own; of one that went in pieces, the average of theirs by their
/// bytes, of the length one.
fn vector(ask: &Ask, dimensions: u32) -> Vec<f32> {
    let pieces = match ask {
        Ask::Prompt(draw) => return Sandbox::vector(*draw, dimensions),
        Ask::Pieces(pieces) => pieces.as_slice(),
        Ask::Failed | Ask::Nothing => &[],
    };
    let mut sum = vec![0.0; dimensions as usize];
    for (draw, bytes) in pieces {
        for (sum, number) in sum.iter_mut().zip(Sandbox::vector(*draw, dimensions)) {
            *sum += f64::from(number) * f64::from(*bytes);
        }
    }
    let length = sum.iter().map(|number| number * number).sum::<f64>().sqrt();
    #[expect(clippy::cast_possible_truncation, reason = "vectors are of 32 bits")]
    let single = |number: f64| (number / length) as f32;
    sum.into_iter().map(single).collect()
}

/// The same for a row without an answer.
fn find_without(ask: &Ask, given: &GivenRow) -> Finding {
    use Finding::{Lost, Right, Wrong};
    let status = match given.status {
        Status::Untold => return Right,
        Status::Unknown | Status::Is(RowStatus::Pending) => return Lost("it has no status"),
        Status::Is(status) => status,
    };
    match (ask, status) {
        (Ask::Nothing, RowStatus::Skipped) => Right,
        (Ask::Nothing, _) => Wrong("it asks nothing, and is not skipped"),
        (_, RowStatus::Skipped) => Lost("it asks something, and was skipped"),
        (_, RowStatus::Succeeded) => Lost("it has no answer"),
        (Ask::Failed, status) if status != RowStatus::Failed => {
            Wrong("it cannot be rendered, and did not fail")
        }
        (_, status) if status.is_failure() && !given.has_reason => {
            Lost("it failed without a reason")
        }
        _ => Right,
    }
}

/// A row asks this, and has its answer.
const ASKED: u8 = 0;
/// This was billed, and answered as it should be.
const BILLED: u8 = 1;
/// A row asks this as a piece of its text, of which another text may have the same.
const PIECE: u8 = 2;
/// A row asks this, and has no answer.
const UNMET: u8 = 3;
/// This was billed, and the answer was cut, or none of what was asked for.
const UNUSABLE: u8 = 4;

/// How often something was asked, billed and so on, by these.
#[derive(Clone, Copy, Debug, Default)]
struct Tally([u64; 5]);

impl Tally {
    fn note(&mut self, what: u8) {
        if let Some(count) = self.0.get_mut(usize::from(what)) {
            *count += 1;
        }
    }

    /// What was billed beyond what the rows ask: identical requests once, or each for its row; each so many
    /// times more where its answers could not be used.
    fn beyond(&self, dedupe: bool, again: u64) -> u64 {
        let [met, good, pieces, unmet, unusable] = self.0;
        let asked = met + unmet;
        let due = if dedupe { asked.min(1) } else { asked };
        // Of what has no answer the sandbox may think that it was a good one.
        let wanting = if met == 0 { due } else { 0 };
        let all = (good + unusable).saturating_sub(due + due * again + pieces);
        all.max(good.saturating_sub(due + wanting * again + pieces))
    }
}

impl Verdict {
    fn note(&mut self, row: u64, status: Status, finding: Finding) {
        if let Status::Is(status) = status {
            self.counts.get_or_insert_default().add(status, 1);
        }
        let why = match finding {
            Finding::Right => return,
            Finding::Lost(why) => {
                self.lost += 1;
                why
            }
            Finding::Wrong(why) => {
                self.wrong += 1;
                why
            }
        };
        if self.examples.len() < EXAMPLES_MAX {
            self.examples.push(format!("row {row}: {why}"));
        }
    }

    /// Holds the bill against what the rows ask: identical requests once, or each for its row; each `again`
    /// times more where its answers could not be used.
    fn settle(
        &mut self,
        mut sums: Sorter,
        sandbox: &Sandbox,
        (dedupe, again): (bool, u64),
    ) -> Result<()> {
        sandbox.billed(&mut |draw, is_good| {
            self.billed += 1;
            let what = if is_good { BILLED } else { UNUSABLE };
            sums.push(draw, |bytes| bytes.push(what))
        })?;
        let mut sorted = sums.finish()?;
        let (mut current, mut tally) = (None, Tally::default());
        let mut beyond = 0;
        while let Some((draw, what)) = sorted.pull()? {
            if current != Some(draw) {
                beyond += tally.beyond(dedupe, again);
                (current, tally) = (Some(draw), Tally::default());
            }
            tally.note(what.first().copied().unwrap_or(BILLED));
        }
        beyond += tally.beyond(dedupe, again);
        self.billed_twice = beyond;
        Ok(())
    }

    /// Whether all that was promised held.
    pub(super) fn held(&self) -> bool {
        self.lost == 0 && self.wrong == 0 && self.billed_twice == 0
    }
}

#[cfg(test)]
mod tally_tests {
    use super::Tally;

    /// How often a row with an answer asks it, it was answered well, a piece is asked, a row without an answer
    /// asks it, and it was answered so that nobody can use it.
    #[track_caller]
    fn check(counts: [u64; 5], (dedupe, again): (bool, u64), beyond: u64) {
        assert_eq!(Tally(counts).beyond(dedupe, again), beyond, "{counts:?}");
    }

    #[test]
    fn what_cannot_be_used_may_be_billed_again_and_what_can_may_not() {
        check([1, 1, 0, 0, 2], (true, 3), 0);
        check([1, 1, 0, 0, 2], (true, 1), 1);
        check([1, 2, 0, 0, 0], (true, 3), 1);
        check([3, 1, 0, 0, 1], (true, 0), 1);
        check([2, 2, 0, 0, 0], (false, 0), 0);
        // Nobody but the job knows that an answer is none.
        check([0, 3, 0, 1, 0], (true, 2), 0);
        check([0, 4, 0, 1, 0], (true, 2), 1);
        check([0, 1, 0, 0, 0], (true, 2), 1);
    }
}
