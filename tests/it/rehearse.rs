//! `rehearse`, and the deaths that it is made of: the real binary, both vendors' dialects.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::attachments::{bytes, ids, picture, texts, write};
use crate::shell::{Ran, Shell};
use crate::world::write_table;

/// Every fault that the sandbox knows of the network and of results.
const FAULTS: &str = "429=0.05,5xx=0.05,lost_answer=0.3,refused_lost=0.1,queue_full=0.1,\
fail_batch=0.2,late_output=0.5,truncate=0.3,short=0.2,duplicate=0.1,missing=0.05,stranger=0.05,\
garbage=0.05,errored=0.05,expire=0.05";

/// A folder with a table of 60 rows, of which two are alike and one is null, and a job for it.
fn with_job(model: &str) -> Shell {
    let mut shell = Shell::new();
    let mut bodies: Vec<_> = (0..60).map(|n| Some(format!("ticket {n}"))).collect();
    bodies[41] = Some("ticket 40".into());
    bodies[50] = None;
    write_table(&shell.path("in.parquet"), &bodies, 25);
    let job = format!(
        "name = \"t\"\n[source]\ntable = \"in.parquet\"\nkey = [\"id\"]\n\
         [prompt]\nuser = \"Label this: {{{{ body }}}}\"\n[answer]\ncolumn = \"label\"\n\
         [model]\nuse = \"{model}\"\nmax_output_tokens = 64\nmax_requests_per_batch = 16\n\
         [budget]\nmax_failed = \"50%\"\n[output]\npath = \"out.parquet\"\n"
    );
    shell.write("job.toml", job);
    std::fs::create_dir_all(shell.path("tmp")).expect("made");
    let scratch = shell.path("tmp").display().to_string();
    shell.set("TMPDIR", &scratch);
    shell
}

/// Rehearses `job.toml`, a day in three minutes, and checks what must hold whatever happens.
#[track_caller]
fn rehearse(shell: &Shell, args: &[&str]) -> (Ran, Value) {
    let all: Vec<_> = ["rehearse", "job.toml", "--speed", "480"]
        .iter()
        .chain(args)
        .copied()
        .collect();
    // Whose a batch is whose answer was lost and whose only line is garbage, nobody can tell: a person must
    // say, and a rehearsal has none. Which calls meet which faults hangs on the time that each takes.
    let mut tries = (0..3).map(|_| shell.call(&all));
    let ran = tries.find(|ran| !is_for_a_person(ran)).expect("a verdict");
    assert_eq!(ran.code, 0, "{ran:?}");
    let line = ran.line();
    for (name, value) in [
        ("held", json!(true)),
        ("exit_code", json!(0)),
        ("lost_rows", json!(0)),
        ("wrong_rows", json!(0)),
        ("billed_twice", json!(0)),
        ("rows", json!(60)),
    ] {
        assert_eq!(line[name], value, "{name}: {ran:?}");
    }
    assert_eq!(statuses(&line).iter().sum::<u64>(), 60, "{line}");
    // Neither the job's output nor its ledger.
    let mut files = shell.files();
    files.retain(|file| !file.starts_with("tmp/"));
    assert_eq!(files, ["in.parquet", "job.toml"]);
    assert!(!shell.path("_columnist").exists());
    (ran, line)
}

/// Whether it ended because a batch that may be ours has no line that says whose it is.
fn is_for_a_person(ran: &Ran) -> bool {
    ran.code == 5 && ran.stderr.contains("their results cannot be read")
}

fn statuses(line: &Value) -> Vec<u64> {
    let status = line["status"].as_object().expect("statuses");
    status.values().filter_map(Value::as_u64).collect()
}

/// A run that is killed at every kind of durable write, under every fault, keeps its promises.
fn survives(model: &str, seed: &str) {
    let shell = with_job(model);
    let (ran, line) = rehearse(
        &shell,
        &["--kill", "--seed", seed, "--faults", FAULTS, "--json"],
    );
    assert_eq!(ran.stdout.lines().count(), 1);
    assert_eq!(line["seed"], seed.parse::<u64>().expect("a number"));
    let killed = line["killed_at"].as_object().expect("points");
    // Around a commit of the ledger, around the billable call, and around the publication.
    for part in ["commit", "submit", "output"] {
        assert!(killed.keys().any(|point| point.contains(part)), "{line}");
    }
    assert!(line["kills"].as_u64().is_some_and(|kills| kills >= 12));
    assert!(
        line["fault_counts"]
            .as_object()
            .is_some_and(|s| s.len() >= 5),
        "{line}"
    );
    assert!(line["peak_memory_bytes"].as_u64() > Some(1_000_000));
}

