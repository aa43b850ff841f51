//! `_SUCCESS` and `_PUBLISHING`: the two objects that say what a folder on object storage is.
//!
//! `_SUCCESS` is written last, and lists the files of a complete output; Hadoop's readers know its
//! name. `_PUBLISHING` is written first where a folder cannot be put in place at once, and lists
//! every file that may be ours by then; it is how the next run knows an unfinished output from a
//! stranger's. Engines skip names that begin with `_`.

use std::collections::HashSet;

use serde_json::{Map, Value, json};

use crate::output::{Published, RUN_KEY};

/// The name of the object that makes a folder complete.
pub(in crate::output) const SUCCESS: &str = "_SUCCESS";

/// The name of the object that stands in a folder while it is written.
pub(in crate::output) const PUBLISHING: &str = "_PUBLISHING";

/// The folder that holds ledgers and what is under way; never replaced, never deleted.
pub(in crate::output) const OUR_FOLDER: &str = "_columnist";

/// Who wrote a folder, and which files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::output) struct Marker {
    /// The identity's pairs.
    pub(in crate::output) identity: Vec<(String, String)>,
    /// Paths beneath the folder.
    pub(in crate::output) files: HashSet<String>,
}

impl Marker {
    /// Reads either marker; none if it is not one of ours.
    pub(in crate::output) fn read(bytes: &[u8]) -> Option<Marker> {
        let root: Value = serde_json::from_slice(bytes).ok()?;
        let identity = root.get("identity")?.as_object()?;
        let pair =
            |(key, value): (&String, &Value)| Some((key.clone(), value.as_str()?.to_owned()));
        let identity: Vec<_> = identity.iter().filter_map(pair).collect();
        identity.iter().find(|(key, _)| key == RUN_KEY)?;
        let files = root.get("files")?.as_array()?.iter();
        let path = |file: &Value| Some(file.get("path")?.as_str()?.to_owned());
        Some(Marker {
            identity,
            files: files.filter_map(path).collect(),
        })
    }

    /// The bytes of a `_PUBLISHING`.
    pub(in crate::output) fn publishing(&self) -> Vec<u8> {
        let mut files: Vec<_> = self.files.iter().collect();
        files.sort();
        let files: Vec<Value> = files.iter().map(|path| json!({ "path": path })).collect();
        to_bytes(&json!({ "identity": object(&self.identity), "files": files }))
    }

    /// Whether a file of this path may be in a folder that is ours: it is listed, or engines skip it.
    pub(in crate::output) fn knows(&self, path: &str) -> bool {
        self.files.contains(path) || is_skipped(path)
    }
}

/// Whether engines skip a file of this path.
pub(in crate::output) fn is_skipped(path: &str) -> bool {
    path.split('/').any(|part| part.starts_with(['_', '.']))
}

/// The bytes of a `_SUCCESS`.
pub(in crate::output) fn success(identity: &[(String, String)], published: &Published) -> Vec<u8> {
    let file = |file: &crate::output::PublishedFile| json!({ "path": file.relative, "rows": file.rows, "bytes": file.bytes });
    to_bytes(&json!({
        "identity": object(identity),
        "rows": published.rows(),
        "bytes": published.bytes(),
        "files": published.files.iter().map(file).collect::<Vec<_>>(),
    }))
}

fn object(pairs: &[(String, String)]) -> Map<String, Value> {
    let pairs = pairs.iter();
    pairs
        .map(|(key, value)| (key.clone(), json!(value)))
        .collect()
}

fn to_bytes(value: &Value) -> Vec<u8> {
    let mut bytes = value.to_string().into_bytes();
    bytes.push(b'\n');
    bytes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::base::mutate::one_spoilt;
    use crate::output::PublishedFile;

    const MARKER: &str = r#"{"identity":{"columnist.run":"r1","columnist.ledger":"l1"},"rows":2,"bytes":9,"files":[{"path":"k=a/b.parquet","rows":2,"bytes":9},{"path":"c.parquet"}]}"#;

    proptest! {
        #[test]
        fn whatever_stands_in_a_marker_is_ours_or_a_strangers(bytes in one_spoilt(vec![MARKER.to_owned()])) {
            let is_ours = |marker: &Marker| marker.identity.iter().any(|(key, _)| key == RUN_KEY);
            if let Some(marker) = Marker::read(&bytes) {
                prop_assert!(is_ours(&marker));
                prop_assert_eq!(Marker::read(&marker.publishing()), Some(marker));
            }
        }
    }

    #[test]
    fn both_markers_read_back() {
        let identity = vec![(RUN_KEY.to_owned(), "r1".to_owned())];
        let marker = Marker {
            identity: identity.clone(),
            files: HashSet::from(["k=a/b.parquet".to_owned()]),
        };
        assert_eq!(Marker::read(&marker.publishing()), Some(marker.clone()));
        let published = Published {
            files: vec![PublishedFile {
                relative: "k=a/b.parquet".into(),
                rows: 2,
                bytes: 9,
            }],
        };
        assert_eq!(Marker::read(&success(&identity, &published)), Some(marker));
    }

    #[test]
    fn what_others_wrote_is_not_ours() {
        for text in [
            "",
            "{}",
            r#"{"identity":{},"files":[]}"#,
            r#"{"identity":{"a":"b"},"files":[]}"#,
        ] {
            assert_eq!(Marker::read(text.as_bytes()), None, "{text}");
        }
    }
}
