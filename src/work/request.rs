//! A request, and the key that says whether two requests are the same.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::{AnswerType, Content};
use crate::base::{HashKey, write_hex};

/// Which of a vendor's interfaces a request speaks; not whether it goes by batch or online.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Api {
    /// Anthropic's Messages.
    #[serde(rename = "messages")]
    Messages,
    /// OpenAI's Chat Completions, and its many relatives.
    #[serde(rename = "chat.completions")]
    ChatCompletions,
    /// OpenAI's Embeddings, and its many relatives.
    #[serde(rename = "embeddings")]
    Embeddings,
}

/// All that the requests of one plan have in common: everything but the row's own text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Shape {
    /// The interface.
    pub api: Api,
    /// Whose model it is: the vendor, the origin of a base URL, or a name that the job gives.
    pub service: String,
    /// The model, as the provider names it.
    pub model: String,
    /// The system prompt, rendered; the same for every row.
    pub system: Option<String>,
    /// The most tokens that an answer may have.
    pub max_output_tokens: u32,
    /// The sampling temperature, where the job sets one.
    pub temperature: Option<f64>,
    /// Passed through to the provider as they are.
    pub params: Map<String, Value>,
    /// What the answer must be.
    pub answer: AnswerType,
    /// Exchanges that come before the row's own: how it is to be answered.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub examples: Vec<Example>,
    /// How the answer begins: the model goes on from there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assistant_prefix: Option<String>,
    /// Whether requests may carry attachments, and so are lists of pieces.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub attachments: bool,
}

/// What was asked once, and how it is answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Example {
    /// What is asked.
    pub user: String,
    /// The answer, as the model is to give it.
    pub assistant: String,
}

/// The rule by which a plan makes its request keys. A plan keeps to one from its first row to its last,
/// whatever program goes on with it: which rows ask something new, and so the number of each request,
/// follows from the keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum KeyRule {
    /// The limit of output is part of the key. Ledgers that name no rule are of this one.
    #[default]
    #[serde(rename = "1")]
    WithLimit,
    /// The limit of output is not part of the key; it stands beside it, in the plan. So an answer that
    /// came to its own end is the answer under any limit.
    #[serde(rename = "2")]
    WithoutLimit,
}

impl KeyRule {
    /// The rule of new plans.
    pub const NEWEST: KeyRule = KeyRule::WithoutLimit;

    /// What tells the keys of one rule from those of another: part of every key.
    fn context(self) -> &'static str {
        match self {
            KeyRule::WithLimit => "columnist request key 1",
            KeyRule::WithoutLimit => "columnist request key 2",
        }
    }
}

/// The key of [`Shape::max_output_tokens`] in its canonical form.
const LIMIT: &str = "max_output_tokens";

impl Shape {
    /// What the keys of this shape's requests start from.
    #[must_use]
    pub fn keyer(&self, rule: KeyRule) -> Keyer {
        let shape = self.hash(rule);
        // A whole block of SHA-256, so that it is hashed here and not with each prompt.
        let start = |mark| Sha256::new_with_prefix(shape).chain_update([mark; 32]);
        Keyer {
            prompt: start(0),
            row: start(1),
            content: [start(2), start(3)],
        }
    }

    /// A fingerprint of all that is here, the limit of output included: the same shape, the same text,
    /// in hexadecimal. It is no key, and the same whatever rule keys are made by.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let hash = blake3::Hash::from_bytes(self.hash(KeyRule::WithLimit));
        hash.to_hex()[..16].to_owned()
    }

    fn hash(&self, rule: KeyRule) -> [u8; 32] {
        // `Value` keeps its objects sorted, so that the order in which a job file names its
        // parameters does not matter.
        let mut canonical = serde_json::to_value(self).unwrap_or_default();
        if rule == KeyRule::WithoutLimit
            && let Some(object) = canonical.as_object_mut()
        {
            object.remove(LIMIT);
        }
        let mut hasher = blake3::Hasher::new_derive_key(rule.context());
        hasher.update(canonical.to_string().as_bytes());
        *hasher.finalize().as_bytes()
    }
}

