//! Health checks: liveness, and readiness for clients.

use actix_web::{HttpRequest, HttpResponse, web::Data};
use serde_json::json;

use super::AdminToken;
use crate::{
    Engine,
    client_log::{self, Cause},
};

pub(super) async fn live() -> HttpResponse {
    HttpResponse::Ok().json(json!({ "status": "live" }))
}

/// What everyone may read of a failure. The text of the store can name hosts and users of the database.
const PUBLIC_REASON: &str = "the store fails; the log of the server states why";

/// Requests with the token get the text of the store.
pub(super) async fn ready(engine: Data<Engine>, request: HttpRequest, token: AdminToken) -> HttpResponse {
    if engine.is_draining() {
        return HttpResponse::ServiceUnavailable().json(json!({ "status": "draining" }));
    }
    match engine.check_store().await {
        Ok(()) => HttpResponse::Ok().json(json!({ "status": "ready" })),
        Err(error) => {
            client_log::log(Cause::NotReady, &[("error", &error)]);
            let is_operator = token.is_in(request.headers());
            let reason = if is_operator { error.to_string() } else { PUBLIC_REASON.to_owned() };
            HttpResponse::ServiceUnavailable().json(json!({ "status": "store unavailable", "reason": reason }))
        }
    }
}
