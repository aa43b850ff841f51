//! The outcomes of earlier plans by request key: the ledger's index of them, brought up to date when a
//! plan is begun.
//!
//! What has landed since the index was written last is read here, once, and becomes part of it: so the
//! first run of a ledger pays nothing for an index, and no later one reads what an earlier one has read.
//! The index is a short cut and no fact: what is wrong with it is said, and it is made again from the
//! outcomes; where it cannot be written, the plan goes on with what lies in the scratch folder.

use std::ops::Range;

use tracing::warn;
use xxhash_rust::xxh3::Xxh3;

use crate::base::{Components, ErrorKind, Location, Result};
use crate::engine::context::files::Files;
use crate::engine::context::points;
use crate::engine::context::source::index_memory;
use crate::engine::publish::outcomes::Parts;
use crate::ledger::index::{AnswerIndex, Draft, Entry, EntrySorter, IndexFolder, Manifest};
use crate::ledger::outcomes::{OutcomeColumns, OutcomeVerdicts};
use crate::ledger::row_map::Place;
use crate::ledger::state::{Attempt, PlanState, State};
use crate::work::RequestKey;

/// What the index of a ledger is opened with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct IndexSetup<'a> {
    pub state: &'a State,
    pub files: &'a Files,
    pub components: &'a Components,
    /// The setting for all memory of sorting and joining.
    pub memory: usize,
    /// Whether it is written into the ledger: only by whoever holds the job.
    pub is_kept: bool,
}

/// The outcomes of the plans before one.
#[derive(Debug)]
pub(crate) struct EarlierOutcomes<'a> {
    setup: IndexSetup<'a>,
    /// The plan that looks for them.
    plan: u64,
    index: AnswerIndex,
}

impl<'a> EarlierOutcomes<'a> {
    /// Those of the plans before `plan`.
    ///
    /// # Errors
    /// `Data` if outcomes that are not in the index yet cannot be read; `Unavailable` if the ledger's store
    /// is away.
    pub(crate) async fn open(setup: IndexSetup<'a>, plan: u64) -> Result<Self> {
        let index = match setup.load(plan, true).await {
            Err(error) if error.kind() == ErrorKind::Data => {
                warn!(%error, "the index of earlier answers is made anew");
                setup.load(plan, false).await?
            }
            loaded => loaded?,
        };
        Ok(EarlierOutcomes { setup, plan, index })
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// Looks for all of `keys`: see [`AnswerIndex::find`].
    ///
    /// # Errors
    /// As [`EarlierOutcomes::open`].
    pub(crate) async fn find(
        &mut self,
        keys: &mut [(RequestKey, u32)],
        found: &mut Vec<(u32, Entry)>,
    ) -> Result<()> {
        match self.index.find(keys, found).await {
            Err(error) if error.kind() == ErrorKind::Data => {
                warn!(%error, "the index of earlier answers is made anew");
                self.index = self.setup.load(self.plan, false).await?;
                self.index.find(keys, found).await
            }
            found => found,
        }
    }
}

/// Whether requests of `plan` were asked otherwise than it says.
fn asks_otherwise(plan: &PlanState) -> bool {
    let mut chunks = plan.chunks.values();
    chunks.any(|chunk| !chunk.stored.variant.is_plain())
}

impl IndexSetup<'_> {
    /// Opens the index, and adds what it lacks of the plans before `plan`. All is read anew where what
    /// is there `is_good` no more.
    async fn load(&self, plan: u64, is_good: bool) -> Result<AnswerIndex> {
        let place = self.files.index();
        let folder = IndexFolder::list(&place).await?;
        let manifest = if is_good {
            folder.manifest().await?
        } else {
            None
        };
        let manifest = manifest.filter(|manifest| self.is_of(manifest));
        let covered = manifest.as_ref().map_or(0, |manifest| manifest.plans);
        let filters = index_memory(self.memory) / 2;
        let mut index = match &manifest {
            Some(manifest) => {
                AnswerIndex::open(manifest, &place, self.files.scratch(), filters).await?
            }
            None => AnswerIndex::empty(self.files.scratch(), filters),
        };
        let settled = self.settled(plan);
        if self.landed(covered..settled).next().is_some() {
            let drafts = self.read(covered..settled).await?;
            if !drafts.is_empty() {
                index.add(&drafts).await?;
            }
            if self.is_kept {
                let runs = manifest.as_ref().map(|manifest| manifest.runs.clone());
                let next = Manifest {
                    plans: settled,
                    landed: self.hash_of(settled),
                    runs: runs.unwrap_or_default(),
                    ..Manifest::default()
                };
                let kept = self.keep(&mut index, drafts, next, (&folder, manifest.as_ref()));
                if let Err(error) = kept.await {
                    // What is there is damaged: it must not stay so.
                    if error.kind() == ErrorKind::Data {
                        return Err(error);
                    }
                    warn!(%error, "the index of earlier answers was not written");
                }
            }
        }
        // What may still grow is looked at anew each time.
        let open = self.read(settled.max(covered)..plan).await?;
        if !open.is_empty() {
            index.add(&open).await?;
        }
        Ok(index)
    }

    /// The plans before this one, and before `plan`, get no further outcomes.
    fn settled(&self, plan: u64) -> u64 {
        let open = self.state.open_attempts();
        let first = open.map(|attempt| attempt.promised.plan).min();
        first.map_or(plan, |first| first.min(plan))
    }

