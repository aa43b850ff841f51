//! The `[output]` and `[ledger]` sections, and that output, ledger and source lie apart.

use std::path::Path;
use std::time::Duration;

use super::address;
use super::defaults;
use super::file::{At, Value};
use super::job::{AmbiguousPolicy, LayoutSpec, LedgerSpec, OutputSpec, SourceInput, SourceSpec};
use super::reader::{Address, Reader, Word};
use crate::work::pattern;

impl Reader<'_> {
    pub(super) fn output_address(&mut self) -> Option<Address> {
        if self.node("output.path").is_none() {
            self.missing("output.path", "");
        }
        let path = self.writable_address("output.path", true)?;
        if address::parent(&path.text).is_none() {
            self.refuse(
                "output.path",
                format!(
                    "the output cannot be a whole disk or bucket, output=`{}`",
                    path.text
                ),
                "name a file or a folder in it",
            );
            return None;
        }
        Some(path)
    }

    /// An address under which files can be made: none on a web server.
    fn writable_address(&mut self, path: &str, with_vars: bool) -> Option<Address> {
        let address = self.address(path, with_vars)?;
        if ["http://", "https://"]
            .iter()
            .any(|web| address.text.starts_with(web))
        {
            self.refuse(
                path,
                format!("`{path}` is on a web server, where nothing can be written"),
                "name local disk or object storage (`s3://`, `gs://`, `az://`); a source may stay on the web",
            );
            return None;
        }
        Some(address)
    }

    pub(super) fn output(&mut self, path: Option<&Address>) -> Option<OutputSpec> {
        let layouts = [
            ("mirror", Word::Means(LayoutSpec::Mirror)),
            ("single", Word::Means(LayoutSpec::Single)),
            ("keyed", Word::Means(LayoutSpec::Keyed)),
            ("delta", Word::Older(LayoutSpec::Keyed)),
        ];
        if let Some(path) = path {
            self.refuse_other_formats(path);
        }
        let layout = self.word("output.layout", &layouts);
        let overwrite = self.bool("output.overwrite").unwrap_or(defaults::OVERWRITE);
        Some(OutputSpec {
            path: path?.text.clone(),
            layout,
            overwrite,
        })
    }

    /// An output is Parquet, and a name that says otherwise would lie.
    fn refuse_other_formats(&mut self, output: &Address) {
        let name = address::last_part(&output.text).to_ascii_lowercase();
        let is_other = |ending: &&&str| name.ends_with(**ending);
        if let Some(ending) = OTHER_FORMATS.iter().find(is_other) {
            let problem = format!("an output is Parquet, and the name `{name}` says otherwise");
            let advice =
                format!("end it with `.parquet` in place of `{ending}`, or with `/` for a folder");
            self.refuse("output.path", problem, &advice);
        }
    }

    pub(super) fn ledger(
        &mut self,
        name: Option<&str>,
        output: Option<&Address>,
    ) -> Option<LedgerSpec> {
        let policies = [
            ("wait", Word::Means(AmbiguousPolicy::Wait)),
            ("fail", Word::Means(AmbiguousPolicy::Fail)),
            ("resubmit", Word::Means(AmbiguousPolicy::Resubmit)),
        ];
        let lease = self.duration("ledger.lease", Duration::from_secs(1));
        let settle = self.duration("ledger.settle", Duration::ZERO);
        let on_ambiguous = self.word("ledger.on_ambiguous", &policies);
        let keep_prompts = self.bool("ledger.keep_prompts");
        let place = self.ledger_place(name, output)?;
        Some(LedgerSpec {
            path: place.path,
            older: place.older,
            output: place.output,
            lease: lease.unwrap_or(defaults::LEASE),
            settle: settle.unwrap_or(defaults::SETTLE),
            on_ambiguous: on_ambiguous.unwrap_or(defaults::ON_AMBIGUOUS),
            keep_prompts: keep_prompts.unwrap_or(defaults::KEEP_PROMPTS),
        })
    }

    /// Where the ledger is: as written, or [`DefaultLedger`].
    fn ledger_place(
        &mut self,
        name: Option<&str>,
        output: Option<&Address>,
    ) -> Option<LedgerPlace> {
        if self.node("ledger.path").is_some() {
            let written = self.writable_address("ledger.path", false)?;
            return Some(LedgerPlace {
                path: written.text,
                older: None,
                output: None,
            });
        }
        let output = output?;
        let Some(ledger) = DefaultLedger::of(output) else {
            let root = output.fixed_folder.as_deref().unwrap_or_default();
            let why = format!(": the output has no folder to stand beside, root=`{root}`");
            self.missing("ledger.path", &why);
            return None;
        };
        let mut ledger = ledger.of_job(name?);
        // A name that somebody gave says whose ledger it is: that job may write elsewhere one day.
        if self.node("name").is_some() {
            ledger.output = None;
        }
        let moved = self.node("output.path").map(|node| node.at.clone());
        match moved {
            Some(at @ (At::Set(..) | At::Flag(_))) if self.draft.file.is_some() => {
                let path = self.own_ledger(name?).unwrap_or(ledger.path);
                self.wrong(
                    &at,
                    "an output given on the command line needs a `ledger.path` in the file".into(),
                    format!(
                        "or another output would mean another ledger, and all work paid again; \
                         add to the file:\n[ledger]\npath = \"{path}\""
                    ),
                );
                None
            }
            _ => Some(ledger),
        }
    }

    /// The ledger that the file's own output has: what was paid for so far is there.
    fn own_ledger(&mut self, name: &str) -> Option<String> {
        let node = self.draft.own_output.as_ref()?;
        let Value::Text(text) = &node.value else {
            return None;
        };
        let output = self.address_of(&node.at, text, true)?;
        Some(DefaultLedger::of(&output)?.of_job(name).path)
    }

    /// Publishing replaces the output: it must not be, hold or lie in what is read, nor hold what
    /// is remembered.
    pub(super) fn keep_apart(
        &mut self,
        source: &SourceSpec,
        output: &OutputSpec,
        ledger: Option<&LedgerSpec>,
    ) {
        let sources: Vec<&String> = match &source.input {
            SourceInput::Table(table) => vec![table],
            SourceInput::Query { tables, .. } => tables.values().collect(),
        };
        let mut output_is_wrong = false;
        for source in &sources {
            let fixed = self.fixed_part(source);
            let how = if self.is_within(fixed, &output.path) {
                "is, or lies inside,"
            } else if self.is_within(&output.path, fixed) {
                "holds"
            } else {
                continue;
            };
            output_is_wrong = true;
            let problem = format!(
                "the output {how} the source, output=`{}`, source=`{source}`",
                output.path
            );
            self.refuse("output.path", problem, "write to a place beside the source");
        }
        if let Some(ledger) = ledger {
            self.keep_ledger_apart(&sources, output, &ledger.path, output_is_wrong);
        }
    }

    fn keep_ledger_apart(
        &mut self,
        sources: &[&String],
        output: &OutputSpec,
        ledger: &str,
        output_is_wrong: bool,
    ) {
        let written = self.node("ledger.path").is_some();
        if !written && output_is_wrong {
            return;
        }
        let path = if written {
            "ledger.path"
        } else {
            "output.path"
        };
        let advice = "give `ledger.path` a folder beside both";
        let inside = sources
            .iter()
            .find(|source| self.is_within(self.fixed_part(source), ledger));
        if let Some(source) = inside {
            let problem =
                format!("the ledger lies inside the source, ledger=`{ledger}`, source=`{source}`");
            self.refuse(path, problem, advice);
        }
        if self.is_within(&output.path, ledger) || self.is_within(ledger, &output.path) {
            let problem = format!(
                "the ledger and the output lie inside each other, ledger=`{ledger}`, output=`{}`",
                output.path
            );
            self.refuse(path, problem, advice);
        }
    }

    /// What a source's address names, or the folder in which its pattern is looked for.
    fn fixed_part<'s>(&self, source: &'s str) -> &'s str {
        let exists = |path: &Path| self.around.canonical(path).is_some();
        pattern::split(source, exists).0
    }

    /// Whether `inner` is or lies inside `outer`, by name or behind links.
    fn is_within(&self, outer: &str, inner: &str) -> bool {
        let canonical = |path: &Path| self.around.canonical(path);
        let real = |address| address::real(address, &canonical);
        address::contains(outer, inner) || address::contains(&real(outer), &real(inner))
    }
}

