//! What a job says of answers that cannot be used: which of them are asked again, and how.

use super::job::{AnswerSpec, ModelSpec};
use super::reader::Reader;
use crate::work::AnswerType;
use crate::work::price::{Price, SANDBOX};

/// Times that an invalid answer is asked again at most.
const REASK_MAX: u64 = 10;
/// What the limit of output grows by, at least and at most.
const GROW: (f64, f64) = (1.1, 100.0);

const REASK: &str = "answer.reask";
const MODEL: &str = "answer.reask_model";
const FACTOR: &str = "answer.grow_output_tokens";

/// What is asked again.
#[derive(Debug, Default)]
pub(super) struct AskedAgain {
    pub(super) reask: u32,
    /// As it is written, with its provider.
    pub(super) model: Option<String>,
    pub(super) grow: Option<f64>,
}

impl Reader<'_> {
    /// What is asked again of answers of this type.
    pub(super) fn asked_again(&mut self, answer: Option<&AnswerType>) -> AskedAgain {
        let reask = self.count(REASK, 0, REASK_MAX).unwrap_or(0);
        let reask = u32::try_from(reask).unwrap_or_default();
        if reask > 0 && matches!(answer, Some(AnswerType::Text)) {
            let problem =
                format!("`{REASK}` has no meaning for a text, which is taken as it comes");
            let advice = "give the answer a type, or `max_chars`; or take it out";
            self.refuse(REASK, problem, advice);
        }
        if self.node(MODEL).is_some() && self.node(REASK).is_none() {
            let problem = format!("`{MODEL}` is given without `{REASK}`");
            self.refuse(MODEL, problem, "write `reask = 2`, or take it out");
        }
        AskedAgain {
            reask,
            model: self.plain_text(MODEL),
            grow: self.growth(),
        }
    }

    fn growth(&mut self) -> Option<f64> {
        let number = self.number(FACTOR)?;
        let (least, most) = GROW;
        if (least..=most).contains(&number) {
            return Some(number);
        }
        let problem = format!("`{FACTOR}` must be between {least} and {most}");
        self.refuse(FACTOR, problem, self.suggestion(FACTOR));
        None
    }

    /// `answer`, whose other model is one of the job's own provider, and can say as much as its own.
    pub(super) fn with_reask_model(
        &mut self,
        answer: Option<AnswerSpec>,
        model: Option<&ModelSpec>,
    ) -> Option<AnswerSpec> {
        let (mut answer, Some(model)) = (answer?, model) else {
            return None;
        };
        if answer.grow_output_tokens.is_some() && model.params.contains_key("max_tokens") {
            let problem = format!(
                "`{FACTOR}` lets `model.max_output_tokens` grow, and `model.params` sets a limit of its own"
            );
            let advice = "take `max_tokens` out of params, or this one";
            self.refuse(FACTOR, problem, advice);
        }
        let Some(written) = answer.reask_model.take() else {
            return Some(answer);
        };
        let own = &model.provider;
        let parts = written.split_once('/');
        let parts =
            parts.filter(|(_, name)| !name.is_empty() && !written.contains(char::is_whitespace));
        match parts {
            Some((provider, name)) if provider == own => {
                self.check_reask_model(name, model)?;
                answer.reask_model = Some(name.to_owned());
                Some(answer)
            }
            Some((provider, _)) => {
                let problem = format!(
                    "`{MODEL}` is of the provider `{provider}`, and `model.use` of `{own}`"
                );
                self.refuse(MODEL, problem, format!("take another model of `{own}`"));
                None
            }
            None => {
                let problem = format!("`{MODEL}` must be `provider/model`, found `{written}`");
                let meant = written.trim().trim_matches('/');
                let meant = meant.rsplit('/').next().unwrap_or(meant);
                self.refuse(
                    MODEL,
                    problem,
                    format!("write `reask_model = \"{own}/{meant}\"`"),
                );
                None
            }
        }
    }

    /// That a model can give an answer as long as the job's own may be.
    fn check_reask_model(&mut self, name: &str, model: &ModelSpec) -> Option<()> {
        let price = Price::of(&model.provider, name).filter(|_| model.provider != SANDBOX);
        let most = price.map_or(u64::MAX, |price| price.output_max);
        if most == 0 {
            let problem = format!("`{name}` makes embeddings, and no answers");
            self.refuse(MODEL, problem, "take a model that answers");
            return None;
        }
        if u64::from(model.max_output_tokens) > most {
            let problem = format!(
                "`{name}` answers with {most} tokens at most, and `model.max_output_tokens` is {}",
                model.max_output_tokens
            );
            self.refuse(
                MODEL,
                problem,
                format!("set `max_output_tokens = {most}` or lower, or take another model"),
            );
            return None;
        }
        Some(())
    }
}
