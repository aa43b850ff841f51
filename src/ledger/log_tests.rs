use std::sync::Mutex;

use futures::future::BoxFuture;
use proptest::prelude::*;

use super::super::testing::{self, Fault, faulty};
use super::*;
use crate::base::{CrashPoint, Stores};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "action", rename_all = "snake_case")]
enum Fact {
    Said { text: String },
}

fn said(text: &str) -> Fact {
    Fact::Said { text: text.into() }
}

fn author(epoch: Option<u64>) -> Author {
    Author {
        run: "run-1".into(),
        lease: epoch.map(|epoch| Stamp {
            scope: Scope::job(),
            epoch,
        }),
    }
}

async fn append(log: &mut Log, epoch: u64, text: &str) -> Result<Append<Fact>> {
    log.append(&author(Some(epoch)), &[said(text)], Points::default())
        .await
}

async fn appended(log: &mut Log, text: &str) {
    match append(log, 1, text).await.unwrap() {
        Append::Appended(_) => {}
        Append::Lost { by } => panic!("lost by {by:?}"),
    }
}

fn texts(commits: &[Commit<Fact>]) -> Vec<&str> {
    let actions = commits.iter().flat_map(|commit| &commit.actions);
    actions.map(|Fact::Said { text }| text.as_str()).collect()
}

/// A ledger of five commits on local disk.
async fn five() -> (tempfile::TempDir, Location) {
    let folder = tempfile::tempdir().unwrap();
    let place = Stores::default()
        .locate(folder.path().to_str().unwrap())
        .unwrap();
    let mut log = Log::open(&testing::components(1), &place);
    for text in ["a", "b", "c", "d", "e"] {
        appended(&mut log, text).await;
    }
    (folder, place)
}

fn file(place: &Location, version: u64) -> std::path::PathBuf {
    let log = place.local.as_ref().unwrap().join(LOG);
    log.join(LogFile::Commit(Version(version)).to_string())
}

async fn refusal(place: &Location) -> Error {
    let mut log = Log::open(&testing::components(2), place);
    log.replay::<Fact>().await.unwrap_err()
}

#[tokio::test]
async fn what_was_appended_is_replayed_in_order() {
    let (_folder, place) = five().await;
    let mut log = Log::open(&testing::components(2), &place);
    let commits = log.replay().await.unwrap();
    assert_eq!(texts(&commits), ["a", "b", "c", "d", "e"]);
    assert_eq!(commits[4].meta.version, Version(4));
    assert_eq!((log.next(), log.epoch(&Scope::job())), (Version(5), 1));
    assert!(log.catch_up::<Fact>().await.unwrap().is_empty());
    appended(&mut log, "f").await;
}

#[tokio::test]
async fn the_loser_learns_what_the_winners_wrote_and_then_appends() {
    let (_folder, place) = five().await;
    let mut slow = Log::open(&testing::components(2), &place);
    slow.replay::<Fact>().await.unwrap();
    let mut quick = Log::open(&testing::components(3), &place);
    quick.replay::<Fact>().await.unwrap();
    appended(&mut quick, "f").await;
    appended(&mut quick, "g").await;
    match append(&mut slow, 1, "h").await.unwrap() {
        Append::Lost { by } => assert_eq!(texts(&by), ["f", "g"]),
        Append::Appended(meta) => panic!("appended {meta:?}"),
    }
    appended(&mut slow, "h").await;
    assert_eq!(texts(&quick.catch_up().await.unwrap()), ["h"]);
}

#[tokio::test]
async fn a_holder_that_lost_its_lease_writes_nothing() {
    let (_folder, place) = five().await;
    let mut elder = Log::open(&testing::components(2), &place);
    elder.replay::<Fact>().await.unwrap();
    let mut younger = Log::open(&testing::components(3), &place);
    younger.replay::<Fact>().await.unwrap();
    append(&mut younger, 2, "younger").await.unwrap();
    assert!(matches!(
        append(&mut elder, 1, "late").await.unwrap(),
        Append::Lost { .. }
    ));
    let error = append(&mut elder, 1, "late").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Held);
    assert_eq!(
        texts(&younger.catch_up().await.unwrap()),
        Vec::<&str>::new()
    );
}

#[tokio::test]
async fn a_request_without_a_lease_is_taken_from_anybody() {
    let (_folder, place) = five().await;
    let mut log = Log::open(&testing::components(2), &place);
    log.replay::<Fact>().await.unwrap();
    let done = log
        .append(&author(None), &[said("cancel")], Points::default())
        .await
        .unwrap();
    assert!(matches!(done, Append::Appended(_)));
    assert_eq!(log.epoch(&Scope::job()), 1);
}

