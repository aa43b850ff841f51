//! Result files on their way out: made while they are read, cut where a fault wants it.

use std::io;

use axum::body::Body;
use bytes::Bytes;

use super::faults::Fault;
use super::random::{mix, named, unit};
use super::results::Results;
use super::world::World;

/// Bytes made at a time.
const PIECE: usize = 128 * 1024;

/// Whether a download is cut, and how far in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Draw {
    /// What decides the place of the cut; zero once it is made.
    cut: Option<u64>,
    /// Whether the cut looks like the end, with the connection as it was.
    is_quiet: bool,
}

impl Draw {
    /// The draw of the next download of `id`. A download that resumes is another object than one
    /// from the start.
    pub(super) fn new(world: &World, id: &str, resumes: bool) -> Self {
        let faults = &world.config.faults;
        if !faults.can(Fault::Truncate) && !faults.can(Fault::Short) {
            return Draw {
                cut: None,
                is_quiet: false,
            };
        }
        let key = named(world.config.seed, &format!("download {id} {resumes}"));
        let attempt = world.attempt(key);
        let hits = |fault| faults.hits(fault, key, attempt, attempt);
        let fault = [Fault::Truncate, Fault::Short]
            .into_iter()
            .find(|f| hits(*f));
        if let Some(fault) = fault {
            world.note_fault(fault);
        }
        Draw {
            // The first piece is cut somewhere, so that short files are cut as well.
            cut: fault.map(|_| mix(key ^ mix(attempt)) | 1),
            is_quiet: fault == Some(Fault::Short),
        }
    }

    /// Whether the length that is announced would give the cut away.
    pub(super) fn is_quiet(&self) -> bool {
        self.is_quiet
    }

    /// What comes in place of the bytes after the cut.
    fn end<T>(&self) -> io::Result<Option<T>> {
        if self.is_quiet {
            Ok(None)
        } else {
            Err(io::ErrorKind::ConnectionReset.into())
        }
    }
}

/// The state of one download.
struct Download {
    results: Results,
    draw: Draw,
    skip: u64,
    left: u64,
    text: String,
    more: bool,
}

/// All lines.
pub(super) fn whole(results: Results, draw: Draw) -> Body {
    part(results, draw, 0, u64::MAX)
}

/// The bytes from `skip` on, `left` of them at most.
pub(super) fn part(results: Results, draw: Draw, skip: u64, left: u64) -> Body {
    let download = Download {
        results,
        draw,
        skip,
        left,
        text: String::new(),
        more: true,
    };
    Body::from_stream(futures::stream::try_unfold(
        download,
        |mut download| async move {
            Ok::<_, io::Error>(download.next()?.map(|bytes| (bytes, download)))
        },
    ))
}

impl Download {
    fn next(&mut self) -> io::Result<Option<Bytes>> {
        if self.draw.cut == Some(0) {
            return self.draw.end();
        }
        while self.more && self.left > 0 {
            self.text.clear();
            self.more = self
                .results
                .fill(&mut self.text, PIECE)
                .map_err(io::Error::other)?;
            let mut bytes = self.text.as_bytes();
            let skipped = bytes
                .len()
                .min(usize::try_from(self.skip).unwrap_or(usize::MAX));
            self.skip -= skipped as u64;
            bytes = &bytes[skipped..];
            bytes = &bytes[..bytes
                .len()
                .min(usize::try_from(self.left).unwrap_or(usize::MAX))];
            self.left -= bytes.len() as u64;
            if let Some(draw) = self.draw.cut.filter(|_| !bytes.is_empty()) {
                bytes = &bytes[..within_a_line(bytes, draw)];
                self.draw.cut = Some(0);
            }
            if !bytes.is_empty() {
                return Ok(Some(Bytes::copy_from_slice(bytes)));
            }
            if self.draw.cut == Some(0) {
                return self.draw.end();
            }
        }
        Ok(None)
    }
}

/// A place in `bytes` that is not the end of a line.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "a share of a piece's length"
)]
fn within_a_line(bytes: &[u8], draw: u64) -> usize {
    let mut at = (bytes.len() as f64 * unit(draw)) as usize;
    while at > 0 && bytes[at - 1] == b'\n' {
        at -= 1;
    }
    at
}

/// The length of all lines.
pub(super) fn length(mut results: Results) -> crate::base::Result<u64> {
    let (mut text, mut length, mut more) = (String::new(), 0, true);
    while more {
        text.clear();
        more = results.fill(&mut text, PIECE)?;
        length += text.len() as u64;
    }
    Ok(length)
}
