//! Seeds: drawn in order, printed where they fail, and given back by `COLUMNIST_SEEDS`.

use std::fmt::Debug;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The variable that chooses the seeds: `17,18`, `0..200`, or both.
const VARIABLE: &str = "COLUMNIST_SEEDS";

/// The first `count` seeds, or those that the environment names.
pub(super) fn seeds(count: u64) -> Vec<u64> {
    let Ok(text) = std::env::var(VARIABLE) else {
        return (0..count).collect();
    };
    let number = |text: &str| text.trim().parse::<u64>().expect(VARIABLE);
    let range = |part: &str| match part.split_once("..") {
        Some((from, to)) => number(from)..number(to),
        None => number(part)..number(part) + 1,
    };
    text.split(',').flat_map(range).collect()
}

/// Plays every one of `stories`, on all processors, and returns what came of each.
///
/// # Panics
/// If one of them does, with the story and the seed that plays it again.
pub(super) fn play_all<S: Sync + Debug, T: Send>(
    stories: &[S],
    seed: impl Fn(&S) -> u64 + Sync,
    play: impl Fn(&S) -> T + Sync,
) -> Vec<T> {
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::with_capacity(stories.len()));
    let failed = Mutex::new(Vec::new());
    let work = || {
        while let Some(story) = stories.get(next.fetch_add(1, Ordering::Relaxed)) {
            let came = catch_unwind(AssertUnwindSafe(|| play(story)));
            if let Ok(came) = came {
                done.lock().expect("no panic").push(came);
                continue;
            }
            let text = format!("{VARIABLE}={} plays it again: {story:?}", seed(story));
            tell(&text);
            failed.lock().expect("no panic").push(text);
        }
    };
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(work);
        }
    });
    let failed = failed.into_inner().expect("no panic");
    let shown = failed
        .iter()
        .take(20)
        .cloned()
        .collect::<Vec<_>>()
        .join("\n");
    assert!(
        failed.is_empty(),
        "{} of {} stories failed:\n{shown}",
        failed.len(),
        stories.len()
    );
    done.into_inner().expect("no panic")
}

#[expect(
    clippy::print_stdout,
    reason = "a long run shows at once what has failed"
)]
fn tell(text: &str) {
    println!("{text}");
}
