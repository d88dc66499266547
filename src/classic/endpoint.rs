//! The HTTP endpoint: it dispatches requests by the end of their path.
//!
//! | end of the path | operation |
//! |---|---|
//! | `/negotiate` | issue a connection token |
//! | `/connect`, `/reconnect`, `/poll`, any other | open a channel |
//! | `/start` | run OnConnected |
//! | `/send` | invoke a hub method |
//! | `/abort` | end the connection |
//! | `/ping` | respond with `pong` |
//! | `/hubs`, `/js` | get the script of the hub proxies |
//!
//! Wire: the HTTP method of a request is ignored.

use std::{num::NonZeroUsize, sync::Arc};

use actix_web::{
    HttpRequest, HttpResponse,
    http::{
        StatusCode,
        header::{self, HeaderName, HeaderValue},
    },
    web::{self, Payload},
};

use super::{
    Settings,
    aborted::AbortedConnections,
    callback::Callback,
    negotiate::{NegotiateResponse, Version},
    proxy,
    query::{ConnectionDataError, EndpointHubs, Operation, parse_connection_data, query_parameter},
    session::Session,
    token::{ConnectionToken, TokenDigest},
};
use crate::{
    connection::{EndpointServices, Registry},
    connections::{ConnectionLimiter, ConnectionLimits},
    hub::{Authorize, Hub, Identity, Request},
    ids::HubName,
    transport::Transport,
    web::{BasePath, authorize_request, hub_request, limit_response, log_refusal, parse_query, query_value, read_body},
};

mod authorize;
mod connect;
mod receive;
mod send;

/// A path where hubs are served to clients of SignalR 2.x.
#[derive(Clone)]
pub struct Endpoint {
    path: Arc<str>,
    hubs: Option<Vec<HubName>>,
    authorize: Option<Authorize>,
    closes_on_expiry: bool,
}

impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Endpoint").field("path", &self.path).field("hubs", &self.hubs).finish_non_exhaustive()
    }
}

impl Endpoint {
    /// Serves all hubs at `path`, without authorization. Clients expect `/signalr` by default. Paths are compared
    /// without case.
    #[must_use]
    pub fn new(path: &str) -> Self {
        Self { path: path.into(), hubs: None, authorize: None, closes_on_expiry: false }
    }

    /// Serves only these hubs.
    #[must_use]
    pub fn only<'a>(mut self, hubs: impl IntoIterator<Item = &'a HubName>) -> Self {
        self.hubs = Some(hubs.into_iter().cloned().collect());
        self
    }

    /// Serves only identities for which `authorize` returns true. Other requests get status 401, or 403 if their
    /// identity is authenticated.
    #[must_use]
    pub fn require(mut self, authorize: impl Fn(&Identity) -> bool + Send + Sync + 'static) -> Self {
        self.authorize = Some(Arc::new(authorize));
        self
    }

    /// Ends connections when the credentials of their channel expire. Clients try to reconnect, which needs new ones.
    #[must_use]
    pub fn close_on_expiry(mut self) -> Self {
        self.closes_on_expiry = true;
        self
    }

    /// The path of the endpoint.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The hubs that the endpoint serves; `None` means all hubs.
    pub(crate) fn hubs(&self) -> Option<&[HubName]> {
        self.hubs.as_deref()
    }
}

/// The state that all endpoints of a process share.
pub(crate) struct EndpointState {
    pub(crate) settings: Arc<Settings>,
    shared: EndpointServices,
    registry: Registry<TokenDigest, Session>,
    aborted: Arc<AbortedConnections>,
    /// Limits the connections that have had no channel yet.
    without_channel: ConnectionLimiter,
}

/// The maximum numbers of connections that a start or send request has created and that have had no channel yet. Such a
/// connection costs its client no socket. ASP.NET SignalR does not limit them; stock clients open a channel first.
const WITHOUT_CHANNEL: ConnectionLimits =
    ConnectionLimits { total: at_most(256), per_user: None, per_address: Some(at_most(16)) };

