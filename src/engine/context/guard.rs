//! What a run may do only while it holds the job and was not asked to stop.

use tokio_util::sync::CancellationToken;

use crate::base::Error;
use crate::ledger::Lease;
use crate::output::Fence;
use crate::provider::Gate;

/// The lease that a run works under, and the request to stop.
#[derive(Clone, Debug)]
pub(crate) struct Guard {
    /// What it is all done under.
    pub lease: Lease,
    /// Asks the run to stop.
    pub interrupt: CancellationToken,
}

impl Guard {
    /// What the bytes of a billable call have to pass: nothing is sent for a run that was asked to
    /// stop, nor under a lease that another may have by the time the bytes arrive.
    pub(crate) fn gate(&self) -> Gate {
        let Guard { lease, interrupt } = self.clone();
        Gate::new(move || {
            if interrupt.is_cancelled() {
                return Err(Error::unavailable("the run was asked to stop"));
            }
            lease.check(lease.margin())
        })
    }

    /// What an output has to pass before it is seen: another holder may have published by now.
    pub(crate) fn fence(&self) -> Fence {
        let lease = self.lease.clone();
        Fence::new(move || lease.check(lease.margin()))
    }
}
