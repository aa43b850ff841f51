//! What a provider's prompt cache is worth. Pure arithmetic; names no vendor.
//!
//! What all requests of a plan begin with (the *prefix*) can be cached. Writing it costs more than plain
//! input, reading it a fraction; and it can be read only once the first response to it has begun, so that
//! requests which go together, before it is there, all write it. So one request goes first, as a batch of
//! its own (the *primer*), and the others when that has ended.
//!
//! In rates per token of the prefix, of `n` requests of which `cold` go before it can be read:
//!
//! ```text
//! plain    n * input
//! cached   cold * write + (n - cold) * (hits * read + (1 - hits) * write)
//! ```

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::price::Rates;

/// Bytes of text that make a token, roughly, in the languages of most tables. The one place that says so:
/// what is counted before anything is sent is counted by this.
pub const BYTES_PER_TOKEN: u64 = 4;

/// Tokens of so many bytes of text.
#[must_use]
pub fn tokens_of(bytes: u64) -> u64 {
    bytes / BYTES_PER_TOKEN
}

/// What requests say of the provider's cache. It is part of a body, and of no request key: the answer is
/// the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CacheUse {
    /// The end of the prefix is marked; what is before it is kept for five minutes after its last use.
    #[serde(rename = "5m")]
    Minutes,
    /// The same, for an hour.
    #[serde(rename = "1h")]
    Hour,
    /// Requests with the same prefix bear the same key, so that they meet the same cache.
    #[serde(rename = "key")]
    Key,
    /// The provider is told not to cache by itself.
    #[serde(rename = "off")]
    Off,
}

impl CacheUse {
    /// How long an entry is kept after its last use, where the prefix is marked.
    #[must_use]
    pub fn life(self) -> Option<Duration> {
        match self {
            CacheUse::Minutes => Some(Duration::from_mins(5)),
            CacheUse::Hour => Some(Duration::from_hours(1)),
            CacheUse::Key | CacheUse::Off => None,
        }
    }

    /// The word of the job file and of the ledger.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            CacheUse::Minutes => "5m",
            CacheUse::Hour => "1h",
            CacheUse::Key => "key",
            CacheUse::Off => "off",
        }
    }
}

/// How a provider's cache is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheStyle {
    /// It caches by itself, and can be told which requests begin alike.
    Automatic,
    /// Requests mark where their prefix ends.
    Marked,
}

/// What all requests of a shape begin with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefix {
    /// How the provider's cache is used.
    pub style: CacheStyle,
    /// Bytes of its text.
    pub bytes: u64,
    /// Whether the job itself says what is cached, in the parameters that are passed through.
    pub is_own: bool,
}

/// Of a hundred requests behind a primer, those that are expected to read what it wrote. One team measured
/// a hundred in ten batches; vendors promise nothing, and users report 30 to 98.
const HITS_OF_HOUR: u64 = 90;
/// The same where an entry is gone five minutes after its last use: a batch usually lasts longer, and may
/// begin later.
const HITS_OF_MINUTES: u64 = 30;

/// The least that caching must be expected to save, in pico-USD: one US cent. Less is not worth waiting for
/// a batch of one request.
const SAVING_MIN: u128 = 10_000_000_000;

/// The terms on which a prefix is cached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheTerms {
    /// Rate of a token that is neither read from the cache nor written to it, in pico-USD.
    input: u64,
    /// Rate of a token that is written.
    write: u64,
    /// Rate of a token that is read.
    read: u64,
    /// Of a hundred requests behind the primer, those that are expected to read it.
    hits: u64,
    /// Tokens of the prefix.
    tokens: u64,
}

impl CacheTerms {
    /// The terms of a prefix of `tokens`, kept for the life of `kept`, at `rates`.
    #[must_use]
    pub fn new(kept: CacheUse, rates: Rates, tokens: u64) -> CacheTerms {
        let (write, hits) = match kept {
            CacheUse::Hour => (rates.cache_write_1h, HITS_OF_HOUR),
            _ => (rates.cache_write_5m, HITS_OF_MINUTES),
        };
        CacheTerms {
            input: rates.input,
            write,
            read: rates.cache_read,
            hits,
            tokens,
        }
    }

