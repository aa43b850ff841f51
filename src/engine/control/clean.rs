//! `gc`: what is no longer needed goes from the ledger. Answers that were paid for stay.

use std::sync::Arc;
use std::time::Duration;

use crate::base::Result;
use crate::ledger::action::Action;
use crate::ledger::state::{PlanState, State};
use crate::provider::Provider;

use crate::engine::context::setup::Setup;
use crate::engine::session::open::Session;
use crate::ledger::Patience;

/// What went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cleaned {
    /// Plans whose prompts and snapshots went.
    pub plans: u64,
    /// Files that went.
    pub files: u64,
}

/// Deletes the prompts and the snapshots of plans that are older than `age`, settled, and not the
/// last. Their row maps and answers stay, for later plans and `show` use them.
///
/// # Errors
/// `Held` while somebody works on the job; whatever keeps files from being deleted.
pub async fn clean(setup: Setup, provider: Arc<dyn Provider>, age: Duration) -> Result<Cleaned> {
    let opening = Session::open(setup, provider, Patience::NotAtAll);
    let mut session = Box::pin(opening).await?;
    let done = sweep(&mut session, age).await;
    session.release().await;
    done
}

async fn sweep(session: &mut Session, age: Duration) -> Result<Cleaned> {
    let before = session.setup.components.clock.now() - age;
    let state = session.ledger.shared();
    let last = state.last_plan();
    let old = |plan: &&PlanState| {
        Some(plan.started.plan) != last
            && plan.started.at < before
            && !plan.prompts_gone
            && is_settled(&state, plan)
    };
    let mut cleaned = Cleaned::default();
    for plan in state.plans.values().filter(old) {
        let number = plan.started.plan;
        // Written down first: a plan whose files are half gone must not be taken for a whole one.
        let cleaned_up = Action::Cleaned { plan: number };
        session.ledger.record(vec![cleaned_up]).await?;
        for chunk in plan.chunks.keys() {
            session.files.requests(number, *chunk).delete().await?;
            cleaned.files += 1;
        }
        let snapshot = session.files.snapshot(number);
        for file in snapshot.list().await? {
            snapshot.join(&snapshot.name_of(&file)).delete().await?;
            cleaned.files += 1;
        }
        cleaned.plans += 1;
    }
    Ok(cleaned)
}

fn is_settled(state: &State, plan: &PlanState) -> bool {
    let mut attempts = plan
        .chunks
        .values()
        .flat_map(|chunk| state.attempts_of(chunk));
    attempts.all(|attempt| !attempt.phase.is_open())
}
