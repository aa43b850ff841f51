//! What a command came to, for a person at a terminal. Pure.

use std::fmt::Write as _;
use std::time::Duration;

use crate::engine::{Awaits, Report};

use crate::cli::args::RunKind;
use crate::cli::display::words::{self, grouped, some};

/// What `report` says, after `elapsed`, in a few lines.
pub(in crate::cli) fn summary(kind: RunKind, report: &Report, elapsed: Duration) -> String {
    let mut text = format!("{}\n", headline(kind, report));
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(text, "  {name:<9} {value}");
    };
    line("rows", &rows(report));
    if let Some(sent) = sent(report) {
        line("requests", &sent);
    }
    if let Some(again) = words::asked_again(&report.progress.asked_again)
        && !report.unchanged
    {
        line("again", &again);
    }
    if report.usage.input_total() + report.usage.output > 0 {
        let usage = &report.usage;
        let tokens = format!(
            "{} in, {} out",
            grouped(usage.input_total()),
            grouped(usage.output)
        );
        line("tokens", &tokens);
    }
    line("cost", &cost(report));
    let saved = report.cache_saved_micros;
    if let Some(cache) = words::cache(&report.usage, report.cost_micros, saved) {
        line("cache", &cache);
    }
    for odd in odd(report) {
        line("note", &odd);
    }
    line("time", &words::span(elapsed));
    if report.published {
        line("output", &report.output);
    }
    line("ledger", &report.ledger);
    if let Some(next) = next(kind, report) {
        line("next", &next);
    }
    text
}

/// The most important thing.
fn headline(kind: RunKind, report: &Report) -> String {
    let job = &report.job;
    if report.unchanged {
        return format!("{job}: nothing to do, the output is up to date");
    }
    if report.published {
        let but = if report.over_budget {
            ", with more failed rows than `max_failed` allows"
        } else {
            ""
        };
        return format!("{job}: published{but}");
    }
    if report.unsettled > 0 {
        return format!("{job}: not published, a person must say what became of a chunk");
    }
    match (kind, report.awaits) {
        (RunKind::Submit, None) => format!("{job}: submitted"),
        (RunKind::Submit, Some(Awaits::Trial)) => format!("{job}: a trial is submitted"),
        (RunKind::Submit, Some(Awaits::Primer)) => {
            format!("{job}: a request that primes the provider's cache is submitted")
        }
        (RunKind::Submit, Some(_)) => format!("{job}: submitted in part"),
        _ => format!("{job}: not published yet"),
    }
}

fn rows(report: &Report) -> String {
    let states = if report.published {
        words::counted(&report.counts)
    } else {
        words::states(&report.progress)
    };
    match &*states {
        "" => grouped(report.rows),
        states => format!("{}: {states}", grouped(report.rows)),
    }
}

/// What was sent; nothing where there is nothing to say.
fn sent(report: &Report) -> Option<String> {
    if report.unchanged {
        return None;
    }
    let mut parts = vec![format!(
        "{} in {}",
        grouped(report.requests),
        some(report.batches.len() as u64, "batch", "batches")
    )];
    if report.identical > 0 {
        let repeats = some(
            report.identical,
            "row repeats another",
            "rows repeat others",
        );
        parts.push(repeats);
    }
    if report.answered > 0 {
        parts.push(format!(
            "{} answered in an earlier run",
            some(report.answered, "row was", "rows were")
        ));
    }
    Some(parts.join("; "))
}

fn cost(report: &Report) -> String {
    match report.cost_micros {
        _ if report.unchanged => "$0.00, nothing was sent".to_owned(),
        None => "unknown, for the model has no listed price".to_owned(),
        cost => words::cost(cost),
    }
}

/// What should not have happened.
fn odd(report: &Report) -> Vec<String> {
    let odd = report.oddities;
    let counts = [
        (odd.duplicates, "lines of results came twice"),
        (odd.strangers, "lines of results were for nobody"),
        (odd.broken, "lines of results could not be read"),
        (report.wasted, "batches were made twice, and canceled"),
    ];
    let counts = counts.iter().filter(|(count, _)| *count > 0);
    counts
        .map(|(count, what)| format!("{} {what}", grouped(*count)))
        .collect()
}

