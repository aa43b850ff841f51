//! LZ4 for what is written once and read once or twice: repeats that are long, and nothing else.
//!
//! The usual encoders look at every byte for a repeat of four. On prose that finds a third, and
//! takes longer than all the rest that is done to a prompt. This one looks at every eighth byte or
//! fewer for repeats of eight and more: what a template says in every prompt is found, what people
//! repeat in their own words is left as it is. It takes a sixth of the time, and what it writes is
//! LZ4's block format like any other.

/// Positions that are remembered, by the hash of the bytes that stand there.
const SLOTS: usize = 1 << 12;
/// The shortest repeat that is looked for.
const REPEAT_MIN: usize = 8;
/// How far back a repeat may lie.
const FAR_MAX: usize = (1 << 16) - 1;
/// A repeat must not begin in the last twelve bytes, nor reach into the last five.
const TAIL: usize = 16;
const LITERALS_MIN: usize = 5;
/// Bytes from one look to the next, times 64; it grows by one with each look that finds nothing.
const PACE: usize = 8 << PACE_BITS;
const PACE_BITS: usize = 6;

/// Compresses block after block. Made once, for its table.
#[derive(Clone, Debug)]
pub struct Lz4 {
    table: Vec<u32>,
}

impl Default for Lz4 {
    fn default() -> Self {
        Lz4 {
            table: vec![0; SLOTS],
        }
    }
}

impl Lz4 {
    /// Appends `input` to `out` as a block of its own. An input has less than four gigabytes.
    pub fn compress(&mut self, input: &[u8], out: &mut Vec<u8>) {
        self.table.fill(0);
        let (mut at, mut written, mut pace) = (1, 0, PACE);
        while at + TAIL < input.len() {
            let Some(there) = self.look(input, at) else {
                at += pace >> PACE_BITS;
                pace += 1;
                continue;
            };
            let before = common_end(&input[written..at], &input[..there]);
            let after = common_start(&input[at..input.len() - LITERALS_MIN], &input[there..]);
            repeat(
                &input[written..at - before],
                at - there,
                before + after,
                out,
            );
            at += after;
            (written, pace) = (at, PACE);
        }
        literals(&input[written..], 0, out);
    }

    /// Where the eight bytes at `at` stood before, if that is remembered; from now on, here.
    fn look(&mut self, input: &[u8], at: usize) -> Option<usize> {
        let here = word(input, at)?;
        let hash = here.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - SLOTS.ilog2());
        let slot = self.table.get_mut(usize::try_from(hash).ok()?)?;
        let there = *slot as usize;
        *slot = u32::try_from(at).ok()?;
        let is_near = there < at && at - there <= FAR_MAX;
        (is_near && word(input, there) == Some(here)).then_some(there)
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u64> {
    let word = bytes.get(at..at + REPEAT_MIN)?;
    Some(u64::from_le_bytes(word.try_into().ok()?))
}

/// How many bytes `a` and `b` have in common at their starts.
fn common_start(a: &[u8], b: &[u8]) -> usize {
    let mut at = 0;
    while let (Some(a), Some(b)) = (word(a, at), word(b, at)) {
        if a != b {
            return at + ((a ^ b).trailing_zeros() / 8) as usize;
        }
        at += REPEAT_MIN;
    }
    let rest = a[at..].iter().zip(&b[at..]);
    at + rest.take_while(|(a, b)| a == b).count()
}

/// How many bytes `a` and `b` have in common at their ends.
fn common_end(a: &[u8], b: &[u8]) -> usize {
    let pairs = a.iter().rev().zip(b.iter().rev());
    pairs.take_while(|(a, b)| a == b).count()
}

/// Appends `new`, and then `len` bytes that stand `back` bytes before.
fn repeat(new: &[u8], back: usize, len: usize, out: &mut Vec<u8>) {
    let more = len - 4;
    literals(new, more.min(15), out);
    out.extend_from_slice(&u16::try_from(back).unwrap_or_default().to_le_bytes());
    rest_of_length(more, out);
}

/// Appends `new`, under a token whose other half is `low`.
fn literals(new: &[u8], low: usize, out: &mut Vec<u8>) {
    let token = new.len().min(15) << 4 | low;
    out.push(u8::try_from(token).unwrap_or_default());
    rest_of_length(new.len(), out);
    out.extend_from_slice(new);
}

/// What a token's half does not say of a length.
fn rest_of_length(len: usize, out: &mut Vec<u8>) {
    let Some(mut rest) = len.checked_sub(15) else {
        return;
    };
    while rest >= 255 {
        out.push(255);
        rest -= 255;
    }
    out.push(u8::try_from(rest).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A decoder by the book: <https://github.com/lz4/lz4/blob/dev/doc/lz4_Block_format.md>
    fn expand(mut block: &[u8]) -> Vec<u8> {
        fn length(half: u8, block: &mut &[u8]) -> usize {
            let mut len = usize::from(half);
            let mut more = half == 15;
            while more {
                let (first, rest) = block.split_first().expect("a byte of the length");
                len += usize::from(*first);
                more = *first == 255;
                *block = rest;
            }
            len
        }
        let mut out = Vec::new();
        loop {
            let (token, rest) = block.split_first().expect("a token");
            block = rest;
            let count = length(token >> 4, &mut block);
            let (new, rest) = block.split_at(count);
            out.extend_from_slice(new);
            if rest.is_empty() {
                assert!(
                    count >= 5 || out.len() == count,
                    "the last five are literals"
                );
                return out;
            }
            let (back, rest) = rest.split_first_chunk::<2>().expect("an offset");
            let back = usize::from(u16::from_le_bytes(*back));
            assert!((1..=out.len()).contains(&back));
            block = rest;
            let count = length(token & 15, &mut block) + 4;
            for _ in 0..count {
                out.push(out[out.len() - back]);
            }
        }
    }

    fn check(input: &[u8]) -> usize {
        let mut out = Vec::new();
        Lz4::default().compress(input, &mut out);
        assert_eq!(expand(&out), input);
        out.len()
    }

    proptest! {
        #[test]
        fn whatever_is_compressed_comes_back(
            parts in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..40), 0usize..60), 0..40),
        ) {
            let input: Vec<u8> = parts.iter().flat_map(|(part, times)| part.repeat(*times)).collect();
            check(&input);
        }
    }

    #[test]
    fn what_a_template_repeats_is_found() {
        let template = "Label this ticket as one of: billing, shipping, refund, or other.\n\n";
        let rows = (0..200)
            .map(|n: u64| format!("{template}{:x}\n", n.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
        let input: String = rows.collect();
        assert!(check(input.as_bytes()) < input.len() / 2);
    }

    #[test]
    fn lengths_and_distances_at_their_limits_come_back() {
        for len in [
            0, 1, 4, 5, 12, 13, 16, 17, 18, 19, 269, 270, 271, 524, 525, 70_000,
        ] {
            check(&vec![b'a'; len]);
            let mut noise: Vec<u8> = (0..len as u64)
                .map(|n| (n * n % 251).to_le_bytes()[0])
                .collect();
            check(&noise);
            noise.extend_from_within(..);
            check(&noise);
        }
        for gap in [FAR_MAX - 9, FAR_MAX - 8, FAR_MAX, FAR_MAX + 1] {
            let mut input = b"0123456789abcdef".repeat(2);
            input.resize(gap, b' ');
            input.extend_from_slice(&b"0123456789abcdef".repeat(4));
            check(&input);
        }
    }
}
