//! Seeded chance: every draw is a function of a seed and of what is drawn for, never of a generator's
//! state, so that a question asked twice gets the same answer, in this process or the next.

use xxhash_rust::xxh3::xxh3_64_with_seed;

/// `SplitMix64`: one step, well mixed.
pub(super) fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// The draw of `seed` for what is called `name`.
pub(super) fn named(seed: u64, name: &str) -> u64 {
    xxh3_64_with_seed(name.as_bytes(), seed)
}

/// A draw as a number in `0.0..1.0`.
pub(super) fn unit(draw: u64) -> f64 {
    f64::from((draw >> 32) as u32) / (f64::from(u32::MAX) + 1.0)
}

/// A draw as `len` letters and digits, as the vendors' ids have them.
pub(super) fn letters(draw: u64, len: usize) -> String {
    const LETTERS: &[u8; 32] = b"ABCDEFGHJKLMNPQRabcdefghjkmnpqrs";
    let letter = |n| LETTERS[(mix(draw.wrapping_add(n)) & 31) as usize];
    (0..).map(|n| char::from(letter(n))).take(len).collect()
}

/// Puts `items` in an order drawn from `seed`.
pub(super) fn shuffle<T>(items: &mut [T], seed: u64) {
    let mut draw = seed;
    for last in (1..items.len()).rev() {
        draw = mix(draw);
        let end = last as u64 + 1;
        items.swap(last, usize::try_from(draw % end).unwrap_or(last));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shuffle_is_a_permutation_that_its_seed_decides() {
        let shuffled = |seed| {
            let mut items: Vec<u32> = (0..1000).collect();
            shuffle(&mut items, seed);
            items
        };
        let order = shuffled(7);
        assert_ne!(order, (0..1000).collect::<Vec<_>>());
        assert_ne!(order, shuffled(8));
        let mut sorted = order;
        sorted.sort_unstable();
        assert_eq!(sorted, (0..1000).collect::<Vec<_>>());
    }

    #[test]
    fn units_fill_their_range_evenly() {
        let below = (0..10_000).filter(|n| unit(mix(*n)) < 0.25).count();
        assert!((2_300..2_700).contains(&below), "{below}");
    }
}
