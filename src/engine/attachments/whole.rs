//! What is read whole when its row is planned: counted, digested, and kept nowhere but for its beginning. So it is
//! told by its bytes, and not by where they lie or when they came there.

use std::fs::{File, Metadata};
use std::io::{self, ErrorKind, Read};
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::base::{Location, Result, hex};

/// Bytes of a file that are read at once.
const PART: usize = 64 << 10;

/// What was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Whole {
    /// Its first bytes, as many as were asked for.
    pub head: Vec<u8>,
    /// How many there are.
    pub bytes: u64,
    /// SHA-256 of them all, in hexadecimal.
    pub sha256: String,
}

/// What is being read, part by part.
pub(super) struct Reading {
    most: u64,
    keep: u64,
    head: Vec<u8>,
    bytes: u64,
    digest: Sha256,
}

impl Reading {
    /// Begins to read at most `most` bytes, of which the first `keep` are kept.
    pub(super) fn new(most: u64, keep: u64) -> Reading {
        Reading {
            most,
            keep,
            head: Vec::new(),
            bytes: 0,
            digest: Sha256::new(),
        }
    }

    /// The next bytes.
    ///
    /// # Errors
    /// In a sentence, if there are more than may be.
    pub(super) fn take(&mut self, part: &[u8]) -> std::result::Result<(), String> {
        self.bytes += part.len() as u64;
        if self.bytes > self.most {
            return Err(too_long(self.most));
        }
        let room = self.keep.saturating_sub(self.head.len() as u64);
        let room = usize::try_from(room).unwrap_or(usize::MAX);
        self.head.extend_from_slice(&part[..part.len().min(room)]);
        self.digest.update(part);
        Ok(())
    }

    /// There is no more.
    pub(super) fn end(self) -> Whole {
        Whole {
            head: self.head,
            bytes: self.bytes,
            sha256: hex(&self.digest.finalize()),
        }
    }
}

/// Why something is not read that has more than `most` bytes.
pub(super) fn too_long(most: u64) -> String {
    format!("it has more than {most} bytes, the most that can be sent")
}

/// Reads the file of this machine at `place`, at most `most` bytes of it, of which the first `keep` are kept; or says
/// why the row that names it cannot be sent.
///
/// # Errors
/// If the disk fails or refuses.
pub(super) async fn read_file(
    place: &Location,
    most: u64,
    keep: u64,
) -> Result<std::result::Result<Whole, String>> {
    let read = move |path: &Path| match File::open(path) {
        Ok(file) => read_open(file, Reading::new(most, keep)),
        Err(error) if is_nowhere(&error) => Ok(Err(NO_FILE.into())),
        Err(error) => Err(error),
    };
    place.read_on_disk(read).await
}

/// Why something is not read that is not there.
pub(super) const NO_FILE: &str = "there is no such file";

/// Whether no file can be there, by its name.
fn is_nowhere(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::InvalidFilename
    )
}

fn read_open(
    mut file: File,
    mut reading: Reading,
) -> io::Result<std::result::Result<Whole, String>> {
    if file
        .metadata()
        .as_ref()
        .is_ok_and(|file| Metadata::len(file) > reading.most)
    {
        return Ok(Err(too_long(reading.most)));
    }
    let mut part = vec![0; PART];
    loop {
        let read = match file.read(&mut part) {
            Ok(0) => return Ok(Ok(reading.end())),
            Ok(read) => read,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        if let Err(why) = reading.take(&part[..read]) {
            return Ok(Err(why));
        }
    }
}
