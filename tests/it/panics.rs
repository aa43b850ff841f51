//! A panic is an error like any other: exit 1, one last line, nothing of the rows, a whole ledger.

use crate::shell::{Ran, Shell};
use crate::world::{read_table, write_table};

const ROWS: usize = 30;

fn run(shell: &Shell) -> Ran {
    shell.call(&[
        "run",
        "--table",
        "in.parquet",
        "--key",
        "id",
        "--prompt",
        "Label this: {{ body }}",
        "--column",
        "label",
        "--model",
        "sandbox/x",
        "--output",
        "out.parquet",
        "--set",
        "model.max_requests_per_batch=8",
        "--set",
        "ledger.settle=1s",
    ])
}

/// The command at `nth` of all points that a run passes.
fn with_panic_at(nth: usize) -> (Shell, Ran) {
    let mut shell = Shell::new();
    shell.set("RUST_BACKTRACE", "1");
    let bodies: Vec<_> = (0..ROWS).map(|n| Some(format!("secret {n}"))).collect();
    write_table(&shell.path("in.parquet"), &bodies, 8);
    shell.set("COLUMNIST_PANIC_AT", &format!("*:{nth}"));
    let ran = run(&shell);
    shell.set("COLUMNIST_PANIC_AT", "*:1000000");
    (shell, ran)
}

#[test]
fn a_panic_anywhere_is_an_error_and_costs_nothing() {
    for nth in [1, 4, 9, 16, 27, 44, 70] {
        let (shell, ran) = with_panic_at(nth);
        ran.refused_with_hint(1, &["kill.rs:", "run the same command again"]);
        for words in [
            "as was asked for",
            "secret",
            "panicked at",
            "RUST_BACKTRACE",
        ] {
            let said = format!("{}{}", ran.stdout, ran.stderr);
            assert!(!said.contains(words), "`{words}` at {nth}: {ran:?}");
        }
        let again = run(&shell);
        assert_eq!(again.code, 0, "at {nth}: {again:?}");
        let bill = shell.bill("out").total;
        assert_eq!(bill.requests_accepted, ROWS as u64, "at {nth}");
        let labels = &read_table(&shell.path("out.parquet"))["label"];
        assert!(labels.iter().all(Option::is_some), "at {nth}");
    }
}
