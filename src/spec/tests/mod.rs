//! From text to mistakes, and from text to a job.

mod answer;
mod command_line;
mod embedding;
mod fingerprints;
mod fuzz;
mod keys;
mod mistakes;
mod places;
mod prompt;
mod reask;

use std::error::Error as _;
use std::io;
use std::path::{Path, PathBuf};

use super::*;
use crate::base::{Error, ErrorKind};

/// A machine with a few files, on which a command runs in `/home/me`.
fn around() -> Surroundings {
    let env = |name: &str| (name == "LAKE").then(|| "s3://lake".to_owned());
    Surroundings::made_up("/home/me", env, |path: &Path| match path.to_str() {
        Some("/jobs/t.sql") => Ok("SELECT 1".to_owned()),
        Some("/jobs/empty.sql") => Ok(" \n".to_owned()),
        Some("/jobs/sys.md") => Ok("Be brief.\n".to_owned()),
        _ => Err(io::Error::new(io::ErrorKind::NotFound, "no such file")),
    })
}

fn draft(text: &str) -> Draft {
    Draft::of_file(PathBuf::from("/jobs/job.toml"), text.to_owned())
}

fn resolve(draft: &Draft) -> Result<Job, Vec<String>> {
    draft.resolve(&around()).map_err(|error| said(&error))
}

/// Every mistake that an error tells of.
fn said(error: &Error) -> Vec<String> {
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    let cause = error.source().expect("has a cause");
    let mistakes: &Mistakes = cause.downcast_ref().expect("is of mistakes");
    mistakes.iter().map(ToString::to_string).collect()
}

/// The smallest job. `more` is appended: whole sections, or keys of `[output]`.
fn small(more: &str) -> String {
    format!(
        "name = \"small\"\nsource.table = \"in.parquet\"\nprompt.user = \"{{{{ a }}}}\"\n\
         answer.column = \"b\"\nmodel.use = \"openai/gpt\"\noutput.path = \"out.parquet\"\n{more}"
    )
}

fn job(text: &str) -> Job {
    resolve(&draft(text)).unwrap_or_else(|mistakes| panic!("{text}\n{mistakes:#?}"))
}

#[track_caller]
fn check(text: &str, expect: &[&str]) {
    assert_eq!(resolve(&draft(text)).expect_err("has mistakes"), expect);
}

/// The mistakes of the smallest job with `more`, which begins on line 7.
#[track_caller]
fn check_more(more: &str, expect: &[&str]) {
    check(&small(more), expect);
}

fn one_liner(output: &str) -> Draft {
    let mut draft = Draft::one_liner();
    for (key, text) in [
        ("source.table", "tickets.parquet"),
        ("prompt.user", "{{ a }}"),
        ("answer.column", "triage"),
        ("model.use", "openai/gpt"),
        ("output.path", output),
    ] {
        draft
            .flag(key, FlagValue::Text(text.into()))
            .expect("a flag");
    }
    draft.var("ds=2026-08-01");
    draft
}

fn with_elsewhere() -> String {
    let mut draft = draft(&small(""));
    draft.set("output.path=s3://elsewhere/x.parquet");
    resolve(&draft).expect_err("would move the ledger").concat()
}
