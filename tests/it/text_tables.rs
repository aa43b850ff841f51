//! CSV and NDJSON as people have them: what arrives in the prompt and in the output, and what is refused
//! before anything is sent.

use crate::shell::{Ran, Shell};
use crate::world::read_table;

/// Calls a command for `table`.
fn call(shell: &Shell, command: &str, table: &str, prompt: &str, more: &[&str]) -> Ran {
    let mut args = vec![command, "--table", table, "--prompt", prompt];
    args.extend(["--column", "label", "--model", "sandbox/x"]);
    args.extend(["--output", "out.parquet"]);
    args.extend(more);
    shell.call(&args)
}

#[track_caller]
fn done(ran: &Ran) {
    assert_eq!(ran.code, 0, "{ran:?}");
}

#[track_caller]
fn says(ran: &Ran, words: &[&str]) {
    done(ran);
    for word in words {
        assert!(ran.stdout.contains(word), "`{word}` is missing: {ran:?}");
    }
}

/// Checks that `check` and `run` refuse `table`, and that nothing was sent.
#[track_caller]
fn refused(shell: &Shell, table: &str, words: &[&str]) {
    for command in ["check", "plan", "run"] {
        let ran = call(shell, command, table, "{{ row }}", &[]);
        ran.refused_with_hint(2, words);
        assert!(
            ran.stderr.len() < 1_500,
            "{} bytes: {ran:?}",
            ran.stderr.len()
        );
    }
    shell.nothing_billed();
    assert!(!shell.path("out.parquet").exists(), "an output was left");
}

fn some(texts: &[&str]) -> Vec<Option<String>> {
    texts.iter().map(|text| Some((*text).to_owned())).collect()
}

#[test]
fn columns_that_stand_in_another_order_in_another_file_are_matched_by_name() {
    let shell = Shell::new();
    shell.write("in/a.csv", "name,city\nAda,Paris\n");
    shell.write("in/b.csv", "city,name\nRome,Bob\n");
    let prompt = "{{ name }} in {{ city }}";
    says(
        &call(&shell, "check", "in", prompt, &[]),
        &[
            "Ada in Paris",
            "Bob in Rome",
            "types    name VARCHAR; city VARCHAR",
        ],
    );
    done(&call(&shell, "run", "in", prompt, &[]));
    let table = read_table(&shell.path("out.parquet"));
    assert_eq!(table["name"], some(&["Ada", "Bob"]));
    assert_eq!(table["city"], some(&["Paris", "Rome"]));

    shell.write("q.sql", "SELECT city, name FROM people ORDER BY name DESC");
    shell.write(
        "job.toml",
        "name = \"q\"\n[source]\nquery = \"q.sql\"\ntables = { people = \"in\" }\n\
         [prompt]\nuser = \"{{ name }} in {{ city }}\"\n[answer]\ncolumn = \"label\"\ntype = \"text\"\n\
         [model]\nuse = \"sandbox/x\"\n[output]\npath = \"q.parquet\"\n",
    );
    says(
        &shell.call(&["check", "job.toml"]),
        &[
            "Ada in Paris",
            "Bob in Rome",
            "types    people: name VARCHAR; city VARCHAR",
        ],
    );
}

#[test]
fn codes_keep_their_zeros_in_the_prompt_and_in_the_output() {
    let shell = Shell::new();
    shell.write(
        "in.csv",
        "id,zip,at\n1,10115,2024-01-02 03:04:05\n2,07307,2024-01-02 03:04:05 lost\n",
    );
    for key in [&[][..], &["--key", "id"]] {
        says(
            &call(&shell, "check", "in.csv", "{{ zip }} at {{ at }}.", key),
            &[
                "\n07307 at 2024-01-02 03:04:05 lost.",
                "zip VARCHAR for line 3 has `07307`",
            ],
        );
    }
    done(&call(
        &shell,
        "run",
        "in.csv",
        "{{ zip }} at {{ at }}.",
        &[],
    ));
    let table = read_table(&shell.path("out.parquet"));
    assert_eq!(table["zip"], some(&["10115", "07307"]));
    assert_eq!(
        table["at"],
        some(&["2024-01-02 03:04:05", "2024-01-02 03:04:05 lost"])
    );
}

