//! The house, read as Rust rather than as text: that no files need each other in a circle.

use std::fs;
use std::path::Path;

use circles::{circles, shown};
use modules::Files;

mod circles;
mod modules;

/// Rooms whose circles are passed over, until they are rebuilt.
const STILL: [&str; 1] = ["engine"];

/// All sources of the crate.
fn sources() -> Files {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (mut files, mut open) = (Files::new(), vec![root.clone()]);
    while let Some(folder) = open.pop() {
        let entries = fs::read_dir(folder).expect("a folder of sources");
        for path in entries.map(|entry| entry.expect("an entry").path()) {
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                let name = path.strip_prefix(&root).expect("under src").to_str();
                let text = fs::read_to_string(&path).expect("UTF-8");
                files.insert(name.expect("UTF-8").replace('\\', "/"), text);
            }
        }
    }
    assert!(files.len() > 100, "the sources were not found");
    files
}

fn room(file: &str) -> &str {
    file.split_once('/').map_or("", |(room, _)| room)
}

#[test]
fn no_files_need_each_other_in_a_circle() {
    let found: Vec<_> = circles(&sources())
        .iter()
        .filter(|circle| !circle.keys().all(|file| STILL.contains(&room(file))))
        .map(shown)
        .collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// The circles of a small crate, each as its files' names.
fn circles_of(files: &[(&str, &str)]) -> Vec<Vec<String>> {
    let files = files
        .iter()
        .map(|(name, text)| ((*name).to_owned(), (*text).to_owned()))
        .collect();
    circles(&files)
        .into_iter()
        .map(|circle| circle.into_keys().collect())
        .collect()
}

#[test]
fn a_tree_without_circles_has_none() {
    let found = circles_of(&[
        ("lib.rs", "pub mod a; mod b;"),
        (
            "a/mod.rs",
            "mod one; mod two; pub use one::One; pub use two::Two;",
        ),
        ("a/one.rs", "pub struct One;"),
        ("a/two.rs", "use super::One; pub struct Two(One);"),
        (
            "b.rs",
            "use crate::a::{One, Two}; fn both(_: One, _: Two) {}",
        ),
    ]);
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn a_circle_is_found_by_imports_paths_and_macros() {
    let one = "use super::two::Two; pub struct One(Two); pub fn one() {}";
    for two in [
        "use super::one::One; pub struct Two;",
        "use super::one; pub struct Two; fn f() { one::one() }",
        "pub struct Two; fn f() { super::one::one() }",
        "pub struct Two; fn f() { crate::one::one() }",
        "pub struct Two; fn f() -> Vec<super::one::One> { vec![] }",
        "pub struct Two; fn f() { println!(\"{:?}\", [super::one::one()]) }",
        "pub struct Two; fn f() { use super::one::one; one() }",
        "pub struct Two; mod inner { use super::super::one::One; fn f(_: One) {} }",
    ] {
        let found = circles_of(&[
            ("lib.rs", "mod one; mod two;"),
            ("one.rs", one),
            ("two.rs", two),
        ]);
        assert_eq!(found, [["one.rs", "two.rs"]], "{two}");
    }
}

#[test]
fn a_circle_through_a_re_export_is_found() {
    let found = circles_of(&[
        ("lib.rs", "pub mod room; mod other;"),
        ("room/mod.rs", "mod deep; pub use deep::{Deep as Shown};"),
        (
            "room/deep.rs",
            "use crate::other::Other; pub struct Deep(Other);",
        ),
        (
            "other.rs",
            "use crate::room::Shown; pub struct Other(Box<Shown>);",
        ),
    ]);
    assert_eq!(found, [["other.rs", "room/deep.rs"]]);
}

#[test]
fn a_front_that_uses_what_it_hands_on_needs_it() {
    let front =
        |body: &str| format!("mod deep; pub use deep::{{deep, Deep}}; pub struct Front; {body}");
    let deep = "use super::Front; pub struct Deep(Front); pub fn deep() {}";
    for (body, count) in [
        ("", 0),
        ("fn f() { deep() }", 1),
        ("fn f() { deep::deep() }", 1),
        ("fn f(_: Deep) {}", 1),
    ] {
        let found = circles_of(&[
            ("lib.rs", "pub mod room;"),
            ("room/mod.rs", &front(body)),
            ("room/deep.rs", deep),
        ]);
        assert_eq!(found.len(), count, "{body}");
    }
}

#[test]
fn what_is_compiled_for_tests_alone_does_not_count() {
    let found = circles_of(&[
        ("lib.rs", "mod one; mod two;"),
        (
            "one.rs",
            "use super::two::Two; pub struct One(Two); #[cfg(test)] mod tests;",
        ),
        (
            "two.rs",
            "pub struct Two; #[cfg(test)] use super::one::One; \
             impl Two { #[cfg(test)] fn f(_: super::one::One) {} } \
             #[cfg(test)] mod tests { use super::super::one::One; }",
        ),
    ]);
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn a_circle_is_shown_with_what_each_file_needs() {
    let files = [
        ("lib.rs", "mod one; mod two;"),
        ("one.rs", "use super::two::{Two, also}; pub struct One;"),
        (
            "two.rs",
            "use super::one::One; pub struct Two; pub fn also() {}",
        ),
    ];
    let files = files.map(|(name, text)| (name.to_owned(), text.to_owned()));
    let found = circles(&files.into_iter().collect());
    assert_eq!(
        shown(&found[0]),
        "a circle of 2 files:\n    one.rs -> two.rs (Two, also)\n    two.rs -> one.rs (One)\n"
    );
}
