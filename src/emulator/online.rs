//! What online calls of every dialect have in common: the answer is made as in a batch.

use super::answer::Plan;
use super::batch::Outcome;
use super::record::{Request, Shape};
use super::results::{StopReason, spoken};
use super::world::World;

/// An answer.
#[derive(Debug)]
pub(super) struct Spoken {
    pub(super) text: String,
    pub(super) stop: StopReason,
    pub(super) output_tokens: u32,
}

/// The answer to a request.
pub(super) fn speak(request: &Request<'_>, outcome: Outcome) -> Spoken {
    let plan = match &request.shape {
        Shape::Text => Plan::Sentence,
        Shape::Object => Plan::Object,
        Shape::Schema(schema) => Plan::for_schema(schema),
        Shape::Told(schema) => Plan::for_told(schema),
        &Shape::Vectors { dimensions, base64 } => Plan::Vectors { dimensions, base64 },
    };
    let draw = request.draws.first().copied().unwrap_or(0);
    let mut text = String::new();
    let (stop, output_tokens) = spoken(&plan, draw, request.budget, outcome, &mut text);
    Spoken {
        text,
        stop,
        output_tokens,
    }
}

/// How often this body was sent before; not counted where nothing is drawn from it.
pub(super) fn attempt(world: &World, body: u64) -> u64 {
    if world.config.faults == super::Faults::default() {
        0
    } else {
        world.attempt(body)
    }
}
