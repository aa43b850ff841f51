//! The names of the ledger's files: the only place that knows them. A name is parsed into a value
//! before anybody believes it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::base::{Error, Result};

/// The folder of commits and checkpoints.
pub const LOG: &str = "log";
/// Names the newest checkpoint, in the ledger's own folder.
pub const NEWEST: &str = "checkpoint.json";
/// The folder of leases.
pub const LEASE: &str = "lease";

/// The number of a commit; the first is 0. Written as 20 digits, so that names sort.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Version(pub u64);

impl Version {
    /// The one after.
    #[must_use]
    pub fn next(self) -> Version {
        Version(self.0 + 1)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:020}", self.0)
    }
}

/// A file in the folder `log`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFile {
    /// The state after this commit.
    Checkpoint(Version),
    /// This commit.
    Commit(Version),
}

impl LogFile {
    /// What a file called `name` is, or `None` for a stranger.
    #[must_use]
    pub fn parse(name: &str) -> Option<LogFile> {
        if let Some(digits) = name.strip_suffix(".checkpoint.json") {
            return twenty(digits).map(|number| LogFile::Checkpoint(Version(number)));
        }
        twenty(name.strip_suffix(".json")?).map(|number| LogFile::Commit(Version(number)))
    }
}

impl fmt::Display for LogFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LogFile::Checkpoint(version) => write!(f, "{version}.checkpoint.json"),
            LogFile::Commit(version) => write!(f, "{version}.json"),
        }
    }
}

/// What a lease is of: the whole job, later a shard of it. Lowercase letters, digits and `-`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Scope(String);

impl Scope {
    /// The whole job.
    #[must_use]
    pub fn job() -> Scope {
        Scope("job".into())
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The lock file, on local disk.
    #[must_use]
    pub fn lock(&self) -> String {
        format!("{LEASE}/{self}.lock")
    }

    /// Who holds the lock, on local disk.
    #[must_use]
    pub fn holder(&self) -> String {
        format!("{LEASE}/{self}.holder.json")
    }

    /// The folder of claims, on object storage.
    #[must_use]
    pub fn claims(&self) -> String {
        format!("{LEASE}/{self}")
    }
}

impl FromStr for Scope {
    type Err = Error;

    fn from_str(name: &str) -> Result<Scope> {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if name.is_empty() || name.len() > 64 || !name.bytes().all(plain) {
            return Err(Error::invalid("not a lease's scope").with("scope", name));
        }
        Ok(Scope(name.to_owned()))
    }
}

impl TryFrom<String> for Scope {
    type Error = Error;

    fn try_from(name: String) -> Result<Scope> {
        name.parse()
    }
}

impl From<Scope> for String {
    fn from(scope: Scope) -> String {
        scope.0
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A file in a scope's folder of claims.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClaimFile {
    /// Taking the lease under this epoch.
    Claim(u64),
    /// Giving it back.
    Released(u64),
    /// Being alive still.
    Renewed(u64),
}

impl ClaimFile {
    /// What a file called `name` is, or `None` for a stranger.
    #[must_use]
    pub fn parse(name: &str) -> Option<ClaimFile> {
        let (digits, suffix) = name.split_once('.')?;
        let epoch = twenty(digits)?;
        match suffix {
            "json" => Some(ClaimFile::Claim(epoch)),
            "released" => Some(ClaimFile::Released(epoch)),
            "renewed" => Some(ClaimFile::Renewed(epoch)),
            _ => None,
        }
    }

    /// The epoch it is about.
    #[must_use]
    pub fn epoch(self) -> u64 {
        match self {
            ClaimFile::Claim(epoch) | ClaimFile::Released(epoch) | ClaimFile::Renewed(epoch) => {
                epoch
            }
        }
    }
}

impl fmt::Display for ClaimFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ClaimFile::Claim(epoch) => write!(f, "{epoch:020}.json"),
            ClaimFile::Released(epoch) => write!(f, "{epoch:020}.released"),
            ClaimFile::Renewed(epoch) => write!(f, "{epoch:020}.renewed"),
        }
    }
}

/// A bulk file, or a folder of them, from the ledger's own folder on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PlanFile {
    /// What came back for one attempt at a chunk.
    Outcomes {
        /// The plan.
        plan: u32,
        /// The chunk within the plan.
        chunk: u32,
        /// The attempt at the chunk; the first is 1.
        attempt: u32,
    },
    /// What was sent as one chunk.
    Requests {
        /// The plan.
        plan: u32,
        /// The chunk within the plan.
        chunk: u32,
    },
    /// The row map.
    Rows {
        /// The plan.
        plan: u32,
    },
    /// The folder of a query's result.
    Snapshot {
        /// The plan.
        plan: u32,
    },
}

impl PlanFile {
    /// What the file at `path` (from the ledger's own folder on) is, or `None` for a stranger.
    #[must_use]
    pub fn parse(path: &str) -> Option<PlanFile> {
        let (plan, rest) = path.strip_prefix("plans/")?.split_once('/')?;
        let plan = short(plan, 6)?;
        if rest == "rows.parquet" {
            return Some(PlanFile::Rows { plan });
        }
        if rest.starts_with("snapshot/") {
            return Some(PlanFile::Snapshot { plan });
        }
        let (folder, name) = rest.split_once('/')?;
        let name = name.strip_suffix(".parquet")?;
        match folder {
            "requests" => Some(PlanFile::Requests {
                plan,
                chunk: short(name, 6)?,
            }),
            "outcomes" => {
                let (chunk, attempt) = name.split_once('-')?;
                Some(PlanFile::Outcomes {
                    plan,
                    chunk: short(chunk, 6)?,
                    attempt: short(attempt, 2)?,
                })
            }
            _ => None,
        }
    }
}

