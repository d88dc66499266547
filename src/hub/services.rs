//! Services that all hubs of a process share: connections, groups, the store and metrics.

use std::{
    num::NonZeroUsize,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::SystemTime,
};

use tokio_util::task::TaskTracker;

use super::{Hub, Identity, KeyedMutex, Request};
use crate::{
    connections::{
        ConnectionHandle, ConnectionLimiter, ConnectionPermit, Connections, JoinCause, LimitReached, Reconnect,
        disconnect_all,
    },
    group::{Joined, Left},
    groups::{self, GroupDirectory},
    ids::{ConnectionId, GroupKey, GroupName, UserId},
    membership::{Check, Load, Membership},
    metrics::Metrics,
    store::{Error, Owner, StoreHandle},
    supervised::Supervised,
};

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct HubServices {
    pub(crate) hubs: Vec<Arc<Hub>>,
    pub(crate) connections: Connections,
    pub(crate) limiter: ConnectionLimiter,
    pub(crate) groups: GroupDirectory,
    pub(crate) membership: Supervised<Membership>,
    pub(crate) store: StoreHandle,
    /// The maximum number of durable changes that a client may cause per second.
    pub(crate) durable_rate: Option<NonZeroUsize>,
    /// Serializes durable changes by user and group.
    pub(crate) durable_locks: KeyedMutex<(Owner, GroupName)>,
    pub(crate) metrics: Arc<Metrics>,
    /// Hub methods and hooks that are running. Shutdown waits until they have finished.
    pub(crate) hub_tasks: TaskTracker,
    /// True once shutdown has begun. New connections are refused.
    pub(crate) is_draining: AtomicBool,
}

impl HubServices {
    pub(crate) fn is_draining(&self) -> bool {
        self.is_draining.load(Ordering::Relaxed)
    }

    /// Checks whether a client could connect now.
    ///
    /// # Errors
    /// The limit that is reached. It is counted.
    pub(crate) fn check_limits(&self, client: &Identity, request: &Request) -> Result<(), LimitReached> {
        let checked = self.limiter.check(client.user.as_ref(), request.address());
        checked.inspect_err(|_| self.metrics.connections_refused.increment())
    }

    /// Counts a new connection of a client against the limits, until the permit is dropped.
    ///
    /// # Errors
    /// The limit that is reached. It is counted.
    pub(crate) fn admit(&self, client: &Identity, request: &Request) -> Result<ConnectionPermit, LimitReached> {
        let permit = self.limiter.acquire(client.user.as_ref(), request.address());
        permit.inspect_err(|_| self.metrics.connections_refused.increment())
    }

    /// The hub with that name, compared case-sensitively.
    pub(crate) fn hub(&self, name: &str) -> Option<&Arc<Hub>> {
        self.hubs.iter().find(|hub| **hub.name() == *name)
    }

    /// The durable groups of a user.
    pub(crate) async fn durable_groups(&self, owner: &Owner) -> Result<Vec<GroupName>, Error> {
        let load = |answer| Load { owner: owner.clone(), answer };
        self.membership.ask(load).await.unwrap_or_else(|died| Err(Error::Unavailable(died.to_string())))
    }

    /// Revokes all rejoin tokens of a user that were issued until now.
    pub(crate) async fn revoke_tokens(&self, user: &UserId) -> Result<(), Error> {
        let now = SystemTime::now();
        self.store.call(|store| store.revoke(user, now)).await
    }

    /// Revokes the tokens of a user and ends its connections on all hubs. Returns the number of clients that were told.
    ///
    /// Order: the first revocation refuses the tokens of clients that return at once. The second one covers tokens that
    /// were issued between the first and the end of the connections.
    pub(crate) async fn sign_out(&self, user: &UserId) -> Result<usize, Error> {
        self.revoke_tokens(user).await?;
        let told = disconnect_all(&self.connections.of_user_on_any_hub(user), Reconnect::Deny).await;
        self.revoke_tokens(user).await?;
        Ok(told)
    }

    /// Writes to the store, or shares a write of the last second. The answer comes within a second.
    pub(crate) async fn check_store(&self) -> Result<(), Error> {
        let check = |answer| Check { answer };
        self.membership.ask(check).await.unwrap_or_else(|died| Err(Error::Unavailable(died.to_string())))
    }

    /// The connection with that id, unless it is bound to another hub.
    fn candidate(&self, id: &ConnectionId, group: &GroupKey) -> Option<Arc<ConnectionHandle>> {
        self.connections.find(id).filter(|handle| handle.hub.as_ref().is_none_or(|own| *own == group.hub))
    }

    /// Adds a connection to a group. `None` if there is no such connection on the group's hub.
    pub(crate) async fn join(
        &self,
        id: &ConnectionId,
        group: &Arc<GroupKey>,
        cause: JoinCause,
    ) -> Result<Option<Joined>, groups::Error> {
        match self.candidate(id, group) {
            Some(handle) => handle.join(group, cause).await,
            None => Ok(None),
        }
    }

    /// Removes a connection from a group. `None` if there is no such connection on the group's hub.
    pub(crate) async fn leave(&self, id: &ConnectionId, group: &Arc<GroupKey>) -> Result<Option<Left>, groups::Error> {
        match self.candidate(id, group) {
            Some(handle) => handle.leave(group).await,
            None => Ok(None),
        }
    }
}