/// Makes the request keys of one [`Shape`].
///
/// A prompt is hashed by SHA-256, which processors of today have instructions for: two and a half
/// times as fast as BLAKE3 on texts of a kilobyte, of which BLAKE3 could only hash many at once. The
/// writer of a text may wish it to be taken for another's, so that a faster hash that is no
/// cryptographic one would not do.
#[derive(Clone, Debug)]
pub struct Keyer {
    /// The hash of the shape, to be gone on with by the prompt alone.
    prompt: Sha256,
    /// The same, to be gone on with by a row's id and the prompt.
    row: Sha256,
    /// The same as these two, with attachments before the prompt.
    content: [Sha256; 2],
}

impl Keyer {
    /// The key of the request that asks `prompt`; with `row_id`, of that row's own request, which
    /// is never the same as another row's.
    #[must_use]
    pub fn key(&self, prompt: &str, row_id: Option<&[u8]>) -> RequestKey {
        self.key_of(Content::text(prompt), row_id)
    }

    /// The same of a request that asks `content`.
    #[must_use]
    pub fn key_of(&self, content: Content<'_>, row_id: Option<&[u8]>) -> RequestKey {
        let [of_prompt, of_row] = match content.attachments {
            [] => [&self.prompt, &self.row],
            _ => self.content.each_ref(),
        };
        let mut hasher = match row_id {
            None => of_prompt.clone(),
            Some(row_id) => of_row
                .clone()
                .chain_update((row_id.len() as u64).to_le_bytes())
                .chain_update(row_id),
        };
        if !content.attachments.is_empty() {
            content.hash_attachments(&mut hasher);
        }
        hasher.update(content.text.as_bytes());
        let mut key = [0; RequestKey::LEN];
        key.copy_from_slice(&hasher.finalize()[..RequestKey::LEN]);
        RequestKey(key)
    }
}

/// 192 bits that stand for a request: its interface, service, model, parameters, answer and text. A
/// request is never compared but by its key; so it has more bits than chance or malice can match.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestKey(pub HashKey);

impl RequestKey {
    /// How many bytes it has.
    pub const LEN: usize = size_of::<HashKey>();
}

