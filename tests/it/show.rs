//! `show`: the row's own story, whatever has become of the source and of the prompts since.

use std::time::Duration;

use columnist::base::ErrorKind;
use columnist::engine::{self, Story};
use columnist::work::RowStatus;

use crate::world::{World, write_rows, write_table};

fn bodies(range: std::ops::Range<usize>) -> Vec<Option<String>> {
    range.map(|n| Some(format!("ticket {n}"))).collect()
}

async fn show(world: &World, key: &str) -> columnist::base::Result<Story> {
    engine::show(world.setup("show"), &[key.to_owned()]).await
}

/// The story of `key`, which must be that of ticket `key`, answered.
async fn own_story(world: &World, key: usize) -> Story {
    let story = show(world, &key.to_string()).await.expect("a story");
    let prompt = format!("Label this: ticket {key}");
    assert_eq!(story.prompt.as_deref(), Some(&*prompt), "{story:?}");
    let [attempt] = &story.attempts[..] else {
        panic!("one attempt: {story:?}");
    };
    let answer = attempt.answer.as_deref().expect("an answer");
    assert!(answer.ends_with(&world.answer(&prompt)), "{story:?}");
    story
}

/// A source whose keys fall from row to row, in the format that `name` ends with.
fn write_falling(world: &World, name: &str, keys: std::ops::Range<usize>) {
    let rows = keys.rev().map(|key| format!("{key},ticket {key}\n"));
    let text = format!("id,body\n{}", rows.collect::<String>());
    std::fs::write(world.path(name), text).expect("written");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_has_its_own_story_after_the_source_was_moved_about() {
    let world = World::new("openai", "");
    write_table(&world.path("in.parquet"), &bodies(0..40), 16);
    world.run().await.expect("a run");
    let story = own_story(&world, 3).await;
    assert_eq!((story.row, story.changed), (3, false));

    // Ticket 3 is where ticket 7 was, and ticket 0 is no more.
    write_rows(&world.path("in.parquet"), 1, &bodies(1..12), 16);
    for key in [0, 3, 7, 30] {
        let story = own_story(&world, key).await;
        assert_eq!((story.row, story.changed), (key as u64, true));
    }
    write_rows(&world.path("in.parquet"), 50, &bodies(50..52), 16);
    let story = show(&world, "51").await.expect("a story");
    assert_eq!((story.row, story.changed), (1, true));
    assert!(story.plan.starts_with("not planned"), "{story:?}");
    assert!(story.attempts.is_empty() && story.prompt.is_none());

    std::fs::remove_file(world.path("in.parquet")).expect("removed");
    let story = own_story(&world, 7).await;
    assert_eq!((story.row, story.changed), (7, true));
    for stranger in ["99", "ticket"] {
        let error = show(&world, stranger).await.expect_err("no such row");
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_was_not_chosen_is_found_in_what_was_planned() {
    let mut world = World::new("openai", "");
    world.job["source"]["filter"] = "id >= 10".into();
    write_table(&world.path("in.parquet"), &bodies(0..20), 16);
    world.run().await.expect("a run");
    let story = show(&world, "3").await.expect("a story");
    assert_eq!((story.row, story.changed), (3, false));
    assert_eq!(story.plan, "skipped: not selected by `source.where`");
    assert_eq!(own_story(&world, 12).await.row, 12);

    // Where it lies now says nothing of what was planned.
    write_rows(&world.path("in.parquet"), 2, &bodies(2..20), 16);
    let story = show(&world, "3").await.expect("a story");
    assert_eq!((story.row, story.changed), (1, true));
    assert!(story.plan.starts_with("not planned"), "{story:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_tells_of_rows_whose_source_is_gone() {
    let mut world = World::new("openai", "");
    let path = world.path("in.csv").display().to_string();
    world.job["source"]["input"]["table"] = path.into();
    world.job["source"]["filter"] = "id >= 10".into();
    write_falling(&world, "in.csv", 0..20);
    world.run().await.expect("a run");
    let story = own_story(&world, 12).await;
    assert_eq!((story.row, story.changed), (7, false));
    std::fs::remove_file(world.path("in.csv")).expect("removed");
    let story = own_story(&world, 12).await;
    assert_eq!((story.row, story.changed), (7, true));
    let story = show(&world, "3").await.expect("a story");
    assert_eq!((story.row, story.changed), (16, true));
    assert_eq!(story.plan, "skipped: not selected by `source.where`");
}

#[tokio::test(flavor = "multi_thread")]
async fn after_gc_a_story_lacks_its_prompt_and_nothing_else() {
    let world = World::new("openai", "errored=0.3");
    write_table(&world.path("in.parquet"), &bodies(0..30), 16);
    world.run().await.expect("a run");
    write_table(&world.path("in.parquet"), &bodies(0..31), 16);
    world.run().await.expect("a second run");
    let mut before = Vec::new();
    for key in 0..31 {
        before.push(show(&world, &key.to_string()).await.expect("a story"));
    }
    // What failed in passing to the end is asked again by the second plan, and is its own.
    let is_old = |story: &Story| story.plan.ends_with("of plan 0 asked");
    let again = before.iter().filter(|story| {
        let first = story.attempts.first().and_then(|told| told.status);
        is_old(story) && story.attempts.len() > 1 && first == Some(RowStatus::Failed)
    });
    assert!(again.count() > 0, "none was sent again");

    let cleaned = engine::clean(world.setup("gc"), world.provider(), Duration::ZERO).await;
    assert_eq!(cleaned.expect("cleaned").plans, 1);
    for (key, before) in before.into_iter().enumerate() {
        let after = show(&world, &key.to_string()).await.expect("a story");
        let old = is_old(&before);
        assert!(before.prompt.is_some() && before.key.is_some() && !before.prompt_gone);
        let told = Story {
            prompt: before.prompt.clone().filter(|_| !old),
            prompt_gone: old,
            ..before
        };
        assert_eq!(after, told);
    }
}
