use std::process::{Command, Stdio};

use tokio_util::sync::CancellationToken;

use super::super::framing::FORMAT;
use super::super::testing::{self, Fault, FaultyStore, TestClock};
use super::*;
use crate::base::Stores;

const TTL: Duration = Duration::from_mins(1);
/// What a contender adds for coarse and differing clocks.
const MARGIN: Duration = Duration::from_secs(5);

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// A process of its own: with its own clock, and the store's for all.
fn process(name: &str, place: &Location, clock: &Arc<TestClock>) -> Leases {
    let seed = name.bytes().map(u64::from).sum();
    let components = testing::at(seed, Arc::clone(clock));
    let holder = Holder::this_process(name, "run triage.toml", clock.now());
    let uptime = Arc::<TestClock>::clone(clock);
    Leases::new(&components, uptime, place, holder, TTL)
}

/// A store with a clock, and a ledger on it.
fn store() -> (Location, Arc<FaultyStore>, Arc<TestClock>) {
    let clock = TestClock::new(false);
    let (place, store) = testing::on(FaultyStore::dated_by(Arc::<TestClock>::clone(&clock)));
    (place, store, clock)
}

fn local() -> (tempfile::TempDir, Location, Arc<TestClock>) {
    let folder = tempfile::tempdir().unwrap();
    let place = Stores::default()
        .locate(folder.path().to_str().unwrap())
        .unwrap();
    (folder, place, TestClock::new(true))
}

async fn try_take(leases: &Leases) -> Taken {
    leases
        .take(&Scope::job(), 0, Patience::NotAtAll)
        .await
        .unwrap()
}

async fn taken(leases: &Leases) -> Lease {
    match try_take(leases).await {
        Taken::Lease(lease) => lease,
        Taken::Held(held) => panic!("held by {held:?}"),
    }
}

async fn held(leases: &Leases) -> Held {
    match try_take(leases).await {
        Taken::Held(held) => held,
        Taken::Lease(lease) => panic!("taken: {lease:?}"),
    }
}

/// Lets every other task run until it sleeps.
async fn settle(clock: &TestClock, sleepers: usize) {
    for _ in 0..10_000 {
        tokio::task::yield_now().await;
        if clock.sleepers() == sleepers {
            return;
        }
    }
    panic!("{} sleep, not {sleepers}", clock.sleepers());
}

/// What `work` comes to, which must need no more time to pass.
async fn soon<T>(work: impl Future<Output = T>) -> T {
    let mut work = std::pin::pin!(work);
    for _ in 0..10_000 {
        if let std::task::Poll::Ready(done) = futures::poll!(&mut work) {
            return done;
        }
        tokio::task::yield_now().await;
    }
    panic!("it waits for ever");
}

#[tokio::test]
async fn of_two_takers_one_holds_and_the_other_names_it() {
    let (place, _, clock) = store();
    let lease = taken(&process("a", &place, &clock)).await;
    assert_eq!(lease.stamp().epoch, 1);
    let held = held(&process("b", &place, &clock)).await;
    assert_eq!(held.holder.as_ref().unwrap().run, "a");
    assert_eq!(held.until, Some(clock.now() + TTL + MARGIN));
    let error = Error::from(held);
    assert_eq!(error.kind().exit_code(), 75);
    assert!(error.to_string().contains("run a, process"), "{error}");

    lease.release().await.unwrap();
    let next = taken(&process("b", &place, &clock)).await;
    assert_eq!(next.stamp().epoch, 2, "a lease given back is free at once");
}

#[tokio::test]
async fn an_unrenewed_lease_runs_out_by_the_stores_clock_whatever_ours_say() {
    let (place, _, clock) = store();
    let skewed = TestClock::new(false);
    skewed.advance(seconds(86_400));
    let elder = taken(&process("a", &place, &skewed)).await;
    clock.advance(seconds(64));
    skewed.advance(seconds(86_400));
    held(&process("b", &place, &clock)).await;
    held(&process("c", &place, &skewed)).await;
    clock.advance(seconds(1));
    let younger = taken(&process("b", &place, &clock)).await;
    assert_eq!(younger.stamp().epoch, 2);
    assert_eq!(elder.renew().await.unwrap_err().kind(), ErrorKind::Held);
    assert_eq!(
        elder.check(Duration::ZERO).unwrap_err().kind(),
        ErrorKind::Held
    );
    younger.renew().await.unwrap();
}

