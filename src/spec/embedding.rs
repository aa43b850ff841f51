//! What a job says of embeddings: how long the vectors are has to be known before anything is sent, and what
//! makes no sense beside a vector is refused.

use super::job::{AnswerSpec, EmbeddingSpec, ModelSpec};
use super::reader::{Reader, Word};
use crate::work::embedding::EmbeddingModel;
use crate::work::price::{EMBEDS, Price, SANDBOX};
use crate::work::{AnswerType, Precision, TooLong};

/// How long a text may be, where it is embedded.
const LIMIT: &str = "model.max_input_tokens";

/// What an embedding is made of.
const TEXT_ALONE: &str = "an embedding is made of the text alone";

/// Why nobody is told what is wrong with a vector.
const NOTHING_TO_SAY: &str = "a vector is the same however often it is asked for";

/// Keys that make no sense where a text is only embedded, and why.
const SENSELESS: [(&str, &str); 14] = [
    ("prompt.system", TEXT_ALONE),
    ("prompt.system_file", TEXT_ALONE),
    ("prompt.examples", TEXT_ALONE),
    ("prompt.examples_table", TEXT_ALONE),
    ("prompt.examples_query", TEXT_ALONE),
    ("prompt.images", TEXT_ALONE),
    ("prompt.documents", TEXT_ALONE),
    (
        "prompt.cache",
        "texts share nothing that a cache could hold",
    ),
    ("model.structured_output", "a vector has no other structure"),
    ("model.max_output_tokens", "a vector has no tokens"),
    ("model.temperature", "nothing is drawn for a vector"),
    ("answer.reask", NOTHING_TO_SAY),
    ("answer.reask_model", NOTHING_TO_SAY),
    ("answer.grow_output_tokens", "a vector has no tokens"),
];

/// The longest vector that is taken for one.
const DIMENSIONS_MAX: u64 = 65_536;

