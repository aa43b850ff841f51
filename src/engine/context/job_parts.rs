//! What a job comes to, checked against its source and its provider.

use std::sync::Arc;

use super::source::{column_names, compile};
use crate::base::{Components, Error, Result};
use crate::engine::attachments::attacher::Attacher;
use crate::engine::decide::again::AgainRule;
use crate::engine::decide::cache::CacheChoice;
use crate::output::check_names;
use crate::prompt::{column_expression, constant_head, render_shared};
use crate::provider::Provider;
use crate::source::{Predicate, RowIds, Source};
use crate::spec::Job;
use crate::work::price::EMBEDS;
use crate::work::{
    Api, CacheStyle, Content, CustomId, Example, Frame, InputRule, Limits, Prefix, Shape,
};

/// The parts of a job that its steps need.
#[derive(Clone, Debug)]
pub(crate) struct JobParts {
    /// The columns that the prompt names.
    pub columns: Vec<String>,
    pub filter: Option<Predicate>,
    pub shape: Shape,
    /// The frame of requests that say nothing of the provider's cache.
    pub frame: Frame,
    /// How they use that cache.
    pub cache: CacheChoice,
    /// The same, if what all rows' own prompts begin with stood in the system prompt.
    pub cache_if_moved: CacheChoice,
    /// Bytes of text that stand in each request before the row's own prompt.
    pub shared_bytes: u64,
    /// The most bytes that a request becomes longer by saying so.
    pub cache_bytes: u64,
    /// Which texts are too long, where texts are embedded.
    pub inputs: Option<InputRule>,
    pub limits: Limits,
    /// Finds what is attached to rows, where something may be.
    pub attacher: Option<Arc<Attacher>>,
    /// Whether the source is Parquet as it stands; what is read may be a snapshot of it.
    pub is_table: bool,
    /// Whether the source is one file.
    pub is_single_file: bool,
}

impl JobParts {
    /// The parts of `job`, as `source` and `provider` have them. `examples` are those of the job, or of the
    /// plan that is gone on with.
    ///
    /// # Errors
    /// `Invalid` if the source has a column that is to be added, or none that the prompt, the key or the
    /// filter names; whatever the provider refuses of the model's settings.
    pub(crate) fn check(
        job: &Job,
        source: &Source,
        provider: &dyn Provider,
        (examples, components): (Vec<Example>, &Components),
    ) -> Result<JobParts> {
        let schema = source.schema();
        check_names(
            schema.fields().iter().map(|field| field.name().as_str()),
            job.answer.columns()?.iter().map(String::as_str),
        )?;
        let names = column_names(source);
        let capability = provider.capability();
        let attacher = Attacher::of(job, source, capability, components)?;
        let columns = compile(job, source)?.columns().to_vec();
        let filter = job.source.filter.as_deref();
        let filter = filter
            .map(|sql| Predicate::compile(sql, schema, &job.vars))
            .transpose()?;
        if !job.source.key.is_empty() {
            RowIds::new(schema, &job.source.key)?;
        }
        let system = job.prompt.system.as_deref();
        let system = system
            .map(|text| render_shared(text, "prompt.system", &names, &job.vars))
            .transpose()?;
        let shape = Shape {
            api: api(job, provider)?,
            service: capability.service.clone(),
            model: job.model.model.clone(),
            system: with_instructions(system, job.answer.answer.instructions()),
            max_output_tokens: job.model.max_output_tokens,
            temperature: job.model.temperature,
            params: job.model.params.clone(),
            answer: job.answer.answer.clone(),
            examples,
            assistant_prefix: job.prompt.assistant_prefix.clone(),
            attachments: attacher.is_some(),
        };
        let (prefix, cache, cache_if_moved) = caches(job, provider, &shape)?;
        let frame = provider.frame(&shape, None)?;
        if let Some(other) = reask_shape(job, &shape) {
            let refused = |error: Error| error.with("key", "answer.reask_model");
            provider.frame(&other, None).map_err(refused)?;
        }
        let cache_bytes = match cache.policy.uses() {
            Some(uses) => longer(&provider.frame(&shape, Some(uses))?, &frame),
            None => 0,
        };
        Ok(JobParts {
            is_table: source.is_table(),
            is_single_file: source.is_single_file(),
            columns,
            filter,
            inputs: input_rule(job, &frame),
            frame,
            cache,
            cache_if_moved,
            shared_bytes: prefix,
            cache_bytes,
            attacher: attacher.map(Arc::new),
            limits: limits(job, capability.limits),
            shape,
        })
    }