#[test]
fn the_job_says_the_type_of_a_column_or_is_told_why_not() {
    let shell = Shell::new();
    shell.write("in.csv", "id;price\n1;2\n2;2.5\n");
    shell.write(
        "in.ndjson",
        "{\"id\":1,\"price\":2}\n{\"id\":2,\"price\":\"2.5\"}\n",
    );
    for table in ["in.csv", "in.ndjson"] {
        let types = [
            "--set",
            "source.types={ id = \"VARCHAR\", price = \"DOUBLE\" }",
        ];
        let ran = call(&shell, "check", table, "{{ price * 2 }}", &types);
        says(
            &ran,
            &[
                "4.0",
                "5.0",
                "id VARCHAR as the job says",
                "price DOUBLE as the job says",
            ],
        );
        let types = [
            "--set",
            "source.types={ id = \"VARCHAR\", prize = \"DOUBLE\" }",
        ];
        let ran = call(&shell, "check", table, "{{ id }}", &types);
        ran.refused_with_hint(2, &["not there", "prize", "did you mean `price`?"]);
        let types = ["--set", "source.types={ price = \"BIGINT\" }"];
        let ran = call(&shell, "check", table, "{{ id }}", &types);
        ran.refused_with_hint(
            2,
            &["not of its column's type", "line=`", "`2.5`", "VARCHAR"],
        );
    }
    done(&call(&shell, "run", "in.csv", "{{ id }}", &[]));
    let types = [
        "--set",
        "source.types={ id = \"VARCHAR\" }",
        "--output",
        "again.parquet",
    ];
    let ran = shell.call(
        &[
            &[
                "check",
                "--table",
                "out.parquet",
                "--prompt",
                "{{ id }}",
                "--column",
                "again",
                "--model",
                "sandbox/x",
            ],
            &types[..],
        ]
        .concat(),
    );
    ran.refused_with_hint(2, &["`source.types` is for CSV and NDJSON"]);
    let delimiter = ["--set", "source.delimiter=\",\""];
    let ran = call(
        &shell,
        "check",
        "in.csv",
        "{{ row['id;price'] }}",
        &delimiter,
    );
    says(&ran, &["1;2"]);
}

#[test]
fn a_list_of_records_is_read() {
    let shell = Shell::new();
    shell.write(
        "in.json",
        "[\n  {\"id\": 1, \"body\": \"a\"},\n  {\"id\": 2, \"late\": \"b\"}\n]\n",
    );
    let prompt = "{{ body | default('-') }} {{ late | default('-') }}";
    says(
        &call(&shell, "check", "in.json", prompt, &[]),
        &["a -", "- b"],
    );
    done(&call(&shell, "run", "in.json", prompt, &[]));
    let table = read_table(&shell.path("out.parquet"));
    assert_eq!(table["late"], [None, Some("b".to_owned())]);
}

#[test]
fn what_cannot_be_read_is_refused_with_its_place_and_little_of_it() {
    let shell = Shell::new();
    let long = "secret ".repeat(200_000);
    let rows: Vec<String> = (0..999).map(|n| format!("{n},row {n}\n")).collect();
    let rows = rows.concat();
    shell.write(
        "quote.csv",
        format!("id,body\n{}", rows.replacen("\n10,row", "\n10,\"row", 1)),
    );
    refused(
        &shell,
        "quote.csv",
        &["never closed", "quote.csv", "line=`12`"],
    );
    shell.write("short.csv", format!("id,body\n{rows}{long}\n"));
    refused(
        &shell,
        "short.csv",
        &["as many values", "short.csv", "line=`1001`"],
    );
    shell.write("twice.csv", "id,body,id\n1,x,2\n");
    refused(&shell, "twice.csv", &["alike", "line=`1`", "`id`"]);
    shell.write(
        "broken.ndjson",
        format!("{{\"id\":1}}\n{{\"id\":2}}\n{{\"id\":3, {long}\n"),
    );
    refused(
        &shell,
        "broken.ndjson",
        &["not whole JSON", "broken.ndjson", "line=`3`"],
    );
    shell.write("list.json", format!("[{{\"id\":1}},\n[\"{long}\"]]"));
    refused(
        &shell,
        "list.json",
        &["not an object", "list.json", "line=`2`"],
    );
    shell.write("bytes.csv", b"id,body\n1,a\n2,caf\xe9\n");
    refused(
        &shell,
        "bytes.csv",
        &["not UTF-8", "line=`3`", "column=`body`", "iconv"],
    );
    shell.write("apart/a.csv", "id,body\n1,x\n");
    shell.write("apart/b.csv", "2,y\n");
    refused(
        &shell,
        "apart",
        &["no column in common", "b.csv", "2,y", "id,body"],
    );
}
