//! `sandbox`: the vendors' dialects on loopback.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::base::{Components, Error, ErrorKind, Exit, Result, ResultExt};
use crate::cli::args::{LimitArgs, RefusalArg, SandboxArgs};
use crate::emulator::{AccountLimits, Sandbox, SandboxConfig, TokensRefusal};

/// Serves until it is interrupted.
pub(in crate::cli) async fn serve(args: &SandboxArgs, components: &Components) -> Result<Exit> {
    let config = SandboxConfig {
        seed: args.seed,
        batch_time: batch_time(&args.batch_time)?,
        instant: args.instant,
        faults: args.faults.parse()?,
        state_dir: args.state.clone(),
        ..SandboxConfig::default()
    }
    .limited(account_limits(&args.limits));
    let sandbox = Sandbox::new(config, Arc::clone(&components.clock))?;
    let running = sandbox
        .serve(SocketAddr::from(([127, 0, 0, 1], args.port)))
        .await?;
    let mut out = std::io::stdout();
    for (dialect, url) in running.urls() {
        writeln!(out, "{dialect} {url}").or_err(ErrorKind::Unavailable, "cannot print the URLs")?;
    }
    out.flush()
        .or_err(ErrorKind::Unavailable, "cannot print the URLs")?;
    let interrupt = CancellationToken::new();
    let _signal = crate::cli::signal::watch(&interrupt, &components.uptime);
    interrupt.cancelled().await;
    running.shutdown().await;
    Ok(Exit::Done)
}

/// What an account may have.
pub(in crate::cli) fn account_limits(limits: &LimitArgs) -> AccountLimits {
    AccountLimits {
        enqueued_tokens: limits.enqueued_tokens,
        enqueued_tokens_refusal: match limits.enqueued_tokens_refusal {
            RefusalArg::Failed => TokensRefusal::FailedBatch,
            RefusalArg::BadRequest => TokensRefusal::BadRequest,
            RefusalArg::TooManyRequests => TokensRefusal::TooManyRequests,
        },
        queue_requests: limits.queue_requests,
        batches_per_hour: limits.batches_per_hour,
        calls_per_minute: limits.calls_per_minute,
        uploads_per_minute: limits.uploads_per_minute,
        files: limits.files,
    }
}

/// A range of durations, or one.
pub(in crate::cli) fn batch_time(text: &str) -> Result<(Duration, Duration)> {
    let wrong = || {
        Error::invalid("not a range of durations")
            .with("batch-time", text)
            .hint("write it as 1s..3s")
    };
    let (least, most) = text.split_once("..").unwrap_or((text, text));
    let parse = |text: &str| humantime::parse_duration(text.trim()).map_err(|_| wrong());
    Ok((parse(least)?, parse(most)?))
}
