//! What a person at a terminal sees: the real binary on a pseudo-terminal (`script`, of util-linux), its
//! output read as a terminal reads it.

use std::io::{Read, Write};
use std::process::Stdio;

use serde_json::Value;

use crate::kill::{Night, await_fact};
use crate::shell::{PROGRAM, Shell};

const ROWS: u16 = 30;
const COLUMNS: u16 = 110;

/// What was to be seen.
struct Seen {
    code: Option<i32>,
    /// The screen after each piece of output.
    screens: Vec<String>,
}

impl Seen {
    fn last(&self) -> &str {
        self.screens.last().map_or("", String::as_str)
    }
}

/// Calls the program on a terminal.
fn look(shell: &Shell, args: &str) -> Seen {
    look_until(shell, args, (COLUMNS, None))
}

/// The same on so many columns; Ctrl-C is pressed as soon as `word` is to be seen.
fn look_until(shell: &Shell, args: &str, (columns, mut word): (u16, Option<&str>)) -> Seen {
    let line = format!("stty rows {ROWS} cols {columns}; exec {PROGRAM} {args}");
    let program = shell.command(&[]);
    let env = program
        .get_envs()
        .filter_map(|(name, value)| Some((name, value?)));
    let mut command = std::process::Command::new("script");
    command
        .args(["-qefc", &line, "/dev/null"])
        .current_dir(shell.path(""))
        .env_clear()
        .envs(env)
        .env("TERM", "xterm")
        .env("SHELL", "/bin/sh")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut child = command.spawn().expect("`script` is there");
    let mut out = child.stdout.take().expect("piped");
    let mut keys = child.stdin.take().expect("piped");
    let mut terminal = vt100::Parser::new(ROWS, columns, 0);
    let (mut screens, mut bytes) = (Vec::new(), [0; 4096]);
    loop {
        let read = out.read(&mut bytes).expect("output");
        if read == 0 {
            break;
        }
        terminal.process(&bytes[..read]);
        screens.push(terminal.screen().contents());
        if word.is_some_and(|word| terminal.screen().contents().contains(word)) {
            word = None;
            keys.write_all(b"\x03").expect("a key");
            keys.flush().expect("a key");
        }
    }
    Seen {
        code: child.wait().expect("an end").code(),
        screens,
    }
}

/// The lines of `screen` that begin with `word`.
fn lines<'a>(screen: &'a str, word: &str) -> Vec<&'a str> {
    let lines = screen.lines().map(str::trim);
    lines.filter(|line| line.starts_with(word)).collect()
}

#[test]
fn bars_stand_once_beneath_the_warnings_and_give_way_to_a_summary() {
    let mut shell = Shell::new();
    shell.set("OPENAI_API_KEY", "sk-test");
    let sandbox = shell.sandbox(&["--batch-time", "2s..3s", "--faults", "errored=0.3"]);
    let mut night = Night::new("openai", "2s..3s");
    night.grow(40);
    let args = format!(
        "run job.toml --base-url {} --set 'budget.max_failed=\"50%\"'",
        sandbox.url("openai")
    );
    let seen = look(&night.shell, &args);
    assert_eq!(seen.code, Some(0), "{}", seen.last());
    for screen in &seen.screens {
        assert!(lines(screen, "rows  [").len() <= 1, "{screen}");
    }
    let any = |word: &str| seen.screens.iter().any(|screen| screen.contains(word));
    for word in [
        " of 40 rows done, ",
        " at the provider",
        " requests done)",
        " answered",
        " to send again",
        " tokens in, ",
        "waiting  for ",
        "next look ",
        " so far, about ",
    ] {
        assert!(
            any(word),
            "`{word}` was never to be seen: {:#?}",
            seen.screens
        );
    }
    let last = seen.last();
    let warned = "failed in passing and are sent again";
    assert!(last.matches(warned).count() >= 1, "{last}");
    for gone in ["rows  [", "waiting ", "{\""] {
        assert!(!last.contains(gone), "{last}");
    }
    let summary = last.rsplit_once("triage: published").expect("a summary").1;
    for word in [
        "rows", "requests", "tokens", "cost", "time", "output", "ledger",
    ] {
        assert_eq!(lines(summary, word).len(), 1, "{word}: {last}");
    }

    let again = look(&night.shell, &args);
    assert_eq!(again.code, Some(0), "{}", again.last());
    assert!(
        again.last().contains("triage: nothing to do"),
        "{}",
        again.last()
    );
    let machine = look(&night.shell, &format!("{args} --json"));
    let line = machine.last().replace('\n', "");
    let line: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
    assert_eq!(line["unchanged"], true);
}

