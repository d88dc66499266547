//! Services that all hubs of a process share.
//!
//! Each is small and has one task. Code that needs one of them gets that one; connections and endpoints, which need most
//! of them, share [`HubServices`].

use std::sync::Arc;

use super::{Hub, presence::Presence};
use crate::{
    connections::{ConnectionLimiter, Connections},
    groups::GroupDirectory,
    metrics::Metrics,
    router::Router,
};

mod drain;
mod durable_groups;

pub(crate) use drain::Drain;
pub(crate) use durable_groups::DurableGroups;

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct HubServices {
    pub(crate) hubs: Vec<Arc<Hub>>,
    /// The connections of this process.
    pub(crate) connections: Connections,
    pub(crate) limiter: ConnectionLimiter,
    /// The groups of this process.
    pub(crate) groups: GroupDirectory,
    /// Sends to clients and changes their membership, wherever they are connected.
    pub(crate) router: Arc<Router>,
    pub(crate) durable: Arc<DurableGroups>,
    pub(crate) presence: Arc<Presence>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) drain: Drain,
}

impl HubServices {
    /// The hub with that name, compared case-sensitively.
    pub(crate) fn hub(&self, name: &str) -> Option<&Arc<Hub>> {
        self.hubs.iter().find(|hub| **hub.name() == *name)
    }
}
