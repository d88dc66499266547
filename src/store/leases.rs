//! Leases of open connections and of the names of nodes, and the store of them.

use std::{
    future::Future,
    time::{Duration, SystemTime},
};

use super::{Error, Process, Renewal, StoreFuture};
use crate::ids::{ConnectionId, NodeId, UserId};

/// A process that holds leases.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its configured name. One process at a time holds it.
    pub id: NodeId,
    /// Identifies the part of the process that opens leases. It differs after each start, and after each restart of that
    /// part within the process.
    pub incarnation: String,
    /// The process.
    pub process: Process,
}

/// The lease of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The connection.
    pub connection: ConnectionId,
    /// Its user, if it has one.
    pub user: Option<UserId>,
    /// The user agent that the client sent.
    pub user_agent: String,
    /// The transport, by its name on the wire.
    pub transport: String,
    /// When it was opened. It distinguishes the leases of one connection, to the millisecond.
    pub since: SystemTime,
}

/// The end of a lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseEnd {
    /// The connection.
    pub connection: ConnectionId,
    /// [`Lease::since`] of the lease that ends. A later lease of the connection does not end.
    pub since: SystemTime,
    /// When the connection ended.
    pub at: SystemTime,
    /// Why it ended.
    pub reason: CloseReason,
}

/// A change of one lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LeaseChange {
    /// The connection is open on this node.
    Opened(Lease),
    /// The connection has ended.
    Closed(LeaseEnd),
}

macro_rules! close_reasons {
    ($($(#[doc = $doc:literal])+ $reason:ident = $name:literal,)*) => {
        /// Why a lease is closed.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum CloseReason {
            $($(#[doc = $doc])+ $reason,)*
        }

        impl CloseReason {
            /// All reasons.
            pub const ALL: &[Self] = &[$(Self::$reason),*];

            /// The name in the store, of at most 32 characters.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$reason => $name,)*
                }
            }
        }
    };
}

close_reasons! {
    /// The client closed the connection.
    ClientClosed = "client_closed",
    /// The channel was lost, and the client did not return in time.
    Lost = "lost",
    /// The client sent nothing, or read nothing, for too long.
    Timeout = "timeout",
    /// A hub, the application or an operator ended the connection.
    Aborted = "aborted",
    /// The process stopped.
    Drained = "drained",
    /// The client violated the protocol.
    Faulted = "faulted",
    /// The credentials of the client expired.
    Expired = "expired",
    /// A hub refused the client, or its groups could not be restored.
    Refused = "refused",
    /// The connection ended by a panic.
    Crashed = "crashed",
    /// The node did not renew its lease in time. The process died, stopped or lost the store.
    NodeExpired = "node_expired",
    /// The part of the process that opens leases has restarted, and no longer knows the connection.
    NodeRestarted = "node_restarted",
}

impl CloseReason {
    /// The reason with this name.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|reason| reason.name() == name)
    }
}

/// The stored record of a connection: its latest lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseRecord {
    /// The lease.
    pub lease: Lease,
    /// The node that opened it.
    pub node: NodeId,
    /// When the connection was last known to be open: the last renewal of its node, or the end.
    pub last_seen: SystemTime,
    /// When the store closed the lease, and why. `None` while it is open.
    pub closed: Option<(SystemTime, CloseReason)>,
}

/// What the leases of a user tell about it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserActivity {
    /// The live nodes with open connections of the user, sorted.
    pub nodes: Vec<NodeId>,
    /// When the user was last known to have a connection. `None`: never, or more than [`LAST_SEEN_TERM`] ago.
    pub last_seen: Option<SystemTime>,
}

/// When a user was last known to have a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastSeen {
    /// The user.
    pub user: UserId,
    /// The end of a connection, or the last renewal of a node that has died.
    pub at: SystemTime,
}

/// How long a closed lease stays in the store: 24 h, so that an operator can look into the events of a day.
pub const CLOSED_LEASE_TERM: Duration = Duration::from_secs(24 * 60 * 60);

/// The maximum number of closed leases, about 8 MB: 20,000. The leases that were closed first are deleted first.
pub const MAX_CLOSED_LEASES: usize = 20_000;

/// How long the store keeps when a user was last seen: 90 days. Members that were away for longer have left for good in
/// most applications, and names that are never used again must not fill the store.
pub const LAST_SEEN_TERM: Duration = Duration::from_secs(90 * 24 * 60 * 60);

