//! Interrupts are polite, and runs do not collide: the real binary, by signal, in each phase of a run.

use std::process::Child;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

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
    assert!(took < Duration::from_secs(5), "{phase}: {took:?}");
    let line: serde_json::Value = serde_json::from_str(said.lines().last().unwrap_or_default())
        .unwrap_or_else(|error| panic!("{phase}: {error}: {said}"));
    if line["published"] == true {
        // It was as good as done.
        assert_eq!(status.code(), Some(0), "{phase}: {said}");
    } else {
        assert_eq!(status.code(), Some(code), "{phase}: {said}");
        let resume = format!("To resume: {} run job.toml", crate::shell::PROGRAM);
        assert!(said.contains(&resume), "{phase}: {said}");
    }
    let holder = night.shell.path("_columnist/triage/lease/job.holder.json");
    assert!(!holder.exists(), "{phase}: the lease was given back");
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
