//! All that the steps of a run share.

use std::sync::Arc;

use arrow::datatypes::DataType;

use super::files::Files;
use super::guard::Guard;
use super::job_parts::JobParts;
use super::notices::Notices;
use super::observations::Observations;
use super::providers::Providers;
use super::publishing::Publishing;
use super::source::compile;
use crate::base::{Components, Error, ErrorKind, Result, ResultExt, Time};
use crate::engine::decide::queue::Queue;
use crate::prompt::Template;
use crate::source::Source;
use crate::spec::{AmbiguousPolicy, Job};
use crate::work::{Frame, Keyer, Shape, Variant};

/// What the steps of a run work with.
#[derive(Debug)]
pub(crate) struct Context {
    pub job: Job,
    pub components: Components,
    pub files: Files,
    /// Bytes that sorting and joining may hold in memory.
    pub memory: usize,
    pub providers: Providers,
    /// What is read. There is none where what is open is only to be brought home.
    pub source: Option<Arc<Source>>,
    pub parts: JobParts,
    /// Makes the plan's request keys, by the plan's own rule.
    pub keyer: Keyer,
    /// The provider's queue.
    pub queue: Queue,
    pub publishing: Publishing,
    pub notices: Notices,
    pub observations: Observations,
    pub guard: Guard,
}

impl Context {
    /// What is read.
    ///
    /// # Errors
    /// `Internal` where nothing is read.
    pub(crate) fn source(&self) -> Result<&Source> {
        let none = || Error::internal("rows are wanted where nothing is read");
        self.source.as_deref().ok_or_else(none)
    }

    /// The prompt's template, compiled for the source's columns.
    pub(crate) fn template(&self) -> Result<Template> {
        compile(&self.job, self.source()?)
    }

    /// The key's columns, by name and type.
    pub(crate) fn key_columns(&self) -> Result<Vec<(String, DataType)>> {
        let schema = self.source()?.schema();
        let column = |name: &String| {
            let field = schema.field_with_name(name);
            let field = field.or_err(ErrorKind::Internal, "the key is not in the source")?;
            Ok((name.clone(), field.data_type().clone()))
        };
        self.job.source.key.iter().map(column).collect()
    }

    /// What requests of the plan share that are sent as `variant`, and their frame; they say nothing of the
    /// provider's cache.
    ///
    /// # Errors
    /// Whatever the provider refuses of them.
    pub(crate) fn asks_as(&self, variant: &Variant) -> Result<(Shape, Frame)> {
        if variant.is_plain() {
            return Ok((self.parts.shape.clone(), self.parts.frame.clone()));
        }
        let shape = self.parts.shape.varied(variant);
        let frame = self.providers.own.frame(&shape, None)?;
        Ok((shape, frame))
    }

    /// Whether a person said that what is lost is to be sent, and paid, again.
    pub(crate) fn may_resubmit(&self) -> bool {
        self.job.ledger.on_ambiguous == AmbiguousPolicy::Resubmit
    }

    /// What time it is.
    pub(crate) fn now(&self) -> Time {
        self.components.clock.now()
    }
}
