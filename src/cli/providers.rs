//! The provider that a job names; for `sandbox/<anything>`, one that runs in this process.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;

use crate::base::http::RouterService;
use crate::base::{Components, Error, ErrorKind, Location, Result, ResultExt, make_private};
use crate::emulator::{Sandbox, SandboxConfig};
use crate::engine;
use crate::provider::{self, Network, Options, Provider};
use crate::spec::Job;
use crate::work::price::SANDBOX;

/// Opens the provider of `job`.
pub(super) fn open(job: &Job, components: &Components) -> Result<Arc<dyn Provider>> {
    if job.model.provider != SANDBOX {
        let options = Options {
            provider: &job.model.provider,
            base_url: job.model.base_url.as_deref(),
            api_key_env: job.model.api_key_env.as_deref(),
            service: job.model.service.as_deref(),
            env: &|name| std::env::var(name).ok(),
        };
        return provider::open(&options, network(components));
    }
    let ledger = components.stores.locate(&job.ledger.path)?;
    let config = SandboxConfig {
        state_dir: state_folder(&ledger, |name| std::env::var_os(name))?,
        ..SandboxConfig::default()
    };
    let sandbox = Sandbox::new(config, Arc::clone(&components.clock))?;
    let (dialect, base_url) = Sandbox::in_process();
    let options = Options {
        provider: dialect,
        base_url: Some(&base_url),
        api_key_env: Some("SANDBOX"),
        service: Some(SANDBOX),
        env: &|name| (name == "SANDBOX").then(|| SANDBOX.to_owned()),
    };
    let network = Network {
        http: Arc::new(RouterService::new(sandbox.router())),
        ..network(components)
    };
    provider::open(&options, network)
}

/// The provider of `job` for a command that asks it nothing: no key is needed.
pub(super) fn open_offline(job: &Job, components: &Components) -> Result<Arc<dyn Provider>> {
    let is_sandbox = job.model.provider == SANDBOX;
    let options = Options {
        provider: if is_sandbox {
            Sandbox::in_process().0
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

/// Opens the providers of other job files.
#[derive(Debug)]
pub(super) struct Providers(pub Components);

impl engine::Vendors for Providers {
    fn open(&self, job: &Job) -> Result<Arc<dyn Provider>> {
        open(job, &self.0)
    }
}

/// The same, for a command that asks them nothing.
#[derive(Debug)]
pub(super) struct OfflineProviders(pub Components);

impl engine::Vendors for OfflineProviders {
    fn open(&self, job: &Job) -> Result<Arc<dyn Provider>> {
        open_offline(job, &self.0)
    }
}

/// Where the sandbox of a job keeps its batches, so that the next process finds what this one left
/// there: beside a local ledger; for one on object storage in the user's cache folder, which other
/// machines do not see. A ledger that ends with this process needs none.
fn state_folder(
    ledger: &Location,
    env: impl Fn(&str) -> Option<OsString>,
) -> Result<Option<PathBuf>> {
    if let Some(folder) = &ledger.local {
        make_private(folder).map_err(|error| {
            let is_full = error.kind() == std::io::ErrorKind::StorageFull;
            let kind = if is_full {
                ErrorKind::Unavailable
            } else {
                ErrorKind::Invalid
            };
            Error::new(kind, "cannot make the ledger's folder")
                .with("folder", folder.display())
                .hint("the ledger must be writable: choose another `[ledger] path`")
                .because(error)
        })?;
        return Ok(Some(folder.join("sandbox")));
    }
    if ledger.url.scheme() == "memory" {
        return Ok(None);
    }
    let folder = |name| {
        env(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    let home = || folder("HOME").map(|home| home.join(".cache"));
    let cache = folder("XDG_CACHE_HOME").or_else(home).ok_or_else(|| {
        Error::invalid("there is no folder for the sandbox's batches")
            .with("ledger", &ledger.url)
            .hint(
                "set HOME or XDG_CACHE_HOME, or give a job for the sandbox a local `[ledger] path`",
            )
    })?;
    let name = blake3::hash(ledger.url.as_str().as_bytes()).to_hex();
    let state = cache.join("columnist/sandbox").join(&name[..32]);
    make_private(&state)
        .or_err(
            ErrorKind::Invalid,
            "cannot make the folder for the sandbox's batches",
        )
        .map_err(|error| {
            error
                .with("folder", state.display())
                .hint("set XDG_CACHE_HOME to a folder that can be written to")
        })?;
    Ok(Some(state))
}

fn network(components: &Components) -> Network {
    Network {
        http: Arc::clone(&components.http),
        clock: Arc::clone(&components.clock),
        ids: Arc::clone(&components.ids),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    use crate::base::Stores;

    fn state(ledger: &str, env: &[(&str, &Path)]) -> Result<Option<PathBuf>> {
        let ledger = Stores::default().locate(ledger).expect("an address");
        state_folder(&ledger, |wanted| {
            let found = env.iter().find(|(name, _)| *name == wanted);
            found.map(|(_, path)| path.as_os_str().to_owned())
        })
    }

    #[test]
    fn each_ledger_has_a_sandbox_that_the_next_process_finds() {
        let folder = tempfile::tempdir().expect("a folder");
        let cache = [
            ("XDG_CACHE_HOME", folder.path()),
            ("HOME", Path::new("/nowhere")),
        ];
        let first = state("s3://lake/a/", &cache).expect("a folder");
        let path = first.clone().expect("kept");
        assert!(path.starts_with(folder.path().join("columnist/sandbox")));
        assert!(path.is_dir());
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = std::fs::metadata(&path)
                .expect("there")
                .permissions()
                .mode();
            assert_eq!(mode & 0o777, 0o700);
        }
        assert_eq!(state("s3://lake/a/", &cache).expect("a folder"), first);
        assert_ne!(state("s3://lake/b/", &cache).expect("a folder"), first);

        let home = [
            ("XDG_CACHE_HOME", Path::new("cache")),
            ("HOME", folder.path()),
        ];
        let path = state("s3://lake/a/", &home).expect("a folder");
        let path = path.expect("kept");
        assert!(path.starts_with(folder.path().join(".cache/columnist/sandbox")));

        let local = folder.path().join("ledger");
        let beside = state(&local.display().to_string(), &[]).expect("a folder");
        assert_eq!(beside, Some(local.join("sandbox")));
        assert_eq!(state("memory:///ledger", &[]).expect("none"), None);
    }

    #[test]
    fn a_sandbox_that_could_not_be_found_again_is_refused() {
        let error = state("s3://lake/a/", &[]).expect_err("no folder");
        assert_eq!(error.kind(), ErrorKind::Invalid);
    }
}
