//! Races for one ledger: of many writers of a commit one wins, always, and every loser learns who.
//!
//! They run on the stores that this process has, and on the one that `COLUMNIST_TEST_STORE` names (an
//! empty folder on `s3://` or `az://`; the credentials come from the environment, as for any command).
//! `tests/services` names moto and Azurite there, and `tests/services/ceph` Ceph's gateway. The S3
//! server of `s3.rs` is no such store: it does not decide between writers that come at once.

use std::process::Command;
use std::sync::Arc;

use columnist::base::{Components, Location, Points, Put, Stores};
use columnist::ledger::{Append, Author, Commit, Log};
use serde_json::{Value, json};
use tokio::sync::Barrier;
use tokio::task::JoinSet;

/// How many write at once.
const WRITERS: usize = 64;
/// How often they do.
const ROUNDS: usize = 12;
/// How many processes append to one ledger, and how much each of them.
const PROCESSES: usize = 4;
const APPENDS: usize = 12;

/// Says where else to race.
const STORE: &str = "COLUMNIST_TEST_STORE";
/// Tells a process of [`processes_lose_no_commit_and_write_none_twice`] where to append, and its name.
const LEDGER: &str = "COLUMNIST_TEST_LEDGER";
const NAME: &str = "COLUMNIST_TEST_NAME";

/// The ledgers to race for: on local disk, in memory, and on the store that was named. The folder
/// goes when it is dropped.
#[expect(clippy::print_stdout, reason = "says aloud which stores were tried")]
fn ledgers(race: &str) -> (tempfile::TempDir, Vec<Location>) {
    let folder = tempfile::tempdir().expect("a folder");
    let mut addresses = vec![
        folder.path().display().to_string(),
        "memory:///ledger".to_owned(),
    ];
    addresses.extend(std::env::var(STORE));
    let stores = Stores::default();
    let ledgers = addresses.iter().map(|address| {
        println!("{race} on {address}");
        stores.locate(address).expect("a store").join(race)
    });
    (folder, ledgers.collect())
}

/// Calls `write` for every writer at once; what each came to, by writer.
async fn all_at_once<W, T, F>(writers: Vec<W>, write: impl Fn(W) -> F) -> Vec<T>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let start = Arc::new(Barrier::new(writers.len()));
    let tasks = writers.into_iter().map(|writer| {
        let (start, write) = (Arc::clone(&start), write(writer));
        tokio::spawn(async move {
            start.wait().await;
            write.await
        })
    });
    let mut done = Vec::new();
    for task in tasks.collect::<Vec<_>>() {
        done.push(task.await.expect("no panic"));
    }
    done
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn of_64_writers_of_a_file_one_wins_and_its_bytes_stay() {
    let (_folder, ledgers) = ledgers("files");
    for ledger in ledgers {
        for round in 0..ROUNDS {
            let file = ledger.join(&format!("{round:020}.json"));
            let text = |writer: usize| format!("{writer} ").repeat(2_000);
            let ended = all_at_once((0..WRITERS).collect(), |writer| {
                let (file, text) = (file.clone(), text(writer));
                async move { file.put_new(text).await.expect("told") }
            })
            .await;
            let winners = (0..WRITERS).filter(|writer| ended[*writer] == Put::Created);
            let winners: Vec<_> = winners.collect();
            let stored = file.get().await.expect("there").expect("a file");
            assert_eq!(winners.len(), 1, "{file}: {winners:?}");
            assert!(stored == text(winners[0]), "{file} is not the winner's");
        }
    }
}

/// Appends `text` as one commit, if this log is not too late.
async fn append(log: &mut Log, text: &str) -> Append<Value> {
    let author = Author {
        run: text.to_owned(),
        lease: None,
    };
    let facts = [json!({ "says": text })];
    let appended = log.append(&author, &facts, Points::default()).await;
    appended.expect("told")
}

fn texts(commits: &[Commit<Value>]) -> Vec<&str> {
    let facts = commits.iter().flat_map(|commit| &commit.actions);
    facts
        .map(|fact| fact["says"].as_str().expect("a text"))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn of_64_writers_of_a_commit_one_wins_and_the_others_learn_who() {
    let (_folder, ledgers) = ledgers("commits");
    for ledger in ledgers {
        let components = Components::system();
        let mut logs: Vec<_> = (0..WRITERS)
            .map(|_| Log::open(&components, &ledger))
            .collect();
        let mut won = Vec::new();
        for round in 0..ROUNDS {
            let named = logs.drain(..).enumerate().collect();
            let ended = all_at_once(named, |(writer, mut log)| async move {
                let text = format!("{writer} in round {round}");
                let ended = append(&mut log, &text).await;
                (log, text, ended)
            })
            .await;
            let mut winners = Vec::new();
            let mut told = Vec::new();
            for (log, text, ended) in ended {
                logs.push(log);
                match ended {
                    Append::Appended(_) => winners.push(text),
                    Append::Lost { by } => told.push(texts(&by).join(", ")),
                }
            }
            assert_eq!(winners.len(), 1, "{ledger}: {winners:?}");
            assert_eq!(told, vec![winners[0].clone(); WRITERS - 1], "{ledger}");
            won.append(&mut winners);
        }
        let mut reader = Log::open(&components, &ledger);
        let commits = reader.replay().await.expect("a whole log");
        assert_eq!(texts(&commits), won, "{ledger}");
    }
}

/// In a process that is told a ledger, appends to it until all of its commits stand.
async fn append_all(ledger: &str, name: &str) {
    let ledger = Stores::default().locate(ledger).expect("a store");
    let mut log = Log::open(&Components::system(), &ledger);
    for turn in 0..APPENDS {
        let text = format!("{name}-{turn}");
        while let Append::Lost { by } = append(&mut log, &text).await {
            assert!(!by.is_empty(), "whoever lost is told to whom");
        }
    }
}

/// This test is its own helper: where a ledger is named, it is one of the processes.
#[tokio::test(flavor = "multi_thread")]
async fn processes_lose_no_commit_and_write_none_twice() {
    if let (Ok(ledger), Ok(name)) = (std::env::var(LEDGER), std::env::var(NAME)) {
        return append_all(&ledger, &name).await;
    }
    let (_folder, ledgers) = ledgers("processes");
    // Memory is each process's own.
    for ledger in ledgers.iter().filter(|at| at.url.scheme() != "memory") {
        let address = ledger.to_string();
        let mut running = JoinSet::new();
        for process in 0..PROCESSES {
            let mut command = Command::new(std::env::current_exe().expect("this program"));
            command
                .args([
                    "--exact",
                    "races::processes_lose_no_commit_and_write_none_twice",
                ])
                .env(LEDGER, &address)
                .env(NAME, format!("process-{process}"));
            running.spawn_blocking(move || command.output().expect("this program starts"));
        }
        for done in running.join_all().await {
            let said = String::from_utf8_lossy(&done.stdout);
            assert!(done.status.success(), "{said}");
            assert!(said.contains("1 passed"), "{said}");
        }
        let mut reader = Log::open(&Components::system(), ledger);
        let commits = reader.replay().await.expect("a whole log");
        let mut stored = texts(&commits);
        stored.sort_unstable();
        let mut all: Vec<_> = (0..PROCESSES * APPENDS)
            .map(|n| format!("process-{}-{}", n / APPENDS, n % APPENDS))
            .collect();
        all.sort_unstable();
        assert_eq!(stored, all, "{ledger}");
    }
}
