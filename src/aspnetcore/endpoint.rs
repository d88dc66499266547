//! The two routes of an endpoint, and what each request on them comes to.
//!
//! | route | method | |
//! |---|---|---|
//! | `P/negotiate` | POST | offers a connection |
//! | `P` | GET | opens a WebSocket |
//! | `P` | POST | is kept until a transport comes; refused on a WebSocket's connection |
//! | `P` | DELETE | is for transports that are not offered |

use std::sync::Arc;

use actix_web::{
    HttpRequest, Resource,
    web::{self, Payload},
};

use super::{Settings, negotiations::Negotiations};
use crate::{
    connection::RejoinService,
    hub::{Identity, services::HubServices},
    ids::HubName,
    outbox::Limits,
    web::{Authenticate, EndpointGuard, without_case},
};

mod kind;
mod serve;

/// Where a hub is served to clients of ASP.NET Core SignalR.
#[derive(Clone)]
pub struct Endpoint {
    path: Arc<str>,
    hub: HubName,
    minimum_version: i32,
    accepts_websockets: bool,
    state: Option<EndpointGuard>,
    closes_on_expiry: bool,
}

impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Endpoint").field("path", &self.path).field("hub", &self.hub).finish_non_exhaustive()
    }
}

impl Endpoint {
    /// The hub of that name at `path`, for everybody. Paths compare without case.
    #[must_use]
    pub fn new(path: &str, hub: &HubName) -> Self {
        Self {
            path: path.trim_end_matches('/').into(),
            hub: hub.clone(),
            minimum_version: 0,
            accepts_websockets: true,
            state: None,
            closes_on_expiry: false,
        }
    }

    /// Refuses negotiations in an older version; see the wire's `negotiateVersion`. Default 0.
    #[must_use]
    pub fn minimum_version(mut self, version: i32) -> Self {
        self.minimum_version = version;
        self
    }

    /// Offers no WebSockets, and thus, as long as there is no other transport, nothing.
    #[must_use]
    pub fn without_websockets(mut self) -> Self {
        self.accepts_websockets = false;
        self
    }

    /// Serves only those whom `state` lets pass: others get 401, or 403 if their identity is proven.
    #[must_use]
    pub fn require(mut self, state: impl Fn(&Identity) -> bool + Send + Sync + 'static) -> Self {
        self.state = Some(Arc::new(state));
        self
    }

    /// Ends connections whose proof of identity runs out; their clients may come back with a new one.
    #[must_use]
    pub fn close_on_expiry(mut self) -> Self {
        self.closes_on_expiry = true;
        self
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// What it serves.
    #[must_use]
    pub fn hub(&self) -> &HubName {
        &self.hub
    }
}

/// What all endpoints of a process share.
pub(crate) struct EndpointState {
    pub(crate) settings: Arc<Settings>,
    pub(crate) limits: Limits,
    pub(crate) negotiations: Negotiations,
    pub(crate) authenticate: Arc<dyn Authenticate>,
    pub(crate) services: Arc<HubServices>,
    pub(crate) rejoin_service: Arc<RejoinService>,
}

impl EndpointState {
    pub(crate) fn new(
        settings: Settings,
        limits: Limits,
        authenticate: Arc<dyn Authenticate>,
        services: Arc<HubServices>,
        rejoin_service: Arc<RejoinService>,
    ) -> Self {
        let negotiations = Negotiations::new(settings.disconnect_timeout);
        Self { settings: Arc::new(settings), limits, negotiations, authenticate, services, rejoin_service }
    }
}

/// Mounts an endpoint.
pub(crate) fn mount(config: &mut web::ServiceConfig, endpoint: &Endpoint, core: &Arc<EndpointState>) {
    let served = Arc::new(EndpointHandler { endpoint: endpoint.clone(), core: Arc::clone(core) });
    let path = without_case(&endpoint.path);
    let (opening, negotiating) = (Arc::clone(&served), served);
    config.service(resource(&format!("{path}/negotiate")).to(move |request: HttpRequest| {
        let answer = negotiating.negotiate(&request);
        async move { answer }
    }));
    config.service(resource(&path).to(move |request: HttpRequest, payload: Payload| {
        let served = Arc::clone(&opening);
        async move { served.transport(request, payload).await }
    }));
}

/// Wire: the original finds its endpoints in any case, and with a slash behind them.
fn resource(pattern: &str) -> Resource {
    web::resource(format!("/{{path:(?i:{})/?}}", pattern.trim_start_matches('/')))
}

struct EndpointHandler {
    endpoint: Endpoint,
    core: Arc<EndpointState>,
}
