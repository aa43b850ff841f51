//! The vendors' prompt caches: who writes what requests begin with, and who reads it.
//!
//! A batch works on a thousand requests at a time, in the order in which they came (a *wave*). A wave that
//! finds no entry begins cold: each of its requests writes one, and pays for it. The entry can be read once
//! the first response has begun, by the waves that begin after that, of whatever batch of the account; and
//! it is gone when its life has passed since it was last used. Nothing is kept of all this: it follows from
//! the batches that there are.

use std::collections::BTreeMap;
use std::time::Duration;

use super::batch::{Batch, End};
use super::prefix::{PrefixUse, Wanted};
use super::store::Store;
use crate::base::{Result, Time};

/// Requests of a batch that are worked on at once.
const WAVE: u64 = 1000;

/// What a request found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) read: u32,
    pub(super) written: u32,
    /// What its input costs, in thousandths of a token of input at its full price.
    pub(super) thousandths: u64,
}

/// A wave that uses a prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct WaveUse {
    prefix: u64,
    at: Time,
    seq: u64,
    wave: u64,
    /// When its first response begins.
    answers_at: Time,
    life: u32,
}

/// An entry of the cache.
#[derive(Clone, Copy, Debug)]
struct Entry {
    readable_at: Time,
    gone_at: Time,
}

/// What the waves of one batch find.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct CacheView {
    /// The waves, by prefix and number, that find it there.
    warm: BTreeMap<(u64, u64), bool>,
}

impl CacheView {
    /// What the waves of `batch` find, after all that was there before.
    pub(super) fn of(store: &Store, batch: &Batch) -> Result<Self> {
        let own = &batch.summary.prefixes;
        if own.is_empty() {
            return Ok(CacheView::default());
        }
        let mut uses = Vec::new();
        for other in store.all::<Batch>()? {
            let is_near = other.owner == batch.owner && other.dialect == batch.dialect;
            let shared = other.summary.prefixes.iter();
            let shared = shared.filter(|use_| own.iter().any(|own| own.prefix == use_.prefix));
            if is_near && other.end() != End::Failed {
                shared.for_each(|use_| waves(&other, use_, &mut uses));
            }
        }
        uses.sort_unstable();
        Ok(CacheView {
            warm: sweep(&uses, batch.seq),
        })
    }

    /// What the request at `index` finds, of so many tokens of input.
    pub(super) fn found(&self, index: u64, wanted: Wanted, input: u32) -> Found {
        let plain = |tokens: u32| u64::from(tokens) * 1000;
        if wanted.prefix == 0 {
            return Found {
                thousandths: plain(input),
                ..Found::default()
            };
        }
        let tokens = wanted.tokens.min(input);
        let rest = plain(input - tokens);
        let is_warm = self.warm.get(&(wanted.prefix, index / WAVE)).copied();
        if is_warm.unwrap_or(false) {
            Found {
                read: tokens,
                written: 0,
                thousandths: rest + u64::from(tokens) * u64::from(wanted.read),
            }
        } else {
            Found {
                read: 0,
                written: tokens,
                thousandths: rest + u64::from(tokens) * u64::from(wanted.write),
            }
        }
    }
}

/// The waves of `batch` in which a prefix is used by a request that is answered.
fn waves(batch: &Batch, use_: &PrefixUse, out: &mut Vec<WaveUse>) {
    let luck = batch.luck();
    let (start, run) = (batch.starts_at(), batch.finalizes_at() - batch.starts_at());
    let run = run.to_std().unwrap_or(Duration::ZERO);
    let count = u32::try_from(batch.summary.count.div_ceil(WAVE)).unwrap_or(u32::MAX);
    let each = run / count.max(1);
    let stop = batch
        .cancelled_at
        .map_or(batch.expires_at(), |at| at.min(batch.expires_at()));
    for wave in use_.first / WAVE..=use_.last / WAVE {
        let at = start + each * u32::try_from(wave).unwrap_or(u32::MAX);
        let mut requests = (wave * WAVE).max(use_.first)..=(wave * WAVE + WAVE - 1).min(use_.last);
        let is_answered = requests.any(|index| luck.outcome(index, false).is_answer());
        if at <= stop && is_answered {
            out.push(WaveUse {
                prefix: use_.prefix,
                at,
                seq: batch.seq,
                wave,
                answers_at: at + each / 10,
                life: use_.life,
            });
        }
    }
}

