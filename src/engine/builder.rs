//! The builder of the engine: its options, their checks, and the order in which the actors start.

use std::{num::NonZeroUsize, sync::Arc, time::Duration};

use actix::prelude::*;
use log::warn;

use super::{BuildError, BuildFault, Engine, checks, node_info::NodeInfo, paths};
use crate::{
    aspnetcore::{self, Endpoint},
    classic,
    connection::{EndpointServices, RejoinSettings},
    connections::{ConnectionLimiter, ConnectionLimits, Connections},
    groups::GroupDirectory,
    hub::{
        Hub,
        filters::{FilterOptions, HubFilter, Registration, create_chains},
        presence::{DEFAULT_WINDOW, Presence, PresenceSettings},
        services::{Drain, DurableGroups, HubServices},
    },
    membership::NodeClaim,
    metrics::Metrics,
    outbox::Limits,
    router::Router,
    store::{Process, StoreHandle, StoreParts, memory::MemoryStore},
    tokens::{KeyRing, SharedKeyRing},
    web::{Anonymous, Authenticate, BasePath},
};

mod start;
mod stores;

use start::{MembershipOptions, start_membership, start_reconciler, start_rejoin_service};
pub(crate) use stores::DEFAULT_RECONCILE_INTERVAL;
use stores::DEFAULT_STORE_DEADLINE;

/// The default of [`EngineBuilder::durable_change_rate`].
pub(crate) const DEFAULT_DURABLE_RATE: NonZeroUsize = NonZeroUsize::new(100).expect("100 is not zero");

/// A builder of an [`Engine`]. Every option except the hubs has a working default.
///
/// ```no_run
/// use hubcast::{Engine, Hub};
///
/// # #[actix_web::main] async fn main() -> Result<(), hubcast::BuildError> {
/// let engine = Engine::builder().hub("/chat", Hub::new("chat")).build()?;
/// # Ok(()) }
/// ```
pub struct EngineBuilder {
    hubs: Vec<Hub>,
    aspnetcore_endpoints: Vec<Endpoint>,
    classic_endpoints: Vec<classic::Endpoint>,
    base_path: String,
    store: StoreParts,
    filters: Vec<Registration>,
    key_ring: Option<KeyRing>,
    authenticate: Arc<dyn Authenticate>,
    aspnetcore: aspnetcore::Settings,
    classic: classic::Settings,
    rejoin: RejoinSettings,
    limits: Limits,
    connection_limits: ConnectionLimits,
    durable_rate: Option<NonZeroUsize>,
    presence_window: Duration,
    node: String,
    process: Process,
    shards: usize,
    store_deadline: Duration,
    reconcile_interval: Option<Duration>,
}

impl std::fmt::Debug for EngineBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EngineBuilder")
            .field("hubs", &self.hubs)
            .field("endpoints", &self.aspnetcore_endpoints)
            .finish_non_exhaustive()
    }
}

impl EngineBuilder {
    pub(super) fn new() -> Self {
        Self {
            hubs: Vec::new(),
            aspnetcore_endpoints: Vec::new(),
            classic_endpoints: Vec::new(),
            base_path: String::new(),
            store: StoreParts::of(Arc::new(MemoryStore::default())),
            filters: Vec::new(),
            key_ring: None,
            authenticate: Arc::new(Anonymous),
            aspnetcore: aspnetcore::Settings::default(),
            classic: classic::Settings::default(),
            rejoin: RejoinSettings::default(),
            limits: Limits::default(),
            connection_limits: ConnectionLimits::default(),
            durable_rate: Some(DEFAULT_DURABLE_RATE),
            presence_window: DEFAULT_WINDOW,
            node: "hubcast".into(),
            process: Process::current(),
            shards: std::thread::available_parallelism().map_or(1, usize::from),
            store_deadline: DEFAULT_STORE_DEADLINE,
            reconcile_interval: Some(DEFAULT_RECONCILE_INTERVAL),
        }
    }

    /// Serves a hub to clients of ASP.NET Core SignalR at `path`, such as `/chat`.
    #[must_use]
    pub fn hub(self, path: &str, hub: Hub) -> Self {
        let endpoint = Endpoint::new(path, hub.name());
        self.hub_only(hub).aspnetcore_endpoint(endpoint)
    }

    /// Adds a hub without an endpoint for clients of ASP.NET Core SignalR. Classic endpoints still serve it.
    #[must_use]
    pub fn hub_only(mut self, hub: Hub) -> Self {
        self.hubs.push(hub);
        self
    }

    /// Adds an endpoint with its own options for clients of ASP.NET Core SignalR. Add its hub separately, with
    /// [`EngineBuilder::hub`] or [`EngineBuilder::hub_only`].
    #[must_use]
    pub fn aspnetcore_endpoint(mut self, endpoint: Endpoint) -> Self {
        self.aspnetcore_endpoints.push(endpoint);
        self
    }

