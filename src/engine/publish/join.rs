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
use super::shown::ShownRow;
use crate::engine::context::files::Files;

/// Takes the rows' answers, one after the other.
pub(crate) trait Rows: Send {
    /// Which columns of the outcomes are wanted.
    fn columns(&self) -> OutcomeColumns;

    /// The next row. The answer is there only where it succeeded.
    fn push(&mut self, row: &ShownRow<'_>) -> impl Future<Output = Result<()>> + Send;
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
    /// What is shown of a row.
    fn or(self, found: Option<OutcomeRef<'_>>) -> ShownRow<'_> {
        let Some(found) = found else {
            return ShownRow::without_answer(self.status, Some(self.error));
        };
        let status = if self.is_partial && found.is_transient() {
            RowStatus::Pending
        } else {
            found.status()
        };
        ShownRow {
            status,
            answer: found.answer(),
            error: found.error(),
            provenance: found.provenance(),
        }
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
    let columns = rows.columns();
    let sorter = Sorter::new(files.scratch(), memory / 2);
    let looked_up = look_up(state, plan, elsewhere, (files, columns), nothing, sorter);
    let mut elsewhere = looked_up.await?;
    let mut parts = Parts::of(state, plan, files, columns);
    let mut counts = StatusCounts::default();
    let mut firsts = Firsts::of(plan);
    let mut row = 0;
    for slice in RowMapReader::open(again)? {
        let slice = slice?;
        // Reading from disk blocks and gives nobody else a turn by itself.
        tokio::task::yield_now().await;
        for at in 0..slice.len() {
            let shown = match slice.row(at)? {
                RowPlan::Asks(place) if firsts.is_first(place) => {
                    let found = parts.find(place.ordinal).await?;
                    nothing.or(found)
                }
                RowPlan::Asks(_) => next_of(&mut elsewhere, row)?,
                RowPlan::Skipped(why) => ShownRow::without_answer(RowStatus::Skipped, why),
                RowPlan::Deferred => ShownRow::without_answer(RowStatus::Deferred, None),
                RowPlan::Failed(why) => ShownRow::without_answer(RowStatus::Failed, Some(why)),
            };
            rows.push(&shown).await?;
            counts.add(shown.status, 1);
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

/// Looks up what lies elsewhere, and sorts it back by row. What a request cost stands at the first row that
/// asks it, so that a sum counts it once; those of `own` stand at rows that are not among these.
async fn look_up(
    state: &State,
    own: u64,
    mut elsewhere: Sorted,
    (files, columns): (&Files, OutcomeColumns),
    nothing: Unanswered,
    mut sorter: Sorter,
) -> Result<Sorted> {
    let mut last = None;
    let mut open: Option<(u32, Parts)> = None;
    while let Some((place, row)) = elsewhere.pull()? {
        let place = Place::unpack(place);
        let row = u64::from_le_bytes(row.try_into().unwrap_or_default());
        let mut parts = match open.take() {
            Some((plan, parts)) if plan == place.plan => parts,
            _ => Parts::of(state, place.plan.into(), files, columns),
        };
        let found = parts.find(place.ordinal).await?;
        let mut shown = nothing.or(found);
        let is_repeat = u64::from(place.plan) == own || last == Some(place);
        if let Some(provenance) = shown.provenance.as_mut().filter(|_| is_repeat) {
            provenance.cost = provenance.cost.map(|_| 0);
        }
        last = Some(place);
        sorter.push(row, |out| shown.encode(out))?;
        open = Some((place.plan, parts));
    }
    sorter.finish()
}

/// The outcome that was looked up for `row`.
fn next_of(elsewhere: &mut Sorted, row: u64) -> Result<ShownRow<'_>> {
    let lost = || Error::internal("a row lost its place while joining").with("row", row);
    match elsewhere.pull()? {
        Some((found, bytes)) if found == row => ShownRow::decode(bytes).ok_or_else(lost),
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
