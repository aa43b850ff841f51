//! From a provider's name to the provider.

use std::sync::Arc;

use super::account::{Network, Options};
use super::{Provider, anthropic, openai};
use crate::base::{Error, Result};

/// The providers of this version.
pub const KNOWN: [&str; 2] = [anthropic::NAME, openai::NAME];

/// Opens the provider that `options` name. Reads the environment, and nothing else.
///
/// # Errors
/// `Invalid` for an unknown name or a base URL that is none; `Refused` where there is no key.
pub fn open(options: &Options<'_>, network: Network) -> Result<Arc<dyn Provider>> {
    Ok(match options.provider {
        anthropic::NAME => Arc::new(anthropic::Anthropic::open(options, network)?),
        openai::NAME => Arc::new(openai::OpenAi::open(options, network)?),
        unknown => return Err(not_known(unknown)),
    })
}

fn not_known(name: &str) -> Error {
    let error = Error::invalid("there is no such provider in this version")
        .with("provider", name)
        .with("known", KNOWN.join(", "));
    let folded = name.to_lowercase();
    let nearest = KNOWN
        .into_iter()
        .map(|known| (strsim::jaro_winkler(known, &folded), known))
        .max_by(|a, b| a.0.total_cmp(&b.0));
    match nearest {
        Some((likeness, known)) if likeness > 0.7 => error.hint(format!("did you mean {known}?")),
        _ => error
            .hint("for a server that speaks OpenAI's dialect, use openai/<model> with base_url"),
    }
}
