//! What tokens cost: the vendors' list prices, as of [`AS_OF`].
//!
//! Prices are data. A model that is not listed has no price, which is not a price of zero: whoever
//! adds up must say that something is missing.
//!
//! Everything is an exact integer. A rate is in micro-USD per million tokens, which is the same
//! number in pico-USD per token; so a cost is a sum of products, in pico-USD, without rounding.

use super::Usage;

/// The month in which the prices held.
pub const AS_OF: &str = "2026-11";

/// Pico-USD in a micro-USD.
const PICOS_PER_MICRO: u128 = 1_000_000;

/// Rates by class of token, in micro-USD per million tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rates {
    /// Input that is neither read from a cache nor written to one.
    pub input: u64,
    /// Input read from a cache.
    pub cache_read: u64,
    /// Input written to a cache of five minutes, or of no stated life.
    pub cache_write_5m: u64,
    /// Input written to a cache of an hour.
    pub cache_write_1h: u64,
    /// Output, reasoning included.
    pub output: u64,
}

/// What a long request costs: all of it, not only what is above the mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Long {
    /// Input tokens, of whatever class, up to which a request is not long.
    above: u64,
    /// Halves of the usual rate for input and caches.
    input_halves: u64,
    /// Halves of the usual rate for output.
    output_halves: u64,
}

/// What a service takes for a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pricing {
    /// Nothing: no money is behind it.
    Free,
    /// The vendor's list price.
    Listed(&'static Price),
    /// Nobody here knows.
    Unknown,
}

/// The service that is built in.
pub const SANDBOX: &str = "sandbox";

impl Pricing {
    /// What `service` takes for `model`, by whose models they are and not by the dialect they are
    /// spoken to in: a server of one's own that speaks as a vendor does has no vendor's price. `service`
    /// is the one that request keys are made with.
    #[must_use]
    pub fn of(service: &str, model: &str) -> Pricing {
        match service {
            SANDBOX => Pricing::Free,
            vendor => Price::of(vendor, model).map_or(Pricing::Unknown, Pricing::Listed),
        }
    }

    /// Whether a cost can be told at all.
    #[must_use]
    pub fn is_known(self) -> bool {
        self != Pricing::Unknown
    }

    /// What one request cost, in pico-USD; nothing where that is not known, which
    /// [`is_known`](Pricing::is_known) says.
    #[must_use]
    pub fn cost(self, tariff: Tariff, usage: &Usage) -> u128 {
        match self {
            Pricing::Listed(price) => price.cost(tariff, usage),
            Pricing::Free | Pricing::Unknown => 0,
        }
    }
}

/// The list price of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Price {
    /// The model, as its vendor names it, without a date.
    pub model: &'static str,
    /// What a request costs online.
    pub online: Rates,
    /// What a request costs in a batch.
    pub batch: Rates,
    /// The most tokens that an answer may have.
    pub output_max: u64,
    /// The most tokens that a request may have.
    pub context_max: u64,
    /// The fewest tokens that are cached: what is shorter is not, whatever is said.
    pub cached_min: u64,
    long: Option<Long>,
}

/// How a request travelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tariff {
    /// In a batch.
    Batch,
    /// Online.
    Online,
}

impl Price {
    /// The list price of `provider`'s `model`, whose name may end in a date; `None` if it is not
    /// listed.
    ///
    /// [`Pricing`] asks by whose models they are. Who only compares rates with each other may ask by the
    /// dialect: a proxy that knows the vendor's model by its name passes on what it costs.
    #[must_use]
    pub fn of(provider: &str, model: &str) -> Option<&'static Price> {
        let table: &'static [Price] = match provider {
            "anthropic" => &ANTHROPIC,
            "openai" => &OPENAI,
            _ => return None,
        };
        let listed = |name: &str| table.iter().find(|price| price.model == name);
        listed(model).or_else(|| listed(undated(model)?))
    }

    /// The models of `provider` that are listed; none, if nothing of it is.
    pub fn listed(provider: &str) -> impl Iterator<Item = &'static str> {
        let table: &'static [Price] = match provider {
            "anthropic" => &ANTHROPIC,
            "openai" => &OPENAI,
            _ => &[],
        };
        table.iter().map(|price| price.model)
    }

    /// What one request cost, in pico-USD. A sum over several requests has to be a sum of their
    /// costs, for a long request has rates of its own.
    #[must_use]
    pub fn cost(&self, tariff: Tariff, usage: &Usage) -> u128 {
        let rates = self.rates(tariff, usage.input_total());
        let classes = [
            (usage.input, rates.input),
            (usage.cache_read, rates.cache_read),
            (usage.cache_write_5m, rates.cache_write_5m),
            (usage.cache_write_1h, rates.cache_write_1h),
            (usage.output, rates.output),
        ];
        classes
            .into_iter()
            .map(|(tokens, rate)| u128::from(tokens) * u128::from(rate))
            .sum()
    }

    /// The rates for a request of `input` tokens.
    #[must_use]
    pub fn rates(&self, tariff: Tariff, input: u64) -> Rates {
        let rates = match tariff {
            Tariff::Batch => self.batch,
            Tariff::Online => self.online,
        };
        match self.long {
            Some(long) if input > long.above => rates.in_halves(long),
            _ => rates,
        }
    }
}