/// What a person does next, if anything.
fn next(kind: RunKind, report: &Report) -> Option<String> {
    if report.published {
        return None;
    }
    Some(match (kind, report.awaits) {
        _ if report.unsettled > 0 => "`columnist status` says what is known of it".to_owned(),
        (RunKind::Submit, None) => "`columnist collect` brings the answers home".to_owned(),
        (RunKind::Submit, Some(Awaits::Trial | Awaits::Primer | Awaits::Queue)) => {
            "`columnist collect` sends the rest, and brings the answers home".to_owned()
        }
        (RunKind::Submit, Some(_)) => "`columnist submit` again".to_owned(),
        (RunKind::Collect { .. }, _) => {
            "`columnist collect` again, or `columnist collect --wait`".to_owned()
        }
        (RunKind::Run, _) => "the same command again".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::work::progress::{Planned, Progress};
    use crate::work::{RowStatus, StatusCounts, Usage};

    fn report() -> Report {
        let mut counts = StatusCounts::default();
        counts.add(RowStatus::Succeeded, 9_988);
        counts.add(RowStatus::Failed, 12);
        Report {
            job: "triage".into(),
            rows: 10_000,
            counts,
            requests: 8_099,
            identical: 1_901,
            usage: Usage {
                input: 1_234_567,
                output: 40_000,
                ..Usage::default()
            },
            cost_micros: Some(1_234_567),
            batches: vec!["b1".into(), "b2".into()],
            output: "/out.parquet".into(),
            ledger: "file:///ledger".into(),
            published: true,
            ..Report::default()
        }
    }

    #[track_caller]
    fn check(kind: RunKind, report: &Report, expected: &str) {
        let said = summary(kind, report, Duration::from_secs(313));
        assert_eq!(said, expected);
    }

    #[test]
    fn a_run_says_what_it_did() {
        check(
            RunKind::Run,
            &report(),
            "triage: published\n  \
             rows      10,000: 9,988 succeeded, 12 failed\n  \
             requests  8,099 in 2 batches; 1,901 rows repeat others\n  \
             tokens    1,234,567 in, 40,000 out\n  \
             cost      $1.23\n  \
             time      5m 13s\n  \
             output    /out.parquet\n  \
             ledger    file:///ledger\n",
        );
    }

    #[test]
    fn a_run_that_found_nothing_to_do_says_so() {
        let report = Report {
            unchanged: true,
            usage: Usage::default(),
            batches: Vec::new(),
            ..report()
        };
        check(
            RunKind::Run,
            &report,
            "triage: nothing to do, the output is up to date\n  \
             rows      10,000: 9,988 succeeded, 12 failed\n  \
             cost      $0.00, nothing was sent\n  \
             time      5m 13s\n  \
             output    /out.parquet\n  \
             ledger    file:///ledger\n",
        );
    }

    #[test]
    fn a_submission_says_what_is_left_and_who_does_it() {
        let progress = Progress {
            rows: 10,
            planned: Planned {
                requests: 10,
                ..Planned::default()
            },
            sent: 3,
            trial: 3,
            ..Progress::default()
        };
        let report = Report {
            rows: 10,
            requests: 10,
            identical: 0,
            published: false,
            usage: Usage::default(),
            cost_micros: None,
            batches: vec!["b1".into()],
            awaits: Some(Awaits::Trial),
            progress,
            ..report()
        };
        check(
            RunKind::Submit,
            &report,
            "triage: a trial is submitted\n  \
             rows      10: 3 at the provider as a trial, 7 to send after the trial of 3\n  \
             requests  10 in 1 batch\n  \
             cost      unknown, for the model has no listed price\n  \
             time      5m 13s\n  \
             ledger    file:///ledger\n  \
             next      `columnist collect` sends the rest, and brings the answers home\n",
        );
    }

    #[test]
    fn whatever_is_not_done_has_a_way_on() {
        let open = Report {
            published: false,
            ..report()
        };
        let awaits = [
            None,
            Some(Awaits::EarlierPlan),
            Some(Awaits::Planning),
            Some(Awaits::Trial),
            Some(Awaits::Primer),
            Some(Awaits::Queue),
            Some(Awaits::Provider),
        ];
        for kind in [
            RunKind::Run,
            RunKind::Submit,
            RunKind::Collect { wait: false },
        ] {
            for awaits in awaits {
                let report = Report {
                    awaits,
                    ..open.clone()
                };
                let said = summary(kind, &report, Duration::ZERO);
                assert!(
                    said.contains("\n  next      "),
                    "{kind:?} {awaits:?}: {said}"
                );
                assert!(!said.contains("output"), "{said}");
            }
        }
    }
}
