//! Builds the actors from the bottom up, and is the handle to all of them.
//!
//! Role: what an application holds: routes to mount, and hubs to publish through from anywhere.
//! Life: built once, inside a running actix system; clones are the same engine.
//! Neighbours: everything below is started here; the service and applications are above.
//! Never: it decides nothing while clients are served.

use std::sync::{Arc, atomic::Ordering};

use actix_web::web::ServiceConfig;
use futures_util::future::join_all;

use crate::{
    aspnetcore::{self, Endpoint},
    classic,
    connections::{Command, Connections},
    groups::GroupDirectory,
    hub::{Clients, Groups, Users, services::HubServices},
    ids::HubName,
    metrics::Metrics,
};

mod builder;
pub(crate) mod checks;
#[cfg(any(test, feature = "testkit"))]
mod crash;
mod node_info;

pub use builder::EngineBuilder;
pub use checks::BuildError;
#[cfg(any(test, feature = "testkit"))]
pub use crash::CrashTarget;
use node_info::NodeInfo;

/// The running engine; clones are the same one.
#[derive(Clone)]
pub struct Engine {
    services: Arc<HubServices>,
    endpoints: Arc<[Endpoint]>,
    core: Arc<aspnetcore::EndpointState>,
    run: Arc<NodeInfo>,
    mounts: Arc<[classic::Endpoint]>,
    classic: Arc<classic::EndpointState>,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("world", &self.services).finish_non_exhaustive()
    }
}

impl Engine {
    /// Begins an engine.
    #[must_use]
    pub fn builder() -> EngineBuilder {
        EngineBuilder::new()
    }

    /// The routes of all endpoints, to be mounted with `App::configure`. The thread that mounts them also
    /// becomes the home of a share of the groups.
    pub fn routes(&self) -> impl FnOnce(&mut ServiceConfig) + use<> {
        let (older, newer) = (self.classic_routes(), self.aspnetcore_routes());
        move |config| {
            older(config);
            newer(config);
        }
    }

    /// As [`Engine::routes`], but only those for clients of ASP.NET Core SignalR: for applications that wrap
    /// the two generations differently.
    pub fn aspnetcore_routes(&self) -> impl FnOnce(&mut ServiceConfig) + use<> {
        let engine = self.clone();
        move |config| {
            engine.services.groups.adopt_shard();
            for endpoint in engine.endpoints.iter() {
                aspnetcore::mount(config, endpoint, &engine.core);
            }
        }
    }

    /// Only the routes for clients of SignalR 2.x. Mounting these makes no thread the home of groups.
    pub fn classic_routes(&self) -> impl FnOnce(&mut ServiceConfig) + use<> {
        let engine = self.clone();
        move |config| {
            for mount in engine.mounts.iter() {
                classic::mount(config, mount, &engine.classic);
            }
        }
    }

    /// A hub to publish through, from anywhere; `None` if there is no hub of that name.
    #[must_use]
    pub fn hub(&self, name: &str) -> Option<HubHandle> {
        let hub = self.services.hub(name)?;
        Some(HubHandle { services: Arc::clone(&self.services), name: hub.name().clone() })
    }

    /// What has happened so far.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.services.metrics
    }

    /// Every living connection.
    #[must_use]
    pub fn connections(&self) -> &Connections {
        &self.services.connections
    }

    /// Every group.
    #[must_use]
    pub fn groups(&self) -> &GroupDirectory {
        &self.services.groups
    }

    /// Tells every client to come back later or elsewhere, and ends its connection. Then waits for what hubs have
    /// begun, methods and OnDisconnected too, for as long as it takes: whoever stops the process sets a limit.
    pub async fn drain(&self) {
        self.services.is_draining.store(true, Ordering::Relaxed);
        let handles = self.services.connections.all();
        // A connection that has ended meanwhile is drained.
        join_all(handles.iter().map(|handle| handle.port.send(Command::Drain))).await;
        self.services.at_work.close();
        self.services.at_work.wait().await;
    }
}

/// A hub as seen from outside of its methods.
#[derive(Clone, Debug)]
pub struct HubHandle {
    services: Arc<HubServices>,
    name: HubName,
}

impl HubHandle {
    /// The hub's name.
    #[must_use]
    pub fn name(&self) -> &HubName {
        &self.name
    }

    /// Everybody on the hub, to choose from.
    #[must_use]
    pub fn clients(&self) -> Clients {
        Clients::of_hub(&self.services, &self.name)
    }

    /// The groups of the hub.
    #[must_use]
    pub fn groups(&self) -> Groups {
        Groups::new(&self.services, &self.name, None)
    }

    /// The users of the hub and their durable groups.
    #[must_use]
    pub fn users(&self) -> Users {
        Users::new(&self.services, &self.name)
    }
}
