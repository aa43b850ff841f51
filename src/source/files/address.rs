//! What a pattern (`*`, `?`, `[..]`, `**`) matches.

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
