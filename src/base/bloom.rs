//! A filter that says of a key whether it may be in a set, in a few bits of memory for each.

/// A Bloom filter of ten bits and six probes a key: wrong "perhaps" once in a hundred. It is asked with a
/// word of a cryptographic hash, which is as good as any hash of it.
#[derive(Debug)]
pub struct Bloom {
    words: Vec<u64>,
}

impl Bloom {
    /// An empty filter for so many keys.
    #[must_use]
    pub fn for_keys(count: usize) -> Bloom {
        Bloom {
            words: vec![0; (count * 10).div_ceil(64).max(1)],
        }
    }

    /// The filter of which these are the words.
    #[must_use]
    pub fn of_words(words: Vec<u64>) -> Option<Bloom> {
        (!words.is_empty()).then_some(Bloom { words })
    }

    /// What it is made of.
    #[must_use]
    pub fn words(&self) -> &[u64] {
        &self.words
    }

    /// The memory that it takes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.words.capacity() * size_of::<u64>()
    }

    fn probes(&self, hash: u64) -> impl Iterator<Item = (usize, u64)> + use<> {
        let bits = self.words.len() as u64 * 64;
        let step = (hash >> 32) | 1;
        (0..6u64).map(move |probe| {
            let bit = hash.wrapping_add(step.wrapping_mul(probe)) % bits;
            (
                usize::try_from(bit / 64).unwrap_or_default(),
                1 << (bit % 64),
            )
        })
    }

    /// Takes a key in.
    pub fn add(&mut self, hash: u64) {
        for (word, bit) in self.probes(hash) {
            self.words[word] |= bit;
        }
    }

    /// Whether the key may have been taken in; `false` is sure.
    #[must_use]
    pub fn may_hold(&self, hash: u64) -> bool {
        self.probes(hash)
            .all(|(word, bit)| self.words[word] & bit != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_seldom_wrong() {
        let mut filter = Bloom::for_keys(10_000);
        let hash = |n: u64| {
            u64::from_le_bytes(
                blake3::hash(&n.to_le_bytes()).as_bytes()[..8]
                    .try_into()
                    .expect("8"),
            )
        };
        (0..10_000).for_each(|n| filter.add(hash(n)));
        assert!((0..10_000).all(|n| filter.may_hold(hash(n))));
        let wrong = (10_000..20_000)
            .filter(|n| filter.may_hold(hash(*n)))
            .count();
        assert!(wrong < 300, "{wrong} of 10000");
    }
}
