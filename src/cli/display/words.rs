//! How far a job is, in words for people. Pure.

use std::time::Duration;

use chrono::SecondsFormat;

use crate::base::Time;
use crate::work::progress::{AgainCounts, Progress, Then, Wait, Waits};
use crate::work::{StatusCounts, Usage};

use crate::cli::display::json::usd;

/// The rows by state, such as "40 answered, 2 failed, 8 at the provider".
pub(in crate::cli) fn states(progress: &Progress) -> String {
    let rows = progress.by_row();
    let sent = match (progress.trial, progress.done) {
        (0, 0) => "at the provider".to_owned(),
        (0, done) => format!(
            "at the provider ({} of {} requests done)",
            grouped(done),
            grouped(progress.sent)
        ),
        _ => "at the provider as a trial".to_owned(),
    };
    let to_send = match progress.trial {
        0 if progress.primer > 0 => "to send after the primer".to_owned(),
        0 => "to send".to_owned(),
        trial => format!("to send after the trial of {trial}"),
    };
    let parts = [
        (rows.succeeded, "answered"),
        (rows.answered_before, "answered before"),
        (rows.failed, "failed"),
        (rows.skipped, "skipped"),
        (rows.deferred, "deferred"),
        (rows.unconfirmed, "not confirmed by the provider"),
        (rows.sent, &*sent),
        (rows.again, "to send again"),
        (rows.to_send, &*to_send),
        (rows.unplanned, "not read yet"),
    ];
    let parts = parts.iter().filter(|(count, _)| *count > 0);
    let parts: Vec<_> = parts
        .map(|(count, word)| format!("{} {word}", grouped(*count)))
        .collect();
    parts.join(", ")
}

/// How many rows are done, out of all.
pub(in crate::cli) fn done(progress: &Progress) -> String {
    let settled = grouped(progress.by_row().settled());
    format!("{settled} of {} rows done", grouped(progress.rows))
}

/// What has passed, and what is left of it as far as that can be told.
pub(in crate::cli) fn times(elapsed: Duration, left: Option<Duration>) -> String {
    let so_far = format!("{} so far", span(elapsed));
    match left {
        Some(left) => format!("{so_far}, about {} left", span(roughly(left))),
        None => so_far,
    }
}

/// What was used, and what it cost.
pub(in crate::cli) fn spent(usage: &Usage, cost_micros: Option<u64>) -> String {
    format!(
        "{} tokens in, {} out, {}",
        grouped(usage.input_total()),
        grouped(usage.output),
        cost(cost_micros)
    )
}

/// What the provider's cache did, where it did anything: "93 % of the input was read, saved $1.20".
pub(in crate::cli) fn cache(usage: &Usage, cost: Option<u64>, saved: i64) -> Option<String> {
    if usage.cached() == 0 {
        return None;
    }
    let read = format!("{} % of the input was read from it", usage.hit_percent());
    let money = cost.map(|_| {
        let what = if saved < 0 { "lost" } else { "saved" };
        format!(", {what} {}", self::cost(Some(saved.unsigned_abs())))
    });
    Some(read + &money.unwrap_or_default())
}

/// What was asked again for an answer that could not be used, if anything was: "12 for an invalid answer, of
/// which 9 succeeded".
pub(in crate::cli) fn asked_again(again: &AgainCounts) -> Option<String> {
    let parts = [
        (
            again.reasked,
            again.reask_succeeded,
            "for an invalid answer",
        ),
        (
            again.grown,
            again.grow_succeeded,
            "with a higher limit of output",
        ),
    ];
    let parts = parts.iter().filter(|(count, ..)| *count > 0);
    let parts = parts.map(|(count, good, why)| {
        let (count, good) = (grouped(*count), grouped(*good));
        format!("{count} {why}, of which {good} succeeded")
    });
    let parts: Vec<_> = parts.collect();
    (!parts.is_empty()).then(|| parts.join("; "))
}

/// A cost in dollars, if it is known.
pub(in crate::cli) fn cost(micros: Option<u64>) -> String {
    match micros {
        None => "cost unknown".to_owned(),
        Some(micros @ 1..10_000) => format!("${:.6}", usd(micros)),
        Some(micros) => format!("${:.2}", usd(micros)),
    }
}

/// All that is waited for.
pub(in crate::cli) fn waiting(waits: &Waits, now: Time) -> String {
    let waits: Vec<_> = waits.waits.iter().map(|one| wait(one, now)).collect();
    format!("waiting for {}", waits.join("; for "))
}

/// One of them, without the words "waiting for".
pub(in crate::cli) fn wait(wait: &Wait, now: Time) -> String {
    let Some(when) = wait.when else {
        return wait.what.clone();
    };
    let then = match wait.then {
        Then::NextLook => "next look",
        Then::NextTry => "next try",
        Then::End => "until",
    };
    format!("{}, {then} {}", wait.what, moment(when, now))
}

