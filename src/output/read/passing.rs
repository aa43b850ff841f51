//! A walk over the pages of a chunk whose bytes pass by, piece by piece, on their way to the output.

use bytes::Bytes;

use crate::output::read::pages::{Chunk, Pages, Walk};

/// A walk that takes what it needs of the bytes that pass. It holds a header that lies across two
/// pieces, and nothing else.
#[derive(Debug)]
pub(in crate::output) struct Passing {
    walk: Walk,
    /// The beginning of the next header, where it lay at the end of the last piece.
    held: Vec<u8>,
}

impl Passing {
    /// A walk over `chunk`, all of whose bytes are going to pass.
    pub(in crate::output) fn over(chunk: Chunk) -> Passing {
        Passing {
            walk: Walk::over(chunk),
            held: Vec::new(),
        }
    }

    /// The bytes of `piece` pass, which lie at `offset` in the file. Pieces come in the file's order.
    pub(in crate::output) fn pass(&mut self, offset: u64, piece: &Bytes) {
        let end = offset + piece.len() as u64;
        let at = |place: u64| usize::try_from(place.saturating_sub(offset)).unwrap_or(usize::MAX);
        while let Some(wanted) = self.walk.wants() {
            if wanted.start >= end {
                break;
            }
            let here = &piece[at(wanted.start)..at(wanted.end.min(end))];
            if wanted.end > end {
                self.held.extend_from_slice(here);
                return;
            }
            if self.held.is_empty() {
                self.walk.take(here);
            } else {
                self.walk.take(&[&self.held, here].concat());
            }
            match self.walk.wants() {
                Some(next) => self.drop_held(next.start - wanted.start),
                None => self.held = Vec::new(),
            }
        }
    }

    /// The walk went on by `length` bytes. What was asked for may have been more than the header was.
    fn drop_held(&mut self, length: u64) {
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        self.held.drain(..length.min(self.held.len()));
    }

    /// What the pages come to, once all bytes have passed; or what does not add up.
    pub(in crate::output) fn end(self) -> Result<Pages, &'static str> {
        self.walk.end()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::output::read::pages::tests::{data, dictionary};

    /// Walks a chunk of `values` values at 3.., as the file passes in pieces of these lengths.
    fn pass(file: &[u8], values: u64, lengths: &[usize]) -> Result<Pages, &'static str> {
        let end = file.len() as u64;
        let mut passing = Passing::over(Chunk {
            told: 3..end,
            values,
            limit: end,
        });
        let (mut rest, mut offset) = (file, 0);
        for length in lengths.iter().chain(&[usize::MAX]) {
            let (piece, left) = rest.split_at((*length).min(rest.len()));
            passing.pass(offset, &Bytes::copy_from_slice(piece));
            offset += piece.len() as u64;
            rest = left;
        }
        passing.end()
    }

    proptest! {
        #[test]
        fn pages_are_the_same_however_their_bytes_are_cut(
            sizes in prop::collection::vec(0..60_u8, 1..6),
            lengths in prop::collection::vec(0..70_usize, 0..20),
            broken in prop::option::of(3..60_usize),
        ) {
            let pages = sizes.iter().map(|size| data(2, *size));
            let pages: Vec<_> = std::iter::once(dictionary()).chain(pages).collect();
            let mut file = [b"abc".to_vec(), pages.concat()].concat();
            if let Some(byte) = broken.filter(|at| *at < file.len()).map(|at| &mut file[at]) {
                *byte = 0xff;
            }
            let values = 2 * sizes.len() as u64;
            let expected = pass(&file, values, &[]);
            let cut = pass(&file, values, &lengths);
            prop_assert_eq!(broken.is_some() || expected.is_ok(), true);
            prop_assert_eq!(format!("{cut:?}"), format!("{expected:?}"));
        }
    }
}