const fn at_most(count: usize) -> NonZeroUsize {
    NonZeroUsize::new(count).expect("the limit is not zero")
}

impl EndpointState {
    pub(crate) fn new(settings: Settings, shared: EndpointServices) -> Self {
        // A client stops its attempts to reconnect after the disconnect timeout, and it may take the same time after
        // its last poll until it starts them.
        let aborted = Arc::new(AbortedConnections::new(settings.disconnect_timeout * 2));
        let without_channel = ConnectionLimiter::new(WITHOUT_CHANNEL, Arc::clone(&shared.services.metrics));
        Self { settings: Arc::new(settings), shared, registry: Registry::new(), aborted, without_channel }
    }
}

/// Mounts an endpoint.
pub(crate) fn mount(
    config: &mut web::ServiceConfig,
    endpoint: &Endpoint,
    base_path: &BasePath,
    state: &Arc<EndpointState>,
) {
    let handler = Arc::new(EndpointHandler::new(endpoint, base_path, state));
    let path = base_path.optional_pattern(&endpoint.path);
    let resource = web::resource(format!("/{{path:(?i:{path})(?:/.*)?}}"));
    config.service(resource.to(move |request: HttpRequest, payload: Payload| {
        let handler = Arc::clone(&handler);
        async move { log_refusal(&request, handler.handle(request.clone(), payload).await) }
    }));
}

struct EndpointHandler {
    endpoint: Endpoint,
    base_path: BasePath,
    hubs: Vec<Arc<Hub>>,
    /// The hubs that requests and channels of this endpoint can call, even if another endpoint created the connection.
    endpoint_hubs: Arc<EndpointHubs>,
    state: Arc<EndpointState>,
}

/// An authorized request, with the parts that every operation needs.
struct ClassicRequest {
    http: HttpRequest,
    info: Request,
    /// What hubs can see of it.
    kept: Arc<Request>,
    identity: Identity,
    /// The hubs in its `connectionData`.
    hubs: Vec<Arc<Hub>>,
    callback: Option<String>,
}

/// A response that reports an error.
type ErrorResponse = HttpResponse;

const NOSNIFF: (HeaderName, HeaderValue) = (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));

/// Wire: the text is sent as the reason phrase; the body is empty.
const JSONP_DISABLED: &str = "Forbidden: JSONP is disabled.";

const UNKNOWN_TRANSPORT: &str = "Protocol error: Unknown transport.";
const MISSING_CONNECTION_TOKEN: &str = "Protocol error: Missing connection token.";
const INVALID_CONNECTION_TOKEN: &str = "The ConnectionId is in the incorrect format.";
const USER_CHANGED: &str =
    "Unrecognized user identity.  The user identity cannot change during an active SignalR connection.";

fn error_response(status: StatusCode, text: impl Into<String>) -> ErrorResponse {
    HttpResponse::build(status).body(text.into())
}

impl EndpointHandler {
    fn new(endpoint: &Endpoint, base_path: &BasePath, state: &Arc<EndpointState>) -> Self {
        let is_served = |hub: &&Arc<Hub>| endpoint.hubs().is_none_or(|names| names.contains(hub.name()));
        let hubs: Vec<_> = state.shared.services.hubs.iter().filter(is_served).cloned().collect();
        let endpoint_hubs = Arc::new(EndpointHubs::new(hubs.iter().map(|hub| hub.name())));
        let (endpoint, base_path, state) = (endpoint.clone(), base_path.clone(), Arc::clone(state));
        Self { endpoint, base_path, hubs, endpoint_hubs, state }
    }

