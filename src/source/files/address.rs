//! An address that may be a glob: `*`, `?`, `[..]`, `**`.

const GLOB: glob::MatchOptions = glob::MatchOptions {
    case_sensitive: true,
    require_literal_separator: true,
    require_literal_leading_dot: true,
};

/// Whether the pattern names the file, or a folder that it is in.
pub(super) fn matches_path_or_parent(pattern: &glob::Pattern, relative: &str) -> bool {
    let ends = relative.match_indices('/').map(|(at, _)| at);
    ends.chain([relative.len()])
        .any(|end| pattern.matches_with(&relative[..end], GLOB))
}

/// The part of an address before its first segment with a glob character, and the rest. A local
/// file whose very name holds such a character is not a glob.
pub(super) fn split_glob(address: &str) -> (&str, Option<String>) {
    let body = address.find("://").map_or(0, |at| at + 3);
    let is_web = address.starts_with("http://") || address.starts_with("https://");
    if is_web || (body == 0 && std::fs::exists(address).unwrap_or(false)) {
        return (address, None);
    }
    let Some(first) = address[body..].find(['*', '?', '[']) else {
        return (address, None);
    };
    let at = address[..body + first].rfind('/').map_or(0, |at| at + 1);
    let pattern = address[at..].trim_end_matches('/').to_owned();
    (&address[..at], Some(pattern))
}
