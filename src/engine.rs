//! The engine: starts the actors, in the order of the layers, and holds the handles to them.
//!
//! An application builds it once, inside a running actix system, mounts its routes, and uses it to publish
//! messages from anywhere. Clones refer to the same engine. Only the service and applications use it. It takes no part
//! in serving clients once it is built.

use std::{convert::Infallible, sync::Arc, time::Duration};

use actix_web::web::ServiceConfig;

use crate::{
    aspnetcore::{self, Endpoint},
    classic,
    connection::RejoinService,
    connections::Connections,
    groups::GroupDirectory,
    hub::{
        Clients, Groups, Reconciled, Requester, Users,
        filters::{Filter, FilterHandle},
        reconciler::{Reconcile, Reconciler},
        services::HubServices,
    },
    ids::HubName,
    membership::NodeClaim,
    metrics::Metrics,
    store,
    supervised::Supervised,
    tokens::KeyRing,
    web::BasePath,
};

mod builder;
pub(crate) mod checks;
#[cfg(any(test, feature = "testkit"))]
mod crash;
mod drain;
mod faults;
mod node_info;
pub(crate) mod paths;
mod serve;

pub use builder::EngineBuilder;
pub(crate) use builder::{DEFAULT_DURABLE_RATE, DEFAULT_RECONCILE_INTERVAL};
#[cfg(any(test, feature = "testkit"))]
pub use crash::CrashTarget;
pub use faults::{BuildError, BuildFault};
use node_info::NodeInfo;
pub use serve::{BoundServer, Serve};

/// A running engine. Clones refer to the same engine.
///
/// ```no_run
/// use actix_web::{App, HttpServer};
/// use hubcast::{Engine, Hub};
///
/// # #[actix_web::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let engine = Engine::builder().hub("/chat", Hub::new("chat")).classic("/signalr").build()?;
/// let app = move || App::new().configure(engine.routes());
/// HttpServer::new(app).on_connect(hubcast::on_connect).bind("127.0.0.1:8080")?.run().await?;
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Engine {
    services: Arc<HubServices>,
    base_path: BasePath,
    aspnetcore_endpoints: Arc<[Endpoint]>,
    aspnetcore_state: Arc<aspnetcore::EndpointState>,
    node_info: Arc<NodeInfo>,
    node_claim: NodeClaim,
    reconciler: Supervised<Reconciler>,
    classic_endpoints: Arc<[classic::Endpoint]>,
    classic_state: Arc<classic::EndpointState>,
    rejoin_service: Arc<RejoinService>,
    filters: Arc<[Arc<Filter>]>,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("services", &self.services).finish_non_exhaustive()
    }
}

impl Engine {
    /// Returns a builder with the default settings.
    #[must_use]
    pub fn builder() -> EngineBuilder {
        EngineBuilder::new()
    }

    /// The routes of all endpoints, for `App::configure`. The thread that mounts them also adopts a shard of the groups.
    pub fn routes(&self) -> impl FnOnce(&mut ServiceConfig) + use<> {
        let (classic, aspnetcore) = (self.classic_routes(), self.aspnetcore_routes());
        move |config| {
            classic(config);
            aspnetcore(config);
        }
    }

    /// Like [`Engine::routes`], but only the routes for clients of ASP.NET Core SignalR: for applications that use
    /// different middleware for the two generations.
    pub fn aspnetcore_routes(&self) -> impl FnOnce(&mut ServiceConfig) + use<> {
        let engine = self.clone();
        move |config| {
            engine.services.groups.start_unassigned_shard();
            for endpoint in engine.aspnetcore_endpoints.iter() {
                aspnetcore::mount(config, endpoint, &engine.base_path, &engine.aspnetcore_state);
            }
        }
    }

    /// Only the routes for clients of SignalR 2.x. A thread that mounts only these adopts no shard of the groups.
    pub fn classic_routes(&self) -> impl FnOnce(&mut ServiceConfig) + use<> {
        let engine = self.clone();
        move |config| {
            for endpoint in engine.classic_endpoints.iter() {
                classic::mount(config, endpoint, &engine.base_path, &engine.classic_state);
            }
        }
    }

    /// A handle to publish on a hub from anywhere. `None` if no hub has this name.
    #[must_use]
    pub fn hub(&self, name: &str) -> Option<HubHandle> {
        let hub = self.services.hub(name)?;
        let requester = Requester::application();
        Some(HubHandle { services: Arc::clone(&self.services), name: hub.name().clone(), requester })
    }

    /// Handles to the filters: those of the engine in their order, then those of each hub.
    #[must_use]
    pub fn filters(&self) -> Vec<FilterHandle> {
        self.filters.iter().map(|filter| FilterHandle::new(filter, Requester::application())).collect()
    }

    /// A handle to the filter with this name, to change its mode. `None` if there is none.
    #[must_use]
    pub fn filter(&self, name: &str) -> Option<FilterHandle> {
        self.filters().into_iter().find(|filter| filter.name() == name)
    }