    async fn handle(&self, request: HttpRequest, payload: Payload) -> HttpResponse {
        let info = hub_request(&request);
        let callback = query_parameter(&info, "callback");
        if callback.is_some() && !self.state.settings.jsonp {
            let mut error = HttpResponse::new(StatusCode::FORBIDDEN);
            error.head_mut().reason = Some(JSONP_DISABLED);
            return error;
        }
        let mut response = match self.parse_request(request, info, callback) {
            Ok(request) => self.authorize_and_dispatch(request, payload).await.unwrap_or_else(|error| error),
            Err(error) => error,
        };
        if response.status().is_client_error() || response.status().is_server_error() {
            self.state.shared.services.metrics.requests_refused.increment();
        }
        response.headers_mut().insert(NOSNIFF.0, NOSNIFF.1);
        response
    }

    fn parse_request(
        &self,
        http: HttpRequest,
        info: Request,
        callback: Option<String>,
    ) -> Result<ClassicRequest, ErrorResponse> {
        let identity = authorize_request(&*self.state.shared.authenticate, self.endpoint.authorize.as_ref(), &http)?;
        let hubs = parse_connection_data(query_parameter(&info, "connectionData").as_deref(), &self.hubs);
        let hubs = hubs.map_err(|error| error_response(hubs_error_status(&error, http.path()), error.to_string()))?;
        let kept = Arc::new(info.clone().into_kept());
        Ok(ClassicRequest { http, info, kept, identity, hubs, callback })
    }

    async fn dispatch(&self, request: ClassicRequest, payload: Payload) -> Result<HttpResponse, ErrorResponse> {
        match Operation::from_path(request.http.path()) {
            Operation::Proxies(path) => Ok(self.proxies(&self.base_path.public_path(&request.http, &path))),
            Operation::Negotiate(path) => self.negotiate(&request, &self.base_path.public_path(&request.http, &path)),
            Operation::Ping => self.ping(&request),
            Operation::Start => {
                let (transport, token) = self.identify(&request)?;
                self.start(&request, transport, &token).await
            }
            Operation::Send => {
                let (transport, token) = self.identify(&request)?;
                self.send(&request, payload, transport, &token).await
            }
            Operation::Abort => {
                let (_, token) = self.identify(&request)?;
                Ok(self.abort(&token).await)
            }
            Operation::OpenChannel(connect_kind) => {
                let (transport, token) = self.parse_target(&request)?;
                self.open_channel(request, payload, connect_kind, transport, &token).await
            }
        }
    }

    fn proxies(&self, url: &str) -> HttpResponse {
        let script = match self.state.settings.proxies {
            true => proxy::script(&self.hubs, url),
            false => proxy::DISABLED_SCRIPT.to_owned(),
        };
        HttpResponse::Ok().content_type(JAVASCRIPT).body(script)
    }

    /// Wire: ASP.NET SignalR answers an invalid callback with status 500, and the tests of its clients expect at least
    /// that. As in [`hubs_error_status`], the status is 501.
    fn ping(&self, request: &ClassicRequest) -> Result<HttpResponse, ErrorResponse> {
        json_response(request, br#"{"Response":"pong"}"#).map_err(|mut error| {
            *error.status_mut() = StatusCode::NOT_IMPLEMENTED;
            error
        })
    }

    fn negotiate(&self, request: &ClassicRequest, url: &str) -> Result<HttpResponse, ErrorResponse> {
        let limiter = &self.state.shared.services.limiter;
        limiter.check(request.identity.user.as_ref(), request.info.address()).map_err(limit_response)?;
        let ring = self.state.shared.rejoin_service.ring.current();
        let (connection, token) = ConnectionToken::issue(request.identity.user.as_ref(), &ring);
        let version = protocol_version(&request.info);
        let response = NegotiateResponse::new(&self.state.settings, url, &connection, token, &version);
        json_response(request, &serde_json::to_vec(&response).expect("strings and numbers always serialize"))
    }

    /// Determines the transport and the connection of a request, and checks that the connection belongs to its user.
    fn identify(&self, request: &ClassicRequest) -> Result<(Transport, ConnectionToken), ErrorResponse> {
        let (transport, token) = self.parse_target(request)?;
        check_user(request, &token)?;
        Ok((transport, token))
    }

    /// Reads the transport and the connection of a request. Wire: the checks are in this order.
    fn parse_target(&self, request: &ClassicRequest) -> Result<(Transport, ConnectionToken), ErrorResponse> {
        let bad_request = |text: &str| error_response(StatusCode::BAD_REQUEST, text);
        let transport = query_parameter(&request.info, "transport").as_deref().and_then(Transport::from_classic_name);
        let transport = transport.ok_or_else(|| bad_request(UNKNOWN_TRANSPORT))?;
        let token = query_parameter(&request.info, "connectionToken");
        let token = token.ok_or_else(|| bad_request(MISSING_CONNECTION_TOKEN))?;
        Ok((transport, self.verified(&token).ok_or_else(|| bad_request(INVALID_CONNECTION_TOKEN))?))
    }

    /// Verifies a token. That of a live connection is valid even if the key that signed it was removed.
    fn verified(&self, text: &str) -> Option<ConnectionToken> {
        let live = ConnectionToken::unverified(text).filter(|token| self.state.registry.find(&token.digest).is_some());
        live.or_else(|| ConnectionToken::open(text, &self.state.shared.rejoin_service.ring.current()))
    }
}

