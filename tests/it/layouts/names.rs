//! Names with characters that patterns are made of: what exists by that very name is meant, and nothing else.

use std::collections::BTreeMap;
use std::path::Path;

use crate::shell::{Ran, Shell};
use crate::world::{hash, read_table, write_table};

fn call(shell: &Shell, command: &str, input: &[&str], output: &str) -> Ran {
    let usual = [
        "--prompt",
        "Label this: {{ body }}",
        "--column",
        "label",
        "--model",
        "sandbox/x",
        "--name",
        "odd",
        "--output",
        output,
    ];
    shell.call(&[&[command], input, &usual].concat())
}

fn table(path: &Path, bodies: &[&str]) {
    let bodies: Vec<_> = bodies.iter().map(|body| Some((*body).to_owned())).collect();
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
    write_table(path, &bodies, 2);
}

/// The bodies of an output whose rows have their own answers.
#[track_caller]
fn answered(path: &Path) -> Vec<String> {
    let table: BTreeMap<_, _> = read_table(path);
    let bodies = table["body"].iter().flatten().cloned();
    let bodies: Vec<String> = bodies.collect();
    for (body, label) in bodies.iter().zip(&table["label"]) {
        let own = format!("#{:016x}", hash(&format!("Label this: {body}")));
        assert!(
            label.as_ref().is_some_and(|label| label.ends_with(&own)),
            "{body}: {label:?}"
        );
    }
    bodies
}

/// Checks, plans and runs, twice; the second run finds nothing to do.
#[track_caller]
fn all_through(shell: &Shell, input: &[&str], output: &str) {
    for command in ["check", "plan", "run"] {
        let ran = call(shell, command, input, output);
        assert_eq!(ran.code, 0, "{command}: {ran:?}");
    }
    let ran = call(shell, "run", input, output);
    assert_eq!(
        (ran.code, &ran.line()["unchanged"]),
        (0, &true.into()),
        "{ran:?}"
    );
}

#[test]
fn a_file_in_a_folder_whose_name_looks_like_a_pattern() {
    for (input, output) in [
        ("data [2024]/x.parquet", "data [2024]/out.parquet"),
        ("a*b.parquet", "out*.parquet"),
        ("what?.parquet", "what!.parquet"),
        ("[a].parquet", "[b].parquet"),
        ("x/**/t.parquet", "x/**/o.parquet"),
    ] {
        let shell = Shell::new();
        table(&shell.path(input), &["mine", "too"]);
        // Each pattern, were it one, would find this.
        for other in [
            "data 2/x.parquet",
            "aXb.parquet",
            "whatX.parquet",
            "a.parquet",
            "x/y/t.parquet",
        ] {
            table(&shell.path(other), &["other"]);
        }
        all_through(&shell, &["--table", input], output);
        assert_eq!(answered(&shell.path(output)), ["mine", "too"], "{input}");
        let ran = call(&shell, "run", &["--table", input], input);
        ran.refused(2, &["the output is, or lies inside, the source"]);
    }
}

#[test]
fn a_folder_whose_name_looks_like_a_pattern() {
    for input in [
        "data [2024]/",
        "data [2024]",
        "data [2024]/*.parquet",
        "data [2024]/p*",
    ] {
        let shell = Shell::new();
        for (file, body) in [("part[0].parquet", "zero"), ("part*.parquet", "star")] {
            table(&shell.path("data [2024]").join(file), &[body]);
        }
        table(&shell.path("data 2/part[0].parquet"), &["other"]);
        all_through(&shell, &["--table", input], "out [2024]/");
        let out = shell.path("out [2024]");
        assert_eq!(answered(&out.join("part[0].parquet")), ["zero"], "{input}");
        assert_eq!(answered(&out.join("part*.parquet")), ["star"], "{input}");
        let ran = call(&shell, "run", &["--table", input], "data [2024]/out/");
        ran.refused(2, &["the output is, or lies inside, the source"]);
    }
}

#[test]
fn every_other_file_whose_name_looks_like_a_pattern() {
    let shell = Shell::new();
    table(&shell.path("a[1].parquet"), &["mine"]);
    table(&shell.path("a1.parquet"), &["other"]);
    shell.write("q[1].sql", "SELECT body FROM t");
    shell.write("p[1].md", "Be brief.");
    let input = [
        "--query",
        "q[1].sql",
        "--tables",
        "t=a[1].parquet",
        "--system-file",
        "p[1].md",
    ];
    all_through(&shell, &input, "o[1].parquet");
    assert_eq!(
        read_table(&shell.path("o[1].parquet"))["body"],
        [Some("mine".to_owned())]
    );

    for (file, text) in [
        ("c[1].csv", "body\nmine\n"),
        ("n[1].ndjson", "{\"body\":\"mine\"}\n"),
    ] {
        let shell = Shell::new();
        shell.write(file, text);
        shell.write(&file.replace("[1]", "1"), text.replace("mine", "other"));
        all_through(&shell, &["--table", file], "o[1].parquet");
        assert_eq!(answered(&shell.path("o[1].parquet")), ["mine"]);
    }
}

/// What does not exist by that name is a pattern still.
#[test]
fn a_pattern_is_one_where_nothing_has_its_name() {
    let shell = Shell::new();
    table(&shell.path("in/a1.parquet"), &["one"]);
    table(&shell.path("in/a2.parquet"), &["two"]);
    all_through(&shell, &["--table", "in/a[1].parquet"], "out/");
    assert_eq!(answered(&shell.path("out/a1.parquet")), ["one"]);
    assert!(!shell.path("out/a2.parquet").exists());
    let ran = call(&shell, "run", &["--table", "in/a[1].parquet"], "in/out/");
    ran.refused(2, &["the output is, or lies inside, the source"]);
}
