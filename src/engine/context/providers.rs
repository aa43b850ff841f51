//! The providers of a run, and what it means that an attempt was made at another account.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::base::{Error, ErrorKind, Result};
use crate::ledger::action::Promised;
use crate::ledger::state::Attempt;
use crate::provider::{Capability, Provider};

/// The job's provider, and those of open batches that another one has.
#[derive(Debug)]
pub(crate) struct Providers {
    /// The provider that the job names.
    pub own: Arc<dyn Provider>,
    /// Those of open batches of earlier plans, where they are not the job's, by name.
    pub others: BTreeMap<String, Arc<dyn Provider>>,
}

impl Providers {
    /// The provider that `attempt` was made at.
    ///
    /// # Errors
    /// `Refused` if it is neither the job's nor one that could be opened.
    pub(crate) fn of(&self, attempt: &Attempt) -> Result<&dyn Provider> {
        let name = &attempt.promised.provider;
        if name == self.capability().name {
            return Ok(&*self.own);
        }
        let other = self.others.get(name).map(|other| &**other);
        other.ok_or_else(|| {
            Error::new(ErrorKind::Refused, "a batch of another provider is open")
                .with("provider", name)
                .with("attempt", &attempt.promised.attempt)
                .hint(
                    "`columnist collect` with the job file that it was submitted by brings it home",
                )
        })
    }

    /// What the job's provider can do.
    pub(crate) fn capability(&self) -> &Capability {
        self.own.capability()
    }
}

/// Whether `attempt` was made with the key and at the endpoint that `provider` was opened with.
pub(crate) fn is_own(provider: &dyn Provider, attempt: &Attempt) -> bool {
    attempt.promised.account == provider.capability().account
}

/// The attempt was made with another key, or at another endpoint.
pub(crate) fn other_account(promised: &Promised) -> Error {
    Error::new(ErrorKind::Refused, "a batch belongs to another account")
        .with("attempt", &promised.attempt)
        .with("provider", &promised.provider)
        .with("account", &promised.account)
        .hint("set the key and the base URL with which it was submitted, and run again")
}

/// The account may not have what it asks for now. Nothing was paid.
pub(crate) fn refused_for_the_account(attempt: &Attempt) -> Error {
    let what = "the provider refused requests for the account's sake; nothing was paid for them";
    Error::new(ErrorKind::Refused, what)
        .with("provider", &attempt.promised.provider)
        .hint(
            "check the account's credit, its quota and spend limits, and that it may use the model; \
             then run again: what was refused is sent again, and counts against no row",
        )
}
