//! Chunks: how many requests go together, and how each is named.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What a provider takes in one batch, or less where the job asks for less.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Requests in one batch.
    pub requests_max: u64,
    /// Bytes of the body as it is sent.
    pub bytes_max: u64,
    /// Bytes of one request as it is sent.
    pub request_bytes_max: u64,
}

/// What one line may carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LineLimits {
    /// Inputs.
    pub inputs_max: u64,
    /// Tokens, roughly, of all inputs together.
    pub tokens_max: u64,
}

impl LineLimits {
    /// What a line may carry when its requests are sent for the `round`th time again. A line that fails does
    /// not say which of its inputs is at fault: they are sent again in smaller ones, and in the end alone.
    #[must_use]
    pub fn in_round(self, round: u32) -> LineLimits {
        let inputs_max = match round {
            0 => self.inputs_max,
            1 => self.inputs_max.min(SECOND_MAX),
            _ => 1,
        };
        LineLimits { inputs_max, ..self }
    }
}

/// Inputs of a line that is sent for the second time.
const SECOND_MAX: u64 = 32;

/// Fills chunks in order: says whether the next request still fits.
#[derive(Clone, Debug)]
pub struct Packer {
    limits: Limits,
    /// Bytes of the body's frame: what is sent even around no request.
    base: u64,
    count: u64,
    bytes: u64,
}

impl Packer {
    /// An empty chunk within `limits`, whose body has `base` bytes before any request.
    #[must_use]
    pub fn new(limits: Limits, base: u64) -> Self {
        Packer {
            limits,
            base,
            count: 0,
            bytes: base,
        }
    }

    /// Takes a request of `bytes` (its separator included) if it still fits. The first request
    /// always fits: what is too large for a batch of its own is refused before it gets here.
    pub fn take(&mut self, bytes: u64) -> bool {
        let fits = self.count < self.limits.requests_max
            && self.bytes.saturating_add(bytes) <= self.limits.bytes_max;
        if fits || self.count == 0 {
            self.count += 1;
            self.bytes += bytes;
            return true;
        }
        false
    }

    /// Starts the next chunk, which may have another size.
    pub fn reset(&mut self, requests_max: u64) {
        self.limits.requests_max = requests_max;
        (self.count, self.bytes) = (0, self.base);
    }

    /// Requests taken so far.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Bytes of the body so far.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

/// The name of a request within a batch: `<nonce>-<chunk>-<n>`, of fixed width.
///
/// The nonce belongs to one body, so that a result file can be recognised as ours by any one line;
/// the number says which request of the chunk it is, and is the only thing that rows are matched by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CustomId {
    prefix: String,
}

/// Digits of the chunk's number and of the request's number.
const DIGITS: usize = 6;

impl CustomId {
    /// Length of a nonce, in characters.
    pub const NONCE_LEN: usize = 12;
    /// Length of an id, in bytes.
    pub const LEN: usize = Self::NONCE_LEN + 1 + DIGITS + 1 + DIGITS;
    /// Requests that one body can name.
    pub const REQUESTS_MAX: u64 = 1_000_000;

    /// The ids of one body.
    #[must_use]
    pub fn new(nonce: &str, chunk: u64) -> Self {
        CustomId {
            prefix: format!("{nonce}-{chunk:0DIGITS$}-"),
        }
    }

    /// Appends the id of request `n` to `out`.
    pub fn write(&self, n: u64, out: &mut Vec<u8>) {
        out.extend_from_slice(self.prefix.as_bytes());
        let mut digits = [b'0'; DIGITS];
        let mut rest = n;
        for digit in digits.iter_mut().rev() {
            *digit = b'0' + u8::try_from(rest % 10).unwrap_or_default();
            rest /= 10;
        }
        out.extend_from_slice(&digits);
    }

