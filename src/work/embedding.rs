//! Embeddings: what is known of models that make them, and of texts that are too long for one.

use serde::{Deserialize, Serialize};

use super::caching::BYTES_PER_TOKEN;

/// A model whose vectors are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EmbeddingModel {
    /// Its name, without whoever serves it.
    pub name: &'static str,
    /// Numbers in a vector, where no other length is asked for.
    pub dimensions: u32,
    /// Whether shorter vectors can be asked for.
    pub shortens: bool,
    /// The most tokens that an input may have.
    pub tokens_max: u64,
}

const fn model(
    name: &'static str,
    dimensions: u32,
    shortens: bool,
    tokens_max: u64,
) -> EmbeddingModel {
    EmbeddingModel {
        name,
        dimensions,
        shortens,
        tokens_max,
    }
}

/// A name says what a model is, whoever serves it: a proxy serves the vendors' models under theirs.
const MODELS: [EmbeddingModel; 7] = [
    model("text-embedding-3-small", 1_536, true, 8_191),
    model("text-embedding-3-large", 3_072, true, 8_191),
    model("text-embedding-ada-002", 1_536, false, 8_191),
    model("gemini-embedding-001", 3_072, false, 2_048),
    model("gemini-embedding-2", 3_072, false, 8_192),
    model("mistral-embed", 1_024, false, 8_192),
    model("codestral-embed", 1_536, false, 8_192),
];

/// What the sandbox makes of a model that has no vendor: vectors of any length up to this.
const ANY: EmbeddingModel = model("", 1_536, true, 8_191);

impl EmbeddingModel {
    /// What is known of `model`, whoever's folder stands before its name.
    #[must_use]
    pub fn of(model: &str) -> Option<&'static EmbeddingModel> {
        let name = model.rsplit('/').next().unwrap_or(model);
        MODELS.iter().find(|known| known.name == name)
    }

    /// The same where the sandbox serves it, which embeds by whatever name.
    #[must_use]
    pub fn in_sandbox(model: &str) -> &'static EmbeddingModel {
        EmbeddingModel::of(model).unwrap_or(&ANY)
    }

    /// The names of all that are known.
    pub fn names() -> impl Iterator<Item = &'static str> {
        MODELS.iter().map(|model| model.name)
    }
}

/// How exactly a column of vectors holds their numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// In 32 bits, as they come.
    #[default]
    Single,
    /// In 16 bits.
    Half,
}

/// What becomes of a text that is too long for the model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TooLong {
    /// Its row fails, and the others go on.
    #[default]
    Fail,
    /// Its beginning is embedded.
    Truncate,
    /// Its pieces are embedded, and their vectors averaged.
    Average,
}

/// Which texts are too long, and what becomes of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InputRule {
    /// What becomes of a text that is too long.
    pub too_long: TooLong,
    /// Tokens, as [`tokens_of`] counts them, that an input may have.
    pub tokens_max: u64,
    /// Tokens that the inputs of one request may have together.
    pub together_max: u64,
}

/// Whether a text can be embedded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InputFit<'t> {
    /// This much of it is asked for: all, or its beginning.
    Asks(&'t str),
    /// It is too long.
    TooLong,
}

/// Roughly how many tokens `text` has: one for each four bytes of ASCII, and one for each other character.
#[must_use]
pub fn tokens_of(text: &str) -> u64 {
    let (ascii, others) = weigh(text.as_bytes());
    ascii.div_ceil(BYTES_PER_TOKEN) + others
}

/// ASCII bytes, and characters that are others.
fn weigh(bytes: &[u8]) -> (u64, u64) {
    let is_ascii = |byte: &u8| *byte < 0x80;
    let ascii = bytes.iter().filter(|byte| is_ascii(byte)).count() as u64;
    // The bytes of a character after its first begin with the bits 10.
    let starts = bytes.iter().filter(|byte| **byte >= 0xc0).count() as u64;
    (ascii, starts)
}

/// What of the limit a piece may have. The count of tokens is a rough one, and a piece that is denser than
/// most texts has to fit as well.
const PIECE_QUARTERS: u64 = 3;

