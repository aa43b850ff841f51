//! Goes through every key that was written, and names those that nobody knows or that this version
//! does not carry out.

use super::file::{Node, Value};
use super::keys::{self, SECTIONS, join};
use super::mistake::{Mistake, MistakeAt};
use super::reader::Reader;

impl Reader<'_> {
    /// Notes every key that is not ours to read.
    pub(super) fn unknown_keys(&mut self) {
        let draft = self.draft;
        for (name, node) in &draft.tree {
            if let Some(section) = SECTIONS.into_iter().find(|section| section == name) {
                self.survey_section(section, node);
            } else if let Value::Table(_) = node.value {
                self.survey_stranger(name, node);
            } else {
                self.survey_key("", name, node);
            }
        }
    }

    fn survey_section(&mut self, section: &'static str, node: &Node) {
        let Value::Table(table) = &node.value else {
            self.excused.push(section.to_owned());
            let likely = keys::KEYS
                .iter()
                .find(|key| key.section == section)
                .map_or("", |key| key.name);
            let problem = format!("`{section}` is a section, found {}", node.value.describe());
            let advice = format!("write `[{section}]`, and beneath it its keys: `{likely} = ...`");
            self.wrong(&node.key, problem, advice);
            return;
        };
        for (name, node) in table {
            self.survey_key(section, name, node);
        }
    }

    /// A section that nobody knows. Where it is one of ours misspelt, it is read as that one, so
    /// that the mistakes in it are reported as well.
    fn survey_stranger(&mut self, name: &str, node: &Node) {
        let meant = keys::nearest_section(name);
        let Some(section) = meant.filter(|section| !self.draft.tree.contains_key(*section)) else {
            let advice = match meant {
                Some(section) => format!("did you mean `[{section}]`, which is there as well?"),
                None => format!("the sections are: {}", SECTIONS.join(", ")),
            };
            self.wrong(&node.key, format!("unknown section `[{name}]`"), advice);
            return;
        };
        self.wrong(
            &node.key,
            format!("unknown section `[{name}]`"),
            format!("did you mean `[{section}]`?"),
        );
        self.aliases.insert(section, name.to_owned());
        self.survey_section(section, node);
    }

    fn survey_key(&mut self, section: &str, name: &str, node: &Node) {
        match keys::find(section, name) {
            Some(key) if key.carried => {}
            Some(key) => {
                let problem = format!("`{}` is not in this version", key.path());
                self.wrong(&node.key, problem, "take it out");
            }
            None => self.unknown(section, name, node),
        }
    }

    fn unknown(&mut self, section: &str, name: &str, node: &Node) {
        let near = keys::nearest(section, name);
        let likeness = keys::likeness(name, near.name);
        let advice = if likeness > 0.8 {
            format!("did you mean `{}`?", near.path())
        } else if likeness > 0.6 {
            format!("the nearest known key is `{}`", near.path())
        } else {
            keys::known(section)
        };
        if likeness > 0.6 {
            self.excused.push(near.path());
        }
        // What stands behind an unknown key may be anything, even a secret: it is not quoted.
        let place = match self.place(&node.key) {
            MistakeAt::Line(at) => MistakeAt::Line(at.unquoted()),
            place => place,
        };
        self.mistakes.push(Mistake {
            place,
            problem: format!("unknown key `{}`", join(section, name)),
            advice,
        });
    }
}
