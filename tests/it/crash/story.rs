//! A story: a job, its world, and where that world stops. All of it is drawn from a seed.

use std::time::Duration;

use columnist::base::Ids;

use super::network::Ways;

/// Where the ledger, the table and the output are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Disk,
    Objects,
}

/// What the table is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Table {
    /// One Parquet file, which becomes one file.
    File,
    /// A folder of two, which becomes a folder.
    Folder,
    /// A CSV file, which the ledger keeps a snapshot of.
    Csv,
}

/// What stands in the rows beside their texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pictures {
    /// Their bytes.
    Bytes,
    /// Where they lie, under the one folder that may be read.
    Paths,
}

/// What is done in a story.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Act {
    /// `columnist run`.
    Run,
    /// `columnist submit`.
    Submit,
    /// `columnist cancel`.
    Cancel,
    /// `columnist retry`.
    Retry,
    /// `columnist gc`.
    Clean,
    /// Rows are added to the table.
    Grow,
    /// `columnist run`, while which rows are added to the table.
    RunGrowing,
}

/// One story.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a trait of its own")]
pub(super) struct Story {
    pub vendor: &'static str,
    pub seed: u64,
    /// What is done, one after the other, each until it succeeds.
    pub acts: Vec<Act>,
    /// The points at which the world stops, once at each.
    pub points: Vec<&'static str>,
    /// Where each life in turn is stopped by number; those that follow are not.
    pub nths: Vec<usize>,
    /// Seconds until the next life begins, in turn, over and over.
    pub delays: Vec<u64>,
    /// By how many minutes each life's clock is wrong, in turn, over and over.
    pub skews: Vec<i64>,
    pub place: Place,
    pub table: Table,
    pub rows: usize,
    pub per_batch: u64,
    pub dedupe: bool,
    pub keep_prompts: bool,
    /// Whether the rows share a long rubric, which is worth caching.
    pub shares: bool,
    /// `on_ambiguous`.
    pub policy: &'static str,
    /// Whether the provider's queue holds little more than one batch.
    pub narrow: bool,
    pub faults: &'static str,
    pub ways: Ways,
    /// How long a batch takes.
    pub batch_time: (Duration, Duration),
    pub lease: Duration,
    /// Whether texts are embedded, several in a line of the body.
    pub embeds: bool,
    /// Whether answers that cannot be used are asked again: with the reason, and with a higher limit.
    pub asks_again: bool,
    /// Whether each row has a picture.
    pub pictures: Option<Pictures>,
}

/// What the sandbox does wrong. The first four are the four squares of each call.
const FAULTS: [&str; 14] = [
    "",
    "lost_answer=0.3",
    "429=0.2,5xx=0.1",
    "refused_lost=0.3",
    "lost_answer=0.2,refused_lost=0.2,429=0.1,5xx=0.1",
    "errored=0.2,missing=0.1,duplicate=0.2,stranger=0.2,garbage=0.1,misindexed=0.2",
    "truncate=0.4,short=0.4,late_output=0.5,slow=0.2",
    "expire=0.2,max_tokens=0.1,refusal=0.1",
    "fail_batch=0.3,429=0.1",
    "anonymous=0.2",
    "no_credit=0.2",
    "no_credit=0.2,lost_answer=0.2,refused_lost=0.2",
    "fail_silent=0.3,429=0.1",
    "lost_answer=0.1,refused_lost=0.1,errored=0.1,expire=0.1,duplicate=0.1,truncate=0.2,short=0.2,late_output=0.3",
];

/// Seconds: at once, within a lease, after it, after `settle`, and after a window.
const DELAYS: [u64; 7] = [0, 5, 40, 61, 660, 3 * 3600, 26 * 3600];

const MINUTE: Duration = Duration::from_mins(1);
const HOUR: Duration = Duration::from_hours(1);

