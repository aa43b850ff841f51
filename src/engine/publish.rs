//! Publishing: the answers beside the rows, visible at once.

use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::RecordBatch;
use futures::StreamExt;
use tokio::sync::mpsc;

use crate::base::{Error, Location, Result};
use crate::ledger::action::{Action, PublishStarted, Published, stored_counts};
use crate::ledger::state::{PlanState, State};
use crate::output::{AnswerColumns, Layout, Output, SourceTable};
use crate::source::Source;
use crate::work::{RowStatus, StatusCounts};

use super::join::{Rows, join};
use super::scribe::Scribe;
use super::tasks::Tasks;

/// Rows that are handed to the output at once.
const BATCH_ROWS: usize = 4096;

/// Where the output goes, and what it says of itself.
#[derive(Clone, Debug)]
pub(super) struct Publication {
    pub target: Location,
    pub layout: Layout,
    pub overwrite: bool,
    pub ledger: String,
    /// The fingerprint of the plan and of the output's settings.
    pub digest: String,
}
