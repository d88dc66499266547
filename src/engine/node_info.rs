//! Information about this process and the state of the engine, for operators.

use std::time::SystemTime;

use super::Engine;
use crate::{
    ids::{ConnectionId, HubName},
    membership::NodeInUse,
    store::{self, LeaseRecord},
};

/// The identity of this process.
#[derive(Debug)]
pub(super) struct NodeInfo {
    name: String,
    started_at: SystemTime,
}

impl NodeInfo {
    pub(super) fn new(name: &str) -> Self {
        Self { name: name.to_owned(), started_at: SystemTime::now() }
    }
}

impl Engine {
    /// The names of the hubs, in the order in which they were added.
    #[must_use]
    pub fn hubs(&self) -> Vec<HubName> {
        self.services.hubs.iter().map(|hub| hub.name().clone()).collect()
    }

    /// The name of this process among the processes that share a store.
    #[must_use]
    pub fn node(&self) -> &str {
        &self.node_info.name
    }

    /// Waits until this process holds its [name](crate::EngineBuilder::node) in the store. That takes a write of the store,
    /// or up to 40 s if another process holds the name: until that process renews its lease, or the lease of a dead
    /// process expires.
    ///
    /// # Errors
    /// [`NodeInUse`] names the other process, which is running.
    pub async fn claim_node(&self) -> Result<(), NodeInUse> {
        self.node_claim.granted().await
    }

    /// When the engine was built.
    #[must_use]
    pub fn started_at(&self) -> SystemTime {
        self.node_info.started_at
    }

    /// Whether [`Engine::drain`] was called. A load balancer should send no further clients to this node.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.services.drain.has_begun()
    }

    /// The number of running hub methods and hooks, such as OnDisconnected.
    #[must_use]
    pub fn hub_tasks(&self) -> usize {
        self.services.drain.hub_tasks.len()
    }

    /// The number of restarts of each kind of actor that lives as long as the process.
    #[must_use]
    pub fn restarts(&self) -> [(&'static str, u64); 4] {
        [
            ("groups", self.services.groups.restarts()),
            ("membership", self.services.durable.membership.restarts()),
            ("pipeline", self.rejoin_service.pipeline.restarts()),
            ("reconciler", self.reconciler.restarts()),
        ]
    }

    /// Checks whether the store can be used: renews the lease of this process and reads memberships. A check that
    /// succeeded within the last second counts. The answer comes within a second.
    ///
    /// # Errors
    /// The error of the store, or [`store::Error::Unavailable`] if it takes longer.
    pub async fn check_store(&self) -> Result<(), store::Error> {
        self.services.durable.check_store().await
    }

    /// The stored record of a connection of any node, also for a time after its end ([`store::CLOSED_LEASE_TERM`]). It is
    /// written some milliseconds after the connection begins or ends.
    ///
    /// # Errors
    /// The error of the store, or [`store::Error::Unavailable`] if it does not answer in time.
    pub async fn find_lease(&self, connection: &ConnectionId) -> Result<Option<LeaseRecord>, store::Error> {
        self.services.durable.store.call(|store| store.leases.find(connection)).await
    }
}
