//! Information about this process and the state of the engine, for operators.

use std::time::SystemTime;

use super::Engine;
use crate::{
    ids::HubName,
    store::{self, Owner},
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

    /// When the engine was built.
    #[must_use]
    pub fn started_at(&self) -> SystemTime {
        self.node_info.started_at
    }

    /// Whether [`Engine::drain`] was called. A load balancer should send no further clients to this node.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.services.is_draining()
    }

    /// The number of running hub methods and hooks, such as OnDisconnected.
    #[must_use]
    pub fn hub_tasks(&self) -> usize {
        self.services.hub_tasks.len()
    }

    /// The number of restarts of each kind of actor that lives as long as the process.
    #[must_use]
    pub fn restarts(&self) -> [(&'static str, u64); 3] {
        [
            ("groups", self.services.groups.restarts()),
            ("membership", self.services.membership.restarts()),
            ("pipeline", self.aspnetcore_state.rejoin_service.pipeline.restarts()),
        ]
    }

    /// Makes a small query to the store, through the same actor as the other callers.
    ///
    /// # Errors
    /// The error of the store, or [`store::Error::Unavailable`] after the store deadline.
    pub async fn check_store(&self) -> Result<(), store::Error> {
        let owner = Owner { hub: "".into(), user: "".into() };
        self.services.durable_groups(&owner).await.map(drop)
    }
}
