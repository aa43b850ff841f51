//! Which files need which, and where they need each other in a circle.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::modules::{Files, Import, Module, Names, modules};

/// For each file the files that it needs, and what it names of each.
type Edges = BTreeMap<String, BTreeMap<String, BTreeSet<String>>>;

/// How many re-exports may lie between a name and what it names.
const HOPS_MAX: usize = 16;

/// The circles of a crate: sets of files that all need each other, each with the edges inside it.
pub(super) fn circles(files: &Files) -> Vec<Edges> {
    let edges = House(modules(files)).edges();
    let reached: BTreeMap<_, _> = edges
        .keys()
        .map(|file| (file.clone(), reach(&edges, file)))
        .collect();
    let mut found = BTreeSet::new();
    for (file, needed) in &reached {
        let back = |other: &&String| reached.get(*other).is_some_and(|back| back.contains(file));
        let circle: BTreeSet<_> = needed.iter().filter(back).cloned().collect();
        if !circle.is_empty() {
            found.insert(circle);
        }
    }
    found.iter().map(|circle| within(&edges, circle)).collect()
}

/// A circle for people: its files, and what each needs of which other.
pub(super) fn shown(circle: &Edges) -> String {
    let mut text = format!("a circle of {} files:\n", circle.len());
    for (from, needs) in circle {
        for (to, names) in needs {
            let names: Vec<_> = names.iter().map(String::as_str).collect();
            let _ = writeln!(text, "    {from} -> {to} ({})", names.join(", "));
        }
    }
    text
}

/// Every file that `from` needs, and those need, and so on; itself only through others.
fn reach(edges: &Edges, from: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut open = vec![from];
    while let Some(file) = open.pop() {
        for next in edges.get(file).into_iter().flat_map(BTreeMap::keys) {
            if found.insert(next.clone()) {
                open.push(next);
            }
        }
    }
    found
}

fn within(edges: &Edges, circle: &BTreeSet<String>) -> Edges {
    let mut inside = edges.clone();
    inside.retain(|file, _| circle.contains(file));
    for needs in inside.values_mut() {
        needs.retain(|file, _| circle.contains(file));
    }
    inside
}

/// A crate, to find out what its names stand for.
struct House(BTreeMap<Names, Module>);

impl House {
    fn edges(&self) -> Edges {
        let mut edges = Edges::new();
        for (home, module) in &self.0 {
            let needs = edges.entry(module.file.clone()).or_default();
            for path in self.named(home, module) {
                let Some(there) = self
                    .absolute(home, path, 0)
                    .and_then(|path| self.owner(&path))
                else {
                    continue;
                };
                let file = &self.0[&there].file;
                if *file != module.file {
                    let names = needs.entry(file.clone()).or_default();
                    names.extend(path.last().cloned());
                }
            }
        }
        edges
    }

    /// What a module's code names. What it only hands on from the modules beneath it is not needed by
    /// it: that is what the front of a folder is for.
    fn named<'a>(&'a self, home: &'a Names, module: &'a Module) -> impl Iterator<Item = &'a Names> {
        let handed_on = |import: &Import| {
            import.is_public
                && self
                    .absolute(home, &import.path, 0)
                    .is_none_or(|path| path.starts_with(home))
        };
        module
            .imports
            .values()
            .filter(move |import| !handed_on(import))
            .map(|import| &import.path)
            .chain(&module.paths)
    }

    /// A path as it is written in `home`, from the crate's root; nothing for what is not the crate's.
    fn absolute(&self, home: &[String], path: &[String], hops: usize) -> Option<Names> {
        let (first, rest) = path.split_first()?;
        match first.as_str() {
            "crate" => return Some(rest.to_vec()),
            "self" if !rest.is_empty() => return Some([home, rest].concat()),
            "super" => {
                let (_, above) = home.split_last()?;
                let is_further = rest.first().is_some_and(|next| next == "super");
                return if is_further {
                    self.absolute(above, rest, hops)
                } else {
                    Some([above, rest].concat())
                };
            }
            _ => {}
        }
        let child = [home, path].concat();
        let is_module = self.0.contains_key(&child[..=home.len()]);
        let import = self.0.get(home)?.imports.get(first);
        match import {
            Some(import) if hops < HOPS_MAX && (rest.is_empty() || !is_module) => {
                let target = self.absolute(home, &import.path, hops + 1)?;
                Some([&target, rest].concat())
            }
            _ => is_module.then_some(child),
        }
    }

    /// The module that defines what `path` names, through however many re-exports.
    fn owner(&self, path: &[String]) -> Option<Names> {
        let mut path = path.to_vec();
        for _ in 0..HOPS_MAX {
            let len = (0..=path.len())
                .rev()
                .find(|len| self.0.contains_key(&path[..*len]))?;
            let (home, rest) = path.split_at(len);
            let handed_on = rest
                .first()
                .filter(|name| self.0[home].imports.contains_key(*name))
                .and_then(|_| self.absolute(home, rest, 0));
            match handed_on {
                Some(next) if next != path => path = next,
                _ => return Some(home.to_vec()),
            }
        }
        None
    }
}
