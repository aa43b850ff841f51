//! From the command line to the job.

use super::args::JobArgs;
use crate::base::Result;
use crate::spec::{Draft, FlagValue, Job, Surroundings};

/// The job that the arguments mean.
pub(super) fn resolve(args: &JobArgs) -> Result<Job> {
    let around = Surroundings::system()?;
    let mut draft = match &args.job {
        Some(path) => Draft::read(path, &around)?,
        None => Draft::one_liner(),
    };
    flags(args, &mut draft)?;
    for set in &args.sets {
        draft.set(set);
    }
    for var in &args.vars {
        draft.var(var);
    }
    draft.resolve(&around)
}

fn flags(args: &JobArgs, draft: &mut Draft) -> Result<()> {
    let texts = [
        ("source.table", &args.table),
        ("source.query", &args.query),
        ("source.where", &args.filter),
        ("prompt.user", &args.prompt),
        ("prompt.system", &args.system),
        ("answer.column", &args.column),
        ("model.use", &args.model),
        ("model.base_url", &args.base_url),
        ("output.path", &args.output),
        ("output.layout", &args.layout),
        ("ledger.path", &args.ledger),
    ];
    for (key, text) in texts {
        if let Some(text) = text {
            draft.flag(key, FlagValue::Text(text.clone()))?;
        }
    }
    for (key, count) in [
        ("source.limit", args.limit),
        ("model.max_output_tokens", args.max_output_tokens),
    ] {
        if let Some(count) = count {
            draft.flag(key, FlagValue::Count(count))?;
        }
    }
    for (key, list) in [("source.key", &args.key), ("answer.choices", &args.choices)] {
        if !list.is_empty() {
            draft.flag(key, FlagValue::List(list.clone()))?;
        }
    }
    if let Some(temperature) = args.temperature {
        draft.flag("model.temperature", FlagValue::Number(temperature))?;
    }
    if !args.tables.is_empty() {
        let pairs = args.tables.iter().map(|pair| match pair.split_once('=') {
            Some((name, address)) => (name.to_owned(), address.to_owned()),
            None => (pair.clone(), String::new()),
        });
        draft.flag("source.tables", FlagValue::Pairs(pairs.collect()))?;
    }
    if args.overwrite {
        draft.flag("output.overwrite", FlagValue::Bool(true))?;
    }
    Ok(())
}
