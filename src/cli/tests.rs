//! From a command line to a job.

use clap::{CommandFactory, Parser};

use super::display::diagnose::{self, Colour};
use super::*;
use crate::spec::{Job, MaxFailed, SourceInput, Surroundings, defaults};
use crate::work::AnswerType;

fn around() -> Surroundings {
    Surroundings::made_up(
        "/home/me",
        |_| None,
        |path| match path.to_str() {
            Some("/home/me/jobs/a.toml") => Ok("name = \"a\"\nsource.table = \"in.parquet\"\n\
             prompt.user = \"{{ a }}\"\nanswer.column = \"b\"\nmodel.use = \"openai/gpt\"\n\
             output.path = \"out.parquet\"\n"
                .to_owned()),
            _ => Err(std::io::Error::new(
                std::io::ErrorKind::NotFound,
                "no such file",
            )),
        },
    )
}

fn parse(line: &str) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(line.split_whitespace())
}

fn run(line: &str) -> Result<Job> {
    match parse(line)
        .unwrap_or_else(|error| panic!("{error}"))
        .command
    {
        Command::Run(run) => run.target.resolve(&around()),
        other => panic!("not a run: {other:?}"),
    }
}

#[test]
fn the_command_line_is_sound() {
    Cli::command().debug_assert();
}

#[test]
fn every_help_says_what_each_argument_does() {
    let mut main = Cli::command();
    main.build();
    for command in main.get_subcommands().filter(|c| c.get_name() != "help") {
        assert!(command.get_about().is_some(), "{}", command.get_name());
        for argument in command.get_arguments() {
            let name = format!("{} {}", command.get_name(), argument.get_id());
            assert!(argument.get_help().is_some(), "{name}");
        }
    }
    let names: Vec<_> = main
        .get_subcommands()
        .map(clap::Command::get_name)
        .collect();
    assert_eq!(
        names,
        [
            "run", "submit", "collect", "plan", "check", "status", "show", "cancel", "retry",
            "rehearse", "sandbox", "gc", "help"
        ]
    );
}

#[test]
fn the_long_help_documents_the_exit_codes() {
    for line in [
        "columnist --help",
        "columnist run --help",
        "columnist collect --help",
    ] {
        let text = parse(line).expect_err("shows help").to_string();
        assert!(
            text.contains("Exit codes:") && text.contains("Examples:"),
            "{line}: {text}"
        );
        assert!(text.contains("75  work is pending"), "{line}");
    }
}

#[test]
fn the_one_liner_of_the_contract_is_a_job() {
    let job = run(
        "columnist run --table tickets.parquet --key ticket_id --prompt {{body}} \
                   --column triage --model openai/gpt-6-luna --output out.parquet",
    )
    .expect("is right");
    assert_eq!(job.name, "out");
    assert_eq!(
        job.source.input,
        SourceInput::Table("/home/me/tickets.parquet".into())
    );
    assert_eq!(job.source.key, ["ticket_id"]);
    assert_eq!(job.prompt.user, "{{body}}");
    assert_eq!(
        (job.answer.column.as_str(), job.answer.answer),
        ("triage", AnswerType::Text)
    );
    assert_eq!(
        (job.model.provider.as_str(), job.model.model.as_str()),
        ("openai", "gpt-6-luna")
    );
    assert_eq!(job.output.path, "/home/me/out.parquet");
    assert_eq!(job.ledger.path, "/home/me/_columnist/out/");
}

#[test]
fn every_flag_reaches_its_key() {
    let job = run(
        "columnist run jobs/a.toml --name other --table t/ --key a,b --where x>1 \
                   --limit 5 --prompt p --system s --dedupe=false --column c --choices x,y \
                   --meta off --model anthropic/m --max-output-tokens 9 --temperature 0.5 \
                   --base-url http://h/v1 --api-key-env KEY --service svc \
                   --max-requests-per-batch 7 --max-bytes-per-batch 5MB --poll-min 1s \
                   --poll-max 3s --max-failed 2% --output o/ --layout keyed --overwrite \
                   --ledger l --var ds=1 --set prompt.cache=off",
    )
    .expect("is right");
    let text = serde_json::to_value(&job).expect("can be stored");
    assert_eq!(
        text,
        serde_json::json!({
            "name": "other",
            "source": {
                "input": { "table": "/home/me/t/" }, "key": ["a", "b"], "filter": "x>1",
                "limit": 5,
            },
            "prompt": { "system": "s", "user": "p", "dedupe": false, "cache": "off" },
            "answer": {
                "column": "c", "answer": { "type": "choice", "choices": ["x", "y"] },
                "meta": "off",
            },
            "model": {
                "provider": "anthropic", "model": "m", "mode": "batch", "max_output_tokens": 9,
                "temperature": 0.5, "params": {}, "base_url": "http://h/v1",
                "api_key_env": "KEY", "service": "svc", "max_requests_per_batch": 7,
                "max_enqueued": null, "max_batch_age": null,
                "max_bytes_per_batch": 5_000_000, "poll_min": { "secs": 1, "nanos": 0 },
                "poll_max": { "secs": 3, "nanos": 0 },
            },
            "budget": { "max_failed": { "percent": 2.0 } },
            "output": { "path": "/home/me/o/", "layout": "delta", "overwrite": true },
            "ledger": {
                "path": "/home/me/l", "lease": { "secs": 60, "nanos": 0 },
                "settle": { "secs": 600, "nanos": 0 }, "on_ambiguous": "wait",
                "keep_prompts": true,
            },
            "vars": { "ds": "1" },
        })
    );
    let rows = run("columnist run jobs/a.toml --max-failed 7").expect("is right");
    assert_eq!(rows.budget.max_failed, MaxFailed::Rows(7));
}

