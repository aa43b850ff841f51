//! Addresses: where a path leads, and whether one place lies inside another.
//!
//! An address is an absolute local path or a URL, as text. What is compared is the text, without
//! `.`, `..` and doubled slashes; nothing here asks a disk or a store. (Whether two local names
//! are one place by a link is asked by the caller, who compares the real paths as well.)

use std::path::{Path, PathBuf};

/// The absolute address that `text` means when it is written in the folder `base`. A slash at the
/// end stays: it says "a folder".
///
/// # Errors
/// What is wrong with it, and what to write instead.
pub(super) fn absolute(text: &str, base: &Path) -> Result<String, (String, String)> {
    if text.trim().is_empty() {
        return Err(("the path is empty".into(), "write a path or a URL".into()));
    }
    if let Some(local) = text.strip_prefix("file://") {
        return absolute_local(local.strip_prefix("localhost").unwrap_or(local), base);
    }
    match text.split_once("://") {
        Some((scheme, rest)) => absolute_url(scheme, rest),
        None => absolute_local(text, base),
    }
}

fn absolute_url(scheme: &str, rest: &str) -> Result<String, (String, String)> {
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let known = scheme.bytes().all(|b| b.is_ascii_alphanumeric()) && !scheme.is_empty();
    if !known || authority.is_empty() {
        return Err((
            "not a complete URL".into(),
            "write `scheme://bucket/path`, such as `s3://lake/tickets/`".into(),
        ));
    }
    // Azure's `abfss://container@account` is the one place where `@` is no sign of a secret.
    if authority.contains('@') && !scheme.starts_with("abfs") {
        return Err((
            "the URL holds credentials".into(),
            "take them out; they come from the environment (`AWS_ACCESS_KEY_ID` and the like)"
                .into(),
        ));
    }
    let scheme = scheme.to_ascii_lowercase();
    let scheme = if scheme == "s3a" { "s3" } else { &scheme };
    let path = normal(path).ok_or_else(leads_out)?;
    Ok(format!("{scheme}://{authority}/{path}"))
}

fn absolute_local(text: &str, base: &Path) -> Result<String, (String, String)> {
    if text == "~" || text.starts_with("~/") {
        return Err((
            "`~` is not filled in here".into(),
            "write `${HOME}` instead".into(),
        ));
    }
    let joined = base.join(text);
    let joined = joined
        .to_str()
        .ok_or_else(|| ("the path is not Unicode".into(), String::new()))?;
    let path = normal(joined).ok_or_else(leads_out)?;
    Ok(format!("/{path}"))
}

fn leads_out() -> (String, String) {
    (
        "the path leads out of its root".into(),
        "take out a `..`".into(),
    )
}

/// `path` without `.`, `..`, doubled slashes and the first slash; `None` if it leads out.
fn normal(path: &str) -> Option<String> {
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    let folder = path.ends_with('/') || path.ends_with("/.") || path.ends_with("/..");
    let slash = if folder && !parts.is_empty() { "/" } else { "" };
    Some(parts.join("/") + slash)
}

/// The local path of an absolute address, if it is one.
pub(super) fn local(address: &str) -> Option<&Path> {
    address.starts_with('/').then(|| Path::new(address))
}

/// The folder above an address; `None` for the root of a disk or a bucket.
pub(super) fn parent(address: &str) -> Option<&str> {
    let inner = address.trim_end_matches('/');
    let above = &address[..=inner.rfind('/')?];
    (!above.ends_with("://")).then_some(above)
}

/// The last part of an address, without the slash at its end.
pub(super) fn last_part(address: &str) -> &str {
    let inner = address.trim_end_matches('/');
    inner.rsplit('/').next().unwrap_or(inner)
}

/// The place `name` in the folder `address`.
pub(super) fn join(address: &str, name: &str) -> String {
    format!("{}/{name}", address.trim_end_matches('/'))
}

/// Whether `inner` is `outer`, or lies in it.
pub(super) fn contains(outer: &str, inner: &str) -> bool {
    let outer = outer.trim_end_matches('/');
    inner
        .trim_end_matches('/')
        .strip_prefix(outer)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The real path behind a local address: what exists of it, without links, and the rest as it is.
/// URLs stay as they are.
pub(super) fn real(address: &str, canonical: &dyn Fn(&Path) -> Option<PathBuf>) -> String {
    let Some(path) = local(address) else {
        return address.to_owned();
    };
    path.ancestors()
        .find_map(|known| {
            let rest = path.strip_prefix(known).ok()?;
            canonical(known)?.join(rest).to_str().map(str::to_owned)
        })
        .unwrap_or_else(|| address.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> String {
        absolute(text, Path::new("/srv/jobs")).unwrap_or_else(|(problem, _)| problem)
    }

    #[test]
    fn an_address_is_absolute_and_has_no_detours() {
        for (written, meant) in [
            ("t.parquet", "/srv/jobs/t.parquet"),
            ("./a//b/../c/", "/srv/jobs/a/c/"),
            ("../out", "/srv/out"),
            ("..", "/srv/"),
            ("../x/..", "/srv/"),
            ("/lake/t/", "/lake/t/"),
            ("file:///lake/t", "/lake/t"),
            ("file://localhost/lake", "/lake"),
            ("s3://lake/a/./b//c/../d/", "s3://lake/a/b/d/"),
            ("s3a://lake/a", "s3://lake/a"),
            ("s3://lake", "s3://lake/"),
            ("s3://lake/a/*/b?.parquet", "s3://lake/a/*/b?.parquet"),
            ("abfss://c@account.example/x", "abfss://c@account.example/x"),
            ("../../../x", "the path leads out of its root"),
            ("s3://lake/../x", "the path leads out of its root"),
            ("https://me:pw@host/x", "the URL holds credentials"),
            ("s3:///x", "not a complete URL"),
            ("~/x", "`~` is not filled in here"),
            (" ", "the path is empty"),
        ] {
            assert_eq!(at(written), meant, "{written}");
        }
    }

    #[test]
    fn inside_means_by_whole_parts_of_the_path() {
        for (outer, inner, expect) in [
            ("/a/b", "/a/b", true),
            ("/a/b/", "/a/b", true),
            ("/a/b", "/a/b/c/d", true),
            ("/a/b", "/a/bc", false),
            ("/a/b/c", "/a/b", false),
            ("/", "/a", true),
            ("s3://lake/", "s3://lake/x", true),
            ("s3://lake/", "s3://lakes/x", false),
            ("s3://lake/x", "/x", false),
        ] {
            assert_eq!(contains(outer, inner), expect, "{outer} {inner}");
        }
    }

    #[test]
    fn a_root_has_no_folder_above_it() {
        assert_eq!(parent("/a/b/"), Some("/a/"));
        assert_eq!(parent("/a"), Some("/"));
        assert_eq!(parent("/"), None);
        assert_eq!(parent("s3://lake/x"), Some("s3://lake/"));
        assert_eq!(parent("s3://lake/"), None);
    }

    #[test]
    fn a_link_is_followed_as_far_as_it_exists() {
        let canonical = |path: &Path| match path.to_str()? {
            "/data/current" => Some(PathBuf::from("/data/2024")),
            "/data" => Some(PathBuf::from("/data")),
            _ => None,
        };
        assert_eq!(real("/data/current/out/x", &canonical), "/data/2024/out/x");
        assert_eq!(real("/data/new", &canonical), "/data/new");
        assert_eq!(real("s3://b/x", &canonical), "s3://b/x");
    }
}
