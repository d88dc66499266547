//! Request handlers of an endpoint.

use std::sync::Arc;

use actix_web::{
    HttpRequest, HttpResponse,
    http::{Method, StatusCode},
    web::Payload,
};

use super::{EndpointHandler, responses::plain_text};
use crate::{
    aspnetcore::{
        negotiate::{NegotiateResponse, REJOIN_PARAM, asks_for_stateful_reconnect, id_kind, negotiate_version},
        negotiations::{Seconds, TicketKind},
    },
    client_log::Cause,
    hub::{Identity, Request},
    web::{
        authorize_connect, authorize_request, has_connect_filters, hub_request, limit_response, log_request,
        query_value,
    },
};

impl EndpointHandler {
    /// Authenticates and authorizes a request.
    ///
    /// # Errors
    /// The response to send if the request is rejected.
    fn authenticate(&self, request: &HttpRequest) -> Result<Identity, HttpResponse> {
        let identity = authorize_request(&*self.state.shared.authenticate, self.endpoint.authorize.as_ref(), request);
        identity.inspect_err(|_| self.state.shared.services.metrics.requests_refused.increment())
    }

    pub(super) async fn negotiate(&self, request: &HttpRequest) -> HttpResponse {
        let identity = match self.authenticate(request) {
            Ok(identity) => identity,
            Err(response) => return response,
        };
        if request.method() != Method::POST {
            return plain_text(StatusCode::METHOD_NOT_ALLOWED, "");
        }
        let hub_request = hub_request(request);
        if let Some(redirect) = self.endpoint.redirect.as_ref().and_then(|redirect| redirect(&hub_request, &identity)) {
            return HttpResponse::Ok().json(redirect.with_rejoin_value(hub_request.query(REJOIN_PARAM)));
        }
        if let Err(response) = self.authorize_connect(&identity, &hub_request).await {
            return response;
        }
        if let Err(limit) = self.state.shared.services.limiter.check(identity.user.as_ref(), hub_request.address()) {
            return limit_response(limit);
        }
        match negotiate_version(&hub_request, self.endpoint.minimum_version) {
            Ok(version) => self.offer(version, &hub_request),
            Err(error) => {
                log_request(Cause::NegotiationRefused, request, StatusCode::OK, error.text());
                HttpResponse::Ok().json(error)
            }
        }
    }

    /// Passes a request for a connection through the filters of the hub.
    ///
    /// # Errors
    /// The response to send if the request is rejected.
    pub(super) async fn authorize_connect(&self, identity: &Identity, request: &Request) -> Result<(), HttpResponse> {
        let hub = self.state.shared.services.hub(&self.endpoint.hub);
        let Some(hub) = hub.filter(|hub| has_connect_filters(std::slice::from_ref(*hub))) else { return Ok(()) };
        let request = Arc::new(request.clone().into_kept());
        let authorized = authorize_connect(hub, &Arc::new(identity.clone()), &request).await;
        authorized.inspect_err(|_| self.state.shared.services.metrics.requests_refused.increment())
    }

    fn offer(&self, version: i32, request: &Request) -> HttpResponse {
        let can_reconnect = self.endpoint.allows_stateful_reconnects && asks_for_stateful_reconnect(request);
        let kind = TicketKind { id_kind: id_kind(version), can_reconnect };
        let ticket = self.state.negotiations.issue(&self.endpoint.path, kind, Seconds::now());
        HttpResponse::Ok().json(NegotiateResponse::new(version, &ticket, &self.endpoint.transports))
    }

    pub(super) async fn transport(&self, request: &HttpRequest, payload: Payload) -> HttpResponse {
        let identity = match self.authenticate(request) {
            Ok(identity) => identity,
            Err(response) => return response,
        };
        let hub_request = hub_request(request);
        let token = token_from_query(&hub_request);
        match *request.method() {
            Method::GET => self.get(request, payload, hub_request, token, identity).await,
            Method::POST => self.post(payload, token, hub_request.address()).await,
            Method::DELETE => self.delete(token).await,
            _ => plain_text(StatusCode::METHOD_NOT_ALLOWED, ""),
        }
    }
}

/// Wire: an empty id counts as missing. The values of a repeated id are joined, so they match no token.
fn token_from_query(request: &Request) -> Option<String> {
    query_value(&request.query, "id")
}