fn check_user(request: &ClassicRequest, token: &ConnectionToken) -> Result<(), ErrorResponse> {
    match token.belongs_to(request.identity.user.as_ref()) {
        true => Ok(()),
        false => Err(error_response(StatusCode::FORBIDDEN, USER_CHANGED)),
    }
}

/// Wire: ASP.NET SignalR answers an unknown hub with status 500, and the tests of its clients expect at least that. The
/// status is 501, since the hub is not implemented. For `/negotiate` the status is 400.
fn hubs_error_status(error: &ConnectionDataError, path: &str) -> StatusCode {
    match (error, Operation::from_path(path)) {
        (ConnectionDataError::Unknown(_), Operation::Negotiate(_)) => StatusCode::BAD_REQUEST,
        (ConnectionDataError::Unknown(_), _) => StatusCode::NOT_IMPLEMENTED,
        (ConnectionDataError::Malformed | ConnectionDataError::Duplicate | ConnectionDataError::TooMany, _) => {
            StatusCode::BAD_REQUEST
        }
    }
}

const JSON: &str = "application/json; charset=UTF-8";
const JAVASCRIPT: &str = "application/javascript; charset=UTF-8";

/// Every response except the hub proxies is valid for one client and one request only.
const NO_CACHE: (HeaderName, &str) = (header::CACHE_CONTROL, "no-cache, no-store");

fn protocol_version(request: &Request) -> Version {
    Version::negotiate(query_parameter(request, "clientProtocol").as_deref())
}

/// Parses the name of the JSONP callback, if the request has one.
fn parse_callback(request: &ClassicRequest) -> Result<Option<Callback>, ErrorResponse> {
    let callback = request.callback.as_deref().map(Callback::parse).transpose();
    callback.map_err(|error| error_response(StatusCode::BAD_REQUEST, error.to_string()))
}

fn json_response(request: &ClassicRequest, json: &[u8]) -> Result<HttpResponse, ErrorResponse> {
    let mut response = HttpResponse::Ok();
    response.insert_header(NO_CACHE);
    Ok(match parse_callback(request)? {
        Some(callback) => response.content_type(JAVASCRIPT).body(callback.wrap(json)),
        None => response.content_type(JSON).body(json.to_vec()),
    })
}

impl EndpointHandler {
    /// Reads the body of a request as a form, and ignores its content type.
    async fn read_form(&self, payload: Payload) -> Result<Vec<(String, String)>, ErrorResponse> {
        let body = read_body(payload, self.state.settings.max_form).await;
        let body = body.map_err(|error| error_response(error.status(), error.to_string()))?;
        Ok(parse_query(&String::from_utf8_lossy(&body)))
    }
}

/// The value of a parameter in the query of a request, or else in its form.
fn query_or_form(request: &ClassicRequest, form: &[(String, String)], name: &str) -> Option<String> {
    query_parameter(&request.info, name).or_else(|| query_value(form, name))
}
