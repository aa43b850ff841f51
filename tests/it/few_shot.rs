//! Examples before each row's own prompt: in the job file or in a table, and part of what is asked.

use serde_json::{Value, json};

use crate::shell::{Ran, Shell};
use crate::world::write_table;

/// A folder with three tickets, and a job that shows how two others were answered.
fn with_job(prompt: &str) -> Shell {
    with_answer(prompt, CHOICES)
}

const CHOICES: &str = "choices = [\"bug\", \"other\"]";

fn with_answer(prompt: &str, answer: &str) -> Shell {
    let shell = Shell::new();
    let bodies = ["a", "b", "c"].map(|body| Some(body.to_owned()));
    write_table(&shell.path("in.parquet"), &bodies, 2);
    write_job(&shell, prompt, answer);
    shell
}

fn write_job(shell: &Shell, prompt: &str, answer: &str) {
    let job = format!(
        "name = \"triage\"\n[source]\ntable = \"in.parquet\"\nkey = [\"id\"]\n\
         [prompt]\nsystem = \"Label.\"\nuser = \"{{{{ body }}}}\"\n{prompt}\n\
         [answer]\ncolumn = \"label\"\n{answer}\n\
         [model]\nuse = \"sandbox/x\"\n[output]\npath = \"out.parquet\"\n"
    );
    shell.write("job.toml", job);
}

/// The messages that were sent for row 1.
fn messages(shell: &Shell) -> Value {
    let ran = shell.call(&["show", "job.toml", "--key", "1", "--json"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let story = ran.line();
    let request = story["attempts"][0]["request"].to_string();
    let sent: Value = serde_json::from_str(&request).expect("JSON");
    let sent = match &sent {
        Value::String(text) => serde_json::from_str(text).expect("JSON"),
        other => other.clone(),
    };
    find(&sent).unwrap_or_else(|| panic!("no messages: {story}"))
}

fn find(value: &Value) -> Option<Value> {
    match value.get("messages") {
        Some(messages) => Some(messages.clone()),
        None => value.as_object()?.values().find_map(find),
    }
}

fn run(shell: &Shell) -> Ran {
    shell.call(&["run", "job.toml"])
}

fn turn(role: &str, content: &str) -> Value {
    json!({ "role": role, "content": content })
}

#[test]
fn examples_go_with_each_request_and_their_answers_are_written_as_the_models() {
    let shell = with_job(
        "examples = [{ user = \"It crashes {{ vars.where }}\", assistant = \"BUG\" },\n\
         { user = \"Hi\", assistant = \"other\" }]",
    );
    let ran = shell.call(&["run", "job.toml", "--var", "where=here"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let sent = messages(&shell);
    let own = [
        turn("user", "It crashes here"),
        turn("assistant", r#"{"answer":"bug"}"#),
        turn("user", "Hi"),
        turn("assistant", r#"{"answer":"other"}"#),
    ];
    let sent = sent.as_array().expect("a list");
    assert!(sent.windows(own.len()).any(|some| some == own), "{sent:?}");
    assert_eq!(sent.last(), Some(&turn("user", "b")));
    // Nothing changed, nothing is asked; another example is another question.
    let again = shell.call(&["run", "job.toml", "--var", "where=here"]);
    assert_eq!(again.line()["unchanged"], true, "{again:?}");
    let other = shell.call(&["run", "job.toml", "--var", "where=there"]);
    assert_eq!(other.line()["requests"], 3, "{other:?}");
}

#[test]
fn a_table_of_examples_is_data_and_a_new_one_makes_rows_stale() {
    let shell = with_job(
        "examples_table = \"golden.csv\"\n\
         examples_query = \"SELECT question AS \\\"user\\\", label AS assistant FROM examples ORDER BY n LIMIT 2\"",
    );
    shell.write(
        "golden.csv",
        "n,question,label\n2,\"{{ body }}\",bug\n1,first,other\n3,third,bug\n",
    );
    let ran = run(&shell);
    assert_eq!(ran.code, 0, "{ran:?}");
    let sent = messages(&shell);
    let own = [
        turn("user", "first"),
        turn("assistant", r#"{"answer":"other"}"#),
        turn("user", "{{ body }}"),
        turn("assistant", r#"{"answer":"bug"}"#),
    ];
    let sent = sent.as_array().expect("a list");
    assert!(sent.windows(own.len()).any(|some| some == own), "{sent:?}");
    assert_eq!(run(&shell).line()["unchanged"], true);
    // A row that the query does not choose changes nothing.
    shell.write(
        "golden.csv",
        "n,question,label\n2,\"{{ body }}\",bug\n1,first,other\n4,fourth,bug\n",
    );
    assert_eq!(run(&shell).line()["requests"], 0);
    shell.write(
        "golden.csv",
        "n,question,label\n2,second,bug\n1,first,other\n",
    );
    assert_eq!(run(&shell).line()["requests"], 3);
}

#[test]
fn the_answers_of_a_table_may_be_lists_and_structs() {
    for (answer, value, said) in [
        (
            "choices = [\"bug\", \"other\"]\nmultiple = true",
            "make_array('other', 'bug')",
            r#"{"answer":["other","bug"]}"#,
        ),
        (
            "fields = { n = \"DECIMAL(4,2)\", w = { type = \"VARCHAR\", nullable = true } }",
            "named_struct('n', CAST('1.50' AS DECIMAL(4,2)), 'w', CAST(NULL AS VARCHAR))",
            r#"{"n": 1.50, "w": null}"#,
        ),
    ] {
        let examples = format!(
            "examples_table = \"golden.csv\"\n\
             examples_query = \"SELECT question AS \\\"user\\\", {value} AS assistant FROM examples\""
        );
        let shell = with_answer(&examples, answer);
        shell.write("golden.csv", "question\nfirst\n");
        let ran = run(&shell);
        assert_eq!(ran.code, 0, "{ran:?}");
        let sent = messages(&shell);
        let sent = sent.as_array().expect("a list");
        assert!(sent.contains(&turn("assistant", said)), "{sent:?}");
    }
}

#[test]
fn what_is_wrong_with_examples_is_found_before_any_spend() {
    for (prompt, table, words) in [
        (
            "examples = [{ user = \"a\", assistant = \"bugs\" }]",
            "",
            &[
                "none of the answer's type",
                "example=`1`",
                "not one of the choices",
            ][..],
        ),
        (
            "examples = [{ user = \"{{ body }}\", assistant = \"bug\" }]",
            "",
            &["cannot name a column", "`body`"],
        ),
        ("examples_table = \"none.csv\"", "", &["none.csv"]),
        (
            "examples_table = \"golden.csv\"",
            "question,label\na,bug\n",
            &["no such column", "column=`user`", "examples_query"],
        ),
        (
            "examples_table = \"golden.csv\"",
            "user,assistant\na,\n",
            &["null or blank", "row=`1`"],
        ),
        (
            "examples_table = \"golden.csv\"",
            "user,assistant\n",
            &["is empty"],
        ),
    ] {
        let shell = with_job(prompt);
        if !table.is_empty() {
            shell.write("golden.csv", table);
        }
        for command in ["check", "plan", "run"] {
            let ran = shell.call(&[command, "job.toml"]);
            ran.refused(2, words);
        }
        shell.nothing_billed();
        assert!(!shell.path("out.parquet").exists());
    }
}
