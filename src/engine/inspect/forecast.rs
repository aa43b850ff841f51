//! What the provider's prompt cache is expected to do for a plan, and why.

use crate::engine::decide::cache::{CacheChoice, CachePolicy, PRIMER};
use crate::work::price::{Pricing, micro_usd, saved};
use crate::work::{CacheTerms, CacheUse};

/// What a run would do about the provider's cache.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CacheForecast {
    /// What requests would say of it, if anything.
    pub uses: Option<CacheUse>,
    /// Tokens of what all requests share, about.
    pub prefix_tokens: u64,
    /// From how many tokens on the model caches, where that is known.
    pub cached_min: Option<u64>,
    /// Requests that would go before the others.
    pub primer: u64,
    /// What that is expected to save, in millionths of a US dollar; less than nothing, if a person asks for
    /// what does not pay.
    pub saved_micros: Option<i64>,
    /// What it may cost at most beyond what is paid without a cache.
    pub extra_micros: u64,
    /// Why.
    pub why: String,
}

impl CacheForecast {
    /// What `choice` comes to for so many requests.
    pub(crate) fn of(choice: &CacheChoice, requests: u64) -> CacheForecast {
        let forecast = CacheForecast {
            prefix_tokens: choice.prefix_tokens,
            cached_min: choice.cached_min,
            why: choice.why.clone().unwrap_or_default(),
            ..CacheForecast::default()
        };
        match &choice.policy {
            CachePolicy::Nothing => forecast,
            CachePolicy::Always(uses) => {
                let terms = choice.terms.filter(|_| *uses == CacheUse::Key);
                let extra = terms.map_or(0, |terms| extra(&terms, requests));
                CacheForecast {
                    uses: Some(*uses),
                    extra_micros: micro_usd(extra),
                    why: always(*uses, extra > 0),
                    ..forecast
                }
            }
            CachePolicy::Marked { kept, terms, .. } => {
                let from = choice.policy.worth_from(PRIMER);
                if from.is_none_or(|from| requests < from) {
                    let why = too_few(requests, from);
                    return CacheForecast { why, ..forecast };
                }
                marked(*kept, terms.as_ref(), requests, forecast)
            }
        }
    }

    /// The same, without sums of money where no list price says what is paid: there is none, or nobody here
    /// knows it.
    pub(crate) fn priced(self, pricing: Pricing) -> CacheForecast {
        match pricing {
            Pricing::Listed(_) => self,
            Pricing::Free | Pricing::Unknown => CacheForecast {
                saved_micros: None,
                extra_micros: 0,
                ..self
            },
        }
    }
}

fn always(uses: CacheUse, is_charged: bool) -> String {
    if uses == CacheUse::Off {
        return "`prompt.cache` is off, and the provider is told not to cache by itself: it charges for \
                what it writes"
            .to_owned();
    }
    let key = "the provider caches by itself what requests begin with; they bear one key, so that they meet \
               the same cache";
    if is_charged {
        format!(
            "{key}; it charges for what it writes, and those that begin together may all write: `cache = \
             \"off\"` spares that"
        )
    } else {
        key.to_owned()
    }
}

/// What `requests` cost at most beyond what they cost without a cache, in pico-USD.
fn extra(terms: &CacheTerms, requests: u64) -> u128 {
    terms.worst(requests) - terms.plain(requests)
}

fn too_few(requests: u64, from: Option<u64>) -> String {
    match from {
        Some(from) => format!("{requests} requests are too few: it pays from {from} on"),
        None => "reading from the cache would save nothing".to_owned(),
    }
}

