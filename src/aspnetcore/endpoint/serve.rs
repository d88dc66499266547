//! Request handlers of an endpoint.

use std::{any::Any, net::IpAddr, sync::Arc};

use actix_web::{
    HttpRequest, HttpResponse,
    http::{Method, StatusCode},
    web::Payload,
};
use bytes::BytesMut;
use tokio::time::Instant;

use super::{
    EndpointHandler,
    kind::{plain_text, reject, requested_transport},
};
use crate::{
    aspnetcore::{
        negotiate::{NegotiateResponse, REJOIN_PARAM, id_kind, negotiate_version},
        negotiations::{MAX_EARLY_BYTES, OpenToken, Seconds, TokenStatus},
        protocol::{HubProtocol, json::JsonProtocol},
        session::{Session, SessionConfig},
        websocket_framer,
    },
    client_log::Cause,
    connection::{AttachChannel, Connection, NewConnection},
    hub::{Hub, Identity, Request},
    ids::ConnectionId,
    outbox::{Outbox, ReplayLimits},
    pipeline::TokenSubject,
    transport::{
        Inbound, Received, SocketHandle, Transport,
        websocket::{self, ReadMode},
    },
    web::{authorize_request, expiry, hub_request, limit_response, log_request, query_value, read_body},
};

const NO_ID: &str = "Connection ID required";
const NO_CONNECTION: &str = "No Connection with that ID";
const OTHER_TRANSPORT: &str = "Cannot change transports mid-connection";
const NO_POST: &str = "POST requests are not allowed for WebSocket connections.";
const NO_DELETE: &str = "Cannot terminate this connection using the DELETE endpoint.";

impl EndpointHandler {
    /// Authenticates and authorizes a request.
    ///
    /// # Errors
    /// The response to send if the request is rejected.
    fn authenticate(&self, request: &HttpRequest) -> Result<Identity, HttpResponse> {
        let identity = authorize_request(&*self.state.authenticate, self.endpoint.authorize.as_ref(), request);
        identity.inspect_err(|_| self.state.services.metrics.requests_refused.increment())
    }

    pub(super) fn negotiate(&self, request: &HttpRequest) -> HttpResponse {
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
        if let Err(limit) = self.state.services.limiter.check(identity.user.as_ref(), hub_request.address()) {
            return limit_response(limit);
        }
        match negotiate_version(&hub_request, self.endpoint.minimum_version) {
            Ok(version) => self.offer(version),
            Err(error) => {
                log_request(Cause::NegotiationRefused, request, StatusCode::OK, error.text());
                HttpResponse::Ok().json(error)
            }
        }
    }

