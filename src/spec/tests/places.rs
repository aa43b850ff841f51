//! Where source, output and ledger may be.

use super::*;

/// Where the output, the source and the ledger may be.
#[test]
fn output_source_and_ledger_lie_apart() {
    let ok = |source: &str, output: &str, ledger: Option<&str>| {
        let ledger = ledger.map_or(String::new(), |path| format!("ledger.path = \"{path}\"\n"));
        let text = small(&ledger)
            .replace("in.parquet", source)
            .replace("out.parquet", output);
        resolve(&draft(&text)).map(|_| ()).map_err(|mistakes| {
            assert_eq!(mistakes.len(), 1, "{mistakes:?}");
            mistakes[0].clone()
        })
    };
    let says = |result: Result<(), String>, words: &str| {
        let mistake = result.expect_err(words);
        assert!(mistake.contains(words), "{mistake}");
    };
    assert_eq!(ok("in.parquet", "out.parquet", None), Ok(()));
    assert_eq!(ok("in/", "in_triaged/", None), Ok(()));
    assert_eq!(ok("s3://lake/in/", "s3://lake/in2/", None), Ok(()));
    assert_eq!(ok("s3://lake/in/", "/lake/in/", None), Ok(()));
    assert_eq!(ok("in/*.parquet", "out/", None), Ok(()));
    let inside = "the output is, or lies inside, the source";
    says(ok("in.parquet", "./x/../in.parquet", None), inside);
    says(ok("in/", "in", None), inside);
    says(ok("in/", "in/out.parquet", None), inside);
    says(ok("*.parquet", "out.parquet", None), inside);
    says(ok("s3://lake/in", "s3a://lake/in/out/", None), inside);
    says(ok("file:///jobs/in/", "in/out/", None), inside);
    says(
        ok("out.parquet/in.parquet", "out.parquet", None),
        "the output holds the source",
    );
    says(
        ok("s3://lake/o/in/", "s3://lake/o/", None),
        "the output holds the source",
    );
    let ledger = "the ledger lies inside the source";
    says(ok("in/", "out/", Some("in/ledger")), ledger);
    says(ok("in/**/x.parquet", "out/", Some("in/_columnist")), ledger);
    says(
        ok("s3://lake/", "/out/", Some("s3://lake/_columnist/x")),
        ledger,
    );
    assert_eq!(ok("in.parquet", "out/", Some("ledger/")), Ok(()));
    says(
        ok("in/", "out/", Some("out/ledger/")),
        "the ledger and the output lie inside each other",
    );
    says(
        ok("in/", "out/x/", Some("out/")),
        "the ledger and the output lie inside each other",
    );
    says(
        ok("in/", "s3://lake/", None),
        "the output cannot be a whole disk or bucket",
    );
}

#[test]
fn a_link_does_not_hide_that_the_output_is_the_source() {
    let text = small("")
        .replace("in.parquet", "current")
        .replace("out.parquet", "2024/out");
    let around = around().with_links(|path| match path.to_str()? {
        "/jobs/current" => Some(PathBuf::from("/jobs/2024")),
        "/jobs" | "/jobs/2024" => Some(path.to_owned()),
        _ => None,
    });
    let error = draft(&text).resolve(&around).expect_err("lies inside");
    assert!(said(&error)[0].contains("the output is, or lies inside, the source"));
    assert!(draft(&text).resolve(&super::around()).is_ok());
}

#[test]
fn every_table_of_a_query_is_a_source() {
    let text =
        small("source.query = \"t.sql\"\nsource.tables = { a = \"x/\", b = \"out.parquet\" }")
            .replace("source.table = \"in.parquet\"\n", "");
    check(
        &text,
        &["line 5: the output is, or lies inside, the source, \
           output=`/jobs/out.parquet`, source=`/jobs/out.parquet`\n        \
           write to a place beside the source"],
    );
}

