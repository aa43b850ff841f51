//! `sandbox`: the vendors' dialects on loopback.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::args::{LimitArgs, RefusalArg, SandboxArgs};
use super::exit::Exit;
use crate::base::{Components, Error, ErrorKind, Result, ResultExt};
use crate::emulator::{AnthropicLimits, OpenAiLimits, Sandbox, SandboxConfig, TokensRefusal};

/// Serves until it is interrupted.
pub(super) async fn serve(args: &SandboxArgs, components: &Components) -> Result<Exit> {
    let config = SandboxConfig {
        seed: args.seed,
        batch_time: batch_time(&args.batch_time)?,
        instant: args.instant,
        faults: args.faults.parse()?,
        state_dir: args.state.clone(),
        anthropic: anthropic(&args.limits),
        openai: openai(&args.limits),
        ..SandboxConfig::default()
    };
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
    let _signal = super::signal::watch(&interrupt, &components.uptime);
    interrupt.cancelled().await;
    running.shutdown().await;
    Ok(Exit::Done)
}

/// What Anthropic's dialect allows.
pub(super) fn anthropic(limits: &LimitArgs) -> AnthropicLimits {
    AnthropicLimits {
        queue_requests_max: limits.queue_requests,
        calls_per_minute_max: limits.calls_per_minute,
        ..AnthropicLimits::default()
    }
}

/// What `OpenAI`'s dialect allows.
pub(super) fn openai(limits: &LimitArgs) -> OpenAiLimits {
    OpenAiLimits {
        enqueued_tokens_max: limits.enqueued_tokens,
        enqueued_tokens_refusal: match limits.enqueued_tokens_refusal {
            RefusalArg::Failed => TokensRefusal::FailedBatch,
            RefusalArg::BadRequest => TokensRefusal::BadRequest,
            RefusalArg::TooManyRequests => TokensRefusal::TooManyRequests,
        },
        batches_per_hour_max: limits.batches_per_hour,
        uploads_per_minute_max: limits.uploads_per_minute,
        files_max: limits.files,
        ..OpenAiLimits::default()
    }
}

/// A range of durations, or one.
pub(super) fn batch_time(text: &str) -> Result<(Duration, Duration)> {
    let wrong = || {
        Error::invalid("not a range of durations")
            .with("batch-time", text)
            .hint("write it as 1s..3s")
    };
    let (least, most) = text.split_once("..").unwrap_or((text, text));
    let parse = |text: &str| humantime::parse_duration(text.trim()).map_err(|_| wrong());
    Ok((parse(least)?, parse(most)?))
}
