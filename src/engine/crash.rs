//! Crashes actors of a running engine, so that tests can observe the effects on clients.

use super::Engine;
use crate::{
    connections::Command,
    ids::{ConnectionId, GroupKey, GroupName, HubName},
    supervised::Crash,
};

/// The actors to crash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CrashTarget {
    /// The actor of durable memberships.
    Membership,
    /// The actor that processes rejoin requests.
    Pipeline,
    /// The actor that compares live memberships with the store.
    Reconciler,
    /// All shards of the groups.
    Shards,
    /// One group.
    Group(HubName, GroupName),
    /// One connection.
    Connection(ConnectionId),
}

impl Engine {
    /// Makes an actor panic, and returns when it has. Does nothing if the actor does not exist.
    pub async fn crash(&self, target: &CrashTarget) {
        match target {
            CrashTarget::Membership => drop(self.services.durable.membership.send_once(Crash).await),
            CrashTarget::Pipeline => drop(self.rejoin_service.pipeline.send_once(Crash).await),
            CrashTarget::Reconciler => drop(self.reconciler.send_once(Crash).await),
            CrashTarget::Shards => self.services.groups.crash(None).await,
            CrashTarget::Group(hub, name) => self.services.groups.crash(Some(&GroupKey::new(hub, name))).await,
            CrashTarget::Connection(id) => {
                if let Some(handle) = self.services.connections.find(id) {
                    // It panics before it can reply.
                    let _ = handle.commands.send(Command::Crash).await;
                }
            }
        }
    }
}
