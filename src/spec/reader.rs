//! Reads typed values out of a draft, and notes every mistake on the way.
//!
//! Each reader returns `None` where there is no usable value, whether it is left out or wrong; the
//! caller goes on with the default, and the mistake is remembered.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use super::address;
use super::draft::Draft;
use super::file::{At, Node, Table, Value};
use super::fill::{Filled, Filler};
use super::keys;
use super::mistake::{Excerpt, Mistake, MistakeAt};
use super::surroundings::Surroundings;

/// Reads one draft.
pub(super) struct Reader<'a> {
    pub(super) draft: &'a Draft,
    pub(super) around: &'a Surroundings,
    pub(super) mistakes: Vec<Mistake>,
    /// Keys, and whole sections, for which something else was written by a slip. That they are
    /// missing is not worth another complaint.
    pub(super) excused: Vec<String>,
    /// Sections that were found under another name, by a slip.
    pub(super) aliases: BTreeMap<&'static str, String>,
    /// Whether addresses may hold variables that have no value: what was planned says where they lead.
    pub(super) lenient: bool,
    /// Whether one does.
    pub(super) unfilled: bool,
}

/// A word that a key may have.
#[derive(Clone, Copy)]
pub(super) enum Word<T> {
    /// It means this.
    Means(T),
    /// An older word for this, which is still understood, and not offered any more.
    Older(T),
    /// A later version will know what it means.
    Later,
}

/// An address read from the draft.
#[derive(Clone, Debug)]
pub(super) struct Address {
    /// Absolute, with everything filled in.
    pub(super) text: String,
    /// The same whatever the variables are: each stands by its name.
    pub(super) pattern: String,
    /// Whether it holds a `{{ vars.x }}`, and so may lead elsewhere tomorrow.
    pub(super) has_vars: bool,
    /// The folder above the first `{{ vars.x }}`, or above the whole; `None` where there is none.
    pub(super) fixed_folder: Option<String>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(draft: &'a Draft, around: &'a Surroundings) -> Self {
        Reader {
            draft,
            around,
            mistakes: draft.mistakes.clone(),
            excused: Vec::new(),
            aliases: BTreeMap::new(),
            lenient: false,
            unfilled: false,
        }
    }

