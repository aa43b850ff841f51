//! The sandbox's own paths, which no vendor has.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::{get, post};

use super::bill::Bill;
use super::middleware::json;
use super::world::World;
use crate::base::Error;

pub(super) fn router(world: Arc<World>) -> Router {
    Router::new()
        .route("/bill", get(bill))
        .route("/calls", get(calls))
        .route("/reset", post(reset))
        .with_state(world)
}

type Failed = (StatusCode, String);

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn failed(error: Error) -> Failed {
    (StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
}

async fn bill(State(world): State<Arc<World>>) -> Result<Response, Failed> {
    let bill = Bill::of(&world).map_err(failed)?;
    Ok(json(
        serde_json::to_string(&bill).expect("a bill is plain data"),
    ))
}

async fn calls(State(world): State<Arc<World>>) -> Response {
    json(serde_json::to_string(&world.calls()).expect("counts are plain data"))
}

async fn reset(State(world): State<Arc<World>>) -> Result<Response, Failed> {
    world.reset().map_err(failed)?;
    Ok(json("{}"))
}