    /// The path prefix below which clients reach the endpoints.
    #[must_use]
    pub fn base_path(&self) -> &BasePath {
        &self.base_path
    }

    /// The maximum message of an ASP.NET Core client, if it is limited, and of a classic client, in bytes.
    pub(crate) fn message_limits(&self) -> (Option<usize>, usize) {
        (self.aspnetcore_state.settings.max_message, self.classic_state.settings.max_message)
    }

    /// The metrics of the engine.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.services.metrics
    }

    /// The metrics of the engine, for those that outlive a call.
    pub(crate) fn shared_metrics(&self) -> Arc<Metrics> {
        Arc::clone(&self.services.metrics)
    }

    /// The directory of live connections.
    #[must_use]
    pub(crate) fn connections(&self) -> &Connections {
        &self.services.connections
    }

    /// The directory of groups.
    #[must_use]
    pub(crate) fn groups(&self) -> &GroupDirectory {
        &self.services.groups
    }

    /// Replaces the keys that sign tokens. From now on the first one of `keys` signs, and all of them verify. Clients stay
    /// connected, and requests of a live connection are accepted even if its token was signed with a key that `keys`
    /// lacks. A rejoin token that was signed with such a key is refused.
    ///
    /// To replace a key without refusing a token, first add the new key as the last one on all nodes, then make it the
    /// first one on all nodes. Remove the old key after the lifetime of a rejoin token.
    pub fn replace_keys(&self, keys: KeyRing) {
        let ids = keys.ids();
        self.rejoin_service.ring.replace(keys);
        let replaced = Ok::<_, Infallible>(ids.len());
        let subject = [("keys", &*ids.join(","))];
        Requester::application().audit("replace keys", &subject, &replaced, |count| format!("{count} keys in use"));
    }

    /// Compares the durable groups of all connected users with the store now, and makes the connections of this process
    /// agree with it. The engine does the same at [intervals](EngineBuilder::reconcile_interval). An application calls it
    /// after it has changed the data of the store by other means. It takes one query for up to 1,000 users, and 100 ms
    /// between two queries. A connection that has left a durable group by itself does not join it. One that does not answer
    /// within 1 s, because its thread is blocked, is left to the next comparison.
    ///
    /// # Errors
    /// The error of the store. Connections can have changed, and the next comparison completes the rest.
    pub async fn reconcile(&self) -> Result<Reconciled, store::Error> {
        let compared = self.reconciler.ask(|answer| Reconcile { answer }).await;
        compared.unwrap_or_else(|died| Err(store::Error::Unavailable(died.to_string())))
    }

    /// Asks every client to reconnect later or to another node, and ends its connection. The clients are spread evenly
    /// over `window`, in batches of 10 and more, at most one per 100 ms, so that they do not all reach the other nodes
    /// at the same moment. A zero window sends them away at once, and so does a drain of at most 10 clients. A client
    /// that connects meanwhile is sent away as soon as it has connected.
    ///
    /// Then waits for all running hub methods and hooks, including OnDisconnected, without a time limit, and gives up the
    /// name of the node in the store. The caller sets a time limit if it needs one.
    pub async fn drain(&self, window: Duration) {
        self.services.drain.begin();
        drain::send_away(&self.services.connections, window).await;
        self.services.drain.hub_tasks_finished().await;
        self.rejoin_service.lists.flush().await;
        // Order: last, because the ends of connections are recorded under the name of the node.
        self.node_claim.release().await;
    }
}

/// A handle to a hub, for use outside of its methods.
///
/// Every change that is made through it is logged with level `info` and target `hubcast::audit`: who requested it, the
/// connection, user or group that it concerns, and the result. [`HubHandle::acting_as`] sets who requested it.
///
/// ```no_run
/// use hubcast::{Engine, hub::SendError};
///
/// async fn announce(engine: &Engine) -> Result<usize, SendError> {
///     let chat = engine.hub("chat").expect("the engine has this hub");
///     chat.clients().group("lobby").send("addChatMessage", ("server", "hello")).await
/// }
/// ```
#[derive(Clone, Debug)]
pub struct HubHandle {
    services: Arc<HubServices>,
    name: HubName,
    requester: Requester,
}

impl HubHandle {
    /// The hub's name.
    #[must_use]
    pub fn name(&self) -> &HubName {
        &self.name
    }

    /// A handle whose changes are logged as requested by `name`, such as the name of an operator. Default `application`.
    #[must_use]
    pub fn acting_as(&self, name: &str) -> Self {
        Self { requester: Requester::named(name), ..self.clone() }
    }

    /// The clients of the hub, to select, send to and disconnect.
    #[must_use]
    pub fn clients(&self) -> Clients {
        Clients::of_hub(&self.services, &self.name, &self.requester)
    }

    /// The groups of the hub.
    #[must_use]
    pub fn groups(&self) -> Groups {
        Groups::new(&self.services, &self.name, &self.requester)
    }

    /// The users of the hub and their durable groups.
    #[must_use]
    pub fn users(&self) -> Users {
        Users::new(&self.services, &self.name, &self.requester)
    }
}
