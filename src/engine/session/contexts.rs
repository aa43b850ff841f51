//! The context of a plan's steps, put together from the session and the job.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::open::Session;
use crate::base::Result;
use crate::engine::context::calls::Calls;
use crate::engine::context::context::Context;
use crate::engine::context::guard::Guard;
use crate::engine::context::job_parts::JobParts;
use crate::engine::context::notices::Notices;
use crate::engine::context::observations::Observations;
use crate::engine::context::providers::Providers;
use crate::engine::context::publish_spec::PublishSpec;
use crate::engine::context::publishing::Publishing;
use crate::engine::context::source::{open_snapshot, open_source};
use crate::engine::decide::queue::Queue;
use crate::provider::Provider;
use crate::source::Source;
use crate::spec::Job;
use crate::work::KeyRule;

/// The context of a stored plan. A plan that has a snapshot needs no other source.
pub(crate) async fn context_for(session: &Session, plan: u64) -> Result<Arc<Context>> {
    let job = session.setup.job.clone();
    let components = &session.setup.components;
    let planned = session.ledger.state().plans.get(&plan);
    let examples = planned.map(|planned| planned.started.shape.examples.clone());
    let examples = examples.unwrap_or_default();
    let (source, parts) = if has_snapshot(session, plan) {
        let source = open_snapshot(&session.setup, &session.files, plan).await?;
        let parts = JobParts {
            is_table: false,
            is_single_file: false,
            ..JobParts::check(&job, &source, &*session.provider, (examples, components))?
        };
        (source, parts)
    } else {
        let source = open_source(&job, &session.setup, &session.files).await?;
        let parts = JobParts::check(&job, &source, &*session.provider, (examples, components))?;
        (source, parts)
    };
    context(session, &job, Some(source), parts, plan)
}

/// The files that a plan reads: the source's own, or those of its snapshot.
pub(crate) async fn pinned_source(session: &Session, plan: u64, source: Source) -> Result<Source> {
    if has_snapshot(session, plan) {
        open_snapshot(&session.setup, &session.files, plan).await
    } else {
        Ok(source)
    }
}

fn has_snapshot(session: &Session, plan: u64) -> bool {
    let plan = session.ledger.state().plans.get(&plan);
    plan.is_some_and(|plan| plan.started.snapshot)
}

/// The context of `plan`, whose request keys are made by its own rule.
pub(crate) fn context(
    session: &Session,
    job: &Job,
    source: Option<Source>,
    parts: JobParts,
    plan: u64,
) -> Result<Arc<Context>> {
    let planned = session.ledger.state().plans.get(&plan);
    let rule = planned.map_or(KeyRule::NEWEST, |plan| plan.key_rule);
    let setup = &session.setup;
    let components = setup.components.clone();
    let notices = Notices::to(Arc::clone(&setup.watch), Arc::clone(&components.clock));
    Ok(Arc::new(Context {
        job: job.clone(),
        files: session.files.clone(),
        memory: setup.memory,
        providers: Providers {
            own: Arc::clone(&session.provider),
            others: others(session)?,
        },
        source: source.map(Arc::new),
        keyer: parts.shape.keyer(rule),
        queue: Queue::of(session.provider.capability(), &job.model),
        publishing: Publishing::of(spec_of(session, job, &parts)?, setup.publish_partial),
        notices,
        observations: Observations::default(),
        guard: Guard {
            lease: session.lease.clone(),
            interrupt: setup.interrupt.clone(),
        },
        parts,
        components,
    }))
}

/// The providers of open batches, where the job names another one by now.
fn others(session: &Session) -> Result<BTreeMap<String, Arc<dyn Provider>>> {
    let mut others: BTreeMap<String, Arc<dyn Provider>> = BTreeMap::new();
    let state = session.ledger.state();
    for attempt in state.open_attempts() {
        let promised = &attempt.promised;
        if promised.provider == session.provider.capability().name
            || others.contains_key(&promised.provider)
        {
            continue;
        }
        let Some(vendors) = &session.setup.vendors else {
            continue;
        };
        let provider = vendors.open(&session.stored_job(promised.plan)?)?;
        others.insert(
            promised.provider.clone(),
            Calls::of(provider, &session.setup.components.crash),
        );
    }
    Ok(others)
}

/// Where the output of `job` goes, written under the session's names.
pub(crate) fn spec_of(session: &Session, job: &Job, parts: &JobParts) -> Result<PublishSpec> {
    let stores = &session.setup.components.stores;
    PublishSpec::of(job, parts, stores, (&session.run, &session.ledger_id))
}