#[tokio::test]
async fn a_commit_under_a_lost_lease_is_refused_by_the_reader() {
    let (_folder, place) = five().await;
    let mut younger = Log::open(&testing::components(3), &place);
    younger.replay::<Fact>().await.unwrap();
    append(&mut younger, 2, "younger").await.unwrap();
    // A writer that never looked, as a defect would have it.
    let mut blind = Log::open(&testing::components(4), &place);
    blind.next = Version(6);
    append(&mut blind, 1, "blind").await.unwrap();
    let error = refusal(&place).await;
    assert_eq!(error.kind(), ErrorKind::Data);
    assert!(error.to_string().contains("version=`6`"), "{error}");
}

#[tokio::test]
async fn a_missing_commit_is_named() {
    let (_folder, place) = five().await;
    std::fs::remove_file(file(&place, 2)).unwrap();
    let error = refusal(&place).await;
    assert_eq!(error.kind().exit_code(), 8);
    assert_eq!(error.message(), "a commit is missing from the ledger");
    assert!(error.to_string().contains("version=`2`"), "{error}");
}

#[tokio::test]
async fn a_last_commit_cut_short_is_told_from_one_in_the_middle() {
    let (_folder, place) = five().await;
    for (version, message) in [
        (4, "the last commit of the ledger is cut short"),
        (3, "a commit of the ledger is damaged"),
    ] {
        let path = file(&place, version);
        let whole = std::fs::read(&path).unwrap();
        for len in [0, 1, whole.len() / 2, whole.len() - 1] {
            std::fs::write(&path, &whole[..len]).unwrap();
            let error = refusal(&place).await;
            assert_eq!(error.kind().exit_code(), 8);
            assert_eq!(error.message(), message, "{len} of {} bytes", whole.len());
            assert!(error.hint_text().unwrap().contains("backup"));
        }
        std::fs::write(&path, &whole).unwrap();
    }
}

#[tokio::test]
async fn a_commit_under_anothers_number_is_refused() {
    let (_folder, place) = five().await;
    std::fs::copy(file(&place, 1), file(&place, 3)).unwrap();
    let error = refusal(&place).await;
    assert_eq!(
        error.message(),
        "a commit of the ledger bears another number"
    );
}

#[tokio::test]
async fn a_newer_ledger_says_so() {
    let (_folder, place) = five().await;
    std::fs::write(
        file(&place, 5),
        "{\"format\":2,\"whatever\":1}\nnew things\n",
    )
    .unwrap();
    let error = refusal(&place).await;
    assert_eq!(error.kind().exit_code(), 8);
    assert_eq!(
        error.message(),
        "the ledger was written by a newer version of columnist"
    );
}

#[tokio::test]
async fn an_unknown_action_stops_and_an_unknown_field_does_not() {
    let (_folder, place) = five().await;
    let mut log = Log::open(&testing::components(2), &place);
    log.replay::<Fact>().await.unwrap();
    let more = serde_json::json!({"action": "said", "text": "f", "new_field": 1});
    log.append(&author(None), &[more], Points::default())
        .await
        .unwrap();
    assert_eq!(texts(&log.replay().await.unwrap()).last(), Some(&"f"));

    let sung = serde_json::json!({"action": "sung", "text": "la"});
    log.append(&author(None), &[sung], Points::default())
        .await
        .unwrap();
    let error = refusal(&place).await;
    assert_eq!(error.kind(), ErrorKind::Data);
    assert!(error.to_string().contains("version=`6`"), "{error}");
    assert!(error.hint_text().unwrap().contains("newer version"));
}

#[tokio::test]
async fn strangers_files_are_passed_over() {
    let (_folder, place) = five().await;
    for name in [
        "log/notes.txt",
        "log/5.json",
        "log/old/00000000000000000009.json",
    ] {
        place.join(name).put("x").await.unwrap();
    }
    let mut log = Log::open(&testing::components(2), &place);
    assert_eq!(log.replay::<Fact>().await.unwrap().len(), 5);
}

/// Appends "a" and "b" with `fault` at the second, and says how that ended and what is in the log.
async fn with_fault(faults: &[Fault]) -> (Result<Append<Fact>>, Vec<String>) {
    let (place, store) = faulty();
    let mut log = Log::open(&testing::components(1), &place);
    appended(&mut log, "a").await;
    for fault in faults {
        store.next_put(*fault);
    }
    let ended = append(&mut log, 1, "b").await;
    let mut reader = Log::open(&testing::components(2), &place);
    let commits = reader.replay().await.unwrap();
    (
        ended,
        texts(&commits).into_iter().map(str::to_owned).collect(),
    )
}

