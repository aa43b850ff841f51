//! How far a run goes, and where it stopped.

/// How far a run goes before it returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Goal {
    /// Until the output is published.
    Publish,
    /// Until everything that may be sent is sent.
    Submit,
    /// Once through everything that is open; the output is published if that completes it.
    OnePass,
    /// Until no batch is open any more. Nothing is sent.
    Harvest,
}

/// Where a run stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The output shows the plan.
    Published,
    /// The source is not what was planned any more: the rows must be looked at again.
    SourceChanged,
    /// Work is pending at the provider.
    Pending,
    /// No batch is open.
    Idle,
    /// It was asked to stop.
    Interrupted,
    /// The plan was canceled, and is not put over an older output.
    HeldBack,
}