#[test]
fn a_flag_wins_over_set_and_over_the_file() {
    let job = run("columnist run jobs/a.toml --set source.limit=2 --limit 3 --set answer.column=x")
        .expect("is right");
    assert_eq!(
        (job.source.limit, job.answer.column.as_str()),
        (Some(3), "x")
    );
    assert_eq!(
        job.source.input,
        SourceInput::Table("/home/me/jobs/in.parquet".into())
    );
}

#[test]
fn a_command_without_a_job_says_how_to_name_one() {
    let error = run("columnist run").expect_err("no job");
    assert_eq!(
        diagnose::render(&error, Colour::Never),
        "error: no job is named\n\nhint: name a job file, as in `columnist run job.toml`, or \
         describe the job by flags: --table, --prompt, --column, --model and --output\n"
    );
    let error = run("columnist run gone.toml").expect_err("no file");
    assert_eq!(
        diagnose::render(&error, Colour::Never),
        "error: cannot read the job file, file=`/home/me/gone.toml`\n  caused by: no such file\n\
         \nhint: name a job file, or describe the job by flags: `columnist run --help`\n"
    );
}

#[test]
fn show_takes_the_key_of_a_row_once_per_column() {
    let args = parse("columnist show jobs/a.toml --key 42 --key -en").expect("is right");
    let Command::Show(show) = args.command else {
        panic!("not show");
    };
    assert_eq!(show.row, ["42", "-en"]);
    let job = show.job.resolve(None, &around()).expect("is right");
    assert_eq!(job.ledger.path, "/home/me/jobs/_columnist/a/");
}

#[test]
fn memory_and_storage_options_are_read() {
    let args = parse(
        "columnist check a.toml --memory 128MB --storage-option AWS_ENDPOINT=http://h:1/?a=b",
    )
    .expect("is right");
    assert_eq!(args.common.memory, 128_000_000);
    let option = ("aws_endpoint".to_owned(), "http://h:1/?a=b".to_owned());
    assert_eq!(args.common.storage_options, [option]);
    for line in [
        "columnist check a.toml --memory 1MB",
        "columnist check a.toml --memory lots",
        "columnist check a.toml --storage-option x",
        "columnist run --table a --query b",
        "columnist gc a.toml",
        "columnist retry a.toml --status succeeded",
        "columnist -q -v check a.toml",
    ] {
        assert_eq!(parse(line).expect_err(line).exit_code(), 2, "{line}");
    }
}

/// What people read of the defaults is what is taken.
#[test]
fn the_defaults_that_are_told_are_true() {
    let mut run = Cli::command();
    let run = run.find_subcommand_mut("run").expect("a command");
    let help = run.render_long_help().to_string();
    let help: Vec<_> = help.split_whitespace().collect();
    let help = help.join(" ");
    let (text, choice) = (defaults::TEXT_TOKENS, defaults::CHOICE_TOKENS);
    for told in [
        format!("default {text}, for choices {choice}"),
        format!("of the same table; default {}", defaults::SEED),
    ] {
        assert!(help.contains(&told), "no {told:?} in {help}");
    }
    let readme = include_str!("../../README.md");
    let (settle, lease) = (defaults::SETTLE.as_secs() / 60, defaults::LEASE.as_secs());
    for told in [
        format!("default {text}, for a choice {choice};"),
        format!("`[ledger] settle` ({settle} minutes)"),
        format!("(`[ledger] lease`, {lease} seconds)"),
        format!("with `dedupe = {}`, its default", defaults::DEDUPE),
    ] {
        assert!(readme.contains(&told), "no {told:?} in README.md");
    }
}
