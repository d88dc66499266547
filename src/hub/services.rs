//! What every hub of a process shares: the living, their groups, and what is stored about their users.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use tokio_util::task::TaskTracker;

use super::{Hub, KeyedMutex};
use crate::{
    connections::{Command, ConnectionHandle, Connections, JoinCause},
    group::{Joined, Left},
    groups::{self, GroupDirectory},
    ids::{ConnectionId, GroupKey, GroupName},
    membership::{Load, Membership},
    metrics::Metrics,
    store::{Error, Owner, StoreHandle},
    supervised::Supervised,
};

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct HubServices {
    pub(crate) hubs: Vec<Arc<Hub>>,
    pub(crate) connections: Connections,
    pub(crate) groups: GroupDirectory,
    pub(crate) membership: Supervised<Membership>,
    pub(crate) store: StoreHandle,
    /// For durable changes.
    pub(crate) turns: KeyedMutex,
    pub(crate) metrics: Arc<Metrics>,
    /// What hubs do now; whoever stops the process waits for its end.
    pub(crate) at_work: TaskTracker,
    /// True once the process is about to end: whoever still comes is sent away.
    pub(crate) is_draining: AtomicBool,
}

impl HubServices {
    pub(crate) fn is_draining(&self) -> bool {
        self.is_draining.load(Ordering::Relaxed)
    }

    /// The hub of exactly that name.
    pub(crate) fn hub(&self, name: &str) -> Option<&Arc<Hub>> {
        self.hubs.iter().find(|hub| **hub.name() == *name)
    }

    /// The durable groups of a user.
    pub(crate) async fn durable_groups(&self, owner: &Owner) -> Result<Vec<GroupName>, Error> {
        let load = |answer| Load { owner: owner.clone(), answer };
        self.membership.ask(load).await.unwrap_or_else(|died| Err(Error::Unavailable(died.to_string())))
    }

    /// The connection of that id, unless it is on another hub for good.
    fn candidate(&self, id: &ConnectionId, group: &GroupKey) -> Option<Arc<ConnectionHandle>> {
        self.connections.find(id).filter(|handle| handle.hub.as_ref().is_none_or(|own| *own == group.hub))
    }

    /// Joins a connection to a group. `None`: there is no such connection on the group's hub.
    pub(crate) async fn join(
        &self,
        id: &ConnectionId,
        group: &Arc<GroupKey>,
        on_behalf_of: JoinCause,
    ) -> Result<Option<Joined>, groups::Error> {
        let command = |answer| Command::Join { group: Arc::clone(group), on_behalf_of, answer };
        match self.candidate(id, group) {
            Some(handle) => handle.ask(command).await.transpose(),
            None => Ok(None),
        }
    }

    /// Takes a connection out of a group. `None`: there is no such connection on the group's hub.
    pub(crate) async fn leave(&self, id: &ConnectionId, group: &Arc<GroupKey>) -> Result<Option<Left>, groups::Error> {
        match self.candidate(id, group) {
            Some(handle) => handle.ask(|answer| Command::Leave { group: Arc::clone(group), answer }).await.transpose(),
            None => Ok(None),
        }
    }
}