/// A moment, and how far it is: "12:00:31Z (in 40s)".
pub(in crate::cli) fn moment(when: Time, now: Time) -> String {
    let text = stamp(when);
    let text = match text.split_once('T') {
        Some((_, clock)) if when.date_naive() == now.date_naive() => clock.to_owned(),
        _ => text,
    };
    match (when - now).to_std() {
        Ok(left) => format!("{text} (in {})", span(left)),
        Err(_) => text,
    }
}

/// A moment, as it stands in a table.
pub(in crate::cli) fn stamp(when: Time) -> String {
    when.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// Counts by status, such as "40 succeeded, 2 failed".
pub(in crate::cli) fn counted(counts: &StatusCounts) -> String {
    let counts = counts.iter().filter(|(_, count)| *count > 0);
    let counts: Vec<_> = counts
        .map(|(status, count)| format!("{} {status}", grouped(count)))
        .collect();
    counts.join(", ")
}

/// A span of time, to the second.
pub(in crate::cli) fn span(duration: Duration) -> String {
    humantime::format_duration(Duration::from_secs(duration.as_secs())).to_string()
}

/// A guess, without digits that it has not.
fn roughly(left: Duration) -> Duration {
    let step = match left.as_secs() {
        0..60 => 1,
        60..600 => 10,
        600..7200 => 60,
        _ => 600,
    };
    Duration::from_secs((left.as_secs() / step).max(1) * step)
}

/// `count` of a thing, which is called otherwise if there are several.
pub(in crate::cli) fn some(count: u64, one: &str, several: &str) -> String {
    let word = if count == 1 { one } else { several };
    format!("{} {word}", grouped(count))
}

/// `1234567` as `1,234,567`.
#[must_use]
pub(in crate::cli) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::work::progress::Planned;

    fn planned(requests: u64) -> Progress {
        Progress {
            rows: requests,
            planned: Planned {
                requests,
                ..Planned::default()
            },
            ..Progress::default()
        }
    }

    #[test]
    fn every_state_has_its_words() {
        let cases = [
            (planned(0), "", "0 of 0 rows done"),
            (planned(10), "10 to send", "0 of 10 rows done"),
            (
                Progress {
                    rows: 1500,
                    ..planned(10)
                },
                "10 to send, 1,490 not read yet",
                "0 of 1,500 rows done",
            ),
            (
                Progress {
                    sent: 3,
                    trial: 3,
                    ..planned(10)
                },
                "3 at the provider as a trial, 7 to send after the trial of 3",
                "0 of 10 rows done",
            ),
            (
                Progress {
                    unconfirmed: 2,
                    sent: 4,
                    done: 1,
                    again: 1,
                    succeeded: 3,
                    failed: 1,
                    ..planned(12)
                },
                "3 answered, 1 failed, 2 not confirmed by the provider, 4 at the provider (1 of 4 requests done), 1 to send again, 1 to send",
                "4 of 12 rows done",
            ),
            (
                Progress {
                    rows: 10,
                    planned: Planned {
                        answered: 5,
                        skipped: 2,
                        deferred: 3,
                        ..Planned::default()
                    },
                    ..Progress::default()
                },
                "5 answered before, 2 skipped, 3 deferred",
                "10 of 10 rows done",
            ),
        ];
        for (progress, words, settled) in cases {
            assert_eq!(states(&progress), words, "{progress:?}");
            assert_eq!(done(&progress), settled, "{progress:?}");
        }
    }

    #[test]
    fn spans_and_moments() {
        let now = chrono::DateTime::from_timestamp(1_800_000_000, 0).expect("in range");
        let after = |seconds| now + Duration::from_secs(seconds);
        for (seconds, text) in [
            (40, "08:00:40Z (in 40s)"),
            (60_000, "2027-01-16T00:40:00Z (in 16h 40m)"),
        ] {
            assert_eq!(moment(after(seconds), now), text);
        }
        assert_eq!(moment(now, after(1)), "08:00:00Z");
        let left = |seconds| times(Duration::from_secs(61), Some(Duration::from_secs(seconds)));
        assert_eq!(left(0), "1m 1s so far, about 1s left");
        assert_eq!(left(59), "1m 1s so far, about 59s left");
        assert_eq!(left(127), "1m 1s so far, about 2m left");
        assert_eq!(left(3_671), "1m 1s so far, about 1h 1m left");
        assert_eq!(left(10_000), "1m 1s so far, about 2h 40m left");
    }

    #[test]
    fn costs_and_numbers() {
        for (micros, text) in [
            (None, "cost unknown"),
            (Some(0), "$0.00"),
            (Some(1), "$0.000001"),
            (Some(9_950), "$0.009950"),
            (Some(1_234_567), "$1.23"),
        ] {
            assert_eq!(cost(micros), text);
        }
        for (number, text) in [
            (0, "0"),
            (999, "999"),
            (1_000, "1,000"),
            (12_345_678, "12,345,678"),
        ] {
            assert_eq!(grouped(number), text);
        }
    }
}