impl Rates {
    const fn halved(self) -> Self {
        Rates {
            input: self.input / 2,
            cache_read: self.cache_read / 2,
            cache_write_5m: self.cache_write_5m / 2,
            cache_write_1h: self.cache_write_1h / 2,
            output: self.output / 2,
        }
    }

    fn in_halves(self, long: Long) -> Self {
        let input = |rate: u64| rate * long.input_halves / 2;
        Rates {
            input: input(self.input),
            cache_read: input(self.cache_read),
            cache_write_5m: input(self.cache_write_5m),
            cache_write_1h: input(self.cache_write_1h),
            output: self.output * long.output_halves / 2,
        }
    }
}

/// A cost in micro-USD, rounded up: what is shown is never less than what is owed.
#[must_use]
pub fn micro_usd(pico_usd: u128) -> u64 {
    u64::try_from(pico_usd.div_ceil(PICOS_PER_MICRO)).unwrap_or(u64::MAX)
}

/// What a cache saved, in micro-USD and towards less: what would have been paid without one, less what was
/// paid, both in pico-USD. It is negative where the cache cost more than it saved.
#[must_use]
pub fn saved(uncached: u128, paid: u128) -> i64 {
    let micros = |picos: u128| i64::try_from(picos).unwrap_or(i64::MAX);
    if uncached >= paid {
        micros((uncached - paid) / PICOS_PER_MICRO)
    } else {
        -micros((paid - uncached).div_ceil(PICOS_PER_MICRO))
    }
}

/// `model` without the date at its end (`-20251001`, `-2025-10-01`), if it has one.
fn undated(model: &str) -> Option<&str> {
    let is_date = |text: &str, shape: &str| {
        text.len() == shape.len()
            && text.bytes().zip(shape.bytes()).all(|(have, want)| {
                if want == b'0' {
                    have.is_ascii_digit()
                } else {
                    have == want
                }
            })
    };
    ["-00000000", "-0000-00-00"].into_iter().find_map(|shape| {
        let (name, end) = model.split_at_checked(model.len().checked_sub(shape.len())?)?;
        is_date(end, shape).then_some(name)
    })
}

/// Rates in USD per million tokens, times 1,000: tenths of a cent.
const fn rates(input: u64, read: u64, minutes: u64, hour: u64, output: u64) -> Rates {
    Rates {
        input: input * 1_000,
        cache_read: read * 1_000,
        cache_write_5m: minutes * 1_000,
        cache_write_1h: hour * 1_000,
        output: output * 1_000,
    }
}

/// A batch costs half of everything.
const fn half(model: &'static str, online: Rates, context_max: u64, output_max: u64) -> Price {
    Price {
        model,
        batch: online.halved(),
        online,
        output_max,
        context_max,
        cached_min: 0,
        long: None,
    }
}

/// Anthropic's models: base input and output, what a cache read costs, and from how many tokens on there is
/// a cache. A write costs 1.25 times the input for five minutes, twice the input for an hour.
const fn claude(model: &'static str, input: u64, read: u64, output: u64, cached_min: u64) -> Price {
    let mut online = rates(input, read, 0, input * 2, output);
    online.cache_write_5m = online.input * 5 / 4;
    Price {
        cached_min,
        ..half(model, online, 1_000_000, 128_000)
    }
}

/// Claude models with the smaller window.
const fn small(price: Price) -> Price {
    Price {
        context_max: 200_000,
        output_max: 64_000,
        ..price
    }
}

