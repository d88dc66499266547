//! Health checks: liveness, and readiness for clients.

use actix_web::{HttpResponse, web::Data};
use serde_json::json;

use crate::{
    Engine,
    client_log::{self, Cause},
};

pub(super) async fn live() -> HttpResponse {
    HttpResponse::Ok().json(json!({ "status": "live" }))
}

pub(super) async fn ready(engine: Data<Engine>) -> HttpResponse {
    if engine.is_draining() {
        return HttpResponse::ServiceUnavailable().json(json!({ "status": "draining" }));
    }
    match engine.check_store().await {
        Ok(()) => HttpResponse::Ok().json(json!({ "status": "ready" })),
        Err(error) => {
            client_log::log(Cause::NotReady, &[("error", &error)]);
            HttpResponse::ServiceUnavailable()
                .json(json!({ "status": "store unavailable", "reason": error.to_string() }))
        }
    }
}
