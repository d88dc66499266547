//! Kills actors of a running engine, so that a test can see what their death does to clients.

use super::Engine;
use crate::{
    connections::Command,
    ids::{ConnectionId, GroupKey, GroupName, HubName},
    supervised::Crash,
};

/// Whom to kill.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Victim {
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
    pub async fn crash(&self, victim: &Victim) {
        match victim {
            Victim::Membership => drop(self.world.membership.send_once(Crash).await),
            Victim::Pipeline => drop(self.classic.desk.pipeline.send_once(Crash).await),
            Victim::Shards => self.world.groups.crash(None).await,
            Victim::Group(hub, name) => self.world.groups.crash(Some(&GroupKey::new(hub, name))).await,
            Victim::Connection(id) => {
                if let Some(seat) = self.world.connections.find(id) {
                    // It dies before it can answer.
                    let _ = seat.port.send(Command::Crash).await;
                }
            }
        }
    }
}
