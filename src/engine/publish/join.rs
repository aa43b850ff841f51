//! The answers in the order of the rows.
//!
//! A row whose request is the plan's own and first asked by it finds its outcome by going forward,
//! for ordinals ascend with rows. The others (repeats, and requests of earlier plans) are gathered
//! first, sorted by place, looked up by going forward there, and sorted back by row; both sorts stay
//! within their memory. Then the row map is read once more and everything falls into place.

use std::fs::File;

use crate::base::{Error, ErrorKind, Result, ResultExt, Sorted, Sorter};
use crate::ledger::outcomes::OutcomeColumns;
use crate::ledger::row_map::{Place, RowMapReader, RowPlan};
use crate::ledger::state::State;
use crate::work::{RowStatus, StatusCounts};

use super::outcomes::{OutcomeRef, Parts};
use crate::engine::context::files::Files;

/// Takes the rows' answers, one after the other.
pub(crate) trait Rows: Send {
    /// The next row. The answer is there only where `status` is `Succeeded`.
    fn push(
        &mut self,
        status: RowStatus,
        answer: Option<&str>,
        error: Option<&str>,
    ) -> impl Future<Output = Result<()>> + Send;
}

/// What a row whose request has no outcome is.
#[derive(Clone, Copy, Debug)]
struct Unanswered {
    status: RowStatus,
    error: &'static str,
    /// Whether what failed in passing is pending too: it is still to be sent again.
    is_partial: bool,
}

impl Unanswered {
    /// What is shown of a row: its status, its answer, and why there is none.
    fn or(self, found: Option<OutcomeRef<'_>>) -> (RowStatus, Option<&str>, Option<&str>) {
        let Some(found) = found else {
            return (self.status, None, Some(self.error));
        };
        let status = if self.is_partial && found.is_transient() {
            RowStatus::Pending
        } else {
            found.status()
        };
        (status, found.answer(), found.error())
    }
}

/// Brings each row of `plan` its answer, in order, to `rows`; the rows by status. Where the output is
/// partial, rows that may still get an answer are `pending`.
pub(crate) async fn join(
    state: &State,
    (plan, is_partial): (u64, bool),
    files: &Files,
    memory: usize,
    rows: &mut impl Rows,
) -> Result<StatusCounts> {
    let canceled = state.plans.get(&plan).is_some_and(|plan| plan.canceled);
    let nothing = if canceled {
        Unanswered {
            status: RowStatus::Canceled,
            error: "canceled",
            is_partial,
        }
    } else {
        Unanswered {
            status: RowStatus::Pending,
            error: "not settled",
            is_partial,
        }
    };
    // It is read twice, and fetched once.
    let row_map = files.open(&files.rows(plan)).await?;
    let again = row_map.try_clone();
    let again = again.or_err(ErrorKind::Unavailable, "cannot read the row map again")?;
    let elsewhere = gather((plan, row_map), files, memory / 2).await?;
    let mut elsewhere = look_up(state, elsewhere, files, memory / 2, nothing).await?;
    let mut parts = Parts::of(state, plan, files, OutcomeColumns::Answers);
    let mut counts = StatusCounts::default();
    let mut firsts = Firsts::of(plan);
    let mut row = 0;
    for slice in RowMapReader::open(again)? {
        let slice = slice?;
        // Reading from disk blocks and gives nobody else a turn by itself.
        tokio::task::yield_now().await;
        for at in 0..slice.len() {
            let status = match slice.row(at)? {
                RowPlan::Asks(place) if firsts.is_first(place) => {
                    let found = parts.find(place.ordinal).await?;
                    let (status, answer, error) = nothing.or(found);
                    rows.push(status, answer, error).await?;
                    status
                }
                RowPlan::Asks(_) => {
                    let (status, answer, error) = next_of(&mut elsewhere, row)?;
                    rows.push(status, answer, error).await?;
                    status
                }
                RowPlan::Skipped(why) => {
                    rows.push(RowStatus::Skipped, None, why).await?;
                    RowStatus::Skipped
                }
                RowPlan::Deferred => {
                    rows.push(RowStatus::Deferred, None, None).await?;
                    RowStatus::Deferred
                }
                RowPlan::Failed(why) => {
                    rows.push(RowStatus::Failed, None, Some(why)).await?;
                    RowStatus::Failed
                }
            };
            counts.add(status, 1);
            row += 1;
        }
    }
    Ok(counts)
}

