//! Values that nothing asks for: a `--var` whose name is nowhere is most likely a slip, and the value that was
//! meant is missing or an old one.

use std::collections::BTreeSet;

use crate::base::{Result, nearest};

use super::draft::Draft;
use super::file::{Table, Value};
use super::job::{Job, SourceInput};
use super::mistake::{Mistake, MistakeAt};
use super::surroundings::Surroundings;

impl Draft {
    /// The job that was meant, for a command that carries out all of it: each `--var` has to be used.
    ///
    /// # Errors
    /// As for [`resolve`](Draft::resolve).
    pub fn resolve_whole(&self, around: &Surroundings) -> Result<Job> {
        let job = self.resolve(around)?;
        let texts = texts(self, &job);
        let is_used = |name: &str| texts.iter().any(|text| names(text, name));
        let unused: Vec<&String> = self.vars.keys().filter(|name| !is_used(name)).collect();
        if unused.is_empty() {
            return Ok(job);
        }
        let asked = texts.iter().flat_map(|text| asked_in(text));
        let free = asked.filter(|name| !self.vars.contains_key(*name));
        let free: BTreeSet<&str> = free.filter(|name| !name.is_empty()).collect();
        let near = |name: &str| match free.len() {
            1 => free.first().copied(),
            _ => nearest(name, free.iter().copied()),
        };
        let mistake = |name: &String| Mistake {
            place: MistakeAt::Flag(format!("--var {name}")),
            problem: format!("nothing in the job asks for `{name}`"),
            advice: match near(name) {
                Some(near) => format!("did you mean `--var {near}=...`?"),
                None => format!(
                    "leave it out, or write `{{{{ vars.{name} }}}}` in a prompt or a path, or `${name}` in SQL"
                ),
            },
        };
        Err(self.error(unused.into_iter().map(mistake).collect()))
    }

    /// Whether the ledger's place follows from the folder that the job file is in, or the command runs in.
    #[must_use]
    pub fn has_relative_ledger(&self) -> bool {
        let text = |section: &str| match &self.tree.get(section)?.value {
            Value::Table(table) => match &table.get("path")?.value {
                Value::Text(text) => Some(text.clone()),
                _ => None,
            },
            _ => None,
        };
        let place = text("ledger").or_else(|| text("output"));
        place.is_some_and(|place| !place.starts_with(['/', '$']) && !place.contains("://"))
    }
}

/// Every text in which a value may be asked for.
fn texts(draft: &Draft, job: &Job) -> Vec<String> {
    let mut texts = vec![job.prompt.user.clone()];
    texts.extend(job.prompt.system.clone());
    if let SourceInput::Query { sql, .. } = &job.source.input {
        texts.push(sql.clone());
    }
    gather(&draft.tree, &mut texts);
    texts
}

fn gather(table: &Table, texts: &mut Vec<String>) {
    for node in table.values() {
        gather_value(&node.value, texts);
    }
}

fn gather_value(value: &Value, texts: &mut Vec<String>) {
    match value {
        Value::Text(text) => texts.push(text.clone()),
        Value::Table(inner) => gather(inner, texts),
        Value::List(list) => list
            .iter()
            .for_each(|item| gather_value(&item.value, texts)),
        _ => {}
    }
}

/// Whether `text` asks for the value `name`, or for values by names that only show when it is rendered.
fn names(text: &str, name: &str) -> bool {
    let asks = |asked: &str| asked == name || asked.is_empty();
    asked_in(text).into_iter().any(asks)
}

/// The names that stand in `text` as `$name`, `vars.name` or `vars['name']`; an empty one where `vars` is
/// used otherwise.
fn asked_in(text: &str) -> Vec<&str> {
    let word = |rest: &str| {
        rest.find(|c: char| !c.is_alphanumeric() && c != '_')
            .unwrap_or(rest.len())
    };
    let mut asked = Vec::new();
    for (at, _) in text.match_indices('$') {
        let rest = &text[at + 1..];
        if word(rest) > 0 {
            asked.push(&rest[..word(rest)]);
        }
    }
    for (at, found) in text.match_indices("vars") {
        let is_part = |c: char| c.is_alphanumeric() || c == '_';
        let rest = &text[at + found.len()..];
        if text[..at].ends_with(is_part) || rest.starts_with(is_part) {
            continue;
        }
        let rest = rest.trim_start();
        let inner = rest.strip_prefix('.').map(str::trim_start).or_else(|| {
            let inner = rest.strip_prefix('[')?.trim_start();
            inner.strip_prefix(['"', '\''])
        });
        let inner = inner.unwrap_or_default();
        asked.push(&inner[..word(inner)]);
    }
    asked
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_however_they_are_written() {
        let cases: [(&str, &[&str]); 6] = [
            ("a = $day AND b = '$5'", &["day", "5"]),
            (
                "{{ vars.day }} {{ vars['b'] }} {{ vars [\"c\"] }}",
                &["day", "b", "c"],
            ),
            ("{{ vars.day_2 }}{{ myvars.x }} {{ varsity }}", &["day_2"]),
            ("{% for v in vars %}", &[""]),
            ("{{ vars[body] }}", &[""]),
            ("${HOME}/dt={{vars.ds}}/", &["ds"]),
        ];
        for (text, expect) in cases {
            assert_eq!(asked_in(text), expect, "{text}");
        }
    }
}
