//! The two routes of an endpoint at path `P`:
//!
//! | route | method | effect |
//! |---|---|---|
//! | `P/negotiate` | POST | issues a connection id and token |
//! | `P` | GET | opens a WebSocket or an event stream, or polls |
//! | `P` | POST | carries data of a client with an event stream or polls |
//! | `P` | DELETE | ends the connection of a client that polls |

use std::sync::Arc;

use actix_web::{
    HttpRequest, Resource,
    web::{self, Payload},
};

use super::{
    Redirect, Settings,
    negotiations::{Negotiations, TokenBytes},
    session::Session,
};
use crate::{
    connection::{EndpointServices, Registry},
    hub::{Authorize, Identity, Request},
    ids::HubName,
    transport::Transport,
    web::{BasePath, log_refusal},
};

mod connect;
mod open;
mod post;
mod responses;
mod serve;

/// A path at which ASP.NET Core SignalR clients reach a hub.
#[derive(Clone)]
pub struct Endpoint {
    path: Arc<str>,
    hub: HubName,
    minimum_version: i32,
    transports: Vec<Transport>,
    authorize: Option<Authorize>,
    closes_on_expiry: bool,
    allows_stateful_reconnects: bool,
    redirect: Option<RedirectFn>,
    is_raw: bool,
}

type RedirectFn = Arc<dyn Fn(&Request, &Identity) -> Option<Redirect> + Send + Sync>;

impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Endpoint").field("path", &self.path).field("hub", &self.hub).finish_non_exhaustive()
    }
}

impl Endpoint {
    /// Serves the hub with this name at `path`, such as `/chat`, without authorization. Requests match without case and with
    /// or without a `/` at the end.
    #[must_use]
    pub fn new(path: &str, hub: &HubName) -> Self {
        Self {
            path: path.into(),
            hub: hub.clone(),
            minimum_version: 0,
            transports: Transport::ASPNETCORE.into(),
            authorize: None,
            closes_on_expiry: false,
            allows_stateful_reconnects: false,
            redirect: None,
            is_raw: false,
        }
    }

    /// Rejects negotiations that request an older version (`negotiateVersion` on the wire). Default 0.
    #[must_use]
    pub fn minimum_version(mut self, version: i32) -> Self {
        self.minimum_version = version;
        self
    }

    /// Offers only these transports. Default: WebSockets, Server-Sent Events and long polling, which clients try in this
    /// order. A forever frame is ignored, because only SignalR 2.x has it.
    #[must_use]
    pub fn transports(mut self, transports: &[Transport]) -> Self {
        self.transports.retain(|transport| transports.contains(transport));
        self
    }

    /// Serves only identities for which `authorize` returns true. Other requests get status 403 if they are
    /// authenticated and 401 otherwise.
    #[must_use]
    pub fn require(mut self, authorize: impl Fn(&Identity) -> bool + Send + Sync + 'static) -> Self {
        self.authorize = Some(Arc::new(authorize));
        self
    }

    /// Ends connections when their credentials expire. The Close message allows clients to reconnect with new ones.
    #[must_use]
    pub fn close_on_expiry(mut self) -> Self {
        self.closes_on_expiry = true;
        self
    }

    /// Lets clients that ask for it resume a connection with a new WebSocket, within the disconnect timeout and without
    /// losing messages. Default off, because each such connection keeps the messages that its client has not acknowledged,
    /// up to the limits of its outbox.
    #[must_use]
    pub fn allow_stateful_reconnects(mut self) -> Self {
        self.allows_stateful_reconnects = true;
        self
    }

    /// Redirects clients that negotiate to another endpoint, if `redirect` returns one. It sees only requests that are
    /// authenticated and authorized. A client that reconnects asks this endpoint again. Clients that skip the
    /// negotiation are not redirected.
    #[must_use]
    pub fn redirect(
        mut self,
        redirect: impl Fn(&Request, &Identity) -> Option<Redirect> + Send + Sync + 'static,
    ) -> Self {
        self.redirect = Some(Arc::new(redirect));
        self
    }

    /// Exchanges plain bytes with clients, without a handshake and without hub messages. The bytes that arrive at a time
    /// invoke the hub method `Receive` with one argument, a [`Binary`](crate::Binary). A `Binary` or a text that the
    /// method returns, or that the hub sends as the only argument of an invocation, is sent to the client as it is.
    #[must_use]
    pub fn raw(mut self) -> Self {
        self.is_raw = true;
        self
    }

    /// The path.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The name of the hub.
    #[must_use]
    pub fn hub(&self) -> &HubName {
        &self.hub
    }
}

/// The key of a live connection: the path of its endpoint, and its token.
type RegistryKey = (Arc<str>, TokenBytes);

/// The state that all endpoints of a process share.
pub(crate) struct EndpointState {
    pub(crate) settings: Arc<Settings>,
    pub(crate) negotiations: Negotiations,
    registry: Registry<RegistryKey, Session>,
    shared: EndpointServices,
}

impl EndpointState {
    pub(crate) fn new(settings: Settings, shared: EndpointServices) -> Self {
        let negotiations = Negotiations::new(shared.rejoin_service.ring.clone(), settings.disconnect_timeout);
        Self { settings: Arc::new(settings), negotiations, registry: Registry::new(), shared }
    }
}

/// Adds the routes of an endpoint to an actix-web application.
pub(crate) fn mount(
    config: &mut web::ServiceConfig,
    endpoint: &Endpoint,
    base_path: &BasePath,
    state: &Arc<EndpointState>,
) {
    let handler = Arc::new(EndpointHandler { endpoint: endpoint.clone(), state: Arc::clone(state) });
    let path = base_path.optional_pattern(&endpoint.path);
    let (for_transport, for_negotiate) = (Arc::clone(&handler), handler);
    config.service(resource(&format!("{path}/negotiate")).to(move |request: HttpRequest| {
        let handler = Arc::clone(&for_negotiate);
        async move { log_refusal(&request, handler.negotiate(&request).await) }
    }));
    config.service(resource(&path).to(move |request: HttpRequest, payload: Payload| {
        let handler = Arc::clone(&for_transport);
        async move { log_refusal(&request, handler.transport(&request, payload).await) }
    }));
}

/// Wire: paths match case-insensitively and with an optional trailing slash.
fn resource(pattern: &str) -> Resource {
    web::resource(format!("/{{path:(?i:{pattern})/?}}"))
}

struct EndpointHandler {
    endpoint: Endpoint,
    state: Arc<EndpointState>,
}