/// OpenAI's models since gpt-5.6: cache writes cost 1.25 times the input.
const fn gpt(model: &'static str, input: u64, read: u64, output: u64) -> Price {
    let mut online = rates(input, read, 0, 0, output);
    online.cache_write_5m = online.input * 5 / 4;
    online.cache_write_1h = online.cache_write_5m;
    long(Price {
        cached_min: 1_024,
        ..half(model, online, 922_000, 128_000)
    })
}

/// OpenAI's models up to gpt-5.5: a cache write is input like any other.
const fn older(
    model: &'static str,
    input: u64,
    read: u64,
    output: u64,
    context: u64,
    out: u64,
) -> Price {
    let online = rates(input, read, input, input, output);
    Price {
        cached_min: 2_048,
        ..half(model, online, context, out)
    }
}

/// Models for which no cached price is listed in batches: a read is taken for input.
const fn uncached(price: Price) -> Price {
    let batch = Rates {
        cache_read: price.batch.input,
        ..price.batch
    };
    Price { batch, ..price }
}

/// OpenAI's models of a million tokens: above 272,000 twice the input, 1.5 times the output.
const fn long(price: Price) -> Price {
    let long = Some(Long {
        above: 272_000,
        input_halves: 4,
        output_halves: 3,
    });
    Price { long, ..price }
}

const ANTHROPIC: [Price; 16] = [
    claude("claude-fable-5-1", 10_000, 250, 50_000, 512),
    claude("claude-mythos-5-1", 10_000, 250, 50_000, 512),
    claude("claude-fable-5", 10_000, 1_000, 50_000, 512),
    claude("claude-mythos-5", 10_000, 1_000, 50_000, 512),
    claude("claude-opus-5-5", 4_000, 200, 20_000, 512),
    claude("claude-opus-5", 5_000, 500, 25_000, 512),
    claude("claude-opus-4-8", 5_000, 500, 25_000, 1_024),
    claude("claude-opus-4-7", 5_000, 500, 25_000, 2_048),
    claude("claude-opus-4-6", 5_000, 500, 25_000, 4_096),
    small(claude("claude-opus-4-5", 5_000, 500, 25_000, 4_096)),
    claude("claude-sonnet-5-5", 2_000, 100, 10_000, 512),
    claude("claude-sonnet-5", 2_000, 200, 10_000, 1_024),
    claude("claude-sonnet-4-6", 3_000, 300, 15_000, 1_024),
    small(claude("claude-sonnet-4-5", 3_000, 300, 15_000, 1_024)),
    // Above 100,000 tokens of input everything costs five times as much. Nobody says from how many tokens
    // on it caches: the most that any of them asks is surely enough.
    Price {
        long: Some(Long {
            above: 100_000,
            input_halves: 10,
            output_halves: 10,
        }),
        ..claude("claude-haiku-5-5", 100, 10, 500, 4_096)
    },
    small(claude("claude-haiku-4-5", 1_000, 100, 5_000, 4_096)),
];

const OPENAI: [Price; 27] = [
    gpt("gpt-6-astra", 10_000, 1_000, 50_000),
    gpt("gpt-6.1-sol", 2_000, 100, 10_000),
    gpt("gpt-6-sol", 2_000, 200, 10_000),
    gpt("gpt-6.1-terra", 1_000, 50, 5_000),
    gpt("gpt-6-luna", 100, 10, 500),
    gpt("gpt-5.6-sol", 4_000, 400, 20_000),
    gpt("gpt-5.6-terra", 2_000, 200, 12_000),
    gpt("gpt-5.6-luna", 200, 20, 1_200),
    long(older("gpt-5.5", 5_000, 500, 30_000, 1_050_000, 128_000)),
    GPT_5_4,
    older("gpt-5.4-mini", 750, 75, 4_500, 272_000, 128_000),
    older("gpt-5.4-nano", 200, 20, 1_250, 272_000, 128_000),
    older("gpt-5.2", 1_750, 175, 14_000, 272_000, 128_000),
    older("gpt-5.1", 1_250, 125, 10_000, 272_000, 128_000),
    older("gpt-5", 1_250, 125, 10_000, 272_000, 128_000),
    older("gpt-5-mini", 250, 25, 2_000, 272_000, 128_000),
    older("gpt-5-nano", 50, 5, 400, 272_000, 128_000),
    uncached(older("gpt-4.1", 2_000, 500, 8_000, 1_050_000, 32_768)),
    uncached(older("gpt-4.1-mini", 400, 100, 1_600, 1_050_000, 32_768)),
    uncached(older("gpt-4.1-nano", 100, 25, 400, 1_050_000, 32_768)),
    uncached(older("gpt-4o", 2_500, 1_250, 10_000, 128_000, 16_384)),
    uncached(older("gpt-4o-mini", 150, 75, 600, 128_000, 16_384)),
    uncached(older("o3", 2_000, 500, 8_000, 200_000, 100_000)),
    uncached(older("o4-mini", 1_100, 275, 4_400, 200_000, 100_000)),
    embeds("text-embedding-3-small", 20, 8_191),
    embeds("text-embedding-3-large", 130, 8_191),
    embeds("text-embedding-ada-002", 100, 8_191),
];

