//! Which source files go into which output file.

use std::collections::HashSet;

use crate::base::{Error, Result};
use crate::output::{Form, Layout, SourceFile, Target};

/// One output file to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::output) struct FilePlan {
    /// Its path beneath the target; empty where the target is the file.
    pub(in crate::output) relative: String,
    /// The source files in it: places in the list of sources.
    pub(in crate::output) sources: std::ops::Range<usize>,
}

/// The name of the one file of a folder.
const ONLY_FILE: &str = "part-00000.parquet";

/// The output's files, in the order of the rows.
pub(in crate::output) fn plan(
    layout: &Layout,
    target: &Target,
    sources: &[SourceFile],
) -> Result<Vec<FilePlan>> {
    if sources.is_empty() {
        return Err(Error::invalid("there is no file to take the columns from")
            .hint("`source.table` matches nothing"));
    }
    let whole = |relative: &str| {
        let relative = relative.to_owned();
        let sources = 0..sources.len();
        Ok(vec![FilePlan { relative, sources }])
    };
    match (layout, target.form) {
        (Layout::Mirror, Form::Folder) => mirror(sources),
        (Layout::Mirror, Form::File) if sources.len() > 1 => Err(Error::invalid(
            "a table of several files cannot be mirrored to one file",
        )
        .with("files", sources.len())
        .hint("end `output.path` with `/`, or say `layout = \"single\"`")),
        (_, Form::File) => whole(""),
        (_, Form::Folder) => whole(ONLY_FILE),
    }
}

fn mirror(sources: &[SourceFile]) -> Result<Vec<FilePlan>> {
    let mut seen = HashSet::new();
    let one = |(at, source): (usize, &SourceFile)| {
        let relative = source.relative.clone();
        let odd = |part| matches!(part, "" | "." | "..");
        if relative.split('/').any(odd) || !seen.insert(relative.clone()) {
            return Err(Error::internal("not a path to mirror to").with("relative", relative));
        }
        let sources = at..at + 1;
        Ok(FilePlan { relative, sources })
    };
    sources.iter().enumerate().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Stores;

    fn check(layout: &Layout, form: Form, files: &[&str], expect: Option<&[(&str, usize)]>) {
        let stores = Stores::default();
        let location = stores.locate("/t").unwrap();
        let sources: Vec<_> = files
            .iter()
            .map(|relative| SourceFile {
                location: location.join(relative),
                relative: (*relative).to_owned(),
                size: 1,
                rows: 1,
                partitions: Vec::new(),
            })
            .collect();
        let target = Target { location, form };
        let plans = plan(layout, &target, &sources).ok();
        let got: Option<Vec<_>> = plans.as_ref().map(|plans| {
            let pair = |plan: &FilePlan| (plan.relative.clone(), plan.sources.len());
            plans.iter().map(pair).collect()
        });
        let expect = expect.map(|expect| {
            let pair = |(name, count): &(&str, usize)| ((*name).to_owned(), *count);
            expect.iter().map(pair).collect::<Vec<_>>()
        });
        assert_eq!(got, expect, "{layout:?} {form:?} {files:?}");
    }

    #[test]
    fn files_go_where_the_layout_says() {
        let (mirror, single) = (Layout::Mirror, Layout::Single);
        let two = ["k=1/a.parquet", "k=2/a.parquet"];
        check(&mirror, Form::File, &["a.parquet"], Some(&[("", 1)]));
        check(&mirror, Form::File, &two, None);
        let same = [("k=1/a.parquet", 1), ("k=2/a.parquet", 1)];
        check(&mirror, Form::Folder, &two, Some(&same));
        check(&single, Form::File, &two, Some(&[("", 2)]));
        check(&single, Form::Folder, &two, Some(&[(ONLY_FILE, 2)]));
        check(&single, Form::File, &[], None);
        check(&mirror, Form::Folder, &["../a"], None);
        check(&mirror, Form::Folder, &["a", "a"], None);
    }
}
