//! What a plan may cost where answers that cannot be used are asked again.

use crate::engine::decide::again::AgainRule;
use crate::spec::Job;
use crate::work::Usage;
use crate::work::caching::tokens_of;
use crate::work::correction::ANSWER_MAX;

/// What a run would ask again, and with what.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AgainForecast {
    /// Times that an invalid answer is asked again.
    pub reask: u32,
    /// The model that is asked then, where it is another.
    pub reask_model: Option<String>,
    /// The limits of output that follow the job's own, one after the other, where one cut an answer.
    pub limits: Vec<u32>,
}

/// Tokens of what is said to an invalid answer, about.
const MESSAGE_TOKENS: u64 = 60;

impl AgainForecast {
    /// What `job` asks again.
    pub(crate) fn of(job: &Job) -> AgainForecast {
        let rule = AgainRule::of(job);
        let mut limits = Vec::new();
        let mut limit = job.model.max_output_tokens;
        let own = Some(job.model.model.as_str());
        for model in own.into_iter().chain(rule.reask_model.as_deref()) {
            let growths = |limits: &Vec<u32>| u32::try_from(limits.len()).unwrap_or(u32::MAX);
            while let Some(next) = rule.grow(limit, growths(&limits), model) {
                limits.push(next);
                limit = next;
            }
        }
        AgainForecast {
            reask: rule.reask,
            reask_model: rule.reask_model,
            limits,
        }
    }

    /// Whether nothing is.
    #[must_use]
    pub fn is_none(&self) -> bool {
        *self == AgainForecast::default()
    }

    /// The most that `requests` can use beyond what they use when they are asked once, which is `input` tokens:
    /// of the job's own model, and of the one that is asked about invalid answers.
    pub(crate) fn worst(&self, requests: u64, input: u64, limit: u32) -> [Usage; 2] {
        let times = self.limits.len() as u64;
        let grown: u64 = self.limits.iter().copied().map(u64::from).sum();
        let most = u64::from(self.limits.last().copied().unwrap_or(limit));
        // The answer goes back as it came, up to a bound.
        let back = most.min(tokens_of(ANSWER_MAX as u64)) + MESSAGE_TOKENS;
        let reasks = u64::from(self.reask);
        let usage = |input: u64, output: u64| Usage {
            input,
            output,
            ..Usage::default()
        };
        [
            usage(input * times, requests * grown),
            usage((input + requests * back) * reasks, requests * most * reasks),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_worst_every_limit_is_met_and_then_every_answer_is_invalid() {
        let forecast = AgainForecast {
            reask: 2,
            reask_model: None,
            limits: vec![100, 150],
        };
        let [own, other] = forecast.worst(10, 1000, 50);
        assert_eq!((own.input, own.output), (2000, 2500));
        assert_eq!((other.input, other.output), ((1000 + 10 * 210) * 2, 3000));
        let [own, other] = AgainForecast::default().worst(10, 1000, 50);
        assert_eq!((own, other), (Usage::default(), Usage::default()));
    }
}