/// Which waves of the batch `seq` find their prefix, of all in order.
fn sweep(uses: &[WaveUse], seq: u64) -> BTreeMap<(u64, u64), bool> {
    let mut warm = BTreeMap::new();
    for same in uses.chunk_by(|a, b| a.prefix == b.prefix) {
        let mut entry: Option<Entry> = None;
        for wave in same {
            let gone_at = wave.answers_at + Duration::from_secs(wave.life.into());
            let there = entry.filter(|entry| wave.at < entry.gone_at);
            let is_warm = there.is_some_and(|entry| entry.readable_at <= wave.at);
            entry = Some(Entry {
                readable_at: there.map_or(wave.answers_at, |entry| entry.readable_at),
                gone_at: there.map_or(gone_at, |entry| entry.gone_at.max(gone_at)),
            });
            if wave.seq == seq {
                warm.insert((wave.prefix, wave.wave), is_warm);
            }
        }
    }
    warm
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Time {
        chrono::DateTime::from_timestamp(1_795_000_000, 0).expect("in range")
            + Duration::from_secs(seconds)
    }

    /// Waves of one prefix, each of a batch of its own: when it begins, and when its first response does.
    /// Those that find the entry.
    fn warm(waves: &[(u64, u64)], life: u32) -> Vec<bool> {
        let uses: Vec<_> = waves
            .iter()
            .zip(0..)
            .map(|((begins, answers), seq)| WaveUse {
                prefix: 1,
                at: at(*begins),
                seq,
                wave: 0,
                answers_at: at(*answers),
                life,
            })
            .collect();
        let found = |seq| sweep(&uses, seq).get(&(1, 0)).copied();
        (0..waves.len() as u64)
            .map(|seq| found(seq).expect("seen"))
            .collect()
    }

    #[test]
    fn an_entry_is_read_once_the_first_response_has_begun_and_until_its_life_is_over() {
        // What begins before the first response has, begins cold.
        assert_eq!(
            warm(&[(0, 10), (9, 20), (10, 30)], 300),
            [false, false, true]
        );
        // The second one is answered at 20, and the entry lives from there.
        assert_eq!(
            warm(&[(0, 10), (9, 20), (319, 330)], 300),
            [false, false, true]
        );
        assert_eq!(warm(&[(0, 10), (310, 320)], 300), [false, false]);
        // Each use keeps it alive.
        assert_eq!(
            warm(
                &[(0, 10), (300, 310), (600, 610), (900, 905), (1_205, 1_210)],
                300
            ),
            [false, true, true, true, false]
        );
    }

    #[test]
    fn what_is_read_and_written_has_its_price() {
        let wanted = Wanted {
            prefix: 7,
            tokens: 100,
            life: 300,
            read: 100,
            write: 1250,
        };
        let cold = CacheView::default();
        let found = cold.found(0, wanted, 120);
        // 20 * 1 + 100 * 1.25 = 145 tokens.
        assert_eq!(
            (found.read, found.written, found.thousandths),
            (0, 100, 145_000)
        );
        let warm = CacheView {
            warm: BTreeMap::from([((7, 0), true)]),
        };
        let found = warm.found(999, wanted, 120);
        // 20 * 1 + 100 * 0.1 = 30 tokens.
        assert_eq!(
            (found.read, found.written, found.thousandths),
            (100, 0, 30_000)
        );
        let found = warm.found(1000, wanted, 120);
        assert_eq!(found.written, 100, "that wave was not seen");
        let none = cold.found(0, Wanted::default(), 120);
        assert_eq!((none.read, none.written, none.thousandths), (0, 0, 120_000));
    }
}
