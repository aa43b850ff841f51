//! The ledger as a run keeps it: the log, and the state that is its fold.

use std::sync::Arc;

use tracing::{info, trace};

use crate::base::{Components, Error, Location, Result};
use crate::ledger::action::Action;
use crate::ledger::state::State;
use crate::ledger::{Append, Author, Commit, Log, Meta, Scope};

use super::points;

/// The version of the state's own form: checkpoints of another are passed over. Programs that know
/// shape 1 alone do not know of [`Action::RequestKeys`], and must not find it folded away; nor do those
/// that know shape 2 of [`Action::RetryAsked`].
const SHAPE: u32 = 3;

/// The log and its fold.
#[derive(Debug)]
pub(super) struct Book {
    log: Log,
    state: Arc<State>,
    author: Author,
}

impl Book {
    /// Reads the ledger at `root`; an empty one has an empty state.
    pub(super) async fn read(components: &Components, root: &Location, run: &str) -> Result<Book> {
        let mut log = Log::open(components, root);
        let state = log.load(SHAPE, apply).await?;
        let author = Author {
            run: run.to_owned(),
            lease: None,
        };
        Ok(Book {
            log,
            state: Arc::new(state),
            author,
        })
    }

    /// What the ledger says.
    pub(super) fn state(&self) -> &State {
        &self.state
    }

    /// The same, to be kept.
    pub(super) fn shared(&self) -> Arc<State> {
        Arc::clone(&self.state)
    }

    /// The highest epoch under which anybody has written: a lease begins above it.
    pub(super) fn epoch(&self, scope: &Scope) -> u64 {
        self.log.epoch(scope)
    }

    /// From now on commits are written under `author`.
    pub(super) fn sign_as(&mut self, author: Author) {
        self.author = author;
    }

    /// Takes in what others have written meanwhile.
    pub(super) async fn catch_up(&mut self) -> Result<()> {
        let state = &mut self.state;
        self.log
            .follow(|commit: Commit<Action>| fold(state, &commit.actions))
            .await
    }

    /// Writes facts down. They are durable, and part of the state, on return. Where somebody else
    /// was first (a request to cancel needs no lease), theirs is taken in and ours follows.
    pub(super) async fn record(&mut self, actions: Vec<Action>) -> Result<()> {
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

fn fold(state: &mut Arc<State>, actions: &[Action]) -> Result<()> {
    let state = Arc::make_mut(state);
    actions.iter().try_for_each(|action| state.apply(action))
}

fn apply(state: &mut State, _: &Meta, action: &Action) -> Result<(), Error> {
    state.apply(action)
}
