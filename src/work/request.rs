//! A request, and the key that says whether two requests are the same.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::AnswerType;
use crate::base::HashKey;

/// Which of a vendor's interfaces a request speaks; not whether it goes by batch or online.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Api {
    /// Anthropic's Messages.
    #[serde(rename = "messages")]
    Messages,
    /// OpenAI's Chat Completions, and its many relatives.
    #[serde(rename = "chat.completions")]
    ChatCompletions,
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
}

/// The version of the rule by which keys are made. Part of every key.
const KEY_VERSION: &str = "columnist request key 1";

impl Shape {
    /// What the keys of this shape's requests start from.
    #[must_use]
    pub fn keyer(&self) -> Keyer {
        let mut hasher = blake3::Hasher::new_derive_key(KEY_VERSION);
        // `Value` keeps its objects sorted, so that the order in which a job file names its
        // parameters does not matter.
        let canonical = serde_json::to_value(self).map(|value| value.to_string());
        hasher.update(canonical.unwrap_or_default().as_bytes());
        let shape = *hasher.finalize().as_bytes();
        // A whole block of SHA-256, so that it is hashed here and not with each prompt.
        let start = |mark| Sha256::new_with_prefix(shape).chain_update([mark; 32]);
        Keyer {
            shape,
            of_prompt: start(0),
            of_row: start(1),
        }
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
    shape: [u8; 32],
    /// The hash of the shape, to be gone on with by the prompt alone.
    of_prompt: Sha256,
    /// The same, to be gone on with by a row's id and the prompt.
    of_row: Sha256,
}

impl Keyer {
    /// The key of the request that asks `prompt`; with `row_id`, of that row's own request, which
    /// is never the same as another row's.
    #[must_use]
    pub fn key(&self, prompt: &str, row_id: Option<&[u8]>) -> RequestKey {
        let mut hasher = match row_id {
            None => self.of_prompt.clone(),
            Some(row_id) => self
                .of_row
                .clone()
                .chain_update((row_id.len() as u64).to_le_bytes())
                .chain_update(row_id),
        };
        hasher.update(prompt.as_bytes());
        let mut key = [0; RequestKey::LEN];
        key.copy_from_slice(&hasher.finalize()[..RequestKey::LEN]);
        RequestKey(key)
    }

    /// A fingerprint of the shape: the same shape, the same text, in hexadecimal.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        blake3::Hash::from_bytes(self.shape).to_hex()[..16].to_owned()
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
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        }
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
        assert_eq!(a.keyer().key("hi", None), b.keyer().key("hi", None));
    }

    #[test]
    fn whatever_changes_the_request_changes_the_key() {
        let base = shape().keyer().key("hi", None);
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
                max_output_tokens: 17,
                ..shape()
            },
            Shape {
                temperature: Some(0.0),
                ..shape()
            },
            Shape {
                answer: AnswerType::Choice(vec!["a".into()]),
                ..shape()
            },
            Shape {
                api: Api::ChatCompletions,
                ..shape()
            },
        ];
        for shape in changed {
            assert_ne!(shape.keyer().key("hi", None), base, "{shape:?}");
        }
        assert_ne!(shape().keyer().key("hi ", None), base);
        assert_ne!(shape().keyer().key("hi", Some(b"")), base);
    }

    #[test]
    fn a_row_id_and_a_prompt_do_not_run_into_each_other() {
        let keyer = shape().keyer();
        assert_ne!(keyer.key("bc", Some(b"a")), keyer.key("c", Some(b"ab")));
        let disguised = "\u{1}\0\0\0\0\0\0\0ab";
        assert_ne!(keyer.key(disguised, None), keyer.key("b", Some(b"a")));
    }
}
