//! The house plan, read off the source: floors, lengths, and what must not stay.
//!
//! Tests inside `src` may look anywhere; what is said here holds for production code alone, except
//! that nothing unfinished stays in either.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The rooms, floor by floor, as `src/lib.rs` has them.
const FLOORS: [(&[&str], u8); 5] = [
    (&["cli"], 5),
    (&["engine"], 4),
    (
        &["spec", "source", "prompt", "provider", "ledger", "output"],
        3,
    ),
    (&["work", "emulator"], 2),
    (&["base"], 1),
];

/// The one room that only `cli` enters.
const STAND_IN: &str = "emulator";
/// Lines of production code that a file may have.
const LINES_MAX: usize = 600;
/// Macros that say that something is not done, or that it is being looked at.
const UNFINISHED: [&str; 3] = ["todo!(", "unimplemented!(", "dbg!("];

/// A source file, without comment lines and without its inner tests.
struct Source {
    path: PathBuf,
    /// Its room: the first part of its path under `src`; empty for `lib.rs` and `main.rs`.
    room: String,
    /// How many modules deep its items stand.
    depth: usize,
    /// All lines, comments blanked.
    lines: Vec<String>,
    /// How many of them are production code.
    production: usize,
}

fn floor(room: &str) -> Option<u8> {
    FLOORS
        .iter()
        .find(|(rooms, _)| rooms.contains(&room))
        .map(|(_, floor)| *floor)
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
    let entries = fs::read_dir(folder).expect("a folder of sources");
    for entry in entries.map(|entry| entry.expect("an entry").path()) {
        if entry.is_dir() {
            walk(&entry, found);
        } else if entry.extension().is_some_and(|ending| ending == "rs") {
            found.push(entry);
        }
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it is mapped over paths")]
fn read(path: PathBuf) -> Source {
    let text = fs::read_to_string(&path).expect("UTF-8");
    let relative = path.strip_prefix(root()).expect("under src").to_owned();
    let parts: Vec<_> = relative
        .with_extension("")
        .iter()
        .map(|part| part.to_string_lossy().into_owned())
        .collect();
    let lines: Vec<String> = text
        .lines()
        .map(|line| {
            let comment = line.trim_start().starts_with("//");
            if comment { "" } else { line }.to_owned()
        })
        .collect();
    let tests = lines.windows(2).position(|two| {
        two[0] == "#[cfg(test)]" && two[1].starts_with("mod ") && two[1].ends_with('{')
    });
    let is_front = parts.last().is_some_and(|last| last == "mod");
    Source {
        room: if parts.len() > 1 {
            parts[0].clone()
        } else {
            String::new()
        },
        depth: parts.len() - usize::from(is_front),
        production: tests.unwrap_or(lines.len()),
        path: relative,
        lines,
    }
}

/// The files and folders that are compiled for tests alone: `#[cfg(test)] mod name;`.
fn test_modules(sources: &[Source]) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    for source in sources {
        let is_front = source.path.ends_with("mod.rs") || source.path.ends_with("lib.rs");
        let home = if is_front {
            source.path.parent().expect("a folder").to_owned()
        } else {
            source.path.with_extension("")
        };
        for two in source
            .lines
            .windows(2)
            .filter(|two| two[0].trim() == "#[cfg(test)]")
        {
            let beside = two[1].trim().strip_prefix("#[path = \"");
            if let Some(name) = beside.and_then(|rest| rest.strip_suffix(".rs\"]")) {
                found.insert(source.path.with_file_name(name));
            } else if let Some((_, name)) = two[1].split_once("mod ") {
                found.extend(name.strip_suffix(';').map(|name| home.join(name)));
            }
        }
    }
    found
}

fn sources() -> Vec<Source> {
    let mut paths = Vec::new();
    walk(&root(), &mut paths);
    paths.sort();
    let mut sources: Vec<_> = paths.into_iter().map(read).collect();
    let tests = test_modules(&sources);
    for source in &mut sources {
        let module = source.path.with_extension("");
        if module.ancestors().any(|module| tests.contains(module)) {
            source.production = 0;
        }
    }
    assert!(sources.len() > 100, "the sources were not found");
    sources
}

/// The names that stand right after a path's start: one, or all of a list in braces.
fn heads(rest: &str) -> Vec<String> {
    let name = |text: &str| -> String {
        text.trim_start()
            .chars()
            .take_while(|c| c.is_alphanumeric() || *c == '_')
            .collect()
    };
    let Some(list) = rest.strip_prefix('{') else {
        return vec![name(rest)];
    };
    let (mut depth, mut names, mut item) = (0, Vec::new(), String::new());
    for c in list.chars() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => names.push(std::mem::take(&mut item)),
            _ if depth == 0 => item.push(c),
            _ => {}
        }
    }
    names.push(item);
    names.iter().map(|item| name(item)).collect()
}

