//! Health checks: liveness, and readiness for clients.

use std::time::Duration;

use actix_web::{HttpResponse, web::Data};
use serde_json::json;
use tokio::time::timeout;

use crate::{
    Engine,
    client_log::{self, Cause},
    store::Error,
};

/// The timeout of the store check. It is below the usual timeout of readiness probes, one to two seconds.
const STORE_CHECK_TIMEOUT: Duration = Duration::from_secs(1);

pub(super) async fn live() -> HttpResponse {
    HttpResponse::Ok().json(json!({ "status": "live" }))
}

pub(super) async fn ready(engine: Data<Engine>) -> HttpResponse {
    if engine.is_draining() {
        return HttpResponse::ServiceUnavailable().json(json!({ "status": "draining" }));
    }
    match timeout(STORE_CHECK_TIMEOUT, engine.check_store()).await.unwrap_or_else(|_| Err(Error::timed_out())) {
        Ok(()) => HttpResponse::Ok().json(json!({ "status": "ready" })),
        Err(error) => {
            // The error may name hosts, and this route needs no token, so the response does not contain it.
            client_log::log(Cause::NotReady, &[("error", &error)]);
            HttpResponse::ServiceUnavailable().json(json!({ "status": "store unavailable" }))
        }
    }
}