impl Reader<'_> {
    /// The type of an answer that is an embedding, as far as it is known without the model.
    pub(super) fn embedding_type(&mut self) -> AnswerType {
        let dimensions = self.count("answer.dimensions", 1, DIMENSIONS_MAX);
        AnswerType::Embedding {
            dimensions: dimensions.and_then(|n| u32::try_from(n).ok()).unwrap_or(0),
            shortened: false,
        }
    }

    /// What else is said of the answer where it is an embedding. Beside any other, nothing may be.
    pub(super) fn embedding_spec(&mut self, answer: Option<&AnswerType>) -> Option<EmbeddingSpec> {
        let answer = answer?;
        if answer.dimensions().is_none() {
            if self.node(LIMIT).is_some() {
                let problem = format!("`{LIMIT}` is for embeddings");
                let advice = "write `type = \"embedding\"` in [answer], or take it out";
                self.refuse(LIMIT, problem, advice);
            }
            return None;
        }
        for (path, why) in SENSELESS {
            if self.node(path).is_some() {
                self.refuse(
                    path,
                    format!("`{path}` has no meaning for an embedding"),
                    format!("{why}: take it out"),
                );
            }
        }
        let precision = [
            ("single", Word::Means(Precision::Single)),
            ("half", Word::Means(Precision::Half)),
        ];
        let too_long = [
            ("fail", Word::Means(TooLong::Fail)),
            ("truncate", Word::Means(TooLong::Truncate)),
            ("average", Word::Means(TooLong::Average)),
        ];
        Some(EmbeddingSpec {
            precision: self
                .word("answer.precision", &precision)
                .unwrap_or_default(),
            too_long: self.word("answer.too_long", &too_long).unwrap_or_default(),
            max_input_tokens: self.count(LIMIT, 1, u32::MAX.into()),
        })
    }

    /// `answer`, whose vectors are as long as `model` makes them, or as the job says.
    pub(super) fn with_model(
        &mut self,
        answer: Option<AnswerSpec>,
        model: Option<&ModelSpec>,
    ) -> Option<AnswerSpec> {
        let (mut answer, Some(model)) = (answer?, model) else {
            return None;
        };
        let Some(said) = answer.answer.dimensions() else {
            return self.refuse_embedder(model).then_some(answer);
        };
        if Price::listed(&model.provider).any(|known| known == model.model)
            && EmbeddingModel::of(&model.model).is_none()
        {
            let problem = format!("`{}` makes no embeddings", model.model);
            self.refuse("model.use", problem, format!("write `use = \"{EMBEDS}\"`"));
            return None;
        }
        let known = if model.provider == SANDBOX {
            Some(EmbeddingModel::in_sandbox(&model.model))
        } else {
            EmbeddingModel::of(&model.model)
        };
        let (dimensions, shortened) = match (known, said) {
            (None, 0) => {
                let why = format!(
                    ": this version does not know how many numbers a vector of `{}` has",
                    model.model
                );
                self.missing("answer.dimensions", &why);
                return None;
            }
            (None, said) => (said, false),
            (Some(known), 0) => (known.dimensions, false),
            (Some(known), said) => self.dimensions_of(known, &model.model, said)?,
        };
        answer.answer = AnswerType::Embedding {
            dimensions,
            shortened,
        };
        self.check_params(model, known.is_some());
        let spec = answer.embedding.get_or_insert_default();
        self.check_input_limit(spec, known);
        Some(answer)
    }

    /// Whether vectors of `said` numbers are shorter than the model's own.
    fn dimensions_of(
        &mut self,
        known: &EmbeddingModel,
        model: &str,
        said: u32,
    ) -> Option<(u32, bool)> {
        let path = "answer.dimensions";
        let (own, name) = (known.dimensions, model);
        if said == own || (said < own && known.shortens) {
            return Some((said, said != own));
        }
        let (problem, advice) = if known.shortens {
            let problem = format!("a vector of `{name}` has at most {own} numbers, and not {said}");
            (problem, format!("write `dimensions = {own}`, or fewer"))
        } else {
            let problem = format!("a vector of `{name}` has {own} numbers, and not {said}");
            (
                problem,
                format!("write `dimensions = {own}`, or leave it out"),
            )
        };
        self.refuse(path, problem, advice);
        None
    }

    /// A model that is known takes its length from `answer.dimensions` alone.
    fn check_params(&mut self, model: &ModelSpec, is_known: bool) {
        if is_known && model.params.contains_key("dimensions") {
            let problem = "`model.params.dimensions` is set by the answer".to_owned();
            self.refuse(
                "model.params",
                problem,
                "write `dimensions` in [answer] instead",
            );
        }
    }

    /// How long a text may be: as the model has it, or less.
    fn check_input_limit(&mut self, spec: &mut EmbeddingSpec, known: Option<&EmbeddingModel>) {
        let path = LIMIT;
        match (known, spec.max_input_tokens) {
            (Some(known), Some(said)) if said > known.tokens_max => {
                let most = known.tokens_max;
                let problem = format!("`{path}` is more than the model's own limit, {most}");
                self.refuse(
                    path,
                    problem,
                    format!("write `max_input_tokens = {most}`, or less, or leave it out"),
                );
            }
            (Some(known), None) => spec.max_input_tokens = Some(known.tokens_max),
            (None, None) if spec.too_long != TooLong::Fail => {
                let why = ": this version does not know which texts are too long for the model";
                self.missing(path, why);
            }
            _ => {}
        }
    }

    /// Whether the model may give answers that are no vectors.
    fn refuse_embedder(&mut self, model: &ModelSpec) -> bool {
        if EmbeddingModel::of(&model.model).is_none() {
            return true;
        }
        let problem = format!("`{}` makes embeddings, and answers nothing", model.model);
        self.refuse(
            "model.use",
            problem,
            "write `type = \"embedding\"` in [answer], or name another model",
        );
        false
    }
}
