//! Two questions of whatever watches the process: is it alive, and should clients be sent to it?

use std::time::Duration;

use actix_web::{HttpResponse, web::Data};
use log::warn;
use serde_json::json;
use tokio::time::timeout;

use crate::{Engine, store::Error};

/// How long a readiness probe waits for the store: below the second or two after which probes give up.
const PATIENCE: Duration = Duration::from_secs(1);

pub(super) async fn live() -> HttpResponse {
    HttpResponse::Ok().json(json!({ "status": "live" }))
}

pub(super) async fn ready(engine: Data<Engine>) -> HttpResponse {
    if engine.is_draining() {
        return HttpResponse::ServiceUnavailable().json(json!({ "status": "draining" }));
    }
    match timeout(PATIENCE, engine.check_store()).await.unwrap_or_else(|_| Err(Error::no_answer())) {
        Ok(()) => HttpResponse::Ok().json(json!({ "status": "ready" })),
        Err(error) => {
            // Why may name hosts, and this needs no token.
            warn!(error:% = error; "not ready");
            HttpResponse::ServiceUnavailable().json(json!({ "status": "store unavailable" }))
        }
    }
}