/// Tells the first row that asks a request of the plan's own from the others.
#[derive(Debug)]
struct Firsts {
    plan: u64,
    next: u64,
}

impl Firsts {
    fn of(plan: u64) -> Self {
        Firsts { plan, next: 0 }
    }

    fn is_first(&mut self, place: Place) -> bool {
        let first = u64::from(place.plan) == self.plan && place.ordinal == self.next;
        self.next += u64::from(first);
        first
    }
}

/// The rows whose request lies elsewhere, by place.
async fn gather((plan, row_map): (u64, File), files: &Files, memory: usize) -> Result<Sorted> {
    let mut sorter = Sorter::new(files.scratch(), memory);
    let mut firsts = Firsts::of(plan);
    let mut row: u64 = 0;
    for slice in RowMapReader::open(row_map)? {
        let slice = slice?;
        // Reading from disk blocks and gives nobody else a turn by itself.
        tokio::task::yield_now().await;
        for at in 0..slice.len() {
            if let RowPlan::Asks(place) = slice.row(at)?
                && !firsts.is_first(place)
            {
                sorter.push(place.pack(), |out| {
                    out.extend_from_slice(&row.to_le_bytes());
                })?;
            }
            row += 1;
        }
    }
    sorter.finish()
}

/// Looks up what lies elsewhere, and sorts it back by row.
async fn look_up(
    state: &State,
    mut elsewhere: Sorted,
    files: &Files,
    memory: usize,
    nothing: Unanswered,
) -> Result<Sorted> {
    let mut sorter = Sorter::new(files.scratch(), memory);
    let mut open: Option<(u32, Parts)> = None;
    while let Some((place, row)) = elsewhere.pull()? {
        let place = Place::unpack(place);
        let row = u64::from_le_bytes(row.try_into().unwrap_or_default());
        let mut parts = match open.take() {
            Some((plan, parts)) if plan == place.plan => parts,
            _ => Parts::of(state, place.plan.into(), files, OutcomeColumns::Answers),
        };
        let found = parts.find(place.ordinal).await?;
        let (status, answer, error) = nothing.or(found);
        sorter.push(row, |out| encode(status, answer, error, out))?;
        open = Some((place.plan, parts));
    }
    sorter.finish()
}

fn encode(status: RowStatus, answer: Option<&str>, error: Option<&str>, out: &mut Vec<u8>) {
    let marks = u8::from(answer.is_some()) | u8::from(error.is_some()) << 1;
    let answer = answer.unwrap_or_default();
    out.extend_from_slice(&[status.code(), marks]);
    out.extend_from_slice(&(answer.len() as u64).to_le_bytes());
    out.extend_from_slice(answer.as_bytes());
    out.extend_from_slice(error.unwrap_or_default().as_bytes());
}

fn decode(bytes: &[u8]) -> Option<(RowStatus, Option<&str>, Option<&str>)> {
    let ([status, marks], rest) = bytes.split_first_chunk::<2>()?;
    let (len, rest) = rest.split_first_chunk::<8>()?;
    let (answer, error) = rest.split_at_checked(usize::try_from(u64::from_le_bytes(*len)).ok()?)?;
    let answer = std::str::from_utf8(answer).ok()?;
    let error = std::str::from_utf8(error).ok()?;
    let status = RowStatus::from_code(*status)?;
    Some((
        status,
        (marks & 1 > 0).then_some(answer),
        (marks & 2 > 0).then_some(error),
    ))
}

/// The outcome that was looked up for `row`.
fn next_of(elsewhere: &mut Sorted, row: u64) -> Result<(RowStatus, Option<&str>, Option<&str>)> {
    let lost = || Error::internal("a row lost its place while joining").with("row", row);
    match elsewhere.pull()? {
        Some((found, bytes)) if found == row => decode(bytes).ok_or_else(lost),
        _ => Err(lost()),
    }
}

/// Checks that the rows by status are the rows.
pub(crate) fn check_sum(counts: &StatusCounts, rows: u64) -> Result<()> {
    if counts.total() == rows {
        return Ok(());
    }
    Err(Error::internal("the rows by status do not sum to the rows")
        .with("sum", counts.total())
        .with("rows", rows)
        .hint("nothing was published; this is a defect of columnist, please report it"))
}
