//! A file as it is kept, and the two files that a batch writes when it ends.

use serde::{Deserialize, Serialize};

use crate::base::Time;
use crate::emulator::batch::{Batch, End, Failure, Outcome, Phase};
use crate::emulator::faults::Fault;
use crate::emulator::problem::Problem;
use crate::emulator::random::{letters, named};
use crate::emulator::record::Summary;
use crate::emulator::store::Object;
use crate::emulator::world::World;

/// What is kept of a file.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct OpenAiFile {
    pub(super) id: String,
    pub(super) seq: u64,
    pub(super) owner: String,
    pub(super) filename: String,
    pub(super) purpose: String,
    pub(super) bytes: u64,
    pub(super) created_at: Time,
    pub(super) expires_at: Option<Time>,
    /// The name of its requests in the store.
    pub(super) requests: String,
    pub(super) summary: Summary,
    /// Up to two different URLs and models, each with its first line.
    pub(super) urls: Vec<(String, u64)>,
    pub(super) models: Vec<(String, u64)>,
    /// What fails a batch of it.
    pub(super) failures: Vec<Failure>,
    pub(super) deleted: bool,
    /// Of a result file: the batch that writes it.
    pub(super) of_batch: Option<(String, Side)>,
}

impl Object for OpenAiFile {
    const FOLDER: &'static str = "files";

    fn id(&self) -> &str {
        &self.id
    }

    fn seq(&self) -> u64 {
        self.seq
    }
}

/// Which of a batch's two files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Side {
    Error,
    Output,
}

impl Side {
    /// The id of a batch's file.
    pub(super) fn file_id(self, batch: &Batch) -> String {
        format!(
            "file-{}",
            letters(named(batch.seed, &format!("{}{self:?}", batch.id)), 24)
        )
    }

    pub(super) fn wants(self) -> fn(Outcome) -> bool {
        match self {
            Side::Error => |outcome| !outcome.is_answer(),
            Side::Output => Outcome::is_answer,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Side::Error => "error",
            Side::Output => "output",
        }
    }
}

/// The file that a batch will have written when it ends; until then it is not seen.
pub(super) fn result_file(world: &World, batch: &Batch, side: Side) -> OpenAiFile {
    OpenAiFile {
        id: side.file_id(batch),
        seq: world.store.next_seq(),
        owner: batch.owner.clone(),
        filename: format!("{}_{}.jsonl", batch.id, side.name()),
        purpose: "batch_output".into(),
        bytes: 0,
        created_at: batch.created_at,
        expires_at: None,
        requests: String::new(),
        summary: Summary::default(),
        urls: Vec::new(),
        models: Vec::new(),
        failures: Vec::new(),
        deleted: false,
        of_batch: Some((batch.id.clone(), side)),
    }
}

/// The id of a batch's result file, once it is there.
pub(super) fn result_id(
    world: &World,
    batch: &Batch,
    side: Side,
) -> Result<Option<String>, Problem> {
    if !has_ended(world, batch) || batch.end() == End::Failed {
        return Ok(None);
    }
    let late = side == Side::Output && batch.luck().hits(Fault::LateOutput, 0);
    if late && world.now() < batch.ends_at() + (batch.lasts / 2).max(LATE_MIN) {
        return Ok(None);
    }
    let tally = world.tally(batch)?;
    let lines = match side {
        Side::Output => tally.succeeded,
        Side::Error => tally.errored + tally.cancelled + tally.expired,
    };
    Ok((lines > 0).then(|| side.file_id(batch)))
}

/// How long a late output file's id takes at least.
const LATE_MIN: std::time::Duration = std::time::Duration::from_secs(1);

/// Whether a batch has ended.
pub(super) fn has_ended(world: &World, batch: &Batch) -> bool {
    matches!(batch.phase(world.now()), Phase::Ended(_))
}
