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

/// The stored record of an open connection.
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
    /// When it was opened.
    pub since: SystemTime,
}

/// A change of one lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LeaseChange {
    /// The connection is open on this node.
    Opened(Lease),
    /// The connection has ended.
    Closed(ConnectionId),
}

/// The store of leases.
///
/// Every method can be called from any thread, returns only when its effect is durable, and is idempotent. A call whose
/// future is dropped before it completes has taken effect in full or not at all, and takes no effect after a later call
/// of the same node.
pub trait LeaseStore: Send + Sync + 'static {
    /// Writes lease changes of connections on `node`, in order.
    ///
    /// The node that opened a connection last holds its lease, and only the holder can close it: a late report of
    /// another node changes nothing. A node must call [`LeaseStore::renew`] before it opens its first lease; until then
    /// it counts as expired.
    fn lease(&self, node: &Node, changes: &[LeaseChange]) -> impl Future<Output = Result<(), Error>> + Send;

    /// Takes the name of `node` for its process, or renews it, for `term` from `now`. Deletes the connections of earlier
    /// incarnations of this node and of expired nodes.
    ///
    /// If another process holds the name, and its lease has not expired, nothing changes: [`Renewal::Held`]. Of two
    /// processes that take a free name at the same time, one gets it.
    ///
    /// If a node renews later than `term`, its own connections may have been deleted. It then opens its leases again.
    fn renew(
        &self,
        node: &Node,
        now: SystemTime,
        term: Duration,
    ) -> impl Future<Output = Result<Renewal, Error>> + Send;

    /// Lets the lease of `node` expire at once, if its process holds the name, so that another process can take it. The
    /// next renewal of any node deletes its connections.
    fn release(&self, node: &Node) -> impl Future<Output = Result<(), Error>> + Send;

    /// Returns the number of nodes that have renewed or opened a lease and have not been deleted.
    fn nodes(&self) -> impl Future<Output = Result<u64, Error>> + Send;
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
}
