//! What requests begin with, as far as a prompt cache is to hold it.

use serde::{Deserialize, Serialize};

/// Prefixes of a batch that are remembered. Those of more requests than that are nobody else's, most likely:
/// they are always written.
const PREFIXES_MAX: usize = 16;

/// What a request wants of the cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Wanted {
    /// Stands for the model and all that is cached; 0 where that is nothing.
    pub(super) prefix: u64,
    /// Its tokens.
    pub(super) tokens: u32,
    /// Seconds that an entry lives after its last use.
    pub(super) life: u32,
    /// Thousandths of the price of input that a token costs which is read.
    pub(super) read: u32,
    /// The same for one that is written.
    pub(super) write: u32,
}

/// Where in a batch a prefix occurs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PrefixUse {
    pub(super) prefix: u64,
    pub(super) life: u32,
    /// The first and the last request that have it.
    pub(super) first: u64,
    pub(super) last: u64,
}

/// Notes that the request at `index` wants `wanted`.
pub(super) fn note(uses: &mut Vec<PrefixUse>, wanted: Wanted, index: u64) {
    if wanted.prefix == 0 {
        return;
    }
    let is_it = |known: &&mut PrefixUse| (known.prefix, known.life) == (wanted.prefix, wanted.life);
    if let Some(known) = uses.iter_mut().find(is_it) {
        known.last = index;
    } else if uses.len() < PREFIXES_MAX {
        uses.push(PrefixUse {
            prefix: wanted.prefix,
            life: wanted.life,
            first: index,
            last: index,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_remembers_few_prefixes() {
        let mut uses = Vec::new();
        let wanted = |prefix| Wanted {
            prefix,
            life: 300,
            ..Wanted::default()
        };
        note(&mut uses, wanted(0), 0);
        assert!(uses.is_empty());
        for index in 0..100 {
            note(&mut uses, wanted(1), index);
            note(&mut uses, wanted(2 + index), index);
        }
        assert_eq!(uses.len(), PREFIXES_MAX);
        assert_eq!((uses[0].first, uses[0].last), (0, 99));
    }
}
