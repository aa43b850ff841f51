//! The provider that a job names; for `sandbox/<anything>`, one that runs in this process.

use std::sync::Arc;

use crate::base::http::RouterService;
use crate::base::{Components, Result};
use crate::emulator::{Sandbox, SandboxConfig};
use crate::engine;
use crate::provider::{self, Network, Options, Provider};
use crate::spec::Job;

/// A provider, opened for a job.
pub(super) struct Vendor {
    pub provider: Arc<dyn Provider>,
}

/// The provider's name that means the built-in sandbox.
const SANDBOX: &str = "sandbox";
/// The dialect that the built-in sandbox is spoken to in.
const DIALECT: &str = "openai";
/// Where the built-in sandbox is, whichever process it runs in: a batch belongs to the account with
/// which it was submitted, and a port would make each process another account.
const BASE: &str = "http://sandbox/openai/v1";

impl Vendor {
    /// Opens the provider of `job`.
    pub(super) fn open(job: &Job, components: &Components) -> Result<Vendor> {
        if job.model.provider != SANDBOX {
            let options = Options {
                provider: &job.model.provider,
                base_url: job.model.base_url.as_deref(),
                api_key_env: job.model.api_key_env.as_deref(),
                service: job.model.service.as_deref(),
                env: &|name| std::env::var(name).ok(),
            };
            let provider = provider::open(&options, network(components))?;
            return Ok(Vendor { provider });
        }
        // Its state lies beside a local ledger, so that `collect` finds what `submit` left there.
        let ledger = components.stores.locate(&job.ledger.path)?;
        let state_dir = ledger.local.map(|folder| folder.join("sandbox"));
        let config = SandboxConfig {
            state_dir,
            ..SandboxConfig::default()
        };
        let sandbox = Sandbox::new(config, Arc::clone(&components.clock))?;
        let options = Options {
            provider: DIALECT,
            base_url: Some(BASE),
            api_key_env: Some("SANDBOX"),
            service: Some(SANDBOX),
            env: &|name| (name == "SANDBOX").then(|| SANDBOX.to_owned()),
        };
        let network = Network {
            http: Arc::new(RouterService::new(sandbox.router())),
            ..network(components)
        };
        let provider = provider::open(&options, network)?;
        Ok(Vendor { provider })
    }

    /// The provider of `job` for a command that asks it nothing: no key is needed.
    pub(super) fn offline(job: &Job, components: &Components) -> Result<Arc<dyn Provider>> {
        let is_sandbox = job.model.provider == SANDBOX;
        let options = Options {
            provider: if is_sandbox {
                DIALECT
            } else {
                &job.model.provider
            },
            base_url: job.model.base_url.as_deref(),
            api_key_env: None,
            service: if is_sandbox {
                Some(SANDBOX)
            } else {
                job.model.service.as_deref()
            },
            env: &|name| {
                let key = || name.ends_with("_KEY").then(|| "none".to_owned());
                std::env::var(name).ok().or_else(key)
            },
        };
        provider::open(&options, network(components))
    }
}

/// Opens the providers of other job files.
#[derive(Debug)]
pub(super) struct Vendors(pub Components);

impl engine::Vendors for Vendors {
    fn open(&self, job: &Job) -> Result<Arc<dyn Provider>> {
        Vendor::open(job, &self.0).map(|vendor| vendor.provider)
    }
}

fn network(components: &Components) -> Network {
    Network {
        http: Arc::clone(&components.http),
        clock: Arc::clone(&components.clock),
        ids: Arc::clone(&components.ids),
    }
}
