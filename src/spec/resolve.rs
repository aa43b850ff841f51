//! From a draft to a [`Job`]: everything checked that needs no data, all mistakes at once.
//!
//! `${NAME}` is filled in in the settings that say where something is: `source.table`,
//! `source.tables`, `source.query`, `prompt.system_file`, `model.base_url`, `model.service`,
//! `output.path` and `ledger.path`. It is not in `model.api_key_env`, which names a variable and
//! must never hold what is in it.

use crate::base::{Error, Result};

use super::address;
use super::defaults;
use super::draft::Draft;
use super::file::Value;
use super::job::{BudgetSpec, Job, MaxFailed};
use super::mistake::MistakeAt;
use super::reader::{Address, Reader};
use super::surroundings::Surroundings;

/// The longest name of a job: it becomes the name of a folder, and goes to the provider.
const NAME_MAX: usize = 100;

impl Draft {
    /// The job that was meant.
    ///
    /// # Errors
    /// `Invalid`, with [`Mistakes`](super::Mistakes) as its cause.
    pub fn resolve(&self, around: &Surroundings) -> Result<Job> {
        let mut reader = Reader::new(self, around);
        let job = reader.job();
        self.finish(reader, job)
    }

    /// The job, for commands that act on what was planned: a variable that only says where the source or
    /// the output lies may be without a value.
    ///
    /// # Errors
    /// `Invalid`, with [`Mistakes`](super::Mistakes) as its cause.
    pub fn resolve_planned(&self, around: &Surroundings) -> Result<Job> {
        let mut reader = Reader::new(self, around);
        reader.lenient = true;
        let job = reader.job();
        self.finish(reader, job)
    }

    fn finish<T>(&self, reader: Reader<'_>, found: Option<T>) -> Result<T> {
        let mut mistakes = reader.mistakes;
        if !self.broken.is_empty() {
            // What is no TOML was not read, so that "missing" would often be wrong; and where the
            // file's structure is broken, so would be anything else.
            let syntax = &self.mistakes;
            let unreadable = self.is_unreadable();
            mistakes.retain(|mistake| match &mistake.place {
                _ if syntax.contains(mistake) => true,
                MistakeAt::Line(at) => !unreadable && !self.broken.contains(&at.line),
                MistakeAt::Flag(_) => true,
                MistakeAt::Absent => false,
            });
        }
        if mistakes.is_empty() {
            found.ok_or_else(|| Error::internal("a job was refused without a reason"))
        } else {
            Err(self.error(mistakes))
        }
    }
}

impl Reader<'_> {
    fn job(&mut self) -> Option<Job> {
        self.unknown_keys();
        let output_path = self.output_address();
        let name = self.name(output_path.as_ref());
        let source = self.source();
        let prompt = self.prompt();
        let answer = self.answer(source.as_ref());
        self.check_prefix(prompt.as_ref(), answer.as_ref());
        let model = self.model(answer.as_ref());
        let answer = self.with_model(answer, model.as_ref());
        let answer = self.with_reask_model(answer, model.as_ref());
        let budget = self.budget();
        let output = self.output(output_path.as_ref());
        let ledger = self.ledger(name.as_deref(), output_path.as_ref());
        if let (Some(source), Some(output)) = (&source, &output) {
            self.keep_apart(source, output, ledger.as_ref());
        }
        Some(Job {
            name: name?,
            source: source?,
            prompt: prompt?,
            answer: answer?,
            model: model?,
            budget: budget?,
            output: output?,
            ledger: ledger?,
            vars: self.draft.vars.clone(),
            unfilled: self.unfilled,
        })
    }

    fn name(&mut self, output: Option<&Address>) -> Option<String> {
        if self.node("name").is_none() && self.draft.file.is_none() {
            return self.one_liner_name(output);
        }
        if self.node("name").is_none() {
            self.missing("name", ": it names the ledger");
        }
        let name = self.plain_text("name")?;
        let good = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
        if !name.bytes().all(good) {
            let better = sanitise(&name);
            let advice = if better.is_empty() {
                self.suggestion("name")
            } else {
                format!("write `name = \"{better}\"`")
            };
            self.refuse("name", "`name` must be made of [a-z0-9-]".into(), advice);
            return None;
        }
        if name.len() > NAME_MAX {
            let problem = format!("`name` has more than {NAME_MAX} characters");
            self.refuse("name", problem, self.suggestion("name"));
            return None;
        }
        Some(name)
    }

    /// The name of a job without a file: its output's, or that of the folder above the first var,
    /// so that every night has one name.
    fn one_liner_name(&mut self, output: Option<&Address>) -> Option<String> {
        let Some(output) = output else {
            if self.mistakes.is_empty() {
                self.missing("name", "");
            }
            return None;
        };
        let named_after = match &output.fixed_folder {
            Some(folder) if output.has_vars => folder,
            _ => &output.text,
        };
        let last = address::last_part(named_after);
        let stem = match last.rsplit_once('.') {
            Some((stem, _)) if !stem.is_empty() => stem,
            _ => last,
        };
        let name = sanitise(stem);
        if name.is_empty() {
            self.missing("name", ": the output's name has nothing of [a-z0-9] in it");
            return None;
        }
        Some(name)
    }

    fn budget(&mut self) -> Option<BudgetSpec> {
        let path = "budget.max_failed";
        let max_failed = match self.node(path).map(|node| &node.value) {
            None => Some(defaults::MAX_FAILED),
            Some(Value::Text(text)) => {
                let share = parse_share(text);
                if share.is_none() {
                    let problem = format!("`{path}` must be rows or a share, found `{text}`");
                    let advice = match (text.trim().parse::<u64>(), text.trim().parse::<f64>()) {
                        (Ok(rows), _) => self.suggestion_of(path, &rows.to_string()),
                        (_, Ok(share)) => share_of(share),
                        _ => "write a number of rows, or \"1%\"".to_owned(),
                    };
                    self.refuse(path, problem, advice);
                }
                share
            }
            Some(Value::Float(share)) => {
                let (problem, advice) = (
                    format!("`{path}` must be rows or a share with its `%`, found {share}"),
                    share_of(*share),
                );
                self.refuse(path, problem, advice);
                None
            }
            Some(_) => self.count(path, 0, u64::MAX).map(MaxFailed::Rows),
        };
        Some(BudgetSpec {
            max_failed: max_failed?,
        })
    }
}

/// What was most likely meant by `max_failed = 0.01`.
fn share_of(number: f64) -> String {
    let percent = (number * 1e8).round() / 1e6;
    if (0.0..=100.0).contains(&percent) && number < 1.0 {
        format!("write \"{percent}%\" for that share, or a whole number of rows")
    } else {
        "write a whole number of rows, or a share such as \"1%\"".to_owned()
    }
}

/// `1%` as a share; `None` if it is none.
fn parse_share(text: &str) -> Option<MaxFailed> {
    let percent: f64 = text.trim().strip_suffix('%')?.trim().parse().ok()?;
    (0.0..=100.0)
        .contains(&percent)
        .then_some(MaxFailed::Percent(percent))
}

/// `text` made of `[a-z0-9-]`.
fn sanitise(text: &str) -> String {
    let mut name = String::new();
    for c in text.to_lowercase().chars() {
        if c.is_ascii_alphanumeric() {
            name.push(c);
        } else if !name.is_empty() && !name.ends_with('-') {
            name.push('-');
        }
    }
    name.truncate(NAME_MAX);
    name.trim_end_matches('-').to_owned()
}
