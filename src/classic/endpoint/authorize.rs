//! The filters of requests that name hubs.

use std::sync::Arc;

use actix_web::{HttpResponse, web::Payload};

use super::{ClassicRequest, EndpointHandler, ErrorResponse};
use crate::web::{authorize_connect, has_connect_filters};

impl EndpointHandler {
    /// Wire: hubs whose filters refuse the request are left out, as if the client had not named them. The request is
    /// refused if it names hubs and all of them refuse it.
    pub(super) async fn authorize_and_dispatch(
        &self,
        mut request: ClassicRequest,
        payload: Payload,
    ) -> Result<HttpResponse, ErrorResponse> {
        if has_connect_filters(&request.hubs) {
            let (identity, mut refusal) = (Arc::new(request.identity.clone()), None);
            for hub in std::mem::take(&mut request.hubs) {
                match authorize_connect(&hub, &identity, &request.kept).await {
                    Ok(()) => request.hubs.push(hub),
                    Err(response) if response.status().is_server_error() => return Err(response),
                    Err(response) => refusal = Some(response),
                }
            }
            if let Some(refusal) = refusal.filter(|_| request.hubs.is_empty()) {
                return Err(refusal);
            }
        }
        self.dispatch(request, payload).await
    }
}