    /// Serves all hubs to clients of SignalR 2.x below `path`. Clients use `/signalr` by default.
    #[must_use]
    pub fn classic(self, path: &str) -> Self {
        self.classic_endpoint(classic::Endpoint::new(path))
    }

    /// Adds an endpoint with its own options for clients of SignalR 2.x, for example for a part of the hubs.
    #[must_use]
    pub fn classic_endpoint(mut self, endpoint: classic::Endpoint) -> Self {
        self.classic_endpoints.push(endpoint);
        self
    }

    /// Sets the path prefix below which clients reach the endpoints, such as `/app`, if a reverse proxy removes it or the
    /// application is mounted in a scope. The endpoints are served with the prefix and without it, and every path that
    /// clients are told begins with it. A prefix that a proxy of [`TrustedProxies`](crate::web::TrustedProxies) states
    /// takes precedence. Default none.
    #[must_use]
    pub fn base_path(mut self, path: &str) -> Self {
        path.clone_into(&mut self.base_path);
        self
    }

    /// Sets the settings for clients of SignalR 2.x.
    #[must_use]
    pub fn classic_settings(mut self, settings: classic::Settings) -> Self {
        self.classic = settings;
        self
    }

    /// Adds a filter with the default options for the events of all hubs. Filters run in the order in which they were
    /// added. Names of filters are unique in an engine.
    #[must_use]
    pub fn filter(self, name: &str, filter: impl HubFilter) -> Self {
        self.filter_with(name, FilterOptions::default(), filter)
    }

    /// As [`EngineBuilder::filter`], with options.
    #[must_use]
    pub fn filter_with(mut self, name: &str, options: FilterOptions, filter: impl HubFilter) -> Self {
        self.filters.push(Registration::new(name, options, filter));
        self
    }

    /// Sets the keys that sign tokens. Default: a random key, so tokens become invalid at a restart.
    /// [`Engine::replace_keys`] replaces them while the engine runs.
    #[must_use]
    pub fn keys(mut self, key_ring: KeyRing) -> Self {
        self.key_ring = Some(key_ring);
        self
    }

    /// Sets the authentication of clients. Default: all clients are anonymous.
    #[must_use]
    pub fn authenticate(mut self, authenticate: impl Authenticate) -> Self {
        self.authenticate = Arc::new(authenticate);
        self
    }

    /// Sets the settings for clients of ASP.NET Core SignalR.
    #[must_use]
    pub fn aspnetcore_settings(mut self, settings: aspnetcore::Settings) -> Self {
        self.aspnetcore = settings;
        self
    }

    /// Sets how reconnecting clients rejoin their groups.
    #[must_use]
    pub fn rejoin(mut self, settings: RejoinSettings) -> Self {
        self.rejoin = settings;
        self
    }

    /// Sets the limits of the outbox of each client, and the reaction to an exceeded limit.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Sets the maximum numbers of connections.
    #[must_use]
    pub fn connection_limits(mut self, limits: ConnectionLimits) -> Self {
        self.connection_limits = limits;
        self
    }

    /// Sets how many durable changes of groups a client may cause per second, or `None` for any number. Further changes
    /// wait. After a pause, a client may make as many at once as in one second. Default 100: more than a person causes,
    /// and so few that the store serves many such clients. Changes by the application itself have no limit.
    #[must_use]
    pub fn durable_change_rate(mut self, per_second: Option<NonZeroUsize>) -> Self {
        self.durable_rate = per_second;
        self
    }

    /// Sets how long a user without a connection counts as online ([`Groups::presence`](crate::Groups::presence)). Default
    /// 45 s: a client of ASP.NET Core SignalR with automatic reconnect tries for 42 s by default. Zero: not at all.
    #[must_use]
    pub fn presence_window(mut self, window: Duration) -> Self {
        self.presence_window = window;
        self
    }

    /// Sets the name of this process among the processes that share a store, of at most 255 bytes. Default `hubcast`.
    ///
    /// One process at a time holds a name in the store. [`Engine::serve`] fails if another running process holds it. A process
    /// that ends without [`Engine::drain`] holds it for up to 30 s longer; meanwhile its successor serves clients, but
    /// writes no records of connections.
    #[must_use]
    pub fn node(mut self, name: &str) -> Self {
        name.clone_into(&mut self.node);
        self
    }

    /// Sets the identity of this process, for an application that knows that the previous process with the same
    /// [`Process::id`] has ended, for example by a lock on a file. It then takes over the name of the node at once.
    /// Default: [`Process::current`].
    #[must_use]
    pub fn process(mut self, process: Process) -> Self {
        self.process = process;
        self
    }

    /// Sets the number of shards of the groups, each on one thread. Default: the number of processors.
    #[must_use]
    pub fn shards(mut self, shards: usize) -> Self {
        self.shards = shards;
        self
    }