    /// What the prefixes of `requests` cost without a cache, in pico-USD.
    #[must_use]
    pub fn plain(&self, requests: u64) -> u128 {
        u128::from(self.tokens) * u128::from(requests) * u128::from(self.input)
    }

    /// What they are expected to cost with one, where `cold` of them go before it can be read; rounded up.
    #[must_use]
    pub fn cached(&self, requests: u64, cold: u64) -> u128 {
        let cold = cold.min(requests);
        let hundredths = u128::from(cold) * 100 * u128::from(self.write)
            + u128::from(requests - cold) * self.behind();
        (hundredths * u128::from(self.tokens)).div_ceil(100)
    }

    /// What they cost at most: none reads what another wrote.
    #[must_use]
    pub fn worst(&self, requests: u64) -> u128 {
        let most = self.write.max(self.input);
        u128::from(self.tokens) * u128::from(requests) * u128::from(most)
    }

    /// Of a hundred requests behind the primer, those that are expected to read what it wrote.
    #[must_use]
    pub fn hits_percent(&self) -> u64 {
        self.hits
    }

    /// What a token that is read costs, in percent of one that is plain input.
    #[must_use]
    pub fn read_percent(&self) -> u64 {
        (self.read * 100).checked_div(self.input).unwrap_or(100)
    }

    /// The expected rate of a token behind the primer, in hundredths.
    fn behind(&self) -> u128 {
        let (hits, misses) = (u128::from(self.hits), u128::from(100 - self.hits));
        hits * u128::from(self.read) + misses * u128::from(self.write)
    }

