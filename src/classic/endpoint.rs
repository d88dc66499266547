//! The mount of an endpoint, and what each request below it comes to.
//!
//! | end of the path | |
//! |---|---|
//! | `/negotiate` | offers a connection |
//! | `/connect`, `/reconnect`, `/poll`, anything else | opens a channel |
//! | `/start` | asks for OnConnected |
//! | `/send` | brings a call |
//! | `/abort` | ends the connection |
//! | `/ping` | is answered |
//! | `/hubs`, `/js` | the script of the proxies |
//!
//! Wire: the method of a request is never looked at.

use std::sync::{Arc, Mutex};

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
    query::{BadHubs, EndpointHubs, Operation, Transport, hubs_of, query},
    token::Token,
};
use crate::{
    connection::RejoinService,
    hub::{Hub, Identity, Request, services::HubServices},
    ids::HubName,
    outbox::Limits,
    web::{Authenticate, EndpointGuard, admit, body_of, query_of, request_of, value_of, without_case},
};

mod receive;
mod send;

/// Where hubs are served to clients of SignalR 2.x.
#[derive(Clone)]
pub struct Endpoint {
    path: Arc<str>,
    hubs: Option<Vec<HubName>>,
    guard: Option<EndpointGuard>,
}

impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Endpoint").field("path", &self.path).field("hubs", &self.hubs).finish_non_exhaustive()
    }
}

impl Endpoint {
    /// All hubs at `path`, for everybody; clients expect `/signalr`. Paths compare without case.
    #[must_use]
    pub fn new(path: &str) -> Self {
        Self { path: path.trim_end_matches('/').into(), hubs: None, guard: None }
    }

    /// Serves only these hubs.
    #[must_use]
    pub fn only<'a>(mut self, hubs: impl IntoIterator<Item = &'a HubName>) -> Self {
        self.hubs = Some(hubs.into_iter().cloned().collect());
        self
    }

    /// Serves only those whom `guard` lets pass: others get 401, or 403 if their identity is proven.
    #[must_use]
    pub fn require(mut self, guard: impl Fn(&Identity) -> bool + Send + Sync + 'static) -> Self {
        self.guard = Some(Arc::new(guard));
        self
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// What it serves; every hub if absent.
    pub(crate) fn hubs(&self) -> Option<&[HubName]> {
        self.hubs.as_deref()
    }
}

/// What all endpoints of a process share.
pub(crate) struct EndpointState {
    pub(crate) settings: Arc<Settings>,
    pub(crate) limits: Limits,
    pub(crate) authenticate: Arc<dyn Authenticate>,
    pub(crate) services: Arc<HubServices>,
    pub(crate) rejoin_service: Arc<RejoinService>,
    dismissed: Arc<AbortedConnections>,
    /// Held while a connection is made, so that no two requests make the same.
    making: Mutex<()>,
}

impl EndpointState {
    pub(crate) fn new(
        settings: Settings,
        limits: Limits,
        authenticate: Arc<dyn Authenticate>,
        services: Arc<HubServices>,
        rejoin_service: Arc<RejoinService>,
    ) -> Self {
        // A client gives up its attempts to come back after the timeout, and may have gone as long after its last poll.
        let dismissed = Arc::new(AbortedConnections::new(settings.disconnect_timeout * 2));
        Self {
            settings: Arc::new(settings),
            limits,
            authenticate,
            services,
            rejoin_service,
            dismissed,
            making: Mutex::default(),
        }
    }
}

/// Mounts an endpoint.
pub(crate) fn mount(config: &mut web::ServiceConfig, endpoint: &Endpoint, core: &Arc<EndpointState>) {
    let served = Arc::new(EndpointHandler::new(endpoint, core));
    let path = without_case(endpoint.path.trim_start_matches('/'));
    let resource = web::resource(format!("/{{path:(?i:{path})(?:/.*)?}}"));
    config.service(resource.to(move |request: HttpRequest, payload: Payload| {
        let served = Arc::clone(&served);
        async move { served.serve(request, payload).await }
    }));
}

struct EndpointHandler {
    endpoint: Endpoint,
    hubs: Vec<Arc<Hub>>,
    /// What can be called by requests and over channels that come through here, wherever their connection began.
    callable: Arc<EndpointHubs>,
    core: Arc<EndpointState>,
}