#[test]
fn an_interrupt_leaves_no_bar_behind() {
    let mut night = Night::new("openai", "5m..6m");
    night.grow(24);
    // So few that every line is cut, and the terminal's own ^C would wrap behind it.
    let narrow = (50, Some("at the provider"));
    let seen = look_until(&night.shell, "run job.toml", narrow);
    let last = seen.last();
    assert_eq!(seen.code, Some(130), "{last}");
    assert!(lines(last, "rows  [").is_empty(), "{last}");
    let words = last.replace('\n', "");
    assert!(words.contains("To resume: "), "{last}");
    assert!(last.contains("triage: not published yet"), "{last}");
}

#[test]
fn an_error_is_all_that_a_terminal_is_told() {
    let seen = look(&Shell::new(), "run nothing.toml");
    assert_eq!(seen.code, Some(2), "{}", seen.last());
    assert!(seen.last().starts_with("error: "), "{}", seen.last());
    assert!(!seen.last().contains("{\""), "{}", seen.last());
}

#[test]
fn nothing_follows_the_last_line_on_either_stream() {
    let shell = crate::cli::with_job();
    for (args, code) in [
        (&["submit", "job.toml", "-vvv"][..], 0),
        (&["run", "job.toml", "-vvv"], 0),
        (&["run", "job.toml", "--log-format", "json", "-vv"], 0),
        (&["collect", "job.toml"], 0),
        (
            &["run", "job.toml", "--set", "model.use=nobody/x", "-vv"],
            2,
        ),
        (&["run", "nothing.toml"], 2),
    ] {
        let mut child = shell.start(args);
        assert_eq!(
            child.wait().expect("its end").code(),
            Some(code),
            "{args:?}"
        );
        let said = shell.said();
        let last = said
            .strip_suffix('\n')
            .and_then(|said| said.rsplit('\n').next());
        let line: Value = serde_json::from_str(last.unwrap_or_default())
            .unwrap_or_else(|error| panic!("{args:?}: {error}: {said}"));
        assert_eq!(line["exit_code"], code, "{args:?}");
    }
}

#[test]
fn a_watch_stays_while_somebody_is_at_work_and_something_is_unsent() {
    let mut night = Night::new("openai", "1s..2s");
    night.grow(24);
    let status = ["status", "job.toml", "--watch", "--json"];
    let mut run = night.shell.start(&[
        "run",
        "job.toml",
        "--set",
        "answer.type=choice",
        "--choices",
        "bug,other",
        "--max-failed",
        "100%",
    ]);
    assert!(
        await_fact(&mut run, &night, 0, "landed"),
        "{}",
        night.shell.said()
    );
    // The trial is home, and the others are not.
    let watched = night.shell.call(&status);
    assert_eq!(watched.code, 0, "{watched:?}");
    let looks: Vec<Value> = watched
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    let (first, last) = (&looks[0], &looks[looks.len() - 1]);
    assert_eq!(last["published"], true, "{watched:?}");
    for look in &looks {
        let states = look["progress"]["by_state"].as_object().expect("an object");
        let sum: u64 = states.values().filter_map(Value::as_u64).sum();
        assert_eq!(sum, 24, "{look}");
    }
    assert!(
        first["published"] == false || looks.len() == 1,
        "{watched:?}"
    );
    run.wait().expect("its end");
}