impl Story {
    /// A story of `vendor` that `seed` decides. It has no crash yet.
    pub(super) fn draw(vendor: &'static str, seed: u64) -> Story {
        let chance = Ids::seeded(seed.wrapping_mul(31).wrapping_add(vendor.len() as u64));
        let below = |end: usize| usize::try_from(chance.below(end as u64)).expect("small");
        let is_slow = below(24) == 0;
        let table = [Table::File, Table::File, Table::Folder, Table::Csv][below(4)];
        let late = if below(4) == 0 { 40 } else { 0 };
        let denied = if below(4) == 0 { 10 } else { 0 };
        Story {
            vendor,
            seed,
            acts: vec![Act::Run],
            points: Vec::new(),
            nths: Vec::new(),
            delays: (0..4).map(|_| DELAYS[below(DELAYS.len())]).collect(),
            skews: (0..4)
                .map(|_| {
                    if below(3) == 0 {
                        i64::try_from(below(13)).expect("small") - 6
                    } else {
                        0
                    }
                })
                .collect(),
            place: if below(4) == 0 {
                Place::Disk
            } else {
                Place::Objects
            },
            table,
            rows: 7 + below(34),
            per_batch: 3 + chance.below(8),
            dedupe: below(4) > 0,
            keep_prompts: below(4) > 0,
            shares: false,
            policy: "wait",
            narrow: below(8) == 0,
            faults: FAULTS[below(FAULTS.len())],
            ways: Ways {
                late,
                doubled: 0,
                denied,
            },
            batch_time: if is_slow {
                (18 * HOUR, 30 * HOUR)
            } else {
                (MINUTE, 20 * MINUTE)
            },
            lease: if is_slow { HOUR } else { MINUTE },
            embeds: vendor == "openai" && below(3) == 0,
            asks_again: false,
            pictures: None,
        }
    }

    /// The same story, in which the world stops two or three times, anywhere.
    pub(super) fn stopping_anywhere(self) -> Story {
        let chance = Ids::seeded(self.seed.wrapping_mul(7).wrapping_add(1));
        let nth = |chance: &Ids| {
            // More often near the beginning of a life.
            let end = 5 + chance.below(120);
            usize::try_from(1 + chance.below(end)).expect("small")
        };
        let nths = (0..2 + chance.below(2)).map(|_| nth(&chance)).collect();
        Story { nths, ..self }
    }

    /// The same story, whose rows share a long rubric.
    pub(super) fn sharing(self) -> Story {
        Story {
            shares: true,
            rows: self.rows.max(16),
            // A queue that is narrow for short prompts takes no long one.
            narrow: self.narrow && self.vendor == "anthropic",
            ..self
        }
    }

    /// The same story, of rows that are labelled, and whose answers are often none.
    pub(super) fn asking_again(self) -> Story {
        Story {
            asks_again: true,
            embeds: false,
            narrow: false,
            faults: "invalid=0.3,max_tokens=0.2,errored=0.1,filter=0.05,lost_answer=0.2,refused_lost=0.1",
            ..self
        }
    }

    /// The same story, in which a picture goes with each row.
    pub(super) fn picturing(self) -> Story {
        // There are no bytes in a text.
        let pictures = if self.table == Table::Csv || self.seed.is_multiple_of(2) {
            Pictures::Paths
        } else {
            Pictures::Bytes
        };
        Story {
            pictures: Some(pictures),
            embeds: false,
            // A queue that is narrow for short prompts takes no pictures.
            narrow: self.narrow && self.vendor == "anthropic",
            ..self
        }
    }

    /// The same story with a small table, and batches that end soon.
    pub(super) fn small(self) -> Story {
        Story {
            rows: 7 + self.rows % 8,
            per_batch: self.per_batch.min(5),
            batch_time: (MINUTE, 20 * MINUTE),
            lease: MINUTE,
            ..self
        }
    }

    /// Whether what failed may have been sent again, though every row ends with an answer.
    pub(super) fn sends_again(&self) -> bool {
        self.may_fail() || self.faults.contains("no_credit")
    }

    /// Whether a row may end without an answer.
    pub(super) fn may_fail(&self) -> bool {
        let words = [
            "anonymous",
            "fail_silent",
            "errored",
            "missing",
            "garbage",
            "expire",
            "max_tokens",
            "refusal",
            "invalid",
        ];
        self.batch_time.1 > 24 * HOUR || words.iter().any(|word| self.faults.contains(word))
    }

    /// The table's rows.
    pub(super) fn bodies(&self) -> Vec<Option<String>> {
        let body = |n: usize| match n {
            // An empty field of a CSV file says less than a null.
            3 if self.table != Table::Csv => None,
            _ if n % 4 == 3 => Some(format!("ticket {}", n / 2)),
            _ => Some(format!("ticket {n} \"\u{e9}\u{1f600}\"")),
        };
        (0..self.rows).map(body).collect()
    }
}