    /// The number in `id`, if it is one of this body's `count` ids.
    #[must_use]
    pub fn number(&self, id: &str, count: u64) -> Option<u64> {
        let digits = id.strip_prefix(self.prefix.as_str())?;
        let wellformed = digits.len() == DIGITS && digits.bytes().all(|byte| byte.is_ascii_digit());
        digits.parse().ok().filter(|n| wellformed && *n < count)
    }

    /// Whether `id` carries `nonce`, whatever its chunk.
    #[must_use]
    pub fn carries(nonce: &str, id: &str) -> bool {
        id.strip_prefix(nonce)
            .is_some_and(|rest| rest.starts_with('-'))
    }
}

impl fmt::Display for CustomId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}*", self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pack(limits: Limits, base: u64, sizes: &[u64]) -> Vec<Vec<u64>> {
        let mut packer = Packer::new(limits, base);
        let mut chunks: Vec<Vec<u64>> = vec![Vec::new()];
        for size in sizes {
            if !packer.take(*size) {
                packer.reset(limits.requests_max);
                chunks.push(Vec::new());
                assert!(packer.take(*size), "an empty chunk takes any request");
            }
            chunks.last_mut().expect("never empty").push(*size);
        }
        chunks
    }

    proptest! {
        #[test]
        fn chunks_hold_everything_in_order_within_the_limits(
            sizes in prop::collection::vec(1u64..100, 0..200),
            requests_max in 1u64..20,
            bytes_max in 110u64..400,
            base in 0u64..10,
        ) {
            let limits = Limits { requests_max, bytes_max, request_bytes_max: 100 };
            let chunks = pack(limits, base, &sizes);
            prop_assert_eq!(chunks.concat(), sizes);
            for (at, chunk) in chunks.iter().enumerate() {
                let bytes = base + chunk.iter().sum::<u64>();
                prop_assert!(chunk.len() as u64 <= requests_max && bytes <= bytes_max);
                if let Some(next) = chunks.get(at + 1) {
                    let full = chunk.len() as u64 == requests_max || bytes + next[0] > bytes_max;
                    prop_assert!(full, "no chunk is cut before it is full");
                }
            }
        }

        #[test]
        fn an_id_is_read_back_by_its_own_body_alone(n in 0u64..100_000, chunk in 0u64..999_999) {
            let ids = CustomId::new("abcdefghjkmn", chunk);
            let mut id = Vec::new();
            ids.write(n, &mut id);
            let id = String::from_utf8(id).expect("ASCII");
            prop_assert_eq!(id.len(), CustomId::LEN);
            prop_assert_eq!(ids.number(&id, 100_000), Some(n));
            prop_assert_eq!(ids.number(&id, n), None);
            prop_assert_eq!(CustomId::new("abcdefghjkmm", chunk).number(&id, 100_000), None);
            prop_assert_eq!(CustomId::new("abcdefghjkmn", chunk + 1).number(&id, 100_000), None);
            prop_assert!(CustomId::carries("abcdefghjkmn", &id));
            prop_assert!(!CustomId::carries("abcdefghjkm", &id));
        }
    }

    #[test]
    fn what_only_looks_like_an_id_is_a_stranger() {
        let ids = CustomId::new("abcdefghjkmn", 3);
        for id in [
            "",
            "abcdefghjkmn-000003-",
            "abcdefghjkmn-000003-+00001",
            "abcdefghjkmn-000003-0000001",
        ] {
            assert_eq!(ids.number(id, 100), None, "{id}");
        }
    }

    #[test]
    fn lines_get_smaller_from_round_to_round() {
        let line = LineLimits {
            inputs_max: 512,
            tokens_max: 9,
        };
        let sizes = [0, 1, 2, 3].map(|round| line.in_round(round).inputs_max);
        assert_eq!(sizes, [512, 32, 1, 1]);
        let small = LineLimits {
            inputs_max: 7,
            ..line
        };
        assert_eq!(small.in_round(1).inputs_max, 7);
    }
}
