//! An engine under construction: what an application may choose, and the order in which the actors start.

use std::{
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use actix::prelude::*;
use tokio_util::task::TaskTracker;

use super::{Engine, checks, checks::BuildError, node_info::NodeInfo};
use crate::{
    aspnetcore::{self, Endpoint},
    classic,
    connection::{RejoinService, RejoinSettings},
    connections::Connections,
    groups::GroupDirectory,
    hub::{Hub, KeyedMutex, services::HubServices},
    ids::NodeId,
    membership::{Membership, MembershipConfig},
    metrics::Metrics,
    outbox::Limits,
    pipeline::{DynModule, Families, Module, Pipeline, RejoinValidator},
    store::{DynStore, Node, Store, StoreHandle, memory::MemoryStore},
    supervised::Supervised,
    tokens::KeyRing,
    web::{Anonymous, Authenticate},
};

/// How long the store may take for an answer. A client waits that long for its connection.
const STORE_DEADLINE: Duration = Duration::from_secs(5);

/// For how long a dead process's rows are believed.
const LEASE: Duration = Duration::from_secs(30);

/// An engine under construction. Everything has a working default but the hubs.
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
    endpoints: Vec<Endpoint>,
    mounts: Vec<classic::Endpoint>,
    store: Arc<dyn DynStore>,
    modules: Vec<Box<dyn DynModule>>,
    ring: Option<KeyRing>,
    authenticate: Arc<dyn Authenticate>,
    aspnetcore: aspnetcore::Settings,
    classic: classic::Settings,
    rejoin: RejoinSettings,
    limits: Limits,
    node: String,
    shards: usize,
    store_deadline: Duration,
}

impl std::fmt::Debug for EngineBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EngineBuilder")
            .field("hubs", &self.hubs)
            .field("endpoints", &self.endpoints)
            .finish_non_exhaustive()
    }
}

impl EngineBuilder {
    pub(super) fn new() -> Self {
        Self {
            hubs: Vec::new(),
            endpoints: Vec::new(),
            mounts: Vec::new(),
            store: Arc::new(MemoryStore::default()),
            modules: Vec::new(),
            ring: None,
            authenticate: Arc::new(Anonymous),
            aspnetcore: aspnetcore::Settings::default(),
            classic: classic::Settings::default(),
            rejoin: RejoinSettings::default(),
            limits: Limits::default(),
            node: "hubcast".into(),
            shards: std::thread::available_parallelism().map_or(1, usize::from),
            store_deadline: STORE_DEADLINE,
        }
    }

    /// Serves a hub to clients of ASP.NET Core SignalR at `path`.
    #[must_use]
    pub fn hub(self, path: &str, hub: Hub) -> Self {
        let endpoint = Endpoint::new(path, hub.name());
        self.hub_only(hub).aspnetcore_endpoint(endpoint)
    }

    /// Adds a hub without an endpoint for clients of ASP.NET Core SignalR; classic endpoints serve it all the same.
    #[must_use]
    pub fn hub_only(mut self, hub: Hub) -> Self {
        self.hubs.push(hub);
        self
    }

    /// Adds an endpoint with options of its own for clients of ASP.NET Core SignalR. Its hub is added apart, with
    /// [`EngineBuilder::hub`] or [`EngineBuilder::hub_only`].
    #[must_use]
    pub fn aspnetcore_endpoint(mut self, endpoint: Endpoint) -> Self {
        self.endpoints.push(endpoint);
        self
    }

    /// Serves all hubs to clients of SignalR 2.x below `path`; they expect `/signalr`.
    #[must_use]
    pub fn classic(self, path: &str) -> Self {
        self.classic_endpoint(classic::Endpoint::new(path))
    }

    /// Adds an endpoint with options of its own for clients of SignalR 2.x, such as one that serves some of the hubs.
    #[must_use]
    pub fn classic_endpoint(mut self, endpoint: classic::Endpoint) -> Self {
        self.mounts.push(endpoint);
        self
    }

    /// How clients of SignalR 2.x are served.
    #[must_use]
    pub fn classic_settings(mut self, settings: classic::Settings) -> Self {
        self.classic = settings;
        self
    }

    /// Remembers durable memberships in `store`. Default: in memory, until the process ends.
    #[must_use]
    pub fn store(mut self, store: impl Store) -> Self {
        self.store = Arc::new(store);
        self
    }

    /// Adds a module that has a say in which groups a returning client rejoins.
    #[must_use]
    pub fn module(mut self, module: impl Module) -> Self {
        self.modules.push(Box::new(module));
        self
    }

    /// Signs tokens with these keys. Default: a random key, so that no token survives a restart.
    #[must_use]
    pub fn keys(mut self, ring: KeyRing) -> Self {
        self.ring = Some(ring);
        self
    }

