//! `plan`: what a run would do, in words and as JSON.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::{Value, json};

use super::context::{CommandContext, print};
use crate::base::{ErrorKind, Exit, Result, ResultExt};
use crate::cli::display::json::{signed_usd, usd};
use crate::cli::display::words::some;
use crate::engine::{self, AgainForecast, CacheForecast, Change, PlanReport};
use crate::work::CacheUse;

/// `plan`: what a run would do.
pub(in crate::cli) async fn plan(context: &CommandContext, to: Option<&Path>) -> Result<Exit> {
    let report = engine::plan(context.setup("plan"), context.provider()?).await?;
    if let Some(path) = to {
        let text = format!("{:#}\n", plan_json(&report));
        std::fs::write(path, text)
            .or_err(ErrorKind::Unavailable, "cannot write the plan")
            .map_err(|error| error.with("path", path.display()))?;
    }
    print(&plan_words(&report))
}

fn plan_words(report: &PlanReport) -> String {
    let counts = &report.counts;
    let mut text = format!(
        "rows        {}\n  new        {}\n  changed    {}\n  identical  {}\n  answered   {}\n  \
         skipped    {}\n",
        report.rows, counts.new, counts.changed, counts.identical, counts.answered, counts.skipped,
    );
    for (why, count) in report.skipped.iter().filter(|(why, _)| !why.is_empty()) {
        let _ = writeln!(text, "    {count} {why}");
    }
    let _ = writeln!(text, "  failed     {}", counts.failed);
    if let Some((gone, since)) = report.gone.filter(|gone| *gone > 0).zip(report.since) {
        let _ = writeln!(text, "gone        {gone} rows of plan {since}");
    }
    let _ = write!(
        text,
        "requests    {} in {} batches\ntokens      about {} in, at most {} out\ncost        {}\n",
        report.requests,
        report.chunks,
        report.input_tokens,
        report.output_tokens_max,
        cost_words(report)
    );
    if report.requests > 0 {
        let _ = writeln!(text, "cache       {}", cache_words(&report.cache));
    }
    if report.requests > 0 && !report.again.is_none() {
        let _ = writeln!(text, "again       {}", again_words(&report.again));
    }
    if let Some(since) = report.since.filter(|_| !report.changes.is_empty()) {
        let _ = writeln!(text, "\nchanged since plan {since}");
        for change in &report.changes {
            change_words(change, &mut text);
        }
        text.push('\n');
    }
    for note in &report.notes {
        let _ = writeln!(text, "note        {note}");
    }
    text
}

/// What a run costs, in one sentence.
fn cost_words(report: &PlanReport) -> String {
    if report.requests == 0 {
        return "nothing: no request is to be sent".to_owned();
    }
    let costs = (
        report.expected_micros,
        report.worst_micros,
        report.online_worst_micros,
    );
    let (Some(expected), Some(worst), Some(online)) = costs else {
        let why = report.unpriced.as_deref().unwrap_or_default();
        return format!("not known: {why}");
    };
    format!(
        "about ${:.2} expected, ${:.2} at worst; online ${:.2} at worst",
        usd(expected),
        usd(worst),
        usd(online)
    )
}

/// What is asked again for an answer that cannot be used, in one sentence.
fn again_words(again: &AgainForecast) -> String {
    let mut parts = Vec::new();
    if again.reask > 0 {
        let times = some(again.reask.into(), "time", "times");
        let model = again.reask_model.as_ref();
        let by = model.map_or_else(String::new, |model| format!(" by {model}"));
        parts.push(format!(
            "invalid answers up to {times}{by}, with the reason"
        ));
    }
    if let (Some(first), Some(last)) = (again.limits.first(), again.limits.last()) {
        let limits = if first == last {
            format!("{first} tokens")
        } else {
            format!("{first} tokens, and up to {last}")
        };
        parts.push(format!("cut ones with a limit of {limits}"));
    }
    parts.join("; ")
}

/// What is done about the provider's cache, and why, in one sentence.
fn cache_words(cache: &CacheForecast) -> String {
    let what = match cache.uses {
        None => "nothing".to_owned(),
        Some(CacheUse::Off) => "turned off".to_owned(),
        Some(CacheUse::Key) => "a key".to_owned(),
        Some(kept) => {
            let gain = match cache.saved_micros {
                Some(saved @ 0..) => format!(", saves about ${:.2}", usd(saved.unsigned_abs())),
                Some(lost) => format!(", costs about ${:.6} more", usd(lost.unsigned_abs())),
                None => String::new(),
            };
            let tokens = cache.prefix_tokens;
            format!("about {tokens} tokens, for {}{gain}", kept.as_str())
        }
    };
    format!("{what}: {}", cache.why)
}