/// A model that embeds: there is no output, and nothing is cached.
const fn embeds(model: &'static str, input: u64, context_max: u64) -> Price {
    half(model, rates(input, input, input, input, 0), context_max, 0)
}

/// What to use where the job's own model does not embed.
pub const EMBEDS: &str = "openai/text-embedding-3-small";

/// Its cached batch price is listed rounded up.
const GPT_5_4: Price = {
    let price = long(older("gpt-5.4", 2_500, 250, 15_000, 1_050_000, 128_000));
    Price {
        batch: Rates {
            cache_read: 130_000,
            ..price.batch
        },
        ..price
    }
};

#[cfg(test)]
mod tests {
    use super::*;

    fn price(provider: &str, model: &str) -> &'static Price {
        Price::of(provider, model).expect("listed")
    }

    /// Rates as the vendors print them: dollars per million tokens.
    fn check(provider: &str, model: &str, online: [f64; 5], batch: [f64; 3]) {
        let price = price(provider, model);
        let usd = |rate: u64| f64::from(u32::try_from(rate).expect("small")) / 1e6;
        let near =
            |have: u64, want: f64| assert!((usd(have) - want).abs() < 1e-9, "{model} {want}");
        let rates = price.online;
        let have = [rates.input, rates.cache_write_5m, rates.cache_write_1h];
        for (have, want) in have
            .into_iter()
            .chain([rates.cache_read, rates.output])
            .zip(online)
        {
            near(have, want);
        }
        let rates = price.batch;
        for (have, want) in [rates.input, rates.cache_read, rates.output]
            .into_iter()
            .zip(batch)
        {
            near(have, want);
        }
    }

    #[test]
    fn rates_are_as_the_vendors_print_them() {
        let claude = |model, online, batch| check("anthropic", model, online, batch);
        claude(
            "claude-fable-5-1",
            [10.0, 12.5, 20.0, 0.25, 50.0],
            [5.0, 0.125, 25.0],
        );
        claude(
            "claude-opus-4-6",
            [5.0, 6.25, 10.0, 0.5, 25.0],
            [2.5, 0.25, 12.5],
        );
        claude(
            "claude-sonnet-5-5",
            [2.0, 2.5, 4.0, 0.1, 10.0],
            [1.0, 0.05, 5.0],
        );
        claude(
            "claude-haiku-5-5",
            [0.1, 0.125, 0.2, 0.01, 0.5],
            [0.05, 0.005, 0.25],
        );
        claude(
            "claude-haiku-4-5",
            [1.0, 1.25, 2.0, 0.1, 5.0],
            [0.5, 0.05, 2.5],
        );
        let gpt = |model, online, batch| check("openai", model, online, batch);
        gpt(
            "gpt-6-luna",
            [0.1, 0.125, 0.125, 0.01, 0.5],
            [0.05, 0.005, 0.25],
        );
        gpt("gpt-5.6-terra", [2.0, 2.5, 2.5, 0.2, 12.0], [1.0, 0.1, 6.0]);
        gpt("gpt-5.4", [2.5, 2.5, 2.5, 0.25, 15.0], [1.25, 0.13, 7.5]);
        gpt(
            "gpt-5.4-mini",
            [0.75, 0.75, 0.75, 0.075, 4.5],
            [0.375, 0.0375, 2.25],
        );
        gpt(
            "gpt-5-nano",
            [0.05, 0.05, 0.05, 0.005, 0.4],
            [0.025, 0.0025, 0.2],
        );
        gpt(
            "gpt-4o-mini",
            [0.15, 0.15, 0.15, 0.075, 0.6],
            [0.075, 0.075, 0.3],
        );
    }

    #[test]
    fn every_model_is_listed_once_and_costs_something() {
        for table in [&ANTHROPIC[..], &OPENAI[..]] {
            for (at, price) in table.iter().enumerate() {
                let again = table[at + 1..]
                    .iter()
                    .any(|other| other.model == price.model);
                assert!(!again, "{}", price.model);
                assert!(price.batch.cache_read > 0 && price.batch.cache_write_1h > 0);
                // A model that embeds has nothing to put into a cache.
                let is_embedder = price.output_max == 0;
                assert!(price.cached_min >= 512 || is_embedder, "{}", price.model);
                assert!(price.batch.input < price.online.input);
            }
        }
    }

    #[test]
    fn a_date_at_the_end_changes_nothing_and_an_unknown_model_has_no_price() {
        let names = ["claude-haiku-4-5", "claude-haiku-4-5-20251001"];
        assert_eq!(
            names.map(|name| price("anthropic", name).model),
            ["claude-haiku-4-5"; 2]
        );
        assert_eq!(price("openai", "gpt-5-mini-2025-08-07").model, "gpt-5-mini");
        for (provider, model) in [
            ("anthropic", "claude-fable-5-2"),
            ("anthropic", "claude-haiku-4-5-2025100"),
            ("anthropic", "gpt-5"),
            ("openai", "gpt-6.2-sol"),
            ("openai", "gpt-5-mini-2025-08-xx"),
            ("openai", "-2025-08-07"),
            ("openai", "é20250807"),
            ("openai", ""),
            ("mistral", "gpt-5"),
        ] {
            assert_eq!(Price::of(provider, model), None, "{provider}/{model}");
        }
    }

    #[test]
    fn a_price_is_the_services_and_not_the_dialects() {
        let usage = Usage {
            input: 1000,
            output: 1000,
            ..Usage::default()
        };
        let cost = |service| {
            let pricing = Pricing::of(service, "gpt-6-luna");
            (pricing.is_known(), pricing.cost(Tariff::Batch, &usage))
        };
        assert_eq!(cost("openai"), (true, 300_000_000));
        assert_eq!(cost("sandbox"), (true, 0));
        assert_eq!(cost("http://localhost:8000"), (false, 0));
        assert_eq!(cost("anthropic"), (false, 0), "it has no such model");
    }

    #[test]
    fn a_cost_is_exact() {
        let usage = Usage {
            input: 11,
            cache_read: 2_048,
            cache_write_5m: 3,
            cache_write_1h: 5,
            output: 36,
            reasoning: 30,
        };
        let price = price("anthropic", "claude-sonnet-5-5");
        // Dollars per million tokens: 1, 0.05, 1.25, 2, 5.
        let expect = 11_000_000 + 2_048 * 50_000 + 3 * 1_250_000 + 5 * 2_000_000 + 36 * 5_000_000;
        assert_eq!(price.cost(Tariff::Batch, &usage), expect);
        assert_eq!(price.cost(Tariff::Online, &usage), expect * 2);
        assert_eq!(micro_usd(expect), 308, "307.15 rounded up");
        assert_eq!((micro_usd(0), micro_usd(1_000_000)), (0, 1));
        let most = Usage {
            input: u64::MAX / 8,
            output: u64::MAX,
            ..Usage::default()
        };
        assert!(
            price.cost(Tariff::Online, &most) > u128::from(u64::MAX),
            "no overflow"
        );
    }

    #[test]
    fn a_long_request_costs_more_as_a_whole() {
        let cost = |provider, model, input: u64| {
            let usage = Usage {
                input: input - 1,
                cache_read: 1,
                output: 2,
                ..Usage::default()
            };
            price(provider, model).cost(Tariff::Batch, &usage)
        };
        assert_eq!(
            cost("openai", "gpt-6-sol", 272_000),
            271_999 * 1_000_000 + 100_000 + 10_000_000
        );
        assert_eq!(
            cost("openai", "gpt-6-sol", 272_001),
            272_000 * 2_000_000 + 200_000 + 15_000_000
        );
        let haiku = "claude-haiku-5-5";
        assert_eq!(
            cost("anthropic", haiku, 100_000),
            99_999 * 50_000 + 5_000 + 500_000
        );
        assert_eq!(
            cost("anthropic", haiku, 100_001),
            100_000 * 250_000 + 25_000 + 2_500_000
        );
        assert_eq!(
            cost("openai", "gpt-5-mini", 272_001),
            272_000 * 125_000 + 12_500 + 2_000_000
        );
    }
}
