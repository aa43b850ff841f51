//! The house, read as Rust rather than as text: that no files need each other in a circle, and that
//! a vendor's words stay at the vendor's.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use circles::{circles, shown};
use modules::{Files, modules};
use words::Words;

mod circles;
mod modules;
mod words;

/// The folders in which providers and their dialects stand, one folder each.
const VENDORS: [&str; 2] = ["provider/", "emulator/"];
/// What vendors call themselves and their models.
const NAMES: [&str; 4] = ["anthropic", "claude", "gpt", "openai"];
/// Where vendors may be named: what a job file says, what a model costs, and the lists of what there
/// is, with what is the same for all.
const NAMED_IN: [&str; 9] = [
    "spec/",
    "work/price.rs",
    "provider/mod.rs",
    "provider/open.rs",
    "emulator/config.rs",
    "emulator/mod.rs",
    "emulator/problem.rs",
    "emulator/server.rs",
    // An example of a command.
    "cli/args.rs",
];
/// Words of vendors that are ours as well: a fault of the sandbox.
const OURS: [&str; 1] = ["max_tokens"];

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

#[test]
fn no_files_need_each_other_in_a_circle() {
    let found: Vec<_> = circles(&sources()).iter().map(shown).collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// The vendor in whose folder a file stands.
fn vendor(file: &str) -> Option<&str> {
    let rest = VENDORS.iter().find_map(|room| file.strip_prefix(room))?;
    rest.split_once('/')
        .map(|(vendor, _)| vendor)
        .filter(|vendor| NAMES.contains(vendor))
}

/// The codes in the clients' code: words with lines between their parts, such as `token_limit_exceeded`.
fn codes(production: &Files) -> BTreeSet<String> {
    let is_code = |text: &String| {
        let parts = text.split('_');
        let is_word = |part: &str| !part.is_empty() && part.chars().all(|c| c.is_ascii_lowercase());
        parts.clone().count() > 1 && parts.clone().all(is_word) && !OURS.contains(&&**text)
    };
    let is_client = |file: &str| file.starts_with("provider/") && vendor(file).is_some();
    let clients = production.iter().filter(|(file, _)| is_client(file));
    clients
        .flat_map(|(_, text)| Words::of(text).texts)
        .filter(is_code)
        .collect()
}

/// What of `words` only a vendor says.
fn vendors_words(words: &Words, codes: &BTreeSet<String>) -> BTreeSet<String> {
    let is_letter = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let said = words.texts.iter();
    let said = said.flat_map(|text| text.split(|c| !is_letter(c)));
    let said = said.filter(|word| codes.contains(*word)).map(str::to_owned);
    let is_name = |word: &&String| {
        let word = word.to_lowercase();
        NAMES.iter().any(|name| word.contains(name))
    };
    let names = words.names.union(&words.texts).filter(is_name).cloned();
    said.chain(names).collect()
}

#[test]
fn vendors_words_stay_in_their_own_folders() {
    let mut production = sources();
    let compiled = modules(&production);
    let compiled: BTreeSet<_> = compiled.values().map(|module| &*module.file).collect();
    production.retain(|file, _| compiled.contains(&**file));
    let codes = codes(&production);
    assert!(codes.len() > 30, "only {codes:?} were found");
    let mut wrong = Vec::new();
    for (file, text) in &production {
        let is_listed = NAMED_IN.iter().any(|place| file.starts_with(place));
        if is_listed || vendor(file).is_some() {
            continue;
        }
        let words = vendors_words(&Words::of(text), &codes);
        wrong.extend(words.iter().map(|word| format!("src/{file}: {word:?}")));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_vendors_word_is_found_in_names_texts_and_macros_and_not_in_docs_and_tests() {
    let codes = BTreeSet::from(["queue_is_full".to_owned()]);
    for (text, count) in [
        (
            "fn f() -> &'static str { \"the code queue_is_full says so\" }",
            1,
        ),
        ("fn f() { println!(\"{}\", [\"queue_is_full\"]) }", 1),
        ("#[serde(rename = \"queue_is_full\")] struct Full;", 1),
        ("const A: &[u8] = b\"queue_is_full\";", 1),
        ("struct OpenAiLimits;", 1),
        ("fn f() -> &'static str { \"Claude answers\" }", 1),
        ("/// OpenAI says `queue_is_full`.\nstruct Full;", 0),
        (
            "fn queue_is_full_of_rows() -> &'static str { \"queue_is_full_of_rows\" }",
            0,
        ),
        ("#[cfg(test)] mod tests { const A: &str = \"openai\"; }", 0),
    ] {
        assert_eq!(
            vendors_words(&Words::of(text), &codes).len(),
            count,
            "{text}"
        );
    }
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