/// Endings of files that are not Parquet.
const OTHER_FORMATS: [&str; 11] = [
    ".csv", ".csv.gz", ".tsv", ".json", ".jsonl", ".ndjson", ".arrow", ".feather", ".ipc", ".avro",
    ".orc",
];

/// The folder in which a job's ledger stands where the file says nothing: that of the output, where it
/// is always the same. Where `{{ vars.x }}` makes a part of it each night, the table's root is the last
/// folder above that part, and the ledger stands beside the root: one for all nights, and never among
/// the files that readers take for the table.
struct DefaultLedger {
    folder: String,
    /// Where it stood before: in the table's root.
    older: Option<String>,
    /// The output, from `folder` on, with variables by name.
    output: String,
}

/// Where a job's ledger is.
struct LedgerPlace {
    path: String,
    /// Where an older version would have put it.
    older: Option<String>,
    /// See [`LedgerSpec::output`].
    output: Option<String>,
}

impl DefaultLedger {
    /// None where nothing stands above the root.
    fn of(output: &Address) -> Option<DefaultLedger> {
        let fixed = output.fixed_folder.as_deref()?;
        let (folder, older) = if output.has_vars {
            (address::parent(fixed)?, Some(fixed.to_owned()))
        } else {
            (fixed, None)
        };
        let name = output.pattern.strip_prefix(folder);
        let name = name.unwrap_or(&output.pattern).trim_end_matches('/');
        Some(DefaultLedger {
            folder: folder.to_owned(),
            older,
            output: name.to_owned(),
        })
    }

    /// The ledger of the job of that name.
    fn of_job(self, name: &str) -> LedgerPlace {
        let place = |folder: &String| address::join(folder, &format!("_columnist/{name}/"));
        LedgerPlace {
            path: place(&self.folder),
            older: self.older.as_ref().map(place),
            output: Some(self.output),
        }
    }
}
