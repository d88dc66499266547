//! Kills actors of a running engine, so that a test can see what their death does to clients.

use super::Engine;
use crate::{
    connections::Command,
    ids::{ConnectionId, GroupKey, GroupName, HubName},
    supervised::Crash,
};

/// Whom to kill.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CrashTarget {
    /// The supervisor of durable membership.
    Membership,
    /// The supervisor of rejoining.
    Pipeline,
    /// Every shard of the groups.
    Shards,
    /// One group.
    Group(HubName, GroupName),
    /// One connection.
    Connection(ConnectionId),
}

impl Engine {
    /// Has an actor panic, and answers when it has. One that there is not is as dead as it can be.
    pub async fn crash(&self, victim: &CrashTarget) {
        match victim {
            CrashTarget::Membership => drop(self.services.membership.send_once(Crash).await),
            CrashTarget::Pipeline => drop(self.classic.rejoin_service.pipeline.send_once(Crash).await),
            CrashTarget::Shards => self.services.groups.crash(None).await,
            CrashTarget::Group(hub, name) => self.services.groups.crash(Some(&GroupKey::new(hub, name))).await,
            CrashTarget::Connection(id) => {
                if let Some(handle) = self.services.connections.find(id) {
                    // It dies before it can answer.
                    let _ = handle.port.send(Command::Crash).await;
                }
            }
        }
    }
}
