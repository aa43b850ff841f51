//! The environment of a rehearsal: a scratch folder, a sandbox that outlives the runs, and a copy of the job
//! that knows no other place.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tempfile::TempDir;

use crate::base::{Error, ErrorKind, FastClock, Result, ResultExt};
use crate::cli::args::Rehearse;
use crate::cli::commands::sandbox;
use crate::emulator::{Faults, Running, Sandbox, SandboxConfig};
use crate::spec::Job;
use crate::work::price::SANDBOX;

/// What a rehearsal plays on.
#[derive(Debug)]
pub(super) struct Environment {
    folder: TempDir,
    pub(super) sandbox: Sandbox,
    pub(super) running: Running,
    pub(super) faults: Faults,
    /// The time of the sandbox and of the runs.
    pub(super) clock: FastClock,
    /// The job as it is rehearsed.
    pub(super) job: Job,
}

/// The variable that holds the key of a rehearsed job. The sandbox takes any.
pub(super) const KEY: &str = "COLUMNIST_REHEARSAL_KEY";

impl Environment {
    /// Sets the environment for `job`.
    pub(super) async fn prepare(job: &Job, args: &Rehearse) -> Result<Environment> {
        let faults: Faults = match args.faults.trim() {
            "none" => Faults::default(),
            script => script.parse()?,
        };
        let folder = tempfile::Builder::new()
            .prefix("columnist-rehearsal-")
            .tempdir()
            .or_err(ErrorKind::Unavailable, "cannot make a scratch folder")?;
        let config = SandboxConfig {
            seed: args.seed,
            batch_time: sandbox::batch_time(&args.batch_time)?,
            faults: faults.clone(),
            state_dir: Some(folder.path().join("sandbox")),
            keep_uploads: false,
            ..SandboxConfig::default()
        }
        .limited(sandbox::account_limits(&args.limits));
        let clock = FastClock::starting_now(args.speed);
        let sandbox = Sandbox::new(config, Arc::new(clock))?;
        let running = sandbox.serve(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
        let job = copy(job, folder.path(), &running.urls())?;
        let environment = Environment {
            folder,
            sandbox,
            running,
            faults,
            clock,
            job,
        };
        environment.write_job()?;
        Ok(environment)
    }

    fn write_job(&self) -> Result<()> {
        let json = serde_json::to_vec(&self.job).or_err(ErrorKind::Internal, "a job is no JSON")?;
        std::fs::write(self.job_file(), json)
            .or_err(ErrorKind::Unavailable, "cannot write to the scratch folder")
    }

    /// The rehearsed job, as the runs read it.
    pub(super) fn job_file(&self) -> PathBuf {
        self.folder.path().join("job.json")
    }

    /// A folder for whatever has to be put aside.
    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Takes the environment down; the folder stays if it is to be kept, and its path is returned.
    pub(super) async fn tear_down(self, keep: bool) -> Option<PathBuf> {
        self.running.shutdown().await;
        keep.then(|| self.folder.keep())
    }
}

/// `job`, with the sandbox for its vendor, and `folder` for its ledger and its output. Nothing else is
/// touched: what is read, asked, cut into chunks, waited for and laid out is the user's own.
fn copy(job: &Job, folder: &Path, urls: &[(&'static str, String)]) -> Result<Job> {
    let mut job = job.clone();
    if job.model.provider == SANDBOX {
        Sandbox::in_process().0.clone_into(&mut job.model.provider);
    }
    let url = urls
        .iter()
        .find(|(dialect, _)| *dialect == job.model.provider);
    let (_, url) = url.ok_or_else(|| {
        let names: Vec<_> = urls.iter().map(|(dialect, _)| *dialect).collect();
        Error::invalid("the sandbox does not speak this provider's dialect")
            .with("provider", &job.model.provider)
            .hint(format!("it speaks those of {}", names.join(", ")))
    })?;
    job.model.base_url = Some(url.clone());
    job.model.api_key_env = Some(KEY.to_owned());
    job.model.service = None;
    let text = |path: PathBuf| {
        path.into_os_string()
            .into_string()
            .map_err(|_| Error::invalid("the path of the scratch folder is not Unicode"))
    };
    job.ledger.path = text(folder.join("ledger"))?;
    let path = job.output.path.trim_end_matches('/');
    let name = path.rsplit('/').next().unwrap_or_default();
    let slash = &job.output.path[path.len()..];
    job.output.path = text(folder.join("output").join(name))? + slash;
    Ok(job)
}