impl InputRule {
    /// How much of `text` is asked for.
    #[must_use]
    pub fn fit<'t>(&self, text: &'t str) -> InputFit<'t> {
        // No text has more tokens than bytes.
        if text.len() as u64 <= self.tokens_max {
            return InputFit::Asks(text);
        }
        let tokens = tokens_of(text);
        match self.too_long {
            _ if tokens <= self.tokens_max => InputFit::Asks(text),
            TooLong::Truncate => InputFit::Asks(&text[..beginning(text, self.piece_max())]),
            TooLong::Average if tokens <= self.together_max => InputFit::Asks(text),
            TooLong::Fail | TooLong::Average => InputFit::TooLong,
        }
    }

    /// The lengths in bytes of the inputs that `text` is sent as: its own, or those of its pieces, of which
    /// each but the last is as long as it may be and ends at a blank where there is one near.
    pub fn pieces(&self, text: &str, lens: &mut Vec<u32>) {
        lens.clear();
        let mut rest = text;
        let is_long = text.len() as u64 > self.tokens_max && tokens_of(text) > self.tokens_max;
        while is_long && tokens_of(rest) > self.piece_max() {
            let end = near_blank(rest, beginning(rest, self.piece_max()));
            lens.push(length(end));
            rest = &rest[end..];
        }
        if !rest.is_empty() || lens.is_empty() {
            lens.push(length(rest.len()));
        }
    }

    fn piece_max(&self) -> u64 {
        (self.tokens_max * PIECE_QUARTERS / 4).max(1)
    }
}