    /// The attempts of some plans whose outcomes have landed, in the order in which they were made.
    fn landed(&self, plans: Range<u64>) -> impl Iterator<Item = &Attempt> {
        let attempts = self.state.attempts.values();
        attempts.filter(move |a| a.landed.is_some() && plans.contains(&a.promised.plan))
    }

    /// Whether `manifest` speaks of the outcomes that the ledger knows, and of no others: not of those of a
    /// log that was replaced by an older copy.
    fn is_of(&self, manifest: &Manifest) -> bool {
        let is_ours = manifest.landed == self.hash_of(manifest.plans);
        if !is_ours {
            warn!(
                "the index of earlier answers is of another history of the ledger, and is made anew"
            );
        }
        is_ours
    }

    /// What stands for the outcomes of the plans before `plan`.
    fn hash_of(&self, plan: u64) -> String {
        let mut hash = Xxh3::new();
        for attempt in self.landed(0..plan) {
            hash.update(attempt.promised.attempt.as_bytes());
            hash.update(b"\n");
        }
        format!("{:032x}", hash.digest128())
    }

    /// What the outcomes of some plans are worth to later ones, as a run in the scratch folder.
    async fn read(&self, plans: Range<u64>) -> Result<Vec<Draft>> {
        let memory = index_memory(self.memory) / 2;
        let mut sorter = EntrySorter::new(self.files.scratch(), memory);
        for plan in self.state.plans.range(plans.clone()).map(|(_, plan)| plan) {
            if asks_otherwise(plan) {
                self.read_best(plan, &mut sorter).await?;
            }
        }
        for attempt in self.landed(plans) {
            let promised = &attempt.promised;
            let plan = u32::try_from(promised.plan).unwrap_or(u32::MAX);
            let planned = self.state.plans.get(&promised.plan);
            if planned.is_some_and(asks_otherwise) {
                continue;
            }
            let limit = planned.map_or(0, |plan| plan.started.shape.max_output_tokens);
            let mut outcomes = OutcomeVerdicts::open(&self.files.outcomes(attempt)).await?;
            while let Some(some) = outcomes.next().await? {
                for at in (0..some.len()).filter(|at| !some.is_transient(*at)) {
                    let ordinal = some.ordinal(at);
                    sorter.push(&Entry {
                        key: some.key(at),
                        place: Place { plan, ordinal },
                        limit,
                        status: some.status(at),
                    })?;
                }
            }
        }
        sorter.finish(self.files.scratch(), &self.id())
    }

    /// The best outcome of each request of a plan, some of which were asked otherwise than planned: what a
    /// request came to is one thing, whichever of its answers tells it.
    async fn read_best(&self, plan: &PlanState, sorter: &mut EntrySorter) -> Result<()> {
        let number = plan.started.plan;
        let short = u32::try_from(number).unwrap_or(u32::MAX);
        let mut parts = Parts::of(self.state, number, self.files, OutcomeColumns::Verdicts);
        let ends = plan.round(0).into_iter();
        let end = ends.map(|chunk| chunk.stored.first + chunk.stored.requests);
        for ordinal in 0..end.max().unwrap_or(0) {
            let Some(found) = parts.find(ordinal).await? else {
                continue;
            };
            if found.is_transient() {
                continue;
            }
            let (key, status, limit) = (found.key(), found.status(), found.limit());
            sorter.push(&Entry {
                key,
                place: Place {
                    plan: short,
                    ordinal,
                },
                limit,
                status,
            })?;
        }
        Ok(())
    }

    fn id(&self) -> String {
        let now = self.components.clock.now();
        self.components.ids.uuid(now).simple().to_string()
    }

    /// Writes `drafts`, the last run of `index`, into the ledger: by itself, or merged with those before
    /// it. `next` has the runs that are there already.
    async fn keep(
        &self,
        index: &mut AnswerIndex,
        mut drafts: Vec<Draft>,
        mut next: Manifest,
        (folder, manifest): (&IndexFolder, Option<&Manifest>),
    ) -> Result<()> {
        if !drafts.is_empty()
            && let Some(merged) = index.merged(&self.id()).await?
        {
            next.runs.truncate(next.runs.len() + 1 - merged.replaced);
            index.replace(&merged).await?;
            for draft in std::mem::replace(&mut drafts, merged.drafts) {
                // What was made of it is open already.
                drop(std::fs::remove_file(draft.path));
            }
        }
        if !drafts.is_empty() {
            next.runs
                .push(drafts.iter().map(|draft| draft.info.clone()).collect());
        }
        for draft in &drafts {
            let place = folder.place_of(&draft.info.name);
            self.files.keep(&draft.path, &place, points::INDEX).await?;
        }
        let place = folder.next();
        let written = self
            .files
            .between(points::INDEX_MANIFEST, next.write(&place));
        if !written.await? {
            warn!("another process has written the index of earlier answers");
            return Ok(());
        }
        self.clear(folder.leftovers(manifest)).await
    }

    async fn clear(&self, leftovers: Vec<Location>) -> Result<()> {
        if leftovers.is_empty() {
            return Ok(());
        }
        let delete = async {
            for place in leftovers {
                place.delete().await?;
            }
            Ok(())
        };
        self.files.between(points::INDEX_CLEARED, delete).await
    }
}