/// The longest value that stands in a line of its own, in characters.
const VALUE_MAX: usize = 100;

/// A setting, with what it was and is; of a text of several lines those that differ.
fn change_words(change: &Change, text: &mut String) {
    let word = |value: &Option<Value>| match value {
        None => "(none)".to_owned(),
        Some(Value::String(text)) => short(text),
        Some(value) => short(&value.to_string()),
    };
    let is_text = change.key.starts_with("prompt.") || change.key == "source.query";
    let sides = [&change.was, &change.now].map(|side| side.as_ref().and_then(Value::as_str));
    let note = match &*change.key {
        "model.max_output_tokens" => "  (asks again only what was cut, if it is higher)",
        key if key.starts_with("output.") => "  (the same answers, published again)",
        _ => "",
    };
    if let ([Some(was), Some(now)], true) = (sides, is_text) {
        let _ = writeln!(text, "  {}", change.key);
        for (sign, line) in changed_lines(was, now) {
            let _ = writeln!(text, "    {sign} {}", short(line));
        }
        return;
    }
    let (mut was, mut now) = (word(&change.was), word(&change.now));
    if was == now {
        (was, now) = apart(change.was.as_ref(), change.now.as_ref());
    }
    let _ = writeln!(text, "  {}  {was} -> {now}{note}", change.key);
}

/// The lines that differ: those of `was`, then those of `now`, without what both begin and end with.
fn changed_lines<'t>(was: &'t str, now: &'t str) -> impl Iterator<Item = (char, &'t str)> {
    let (was, now): (Vec<_>, Vec<_>) = (was.lines().collect(), now.lines().collect());
    let head = was.iter().zip(&now).take_while(|(a, b)| a == b).count();
    let (was, now) = (was[head..].to_vec(), now[head..].to_vec());
    let ends = was.iter().rev().zip(now.iter().rev());
    let tail = ends.take_while(|(a, b)| a == b).count();
    let (was_end, now_end) = (was.len() - tail, now.len() - tail);
    let was = was.into_iter().take(was_end).map(|line| ('-', line));
    was.chain(now.into_iter().take(now_end).map(|line| ('+', line)))
}

/// Characters before the place where two long values part.
const BEFORE: usize = 20;

/// Two values that begin alike for longer than is shown, from shortly before they part.
fn apart(was: Option<&Value>, now: Option<&Value>) -> (String, String) {
    let text = |value: Option<&Value>| match value {
        Some(Value::String(text)) => text.replace('\n', " "),
        value => value.map(ToString::to_string).unwrap_or_default(),
    };
    let (was, now) = (text(was), text(now));
    let alike = was.chars().zip(now.chars()).take_while(|(a, b)| a == b);
    let skipped = alike.count().saturating_sub(BEFORE);
    let tail = |text: &str| {
        let tail: String = text.chars().skip(skipped).collect();
        format!("...{}", short(&tail))
    };
    (tail(&was), tail(&now))
}

fn short(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    match line.char_indices().nth(VALUE_MAX) {
        Some((end, _)) => format!("{}...", &line[..end]),
        None if line.len() < text.len() => format!("{line}..."),
        None => line.to_owned(),
    }
}

fn plan_json(report: &PlanReport) -> Value {
    let changes = report
        .changes
        .iter()
        .map(|change| json!({ "key": change.key, "was": change.was, "now": change.now }));
    let skipped: serde_json::Map<_, _> = report
        .skipped
        .iter()
        .map(|(why, count)| (why.clone(), (*count).into()))
        .collect();
    json!({
        "job": report.job,
        "rows": report.rows,
        "counts": report.counts,
        "skipped": skipped,
        "gone": report.gone,
        "requests": report.requests,
        "batches": report.chunks,
        "input_tokens": report.input_tokens,
        "output_tokens_max": report.output_tokens_max,
        "expected_usd": report.expected_micros.map(usd),
        "worst_usd": report.worst_micros.map(usd),
        "online_worst_usd": report.online_worst_micros.map(usd),
        "cache": {
            "use": report.cache.uses.map(CacheUse::as_str),
            "prefix_tokens": report.cache.prefix_tokens,
            "cached_from_tokens": report.cache.cached_min,
            "primer_requests": report.cache.primer,
            "expected_saving_usd": report.cache.saved_micros.map(signed_usd),
            "why": report.cache.why,
        },
        "asked_again": (!report.again.is_none()).then(|| json!({
            "reask": report.again.reask,
            "reask_model": report.again.reask_model,
            "output_limits": report.again.limits,
        })),
        "since_plan": report.since,
        "changes": changes.collect::<Vec<_>>(),
        "notes": report.notes,
    })
}