#[test]
fn every_night_of_a_job_uses_one_ledger() {
    let ledger = |output: &str| {
        let mut draft = draft(&small("").replace("out.parquet", output));
        draft.var("ds=2026-08-01");
        resolve(&draft).map(|job| job.ledger.path)
    };
    for (output, expect) in [
        ("s3://lake/triaged/", "s3://lake/_columnist/small/"),
        (
            "s3://lake/triaged/dt={{ vars.ds }}/",
            "s3://lake/_columnist/small/",
        ),
        (
            "s3://lake/a/t/dt={{vars.ds}}/part/x.parquet",
            "s3://lake/a/_columnist/small/",
        ),
        ("s3://lake/x.parquet", "s3://lake/_columnist/small/"),
        ("out/x.parquet", "/jobs/out/_columnist/small/"),
        ("out/{{ vars.ds }}.parquet", "/jobs/_columnist/small/"),
        ("{{ vars.ds }}.parquet", "/_columnist/small/"),
        ("../out.parquet", "/_columnist/small/"),
    ] {
        assert_eq!(ledger(output).as_deref(), Ok(expect), "{output}");
    }
    for nothing_above in [
        "s3://lake-{{ vars.ds }}/x",
        "s3://lake/dt={{ vars.ds }}/",
        "/dt={{ vars.ds }}/",
    ] {
        let mistakes = ledger(nothing_above).expect_err("nothing stands above");
        assert!(
            mistakes[0]
                .starts_with("`ledger.path` is missing: the output has no folder to stand beside"),
            "{mistakes:?}"
        );
    }
}

/// Two outputs may come to one ledger's place: the ledger remembers which one it was made for.
#[test]
fn a_default_ledger_knows_its_output_from_their_folder_on() {
    for (output, expect) in [
        ("out.parquet", "out.parquet"),
        ("a/b c/", "b c"),
        ("s3://lake/x/y.parquet", "y.parquet"),
        ("t/dt={{vars.ds}}/x.parquet", "t/dt={{ vars.ds }}/x.parquet"),
    ] {
        for night in ["ds=1", "ds=2"] {
            let mut draft = one_liner(output);
            draft.var(night);
            let known = resolve(&draft).map(|job| job.ledger.output);
            assert_eq!(known, Ok(Some(expect.to_owned())), "{output}");
        }
    }
    for named in ["", "ledger.path = \"l\""] {
        let known = resolve(&draft(&small(named))).map(|job| job.ledger.output);
        assert_eq!(
            known,
            Ok(None),
            "a job that has a name may write elsewhere one day"
        );
    }
}

#[test]
fn the_ledgers_older_place_is_known_where_it_was_another() {
    for (output, expect) in [
        ("t/dt={{ vars.ds }}/", Some("/jobs/t/_columnist/small/")),
        ("t/", None),
        ("t/x.parquet", None),
    ] {
        let mut draft = draft(&small("").replace("out.parquet", output));
        draft.var("ds=2026-08-01");
        let older = resolve(&draft).map(|job| job.ledger.older);
        assert_eq!(older, Ok(expect.map(str::to_owned)), "{output}");
    }
    let mut draft = draft(&small("ledger.path = \"l\"").replace("out.parquet", "t/{{ vars.ds }}/"));
    draft.var("ds=1");
    assert_eq!(resolve(&draft).map(|job| job.ledger.older), Ok(None));
}

#[test]
fn paths_are_relative_to_where_they_were_written() {
    let mut draft = draft(&small("ledger.path = \"ledger\""));
    draft.set("source.table=set.parquet");
    draft
        .flag("output.path", FlagValue::Text("flag.parquet".into()))
        .expect("a flag");
    let job = resolve(&draft).expect("is right");
    assert_eq!(
        job.source.input,
        SourceInput::Table("/jobs/set.parquet".into())
    );
    assert_eq!(job.output.path, "/home/me/flag.parquet");
    assert_eq!(job.ledger.path, "/jobs/ledger");
}

#[test]
fn an_output_from_the_command_line_needs_a_ledger_in_the_file() {
    let mut with_set = draft(&small(""));
    with_set.set("output.path=other.parquet");
    assert_eq!(
        resolve(&with_set).expect_err("would move the ledger"),
        [
            "--set output.path: an output given on the command line needs a `ledger.path` in the file\n                   \
          or another output would mean another ledger, and all work paid again; add to the file:\n                   \
          [ledger]\n                   path = \"/jobs/_columnist/small/\""
        ]
    );
    assert!(
        with_elsewhere().contains("path = \"/jobs/_columnist/small/\""),
        "the ledger to name is that of the file's own output"
    );
    let mut with_flag = draft(&small(""));
    with_flag
        .flag("output.path", FlagValue::Text("o.parquet".into()))
        .expect("a flag");
    let mistakes = resolve(&with_flag).expect_err("would move the ledger");
    assert!(mistakes[0].starts_with("--output: an output given on the command line"));
    with_flag
        .flag("ledger.path", FlagValue::Text("l".into()))
        .expect("a flag");
    assert_eq!(
        resolve(&with_flag).expect("is right").ledger.path,
        "/home/me/l"
    );
}
