//! The four squares of each call that makes something: done or not, and told or not. The second
//! one, done and not told, is where money is burnt twice.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use columnist::base::Error;
use columnist::base::http::{
    HeaderMap, HttpError, HttpRequest, HttpResponse, HttpService, Method, RouterService, StatusCode,
};
use columnist::ledger::action::Action;
use futures::StreamExt as _;

use super::check::{check_end, facts};
use super::network::whole;
use super::stage::{Ended, Stage};
use super::story::{Act, Place, Story, Table};
use crate::world::VENDORS;

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Square {
    DoneAndTold,
    DoneAndLost,
    RefusedAndTold,
    RefusedAndLost,
}

use Square::{DoneAndLost, DoneAndTold, RefusedAndLost, RefusedAndTold};

/// A network in which the first call to a path falls into a square.
#[derive(Debug)]
struct Once {
    sandbox: RouterService,
    path: &'static str,
    square: Square,
    happened: AtomicBool,
}

#[async_trait]
impl HttpService for Once {
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let is_it = request.method == Method::POST && request.url.path().ends_with(self.path);
        if !is_it || self.happened.swap(true, Ordering::Relaxed) {
            return self.sandbox.send(request).await;
        }
        let lost = || HttpError::Lost(Error::unavailable("the answer was lost"));
        match self.square {
            DoneAndTold => self.sandbox.send(request).await,
            DoneAndLost => {
                let request = whole(request).await.map_err(HttpError::Lost)?;
                let answer = self.sandbox.send(request).await?;
                assert!(answer.status.is_success(), "it was done");
                Err(lost())
            }
            RefusedAndTold => Ok(HttpResponse {
                status: StatusCode::TOO_MANY_REQUESTS,
                headers: HeaderMap::new(),
                body: futures::stream::empty().boxed(),
            }),
            RefusedAndLost => Err(lost()),
        }
    }
}

/// What a job of one batch leaves behind.
#[derive(Debug, Default, PartialEq, Eq)]
struct Trace {
    /// Attempts that were promised.
    promised: usize,
    /// Of which the answer was lost.
    lost: usize,
    /// That the provider did not take, and said so.
    rejected: usize,
    /// That were given up, for nothing of them was found.
    absent: usize,
    /// Batches whose receipt came with the call.
    accepted: usize,
    /// Batches that were found afterwards.
    adopted: usize,
}

impl Trace {
    fn of(facts: &[Action]) -> Trace {
        let mut trace = Trace::default();
        for fact in facts {
            match fact {
                Action::Promised(_) => trace.promised += 1,
                Action::Lost { .. } => trace.lost += 1,
                Action::Rejected { .. } => trace.rejected += 1,
                Action::Absent { .. } => trace.absent += 1,
                Action::Accepted(batch) if batch.adopted => trace.adopted += 1,
                Action::Accepted(_) => trace.accepted += 1,
                _ => {}
            }
        }
        trace
    }
}

/// Runs a job of one batch, whose first call to `path` falls into `square`.
fn check(vendor: &'static str, path: &'static str, square: Square, expect: &Trace) {
    let story = Story {
        place: Place::Objects,
        table: Table::File,
        // As many as are tried before the others, where that cannot be told for free.
        rows: 3,
        per_batch: 10,
        dedupe: true,
        faults: "",
        narrow: false,
        embeds: false,
        ..Story::draw(vendor, 0).small()
    };
    let mut stage = Stage::new(Story { rows: 3, ..story });
    stage.world.components.http = Arc::new(Once {
        sandbox: RouterService::new(stage.world.sandbox.router()),
        path,
        square,
        happened: AtomicBool::new(false),
    });
    let Ended::Done(done) = stage.live(Act::Run) else {
        panic!("nothing stops it");
    };
    done.expect("a run");
    check_end(&mut stage);
    let trace = Trace::of(&facts(&mut stage));
    assert_eq!(trace, *expect, "{vendor} {path} {square:?}");
    assert_eq!(
        stage.world.bill().total.batches_created,
        1,
        "{vendor} {path} {square:?}"
    );
}

#[test]
fn each_square_of_the_billable_call_ends_in_one_batch() {
    for vendor in VENDORS {
        let check = |square, promised, expect: Trace| {
            check(vendor, "/batches", square, &Trace { promised, ..expect });
        };
        let none = Trace::default;
        check(
            DoneAndTold,
            1,
            Trace {
                accepted: 1,
                ..none()
            },
        );
        check(
            DoneAndLost,
            1,
            Trace {
                lost: 1,
                adopted: 1,
                ..none()
            },
        );
        check(
            RefusedAndTold,
            2,
            Trace {
                rejected: 1,
                accepted: 1,
                ..none()
            },
        );
        check(
            RefusedAndLost,
            2,
            Trace {
                lost: 1,
                absent: 1,
                accepted: 1,
                ..none()
            },
        );
    }
}

#[test]
fn each_square_of_the_upload_ends_in_one_batch() {
    let check = |square, expect| check("openai", "/files", square, &expect);
    let told = Trace {
        promised: 1,
        accepted: 1,
        ..Trace::default()
    };
    check(DoneAndTold, told);
    // An upload costs nothing, and is simply done again.
    for square in [DoneAndLost, RefusedAndTold, RefusedAndLost] {
        let again = Trace {
            promised: 2,
            rejected: 1,
            accepted: 1,
            ..Trace::default()
        };
        check(square, again);
    }
}