    fn offer(&self, version: i32) -> HttpResponse {
        if !self.endpoint.accepts_websockets {
            return HttpResponse::Ok().json(serde_json::json!({ "error": "This endpoint offers no transport." }));
        }
        let ticket = self.state.negotiations.issue(&self.endpoint.path, id_kind(version), Seconds::now());
        HttpResponse::Ok().json(NegotiateResponse::new(version, &ticket))
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
            Method::DELETE => self.delete(token),
            _ => plain_text(StatusCode::METHOD_NOT_ALLOWED, ""),
        }
    }

    fn status(&self, token: &str) -> TokenStatus {
        self.state.negotiations.status(token, &self.endpoint.path, Seconds::now())
    }

    async fn get(
        &self,
        request: &HttpRequest,
        payload: Payload,
        hub_request: Request,
        token: Option<String>,
        identity: Identity,
    ) -> HttpResponse {
        let transport = requested_transport(request);
        let status = match (&token, transport) {
            (None, Transport::WebSockets) => TokenStatus::Pending,
            (None, _) => return reject(transport, StatusCode::BAD_REQUEST, NO_ID),
            (Some(token), _) => self.status(token),
        };
        let is_websocket = transport == Transport::WebSockets;
        match status {
            TokenStatus::Unknown if is_websocket => HttpResponse::NotFound().body(NO_CONNECTION),
            TokenStatus::Unknown => reject(transport, StatusCode::NOT_FOUND, NO_CONNECTION),
            TokenStatus::Open if is_websocket => reject(transport, StatusCode::CONFLICT, ""),
            TokenStatus::Open if self.endpoint.accepts_websockets => {
                reject(transport, StatusCode::BAD_REQUEST, OTHER_TRANSPORT)
            }
            TokenStatus::Open | TokenStatus::Pending if !(is_websocket && self.endpoint.accepts_websockets) => {
                let text = format!("{} transport not supported by this end point type", transport.name());
                reject(transport, StatusCode::NOT_FOUND, text)
            }
            TokenStatus::Open | TokenStatus::Pending => self.open(request, payload, hub_request, token, identity).await,
        }
    }

    async fn post(&self, payload: Payload, token: Option<String>, address: Option<IpAddr>) -> HttpResponse {
        let Some(token) = token else { return plain_text(StatusCode::BAD_REQUEST, NO_ID) };
        match self.status(&token) {
            TokenStatus::Unknown => plain_text(StatusCode::NOT_FOUND, NO_CONNECTION),
            TokenStatus::Open => plain_text(StatusCode::METHOD_NOT_ALLOWED, NO_POST),
            TokenStatus::Pending => match read_body(payload, MAX_EARLY_BYTES).await {
                Ok(bytes) if self.buffer_early_data(&token, &bytes, address) => plain_text(StatusCode::OK, ""),
                Ok(_) => plain_text(StatusCode::PAYLOAD_TOO_LARGE, ""),
                Err(error) => plain_text(error.status(), ""),
            },
        }
    }

    fn buffer_early_data(&self, token: &str, bytes: &[u8], address: Option<IpAddr>) -> bool {
        self.state.negotiations.buffer_early_data(token, &self.endpoint.path, bytes, address, Seconds::now())
    }

    fn delete(&self, token: Option<String>) -> HttpResponse {
        let Some(token) = token else { return plain_text(StatusCode::BAD_REQUEST, NO_ID) };
        match self.status(&token) {
            TokenStatus::Unknown => plain_text(StatusCode::NOT_FOUND, NO_CONNECTION),
            TokenStatus::Open | TokenStatus::Pending => plain_text(StatusCode::BAD_REQUEST, NO_DELETE),
        }
    }

    /// Opens a WebSocket for a negotiated connection, or for a new one if there is no token.
    async fn open(
        &self,
        request: &HttpRequest,
        payload: Payload,
        hub_request: Request,
        token: Option<String>,
        identity: Identity,
    ) -> HttpResponse {
        let state = &*self.state;
        let permit = match state.services.limiter.acquire(identity.user.as_ref(), hub_request.address()) {
            Ok(permit) => permit,
            Err(limit) => return limit_response(limit),
        };
        let outbox = Outbox::new(JsonProtocol.form(), state.limits, ReplayLimits::default());
        let Some(accepted) = self.accept(token) else {
            return reject(Transport::WebSockets, StatusCode::CONFLICT, "");
        };
        let Some(hub) = self.hub() else { return HttpResponse::NotFound().finish() };
        let session = Session::new(self.session_config(&hub, &hub_request, &identity), Instant::now());
        let early_data = accepted.early_data;
        let new_connection =
            self.new_connection((accepted.id, Box::new((permit, accepted.token))), hub, hub_request, identity, outbox);
        let connection = Connection::spawn(new_connection, session, ());
        let attach = AttachChannel {
            transport: Transport::WebSockets,
            socket: SocketHandle::of(request),
            context: None,
            request: (),
        };
        let Ok(Ok(reader)) = connection.send(attach).await else {
            return reject(Transport::WebSockets, StatusCode::NOT_FOUND, "");
        };
        if !early_data.is_empty() {
            let early_data = Received { channel: reader.channel(), data: Inbound::Binary(early_data.freeze()) };
            // An error means that the connection has ended.
            let _ = connection.send(early_data).await;
        }
        // Wire: separators delimit messages and frame boundaries do not matter, so the session enforces the size limit.
        websocket::accept(request, payload, reader, connection.recipient(), ReadMode::Bytes)
            .unwrap_or_else(HttpResponse::from_error)
    }

    /// Uses up a token. Returns `None` if another request has used it meanwhile.
    fn accept(&self, token: Option<String>) -> Option<AcceptedConnection> {
        let Some(token) = token else {
            return Some(AcceptedConnection { id: ConnectionId::random(), token: None, early_data: BytesMut::new() });
        };
        let (ticket, token, early_data) = self.state.negotiations.open(&token, &self.endpoint.path, Seconds::now())?;
        Some(AcceptedConnection { id: ticket.id().into(), token: Some(token), early_data })
    }

    fn hub(&self) -> Option<Arc<Hub>> {
        self.state.services.hub(&self.endpoint.hub).cloned()
    }

    fn session_config(&self, hub: &Arc<Hub>, request: &Request, identity: &Identity) -> SessionConfig {
        SessionConfig {
            settings: Arc::clone(&self.state.settings),
            hub: Arc::clone(hub),
            framer: websocket_framer,
            wants_tokens: request.query(REJOIN_PARAM).is_some(),
            token_lifetime: self.state.rejoin_service.settings.lifetime,
            expires: expiry(identity).filter(|_| self.endpoint.closes_on_expiry),
        }
    }

    fn new_connection(
        &self,
        (id, held_until_end): (ConnectionId, Box<dyn Any + Send>),
        hub: Arc<Hub>,
        request: Request,
        identity: Identity,
        outbox: Arc<Outbox>,
    ) -> NewConnection {
        let token_subject = TokenSubject {
            family: crate::ids::secret(),
            epoch: 1,
            hub: Some(self.endpoint.hub.clone()),
            user: identity.user.clone(),
        };
        NewConnection {
            id,
            dialect: "aspnetcore",
            transport: Transport::WebSockets.name(),
            hubs: vec![hub],
            has_one_hub: true,
            rejoin_token: request.query(REJOIN_PARAM).filter(|token| *token != NO_TOKEN_YET).map(str::to_owned),
            identity: Arc::new(identity),
            request: Arc::new(request.into_kept()),
            outbox,
            services: Arc::clone(&self.state.services),
            rejoin_service: Arc::clone(&self.state.rejoin_service),
            token_subject,
            held_until_end,
            held_until_channel: Box::new(()),
        }
    }
}

/// A connection whose transport may be opened.
struct AcceptedConnection {
    id: ConnectionId,
    token: Option<OpenToken>,
    early_data: BytesMut,
}

/// The value of [`REJOIN_PARAM`] if the client has no token yet.
const NO_TOKEN_YET: &str = "1";

/// Wire: an empty id counts as missing. The values of a repeated id are joined, so they match no token.
fn token_from_query(request: &Request) -> Option<String> {
    query_value(&request.query, "id")
}
