//! A job, held by this process, from beginning to end.

pub(crate) mod commands;
pub(crate) mod contexts;
pub(crate) mod drive;
pub(crate) mod driver;
pub(crate) mod ensure_plan;
pub(crate) mod faults;
pub(crate) mod goal;
pub(crate) mod new_plan;
pub(crate) mod older;
pub(crate) mod open;
pub(crate) mod report;
pub(crate) mod steps;
pub(crate) mod work;
