//! Interrupts are polite, and runs do not collide: the real binary, by signal, in each phase of a run.

use std::fmt::Write as _;
use std::process::Child;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use serde_json::Value;

use crate::kill::{Night, await_fact};
use crate::world::VENDORS;

/// The facts after which a run is interrupted.
const PHASES: [&str; 6] = [
    "plan_started",
    "chunk_stored",
    "promised",
    "accepted",
    "landed",
    "publish_started",
];

fn signal(process: &Child, signal: Signal) {
    kill_process(Pid::from_child(process), signal).expect("a process to signal");
}

/// Checks how an interrupted run ended: soon, without its lease, and with a last line, which is
/// returned.
#[track_caller]
fn check_end(night: &Night, said: &str, took: Duration) -> Value {
    assert!(took < Duration::from_secs(5), "{took:?}: {said}");
    let holder = night.shell.path("_columnist/triage/lease/job.holder.json");
    assert!(!holder.exists(), "the lease was given back: {said}");
    let last = said.lines().last().unwrap_or_default();
    serde_json::from_str(last).unwrap_or_else(|error| panic!("{error}: {said}"))
}

/// Interrupts a run in `phase`, checks that it goes as it should, and lets another one finish.
#[expect(clippy::disallowed_methods, reason = "a promise about real time")]
fn interrupt(night: &mut Night, phase: &'static str, by: Signal, code: i32) {
    night.grow(20);
    let before = night.facts().len();
    let mut run = night.shell.start(&["run", "job.toml"]);
    assert!(
        await_fact(&mut run, night, before, phase),
        "{}",
        night.shell.said()
    );
    let asked = Instant::now();
    signal(&run, by);
    let status = run.wait().expect("its end");
    let (took, said) = (asked.elapsed(), night.shell.said());
    let line = check_end(night, &said, took);
    if line["published"] == true {
        // It was as good as done.
        assert_eq!(status.code(), Some(0), "{phase}: {said}");
    } else {
        assert_eq!(status.code(), Some(code), "{phase}: {said}");
        let resume = format!("To resume: {} run job.toml", crate::shell::PROGRAM);
        assert!(said.contains(&resume), "{phase}: {said}");
    }
    let facts = night.facts();
    assert!(
        !facts.iter().any(|fact| fact == "cancel_sent"),
        "{phase}: batches go on"
    );
    let done = night.shell.call(&["run", "job.toml", "--quiet"]);
    assert_eq!(done.code, 0, "{phase}: {done:?}");
    night.check();
}

#[test]
fn a_run_that_is_interrupted_goes_on_where_it_was() {
    for vendor in VENDORS {
        let mut night = Night::new(vendor, "300ms..900ms");
        for phase in PHASES {
            interrupt(&mut night, phase, Signal::INT, 130);
            interrupt(&mut night, phase, Signal::TERM, 143);
        }
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a promise about real time")]
fn two_signals_in_one_moment_are_one() {
    let mut night = Night::new("anthropic", "5m..6m");
    night.grow(20);
    let mut run = night.shell.start(&["run", "job.toml"]);
    assert!(
        await_fact(&mut run, &night, 0, "accepted"),
        "{}",
        night.shell.said()
    );
    let asked = Instant::now();
    // Signals of one kind may become one on their way.
    signal(&run, Signal::TERM);
    signal(&run, Signal::INT);
    let status = run.wait().expect("its end");
    let said = night.shell.said();
    let line = check_end(&night, &said, asked.elapsed());
    let code = status.code().expect("an exit");
    assert!(
        matches!(code, 130 | 143),
        "whichever was heard first: {said}"
    );
    assert_eq!(line["exit_code"], code, "{said}");
    assert!(said.contains("To resume: "), "{said}");
}

/// Rows of a table that takes seconds to be copied.
const MANY: usize = 400_000;

#[test]
#[expect(clippy::disallowed_methods, reason = "a promise about real time")]
fn a_run_stops_while_it_copies_its_source() {
    let night = Night::new("anthropic", "1s..2s");
    let mut table = "id,body\n".to_owned();
    for n in 0..MANY {
        let _ = writeln!(table, "{n},ticket {n} of many");
    }
    night.shell.write("in.csv", table);
    let mut run = night.shell.start(&["run", "job.toml", "--table", "in.csv"]);
    let copy = "_columnist/triage/plans/000000/snapshot/_part-00000.parquet";
    while !night.shell.path(copy).exists() {
        assert!(
            run.try_wait().expect("a process").is_none(),
            "{}",
            night.shell.said()
        );
        std::thread::sleep(Duration::from_millis(5));
    }
    let asked = Instant::now();
    signal(&run, Signal::TERM);
    let status = run.wait().expect("its end");
    let said = night.shell.said();
    let line = check_end(&night, &said, asked.elapsed());
    assert_eq!(status.code(), Some(143), "{said}");
    assert_eq!(line["exit_code"], 143, "{said}");
    assert_eq!(line["published"], false, "{said}");
    assert!(said.contains("To resume: "), "{said}");
    assert_eq!(night.facts(), [""; 0], "nothing was planned yet");
}

#[test]
fn a_second_process_is_told_who_holds_the_job() {
    for vendor in VENDORS {
        let mut night = Night::new(vendor, "2s..3s");
        night.grow(20);
        let mut first = night.shell.start(&["run", "job.toml", "--quiet"]);
        assert!(
            await_fact(&mut first, &night, 0, "accepted"),
            "{}",
            night.shell.said()
        );
        // A process that does not move holds the job all the same.
        for stopped in [false, true] {
            if stopped {
                signal(&first, Signal::STOP);
            }
            for command in ["run", "submit", "collect"] {
                let second = night.shell.call(&[command, "job.toml", "--quiet"]);
                assert_eq!(second.code, 75, "{second:?}");
                let holder = format!("process {} on", first.id());
                assert!(second.stderr.contains(&holder), "{second:?}");
            }
        }
        signal(&first, Signal::CONT);
        let status = first.wait().expect("its end");
        assert_eq!(status.code(), Some(0), "{}", night.shell.said());
        night.check();
    }
}

#[test]
fn of_two_that_start_at_once_one_works() {
    for vendor in VENDORS {
        let mut night = Night::new(vendor, "100ms..300ms");
        for _ in 0..5 {
            night.grow(10);
            let mut both = [(); 2].map(|()| night.shell.start(&["run", "job.toml", "--quiet"]));
            let mut codes = both
                .each_mut()
                .map(|process| process.wait().expect("its end").code());
            codes.sort_unstable();
            // The other one comes too late for a race now and then, and finds nothing to do.
            assert!(
                matches!(codes, [Some(0), Some(0 | 75)]),
                "{codes:?}: {}",
                night.shell.said()
            );
            night.check();
        }
    }
}