#[tokio::test]
async fn a_holder_stops_trusting_its_lease_before_another_can_take_it() {
    let (place, _, clock) = store();
    let lease = taken(&process("a", &place, &clock)).await;
    assert_eq!(lease.remaining(), TTL);
    clock.advance(seconds(50));
    lease.check(seconds(9)).unwrap();
    lease.check(seconds(10)).unwrap_err();
    lease.renew().await.unwrap();
    assert_eq!(lease.remaining(), TTL);
    clock.advance(TTL);
    assert_eq!(lease.remaining(), Duration::ZERO);
    held(&process("b", &place, &clock)).await;
    lease.renew().await.expect("it ran out, and nobody came");
    assert_eq!(lease.remaining(), TTL);
}

#[tokio::test]
async fn whoever_waits_gets_a_dead_holders_lease() {
    let (place, _, clock) = store();
    let _dead = taken(&process("a", &place, &clock)).await;
    let runs_out = clock.now() + TTL + MARGIN;
    let told = Arc::new(Mutex::new(Vec::new()));
    let tell = Arc::clone(&told);
    let waiting = process("b", &place, &clock);
    let waiting = waiting.telling(move |held| tell.lock().unwrap().push(held.clone()));
    let task = tokio::spawn(async move {
        waiting
            .take(&Scope::job(), 0, Patience::Wait(CancellationToken::new()))
            .await
    });
    // It looks again every third of the time.
    for _ in 0..4 {
        settle(&clock, 1).await;
        clock.advance(TTL / 3);
    }
    match soon(task).await.unwrap().unwrap() {
        Taken::Lease(lease) => assert_eq!(lease.stamp().epoch, 2),
        Taken::Held(held) => panic!("{held:?}"),
    }
    // And says each time for whom it waits, and until when.
    let told = told.lock().unwrap();
    assert_eq!(told.len(), 4, "{told:?}");
    for held in &*told {
        assert_eq!(held.holder.as_ref().map(|holder| &*holder.run), Some("a"));
        assert_eq!(held.until, Some(runs_out));
    }
}

#[tokio::test]
async fn whoever_waits_for_a_live_holder_is_told_so() {
    let (place, _, clock) = store();
    let live = taken(&process("a", &place, &clock)).await;
    let waiting = process("b", &place, &clock);
    let task = tokio::spawn(async move {
        waiting
            .take(&Scope::job(), 0, Patience::Wait(CancellationToken::new()))
            .await
    });
    settle(&clock, 1).await;
    clock.advance(TTL / 3);
    live.renew().await.unwrap();
    assert!(matches!(soon(task).await.unwrap().unwrap(), Taken::Held(_)));
}

#[tokio::test]
async fn whoever_has_no_more_patience_comes_back_at_once() {
    let (place, store, clock) = store();
    let elder = taken(&process("a", &place, &clock)).await;
    let wait = |name: &str| {
        let (waiting, enough) = (process(name, &place, &clock), CancellationToken::new());
        let patience = Patience::Wait(enough.clone());
        let task = async move { waiting.take(&Scope::job(), 0, patience).await };
        (tokio::spawn(task), enough)
    };
    let (task, enough) = wait("b");
    settle(&clock, 1).await;
    enough.cancel();
    assert!(matches!(soon(task).await.unwrap().unwrap(), Taken::Held(_)));

    // The same while an elder's late renewal is waited out: our claim is given back.
    clock.advance(TTL + MARGIN);
    let (claiming, claim) = store.gate(&format!("{:020}.json", 2));
    let (task, enough) = wait("c");
    claiming.await.unwrap();
    elder.renew().await.unwrap();
    claim.send(()).unwrap();
    settle(&clock, 1).await;
    enough.cancel();
    assert!(matches!(soon(task).await.unwrap().unwrap(), Taken::Held(_)));
    let next = taken(&process("d", &place, &clock)).await;
    assert_eq!(next.stamp().epoch, 3, "nobody has to wait for the claim");
}