/// Every room that a file's production code names, with the line: through `crate::`, and through as
/// many `super::` as lead out of the room.
fn rooms_named(source: &Source) -> Vec<(usize, String)> {
    let text = source.lines[..source.production].join("\n");
    let up = "super::".repeat(source.depth);
    let mut named = Vec::new();
    for start in ["crate::", up.as_str()] {
        if start.is_empty() {
            continue;
        }
        for (at, _) in text.match_indices(start) {
            let before = text[..at].chars().next_back();
            let inside = before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':');
            if inside {
                continue;
            }
            let line = text[..at].matches('\n').count() + 1;
            let rooms = heads(&text[at + start.len()..]);
            named.extend(rooms.into_iter().map(|room| (line, room)));
        }
    }
    named
}

/// Why a room must not name another one; nothing if it may.
fn trespass(from: &str, to: &str) -> Option<&'static str> {
    let (Some(here), Some(there)) = (floor(from), floor(to)) else {
        return Some("no room of the house");
    };
    if from == to {
        None
    } else if to == STAND_IN && from != "cli" {
        Some("only cli may name the stand-in vendor")
    } else if there > here {
        Some("upward")
    } else if there == here {
        Some("sideways")
    } else {
        None
    }
}

#[test]
fn rooms_name_only_floors_beneath_their_own() {
    let mut wrong = Vec::new();
    let mut seen = 0;
    for source in sources().iter().filter(|source| !source.room.is_empty()) {
        for (line, to) in rooms_named(source) {
            seen += 1;
            if let Some(why) = trespass(&source.room, &to) {
                let place = source.path.display();
                wrong.push(format!(
                    "src/{place}:{line}: {} -> {to}: {why}",
                    source.room
                ));
            }
        }
    }
    assert!(seen > 300, "only {seen} imports were found");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_room_stands_in_the_plan() {
    let lib = fs::read_to_string(root().join("lib.rs")).expect("the crate's root");
    let declared: BTreeSet<_> = lib
        .lines()
        .filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'))
        .collect();
    let planned: BTreeSet<_> = FLOORS
        .iter()
        .flat_map(|(rooms, _)| *rooms)
        .copied()
        .collect();
    assert_eq!(declared, planned);
    for (rooms, number) in FLOORS {
        let row = rooms.iter().all(|room| {
            lib.lines().any(|line| {
                line.starts_with(&format!("//! | {number} |"))
                    && line.contains(&format!("`{room}`"))
            })
        });
        assert!(row, "src/lib.rs does not show floor {number} as {rooms:?}");
    }
}

#[test]
fn files_stay_readable() {
    for source in sources() {
        assert!(
            source.production <= LINES_MAX,
            "src/{} has {} lines of production code",
            source.path.display(),
            source.production
        );
    }
}

#[test]
fn nothing_unfinished_stays() {
    for source in sources() {
        for (at, line) in source.lines.iter().enumerate() {
            let found = UNFINISHED.iter().find(|what| line.contains(**what));
            let place = source.path.display();
            assert!(found.is_none(), "src/{place}:{}: {line}", at + 1);
        }
    }
}

#[test]
fn the_plan_knows_up_from_down() {
    assert_eq!(trespass("engine", "ledger"), None);
    assert_eq!(trespass("ledger", "engine"), Some("upward"));
    assert_eq!(trespass("ledger", "output"), Some("sideways"));
    assert_eq!(trespass("emulator", "work"), Some("sideways"));
    assert!(trespass("engine", "emulator").is_some());
    assert_eq!(trespass("cli", "emulator"), None);
    assert_eq!(heads("{base::{Clock, Ids}, work::Row}"), ["base", "work"]);
    assert_eq!(heads("base::Clock;"), ["base"]);
}