/// A request that is let in, as far as every operation looks at it.
struct ClassicRequest {
    request: HttpRequest,
    described: Arc<Request>,
    identity: Identity,
    /// The hubs that it names.
    hubs: Vec<Arc<Hub>>,
    callback: Option<String>,
}

/// An answer instead of what was asked for.
type ErrorResponse = HttpResponse;

const NOSNIFF: (HeaderName, HeaderValue) = (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));

/// Wire: the reason phrase is all that is said.
const NO_JSONP: &str = "Forbidden: JSONP is disabled.";

const NO_TRANSPORT: &str = "Protocol error: Unknown transport.";
const NO_TOKEN: &str = "Protocol error: Missing connection token.";
const BAD_TOKEN: &str = "The ConnectionId is in the incorrect format.";
const OTHER_USER: &str =
    "Unrecognized user identity.  The user identity cannot change during an active SignalR connection.";

fn refuse(status: StatusCode, text: impl Into<String>) -> ErrorResponse {
    HttpResponse::build(status).body(text.into())
}

impl EndpointHandler {
    fn new(endpoint: &Endpoint, core: &Arc<EndpointState>) -> Self {
        let is_served = |hub: &&Arc<Hub>| endpoint.hubs().is_none_or(|names| names.contains(hub.name()));
        let hubs: Vec<_> = core.services.hubs.iter().filter(is_served).cloned().collect();
        let callable = Arc::new(EndpointHubs::new(hubs.iter().map(|hub| hub.name())));
        Self { endpoint: endpoint.clone(), hubs, callable, core: Arc::clone(core) }
    }

    async fn serve(&self, request: HttpRequest, payload: Payload) -> HttpResponse {
        let described = request_of(&request);
        let callback = query(&described, "callback");
        if callback.is_some() && !self.core.settings.jsonp {
            let mut refusal = HttpResponse::new(StatusCode::FORBIDDEN);
            refusal.head_mut().reason = Some(NO_JSONP);
            return refusal;
        }
        let mut answer = match self.admit(request, described, callback) {
            Ok(asked) => self.answer(asked, payload).await.unwrap_or_else(|refusal| refusal),
            Err(refusal) => refusal,
        };
        if answer.status().is_client_error() || answer.status().is_server_error() {
            self.core.services.metrics.requests_refused.count();
        }
        answer.headers_mut().insert(NOSNIFF.0, NOSNIFF.1);
        answer
    }

    fn admit(
        &self,
        request: HttpRequest,
        described: Request,
        callback: Option<String>,
    ) -> Result<ClassicRequest, ErrorResponse> {
        let identity = admit(&*self.core.authenticate, self.endpoint.guard.as_ref(), &request)?;
        let hubs = hubs_of(query(&described, "connectionData").as_deref(), &self.hubs);
        let hubs = hubs.map_err(|bad| refuse(status_of(&bad, request.path()), bad.to_string()))?;
        Ok(ClassicRequest { request, described: Arc::new(described), identity, hubs, callback })
    }

    async fn answer(&self, asked: ClassicRequest, payload: Payload) -> Result<HttpResponse, ErrorResponse> {
        match Operation::of(asked.request.path()) {
            Operation::Proxies(url) => Ok(self.proxies(&url)),
            Operation::Negotiate(url) => self.negotiate(&asked, &url),
            Operation::Ping => self.ping(&asked),
            Operation::Start => {
                let (_, token) = self.identify(&asked)?;
                self.start(&asked, &token).await
            }
            Operation::Send => {
                let (transport, token) = self.identify(&asked)?;
                self.send(&asked, payload, transport, &token).await
            }
            Operation::Abort => {
                let (_, token) = self.identify(&asked)?;
                Ok(self.abort(&token).await)
            }
            Operation::Receive(arrival) => {
                let (transport, token) = self.identify(&asked)?;
                self.receive(asked, payload, arrival, transport, &token).await
            }
        }
    }

    fn proxies(&self, url: &str) -> HttpResponse {
        let script = match self.core.settings.proxies {
            true => proxy::script(&self.hubs, url),
            false => proxy::DISABLED.to_owned(),
        };
        HttpResponse::Ok().content_type(JAVASCRIPT).body(script)
    }

