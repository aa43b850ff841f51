//! A job looked at before it is run: whatever a run would refuse is refused here.

use crate::base::{Result, nearest};
use crate::engine::context::examples::examples;
use crate::engine::context::files::Files;
use crate::engine::context::job_parts::JobParts;
use crate::engine::context::ledger::{JobLedger, check_place};
use crate::engine::context::owner::check_ours;
use crate::engine::context::publish_spec::PublishSpec;
use crate::engine::context::setup::Setup;
use crate::engine::context::source::{check_key, needs_snapshot, open_source};
use crate::engine::decide::again::AgainRule;
use crate::engine::publish::target;
use crate::provider::Provider;
use crate::source::{Source, TextNotes};
use crate::spec::Job;
use crate::work::price::{Price, Pricing};

/// A job as it is looked at before it is run: whatever a run would refuse is refused here.
pub(crate) struct Inspected {
    pub ledger: JobLedger,
    pub files: Files,
    pub source: Source,
    pub parts: JobParts,
    /// How the columns of CSV and NDJSON tables got their types, a table each.
    pub text: Vec<TextNotes>,
    /// What a person should know of the source, and of what will not come along to the output.
    pub notes: Vec<String>,
}

impl Inspected {
    /// Looks at the job, its source, its ledger and its output. The result of a query is taken whole: a
    /// value that cannot be cast may be in its last row.
    pub(crate) async fn of(setup: &Setup, provider: &dyn Provider) -> Result<Inspected> {
        let (job, components) = (&setup.job, &setup.components);
        let root = components.stores.locate(&job.ledger.path)?.private();
        check_place(&root, components).await?;
        let ledger = JobLedger::read(components, &root, setup.command).await?;
        check_ours(ledger.state(), job)?;
        let files = Files::aside(&root)?;
        let mut source = open_source(job, setup, &files).await?;
        let examples = examples(job, &source, setup, files.scratch()).await?;
        let parts = JobParts::check(job, &source, provider, (examples, components))?;
        parts.check_question(job, &source)?;
        let made = ledger.state().made.as_ref();
        let ledger_id = made.map(|made| made.ledger.clone()).unwrap_or_default();
        let spec = PublishSpec::of(job, &parts, &components.stores, ("", &ledger_id))?;
        target::check(&spec, &ledger_id, components).await?;
        let (mut notes, text) = (source.notes().to_vec(), source.text_notes().to_vec());
        notes.extend(spec.prepare(job, &source).await?);
        if needs_snapshot(job, &source) {
            let draft = files.draft("snapshot").display().to_string();
            let folder = components.stores.locate(&draft)?;
            source = source
                .snapshot(&folder, &components.stores, files.scratch())
                .await?;
        }
        check_key(job, &source, &files, setup.memory).await?;
        Ok(Inspected {
            ledger,
            files,
            source,
            parts,
            text,
            notes,
        })
    }
}

/// What to say of a model that this version does not know, at the vendor's own service. A new one is as
/// good as any: it is no mistake, and most likely a slip.
#[must_use]
pub fn unknown_model(job: &Job, service: &str) -> Option<String> {
    unknown(&job.model.provider, &job.model.model, service)
}

/// What to say of what is asked again for an answer that cannot be used.
pub(crate) fn reask_notes(job: &Job, service: &str) -> Vec<String> {
    let rule = AgainRule::of(job);
    let other = rule.reask_model.as_deref();
    let unknown = other.and_then(|model| unknown(&job.model.provider, model, service));
    let mut notes: Vec<String> = unknown.into_iter().collect();
    let limit = job.model.max_output_tokens;
    let can_grow = rule.grow(limit, 0, &job.model.model).is_some();
    if rule.grow.is_some() && !can_grow {
        notes.push(format!(
            "`answer.grow_output_tokens` does nothing: `model.max_output_tokens` is the model's own limit, {limit}"
        ));
    }
    notes
}

fn unknown(provider: &str, model: &str, service: &str) -> Option<String> {
    if service != provider
        || Pricing::of(service, model).is_known()
        || Price::listed(provider).next().is_none()
    {
        return None;
    }
    let advice = match nearest(model, Price::listed(provider)) {
        Some(near) => format!("did you mean `{provider}/{near}`? A newer model works"),
        None => "a newer model works".to_owned(),
    };
    Some(format!(
        "this version knows no model `{model}` of {provider}: {advice}, and its cost cannot be told"
    ))
}