    /// Finds out who clients are. Default: no client has a user.
    #[must_use]
    pub fn authenticate(mut self, authenticate: impl Authenticate) -> Self {
        self.authenticate = Arc::new(authenticate);
        self
    }

    /// How clients of ASP.NET Core SignalR are served.
    #[must_use]
    pub fn aspnetcore_settings(mut self, settings: aspnetcore::Settings) -> Self {
        self.aspnetcore = settings;
        self
    }

    /// How clients are put back into their groups.
    #[must_use]
    pub fn rejoin(mut self, settings: RejoinSettings) -> Self {
        self.rejoin = settings;
        self
    }

    /// How much may wait for a slow client, and what happens beyond.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// The name of this process among those that share a store. One that starts under a name takes over
    /// from whoever had it. Default `hubcast`.
    #[must_use]
    pub fn node(mut self, name: &str) -> Self {
        name.clone_into(&mut self.node);
        self
    }

    /// How many threads share the groups. Default: as many as there are processors.
    #[must_use]
    pub fn shards(mut self, shards: usize) -> Self {
        self.shards = shards;
        self
    }

    /// How long the store may take for an answer. Default 5 s.
    #[must_use]
    pub fn store_deadline(mut self, deadline: Duration) -> Self {
        self.store_deadline = deadline;
        self
    }

    fn check(&self) -> Result<(), BuildError> {
        checks::hubs(&self.hubs)?;
        checks::endpoints(&self.endpoints, &self.mounts, &self.hubs)?;
        let faults = checks::settings(&self.hubs, &self.rejoin, &self.aspnetcore, &self.classic);
        faults.into_iter().next().map_or(Ok(()), Err)?;
        if !self.mounts.is_empty() {
            checks::lifetime(&self.rejoin, &self.classic)?;
        }
        checks::span("store_deadline", self.store_deadline)
    }

    /// Starts the engine on the calling thread.
    ///
    /// # Errors
    /// [`BuildError`] says what does not fit.
    pub fn build(self) -> Result<Engine, BuildError> {
        self.check()?;
        let arbiter = Arbiter::try_current().ok_or(BuildError::NoSystem)?;
        let metrics = Arc::new(Metrics::default());
        let connections = Connections::default();
        let ring = Arc::new(self.ring.unwrap_or_else(KeyRing::ephemeral));
        let run = NodeInfo::new(&self.node);
        let membership =
            start_membership(&arbiter, &self.store, self.node, self.store_deadline, &connections, &metrics);
        let store = StoreHandle::new(self.store, self.store_deadline);
        let validator = RejoinValidator {
            ring: Arc::clone(&ring),
            store: store.clone(),
            modules: self.modules.into(),
            connections: connections.clone(),
            families: Families::default(),
            metrics: Arc::clone(&metrics),
        };
        let pipeline = Supervised::start("pipeline", &arbiter, move || Pipeline::new(validator.clone()));
        let rejoin_service = Arc::new(RejoinService { ring, pipeline, settings: self.rejoin });
        let services = Arc::new(HubServices {
            hubs: self.hubs.into_iter().map(Arc::new).collect(),
            connections,
            groups: GroupDirectory::new(self.shards, arbiter.clone()),
            membership,
            store,
            turns: KeyedMutex::new(self.store_deadline),
            metrics,
            at_work: TaskTracker::new(),
            is_draining: AtomicBool::new(false),
        });
        let classic = classic::EndpointState::new(
            self.classic,
            self.limits,
            Arc::clone(&self.authenticate),
            Arc::clone(&services),
            Arc::clone(&rejoin_service),
        );
        let core = aspnetcore::EndpointState::new(
            self.aspnetcore,
            self.limits,
            self.authenticate,
            Arc::clone(&services),
            rejoin_service,
        );
        let (endpoints, mounts) = (self.endpoints.into(), self.mounts.into());
        Ok(Engine { services, endpoints, core: Arc::new(core), mounts, classic: Arc::new(classic), run: Arc::new(run) })
    }
}

fn start_membership(
    arbiter: &ArbiterHandle,
    store: &Arc<dyn DynStore>,
    node: String,
    deadline: Duration,
    connections: &Connections,
    metrics: &Arc<Metrics>,
) -> Supervised<Membership> {
    let (store, connections, metrics) = (Arc::clone(store), connections.clone(), Arc::clone(metrics));
    let id = NodeId::from(node);
    Supervised::start("membership", arbiter, move || {
        // A supervisor that died may have had ends of connections unwritten: those rows are an earlier run's.
        let node = Node { id: id.clone(), incarnation: crate::ids::secret() };
        let housekeeping = MembershipConfig { node, deadline, lease: LEASE };
        Membership::new(Arc::clone(&store), housekeeping, connections.clone(), Arc::clone(&metrics))
    })
}
