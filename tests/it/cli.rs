//! The commands from outside: what they say, what they print last, and how they end.

use serde_json::Value;

use crate::shell::{PROGRAM, Ran, Shell};
use crate::world::{read_table, write_table};

/// Every command, with a word of what it does.
const COMMANDS: [(&str, &str); 11] = [
    ("run", "Plan, submit, wait, collect, publish"),
    ("submit", "Plan and submit"),
    ("collect", "One pass"),
    ("plan", "sends nothing"),
    ("check", "Validate"),
    ("status", "Where everything stands"),
    ("show", "One row's story"),
    ("cancel", "Cancel open batches"),
    ("retry", "sent again"),
    ("rehearse", "spends nothing"),
    ("sandbox", "loopback"),
];

/// What the last line says, whatever the command came to.
const FIELDS: [&str; 23] = [
    "job",
    "run",
    "exit_code",
    "published",
    "unchanged",
    "output",
    "ledger",
    "rows",
    "status",
    "requests",
    "identical_rows",
    "answered_before_rows",
    "unsent_chunks",
    "awaits",
    "open_batches",
    "wasted_batches",
    "account_refused_requests",
    "duplicate_lines",
    "stranger_lines",
    "broken_lines",
    "batches",
    "tokens",
    "cost_usd",
];

/// A folder with a table of four rows, of which two are equal, and a job for it.
pub(crate) fn with_job() -> Shell {
    let shell = Shell::new();
    let bodies = ["a", "b", "b", "c"].map(|body| Some(body.to_owned()));
    write_table(&shell.path("in.parquet"), &bodies, 2);
    shell.write(
        "job.toml",
        "name = \"triage\"\n[source]\ntable = \"in.parquet\"\nkey = [\"id\"]\n[prompt]\nuser = \"Label: {{ body }}\"\n\
         [answer]\ncolumn = \"label\"\n[model]\nuse = \"sandbox/x\"\npoll_min = \"100ms\"\n\
         [output]\npath = \"out.parquet\"\n",
    );
    shell
}

#[track_caller]
fn check_line(ran: &Ran, code: i32) -> Value {
    assert_eq!(ran.code, code, "{ran:?}");
    assert_eq!(ran.stdout.matches('\n').count(), 1, "{ran:?}");
    assert!(ran.stdout.ends_with("}\n"), "{ran:?}");
    let line = ran.line();
    for field in FIELDS {
        assert!(line.get(field).is_some(), "`{field}` is missing: {line}");
    }
    assert_eq!(line["exit_code"], code);
    assert_eq!(line["job"], "triage");
    line
}

#[test]
fn every_command_says_what_it_does() {
    let shell = Shell::new();
    let all = shell.call(&["--help"]);
    assert_eq!(all.code, 0, "{all:?}");
    assert!(all.stdout.contains("Exit codes:"), "{all:?}");
    for (command, words) in COMMANDS {
        assert!(all.stdout.contains(&format!("\n  {command} ")), "{command}");
        let help = shell.call(&[command, "--help"]);
        assert_eq!(help.code, 0, "{help:?}");
        let text = help.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(text.contains(words), "{command}: {text}");
        assert!(text.contains("Usage: columnist"), "{command}: {text}");
    }
}

#[test]
fn a_command_that_does_not_exist_is_told_what_there_is() {
    let shell = Shell::new();
    let ran = shell.call(&["submitt"]);
    assert_eq!(ran.code, 2, "{ran:?}");
    assert!(ran.stderr.contains("'submit'"), "{ran:?}");
    assert!(ran.stdout.is_empty(), "{ran:?}");
}

