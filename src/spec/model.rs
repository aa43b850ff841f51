//! The `[model]` section, checked as far as it can be without knowing the provider.

use std::time::Duration;

use serde_json::{Map, Number, Value as Json};
use url::Url;

use crate::work::AnswerType;
use crate::work::answer::Asked;
use crate::work::price::{Price, SANDBOX};

use super::defaults;
use super::file::{Table, Value};
use super::job::{AnswerSpec, Mode, ModelSpec};
use super::reader::{Reader, Word};

impl Reader<'_> {
    pub(super) fn model(&mut self, answer: Option<&AnswerSpec>) -> Option<ModelSpec> {
        let ways = [
            ("batch", Word::Means(Mode::Batch)),
            ("online", Word::Later),
            ("auto", Word::Later),
        ];
        let mode = self.word("model.mode", &ways).unwrap_or(defaults::MODE);
        let default_tokens = match answer.map(|answer| &answer.answer) {
            // Asked for in the prompt, a model says more than the choice.
            Some(AnswerType::Choice(answer)) if answer.asked == Asked::Schema => {
                defaults::CHOICE_TOKENS
            }
            Some(AnswerType::Embedding { .. }) => 0,
            _ => defaults::TEXT_TOKENS,
        };
        let tokens = self
            .count("model.max_output_tokens", 1, u32::MAX.into())
            .and_then(|count| u32::try_from(count).ok());
        let temperature = self.temperature();
        let params = self.params();
        let base_url = self.base_url();
        let api_key_env = self.api_key_env();
        let service = self.connection("model.service");
        let max_requests = self.count("model.max_requests_per_batch", 1, u64::MAX);
        let max_bytes = self.bytes("model.max_bytes_per_batch");
        let max_enqueued = self.count("model.max_enqueued", 1, u64::MAX);
        let max_batch_age = self.duration("model.max_batch_age", Duration::from_secs(1));
        let (poll_min, poll_max) = self.polling();
        let (provider, model) = self.model_name()?;
        // The sandbox is free: what is paid for must not pass for it.
        if service.as_deref() == Some(SANDBOX) && provider != SANDBOX {
            let problem = format!("`model.service` cannot be `{SANDBOX}`");
            let advice = format!("the built-in sandbox is `use = \"{SANDBOX}/{model}\"`");
            self.refuse("model.service", problem, advice);
        }
        Some(ModelSpec {
            provider,
            model,
            mode,
            max_output_tokens: tokens.unwrap_or(default_tokens),
            temperature,
            params,
            base_url,
            api_key_env,
            service,
            max_requests_per_batch: max_requests,
            max_bytes_per_batch: max_bytes,
            max_enqueued,
            max_batch_age,
            poll_min,
            poll_max,
        })
    }

    fn model_name(&mut self) -> Option<(String, String)> {
        if self.node("model.use").is_none() {
            self.missing("model.use", "");
        }
        let text = self.plain_text("model.use")?;
        let parts = text
            .split_once('/')
            .filter(|(provider, model)| !provider.is_empty() && !model.is_empty())
            .filter(|_| !text.contains(char::is_whitespace));
        if parts.is_none() {
            let problem = format!("`model.use` must be `provider/model`, found `{text}`");
            let meant = whole_name(&text);
            let advice = self.suggestion_of("model.use", &format!("\"{meant}\""));
            self.refuse("model.use", problem, advice);
        }
        parts.map(|(provider, model)| (provider.to_owned(), model.to_owned()))
    }

    fn temperature(&mut self) -> Option<f64> {
        let path = "model.temperature";
        let number = self.number(path)?;
        if (0.0..=2.0).contains(&number) {
            // No request key may differ by the sign of a zero.
            return Some(number + 0.0);
        }
        let problem = format!("`{path}` must be between 0 and 2");
        self.refuse(path, problem, self.suggestion(path));
        None
    }

    fn base_url(&mut self) -> Option<String> {
        let path = "model.base_url";
        let text = self.connection(path)?;
        let problem = match Url::parse(text.trim()) {
            Ok(url) if !matches!(url.scheme(), "http" | "https") => {
                "`model.base_url` must be an http or https URL"
            }
            Ok(url) if !url.username().is_empty() || url.password().is_some() => {
                "`model.base_url` holds credentials"
            }
            Ok(url) if url.query().is_some() || url.fragment().is_some() => {
                "`model.base_url` must end with its path"
            }
            Ok(_) => return Some(text.trim().trim_end_matches('/').to_owned()),
            Err(_) => "`model.base_url` is not a URL",
        };
        let advice = if problem.ends_with("credentials") {
            "take them out; the key comes from the variable that `api_key_env` names".into()
        } else {
            self.suggestion(path)
        };
        self.refuse(path, problem.into(), advice);
        None
    }

    /// The name of a variable, and not the key itself: many keys are no more than letters and
    /// digits, so only capitals pass. What was found is not repeated.
    fn api_key_env(&mut self) -> Option<String> {
        let path = "model.api_key_env";
        let name = self.some_text(path)?;
        let good = |byte: u8| matches!(byte, b'A'..=b'Z' | b'0'..=b'9' | b'_');
        if name.bytes().all(good) && !name.starts_with(|c: char| c.is_ascii_digit()) {
            return Some(name);
        }
        self.refuse(
            path,
            "`model.api_key_env` must be the name of an environment variable".into(),
            "write its name in capitals, without `${}`, such as \"ANTHROPIC_API_KEY\"; \
             the key itself never stands in a job file",
        );
        None
    }

    fn polling(&mut self) -> (Duration, Duration) {
        let tick = Duration::from_millis(1);
        let min = self.duration("model.poll_min", tick);
        let max = self.duration("model.poll_max", tick);
        // With one of them given, the other one gives way.
        let (poll_min, poll_max) = match (min, max) {
            (Some(min), Some(max)) => (min, max),
            (Some(min), None) => (min, min.max(defaults::POLL_MAX)),
            (None, Some(max)) => (max.min(defaults::POLL_MIN), max),
            (None, None) => (defaults::POLL_MIN, defaults::POLL_MAX),
        };
        if poll_min > poll_max {
            self.refuse(
                "model.poll_max",
                "`model.poll_max` is shorter than `model.poll_min`".into(),
                "poll_min is the first wait; it grows to poll_max",
            );
        }
        (poll_min, poll_max)
    }

    fn params(&mut self) -> Map<String, Json> {
        match self.table("model.params") {
            Some(table) => self.object("model.params", table),
            None => Map::new(),
        }
    }

    fn object(&mut self, path: &str, table: &Table) -> Map<String, Json> {
        let mut object = Map::new();
        for (name, node) in table {
            let path = format!("{path}.{name}");
            if let Some(value) = self.json(&path, &node.value) {
                object.insert(name.clone(), value);
            } else {
                let problem = format!(
                    "`{path}` cannot be sent as JSON, found {}",
                    node.value.describe()
                );
                self.wrong(&node.at, problem, "write a text instead");
            }
        }
        object
    }

    /// `value` as JSON; `None` for dates and for numbers that JSON does not have.
    fn json(&mut self, path: &str, value: &Value) -> Option<Json> {
        Some(match value {
            Value::Text(text) => Json::String(text.clone()),
            Value::Integer(number) => Json::Number(i64::try_from(*number).ok()?.into()),
            Value::Float(number) => Json::Number(Number::from_f64(*number)?),
            Value::Bool(yes) => Json::Bool(*yes),
            Value::Date(_) => return None,
            Value::List(list) => Json::Array(
                list.iter()
                    .map(|node| self.json(path, &node.value))
                    .collect::<Option<_>>()?,
            ),
            Value::Table(table) => Json::Object(self.object(path, table)),
        })
    }
}

/// The provider and model that half of a name most likely means. The sandbox is built in.
fn whole_name(half: &str) -> String {
    let half = half.trim().trim_matches('/');
    if half == "sandbox" {
        return "sandbox/x".to_owned();
    }
    for (provider, start, usual) in [
        ("anthropic", "claude", "claude-haiku-4-5"),
        ("openai", "gpt", "gpt-6-luna"),
    ] {
        if half == provider {
            return format!("{provider}/{usual}");
        }
        let known = Price::listed(provider).find(|model| model.contains(half));
        if let Some(model) = known.filter(|_| !half.is_empty()) {
            return format!("{provider}/{model}");
        }
        if half.starts_with(start) && !half.contains(char::is_whitespace) {
            return format!("{provider}/{half}");
        }
    }
    "anthropic/claude-haiku-4-5".to_owned()
}
