//! Whose endpoint, and with which key: what every provider's configuration has in common.

use std::sync::Arc;

use secrecy::{ExposeSecret, SecretString};
use url::Url;

use crate::base::http::HttpService;
use crate::base::{Clock, Error, ErrorKind, Ids, Result, ResultExt};

/// What a job and its environment say of a provider.
pub struct Options<'a> {
    /// The provider's name, as in `[model] use`.
    pub provider: &'a str,
    /// `[model] base_url`: what the vendor's own SDK takes.
    pub base_url: Option<&'a str>,
    /// `[model] api_key_env`: the variable that holds the key, where it is not the vendor's own.
    pub api_key_env: Option<&'a str>,
    /// `[model] service`: whose models these are, where the job says so.
    pub service: Option<&'a str>,
    /// The environment.
    pub env: &'a dyn Fn(&str) -> Option<String>,
}

impl std::fmt::Debug for Options<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options")
            .field("provider", &self.provider)
            .finish_non_exhaustive()
    }
}

impl Options<'_> {
    /// An environment variable, unless it is blank.
    pub(super) fn var(&self, name: &str) -> Option<String> {
        let value = (self.env)(name)?;
        let value = value.trim();
        (!value.is_empty()).then(|| value.to_owned())
    }

    /// The base URL: the job's, else the environment's, else the vendor's.
    ///
    /// # Errors
    /// `Invalid` if it is not one.
    pub(super) fn base(&self, variable: &str, vendors: &str) -> Result<Url> {
        let text = self
            .base_url
            .map(str::to_owned)
            .or_else(|| self.var(variable))
            .unwrap_or_else(|| vendors.to_owned());
        // The text stays out of the errors, for it may hold a password.
        let url =
            Url::parse(text.trim()).or_err(ErrorKind::Invalid, "the base URL is not a URL")?;
        let wrong = if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
            "the base URL is not an http or https address"
        } else if !url.username().is_empty() || url.password().is_some() {
            "the base URL holds credentials; put the key into an environment variable"
        } else if url.query().is_some() || url.fragment().is_some() {
            "the base URL has a query or a fragment"
        } else {
            return Ok(url);
        };
        Err(Error::invalid(wrong).with("host", url.host_str().unwrap_or_default()))
    }

    /// The key, and the variable it is from: the one that the job names, else the first of the
    /// vendor's own that is set.
    ///
    /// # Errors
    /// `Refused` if there is none.
    pub(super) fn key(&self, variables: &[&str]) -> Result<(String, SecretString)> {
        let names = match self.api_key_env {
            Some(name) => vec![name],
            None => variables.to_vec(),
        };
        let found = names
            .iter()
            .find_map(|name| Some(((*name).to_owned(), SecretString::from(self.var(name)?))));
        found.ok_or_else(|| {
            let name = names.first().copied().unwrap_or_default();
            Error::new(ErrorKind::Refused, "there is no key for the provider")
                .with("provider", self.provider)
                .with("variable", name)
                .hint(format!(
                    "set {name}, or name another with [model] api_key_env"
                ))
        })
    }
}

/// One account at one endpoint. Prints without its key.
#[derive(Clone, Debug)]
pub(super) struct Account {
    /// Where the calls go.
    pub(super) base: Url,
    /// The variable that the key is from, for hints.
    pub(super) key_env: String,
    /// The key.
    pub(super) key: SecretString,
    /// Whose models these are.
    pub(super) service: String,
    /// Stands for endpoint and key, and tells nothing of either.
    pub(super) fingerprint: String,
}

impl Account {
    /// An account of `vendor`, whose own endpoint is `vendors`. `scope` is what else changes the
    /// batches that the account can see.
    pub(super) fn new(
        options: &Options<'_>,
        vendor: &str,
        vendors: &str,
        base: Url,
        key: (String, SecretString),
        scope: &[&str],
    ) -> Self {
        let origin = base.origin().ascii_serialization();
        let is_vendors = Url::parse(vendors).is_ok_and(|own| own.origin() == base.origin());
        let service = match options.service {
            Some(service) => service.to_owned(),
            None if is_vendors => vendor.to_owned(),
            None => origin,
        };
        let (key_env, key) = key;
        let fingerprint = fingerprint(&base, key.expose_secret(), scope);
        Account {
            base,
            key_env,
            key,
            service,
            fingerprint,
        }
    }
}

fn fingerprint(base: &Url, key: &str, scope: &[&str]) -> String {
    let mut hasher = blake3::Hasher::new_derive_key("columnist account 1");
    let endpoint = base.as_str().trim_end_matches('/');
    for part in [endpoint, key].iter().chain(scope) {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part.as_bytes());
    }
    hasher.finalize().to_hex()[..16].to_owned()
}

/// The components that a provider works with.
#[derive(Clone, Debug)]
pub struct Network {
    /// The network.
    pub http: Arc<dyn HttpService>,
    /// What time it is, and how to wait before a read is repeated.
    pub clock: Arc<dyn Clock>,
    /// Jitter and boundaries.
    pub ids: Arc<Ids>,
}
