//! The ledger as a run keeps it: the log, and the state that is its fold.

use std::path::Path;
use std::sync::Arc;

use tracing::{info, trace};

use crate::base::{Components, Error, Location, Result, try_folder};
use crate::ledger::action::Action;
use crate::ledger::state::State;
use crate::ledger::{Append, Author, Commit, Holder, Leases, Log, Meta, Scope, probe};

use super::points;
use super::setup::Setup;

/// The version of the state's own form: checkpoints of another are passed over. Programs that know
/// shape 1 alone do not know of [`Action::RequestKeys`], and must not find it folded away; nor do those
/// that know shape 2 of [`Action::RetryAsked`].
const SHAPE: u32 = 3;

/// The log and its fold.
#[derive(Debug)]
pub(crate) struct JobLedger {
    log: Log,
    state: Arc<State>,
    author: Author,
}

impl JobLedger {
    /// Reads the ledger at `root`; an empty one has an empty state.
    pub(crate) async fn read(
        components: &Components,
        root: &Location,
        run: &str,
    ) -> Result<JobLedger> {
        let mut log = Log::open(components, root);
        let state = log.load(SHAPE, apply).await?;
        let author = Author {
            run: run.to_owned(),
            lease: None,
        };
        Ok(JobLedger {
            log,
            state: Arc::new(state),
            author,
        })
    }

    /// What the ledger says.
    pub(crate) fn state(&self) -> &State {
        &self.state
    }

    /// The same, to be kept.
    pub(crate) fn shared(&self) -> Arc<State> {
        Arc::clone(&self.state)
    }

    /// The highest epoch under which anybody has written: a lease begins above it.
    pub(crate) fn epoch(&self, scope: &Scope) -> u64 {
        self.log.epoch(scope)
    }

    /// From now on commits are written under `author`.
    pub(crate) fn sign_as(&mut self, author: Author) {
        self.author = author;
    }

    /// Takes in what others have written meanwhile.
    pub(crate) async fn catch_up(&mut self) -> Result<()> {
        let state = &mut self.state;
        self.log
            .follow(|commit: Commit<Action>| fold(state, &commit.actions))
            .await
    }

    /// Writes facts down. They are durable, and part of the state, on return. Where somebody else
    /// was first (a request to cancel needs no lease), theirs is taken in and ours follows.
    pub(crate) async fn record(&mut self, actions: Vec<Action>) -> Result<()> {
        loop {
            match self
                .log
                .append(&self.author, &actions, points::around(&actions))
                .await?
            {
                Append::Appended(_) => break,
                Append::Lost { by } => {
                    for commit in by {
                        self.fold(&commit.actions)?;
                    }
                }
            }
        }
        let fact = points::around(&actions).after;
        let fact = fact.trim_start_matches("commit.after_");
        info!(fact, facts = actions.len(), "written down");
        for action in &actions {
            trace!(?action);
        }
        self.fold(&actions)?;
        if self.log.checkpoint_due() {
            self.log.checkpoint(SHAPE, &*self.state).await;
        }
        Ok(())
    }

    fn fold(&mut self, actions: &[Action]) -> Result<()> {
        fold(&mut self.state, actions)
    }
}

/// The ledger of a job that has one, and where it is.
///
/// # Errors
/// `Invalid` if there is none yet.
pub(crate) async fn read(setup: &Setup) -> Result<(JobLedger, Location)> {
    let components = &setup.components;
    let root = components.stores.locate(&setup.job.ledger.path)?.private();
    let ledger = JobLedger::read(components, &root, setup.command).await?;
    if ledger.state().made.is_none() {
        return Err(Error::invalid("there is no ledger for this job yet")
            .with("ledger", &root.url)
            .hint("`columnist run` or `columnist submit` makes one"));
    }
    Ok((ledger, root))
}

/// The ledger can be written at `root`, and the store is fit for one. Nothing stays behind, and no folder
/// is made for it.
///
/// # Errors
/// `Invalid` if its folder cannot be written, or the store is not fit for a ledger.
pub(crate) async fn check_place(root: &Location, components: &Components) -> Result<()> {
    match &root.local {
        None => probe(root, &components.ids).await,
        Some(folder) => check_folder(folder),
    }
}

/// The same for a ledger that is about to be made: what holds it is tried itself, wherever it lies.
///
/// # Errors
/// As for [`check_place`].
pub(crate) async fn try_place(root: &Location, components: &Components) -> Result<()> {
    if let Some(folder) = &root.local {
        check_folder(folder)?;
    }
    probe(root, &components.ids).await
}

/// A file can be made in `folder`, or in what is there of the way to it.
fn check_folder(folder: &Path) -> Result<()> {
    let (there, made) = try_folder(folder);
    made.map_err(|error| {
        let error = Error::invalid("the ledger's folder cannot be written").because(error);
        let error = error.with("folder", there.display());
        error.hint("choose another `[ledger] path` (--ledger)")
    })
}

/// Who holds the job, if anybody does.
pub(crate) async fn holder(setup: &Setup, root: &Location) -> Result<Option<Holder>> {
    let components = &setup.components;
    let asking = Holder::this_process("status", "status", components.clock.now());
    let uptime = Arc::clone(&components.uptime);
    let leases = Leases::new(components, uptime, root, asking, setup.job.ledger.lease);
    let held = leases.holder(&Scope::job()).await?;
    Ok(held.and_then(|held| held.holder))
}

fn fold(state: &mut Arc<State>, actions: &[Action]) -> Result<()> {
    let state = Arc::make_mut(state);
    actions.iter().try_for_each(|action| state.apply(action))
}

fn apply(state: &mut State, _: &Meta, action: &Action) -> Result<(), Error> {
    state.apply(action)
}

#[cfg(test)]
mod tests {
    use std::fs::read_dir;

    use super::*;
    use crate::base::{ErrorKind, MemoryStore, Stores};

    fn place(folder: &Path) -> Location {
        let ledger = folder.join("ledger").display().to_string();
        Stores::default()
            .locate(&ledger)
            .expect("a place")
            .private()
    }

    #[tokio::test]
    async fn a_new_ledgers_place_on_disk_is_tried_and_left_clean() {
        let folder = tempfile::tempdir().expect("a folder");
        let components = Components::system();
        let place = place(folder.path());
        try_place(&place, &components).await.expect("fit");
        assert!(place.list().await.expect("listed").is_empty());
    }

    /// A disk that does not keep what was created (as some network file systems) is found out when a
    /// ledger is about to be made there, before anything is promised in it.
    #[tokio::test]
    async fn a_disk_that_does_not_keep_what_was_created_is_no_place_for_a_new_ledger() {
        let folder = tempfile::tempdir().expect("a folder");
        let components = Components::system();
        // It is read back from elsewhere than it was written to.
        let forgetful = Location {
            store: Arc::new(MemoryStore::default()),
            ..place(folder.path())
        };
        check_place(&forgetful, &components)
            .await
            .expect("a look leaves no trace, and finds nothing");
        let left = |folder: &Path| read_dir(folder).expect("a folder").count();
        assert_eq!(left(folder.path()), 0);
        let error = try_place(&forgetful, &components).await.expect_err("unfit");
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error:?}");
        assert!(
            error
                .hint_text()
                .is_some_and(|hint| hint.contains("[ledger] path")),
            "{error:?}"
        );
        assert_eq!(
            left(&folder.path().join("ledger")),
            0,
            "the trial stays behind"
        );
    }
}