    /// From how many requests on, of which `cold` go first, caching is expected to pay; nothing, if however
    /// many they are it does not.
    #[must_use]
    pub fn worth_from(&self, cold: u64) -> Option<u64> {
        // Each request behind the primer gains this much, and each before it loses: in hundredths.
        let gain = (u128::from(self.input) * 100).checked_sub(self.behind())?;
        if gain == 0 || self.tokens == 0 {
            return None;
        }
        let lost = u128::from(cold) * (100 * u128::from(self.write)).saturating_sub(self.behind());
        let wanted = (SAVING_MIN * 100).div_ceil(u128::from(self.tokens));
        let requests = (lost + wanted).div_ceil(gain);
        Some(u64::try_from(requests).unwrap_or(u64::MAX).max(cold + 1))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// In USD per million tokens, times a million.
    fn rates(input: u64, minutes: u64, hour: u64, read: u64) -> Rates {
        Rates {
            input,
            cache_read: read,
            cache_write_5m: minutes,
            cache_write_1h: hour,
            output: 0,
        }
    }

    /// Of claude-haiku-4-5 in a batch: 0.50, writes 0.625 and 1.00, reads 0.05 USD per million tokens.
    fn haiku() -> Rates {
        rates(500_000, 625_000, 1_000_000, 50_000)
    }

    #[test]
    fn the_cost_of_a_prefix_is_that_of_the_sum() {
        let hour = CacheTerms::new(CacheUse::Hour, haiku(), 5_000);
        // 5,000 tokens * 100 requests * 0.5 uUSD = 0.25 USD.
        assert_eq!(hour.plain(100), 250_000_000_000);
        // The primer: 5,000 * 1.0 = 5,000 uUSD. A request behind it: 5,000 * (0.9 * 0.05 + 0.1 * 1.0)
        // = 5,000 * 0.145 = 725 uUSD, 99 times: 71,775 uUSD. In all 76,775 uUSD.
        assert_eq!(hour.cached(100, 1), 76_775_000_000);
        // Where all go together all write: 100 * 5,000 uUSD = 0.50 USD, twice the plain price.
        assert_eq!(hour.cached(100, 100), 500_000_000_000);
        assert_eq!(hour.worst(100), 500_000_000_000);
        let minutes = CacheTerms::new(CacheUse::Minutes, haiku(), 5_000);
        // 5,000 * 0.625 = 3,125 uUSD, and 99 * 5,000 * (0.3 * 0.05 + 0.7 * 0.625) = 99 * 2,262.5 uUSD
        // = 223,987.5 uUSD. In all 227,112.5 uUSD.
        assert_eq!(minutes.cached(100, 1), 227_112_500_000);
    }

    #[test]
    fn it_pays_from_the_request_on_that_earns_a_cent() {
        let check = |kept, rates, tokens, cold, from| {
            let terms = CacheTerms::new(kept, rates, tokens);
            assert_eq!(terms.worth_from(cold), from, "{kept:?} {tokens} {cold}");
        };
        // A request behind the primer gains 5,000 * (0.5 - 0.145) = 1,775 uUSD. The primer loses
        // 5,000 * (1.0 - 0.145) = 4,275 uUSD against one behind it; with the cent 14,275 uUSD are to be
        // gained: 8.04 requests.
        check(CacheUse::Hour, haiku(), 5_000, 1, Some(9));
        // Three that go first, as a trial does: 3 * 4,275 + 10,000 = 22,825 uUSD: 12.9 requests.
        check(CacheUse::Hour, haiku(), 5_000, 3, Some(13));
        // 5,000 * (0.5 - 0.4525) = 237.5 uUSD of gain, 5,000 * (0.625 - 0.4525) = 862.5 uUSD of loss:
        // 10,862.5 / 237.5 = 45.7 requests.
        check(CacheUse::Minutes, haiku(), 5_000, 1, Some(46));
        // A long rubric for a dear model earns a cent at once: 50,000 * (5 - 0.1 * 10 - 0.9 * 0.125)
        // = 194,375 uUSD a request; 50,000 * (10 - 1.1125) = 444,375 uUSD lost: 2.3 requests.
        let fable = rates(5_000_000, 6_250_000, 10_000_000, 125_000);
        check(CacheUse::Hour, fable, 50_000, 1, Some(3));
        // Where a read costs as much as plain input, nothing is gained.
        let flat = rates(500_000, 500_000, 500_000, 500_000);
        check(CacheUse::Hour, flat, 5_000, 1, None);
        check(CacheUse::Hour, haiku(), 0, 1, None);
        // Where nothing costs anything, nothing is gained either.
        check(CacheUse::Hour, rates(0, 0, 0, 0), 5_000, 1, None);
    }

    proptest! {
        /// Where caching is said to pay, it is expected to cost less than none, by a cent at least; and one
        /// request fewer would not earn that.
        #[test]
        fn what_is_said_to_pay_costs_less_than_no_cache(
            input in 0u64..20_000_000, minutes in 0u64..40_000_000, hour in 0u64..40_000_000,
            read in 0u64..20_000_000, tokens in 0u64..1_000_000, cold in 1u64..4, more in 0u64..1_000_000,
            is_hour in any::<bool>(),
        ) {
            let kept = if is_hour { CacheUse::Hour } else { CacheUse::Minutes };
            let terms = CacheTerms::new(kept, rates(input, minutes, hour, read), tokens);
            if let Some(from) = terms.worth_from(cold) {
                let requests = from.saturating_add(more);
                prop_assert!(terms.cached(requests, cold) + SAVING_MIN <= terms.plain(requests) + 1);
                // A write that costs less than a read is no vendor's, and is not reckoned with.
                let write = if is_hour { hour } else { minutes };
                if from > cold + 1 && read <= write {
                    prop_assert!(terms.cached(from - 1, cold) + SAVING_MIN > terms.plain(from - 1));
                }
            }
        }

        #[test]
        fn nothing_costs_more_than_the_worst(
            requests in 0u64..1_000_000, cold in 0u64..10, tokens in 0u64..1_000_000,
        ) {
            for kept in [CacheUse::Minutes, CacheUse::Hour] {
                let terms = CacheTerms::new(kept, haiku(), tokens);
                prop_assert!(terms.cached(requests, cold) <= terms.worst(requests));
            }
        }
    }
}
