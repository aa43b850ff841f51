//! What is planned, and how: which rows and columns are read, and what makes requests of them.

use crate::base::Result;
use crate::engine::attachments::attacher::Attacher;
use crate::engine::context::context::Context;
use crate::source::{Predicate, Sample, Scan, Source};
use crate::work::{Frame, InputFit, InputRule, Keyer, Limits};

/// What is planned, and how.
#[derive(Debug)]
pub(crate) struct PlanInput<'a> {
    pub source: &'a Source,
    pub key: &'a [String],
    pub filter: Option<&'a Predicate>,
    pub limit: Option<u64>,
    /// Which of the rows are drawn.
    pub sample: Option<Sample>,
    /// The columns that the prompt names.
    pub columns: &'a [String],
    pub dedupe: bool,
    /// New requests are not to be sent now.
    pub defer: bool,
    pub keyer: Keyer,
    pub frame: &'a Frame,
    /// Which texts are too long, where texts are embedded.
    pub inputs: Option<InputRule>,
    pub limits: Limits,
    /// The most bytes that a request becomes longer by what it says of the provider's cache.
    pub cache_bytes: u64,
    /// How many of the first requests form a chunk of their own: a trial, or a primer.
    pub first: u64,
    /// Whether that chunk is to leave something in the provider's cache for the others.
    pub primes: bool,
    /// Finds what is attached to rows, where something may be.
    pub attacher: Option<&'a Attacher>,
}

impl<'a> PlanInput<'a> {
    /// What `cx` plans, no row drawn yet.
    ///
    /// # Errors
    /// `Internal` where nothing is read.
    pub(crate) fn of(cx: &'a Context, trial: u64, defer: bool) -> Result<Self> {
        let rows = cx.source()?.rows().unwrap_or(u64::MAX);
        let most = rows.min(cx.job.source.limit.unwrap_or(u64::MAX));
        let primer = cx.parts.cache.policy.primer(most);
        Ok(PlanInput {
            source: cx.source()?,
            key: &cx.job.source.key,
            filter: cx.parts.filter.as_ref(),
            limit: cx.job.source.limit,
            sample: None,
            columns: &cx.parts.columns,
            dedupe: cx.job.prompt.dedupe,
            defer,
            keyer: cx.keyer.clone(),
            frame: &cx.parts.frame,
            inputs: cx.parts.inputs,
            limits: cx.parts.limits,
            cache_bytes: cx.parts.cache_bytes,
            first: if trial > 0 { trial } else { primer },
            primes: primer > 0,
            attacher: cx.parts.attacher.as_deref(),
        })
    }

    /// How much of `prompt` is asked for: all of it, but of a text that is too long for an embedding.
    pub(crate) fn fit<'t>(&self, prompt: &'t str) -> InputFit<'t> {
        match &self.inputs {
            Some(rule) => rule.fit(prompt),
            None => InputFit::Asks(prompt),
        }
    }

    /// The columns that are read: the template's and the key's, no others.
    pub(crate) fn scan(&self) -> Scan {
        let mut columns = self.columns.to_vec();
        for key in self.key {
            if !columns.contains(key) {
                columns.push(key.clone());
            }
        }
        let mut scan = Scan::of(columns).views();
        scan.filter = self.filter.cloned();
        scan.sample = self.sample;
        scan
    }
}

/// Sixty-four bits that stand for a row's key in the row map, where new rows are told from changed ones.
pub(crate) fn short_hash(key: &[u8]) -> u64 {
    xxhash_rust::xxh3::xxh3_64(key)
}
