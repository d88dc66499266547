//! The filters of requests for a connection.

use std::sync::Arc;

use actix_web::{
    HttpResponse,
    http::{StatusCode, header},
};

use super::unauthorized_status;
use crate::hub::{
    Hub, Identity, Request,
    filters::{AuthorizeConnect, EventKind},
};

/// The text for a client that a filter neither admits nor refuses. Times are in seconds.
const FILTER_FAILED: (&str, &str) = ("The server cannot admit clients now. Try again in a moment.", "1");

/// Passes a request for a connection to a hub through the filters of the hub.
///
/// # Errors
/// The response: 401 or 403 if a filter has refused it, 503 if a filter failed.
pub(crate) async fn authorize_connect(
    hub: &Hub,
    identity: &Arc<Identity>,
    request: &Arc<Request>,
) -> Result<(), HttpResponse> {
    let Some(chain) = hub.chain(EventKind::AuthorizeConnect) else { return Ok(()) };
    let (identity, request) = (Arc::clone(identity), Arc::clone(request));
    let status = unauthorized_status(&identity);
    match chain.decide(AuthorizeConnect { hub: hub.name().clone(), identity, request }).await {
        Ok(_) => Ok(()),
        Err(stopped) if stopped.is_refusal => Err(HttpResponse::new(status)),
        Err(_) => {
            let (text, retry_after) = FILTER_FAILED;
            let mut response = HttpResponse::build(StatusCode::SERVICE_UNAVAILABLE);
            Err(response.insert_header((header::RETRY_AFTER, retry_after)).body(text))
        }
    }
}

/// True if a filter of one of these hubs handles such requests.
pub(crate) fn has_connect_filters(hubs: &[Arc<Hub>]) -> bool {
    hubs.iter().any(|hub| hub.chain(EventKind::AuthorizeConnect).is_some())
}
