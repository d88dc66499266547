//! What each request comes to.

use std::{
    sync::Arc,
    time::{Instant as StdInstant, SystemTime},
};

use actix_web::{
    HttpRequest, HttpResponse,
    http::{Method, StatusCode, header},
    web::Payload,
};
use bytes::BytesMut;
use tokio::time::Instant;

use super::{
    EndpointHandler,
    kind::{Kind, WEBSOCKETS, plain},
};
use crate::{
    aspnetcore::{
        HubFramer, json,
        negotiate::{NegotiateResponse, version},
        negotiations::{AHEAD, Pending, TokenStatus},
        session::{Session, SessionConfig},
    },
    connection::{Connection, NewConnection},
    hub::{Hub, Identity, Request},
    outbox::{ChannelFilter, Outbox, ReplayLimits, Resume},
    pipeline::TokenSubject,
    transport::{
        FrameType, Inbound, Received, SocketHandle,
        websocket::{self, ReadMode},
    },
    web::{admit, body_of, request_of, value_of},
};

const NO_ID: &str = "Connection ID required";
const NO_CONNECTION: &str = "No Connection with that ID";
const OTHER_TRANSPORT: &str = "Cannot change transports mid-connection";
const NO_POST: &str = "POST requests are not allowed for WebSocket connections.";
const NO_DELETE: &str = "Cannot terminate this connection using the DELETE endpoint.";

impl EndpointHandler {
    /// Answers who it is, or that it may not.
    fn identify(&self, request: &HttpRequest) -> Result<Identity, HttpResponse> {
        let admitted = admit(&*self.core.authenticate, self.endpoint.state.as_ref(), request);
        admitted.inspect_err(|_| self.core.services.metrics.requests_refused.count())
    }

    pub(super) fn negotiate(&self, request: &HttpRequest) -> HttpResponse {
        if let Err(refused) = self.identify(request) {
            return refused;
        }
        if request.method() != Method::POST {
            return plain(StatusCode::METHOD_NOT_ALLOWED, "");
        }
        match version(&request_of(request), self.endpoint.minimum_version) {
            Ok(version) => self.offer(version),
            Err(refusal) => HttpResponse::Ok().json(refusal),
        }
    }

    fn offer(&self, version: i32) -> HttpResponse {
        if !self.endpoint.accepts_websockets {
            return HttpResponse::Ok().json(serde_json::json!({ "error": "This endpoint offers no transport." }));
        }
        let answer = NegotiateResponse::new(version);
        let pending =
            Pending { id: answer.id().clone(), path: Arc::clone(&self.endpoint.path), ahead: BytesMut::new() };
        match self.core.negotiations.issue(answer.token(), pending, Instant::now()) {
            Ok(()) => HttpResponse::Ok().json(answer),
            Err(_) => HttpResponse::ServiceUnavailable().insert_header((header::RETRY_AFTER, "15")).finish(),
        }
    }

    pub(super) async fn transport(&self, request: HttpRequest, payload: Payload) -> HttpResponse {
        let identity = match self.identify(&request) {
            Ok(identity) => identity,
            Err(refused) => return refused,
        };
        let described = request_of(&request);
        let token = token_of(&described);
        match *request.method() {
            Method::GET => self.get(&request, payload, described, token, identity),
            Method::POST => self.post(payload, token).await,
            Method::DELETE => self.delete(token),
            _ => plain(StatusCode::METHOD_NOT_ALLOWED, ""),
        }
    }

    fn find(&self, token: &str) -> TokenStatus {
        self.core.negotiations.find(token, &self.endpoint.path, Instant::now())
    }

    fn get(
        &self,
        request: &HttpRequest,
        payload: Payload,
        described: Request,
        token: Option<String>,
        identity: Identity,
    ) -> HttpResponse {
        let kind = Kind::of(request);
        let found = match (&token, kind) {
            (None, Kind::WebSockets) => TokenStatus::Pending,
            (None, _) => return kind.refuse(StatusCode::BAD_REQUEST, NO_ID),
            (Some(token), _) => self.find(token),
        };
        let is_offered = kind == Kind::WebSockets && self.endpoint.accepts_websockets;
        match found {
            TokenStatus::Nothing if kind == Kind::WebSockets => HttpResponse::NotFound().body(NO_CONNECTION),
            TokenStatus::Nothing => kind.refuse(StatusCode::NOT_FOUND, NO_CONNECTION),
            TokenStatus::Open if kind == Kind::WebSockets => kind.refuse(StatusCode::CONFLICT, ""),
            TokenStatus::Open if self.endpoint.accepts_websockets => {
                kind.refuse(StatusCode::BAD_REQUEST, OTHER_TRANSPORT)
            }
            TokenStatus::Open | TokenStatus::Pending if !is_offered => {
                let text = format!("{} transport not supported by this end point type", kind.name());
                kind.refuse(StatusCode::NOT_FOUND, text)
            }
            TokenStatus::Open | TokenStatus::Pending => self.open(request, payload, described, token, identity),
        }
    }

