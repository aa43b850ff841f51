//! How the tasks of a run write into the ledger: one after the other, through the loop that owns it.

use tokio::sync::{mpsc, oneshot};

use crate::base::{Error, Result};
use crate::ledger::action::Action;

/// A task's way to the ledger. What [`LedgerWriter::write`] returned from is durable.
#[derive(Clone, Debug)]
pub(crate) struct LedgerWriter(mpsc::Sender<Write>);

/// Facts on their way to the ledger, and whoever waits for them to be there.
#[derive(Debug)]
pub(crate) struct Write {
    pub actions: Vec<Action>,
    pub written: oneshot::Sender<()>,
}

impl LedgerWriter {
    /// A writer, and the end where its writes arrive.
    pub(crate) fn new() -> (LedgerWriter, mpsc::Receiver<Write>) {
        let (sender, receiver) = mpsc::channel(8);
        (LedgerWriter(sender), receiver)
    }

    /// Writes facts down; durable on return.
    ///
    /// # Errors
    /// `Internal` when the run has ended meanwhile: the facts were not written, and whatever they
    /// promise must not be done.
    pub(crate) async fn write(&self, actions: Vec<Action>) -> Result<()> {
        let ended = || Error::internal("the run has ended");
        let (written, done) = oneshot::channel();
        self.0
            .send(Write { actions, written })
            .await
            .map_err(|_| ended())?;
        done.await.map_err(|_| ended())
    }
}
