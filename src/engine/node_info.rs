//! What this run of the process is, and how it fares: what operators ask of the engine.

use std::time::SystemTime;

use super::Engine;
use crate::{
    ids::HubName,
    store::{self, Owner},
};

/// This run of the process.
#[derive(Debug)]
pub(super) struct NodeInfo {
    node: String,
    since: SystemTime,
}

impl NodeInfo {
    pub(super) fn new(node: &str) -> Self {
        Self { node: node.to_owned(), since: SystemTime::now() }
    }
}

impl Engine {
    /// The names of the hubs, in the order in which they were given.
    #[must_use]
    pub fn hubs(&self) -> Vec<HubName> {
        self.services.hubs.iter().map(|hub| hub.name().clone()).collect()
    }

    /// The name of this process among those that share a store.
    #[must_use]
    pub fn node(&self) -> &str {
        &self.run.node
    }

    /// When the engine was built.
    #[must_use]
    pub fn since(&self) -> SystemTime {
        self.run.since
    }

    /// True once [`Engine::drain`] was called: no client should be sent here any more.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.services.is_draining()
    }

    /// How many methods, and hooks such as OnDisconnected, hubs are at.
    #[must_use]
    pub fn at_work(&self) -> usize {
        self.services.at_work.len()
    }

    /// How often each kind of actor that lives as long as the process had to be started again.
    #[must_use]
    pub fn restarts(&self) -> [(&'static str, u64); 3] {
        [
            ("groups", self.services.groups.restarts()),
            ("membership", self.services.membership.restarts()),
            ("pipeline", self.core.rejoin_service.pipeline.restarts()),
        ]
    }

    /// Asks the store a small question, through the same supervisor as everybody.
    ///
    /// # Errors
    /// Why the store does not answer, after the deadline for its answers at the latest.
    pub async fn check_store(&self) -> Result<(), store::Error> {
        let nobody = Owner { hub: "".into(), user: "".into() };
        self.services.durable_groups(&nobody).await.map(drop)
    }
}