#[test]
fn a_killed_run_keeps_its_promises_at_anthropic() {
    survives("anthropic/claude-haiku-4-5", "1");
}

#[test]
fn a_killed_run_keeps_its_promises_at_openai() {
    survives("openai/gpt-6-luna", "2");
}

/// Answers that cannot be used are asked again, wherever the run dies: that is no double payment.
#[test]
fn a_killed_run_that_asks_again_keeps_its_promises() {
    let shell = with_job("anthropic/claude-haiku-4-5");
    let job = std::fs::read_to_string(shell.path("job.toml")).expect("a job");
    let answer =
        "column = \"label\"\nchoices = [\"bug\", \"other\"]\nreask = 4\ngrow_output_tokens = 2.0\n";
    shell.write("job.toml", job.replace("column = \"label\"\n", answer));
    let faults = "invalid=0.3,max_tokens=0.2,errored=0.1,lost_answer=0.2,429=0.05,duplicate=0.1";
    let (_, line) = rehearse(&shell, &["--kill", "--seed", "4", "--faults", faults]);
    for fault in ["invalid", "max_tokens"] {
        assert!(line["fault_counts"][fault].as_u64() > Some(3), "{line}");
    }
    assert!(line["status"]["succeeded"].as_u64() > Some(50), "{line}");
}

/// Rows that share a rubric of five thousand tokens: one of them goes first, wherever the run dies.
#[test]
fn a_killed_run_that_primes_the_cache_keeps_its_promises() {
    let shell = with_job("anthropic/claude-haiku-4-5");
    let job = std::fs::read_to_string(shell.path("job.toml")).expect("a job");
    let system = format!("[prompt]\nsystem = \"{}\"\n", "rule".repeat(5000));
    shell.write("job.toml", job.replace("[prompt]\n", &system));
    let args = ["--kill", "--seed", "3", "--faults", FAULTS, "--keep"];
    let (_, line) = rehearse(&shell, &args);
    let scratch = line["scratch"].as_str().expect("a path");
    let log = shell.path("tmp").join(scratch).join("ledger/log");
    let commits = std::fs::read_dir(log).expect("a log");
    let texts: Vec<_> = commits
        .map(|entry| std::fs::read_to_string(entry.expect("a file").path()).expect("text"))
        .collect();
    let says = |word: &str| texts.iter().any(|text| text.contains(word));
    assert!(says("\"primer\":true") && says("\"cache\":\"1h\""));
}

/// Texts that are embedded, several in a line, through kills and faults; those that are too long in pieces.
#[test]
fn a_killed_run_of_embeddings_keeps_its_promises() {
    let shell = with_job("openai/text-embedding-3-small");
    let text = std::fs::read_to_string(shell.path("job.toml")).expect("a job");
    let answer = "type = \"embedding\"\ndimensions = 16\ntoo_long = \"average\"";
    let text = text.replace("[answer]", &format!("[answer]\n{answer}"));
    let text = text.replace("max_output_tokens = 64\n", "max_input_tokens = 5\n");
    std::fs::write(shell.path("job.toml"), text).expect("written");
    // The longest of the texts have several pieces.
    let faults = format!("{FAULTS},misindexed=0.5");
    let more = ["--kill", "--seed", "4", "--faults", &faults, "--json"];
    let (_, line) = rehearse(&shell, &more);
    let misindexed = line["fault_counts"]["misindexed"].as_u64();
    assert!(misindexed.is_some_and(|lines| lines > 0), "{line}");
    assert!(
        line["kills"].as_u64().is_some_and(|kills| kills >= 12),
        "{line}"
    );
    let succeeded = line["status"]["succeeded"].as_u64();
    assert!(succeeded.is_some_and(|rows| rows > 20), "{line}");
}

#[test]
fn a_rehearsal_without_faults_lands_every_row() {
    let shell = with_job("sandbox/any");
    let (ran, line) = rehearse(&shell, &["--faults", "none"]);
    assert_eq!(line["status"], json!({ "succeeded": 59, "skipped": 1 }));
    assert_eq!(
        (
            &line["requests_billed"],
            &line["kills"],
            &line["fault_counts"]
        ),
        (&json!(58), &json!(0), &json!({}))
    );
    for words in [
        "t as openai/any, seed 0",
        "59 succeeded",
        "0 lost, 0 in the wrong row",
        "0 billed twice",
        "all held",
    ] {
        assert!(ran.stdout.contains(words), "`{words}`: {ran:?}");
    }
    // What it worked with is gone.
    let left = std::fs::read_dir(shell.path("tmp"))
        .expect("a folder")
        .count();
    assert_eq!(left, 0);
}

