//! What a story needs so that the world comes by a point.

use std::time::Duration;

use columnist::base::Ids;

use super::network::Ways;
use super::story::{Act, Place, Story, Table};

const TEN_MINUTES: Duration = Duration::from_mins(10);

/// What it takes to reach a point.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Need {
    /// Nothing: every run comes by.
    Any,
    /// Plans that follow each other, so that there are earlier answers.
    Again,
    /// Batches that a person cancels.
    Cancel,
    /// A source that changes while it is worked on.
    Change,
    /// An older plan that is swept away.
    Clean,
    /// A source that is not Parquet.
    Csv,
    /// An output on local disk.
    Disk,
    /// A proxy that repeats the billable call.
    Doubled,
    /// An output that is a folder.
    Folder,
    /// Rows without an answer, which a person wants sent again.
    Retry,
    /// Calls whose answers are lost, and calls that are refused.
    Lossy,
    /// A queue that is soon full.
    Narrow,
    /// Somebody who wants to be asked.
    Strict,
    /// More commits than lie between two checkpoints.
    Many,
}

impl Need {
    /// What it takes to reach `point`.
    pub(super) fn of(point: &str) -> Need {
        let what = point.replace("before_", "").replace("after_", "");
        match what.as_str() {
            "call.cancel" | "commit.cancel_asked" | "commit.cancel_sent" => Need::Cancel,
            "commit.plan_abandoned" => Need::Change,
            "commit.retry_asked" => Need::Retry,
            "commit.cleaned" => Need::Clean,
            "file.index" | "file.index_cleared" | "file.index_manifest" => Need::Again,
            "file.snapshot" => Need::Csv,
            "output.rename" | "output.cleaning" => Need::Disk,
            "commit.wasted" => Need::Doubled,
            "output.success" => Need::Folder,
            "call.find" | "commit.absent" | "commit.lost" | "commit.rechecked"
            | "commit.rejected" | "commit.sought" => Need::Lossy,
            "commit.queue_full" => Need::Narrow,
            "commit.unsettled" => Need::Strict,
            "ledger.checkpoint" => Need::Many,
            _ => Need::Any,
        }
    }

    /// `story`, so that it comes by the points that need this.
    pub(super) fn applied(self, story: Story) -> Story {
        let file = Story {
            table: Table::File,
            ..story.clone()
        };
        match self {
            Need::Any => story,
            Need::Again => Story {
                acts: nights(),
                ..file
            },
            Need::Cancel => Story {
                acts: vec![Act::Submit, Act::Cancel, Act::Run],
                ..story
            },
            Need::Change => Story {
                acts: vec![Act::RunGrowing],
                place: Place::Disk,
                ..file
            },
            Need::Clean => Story {
                acts: vec![Act::Run, Act::Grow, Act::Run, Act::Clean, Act::Run],
                ..file
            },
            Need::Csv => Story {
                table: Table::Csv,
                ..story
            },
            Need::Disk => Story {
                place: Place::Disk,
                ..story
            },
            Need::Doubled => Story {
                ways: Ways {
                    doubled: 60,
                    ..Ways::default()
                },
                // Twins that end together are found together.
                batch_time: (TEN_MINUTES, TEN_MINUTES),
                ..story
            },
            Need::Folder => Story {
                table: Table::Folder,
                ..story
            },
            Need::Lossy => Story {
                faults: "lost_answer=0.3,refused_lost=0.3,429=0.4",
                ..story
            },
            Need::Retry => Story {
                acts: vec![Act::Run, Act::Retry, Act::Run],
                faults: "refusal=0.4,max_tokens=0.2",
                ..story
            },
            Need::Narrow => Story {
                narrow: true,
                ..story
            },
            Need::Strict => Story {
                policy: "fail",
                narrow: false,
                delays: vec![200],
                faults: "lost_answer=0.4,refused_lost=0.4",
                ..story
            },
            Need::Many => Story {
                rows: 16,
                per_batch: 1,
                dedupe: false,
                ..story
            },
        }
    }
}

/// Runs of a table that grows from each to the next.
fn nights() -> Vec<Act> {
    [&[Act::Run][..], &[Act::Grow, Act::Run].repeat(3)].concat()
}

/// Whether `vendor` has anything to do with `point`.
pub(super) fn applies(point: &str, vendor: &str) -> bool {
    // Anthropic takes the body with the call: there is no file to remember, and none to delete. And
    // its word for a full queue is that for too many calls.
    let not_anthropics = ["staged", "discard", "discarded", "queue_full"];
    let what = point.rsplit_once("before_").or(point.rsplit_once("after_"));
    vendor != "anthropic" || !what.is_some_and(|(_, what)| not_anthropics.contains(&what))
}

/// Points at which one story is stopped, one after the other.
const STOPS: usize = 8;

/// The stories of `vendor` and `seed` in which the world stops at each of `points` once.
pub(super) fn stories(points: &[&'static str], vendor: &'static str, seed: u64) -> Vec<Story> {
    let chance = Ids::seeded(seed);
    let mut points: Vec<_> = points
        .iter()
        .filter(|point| applies(point, vendor))
        .map(|point| (Need::of(point), chance.below(u64::MAX), *point))
        .collect();
    points.sort_unstable();
    let by_need = points.chunk_by(|(a, ..), (b, ..)| a == b);
    by_need
        .flat_map(|same| {
            // What happens once does not happen again to who was stopped before it.
            let once = [Need::Change, Need::Disk, Need::Many, Need::Strict].contains(&same[0].0);
            same.chunks(if once { 1 } else { STOPS })
        })
        .map(|some| {
            let story = some[0].0.applied(Story::draw(vendor, seed).small());
            Story {
                points: some.iter().map(|(.., point)| *point).collect(),
                ..story
            }
        })
        .collect()
}