impl std::fmt::Display for RequestKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write_hex(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const RULES: [KeyRule; 2] = [KeyRule::WithLimit, KeyRule::WithoutLimit];

    fn shape() -> Shape {
        Shape {
            api: Api::Messages,
            service: "anthropic".into(),
            model: "claude-haiku-4-5".into(),
            system: Some("You label tickets.".into()),
            max_output_tokens: 16,
            temperature: None,
            params: Map::new(),
            answer: AnswerType::Text,
            examples: Vec::new(),
            assistant_prefix: None,
            attachments: false,
        }
    }

    fn key(shape: &Shape, rule: KeyRule) -> RequestKey {
        shape.keyer(rule).key("hi", None)
    }

    #[test]
    fn the_same_request_has_the_same_key_whatever_the_order_of_its_parameters() {
        let params = |text| serde_json::from_str::<Map<String, Value>>(text).expect("JSON");
        let a = Shape {
            params: params(r#"{"a":1,"b":{"x":1,"y":2}}"#),
            ..shape()
        };
        let b = Shape {
            params: params(r#"{"b":{"y":2,"x":1},"a":1}"#),
            ..shape()
        };
        for rule in RULES {
            assert_eq!(key(&a, rule), key(&b, rule));
        }
        assert_eq!(a.fingerprint(), b.fingerprint());
    }

    #[test]
    fn whatever_changes_the_request_changes_the_key() {
        // A parameter of the limit's name is a parameter, and no limit.
        let mut named = Map::new();
        named.insert(LIMIT.to_owned(), 16.into());
        let changed = [
            Shape {
                service: "http://localhost".into(),
                ..shape()
            },
            Shape {
                model: "claude-opus-5".into(),
                ..shape()
            },
            Shape {
                system: None,
                ..shape()
            },
            Shape {
                params: named,
                ..shape()
            },
            Shape {
                temperature: Some(0.0),
                ..shape()
            },
            Shape {
                answer: AnswerType::choice(vec!["a".into()]),
                ..shape()
            },
            Shape {
                api: Api::ChatCompletions,
                ..shape()
            },
            Shape {
                examples: vec![Example {
                    user: "hi".into(),
                    assistant: "hi".into(),
                }],
                ..shape()
            },
            Shape {
                assistant_prefix: Some("hi".into()),
                ..shape()
            },
            Shape {
                attachments: true,
                ..shape()
            },
        ];
        for rule in RULES {
            let base = key(&shape(), rule);
            for shape in &changed {
                assert_ne!(key(shape, rule), base, "{rule:?} {shape:?}");
            }
            assert_ne!(shape().keyer(rule).key("hi ", None), base);
            assert_ne!(shape().keyer(rule).key("hi", Some(b"")), base);
        }
        for shape in &changed {
            assert_ne!(shape.fingerprint(), super::tests::shape().fingerprint());
        }
    }

    #[test]
    fn the_limit_of_output_is_part_of_the_older_keys_and_of_no_other() {
        let longer = Shape {
            max_output_tokens: 17,
            ..shape()
        };
        let [with, without] = RULES.map(|rule| (key(&shape(), rule), key(&longer, rule)));
        assert_ne!(with.0, with.1);
        assert_eq!(without.0, without.1);
        // A trial of one limit says nothing of another.
        assert_ne!(shape().fingerprint(), longer.fingerprint());
    }

    #[test]
    fn a_row_id_and_a_prompt_do_not_run_into_each_other() {
        let keyer = shape().keyer(KeyRule::NEWEST);
        assert_ne!(keyer.key("bc", Some(b"a")), keyer.key("c", Some(b"ab")));
        let disguised = "\u{1}\0\0\0\0\0\0\0ab";
        assert_ne!(keyer.key(disguised, None), keyer.key("b", Some(b"a")));
    }

    /// What of a request may differ. Few values, so that two that are drawn are often the same.
    #[derive(Clone, Debug, PartialEq)]
    struct Drawn {
        shape: Shape,
        prompt: String,
        row_id: Option<Vec<u8>>,
    }

    prop_compose! {
        fn drawn()(
            service in "[ab]?", model in "[ab]?", system in prop::option::of("[ab]?"),
            max_output_tokens in 1u32..4, temperature in prop::option::of(prop::sample::select(vec![0.0, 0.1, 1.0])),
            param in prop::option::of(0i64..2), choices in prop::option::of(prop::collection::vec("[ab]", 1..3)),
            prompt in "[ab]{0,2}", row_id in prop::option::of(prop::collection::vec(0u8..2, 0..2)),
        ) -> Drawn {
            let params = param.map(|n| (LIMIT.to_owned(), n.into())).into_iter().collect();
            let answer = choices.map_or(AnswerType::Text, AnswerType::choice);
            let shape = Shape { service, model, system, max_output_tokens, temperature, params, answer, ..shape() };
            Drawn { shape, prompt, row_id }
        }
    }

    proptest! {
        /// Two requests share a key exactly where they ask the same: a hit pays for nothing twice, and
        /// gives no row another row's answer.
        #[test]
        fn keys_are_equal_exactly_where_the_requests_are(
            one in drawn(), other in drawn(), keep in prop::collection::vec(prop::bool::weighted(0.85), 9),
        ) {
            // Drawn apart they would hardly ever be the same.
            let mut other = other;
            let (from, to) = (one.clone(), &mut other);
            if keep[0] { to.shape.service = from.shape.service; }
            if keep[1] { to.shape.model = from.shape.model; }
            if keep[2] { to.shape.system = from.shape.system; }
            if keep[3] { to.shape.max_output_tokens = from.shape.max_output_tokens; }
            if keep[4] { to.shape.temperature = from.shape.temperature; }
            if keep[5] { to.shape.params = from.shape.params; }
            if keep[6] { to.shape.answer = from.shape.answer; }
            if keep[7] { to.prompt = from.prompt; }
            if keep[8] { to.row_id = from.row_id; }
            let key = |drawn: &Drawn, rule| drawn.shape.keyer(rule).key(&drawn.prompt, drawn.row_id.as_deref());
            let same = |rule| key(&one, rule) == key(&other, rule);
            prop_assert_eq!(same(KeyRule::WithLimit), one == other);
            let unlimited = |drawn: &Drawn| {
                let mut drawn = drawn.clone();
                drawn.shape.max_output_tokens = 0;
                drawn
            };
            prop_assert_eq!(same(KeyRule::WithoutLimit), unlimited(&one) == unlimited(&other));
            prop_assert_ne!(key(&one, KeyRule::WithLimit), key(&one, KeyRule::WithoutLimit));
            prop_assert_eq!(one.shape.fingerprint() == other.shape.fingerprint(), one.shape == other.shape);
        }
    }
}