    async fn post(&self, payload: Payload, token: Option<String>) -> HttpResponse {
        let Some(token) = token else { return plain(StatusCode::BAD_REQUEST, NO_ID) };
        match self.find(&token) {
            TokenStatus::Nothing => plain(StatusCode::NOT_FOUND, NO_CONNECTION),
            TokenStatus::Open => plain(StatusCode::METHOD_NOT_ALLOWED, NO_POST),
            TokenStatus::Pending => match body_of(payload, AHEAD).await {
                Ok(bytes) if self.core.negotiations.keep(&token, &bytes) => plain(StatusCode::OK, ""),
                Ok(_) => plain(StatusCode::PAYLOAD_TOO_LARGE, ""),
                Err(no_body) => plain(no_body.status(), ""),
            },
        }
    }

    fn delete(&self, token: Option<String>) -> HttpResponse {
        let Some(token) = token else { return plain(StatusCode::BAD_REQUEST, NO_ID) };
        match self.find(&token) {
            TokenStatus::Nothing => plain(StatusCode::NOT_FOUND, NO_CONNECTION),
            TokenStatus::Open | TokenStatus::Pending => plain(StatusCode::BAD_REQUEST, NO_DELETE),
        }
    }

    /// Opens a WebSocket, for a negotiated connection or a fresh one.
    fn open(
        &self,
        request: &HttpRequest,
        payload: Payload,
        described: Request,
        token: Option<String>,
        identity: Identity,
    ) -> HttpResponse {
        let core = &*self.core;
        let outbox = Outbox::new(&json::FORM, core.limits, ReplayLimits::default());
        let Some(pending) = self.take(token, &outbox) else {
            return Kind::WebSockets.refuse(StatusCode::CONFLICT, "");
        };
        let Some(hub) = self.hub() else { return HttpResponse::NotFound().finish() };
        let (feed, _) =
            outbox.attach(Resume::Waiting, ChannelFilter::default(), Arc::new(HubFramer(FrameType::WebSocketText)));
        let session = Session::new(self.opened(&hub, &described, &identity), Instant::now());
        let opening = self.opening(&pending, hub, described, identity, outbox);
        let connection = Connection::open(opening, request.conn_data::<SocketHandle>().cloned(), session);
        if !pending.ahead.is_empty() {
            let ahead = Received { channel: feed.channel(), data: Inbound::Binary(pending.ahead.freeze()) };
            // The mailbox of an actor that has just been started is empty.
            let _ = connection.try_send(ahead);
        }
        // Wire: messages end at their separators, wherever frames do; the session knows how long they may be.
        websocket::accept(request, payload, feed, connection.recipient(), ReadMode::Bytes)
            .unwrap_or_else(HttpResponse::from_error)
    }

    fn take(&self, token: Option<String>, outbox: &Arc<Outbox>) -> Option<Pending> {
        let negotiations = &self.core.negotiations;
        match token {
            Some(token) => negotiations.open(&token, outbox),
            None => {
                // Wire: without negotiation the id serves as the token, as in version 0.
                let answer = NegotiateResponse::new(0);
                negotiations.enter(answer.token(), outbox, Instant::now());
                Some(Pending { id: answer.id().clone(), path: Arc::clone(&self.endpoint.path), ahead: BytesMut::new() })
            }
        }
    }

    fn hub(&self) -> Option<Arc<Hub>> {
        self.core.services.hub(&self.endpoint.hub).cloned()
    }

    fn opened(&self, hub: &Arc<Hub>, request: &Request, identity: &Identity) -> SessionConfig {
        let expires = identity.expires.filter(|_| self.endpoint.closes_on_expiry);
        SessionConfig {
            settings: Arc::clone(&self.core.settings),
            hub: Arc::clone(hub),
            wants_tokens: request.query(REJOIN).is_some(),
            token_lifetime: self.core.rejoin_service.settings.lifetime,
            expires: expires.and_then(instant_of),
        }
    }

    fn opening(
        &self,
        pending: &Pending,
        hub: Arc<Hub>,
        request: Request,
        identity: Identity,
        outbox: Arc<Outbox>,
    ) -> NewConnection {
        let bearer = TokenSubject {
            family: crate::ids::secret(),
            epoch: 1,
            hub: Some(self.endpoint.hub.clone()),
            user: identity.user.clone(),
        };
        NewConnection {
            id: pending.id.clone(),
            dialect: "aspnetcore",
            transport: WEBSOCKETS,
            hubs: vec![hub],
            has_one_hub: true,
            claim: request.query(REJOIN).filter(|claim| *claim != NO_CLAIM).map(str::to_owned),
            identity: Arc::new(identity),
            request: Arc::new(request),
            outbox,
            services: Arc::clone(&self.core.services),
            rejoin_service: Arc::clone(&self.core.rejoin_service),
            bearer,
        }
    }
}

/// The member of a query by which a client asks for rejoin tokens, and brings one back.
const REJOIN: &str = "rejoin";

/// The value of a client that has none to bring back yet.
const NO_CLAIM: &str = "1";

/// Wire: an empty id is none, and one that is given twice is not known.
fn token_of(request: &Request) -> Option<String> {
    value_of(&request.query, "id")
}

/// The moment of a point in calendar time, as near as the two clocks allow; `None` if no clock ever reaches it.
fn instant_of(time: SystemTime) -> Option<Instant> {
    let left = time.duration_since(SystemTime::now()).unwrap_or_default();
    Instant::from_std(StdInstant::now()).checked_add(left)
}