fn length(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

/// The end of the longest beginning of `text` that has no more than so many tokens; at least a character.
fn beginning(text: &str, tokens_max: u64) -> usize {
    let (mut ascii, mut others) = (0, 0);
    for (at, c) in text.char_indices() {
        if c.is_ascii() {
            ascii += 1;
        } else {
            others += 1;
        }
        if u64::div_ceil(ascii, BYTES_PER_TOKEN) + others > tokens_max && at > 0 {
            return at;
        }
    }
    text.len()
}

/// The end of the last blank in the last eighth before `end`; `end` itself where there is none.
fn near_blank(text: &str, end: usize) -> usize {
    let head = &text[..end];
    let blank = head
        .char_indices()
        .rev()
        .take_while(|(at, _)| *at > end - end / 8)
        .find(|(_, c)| c.is_whitespace());
    blank.map_or(end, |(at, c)| at + c.len_utf8())
}

/// `total` divided in the proportion of `weights`: each part is rounded down, and what is left goes one
/// by one to those that lost most. So the parts sum to it exactly.
#[must_use]
pub fn divided(total: u64, weights: &[u64]) -> Vec<u64> {
    let whole: u128 = weights.iter().map(|weight| u128::from(*weight)).sum();
    let even = whole == 0;
    let whole = if even { weights.len() as u128 } else { whole };
    let share = |weight: &u64| u128::from(total) * if even { 1 } else { u128::from(*weight) };
    let parts = weights.iter().map(|weight| share(weight) / whole.max(1));
    let mut parts: Vec<u64> = parts
        .map(|part| u64::try_from(part).unwrap_or(u64::MAX))
        .collect();
    let left = total - parts.iter().sum::<u64>();
    let mut order: Vec<usize> = (0..weights.len()).collect();
    order.sort_by_key(|at| std::cmp::Reverse(share(&weights[*at]) % whole.max(1)));
    for at in order
        .into_iter()
        .take(usize::try_from(left).unwrap_or(usize::MAX))
    {
        parts[at] += 1;
    }
    parts
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rule(too_long: TooLong, tokens_max: u64) -> InputRule {
        InputRule {
            too_long,
            tokens_max,
            together_max: 100 * tokens_max,
        }
    }

    #[test]
    fn tokens_are_quarters_of_ascii_and_whole_characters_of_all_else() {
        for (text, tokens) in [
            ("", 0),
            ("a", 1),
            ("abcd", 1),
            ("abcde", 2),
            ("日本", 2),
            ("éa", 2),
        ] {
            assert_eq!(tokens_of(text), tokens, "{text}");
        }
    }

    #[test]
    fn a_model_is_known_by_its_name_whoever_serves_it() {
        let dimensions = |name| EmbeddingModel::of(name).map(|model| model.dimensions);
        assert_eq!(dimensions("text-embedding-3-large"), Some(3072));
        assert_eq!(dimensions("openai/text-embedding-3-small"), Some(1536));
        assert_eq!(dimensions("gpt-6-luna"), None);
        assert_eq!(EmbeddingModel::in_sandbox("any").dimensions, 1536);
    }

    #[test]
    fn a_text_at_the_limit_is_whole_and_one_beyond_it_is_what_the_job_says() {
        let at = "abcd".repeat(8);
        let beyond = format!("{at}e");
        for too_long in [TooLong::Fail, TooLong::Truncate, TooLong::Average] {
            assert_eq!(rule(too_long, 8).fit(&at), InputFit::Asks(&at));
        }
        assert_eq!(rule(TooLong::Fail, 8).fit(&beyond), InputFit::TooLong);
        assert_eq!(
            rule(TooLong::Truncate, 8).fit(&beyond),
            InputFit::Asks(&at[..24])
        );
        assert_eq!(
            rule(TooLong::Average, 8).fit(&beyond),
            InputFit::Asks(&beyond)
        );
        let far = "abcd".repeat(801);
        assert_eq!(rule(TooLong::Average, 8).fit(&far), InputFit::TooLong);
    }

    proptest! {
        #[test]
        fn pieces_are_the_text_and_none_is_too_long(text in "(?s)[a-z éя日\n\u{1f600}]{0,400}", tokens_max in 1u64..40) {
            let rule = rule(TooLong::Average, tokens_max);
            let mut lens = Vec::new();
            rule.pieces(&text, &mut lens);
            let sum: usize = lens.iter().map(|len| *len as usize).sum();
            prop_assert_eq!(sum, text.len());
            prop_assert!(!lens.is_empty());
            let mut rest = text.as_str();
            for len in &lens {
                let (piece, after) = rest.split_at(*len as usize);
                prop_assert!(tokens_of(piece) <= tokens_max || piece.chars().count() == 1);
                prop_assert!(!piece.is_empty() || text.is_empty());
                rest = after;
            }
            prop_assert_eq!(lens.len() == 1, tokens_of(&text) <= tokens_max || text.chars().count() == 1);
        }

        #[test]
        fn what_is_cut_is_a_beginning_that_fits(text in "(?s)[a-z éя日\n]{0,400}", tokens_max in 1u64..40) {
            match rule(TooLong::Truncate, tokens_max).fit(&text) {
                InputFit::Asks(part) => {
                    prop_assert!(text.starts_with(part));
                    prop_assert!(tokens_of(part) <= tokens_max);
                    prop_assert_eq!(part.len() == text.len(), tokens_of(&text) <= tokens_max);
                }
                InputFit::TooLong => prop_assert!(false, "it is cut"),
            }
        }

        #[test]
        fn parts_sum_to_the_whole_and_none_is_off_by_one(
            total in 0u64..100_000, weights in prop::collection::vec(0u64..5000, 1..50),
        ) {
            let parts = divided(total, &weights);
            prop_assert_eq!(parts.iter().sum::<u64>(), total);
            let whole: u64 = weights.iter().sum();
            for (part, weight) in parts.iter().zip(&weights) {
                let floor = (total * weight).checked_div(whole).unwrap_or(total / weights.len() as u64);
                prop_assert!(*part == floor || *part == floor + 1, "{part} of {floor}");
            }
        }
    }

    #[test]
    fn what_is_left_goes_to_those_that_lost_most() {
        assert_eq!(divided(10, &[1, 1, 1]), [4, 3, 3]);
        assert_eq!(divided(10, &[5, 3, 1]), [6, 3, 1]);
        assert_eq!(divided(1, &[1, 3]), [0, 1]);
        assert_eq!(divided(3, &[0, 0]), [2, 1]);
        assert_eq!(
            divided(u64::MAX, &[u64::MAX, u64::MAX])
                .iter()
                .map(|n| u128::from(*n))
                .sum::<u128>(),
            u128::from(u64::MAX)
        );
    }
}