    /// What stands at `section.name`.
    pub(super) fn node(&self, path: &str) -> Option<&'a Node> {
        match path.split_once('.') {
            Some((section, name)) => {
                let written = self.aliases.get(section).map_or(section, String::as_str);
                match &self.draft.tree.get(written)?.value {
                    Value::Table(table) => table.get(name),
                    _ => None,
                }
            }
            None => self.draft.tree.get(path),
        }
    }

    /// Notes a mistake at `at`.
    pub(super) fn wrong(&mut self, at: &At, problem: String, advice: impl Into<String>) {
        let mistake = Mistake {
            place: self.place(at),
            problem,
            advice: advice.into(),
        };
        self.mistakes.push(mistake);
    }

    pub(super) fn place(&self, at: &At) -> MistakeAt {
        match at {
            At::File(span) => MistakeAt::Line(Excerpt::of(&self.draft.text, span)),
            At::Set(key, _) => MistakeAt::Flag(format!("--set {key}")),
            At::Flag(flag) => MistakeAt::Flag((*flag).to_owned()),
        }
    }

    /// Notes that `path` is not there.
    pub(super) fn missing(&mut self, path: &str, why: &str) {
        let section = path.split('.').next();
        let excused = self
            .excused
            .iter()
            .any(|excuse| excuse == path || Some(excuse.as_str()) == section);
        if excused {
            return;
        }
        let key = keys::find_path(path);
        let flag = key.and_then(|key| key.flag);
        let (problem, advice) = match (self.draft.file.is_some(), flag) {
            (false, Some(flag)) => (
                format!("`{flag}` is missing{why}"),
                format!("give it, as in `{flag} {}`", in_shell(example(path))),
            ),
            _ => (format!("`{path}` is missing{why}"), self.suggestion(path)),
        };
        self.mistakes.push(Mistake {
            place: MistakeAt::Absent,
            problem,
            advice,
        });
    }

    /// What to write at `path`, in the way in which it was written before.
    pub(super) fn suggestion(&self, path: &str) -> String {
        self.suggestion_of(path, example(path))
    }

    /// The same, of the value `example`, as TOML.
    pub(super) fn suggestion_of(&self, path: &str, example: &str) -> String {
        let name = path.rsplit('.').next().unwrap_or(path);
        match (self.node(path).map(|node| &node.at), path.split_once('.')) {
            (Some(At::Flag(flag)), _) => format!("write `{flag} {}`", in_shell(example)),
            (Some(At::Set(..)), _) => format!("write `--set {path}={}`", in_shell(example)),
            (_, Some((section, _))) => format!("write `{name} = {example}` under `[{section}]`"),
            _ => format!("write `{name} = {example}` at the top of the file"),
        }
    }

    pub(super) fn wrong_type(&mut self, path: &str, node: &Node, expected: &str) {
        self.wrong_type_with(path, node, expected, None);
    }

    /// The same, where `meant` is what was most likely meant, as TOML.
    fn wrong_type_with(&mut self, path: &str, node: &Node, expected: &str, meant: Option<&str>) {
        let problem = format!(
            "`{path}` must be {expected}, found {}",
            node.value.describe()
        );
        let advice = self.suggestion_of(path, meant.unwrap_or_else(|| example(path)));
        self.wrong(&node.at, problem, advice);
    }

    /// A text, as it was written.
    pub(super) fn text(&mut self, path: &str) -> Option<String> {
        let node = self.node(path)?;
        match (&node.value, &node.words) {
            (Value::Text(text), _) => Some(text.clone()),
            (_, Some(words)) => Some(words.clone()),
            _ => {
                self.wrong_type(path, node, "a text");
                None
            }
        }
    }

    /// A text in which something is written.
    pub(super) fn some_text(&mut self, path: &str) -> Option<String> {
        let text = self.text(path)?;
        if text.trim().is_empty() {
            self.refuse(path, format!("`{path}` is empty"), self.suggestion(path));
            return None;
        }
        Some(text)
    }

    /// A text in which `${NAME}` would be left standing as it is, and so is a mistake.
    pub(super) fn plain_text(&mut self, path: &str) -> Option<String> {
        let text = self.some_text(path)?;
        if text.contains("${") {
            self.refuse(
                path,
                format!("`${{...}}` is not filled in in `{path}`"),
                "it is in addresses and `model.service` alone; use `--set` or `--var` here",
            );
            return None;
        }
        Some(text)
    }

    /// Notes a mistake where `path` stands.
    pub(super) fn refuse(&mut self, path: &str, problem: String, advice: impl Into<String>) {
        if let Some(node) = self.node(path) {
            self.wrong(&node.at, problem, advice);
        }
    }

    /// Yes or no.
    pub(super) fn bool(&mut self, path: &str) -> Option<bool> {
        let node = self.node(path)?;
        if let Value::Bool(yes) = node.value {
            return Some(yes);
        }
        self.wrong_type(path, node, "true or false");
        None
    }

    /// A whole number in `range`.
    pub(super) fn count(&mut self, path: &str, min: u64, max: u64) -> Option<u64> {
        let node = self.node(path)?;
        let Value::Integer(number) = node.value else {
            let meant = match &node.value {
                Value::Text(text) => text.trim().parse::<u64>().ok(),
                _ => None,
            };
            let meant = meant.map(|number| number.to_string());
            self.wrong_type_with(path, node, "a whole number", meant.as_deref());
            return None;
        };
        self.within(path, number, min, max)
    }

    fn within(&mut self, path: &str, number: i128, min: u64, max: u64) -> Option<u64> {
        let found = u64::try_from(number).ok();
        let fits = found.filter(|count| (min..=max).contains(count));
        if fits.is_none() {
            let bound = if number < i128::from(min) {
                format!("at least {min}")
            } else {
                format!("at most {max}")
            };
            self.refuse(
                path,
                format!("`{path}` must be {bound}"),
                self.suggestion(path),
            );
        }
        fits
    }

    /// A number of bytes: `200000000`, or `"200MB"`.
    pub(super) fn bytes(&mut self, path: &str) -> Option<u64> {
        let node = self.node(path)?;
        match &node.value {
            Value::Integer(number) => self.within(path, *number, 1, i64::MAX.unsigned_abs()),
            Value::Text(text) => {
                let bytes = parse_bytes(text).filter(|bytes| *bytes > 0);
                if bytes.is_none() {
                    self.wrong(
                        &node.at,
                        format!("`{path}` must be a number of bytes, found `{text}`"),
                        "write a whole number, or one with its unit, such as \"100MB\" (10^6)",
                    );
                }
                bytes
            }
            _ => {
                self.wrong_type(path, node, "a number of bytes");
                None
            }
        }
    }

    /// A finite number.
    pub(super) fn number(&mut self, path: &str) -> Option<f64> {
        let node = self.node(path)?;
        match node.value {
            Value::Float(number) if number.is_finite() => Some(number),
            #[expect(
                clippy::cast_precision_loss,
                reason = "a temperature is a small number"
            )]
            Value::Integer(number) => Some(number as f64),
            _ => {
                self.wrong_type(path, node, "a number");
                None
            }
        }
    }

    /// A length of time, at least `min`.
    pub(super) fn duration(&mut self, path: &str, min: Duration) -> Option<Duration> {
        let node = self.node(path)?;
        let Some(text) = node.words.as_ref().or(match &node.value {
            Value::Text(text) => Some(text),
            _ => None,
        }) else {
            let meant = match &node.value {
                Value::Integer(seconds) => Some(format!("\"{seconds}s\"")),
                _ => None,
            };
            let expected = "a length of time with its unit";
            self.wrong_type_with(path, node, expected, meant.as_deref());
            return None;
        };
        match humantime::parse_duration(text.trim()) {
            Ok(duration) if duration >= min => Some(duration),
            Ok(_) => {
                let min = humantime::format_duration(min);
                self.refuse(
                    path,
                    format!("`{path}` must be at least {min}"),
                    self.suggestion(path),
                );
                None
            }
            Err(_) => {
                let problem = format!("`{path}` must be a length of time, found `{text}`");
                self.refuse(path, problem, "write \"2s\", \"10m\" or \"12h\"");
                None
            }
        }
    }

    /// One of `words`.
    pub(super) fn word<T: Copy>(&mut self, path: &str, words: &[(&str, Word<T>)]) -> Option<T> {
        let text = self.text(path)?;
        let known: Vec<&str> = words
            .iter()
            .filter(|(_, word)| matches!(word, Word::Means(_)))
            .map(|(known, _)| *known)
            .collect();
        let list = format!("write one of: {}", known.join(", "));
        match words.iter().find(|(known, _)| *known == text) {
            Some((_, Word::Means(meaning) | Word::Older(meaning))) => Some(*meaning),
            Some((_, Word::Later)) => {
                self.refuse(
                    path,
                    format!("`{path} = \"{text}\"` is not in this version"),
                    list,
                );
                None
            }
            None => {
                let advice = match keys::nearest_word(&text, &known) {
                    Some(near) => format!("did you mean \"{near}\"?"),
                    None => list,
                };
                self.refuse(path, format!("`{path}` cannot be \"{text}\""), advice);
                None
            }
        }
    }

    /// A list of texts. In `--set` a text is a list, its items with commas between them, as for a flag.
    pub(super) fn texts(&mut self, path: &str) -> Option<Vec<(&'a Node, String)>> {
        let node = self.node(path)?;
        if let (Value::Text(text), At::Set(..)) = (&node.value, &node.at) {
            let items = text.split(',').map(|item| (node, item.trim().to_owned()));
            return Some(items.collect());
        }
        let Value::List(list) = &node.value else {
            let meant = match &node.value {
                Value::Text(text) => {
                    let items = text.split(',').map(|item| format!("{:?}", item.trim()));
                    Some(format!("[{}]", items.collect::<Vec<_>>().join(", ")))
                }
                _ => None,
            };
            self.wrong_type_with(path, node, "a list of texts", meant.as_deref());
            return None;
        };
        let mut texts = Vec::with_capacity(list.len());
        for item in list {
            match &item.value {
                Value::Text(text) => texts.push((item, text.clone())),
                other => {
                    let problem = format!(
                        "`{path}` must be a list of texts, found {} in it",
                        other.describe()
                    );
                    self.wrong(&item.at, problem, self.suggestion(path));
                }
            }
        }
        Some(texts)
    }

    /// A table.
    pub(super) fn table(&mut self, path: &str) -> Option<&'a Table> {
        let node = self.node(path)?;
        if let Value::Table(table) = &node.value {
            return Some(table);
        }
        self.wrong_type(path, node, "a table");
        None
    }

    /// A text in which `${NAME}` is filled in.
    pub(super) fn connection(&mut self, path: &str) -> Option<String> {
        let text = self.some_text(path)?;
        let node = self.node(path)?;
        self.fill(&node.at, &text, None).map(|filled| filled.text)
    }

    /// A path or URL at `path`. Only some may hold `{{ vars.x }}`.
    pub(super) fn address(&mut self, path: &str, with_vars: bool) -> Option<Address> {
        let text = self.text(path)?;
        let node = self.node(path)?;
        self.address_of(&node.at, &text, with_vars)
    }

    /// The path or URL `text`, which stands at `at`.
    pub(super) fn address_of(&mut self, at: &At, text: &str, with_vars: bool) -> Option<Address> {
        let vars = with_vars.then_some(&self.draft.vars);
        let filled = self.fill(at, text, vars)?;
        let base = self.base(at);
        let absolute = match address::absolute(&filled.text, base) {
            Ok(absolute) => absolute,
            Err((problem, advice)) => {
                self.wrong(at, problem, advice);
                return None;
            }
        };
        let fixed_folder = match filled.fixed {
            None => address::parent(&absolute).map(str::to_owned),
            Some(end) => {
                let before = &filled.text[..end];
                let folder = before.rfind('/').map_or("./", |slash| &before[..=slash]);
                address::absolute(folder, base).ok()
            }
        };
        // It is as good as the other, but for what stands for the variables.
        let pattern = address::absolute(&filled.pattern, base).ok()?;
        self.unfilled |= filled.unfilled;
        Some(Address {
            text: absolute,
            pattern,
            has_vars: filled.fixed.is_some(),
            fixed_folder,
        })
    }

    fn fill(
        &mut self,
        at: &At,
        text: &str,
        vars: Option<&BTreeMap<String, String>>,
    ) -> Option<Filled> {
        let around = self.around;
        let env = |name: &str| around.env(name);
        let lenient = self.lenient;
        match (Filler {
            env: &env,
            vars,
            lenient,
        })
        .fill(text)
        {
            Ok(filled) => Some(filled),
            Err(complaints) => {
                for (problem, advice) in complaints {
                    self.wrong(at, problem, advice);
                }
                None
            }
        }
    }

    /// The folder that a relative path written at `at` starts from.
    fn base(&self, at: &At) -> &'a Path {
        let beside_file = self.draft.file.as_deref().and_then(Path::parent);
        match (at, beside_file) {
            (At::Flag(_), _) | (_, None) => &self.around.folder,
            (_, Some(folder)) => folder,
        }
    }
}

fn example(path: &str) -> &'static str {
    keys::find_path(path).map_or("", |key| key.example)
}

/// A TOML value as a word of the shell.
fn in_shell(example: &str) -> String {
    let words = example.trim_matches(['[', ']']).replace("\", \"", ",");
    match words
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'))
    {
        Some(text) if text.contains([' ', '\'']) => format!("\"{text}\""),
        Some(text) => text.to_owned(),
        None => words,
    }
}

/// Reads a number of bytes with its unit: `512`, `64MB` (10^6), `64MiB` (2^20).
#[must_use]
pub fn parse_bytes(text: &str) -> Option<u64> {
    const UNITS: [(&str, u64); 9] = [
        ("", 1),
        ("b", 1),
        ("kb", 1_000),
        ("mb", 1_000_000),
        ("gb", 1_000_000_000),
        ("tb", 1_000_000_000_000),
        ("kib", 1 << 10),
        ("mib", 1 << 20),
        ("gib", 1 << 30),
    ];
    let text = text.trim();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let unit = text[digits..].trim().to_ascii_lowercase();
    let (_, size) = UNITS.iter().find(|(name, _)| *name == unit)?;
    text[..digits].parse::<u64>().ok()?.checked_mul(*size)
}
