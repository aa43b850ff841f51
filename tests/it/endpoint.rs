//! A base URL that leads nowhere is the job's mistake, and not the account's.

use crate::shell::Shell;
use crate::world::write_table;

/// Runs a job against `base`, and says how that ended.
#[track_caller]
fn submit(shell: &Shell, model: &str, base: &str) -> crate::shell::Ran {
    let args = [
        "submit",
        "--table",
        "in.parquet",
        "--prompt",
        "Label: {{ body }}",
    ];
    let more = [
        "--column",
        "label",
        "--output",
        "out.parquet",
        "--base-url",
        base,
    ];
    shell.call(&[&args[..], &more[..], &["--model", model]].concat())
}

/// Checks that `wrong` is refused with a hint to use `right`, which is then taken.
#[track_caller]
fn check(model: &str, wrong: impl Fn(&str) -> String, right: impl Fn(&str) -> String) {
    let mut shell = Shell::new();
    shell.set("OPENAI_API_KEY", "sk-test");
    shell.set("ANTHROPIC_API_KEY", "sk-test");
    write_table(&shell.path("in.parquet"), &[Some("a".to_owned())], 2);
    let served = shell.sandbox(&[]);
    let url = served.url(model.split('/').next().unwrap_or_default());
    let (wrong, right) = (wrong(&url), right(&url));
    let ran = submit(&shell, model, &wrong);
    ran.refused(2, &["there is no such endpoint", "404"]);
    let hint = format!("try {right}\n");
    assert!(ran.stderr.contains(&hint), "`{hint}`: {ran:?}");
    let ran = submit(&shell, model, &right);
    assert_eq!(ran.code, 0, "{right}: {ran:?}");
}

#[test]
fn a_base_url_without_its_version_is_refused_with_the_right_one() {
    let bare = |url: &str| url.trim_end_matches("/v1").to_owned();
    check("openai/gpt-6-luna", bare, str::to_owned);
}

#[test]
fn a_base_url_that_goes_too_far_is_refused_with_the_right_one() {
    let twice = |url: &str| format!("{url}/v1");
    check("openai/gpt-6-luna", twice, str::to_owned);
    let far = |url: &str| format!("{url}/chat/completions");
    check("openai/gpt-6-luna", far, str::to_owned);
    let versioned = |url: &str| format!("{url}/v1");
    check("anthropic/claude-haiku-4-5", versioned, str::to_owned);
}