#[tokio::test]
async fn the_keeper_renews_until_the_lease_is_lost() {
    let (place, store, clock) = store();
    let lease = taken(&process("a", &place, &clock)).await;
    let keeper = lease.keep();
    for turn in 0..6 {
        settle(&clock, 1).await;
        if turn == 3 {
            store.next_put(Fault::NotDoneAndLost);
        }
        clock.advance(TTL / 3);
    }
    settle(&clock, 1).await;
    assert!(lease.remaining() > TTL / 2, "{:?}", lease.remaining());

    // Whoever deletes the folder has broken the lease.
    place
        .join(&format!("lease/job/{:020}.json", 1))
        .delete()
        .await
        .unwrap();
    clock.advance(TTL / 3);
    soon(lease.lost()).await;
    assert_eq!(lease.remaining(), Duration::ZERO);
    drop(keeper);
}

#[tokio::test]
async fn a_renewal_on_its_way_while_another_claims_is_waited_out() {
    let (place, store, clock) = store();
    let elder = taken(&process("a", &place, &clock)).await;
    clock.advance(TTL + MARGIN);
    // The contender has judged the lease, and its claim is on its way ...
    let (claiming, claim) = store.gate(&format!("{:020}.json", 2));
    let contender = process("b", &place, &clock);
    let task = tokio::spawn(async move {
        contender
            .take(&Scope::job(), 0, Patience::Wait(CancellationToken::new()))
            .await
    });
    claiming.await.unwrap();
    // ... when the elder wakes, renews, and sees nobody.
    elder.renew().await.unwrap();
    claim.send(()).unwrap();
    settle(&clock, 1).await;
    assert!(
        !task.is_finished(),
        "the contender saw the renewal, and waits"
    );
    assert!(elder.remaining() > Duration::ZERO);
    clock.advance(TTL + MARGIN);
    let younger = soon(task).await.unwrap().unwrap();
    assert_eq!(elder.remaining(), Duration::ZERO, "never both");
    assert!(matches!(younger, Taken::Lease(lease) if lease.remaining() == TTL));
    elder.renew().await.unwrap_err();
}

#[tokio::test]
async fn a_claim_on_its_way_while_the_elder_renews_is_seen_by_the_elder() {
    let (place, store, clock) = store();
    let elder = taken(&process("a", &place, &clock)).await;
    clock.advance(TTL + MARGIN);
    let (renewing, renewal) = store.gate(".renewed");
    let late = elder.clone();
    let task = tokio::spawn(async move { late.renew().await });
    renewing.await.unwrap();
    let younger = taken(&process("b", &place, &clock)).await;
    renewal.send(()).unwrap();
    assert_eq!(
        soon(task).await.unwrap().unwrap_err().kind(),
        ErrorKind::Held
    );
    younger.renew().await.unwrap();
}

#[tokio::test]
async fn a_claim_whose_answer_was_lost_is_ours() {
    for fault in [Fault::DoneAndLost, Fault::DoneAndToldExists] {
        let (place, store, clock) = store();
        store.next_put(fault);
        assert_eq!(
            taken(&process("a", &place, &clock)).await.stamp().epoch,
            1,
            "{fault:?}"
        );
    }
}

#[tokio::test]
async fn of_many_takers_at_once_one_holds() {
    let (place, _, clock) = store();
    for round in 0..20 {
        let takers = (0..16).map(|taker| {
            let leases = process(&format!("{round}-{taker}"), &place, &clock);
            tokio::spawn(async move { try_take(&leases).await })
        });
        let mut leases = Vec::new();
        for taker in takers.collect::<Vec<_>>() {
            if let Taken::Lease(lease) = taker.await.unwrap() {
                leases.push(lease);
            }
        }
        assert_eq!(leases.len(), 1, "round {round}");
        leases.remove(0).release().await.unwrap();
    }
}

