//! Two questions of whatever watches the process: is it alive, and should clients be sent to it?

use std::time::Duration;

use actix_web::{HttpResponse, web::Data};
use serde_json::json;

use crate::Engine;

/// How long a readiness probe waits for the store: below the second or two after which probes give up.
const PATIENCE: Duration = Duration::from_secs(1);

pub(super) async fn live() -> HttpResponse {
    HttpResponse::Ok().json(json!({ "status": "live" }))
}

pub(super) async fn ready(engine: Data<Engine>) -> HttpResponse {
    if engine.is_draining() {
        return HttpResponse::ServiceUnavailable().json(json!({ "status": "draining" }));
    }
    match tokio::time::timeout(PATIENCE, engine.check_store()).await {
        Ok(Ok(())) => HttpResponse::Ok().json(json!({ "status": "ready" })),
        // Why is for those with the token, and in the log.
        Ok(Err(_)) | Err(_) => HttpResponse::ServiceUnavailable().json(json!({ "status": "store unavailable" })),
    }
}