/// What it comes to where `requests` mark what they share, and what else there is to say.
fn marked(
    kept: CacheUse,
    terms: Option<&CacheTerms>,
    requests: u64,
    forecast: CacheForecast,
) -> CacheForecast {
    let expected = terms.map(|terms| {
        let (hits, price) = (terms.hits_percent(), terms.read_percent());
        format!(
            "{hits} % of the others are expected to read it, at {price} % of the price of input"
        )
    });
    let first = "one request goes first and writes what all share".to_owned();
    let more = Some(forecast.why).filter(|why| !why.is_empty());
    let why: Vec<String> = [Some(first), expected, more]
        .into_iter()
        .flatten()
        .collect();
    CacheForecast {
        uses: Some(kept),
        primer: PRIMER,
        saved_micros: terms
            .map(|terms| saved(terms.plain(requests), terms.cached(requests, PRIMER))),
        extra_micros: micro_usd(terms.map_or(0, |terms| extra(terms, requests))),
        why: why.join("; "),
        ..forecast
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::CacheSetting;
    use crate::work::{CacheStyle, Prefix};

    fn of(
        setting: CacheSetting,
        (style, bytes): (CacheStyle, u64),
        model: (&str, &str),
        requests: u64,
    ) -> CacheForecast {
        let prefix = Prefix {
            style,
            bytes,
            is_own: false,
        };
        let choice = CacheChoice::of(setting, prefix, model).expect("a choice");
        CacheForecast::of(&choice, requests)
    }

    const HAIKU: (&str, &str) = ("anthropic", "claude-haiku-4-5");
    const LUNA: (&str, &str) = ("openai", "gpt-6-luna");
    const MARKED: CacheStyle = CacheStyle::Marked;

    #[test]
    fn it_is_said_what_the_cache_is_expected_to_save() {
        // 20,000 bytes are about 5,000 tokens: as in the table of `work/caching.rs`, 100 requests cost
        // 0.25 USD plain and 0.076775 USD behind a primer, and 0.50 USD where each writes.
        let auto = of(CacheSetting::Auto, (MARKED, 20_000), HAIKU, 100);
        assert_eq!(auto.uses, Some(CacheUse::Hour));
        assert_eq!((auto.prefix_tokens, auto.cached_min), (5_000, Some(4_096)));
        assert_eq!(
            (auto.saved_micros, auto.extra_micros),
            (Some(173_225), 250_000)
        );
        assert_eq!(auto.primer, 1);
        assert!(
            auto.why.contains("90 %") && auto.why.contains("at 10 %"),
            "{}",
            auto.why
        );
        let minutes = of(CacheSetting::Minutes, (MARKED, 20_000), HAIKU, 100);
        // 0.25 USD less 0.2271125 USD.
        assert_eq!(minutes.saved_micros, Some(22_887));
    }

    #[track_caller]
    fn nothing(forecast: &CacheForecast, why: &str) {
        assert_eq!((forecast.uses, forecast.primer), (None, 0), "{forecast:?}");
        assert!(forecast.why.contains(why), "{}", forecast.why);
    }

    #[test]
    fn where_it_does_not_pay_the_reason_is_said() {
        let auto = CacheSetting::Auto;
        nothing(
            &of(auto, (MARKED, 20_000), HAIKU, 8),
            "8 requests are too few: it pays from 9 on",
        );
        nothing(
            &of(auto, (MARKED, 4_095 * 4), HAIKU, 1_000_000),
            "about 4095 tokens, and claude-haiku-4-5 caches from 4096 on",
        );
        nothing(&of(auto, (MARKED, 0), HAIKU, 100), "share no system prompt");
        nothing(
            &of(auto, (MARKED, 20_000), ("anthropic", "claude-next"), 100),
            "knows no prices of `claude-next`",
        );
        nothing(
            &of(CacheSetting::Off, (MARKED, 20_000), HAIKU, 100),
            "is off",
        );
        // A server of one's own is told nothing that only the vendor knows.
        nothing(
            &of(
                auto,
                (CacheStyle::Automatic, 20_000),
                ("openai", "llama"),
                100,
            ),
            "knows no prices of `llama`",
        );
        let own = Prefix {
            style: MARKED,
            bytes: 20_000,
            is_own: true,
        };
        let choice = CacheChoice::of(auto, own, HAIKU).expect("a choice");
        nothing(
            &CacheForecast::of(&choice, 100),
            "`model.params` says itself",
        );
    }

    #[test]
    fn a_person_may_ask_for_what_cannot_be_reckoned() {
        let short = of(CacheSetting::Hour, (MARKED, 400), HAIKU, 2);
        assert_eq!((short.uses, short.primer), (Some(CacheUse::Hour), 1));
        // Two requests of 100 tokens: 100 uUSD plain; 100 for the primer and 14.5 behind it.
        assert_eq!(short.saved_micros, Some(-15));
        assert!(short.why.contains("it may do nothing"), "{}", short.why);
        let unknown = of(
            CacheSetting::Hour,
            (MARKED, 20_000),
            ("anthropic", "claude-next"),
            2,
        );
        assert_eq!(
            (unknown.uses, unknown.saved_micros),
            (Some(CacheUse::Hour), None)
        );
    }

    #[test]
    fn a_provider_that_caches_by_itself_is_told_what_it_can_be_told() {
        let automatic =
            |setting, bytes, model| of(setting, (CacheStyle::Automatic, bytes), model, 10);
        let key = automatic(CacheSetting::Auto, 1_024 * 4, LUNA);
        assert_eq!((key.uses, key.primer), (Some(CacheUse::Key), 0));
        // If all write: 10 * 1,024 tokens at 0.0125 uUSD more than the 0.05 of plain input.
        assert_eq!(key.extra_micros, 128);
        assert!(
            key.why.contains("`cache = \"off\"` spares that"),
            "{}",
            key.why
        );
        let mini = automatic(CacheSetting::Auto, 2_048 * 4, ("openai", "gpt-5-mini"));
        assert_eq!((mini.uses, mini.extra_micros), (Some(CacheUse::Key), 0));
        assert!(!mini.why.contains("charges"), "{}", mini.why);
        nothing(
            &automatic(CacheSetting::Auto, 1_024 * 4 - 1, LUNA),
            "from 1024 on",
        );
        nothing(
            &automatic(CacheSetting::Auto, 2_048 * 4 - 1, ("openai", "gpt-5-mini")),
            "from 2048 on",
        );
        // It charges for what it writes.
        assert_eq!(
            automatic(CacheSetting::Off, 0, LUNA).uses,
            Some(CacheUse::Off)
        );
        nothing(
            &automatic(CacheSetting::Off, 0, ("openai", "gpt-5-mini")),
            "is off",
        );
        let prefix = Prefix {
            style: CacheStyle::Automatic,
            bytes: 9_000,
            is_own: false,
        };
        let error = CacheChoice::of(CacheSetting::Hour, prefix, LUNA).expect_err("no such life");
        assert!(error.hint_text().is_some_and(|hint| hint.contains("auto")));
    }
}