    /// Checks everything, so that all faults are reported together. Returns the thread of the engine and the base path.
    fn check(&self) -> Result<(ArbiterHandle, BasePath), BuildError> {
        let parsed = self.base_path.parse::<BasePath>();
        let base_path = parsed.clone().unwrap_or_default();
        let arbiter = Arbiter::try_current();
        let mut faults = checks::hub_faults(&self.hubs);
        faults.extend(checks::filter_faults(&self.filters, &self.hubs));
        faults.extend(paths::endpoint_faults(
            &self.aspnetcore_endpoints,
            &self.classic_endpoints,
            &self.hubs,
            &base_path,
        ));
        faults.extend(parsed.err().map(BuildFault::from));
        faults.extend(checks::settings_faults(&self.hubs, &self.rejoin, &self.aspnetcore, &self.classic));
        if !self.classic_endpoints.is_empty() {
            faults.extend(checks::rejoin_lifetime_fault(&self.rejoin, &self.classic));
        }
        faults.extend(checks::duration_fault("store_deadline", self.store_deadline));
        faults.extend(
            self.reconcile_interval.and_then(|interval| checks::duration_fault("reconcile_interval", interval)),
        );
        faults.extend(checks::duration_or_zero_fault("presence_window", self.presence_window));
        faults.extend(checks::node_fault(&self.node));
        match arbiter {
            Some(arbiter) => BuildError::unless_empty(faults).map(|()| (arbiter, base_path)),
            None => Err(BuildError::with(faults, BuildFault::NoActixSystem)),
        }
    }

    fn log_warnings(&self) {
        if let Some(warning) = checks::keep_alive_warning(&self.aspnetcore) {
            warn!("{warning}");
        }
    }

    fn membership_options(&self, connections: &Connections, metrics: &Arc<Metrics>) -> MembershipOptions {
        MembershipOptions {
            store: self.store.clone(),
            node: self.node.as_str().into(),
            process: self.process.clone(),
            deadline: self.store_deadline,
            token_lifetime: self.rejoin.lifetime,
            connections: connections.clone(),
            metrics: Arc::clone(metrics),
        }
    }

    /// Starts what the hubs share. Takes the hubs, whose filters exist.
    fn start_services(&mut self, arbiter: &ArbiterHandle, metrics: Arc<Metrics>) -> (Arc<HubServices>, NodeClaim) {
        let (hubs, connections) = (std::mem::take(&mut self.hubs), Connections::default());
        let options = self.membership_options(&connections, &metrics);
        let (membership, node_claim, lost_users) = start_membership(arbiter, options);
        let store = StoreHandle::new(self.store.clone(), self.store_deadline);
        let durable = Arc::new(DurableGroups::new(membership, store, self.durable_rate, self.store_deadline));
        let groups = GroupDirectory::new(self.shards, arbiter.clone());
        let (node, window) = (self.node.as_str().into(), self.presence_window);
        let presence = PresenceSettings { node, window, arbiter: arbiter.clone() };
        let services = Arc::new_cyclic(|services| HubServices {
            presence: Presence::start(&hubs, presence, lost_users, services, (&durable, &connections, &metrics)),
            hubs: hubs.into_iter().map(Arc::new).collect(),
            router: Arc::new(Router::new(connections.clone(), groups.clone(), Arc::clone(&metrics))),
            connections,
            limiter: ConnectionLimiter::new(self.connection_limits, Arc::clone(&metrics)),
            groups,
            durable,
            metrics,
            drain: Drain::default(),
        });
        (services, node_claim)
    }

    /// Starts the engine on the calling thread.
    ///
    /// # Errors
    /// [`BuildError`] lists every fault of the hubs, endpoints and settings.
    pub fn build(mut self) -> Result<Engine, BuildError> {
        let (arbiter, base_path) = self.check()?;
        self.log_warnings();
        let (metrics, node_info) = (Arc::new(Metrics::default()), NodeInfo::new(&self.node));
        let filters = create_chains(&self.filters, &mut self.hubs, &metrics);
        let (services, node_claim) = self.start_services(&arbiter, metrics);
        let key_ring = SharedKeyRing::new(self.key_ring.unwrap_or_else(KeyRing::ephemeral));
        let reconciler = start_reconciler(&arbiter, &services, self.reconcile_interval);
        let rejoin_service = start_rejoin_service(&arbiter, key_ring, self.node.into(), self.rejoin, &services);
        let shared = EndpointServices {
            limits: self.limits,
            authenticate: self.authenticate,
            services: Arc::clone(&services),
            rejoin_service: Arc::clone(&rejoin_service),
        };
        Ok(Engine {
            services,
            base_path,
            aspnetcore_endpoints: self.aspnetcore_endpoints.into(),
            aspnetcore_state: Arc::new(aspnetcore::EndpointState::new(self.aspnetcore, shared.clone())),
            classic_endpoints: self.classic_endpoints.into(),
            classic_state: Arc::new(classic::EndpointState::new(self.classic, shared)),
            rejoin_service,
            node_info: Arc::new(node_info),
            filters: filters.into(),
            node_claim,
            reconciler,
        })
    }
}
