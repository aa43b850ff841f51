use super::super::log::{Append, Author};
use super::super::path::LOG;
use super::super::testing;
use super::*;
use crate::base::{Location, Points, Stores};

/// How many commits went in, counted both ways: what was folded, and what was read to fold it.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
struct Sum {
    total: u64,
}

struct World {
    _folder: tempfile::TempDir,
    place: Location,
}

impl World {
    /// Commits of 1 to 10; checkpoints after the fifth and the eighth.
    async fn new() -> World {
        let folder = tempfile::tempdir().unwrap();
        let place = Stores::default()
            .locate(folder.path().to_str().unwrap())
            .unwrap();
        let mut log = Log::open(&testing::components(1), &place);
        let mut sum = Sum::default();
        for number in 1..=10 {
            append(&mut log, number).await;
            sum.total += number;
            if number == 5 || number == 8 {
                log.checkpoint(1, &sum).await;
            }
        }
        World {
            _folder: folder,
            place,
        }
    }

    fn file(&self, version: u64) -> std::path::PathBuf {
        let log = self.place.local.as_ref().unwrap().join(LOG);
        log.join(LogFile::Checkpoint(Version(version)).to_string())
    }

    /// The state, and how many actions were folded anew.
    async fn load(&self, shape: u32) -> (u64, u64) {
        let mut log = Log::open(&testing::components(2), &self.place);
        let mut folded = 0;
        let sum: Sum = log
            .load(shape, |sum: &mut Sum, _, number: &u64| {
                sum.total += number;
                folded += 1;
                Ok(())
            })
            .await
            .unwrap();
        assert_eq!(log.next(), Version(10));
        (sum.total, folded)
    }
}

async fn append(log: &mut Log, number: u64) {
    let author = Author {
        run: "r".into(),
        lease: None,
    };
    let done = log
        .append(&author, &[number], Points::default())
        .await
        .unwrap();
    assert!(matches!(done, Append::Appended(_)));
}

#[tokio::test]
async fn the_newest_checkpoint_spares_the_replay_before_it() {
    let world = World::new().await;
    assert_eq!(world.load(1).await, (55, 2));
}

#[tokio::test]
async fn a_damaged_checkpoint_is_passed_over_for_an_older_one() {
    let world = World::new().await;
    let whole = std::fs::read(world.file(7)).unwrap();
    for damaged in [&whole[..whole.len() / 2], b"", b"{}\n"] {
        std::fs::write(world.file(7), damaged).unwrap();
        assert_eq!(world.load(1).await, (55, 5));
    }
    std::fs::remove_file(world.file(4)).unwrap();
    assert_eq!(
        world.load(1).await,
        (55, 10),
        "none is left: the whole log is read"
    );
}

#[tokio::test]
async fn a_checkpoint_that_disagrees_is_passed_over() {
    let world = World::new().await;
    // Another ledger's, whole in itself, of the same version.
    let other = World::new().await;
    let elsewhere = other
        .place
        .join(LOG)
        .join(&LogFile::Commit(Version(7)).to_string());
    let here = world
        .place
        .join(LOG)
        .join(&LogFile::Commit(Version(7)).to_string());
    std::fs::copy(other.file(7), world.file(7)).unwrap();
    assert_eq!(
        here.get().await.unwrap(),
        elsewhere.get().await.unwrap(),
        "same seed, same world"
    );
    assert_eq!(world.load(1).await, (55, 2), "so far it agrees");

    // The fifth's under the eighth's name, and one of a commit that is not there.
    std::fs::copy(world.file(4), world.file(7)).unwrap();
    std::fs::copy(world.file(4), world.file(40)).unwrap();
    assert_eq!(world.load(1).await, (55, 5));
}

#[tokio::test]
async fn a_checkpoint_of_another_log_is_passed_over() {
    let world = World::new().await;
    let mut lines = Lines::default();
    lines
        .push(&Head {
            format: FORMAT,
            version: Version(9),
            commit: "another".into(),
            time: Time::default(),
            shape: 1,
            epochs: BTreeMap::new(),
        })
        .unwrap();
    lines.push(&Sum { total: 1_000 }).unwrap();
    std::fs::write(world.file(9), lines.finish().unwrap()).unwrap();
    assert_eq!(world.load(1).await, (55, 2));
}

#[tokio::test]
async fn a_state_of_another_shape_is_folded_anew() {
    let world = World::new().await;
    assert_eq!(world.load(2).await, (55, 10));
}

#[tokio::test]
async fn a_checkpoint_does_not_hide_a_missing_commit_behind_it() {
    let world = World::new().await;
    let commit = world
        .place
        .join(LOG)
        .join(&LogFile::Commit(Version(8)).to_string());
    commit.delete().await.unwrap();
    let mut log = Log::open(&testing::components(2), &world.place);
    let loaded = log.load(1, |_: &mut Sum, _, _: &u64| Ok(())).await;
    assert_eq!(
        loaded.unwrap_err().message(),
        "a commit is missing from the ledger"
    );
}

#[tokio::test]
async fn a_checkpoint_that_cannot_be_written_costs_nothing() {
    let (place, store) = testing::faulty();
    let mut log = Log::open(&testing::components(1), &place);
    append(&mut log, 1).await;
    store.next_put(testing::Fault::Refused);
    log.checkpoint(1, &Sum::default()).await;
    append(&mut log, 2).await;
}

/// What names the newest checkpoint may be stale, damaged or wrong: the state is the same.
#[tokio::test]
async fn a_wrong_name_for_the_newest_checkpoint_costs_nothing() {
    let world = World::new().await;
    let name = world.place.join(super::super::path::NEWEST);
    let named = name.get().await.unwrap().expect("it is named");
    assert_eq!(world.load(1).await, (55, 2));
    let other = |version: u64| {
        let mut lines = Lines::default();
        let (format, version) = (FORMAT, Version(version));
        lines.push(&Named { format, version }).unwrap();
        lines.finish().unwrap()
    };
    // Stale, of a checkpoint that is not there, of a commit that is not there, and unreadable.
    for wrong in [
        other(4),
        other(6),
        other(70),
        named[..9].to_vec(),
        Vec::new(),
    ] {
        name.put(wrong).await.unwrap();
        assert_eq!(world.load(1).await, (55, 2));
    }
    name.delete().await.unwrap();
    assert_eq!(world.load(1).await, (55, 2));
}

/// A long log is not listed from its beginning, and no commit before the checkpoint is read.
#[tokio::test]
async fn what_is_read_of_a_log_does_not_grow_with_it() {
    let store = std::sync::Arc::new(crate::base::MemoryStore::new(None));
    let stores = Stores::default().with_memory(std::sync::Arc::clone(&store));
    let place = stores.locate("memory://lake/ledger").unwrap();
    let mut log = Log::open(&testing::components(1), &place);
    let mut sum = Sum::default();
    let mut came = Vec::new();
    for number in 1..=400 {
        append(&mut log, number).await;
        sum.total += number;
        if log.checkpoint_due() {
            log.checkpoint(1, &sum).await;
        }
        if number == 100 || number == 356 {
            store.take_reads();
            let mut log = Log::open(&testing::components(2), &place);
            let fold = |sum: &mut Sum, _: &Meta, number: &u64| {
                sum.total += number;
                Ok(())
            };
            assert_eq!(log.load(1, fold).await.unwrap(), sum);
            came.push(store.take_reads().len());
        }
    }
    assert_eq!(came[0], came[1], "{came:?}");
    assert_eq!(
        came[0],
        3 + 36,
        "the name, the checkpoint, its commit, and those after it"
    );
}