impl fmt::Display for PlanFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PlanFile::Outcomes {
                plan,
                chunk,
                attempt,
            } => write!(
                f,
                "plans/{plan:06}/outcomes/{chunk:06}-{attempt:02}.parquet"
            ),
            PlanFile::Requests { plan, chunk } => {
                write!(f, "plans/{plan:06}/requests/{chunk:06}.parquet")
            }
            PlanFile::Rows { plan } => write!(f, "plans/{plan:06}/rows.parquet"),
            PlanFile::Snapshot { plan } => write!(f, "plans/{plan:06}/snapshot"),
        }
    }
}

/// The folder of the index of earlier answers.
pub const INDEX: &str = "index";

/// A file in the folder `index`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IndexFile {
    /// What the index consists of, as it was written this many times.
    Manifest(Version),
    /// Some of its entries. The id is that of whoever wrote them.
    Keys {
        /// 32 hexadecimal digits.
        id: String,
        /// Which of the files that were written together.
        part: u32,
    },
}

impl IndexFile {
    /// What a file called `name` is, or `None` for a stranger.
    #[must_use]
    pub fn parse(name: &str) -> Option<IndexFile> {
        if let Some(digits) = name.strip_suffix(".json") {
            return twenty(digits).map(|number| IndexFile::Manifest(Version(number)));
        }
        let (id, part) = name.strip_suffix(".keys")?.split_once('-')?;
        let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        let is_id = id.len() == 32 && id.bytes().all(is_hex);
        Some(IndexFile::Keys {
            id: is_id.then(|| id.to_owned())?,
            part: short(part, 4)?,
        })
    }
}

impl fmt::Display for IndexFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            IndexFile::Manifest(version) => write!(f, "{version}.json"),
            IndexFile::Keys { id, part } => write!(f, "{id}-{part:04}.keys"),
        }
    }
}

fn twenty(digits: &str) -> Option<u64> {
    (digits.len() == 20).then(|| number(digits)).flatten()
}

/// A number padded to `width`; longer where it does not fit, but never padded beyond.
fn short(digits: &str, width: usize) -> Option<u32> {
    let padded = digits.len() == width || (digits.len() > width && !digits.starts_with('0'));
    let number = padded.then(|| number(digits)).flatten()?;
    u32::try_from(number).ok()
}

fn number(digits: &str) -> Option<u64> {
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| digits.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_of_the_log() {
        let check = |name: &str, file| assert_eq!(LogFile::parse(name), file, "{name}");
        check(
            "00000000000000000007.json",
            Some(LogFile::Commit(Version(7))),
        );
        check(
            "00000000000000000064.checkpoint.json",
            Some(LogFile::Checkpoint(Version(64))),
        );
        check("7.json", None);
        check("+0000000000000000007.json", None);
        check("00000000000000000007.json.bak", None);
        check("99999999999999999999.json", None);
        check("00000000000000000007.parquet", None);
    }

    #[test]
    fn a_scope_is_a_plain_name() {
        for name in ["", "Job", "a/b", "..", "a b"] {
            assert!(name.parse::<Scope>().is_err(), "{name}");
        }
        assert_eq!(
            "shard-3-of-8".parse::<Scope>().unwrap().lock(),
            "lease/shard-3-of-8.lock"
        );
        assert!(serde_json::from_str::<Scope>("\"../x\"").is_err());
    }

    #[test]
    fn a_padded_name_beyond_its_width_is_a_stranger() {
        assert_eq!(PlanFile::parse("plans/0000001/rows.parquet"), None);
        assert_eq!(
            PlanFile::parse("plans/1000000/rows.parquet"),
            Some(PlanFile::Rows { plan: 1_000_000 })
        );
    }

    proptest! {
        #[test]
        fn every_name_reads_back(plan: u32, chunk: u32, attempt: u32, number: u64) {
            for file in [
                PlanFile::Outcomes { plan, chunk, attempt },
                PlanFile::Requests { plan, chunk },
                PlanFile::Rows { plan },
            ] {
                prop_assert_eq!(PlanFile::parse(&file.to_string()), Some(file));
            }
            for file in [LogFile::Commit(Version(number)), LogFile::Checkpoint(Version(number))] {
                prop_assert_eq!(LogFile::parse(&file.to_string()), Some(file));
            }
            let id = format!("{number:032x}");
            for file in [IndexFile::Manifest(Version(number)), IndexFile::Keys { id, part: chunk }] {
                prop_assert_eq!(IndexFile::parse(&file.to_string()), Some(file));
            }
            for file in [ClaimFile::Claim(number), ClaimFile::Renewed(number)] {
                prop_assert_eq!(ClaimFile::parse(&file.to_string()), Some(file));
            }
        }

        #[test]
        fn no_name_is_misread(name in "\\PC{0,40}") {
            if let Some(file) = LogFile::parse(&name) {
                prop_assert_eq!(file.to_string(), name.clone());
            }
            if let Some(file) = ClaimFile::parse(&name) {
                prop_assert_eq!(file.to_string(), name.clone());
            }
            if let Some(file) = IndexFile::parse(&name) {
                prop_assert_eq!(file.to_string(), name);
            }
        }
    }
}
