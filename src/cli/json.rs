//! The last line of a command's output: one JSON object.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::engine::Report;
use crate::work::Usage;

/// What a command came to.
#[derive(Debug, Serialize)]
pub(super) struct Line<'a> {
    job: &'a str,
    run: &'a str,
    exit_code: u8,
    published: bool,
    unchanged: bool,
    output: &'a str,
    ledger: &'a str,
    rows: u64,
    status: BTreeMap<&'static str, u64>,
    requests: u64,
    identical_rows: u64,
    answered_before_rows: u64,
    open_batches: u64,
    wasted_batches: u64,
    batches: &'a [String],
    tokens: Usage,
    /// `null` where the price of the model is not known.
    cost_usd: Option<f64>,
}

impl<'a> Line<'a> {
    /// The line of `report`, for a process that ends with `exit_code`.
    pub(super) fn of(report: &'a Report, exit_code: u8) -> Self {
        let counted = report.counts.iter().filter(|(_, count)| *count > 0);
        Line {
            job: &report.job,
            run: &report.run,
            exit_code,
            published: report.published,
            unchanged: report.unchanged,
            output: &report.output,
            ledger: &report.ledger,
            rows: report.rows,
            status: counted
                .map(|(status, count)| (status.as_str(), count))
                .collect(),
            requests: report.requests,
            identical_rows: report.identical,
            answered_before_rows: report.answered,
            open_batches: report.open,
            wasted_batches: report.wasted,
            batches: &report.batches,
            tokens: report.usage,
            cost_usd: report.cost_micros.map(usd),
        }
    }
}

/// Millionths of a US dollar as dollars.
#[expect(
    clippy::cast_precision_loss,
    reason = "exact up to nine billion dollars"
)]
pub(super) fn usd(micros: u64) -> f64 {
    micros as f64 / 1e6
}