#[tokio::test]
async fn a_lost_answer_is_no_lost_commit() {
    use Fault::{DoneAndLost, DoneAndToldExists, NotDoneAndLost, ToldExists};
    for faults in [
        &[DoneAndLost][..],
        &[DoneAndToldExists],
        &[NotDoneAndLost],
        &[ToldExists],
        &[NotDoneAndLost, ToldExists, NotDoneAndLost, DoneAndLost],
    ] {
        let (ended, stored) = with_fault(faults).await;
        assert!(
            matches!(ended, Ok(Append::Appended(_))),
            "{faults:?}: {ended:?}"
        );
        assert_eq!(stored, ["a", "b"], "{faults:?}");
    }
}

#[tokio::test]
async fn what_cannot_be_written_is_an_error_and_not_in_the_log() {
    let (ended, stored) = with_fault(&[Fault::Refused]).await;
    assert_eq!(ended.unwrap_err().kind(), ErrorKind::Refused);
    assert_eq!(stored, ["a"]);
    let (ended, stored) = with_fault(&[Fault::NotDoneAndLost; TRIES_MAX as usize]).await;
    assert_eq!(ended.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(stored, ["a"]);
}

#[tokio::test]
async fn a_lost_answer_behind_another_writer_is_a_lost_race() {
    let (place, store) = faulty();
    let mut slow = Log::open(&testing::components(1), &place);
    let mut quick = Log::open(&testing::components(2), &place);
    appended(&mut quick, "quick").await;
    store.next_put(Fault::NotDoneAndLost);
    match append(&mut slow, 1, "slow").await.unwrap() {
        Append::Lost { by } => assert_eq!(texts(&by), ["quick"]),
        Append::Appended(meta) => panic!("appended {meta:?}"),
    }
}

#[derive(Debug, Default)]
struct Passed(Mutex<Vec<&'static str>>);

impl CrashPoint for Passed {
    fn reached(&self, name: &'static str) -> BoxFuture<'static, ()> {
        self.0.lock().unwrap().push(name);
        if name == "stop" {
            Box::pin(std::future::pending())
        } else {
            Box::pin(async {})
        }
    }
}

#[tokio::test]
async fn crash_points_stand_before_and_after_the_write() {
    for (points, stored) in [
        (
            Points {
                before: "stop",
                after: "after",
            },
            0,
        ),
        (
            Points {
                before: "before",
                after: "stop",
            },
            1,
        ),
    ] {
        let (place, _) = faulty();
        let passed = Arc::new(Passed::default());
        let mut components = testing::components(1);
        components.crash = Crash::with(Arc::<Passed>::clone(&passed));
        let mut log = Log::open(&components, &place);
        let (author, facts) = (author(Some(1)), [said("a")]);
        let append = log.append(&author, &facts, points);
        tokio::time::timeout(Duration::from_secs(1), append)
            .await
            .unwrap_err();
        assert_eq!(passed.0.lock().unwrap().last(), Some(&"stop"));
        let mut reader = Log::open(&testing::components(2), &place);
        assert_eq!(
            reader.replay::<Fact>().await.unwrap().len(),
            stored,
            "{points:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn racing_writers_lose_no_commit_and_write_none_twice() {
    let folder = tempfile::tempdir().unwrap();
    let stores = Stores::default();
    for address in [folder.path().to_str().unwrap(), "memory:///race"] {
        let place = stores.locate(address).unwrap();
        let writers = (0..8u64).map(|writer| {
            let mut log = Log::open(&testing::components(writer), &place);
            tokio::spawn(async move {
                for turn in 0..10 {
                    let text = format!("{writer}-{turn}");
                    while let Append::Lost { by } = append(&mut log, 1, &text).await.unwrap() {
                        assert!(!by.is_empty(), "whoever lost is told to whom");
                    }
                }
            })
        });
        for writer in writers.collect::<Vec<_>>() {
            writer.await.unwrap();
        }
        let mut log = Log::open(&testing::components(99), &place);
        let commits: Vec<Commit<Fact>> = log.replay().await.unwrap();
        let mut all = texts(&commits);
        all.sort_unstable();
        all.dedup();
        assert_eq!((commits.len(), all.len()), (80, 80), "{address}");
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_are_no_commit(bytes: Vec<u8>, number: u64, last: bool) {
        let parsed = parse::<serde_json::Value>(&bytes, Version(number), last);
        prop_assert_eq!(parsed.unwrap_err().kind(), ErrorKind::Data);
    }

    #[test]
    fn a_framed_file_of_anything_else_is_no_commit(lines in prop::collection::vec("[a-z{}\":,0-9]{0,12}", 0..4)) {
        let mut framed = Lines::default();
        for line in &lines {
            framed.push(line).unwrap();
        }
        let parsed = parse::<serde_json::Value>(&framed.finish().unwrap(), Version(0), false);
        prop_assert_eq!(parsed.unwrap_err().kind(), ErrorKind::Data);
    }
}
