//! `show`: one row's story, in words or as one JSON object.

use std::fmt::Write as _;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::context::{CommandContext, print};
use crate::base::{Exit, Result};
use crate::cli::display::json::{cache_value, usd};
use crate::cli::display::words::{self, grouped};
use crate::cli::providers::OfflineProviders;
use crate::engine::{self, Setup, Story, Told};
use crate::work::RowStatus;

/// One row's story.
pub(in crate::cli) async fn show(
    context: &CommandContext,
    row: &[String],
    as_json: bool,
) -> Result<Exit> {
    let setup = Setup {
        vendors: Some(Arc::new(OfflineProviders(context.components.clone()))),
        ..context.setup("show")
    };
    let story = engine::show(setup, row).await?;
    print(&if as_json {
        format!("{}\n", story_json(&story))
    } else {
        story_words(&story)
    })
}

fn story_words(story: &Story) -> String {
    let mut text = format!("row      {}\n", story.row);
    for (column, value) in &story.row_key {
        let value = value.as_deref().unwrap_or("not known");
        let _ = writeln!(text, "         {column} = {value}");
    }
    let _ = writeln!(text, "plan     {}", story.plan);
    if story.changed {
        text.push_str("note     the source has changed since it was planned\n");
    }
    if let Some(key) = &story.key {
        let _ = writeln!(text, "key      {key}");
    }
    if story.prompt_gone {
        text.push_str("note     the prompt was deleted by gc\n");
    }
    let asks = story.key.is_some();
    if let Some(system) = story.system.as_ref().filter(|_| asks) {
        let _ = writeln!(text, "--- system prompt\n{system}");
    }
    if let Some(prompt) = &story.prompt {
        let _ = writeln!(text, "--- prompt\n{prompt}");
        for attached in &story.attachments {
            let (kind, at) = (attached.kind.as_str(), attached.at);
            let _ = writeln!(text, "{kind} at byte {at}: {}", attached.source);
        }
    }
    for (n, told) in story.attempts.iter().enumerate() {
        attempt_words(n + 1, told, &mut text);
    }
    text
}

fn attempt_words(number: usize, told: &Told, text: &mut String) {
    let status = told.status.map_or("not landed", RowStatus::as_str);
    let batch = told.batch.as_deref().unwrap_or("no batch");
    let _ = writeln!(text, "--- attempt {number}: {status}, {batch}");
    if let Some(request) = &told.request {
        let _ = writeln!(text, "request  {request}");
    }
    if let Some(model) = &told.model {
        let _ = writeln!(text, "model    {model}");
    }
    if told.status.is_some() {
        let usage = told.usage;
        let (input, output) = (grouped(usage.input_total()), grouped(usage.output));
        let _ = writeln!(text, "tokens   {input} in, {output} out");
        let cost = told.cost_micros.map(|micros| words::cost(Some(micros)));
        let cost = cost.as_deref().unwrap_or("unknown");
        let _ = writeln!(text, "cost     {cost}");
        let saved = told.cache_saved_micros;
        if let Some(cache) = words::cache(&usage, told.cost_micros, saved) {
            let _ = writeln!(text, "cache    {cache}");
        }
    }
    for (name, value) in [
        ("answer", &told.answer),
        ("raw", &told.raw),
        ("error", &told.error),
    ] {
        if let Some(value) = value {
            let _ = writeln!(text, "{name:<8} {value}");
        }
    }
}

fn story_json(story: &Story) -> Value {
    let key: Map<String, Value> = story
        .row_key
        .iter()
        .map(|(column, value)| (column.clone(), json!(value)))
        .collect();
    let attempts = story.attempts.iter().map(|told| {
        // It is what was sent, and so it is JSON.
        let request = told.request.as_ref();
        let request = request.and_then(|text| serde_json::from_str::<Value>(text).ok());
        json!({
            "batch": told.batch,
            "status": told.status,
            "request": request,
            "model": told.model,
            "tokens": told.usage,
            "cost_usd": told.cost_micros.map(usd),
            "cache": cache_value(&told.usage, told.cost_micros, told.cache_saved_micros),
            "answer": told.answer,
            "raw": told.raw,
            "error": told.error,
        })
    });
    json!({
        "row": story.row,
        "row_key": key,
        "plan": story.plan,
        "changed": story.changed,
        "request_key": story.key,
        "system": story.system,
        "prompt": story.prompt,
        "attachments": story.attachments,
        "prompt_gone": story.prompt_gone,
        "attempts": attempts.collect::<Vec<_>>(),
    })
}