#[test]
fn what_a_rehearsal_worked_with_can_be_kept() {
    let shell = with_job("anthropic/claude-haiku-4-5");
    let (_, line) = rehearse(&shell, &["--faults", "none", "--keep", "--limit", "5"]);
    let scratch = shell
        .path("tmp")
        .join(line["scratch"].as_str().expect("a path"));
    assert!(scratch.join("output/out.parquet").is_file());
    assert!(scratch.join("ledger").is_dir());
    assert_eq!(line["status"], json!({ "succeeded": 5, "skipped": 55 }));
}

#[test]
fn a_query_and_a_layout_without_the_old_columns_are_judged_as_well() {
    let shell = with_job("openai/gpt-6-luna");
    rehearse(
        &shell,
        &[
            "--faults",
            "none",
            "--layout",
            "keyed",
            "--where",
            "id % 2 = 0",
        ],
    );
    shell.write(
        "q.sql",
        "SELECT id AS number, body AS text FROM t WHERE id >= 0 ORDER BY id DESC",
    );
    let ran = shell.call(&[
        "rehearse",
        "job.toml",
        "--speed",
        "480",
        "--faults",
        "none",
        "--query",
        "q.sql",
        "--tables",
        "t=in.parquet",
        "--key",
        "number",
        "--prompt",
        "About {{ text }}",
        "--dedupe=false",
    ]);
    let line = ran.line();
    assert_eq!((ran.code, &line["held"]), (0, &json!(true)), "{ran:?}");
    assert_eq!(line["status"], json!({ "succeeded": 59, "skipped": 1 }));
    // Two rows ask the same, and both are to have an answer of their own.
    assert_eq!(line["requests_billed"], 59);
}

#[test]
fn a_full_queue_is_waited_for() {
    let shell = with_job("openai/gpt-6-luna");
    // A prompt is five or six tokens, a chunk of 16 takes the whole queue.
    let (_, line) = rehearse(&shell, &["--faults", "none", "--enqueued-tokens", "120"]);
    assert_eq!(line["status"], json!({ "succeeded": 59, "skipped": 1 }));
    assert_eq!(line["requests_billed"], 58);
    // The trial and four chunks, and at least one batch that failed for the full queue.
    assert!(line["batches"].as_u64() > Some(5), "{line}");
}

#[test]
fn a_rehearsal_can_be_interrupted() {
    let shell = with_job("openai/gpt-6-luna");
    let mut rehearsal = shell
        .command(&[
            "rehearse",
            "job.toml",
            "--faults",
            "none",
            "--batch-time",
            "20h",
        ])
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let said = BufReader::new(rehearsal.stderr.take().expect("piped"));
    let submitted = said
        .lines()
        .map_while(Result::ok)
        .any(|line| line.contains("submitted"));
    assert!(submitted);
    kill_process(Pid::from_child(&rehearsal), Signal::INT).expect("it lives");
    let ended = rehearsal.wait().expect("its end");
    assert_eq!(ended.code(), Some(130));
    let left = std::fs::read_dir(shell.path("tmp"))
        .expect("a folder")
        .count();
    assert_eq!(left, 0);
}

#[test]
fn a_job_with_a_mistake_is_not_rehearsed() {
    let shell = with_job("openai/gpt-6-luna");
    shell
        .call(&["rehearse", "job.toml", "--faults", "lost=0.1"])
        .refused_with_hint(2, &["no such fault", "lost_answer"]);
    shell
        .call(&["rehearse", "job.toml", "--set", "answer.kind=text"])
        .refused(2, &["kind"]);
    // What only the source tells.
    shell
        .call(&["rehearse", "job.toml", "--prompt", "{{ boddy }}"])
        .refused_with_hint(2, &["boddy", "body"]);
    shell
        .call(&["rehearse", "job.toml", "--speed", "0"])
        .refused(2, &["--speed"]);
}

