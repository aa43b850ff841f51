//! Looking at a job without holding it.

pub(crate) mod again_forecast;
pub(crate) mod changes;
pub(crate) mod check;
pub(crate) mod forecast;
pub(crate) mod live;
pub(crate) mod locate;
pub(crate) mod plan;
pub(crate) mod preflight;
pub(crate) mod show;
pub(crate) mod status;