    /// Wire: a callback that is none is 500 to the original, and clients' tests want nothing below; see
    /// [`status_of`].
    fn ping(&self, asked: &ClassicRequest) -> Result<HttpResponse, ErrorResponse> {
        json(asked, br#"{"Response":"pong"}"#).map_err(|mut refusal| {
            *refusal.status_mut() = StatusCode::NOT_IMPLEMENTED;
            refusal
        })
    }

    fn negotiate(&self, asked: &ClassicRequest, url: &str) -> Result<HttpResponse, ErrorResponse> {
        let token = Token::new(asked.identity.user.as_ref());
        let sealed = token.seal(&self.core.rejoin_service.ring);
        let version = version_of(&asked.described);
        let answer = NegotiateResponse::new(&self.core.settings, url, &token.connection, sealed, &version);
        json(asked, &serde_json::to_vec(&answer).expect("texts and numbers are always JSON"))
    }

    /// Finds out which connection a request is about, and that it is its user's. Wire: in this order.
    fn identify(&self, asked: &ClassicRequest) -> Result<(Transport, Token), ErrorResponse> {
        let refuse = |status, text: &str| refuse(status, text);
        let transport = query(&asked.described, "transport").as_deref().and_then(Transport::named);
        let transport = transport.ok_or_else(|| refuse(StatusCode::BAD_REQUEST, NO_TRANSPORT))?;
        let token = query(&asked.described, "connectionToken");
        let token = token.ok_or_else(|| refuse(StatusCode::BAD_REQUEST, NO_TOKEN))?;
        let token = Token::open(&token, &self.core.rejoin_service.ring);
        let token = token.ok_or_else(|| refuse(StatusCode::BAD_REQUEST, BAD_TOKEN))?;
        match token.is_of(asked.identity.user.as_ref()) {
            true => Ok((transport, token)),
            false => Err(refuse(StatusCode::FORBIDDEN, OTHER_USER)),
        }
    }
}

/// Wire: the original answers 500 to a hub that there is not, and clients' tests want nothing below; so it is
/// named what it is, not implemented. Whoever negotiates is told that it is the request's fault.
fn status_of(bad: &BadHubs, path: &str) -> StatusCode {
    match (bad, Operation::of(path)) {
        (BadHubs::Unknown(_), Operation::Negotiate(_)) => StatusCode::BAD_REQUEST,
        (BadHubs::Unknown(_), _) => StatusCode::NOT_IMPLEMENTED,
        (BadHubs::Unreadable | BadHubs::Twice | BadHubs::TooMany, _) => StatusCode::BAD_REQUEST,
    }
}

const JSON: &str = "application/json; charset=UTF-8";
const JAVASCRIPT: &str = "application/javascript; charset=UTF-8";

/// Everything but the proxies is for this client and this moment alone.
const UNCACHED: (HeaderName, &str) = (header::CACHE_CONTROL, "no-cache, no-store");

fn version_of(request: &Request) -> Version {
    Version::agreed(query(request, "clientProtocol").as_deref())
}

/// The function that a page wants the answer to be passed to.
fn callback_of(asked: &ClassicRequest) -> Result<Option<Callback>, ErrorResponse> {
    let callback = asked.callback.as_deref().map(Callback::parse).transpose();
    callback.map_err(|bad| refuse(StatusCode::BAD_REQUEST, bad.to_string()))
}

fn json(asked: &ClassicRequest, json: &[u8]) -> Result<HttpResponse, ErrorResponse> {
    let mut answer = HttpResponse::Ok();
    answer.insert_header(UNCACHED);
    Ok(match callback_of(asked)? {
        Some(callback) => answer.content_type(JAVASCRIPT).body(callback.wrap(json)),
        None => answer.content_type(JSON).body(json.to_vec()),
    })
}

impl EndpointHandler {
    /// The members of a request's body, which is read as a form whatever it claims to be.
    async fn form(&self, payload: Payload) -> Result<Vec<(String, String)>, ErrorResponse> {
        let body = body_of(payload, self.core.settings.max_form).await;
        let body = body.map_err(|no_body| refuse(no_body.status(), no_body.to_string()))?;
        Ok(query_of(&String::from_utf8_lossy(&body)))
    }
}

/// What a request has under a name: in its query, or else in its form.
fn query_or_form(asked: &ClassicRequest, form: &[(String, String)], name: &str) -> Option<String> {
    query(&asked.described, name).or_else(|| value_of(form, name))
}