#[tokio::test]
async fn an_epoch_is_above_all_in_the_log_and_old_files_go() {
    let (place, _, clock) = store();
    let leases = process("a", &place, &clock);
    for above in [7, 0, 0] {
        match leases
            .take(&Scope::job(), above, Patience::NotAtAll)
            .await
            .unwrap()
        {
            Taken::Lease(lease) => lease.release().await.unwrap(),
            Taken::Held(held) => panic!("{held:?}"),
        }
    }
    let names: Vec<_> = place.list().await.unwrap();
    let names: Vec<_> = names.iter().map(|meta| place.name_of(meta)).collect();
    let newest = |suffix| format!("lease/job/{:020}.{suffix}", 10);
    assert_eq!(
        names,
        [newest("json"), newest("released"), newest("renewed")]
    );
}

#[tokio::test]
async fn readers_see_who_holds_and_disturb_nobody() {
    let (_folder, local, local_clock) = local();
    let (remote, _, clock) = store();
    for (place, clock) in [(local, local_clock), (remote, clock)] {
        let (holder, reader) = (process("a", &place, &clock), process("b", &place, &clock));
        assert_eq!(reader.holder(&Scope::job()).await.unwrap(), None);
        let lease = taken(&holder).await;
        let seen = reader.holder(&Scope::job()).await.unwrap().unwrap();
        assert_eq!(seen.holder.unwrap().run, "a");
        lease.renew().await.unwrap();
        lease.release().await.unwrap();
        assert_eq!(reader.holder(&Scope::job()).await.unwrap(), None);
    }
}

#[tokio::test]
async fn a_lease_that_a_newer_version_wrote_is_left_alone() {
    let (place, _, clock) = store();
    let leases = process("a", &place, &clock);
    let mut entry = leases.claimant.entry(1);
    entry.format = FORMAT + 1;
    place
        .join(&format!("lease/job/{:020}.json", 1))
        .put(entry.bytes().unwrap())
        .await
        .unwrap();
    let error = leases
        .take(&Scope::job(), 0, Patience::NotAtAll)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Data);
}

#[tokio::test]
async fn on_disk_the_lock_is_one_holders_until_it_is_dropped() {
    let (_folder, place, clock) = local();
    let (a, b) = (process("a", &place, &clock), process("b", &place, &clock));
    let lease = taken(&a).await;
    assert_eq!(lease.remaining(), Duration::MAX);
    let seen = held(&b).await;
    assert_eq!((seen.holder.unwrap().run.as_str(), seen.until), ("a", None));
    drop(lease);
    assert_eq!(taken(&b).await.stamp().epoch, 2);
}

#[tokio::test]
async fn on_disk_a_lock_whose_file_was_deleted_is_lost() {
    let (_folder, place, clock) = local();
    let lease = taken(&process("a", &place, &clock)).await;
    place.join(&Scope::job().lock()).delete().await.unwrap();
    let other = taken(&process("b", &place, &clock)).await;
    assert_eq!(lease.renew().await.unwrap_err().kind(), ErrorKind::Held);
    other.renew().await.unwrap();
}

/// The other process of the next test; by itself it does nothing.
#[tokio::test]
async fn helper_holds_a_lock_until_it_is_killed() {
    let Ok(folder) = std::env::var("LEASE_TEST_FOLDER") else {
        return;
    };
    let place = Stores::default().locate(&folder).unwrap();
    let _lease = taken(&process("killed", &place, &TestClock::new(true))).await;
    place.join("ready").put("").await.unwrap();
    std::future::pending::<()>().await;
}

#[tokio::test]
async fn on_disk_a_restart_after_a_kill_works_at_once() {
    let (folder, place, clock) = local();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "ledger::lease::tests::helper_holds_a_lock_until_it_is_killed",
        ])
        .env("LEASE_TEST_FOLDER", folder.path())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    while place.join("ready").head().await.unwrap().is_none() {
        assert!(
            child.try_wait().unwrap().is_none(),
            "the helper ended early"
        );
        tokio::task::yield_now().await;
    }
    let leases = process("restarted", &place, &clock);
    let seen = held(&leases).await;
    assert_eq!(seen.holder.unwrap().run, "killed");
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(taken(&leases).await.stamp().epoch, 2);
}