    /// That a row has something of its own to ask: a prompt that names no column is a slip, and its one
    /// answer would be every row's.
    pub(crate) fn check_question(&self, job: &Job, source: &Source) -> Result<()> {
        if !self.columns.is_empty() || !job.prompt.dedupe {
            return Ok(());
        }
        let names = column_names(source);
        let prompt: String = job.prompt.user.split_whitespace().collect();
        let in_one_brace = names.iter().find(|name| {
            let name: String = name.split_whitespace().collect();
            prompt.contains(&format!("{{{name}}}"))
        });
        let hint = match (in_one_brace, names.first()) {
            (Some(name), _) => format!(
                "a column has two braces: `{{{{ {} }}}}`",
                column_expression(name)
            ),
            (None, Some(name)) => format!(
                "name a column, as in `{{{{ {} }}}}`",
                column_expression(name)
            ),
            (None, None) => "the source has no columns".to_owned(),
        };
        Err(
            Error::invalid("`prompt.user` names no column, so that every row would ask the same")
                .hint(format!(
                    "{hint}; or, for an answer of its own to each row, set `[prompt] dedupe = false` \
                     (--dedupe=false)"
                )),
        )
    }
}

/// What requests share that ask the job's other model, if it has one.
pub(crate) fn reask_shape(job: &Job, shape: &Shape) -> Option<Shape> {
    let model = AgainRule::of(job).reask_model?;
    Some(Shape {
        model,
        ..shape.clone()
    })
}

/// The job's system prompt, with what an answer must be at its end, where the model is told so in the prompt.
/// It is the same for all rows, so that it can be read from a cache.
fn with_instructions(system: Option<String>, instructions: Option<String>) -> Option<String> {
    match (system, instructions) {
        (Some(system), Some(instructions)) if !system.trim().is_empty() => {
            Some(format!("{}\n\n{instructions}", system.trim_end()))
        }
        (system, instructions) => instructions.or(system),
    }
}

/// By how many bytes each request of `frame` is longer than one of `plain`.
pub(crate) fn longer(frame: &Frame, plain: &Frame) -> u64 {
    let len = |frame: &Frame| frame.request_len(Content::text(""));
    len(frame).saturating_sub(len(plain))
}

/// How requests use the provider's cache, and how they would if what all rows' own prompts begin with stood in
/// the system prompt; after the bytes that stand before a row's own prompt. What is embedded has no prefix.
fn caches(
    job: &Job,
    provider: &dyn Provider,
    shape: &Shape,
) -> Result<(u64, CacheChoice, CacheChoice)> {
    if shape.api == Api::Embeddings {
        return Ok((0, CacheChoice::default(), CacheChoice::default()));
    }
    let model = (provider.capability().name, &*shape.model);
    let prefix = provider.prefix(shape);
    // What is attached may stand before the text, and is each row's own.
    let head = if shape.attachments {
        ""
    } else {
        constant_head(&job.prompt.user)
    };
    let longer_by = head.len() as u64;
    let moved = Prefix {
        bytes: prefix.bytes + longer_by,
        ..prefix
    };
    let cache_if_moved = CacheChoice::of(job.prompt.cache, moved, model)?;
    let cache = match prefix.style {
        // Who caches by itself looks for no mark.
        CacheStyle::Automatic => cache_if_moved.clone(),
        CacheStyle::Marked => CacheChoice::of(job.prompt.cache, prefix, model)?,
    };
    Ok((prefix.bytes, cache, cache_if_moved))
}

/// The interface that the job's requests speak.
///
/// # Errors
/// `Invalid` if the provider has none for them.
fn api(job: &Job, provider: &dyn Provider) -> Result<Api> {
    let capability = provider.capability();
    match (job.answer.answer.dimensions(), capability.embeddings) {
        (None, _) => Ok(capability.api),
        (Some(_), Some(embeddings)) => Ok(embeddings.api),
        (Some(_), None) => Err(Error::invalid("the provider makes no embeddings")
            .with("provider", capability.name)
            .hint(format!(
                "set `[model] use = \"{EMBEDS}\"` (--model), or a server of your own by its base_url"
            ))),
    }
}

/// Which texts are too long, where texts are embedded.
fn input_rule(job: &Job, frame: &Frame) -> Option<InputRule> {
    let line = frame.inputs?;
    let spec = job.answer.embedding.unwrap_or_default();
    Some(InputRule {
        too_long: spec.too_long,
        tokens_max: spec.max_input_tokens.unwrap_or(u64::MAX),
        together_max: line.tokens_max,
    })
}

/// The provider's limits, lowered by the job's.
pub(crate) fn limits(job: &Job, provider: Limits) -> Limits {
    let requests = job.model.max_requests_per_batch.unwrap_or(u64::MAX);
    let bytes = job.model.max_bytes_per_batch.unwrap_or(u64::MAX);
    Limits {
        requests_max: provider
            .requests_max
            .min(requests)
            .min(CustomId::REQUESTS_MAX),
        bytes_max: provider.bytes_max.min(bytes),
        request_bytes_max: provider.request_bytes_max.min(bytes),
    }
}