#[test]
fn a_process_dies_where_it_is_told_to_and_the_next_one_goes_on() {
    let mut shell = with_job("sandbox/any");
    shell.set("COLUMNIST_CRASH_AT", "!:9");
    let died = shell.call(&["run", "job.toml"]);
    assert_eq!(died.code, -9, "{died:?}");
    assert!(died.line()["killed_at"].is_string(), "{died:?}");
    assert!(!shell.path("out.parquet").exists());
    shell.set("COLUMNIST_CRASH_AT", "no-such-point");
    let ran = shell.call(&["run", "job.toml"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(
        ran.line()["status"],
        json!({ "succeeded": 59, "skipped": 1 })
    );
    assert_eq!(shell.bill("t").billed_more_than_once, 0);
    shell.set("COLUMNIST_CRASH_AT", ":");
    shell
        .call(&["run", "job.toml"])
        .refused_with_hint(2, &["crash-at"]);
}

/// The same for every type of answer, however it is asked for.
#[test]
fn answers_of_every_type_keep_the_promises() {
    let choices = "choices = { billing = \"about invoices\", bug = \"\", other = \"\" }\n";
    let fields = "fields = { a = \"SMALLINT\", b = \"STRUCT(c DATE, d VARCHAR[])\", e = { choices = [\"x\", \"y\"], multiple = true }, \
                  f = \"TIMESTAMP\", g = \"TIME[]\", h = \"INT UNSIGNED\", i = { type = \"DECIMAL(9,2)\", nullable = true } }\n";
    let map = "fields = { m = \"MAP(VARCHAR, INT)\", t = \"TIMESTAMP WITH TIME ZONE\" }\n";
    let prompt = "structured_output = \"prompt\"\n";
    for (at, (answer, model)) in [
        (choices.to_owned(), ""),
        (
            format!("{choices}multiple = true\nmin = 1\nother = true\n"),
            "",
        ),
        (
            format!("{choices}multiple = true\nother = \"rest\"\n"),
            prompt,
        ),
        (choices.to_owned(), prompt),
        (fields.to_owned(), ""),
        (format!("{map}flatten = true\n"), prompt),
        ("type = \"date\"\n".to_owned(), prompt),
        ("type = \"number\"\n".to_owned(), ""),
        ("trim = true\nmax_chars = 50\n".to_owned(), ""),
    ]
    .into_iter()
    .enumerate()
    {
        let vendor = ["openai/gpt-6-luna", "anthropic/claude-haiku-4-5"][at % 2];
        let shell = with_job(vendor);
        let job = std::fs::read_to_string(shell.path("job.toml")).expect("a job");
        let job = job
            .replace(
                "column = \"label\"\n",
                &format!("column = \"label\"\n{answer}"),
            )
            .replace(
                "max_output_tokens = 64\n",
                &format!("max_output_tokens = 400\n{model}"),
            );
        shell.write("job.toml", job);
        let (_, line) = rehearse(&shell, &["--seed", "5", "--faults", FAULTS]);
        let done = line["status"]["succeeded"].as_u64().unwrap_or_default();
        assert!(done > 40, "{answer}{line}");
    }
}

/// Pictures in the rows, and others whose paths stand there, through kills and faults.
#[test]
fn a_killed_run_of_pictures_keeps_its_promises() {
    for (model, seed) in [
        ("anthropic/claude-haiku-4-5", "5"),
        ("openai/gpt-6-luna", "6"),
    ] {
        let shell = with_job(model);
        let photos = (0..60).map(|n| Some(picture(n))).collect();
        let links: Vec<_> = (0..60).map(|n| format!("{}.png", n % 7)).collect();
        let links = links.iter().map(|link| Some(link.as_str())).collect();
        let columns = vec![
            ("id", ids(60)),
            ("photo", bytes(photos)),
            ("link", texts(links)),
        ];
        write(&shell.path("in.parquet"), columns);
        // What lies beside the job is looked at after the rehearsal.
        let folder = tempfile::tempdir().expect("a folder");
        for n in 0..7 {
            let file = folder.path().join(format!("{n}.png"));
            std::fs::write(file, picture(n + 100)).expect("a picture");
        }
        let job = std::fs::read_to_string(shell.path("job.toml")).expect("a job");
        let prompt = format!(
            "[prompt]\nimages = [\"photo\", \"link\"]\nattachments_from = [\"{}/\"]\nuser = \"{{{{ photo }}}} or {{{{ link }}}}?\"\n",
            folder.path().display()
        );
        let old = "[prompt]\nuser = \"Label this: {{ body }}\"\n";
        assert!(job.contains(old));
        shell.write("job.toml", job.replace(old, &prompt));
        let args = ["--kill", "--seed", seed, "--faults", FAULTS, "--json"];
        let (_, line) = rehearse(&shell, &args);
        assert!(
            line["kills"].as_u64().is_some_and(|kills| kills >= 12),
            "{line}"
        );
        assert!(line["status"]["succeeded"].as_u64() > Some(50), "{line}");
    }
}