#[test]
fn a_run_ends_with_one_object_and_a_second_one_finds_nothing_to_do() {
    let shell = with_job();
    let line = check_line(&shell.call(&["run", "job.toml"]), 0);
    assert_eq!(line["published"], true);
    assert_eq!(line["unchanged"], false);
    assert_eq!(line["rows"], 4);
    assert_eq!(line["status"]["succeeded"], 4);
    assert_eq!(line["requests"], 3);
    assert_eq!(line["identical_rows"], 1);
    let written = std::fs::metadata(shell.path("out.parquet")).expect("an output");
    let line = check_line(&shell.call(&["run", "job.toml"]), 0);
    assert_eq!(line["unchanged"], true);
    check_line(&shell.call(&["run", "job.toml", "--skip-code"]), 99);
    let after = std::fs::metadata(shell.path("out.parquet")).expect("an output");
    let time = |meta: &std::fs::Metadata| meta.modified().expect("a time");
    assert_eq!(time(&written), time(&after));
    let bill = shell.bill("triage");
    assert_eq!(bill.total.requests_accepted, 3);
    assert_eq!(bill.billed_more_than_once, 0);
    assert_eq!(shell.files(), ["in.parquet", "job.toml", "out.parquet"]);
}

#[test]
fn progress_comes_as_json_lines_where_asked_for() {
    let shell = with_job();
    let ran = shell.call(&["run", "job.toml", "--log-format", "json"]);
    check_line(&ran, 0);
    let events: Vec<Value> = ran
        .stderr
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect();
    let has = |name: &str| events.iter().any(|event| event["event"] == name);
    for name in ["planned", "submitted", "landed", "published"] {
        assert!(has(name), "{name}: {events:?}");
    }
    assert!(events.iter().all(|event| event["time"].is_string()));
    let quiet = shell.call(&["run", "job.toml", "--quiet"]);
    assert_eq!(quiet.stderr, "");
}

#[test]
fn submit_returns_and_collect_brings_it_home() {
    let shell = with_job();
    let early = shell.call(&["collect", "job.toml"]);
    early.refused_with_hint(2, &["nothing was submitted"]);
    let line = check_line(&shell.call(&["submit", "job.toml"]), 0);
    assert_eq!(line["published"], false);
    assert_eq!(line["open_batches"], 1);
    let batches = line["batches"].as_array().expect("a list").len();
    assert_eq!(batches, 1);
    assert!(!shell.path("out.parquet").exists());
    // A batch takes one second at least, counted from before `submit` returned; a collect that comes
    // later than that may find it done, and then the next one finds nothing to do.
    let first = shell.call(&["collect", "job.toml"]);
    assert!([0, 75].contains(&first.code), "{first:?}");
    let pending = check_line(&first, first.code);
    assert_eq!(pending["published"], first.code == 0);
    let line = check_line(&shell.call(&["collect", "job.toml", "--wait"]), 0);
    assert_eq!(line["published"], true);
    assert_eq!(line["status"]["succeeded"], 4);
    assert_eq!(shell.bill("triage").total.requests_accepted, 3);
    assert_eq!(read_table(&shell.path("out.parquet"))["label"].len(), 4);
}

#[test]
fn what_is_pending_is_said_with_its_own_code() {
    let mut shell = with_job();
    shell.set("OPENAI_API_KEY", "sk-test");
    let served = shell.sandbox(&["--batch-time", "1h..2h"]);
    let url = served.url("openai");
    let args = |command: &'static str| -> Vec<String> {
        let flags = [
            "job.toml",
            "--model",
            "openai/gpt-6-luna",
            "--base-url",
            &url,
        ];
        std::iter::once(command)
            .chain(flags)
            .map(str::to_owned)
            .collect()
    };
    let call = |command| {
        let args = args(command);
        shell.call(&args.iter().map(String::as_str).collect::<Vec<_>>())
    };
    let line = check_line(&call("submit"), 0);
    assert_eq!(line["open_batches"], 1);
    let line = check_line(&call("collect"), 75);
    assert_eq!(line["open_batches"], 1);
    assert_eq!(line["published"], false);
    let again = check_line(&call("submit"), 0);
    assert_eq!(again["batches"], line["batches"], "submitted twice");
}

#[test]
fn the_program_is_the_one_that_was_built() {
    let ran = Shell::new().call(&["--version"]);
    assert_eq!(
        ran.stdout,
        format!("columnist {}\n", env!("CARGO_PKG_VERSION"))
    );
    assert!(PROGRAM.ends_with("columnist"));
}

/// What a call says, whole: exit code, both streams.
macro_rules! says {
    ($shell:expr, $args:expr, @$expected:literal) => {
        let ran = $shell.call(&$args);
        insta::assert_snapshot!($shell.told(&ran), @$expected);
    };
}