/// The store of leases.
///
/// Every method can be called from any thread, returns only when its effect is durable, and is idempotent. A call whose
/// future is dropped before it completes has taken effect in full or not at all, and takes no effect after a later call
/// of the same node. Times are precise to the millisecond.
///
/// An open lease is live while its node is: the node has renewed its own lease, and has opened the lease in its current
/// incarnation. A closed lease stays in the store for [`CLOSED_LEASE_TERM`], one of at most [`MAX_CLOSED_LEASES`].
pub trait LeaseStore: Send + Sync + 'static {
    /// Writes lease changes of connections on `node`, in order.
    ///
    /// A connection has one lease. A node takes over the lease that another node has opened, unless that one is open and
    /// was opened later ([`Lease::since`]). Only the holder can close a lease, and it names the lease by
    /// [`LeaseEnd::since`]: a late report of another node, or of an earlier lease, changes nothing.
    ///
    /// A node must call [`LeaseStore::renew`] before it opens its first lease; until then it counts as expired.
    fn lease(&self, node: &Node, changes: &[LeaseChange]) -> impl Future<Output = Result<(), Error>> + Send;

    /// Takes the name of `node` for its process, or renews it, for `term` from `now`. Closes the leases of earlier
    /// incarnations of this node ([`CloseReason::NodeRestarted`]) and of expired nodes ([`CloseReason::NodeExpired`]), and
    /// deletes closed leases and last-seen times that are too old. Of many leases, it can leave some to the next renewals.
    /// Of all nodes, one learns that a lease was closed so: the users may be offline now, and no other process reports it.
    ///
    /// If another process holds the name, and its lease has not expired, nothing changes: [`Renewal::Held`]. Of two
    /// processes that take a free name at the same time, one gets it.
    ///
    /// If a node renews later than `term`, its own leases may have been closed. It then opens them again.
    fn renew(
        &self,
        node: &Node,
        now: SystemTime,
        term: Duration,
    ) -> impl Future<Output = Result<Renewal, Error>> + Send;

    /// Lets the lease of `node` expire at once, if its process holds the name, so that another process can take it. The
    /// next renewal of any node closes its leases.
    fn release(&self, node: &Node) -> impl Future<Output = Result<(), Error>> + Send;

    /// Returns the number of nodes that have renewed or opened a lease and have not been deleted.
    fn nodes(&self) -> impl Future<Output = Result<u64, Error>> + Send;

    /// Returns the record of a connection, if the store still has it.
    fn find(&self, connection: &ConnectionId) -> impl Future<Output = Result<Option<LeaseRecord>, Error>> + Send;

    /// Returns the activity of each of `users` at `now`, in their order.
    fn activity(
        &self,
        users: &[UserId],
        now: SystemTime,
    ) -> impl Future<Output = Result<Vec<UserActivity>, Error>> + Send;
}

/// The object-safe form of [`LeaseStore`]. Every such store implements it through a blanket implementation.
pub trait DynLeaseStore: Send + Sync + 'static {
    /// See [`LeaseStore::lease`].
    fn lease<'a>(&'a self, node: &'a Node, changes: &'a [LeaseChange]) -> StoreFuture<'a, ()>;
    /// See [`LeaseStore::renew`].
    fn renew<'a>(&'a self, node: &'a Node, now: SystemTime, term: Duration) -> StoreFuture<'a, Renewal>;
    /// See [`LeaseStore::release`].
    fn release<'a>(&'a self, node: &'a Node) -> StoreFuture<'a, ()>;
    /// See [`LeaseStore::nodes`].
    fn nodes(&self) -> StoreFuture<'_, u64>;
    /// See [`LeaseStore::find`].
    fn find<'a>(&'a self, connection: &'a ConnectionId) -> StoreFuture<'a, Option<LeaseRecord>>;
    /// See [`LeaseStore::activity`].
    fn activity<'a>(&'a self, users: &'a [UserId], now: SystemTime) -> StoreFuture<'a, Vec<UserActivity>>;
}

impl<S: LeaseStore> DynLeaseStore for S {
    fn lease<'a>(&'a self, node: &'a Node, changes: &'a [LeaseChange]) -> StoreFuture<'a, ()> {
        Box::pin(LeaseStore::lease(self, node, changes))
    }

    fn renew<'a>(&'a self, node: &'a Node, now: SystemTime, term: Duration) -> StoreFuture<'a, Renewal> {
        Box::pin(LeaseStore::renew(self, node, now, term))
    }

    fn release<'a>(&'a self, node: &'a Node) -> StoreFuture<'a, ()> {
        Box::pin(LeaseStore::release(self, node))
    }

    fn nodes(&self) -> StoreFuture<'_, u64> {
        Box::pin(LeaseStore::nodes(self))
    }

    fn find<'a>(&'a self, connection: &'a ConnectionId) -> StoreFuture<'a, Option<LeaseRecord>> {
        Box::pin(LeaseStore::find(self, connection))
    }

    fn activity<'a>(&'a self, users: &'a [UserId], now: SystemTime) -> StoreFuture<'a, Vec<UserActivity>> {
        Box::pin(LeaseStore::activity(self, users, now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_have_short_and_different_names() {
        for reason in CloseReason::ALL {
            assert_eq!(CloseReason::of_name(reason.name()), Some(*reason));
            assert!(reason.name().len() <= 32);
        }
        assert_eq!(CloseReason::of_name("sunset"), None);
    }
}
