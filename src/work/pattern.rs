//! An address that may be a pattern: `*`, `?`, `[..]`, `**`.
//!
//! A name that exists as it is written is meant literally, whatever is in it: `data [2024]/x.parquet` is one
//! file, and `data [2024]/*.parquet` is a pattern in the folder of that name.

use std::path::Path;

/// The characters that a pattern is made of.
const SPECIAL: [char; 3] = ['*', '?', '['];

/// The part of `address` that is meant literally: all of it, or its folders before the first that is a pattern;
/// and the pattern behind it. `exists` knows the local disk; in a bucket, whatever looks like a pattern is
/// one, and on a web server nothing is.
#[must_use]
pub fn split(address: &str, exists: impl Fn(&Path) -> bool) -> (&str, Option<&str>) {
    if address.starts_with("http://") || address.starts_with("https://") {
        return (address, None);
    }
    let body = address.find("://").map_or(0, |at| at + 3);
    let mut from = body;
    while let Some(found) = address[from..].find(SPECIAL) {
        let at = from + found;
        let end = address[at..]
            .find('/')
            .map_or(address.len(), |end| at + end);
        if body == 0 && exists(Path::new(&address[..end])) {
            from = end;
            continue;
        }
        let start = address[..at].rfind('/').map_or(0, |slash| slash + 1);
        return (
            &address[..start],
            Some(address[start..].trim_end_matches('/')),
        );
    }
    (address, None)
}

const GLOB: glob::MatchOptions = glob::MatchOptions {
    case_sensitive: true,
    require_literal_separator: true,
    require_literal_leading_dot: true,
};

/// Whether `pattern` names the file at `relative`, or a folder that it is in.
#[must_use]
pub fn matches_path_or_parent(pattern: &glob::Pattern, relative: &str) -> bool {
    let ends = relative.match_indices('/').map(|(at, _)| at);
    ends.chain([relative.len()])
        .any(|end| pattern.matches_with(&relative[..end], GLOB))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_cut_off_at_its_folder() {
        for (address, fixed, pattern) in [
            ("/a/b/*.parquet", "/a/b/", Some("*.parquet")),
            ("s3://b/x/dt=202?/y/", "s3://b/x/", Some("dt=202?/y")),
            ("/a/b[1].parquet", "/a/", Some("b[1].parquet")),
            ("/a/b", "/a/b", None),
            (
                "https://host/a[1].parquet",
                "https://host/a[1].parquet",
                None,
            ),
        ] {
            assert_eq!(split(address, |_| false), (fixed, pattern), "{address}");
        }
    }

    #[test]
    fn what_exists_by_that_name_is_no_pattern() {
        let there = ["/a [1]", "/a [1]/b*", "/a [1]/b*/c?.parquet"];
        let exists = |path: &Path| there.iter().any(|known| path == Path::new(known));
        for (address, fixed, pattern) in [
            ("/a [1]/b*/c?.parquet", "/a [1]/b*/c?.parquet", None),
            ("/a [1]/", "/a [1]/", None),
            ("/a [1]/b*/d?.parquet", "/a [1]/b*/", Some("d?.parquet")),
            ("/a [1]/x", "/a [1]/x", None),
            ("/a [2]/b*/c?.parquet", "/", Some("a [2]/b*/c?.parquet")),
            ("s3://b/a [1]/b*", "s3://b/", Some("a [1]/b*")),
        ] {
            assert_eq!(split(address, exists), (fixed, pattern), "{address}");
        }
    }
}