#[test]
#[expect(clippy::too_many_lines, reason = "most of them are the program's")]
fn the_help_as_a_newcomer_reads_it() {
    let shell = Shell::new();
    says!(shell, ["--help"], @r#"
    exit 0
    --- stdout
    Writes a column: a table or a SQL query in, one LLM answer per row out.

    Columnist renders a prompt for every row of a table, sends the prompts to a provider's batch API at
    half the price, waits, and writes the table back with the answers as a new column. Work is
    remembered in a ledger beside the output: run the same command again after a crash, an interrupt or
    a change of the table, and only what is missing is sent.

    Usage: columnist [OPTIONS] <COMMAND>

    Commands:
      run       Plan, submit, wait, collect, publish; safe to repeat, to kill, to run twice at once
      submit    Plan and submit, then return
      collect   One pass: poll, land, retry, publish if complete; exit 75 while work is pending
      plan      What a run would do, and why; sends nothing
      check     Validate the job and render its first rows; no network but storage
      status    Where everything stands: rows by status, chunks, batches
      show      One row's story: the prompt, the request, every attempt, the raw answer, tokens
      cancel    Cancel open batches; what they finished is harvested
      retry     Have rows without an answer sent again: all that failed, by --status, or by --key
      rehearse  The job on its real rows against the built-in sandbox, with faults; spends nothing
      sandbox   Serve the provider dialects on loopback, for trying and testing; takes any key
      gc        Delete what is no longer needed from the ledger: prompts and snapshots of older plans
      help      Print this message or the help of the given subcommand(s)

    Options:
      -h, --help
              Print help (see a summary with '-h')

      -V, --version
              Print version

    Common options:
          --log-format <FORMAT>
              How progress and errors are written to standard error

              Possible values:
              - plain: Bars on a terminal, plain lines elsewhere
              - json:  One JSON object per line

              [env: COLUMNIST_LOG_FORMAT=]
              [default: plain]

          --storage-option <KEY=VALUE>
              A setting of the object stores, such as `aws_endpoint=http://127.0.0.1:9000`; wins over
              AWS_*, GOOGLE_* and AZURE_* variables; may be repeated

              [env: COLUMNIST_STORAGE_OPTION]

          --memory <BYTES>
              What sorts and look-ups may use before they spill to disk

              [env: COLUMNIST_MEMORY=]
              [default: 32MB]

      -q, --quiet
              Show warnings and errors alone

      -v, --verbose...
              Log what is done (-vv: in detail); `RUST_LOG` says it more precisely

    Examples:
      columnist check job.toml          look at the first prompts; sends nothing
      columnist plan job.toml           see what a run would send
      columnist run job.toml            do it, and publish the table
      columnist status job.toml --json  where it stands, for machines

    Exit codes:
        0  done, and within the error budget
        1  unexpected; storage or network away                        (a retry helps)
        2  the command or the job file is wrong
        3  published, but more rows failed than `max_failed` allows
        4  the budget stopped it; rows are deferred
        5  cannot tell whether a batch was accepted; a person must say
        6  a quality gate failed
        7  credentials, quota or access refused
        8  stored state is corrupt, or was written by a newer version
       75  work is pending at the provider, or another process
           holds the job                                              (a retry helps)
       99  nothing to do, only with --skip-code
      130, 143  interrupted; batches go on, run it again to resume    (a retry helps)
    --- stderr
    "#);
    says!(shell, ["run", "--help"], @r#"
    exit 0
    --- stdout
    Plan, submit, wait, collect, publish; safe to repeat, to kill, to run twice at once

    Does all of it: reads the source, sends what has no answer yet, waits for the provider, and
    publishes the table with its new column. Open batches of an earlier run are harvested first. On a
    terminal it ends with a summary; in a pipe or a file, or with --json, the last line on standard
    output is one JSON object: counts by status, tokens, cost, batch ids, output path and run id.

    Usage: columnist run [OPTIONS] [JOB]

    Arguments:
      [JOB]
              The job file; left out, the flags below describe the job

    Options:
          --set <SECTION.KEY=VALUE>
              Override any key of the job file, such as model.temperature=0.2 (TOML, else text); may be
              repeated

              [env: COLUMNIST_SET]

          --var <NAME=VALUE>
              Give a value to $name in SQL and to {{ vars.name }} in prompts and in the paths of source
              and output; may be repeated

              [env: COLUMNIST_VAR]

      -h, --help
              Print help (see a summary with '-h')

    The job, key by key (a flag wins over the job file):
          --name <NAME>
              The job's name [a-z0-9-]; a one-liner is named after its output

          --table <PATH>
              The table: a file, a folder (Hive partitions) or a glob; Parquet, or .csv .ndjson .arrow;
              may hold {{ vars.name }}

          --query <FILE.sql>
              A file with the SQL query whose result is the table

          --tables <NAME=PATH>
              What a table's name in the query reads; may be repeated

          --where <SQL>
              Which rows get a prompt, in SQL; the others come back with nulls

          --limit <ROWS>
              At most so many rows get a prompt

          --sample <ROWS>
              So many rows get a prompt, drawn from all that are chosen

          --sample-seed <NUMBER>
              Which rows are drawn: the same number draws the same rows of the same table; default 0

          --prompt <TEMPLATE>
              The prompt's template, such as 'Label this ticket: {{ body }}'

          --system <TEMPLATE>
              The system prompt

          --system-file <FILE>
              A file with the system prompt

          --images <COLUMNS>
              The columns of pictures, with commas between them

          --documents <COLUMNS>
              The columns of documents (PDF), with commas between them

          --dedupe[=<BOOL>]
              Whether identical requests go once

              [possible values: true, false]

          --column <NAME>
              The new column's name

          --choices <WORDS>
              The words that an answer may be, with commas between them; without them, an answer is text

          --meta <WHICH>
              Which columns say how each answer came about: off, minimal, full

          --model <PROVIDER/MODEL>
              Who answers: provider/model, such as anthropic/claude-haiku-4-5 or openai/gpt-6-luna;
              sandbox/x, which is built in, needs no key and costs nothing

          --max-output-tokens <TOKENS>
              The most tokens that an answer may have, longer ones are `truncated`; default 1024, for
              choices 256

          --temperature <NUMBER>
              The sampling temperature

          --base-url <URL>
              Another endpoint than the vendor's, as that vendor's SDK takes it

          --api-key-env <NAME>
              The environment variable that holds the key

          --service <NAME>
              A name for the service behind the base URL, by which its answers are known

          --max-requests-per-batch <COUNT>
              Fewer requests in a batch than the provider takes

          --max-bytes-per-batch <BYTES>
              Fewer bytes in a batch than the provider takes, such as 50MB

          --poll-min <DURATION>
              The first wait between two looks at a batch

          --poll-max <DURATION>
              The longest wait between two looks at a batch

          --max-failed <ROWS|%>
              Failed rows that are tolerated: rows, or a share such as 1%

          --output <PATH>
              Where the table goes: a file or a folder; may hold {{ vars.name }}

          --layout <LAYOUT>
              mirror: the source's files; single: one file; keyed: row id and new columns alone

          --overwrite[=<BOOL>]
              Replace an output that is not ours

              [possible values: true, false]

          --ledger <PATH>
              Where the work is remembered; default: _columnist/NAME/ beside the output

          --key <COLUMNS>
              The columns of the row id: unique, not null; left out, the row's position

          --json
              Print one JSON object as the last line on a terminal as well; in a pipe or a file it
              always is

          --skip-code
              Exit with 99 where there is nothing to do; Airflow shows the task as skipped

              [env: COLUMNIST_SKIP_CODE=]

          --no-follow
              Where the source changed meanwhile, `run` publishes its new rows as `deferred`, and leaves
              them to a run without this flag

              [env: COLUMNIST_NO_FOLLOW=]

          --publish-partial
              Where nobody can tell whether the provider took a chunk (exit code 5), publish all other
              rows now; its rows are `pending`

              [env: COLUMNIST_PUBLISH_PARTIAL=]

          --on-interrupt <WHAT>
              What becomes of open batches on SIGINT or SIGTERM: they go on, and the next run collects
              them; or they are canceled, and what they finished is collected

              Possible values:
              - cancel: They are canceled
              - leave:  They go on at the provider

              [env: COLUMNIST_ON_INTERRUPT=]
              [default: leave]

    Common options:
          --log-format <FORMAT>
              How progress and errors are written to standard error

              Possible values:
              - plain: Bars on a terminal, plain lines elsewhere
              - json:  One JSON object per line

              [env: COLUMNIST_LOG_FORMAT=]
              [default: plain]

          --storage-option <KEY=VALUE>
              A setting of the object stores, such as `aws_endpoint=http://127.0.0.1:9000`; wins over
              AWS_*, GOOGLE_* and AZURE_* variables; may be repeated

              [env: COLUMNIST_STORAGE_OPTION]

          --memory <BYTES>
              What sorts and look-ups may use before they spill to disk

              [env: COLUMNIST_MEMORY=]
              [default: 32MB]

      -q, --quiet
              Show warnings and errors alone

      -v, --verbose...
              Log what is done (-vv: in detail); `RUST_LOG` says it more precisely

    Examples:
      columnist run queries/triage.toml
      columnist run nightly.toml --var ds=2026-08-01 --skip-code
      columnist run job.toml --limit 100 --set model.temperature=0.2
      columnist run --table tickets.parquet --key ticket_id \
          --prompt 'Label this ticket: {{ body }}' --choices billing,bug,other \
          --column triage --model openai/gpt-6-luna --output out.parquet

    Exit codes:
        0  done, and within the error budget
        1  unexpected; storage or network away                        (a retry helps)
        2  the command or the job file is wrong
        3  published, but more rows failed than `max_failed` allows
        4  the budget stopped it; rows are deferred
        5  cannot tell whether a batch was accepted; a person must say
        6  a quality gate failed
        7  credentials, quota or access refused
        8  stored state is corrupt, or was written by a newer version
       75  work is pending at the provider, or another process
           holds the job                                              (a retry helps)
       99  nothing to do, only with --skip-code
      130, 143  interrupted; batches go on, run it again to resume    (a retry helps)
    --- stderr
    "#);
}

#[test]
#[expect(clippy::too_many_lines, reason = "most of them are the program's")]
fn a_job_from_its_first_look_to_its_second_run() {
    let shell = with_job();
    says!(shell, ["check", "job.toml"], @r#"
    exit 0
    --- stdout
    rows     4
    columns  id Int64, body Utf8
    answer   label VARCHAR
    beside   label_status VARCHAR, label_error VARCHAR
    sent     body

    --- row 0
    Label: a

    --- row 1
    Label: b

    --- row 2
    Label: b
    --- stderr
    "#);
    says!(shell, ["plan", "job.toml"], @r#"
    exit 0
    --- stdout
    rows        4
      new        3
      changed    0
      identical  1
      answered   0
      skipped    0
      failed     0
    requests    3 in 1 batches
    tokens      about 6 in, at most 3072 out
    cost        about $0.00 expected, $0.00 at worst; online $0.00 at worst
    cache       nothing: this version knows no prices of `x`, and so not whether it pays
    note        tiny batches: 3 requests in 1; a batch of a few takes as long as one of many
    --- stderr
    "#);
    says!(shell, ["run", "job.toml"], @r#"
    exit 0
    --- stdout
    {"job":"triage","run":"<id>","exit_code":0,"published":true,"unchanged":false,"output":"<folder>/out.parquet","ledger":"file://<folder>/_columnist/triage","rows":4,"status":{"succeeded":4},"requests":3,"identical_rows":1,"answered_before_rows":0,"unsent_chunks":0,"awaits":null,"progress":null,"open_batches":0,"unsettled_batches":0,"wasted_batches":0,"account_refused_requests":0,"duplicate_lines":0,"stranger_lines":0,"broken_lines":0,"batches":["<batch>"],"tokens":{"input":6,"cache_read":0,"cache_write_5m":0,"cache_write_1h":0,"output":37,"reasoning":0},"cost_usd":0.0,"cache":null,"asked_again":null,"cpu_seconds":<number>,"peak_memory_bytes":<number>}
    --- stderr
    4 rows planned, 3 requests to send
    chunk 0 submitted, 3 requests
    batch <batch>: completed, 3 of 3 requests
    3 answers landed of batch <batch>
    4 of 4 rows done: 4 answered; 6 tokens in, 37 out, $0.00; <span> so far
    published file://<folder>/out.parquet
    "#);
    says!(shell, ["run", "job.toml"], @r#"
    exit 0
    --- stdout
    {"job":"triage","run":"<id>","exit_code":0,"published":true,"unchanged":true,"output":"<folder>/out.parquet","ledger":"file://<folder>/_columnist/triage","rows":4,"status":{"succeeded":4},"requests":0,"identical_rows":1,"answered_before_rows":0,"unsent_chunks":0,"awaits":null,"progress":null,"open_batches":0,"unsettled_batches":0,"wasted_batches":0,"account_refused_requests":0,"duplicate_lines":0,"stranger_lines":0,"broken_lines":0,"batches":[],"tokens":{"input":0,"cache_read":0,"cache_write_5m":0,"cache_write_1h":0,"output":0,"reasoning":0},"cost_usd":0.0,"cache":null,"asked_again":null,"cpu_seconds":<number>,"peak_memory_bytes":<number>}
    --- stderr
    "#);
    says!(shell, ["status", "job.toml"], @r#"
    exit 0
    --- stdout
    job       triage
    ledger    file://<folder>/_columnist/triage
    output    <folder>/out.parquet, published
    plan      0
    rows      4: 4 succeeded
    requests  3 of 3 settled
    spent     6 tokens in, 37 out, $0.00
    holder    nobody

    PLAN  CHUNK  BATCH                           STATE   REQUESTS  SINCE                 NEXT LOOK
    0     0      <batch>  landed  3         <time>  -
    --- stderr
    "#);
    says!(shell, ["show", "job.toml", "--key", "2"], @r#"
    exit 0
    --- stdout
    row      2
             id = 2
    plan     asks request 1 of plan 0
    key      <key>
    --- prompt
    Label: b
    --- attempt 1: succeeded, <batch>
    request  {"custom_id":"<custom id>","method":"POST","url":"/v1/chat/completions","body":{"max_completion_tokens":1024,"messages":[{"content":"Label: b","role":"user"}],"model":"x"}}
    model    x
    tokens   2 in, 13 out
    cost     $0.00
    answer   A closer look would be worthwhile. #2784dcdaaa3bab76
    --- stderr
    "#);
    says!(shell, ["plan", "job.toml"], @r#"
    exit 0
    --- stdout
    rows        4
      new        0
      changed    0
      identical  0
      answered   4
      skipped    0
      failed     0
    requests    0 in 0 batches
    tokens      about 0 in, at most 0 out
    cost        nothing: no request is to be sent
    --- stderr
    "#);
}

#[test]
fn a_cancel_says_what_comes_next() {
    let shell = with_job();
    says!(shell, ["submit", "job.toml"], @r#"
    exit 0
    --- stdout
    {"job":"triage","run":"<id>","exit_code":0,"published":false,"unchanged":false,"output":"<folder>/out.parquet","ledger":"file://<folder>/_columnist/triage","rows":4,"status":{"pending":4},"requests":3,"identical_rows":1,"answered_before_rows":0,"unsent_chunks":0,"awaits":null,"progress":{"asked_again":null,"by_state":{"again":0,"answered_before":0,"deferred":0,"failed":0,"sent":4,"skipped":0,"succeeded":0,"to_send":0,"unconfirmed":0,"unplanned":0},"cost_usd":0.0,"open_batches":1,"plan":0,"primer":0,"requests":{"again":0,"done_at_provider":0,"failed":0,"planned":3,"sent":3,"succeeded":0,"to_send":0,"unconfirmed":0},"rows":4,"tokens":{"cache_read":0,"cache_write_1h":0,"cache_write_5m":0,"input":0,"output":0,"reasoning":0},"trial":0},"open_batches":1,"unsettled_batches":0,"wasted_batches":0,"account_refused_requests":0,"duplicate_lines":0,"stranger_lines":0,"broken_lines":0,"batches":["<batch>"],"tokens":{"input":0,"cache_read":0,"cache_write_5m":0,"cache_write_1h":0,"output":0,"reasoning":0},"cost_usd":0.0,"cache":null,"asked_again":null,"cpu_seconds":<number>,"peak_memory_bytes":<number>}
    --- stderr
    4 rows planned, 3 requests to send
    chunk 0 submitted, 3 requests
    "#);
    says!(shell, ["cancel", "job.toml"], @r#"
    exit 0
    --- stdout
    asked for 1 open batches to be canceled; a run that is at work, else the next `columnist collect`, tells the provider, and harvests what they finished
    --- stderr
    "#);
    says!(shell, ["status", "job.toml"], @r#"
    exit 0
    --- stdout
    job       triage
    ledger    file://<folder>/_columnist/triage
    output    <folder>/out.parquet, not published
    plan      0, cancel asked for
    rows      4: 4 at the provider
    requests  0 of 3 settled
    spent     0 tokens in, 0 out, $0.00
    holder    nobody
    note      nobody is at work on it; `columnist run` or `columnist collect` looks at 1 open batch

    PLAN  CHUNK  BATCH                           STATE  REQUESTS  SINCE                 NEXT LOOK
    0     0      <batch>  open   3         <time>  -
    --- stderr
    "#);
}

#[test]
fn a_job_file_with_several_mistakes_as_its_writer_reads_it() {
    let shell = with_job();
    shell.write(
        "job.toml",
        "name = \"Triage\"\n[source]\ntabel = \"in.parquet\"\nlimit = \"many\"\n[prompt]\nuser = \"{{ body }}\"\n\
         [answer]\ncolumn = \"label\"\ntype = \"nubmer\"\n[model]\nuse = \"sandbox/x\"\ntemperature = 9\n\
         [budget]\nmax_usd = 40.0\n[output]\npath = \"out.parquet\"\n",
    );
    says!(shell, ["run", "job.toml"], @r#"
    exit 2
    --- stdout
    {"job":null,"exit_code":2,"published":false,"output":null,"ledger":null,"error":{"kind":"invalid","message":"the job file has 6 mistakes, file=`<folder>/job.toml`","hint":null,"causes":[{"advice":"write `name = \"triage\"`","column":8,"flag":null,"line":1,"problem":"`name` must be made of [a-z0-9-]"},{"advice":"did you mean `source.table`?","column":1,"flag":null,"line":3,"problem":"unknown key `source.tabel`"},{"advice":"write `limit = 1000` under `[source]`","column":9,"flag":null,"line":4,"problem":"`source.limit` must be a whole number, found a text"},{"advice":"did you mean \"number\"?","column":8,"flag":null,"line":9,"problem":"`answer.type` cannot be \"nubmer\""},{"advice":"write `temperature = 0.0` under `[model]`","column":15,"flag":null,"line":12,"problem":"`model.temperature` must be between 0 and 2"},{"advice":"take it out","column":1,"flag":null,"line":14,"problem":"`budget.max_usd` is not in this version"}]}}
    --- stderr
    error: the job file has 6 mistakes, file=`<folder>/job.toml`

      line 1: `name` must be made of [a-z0-9-]
              | name = "Triage"
              |        ^^^^^^^^
              write `name = "triage"`
      line 3: unknown key `source.tabel`
              did you mean `source.table`?
      line 4: `source.limit` must be a whole number, found a text
              | limit = "many"
              |         ^^^^^^
              write `limit = 1000` under `[source]`
      line 9: `answer.type` cannot be "nubmer"
              | type = "nubmer"
              |        ^^^^^^^^
              did you mean "number"?
      line 12: `model.temperature` must be between 0 and 2
               | temperature = 9
               |               ^
               write `temperature = 0.0` under `[model]`
      line 14: `budget.max_usd` is not in this version
               | max_usd = 40.0
               | ^^^^^^^
               take it out
    "#);
    says!(shell, ["run", "missing.toml"], @r#"
    exit 2
    --- stdout
    {"job":null,"exit_code":2,"published":false,"output":null,"ledger":null,"error":{"kind":"invalid","message":"cannot read the job file, file=`<folder>/missing.toml`","hint":"name a job file, or describe the job by flags: `columnist run --help`","causes":["No such file or directory (os error 2)"]}}
    --- stderr
    error: cannot read the job file, file=`<folder>/missing.toml`
      caused by: No such file or directory (os error 2)

    hint: name a job file, or describe the job by flags: `columnist run --help`
    "#);
}
