//! What the engine needs remembered: who belongs to which group for good, which connections are
//! open on which node, and which rejoin tokens are spent.
//!
//! Role: one trait of eight verbs; the database behind it is nobody else's business.
//! Life: built before the engine, shared by it, outlives every actor.
//! Neighbours: the `Membership` and `Pipeline` actors call it, and whoever revokes tokens or lists members.
//! Never: it does not know of live groups, and no call of it waits for a client.
//!
//! Users are what is stored; connections are leases that a dead process loses.
//! [`memory::MemoryStore`] is complete and keeps nothing; [`sea::SeaStore`] keeps it all in a database.

use std::{
    future::Future,
    pin::Pin,
    time::{Duration, SystemTime},
};

use crate::ids::{ConnectionId, GroupName, HubName, NodeId, UserId};

pub(crate) use handle::StoreHandle;

#[cfg(any(test, feature = "testkit"))]
pub mod conformance;
#[cfg(any(test, feature = "testkit"))]
pub mod faulty;
mod handle;
pub mod memory;
pub mod sea;

/// Whose durable groups: those of a user on one hub.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Owner {
    /// The hub.
    pub hub: HubName,
    /// The user.
    pub user: UserId,
}

/// What a write did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// The row was not as wanted, and now is.
    Made,
    /// It was so already; nothing was written.
    Already,
}

fn made(changed: bool) -> Change {
    if changed { Change::Made } else { Change::Already }
}

/// A part of a sorted list.
#[derive(Clone, Debug)]
pub struct Page {
    /// Only what sorts after this; from the start when absent.
    pub after: Option<UserId>,
    /// At most so many rows.
    pub limit: u64,
}

/// The durable members of a group, in order of their names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Members {
    /// The rows of the page.
    pub users: Vec<UserId>,
    /// How many there are in all.
    pub total: u64,
}

/// A process that holds leases.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its configured name. A process that starts under a name takes over from whoever had it.
    pub id: NodeId,
    /// This run of it, different at each start.
    pub incarnation: String,
}

/// An open connection as its row says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The connection.
    pub connection: ConnectionId,
    /// Its user, if it has one.
    pub user: Option<UserId>,
    /// What the client called itself.
    pub user_agent: String,
    /// The transport by its name on the wire.
    pub transport: String,
    /// When it was opened.
    pub since: SystemTime,
}

/// One change of the leases.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LeaseChange {
    /// The connection is open on this node.
    Opened(Lease),
    /// It has ended.
    Closed(ConnectionId),
}

/// A rejoin token that somebody presents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redemption {
    /// The user that it names, if any.
    pub user: Option<UserId>,
    /// When it was issued.
    pub issued: SystemTime,
    /// The family and epoch to spend, for tokens that may be used once; spent until `expires`.
    pub once: Option<Spend>,
}

/// The single use of a token: one epoch of one family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spend {
    /// The rejoin family: a chain of connections, each of which continued the one before.
    pub family: String,
    /// The link of the chain.
    pub epoch: u64,
    /// When the record of this use may be forgotten, since the token is refused by its age.
    pub expires: SystemTime,
}

/// What the store says of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing speaks against it; if it may be used once, this was the use.
    Accepted,
    /// Its epoch was used before.
    Replayed,
    /// Its user's tokens of that age were revoked.
    Revoked,
}

/// Why the store could not answer, by what the caller can do about it.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// Not now; the same call may succeed later. Nothing was changed, or it was changed as asked.
    #[error("the store is unavailable: {0}")]
    Unavailable(String),
    /// What is stored makes no sense; trying again will not help.
    #[error("the store holds data that cannot be read: {0}")]
    Corrupt(String),
    /// There is no such store: its address is wrong. Only connecting answers this, no verb does.
    #[error("the store's address is wrong: {0}")]
    Address(String),
}

impl Error {
    pub(crate) fn no_answer() -> Self {
        Self::Unavailable("no answer in time".into())
    }
}

/// What the engine needs remembered.
///
/// Every verb may be called from any thread, answers only when its effect is durable, and may be
/// repeated, but for [`Store::redeem`]: a second call with the same arguments changes nothing. A call that is given
/// up before its answer has had its effect whole or not at all, and has none later.
pub trait Store: Send + Sync + 'static {
    /// The durable groups of each of `owners`, in their order; an unknown user has none.
    ///
    /// A few queries for the whole batch, never one for each owner.
    fn groups_of(&self, owners: &[Owner]) -> impl Future<Output = Result<Vec<Vec<GroupName>>, Error>> + Send;

    /// Makes the user a durable member; the user's and the group's rows are made when missing.
    fn add(&self, owner: &Owner, group: &GroupName) -> impl Future<Output = Result<Change, Error>> + Send;

    /// Ends the user's durable membership; the rows of the user and of the group stay.
    fn remove(&self, owner: &Owner, group: &GroupName) -> impl Future<Output = Result<Change, Error>> + Send;

    /// The durable members of a group, sorted by name.
    fn members(
        &self,
        hub: &HubName,
        group: &GroupName,
        page: &Page,
    ) -> impl Future<Output = Result<Members, Error>> + Send;

    /// Writes the leases of connections on `node`, in order.
    ///
    /// Whoever opened a connection last holds its lease, and only the holder's word closes it: what a node
    /// has to say too late changes nothing. A node renews before it opens its first lease; until then it
    /// counts as one whose lease has run out.
    fn lease(&self, node: &Node, changes: &[LeaseChange]) -> impl Future<Output = Result<(), Error>> + Send;

    /// Renews the lease of `node` for `term` from `now` and removes what dead processes left: the rows of
    /// earlier incarnations of this node, of nodes whose lease has run out, and spent tokens that have
    /// expired. Answers how many connections' rows were removed.
    ///
    /// A node that comes later than `term` may find its own rows removed, and opens its leases again.
    fn renew(&self, node: &Node, now: SystemTime, term: Duration) -> impl Future<Output = Result<u64, Error>> + Send;

    /// Judges a token and, if it may be used once, spends it: of two callers with the same epoch one
    /// is told [`Verdict::Accepted`]. A token that is revoked is not spent.
    fn redeem(&self, redemption: &Redemption) -> impl Future<Output = Result<Verdict, Error>> + Send;

    /// Revokes every rejoin token of `user` issued before `before`, to the millisecond; never moves an
    /// earlier revocation back. The user need not be known.
    fn revoke(&self, user: &UserId, before: SystemTime) -> impl Future<Output = Result<(), Error>> + Send;
}

/// The answer of a stored verb behind [`DynStore`].
pub type StoreFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send + 'a>>;

/// [`Store`] as an object: every store is one, and nobody implements it by hand.
pub trait DynStore: Send + Sync + 'static {
    /// See [`Store::groups_of`].
    fn groups_of<'a>(&'a self, owners: &'a [Owner]) -> StoreFuture<'a, Vec<Vec<GroupName>>>;
    /// See [`Store::add`].
    fn add<'a>(&'a self, owner: &'a Owner, group: &'a GroupName) -> StoreFuture<'a, Change>;
    /// See [`Store::remove`].
    fn remove<'a>(&'a self, owner: &'a Owner, group: &'a GroupName) -> StoreFuture<'a, Change>;
    /// See [`Store::members`].
    fn members<'a>(&'a self, hub: &'a HubName, group: &'a GroupName, page: &'a Page) -> StoreFuture<'a, Members>;
    /// See [`Store::lease`].
    fn lease<'a>(&'a self, node: &'a Node, changes: &'a [LeaseChange]) -> StoreFuture<'a, ()>;
    /// See [`Store::renew`].
    fn renew<'a>(&'a self, node: &'a Node, now: SystemTime, term: Duration) -> StoreFuture<'a, u64>;
    /// See [`Store::redeem`].
    fn redeem<'a>(&'a self, redemption: &'a Redemption) -> StoreFuture<'a, Verdict>;
    /// See [`Store::revoke`].
    fn revoke<'a>(&'a self, user: &'a UserId, before: SystemTime) -> StoreFuture<'a, ()>;
}

impl<S: Store> DynStore for S {
    fn groups_of<'a>(&'a self, owners: &'a [Owner]) -> StoreFuture<'a, Vec<Vec<GroupName>>> {
        Box::pin(Store::groups_of(self, owners))
    }

    fn add<'a>(&'a self, owner: &'a Owner, group: &'a GroupName) -> StoreFuture<'a, Change> {
        Box::pin(Store::add(self, owner, group))
    }

    fn remove<'a>(&'a self, owner: &'a Owner, group: &'a GroupName) -> StoreFuture<'a, Change> {
        Box::pin(Store::remove(self, owner, group))
    }

    fn members<'a>(&'a self, hub: &'a HubName, group: &'a GroupName, page: &'a Page) -> StoreFuture<'a, Members> {
        Box::pin(Store::members(self, hub, group, page))
    }

    fn lease<'a>(&'a self, node: &'a Node, changes: &'a [LeaseChange]) -> StoreFuture<'a, ()> {
        Box::pin(Store::lease(self, node, changes))
    }

    fn renew<'a>(&'a self, node: &'a Node, now: SystemTime, term: Duration) -> StoreFuture<'a, u64> {
        Box::pin(Store::renew(self, node, now, term))
    }

    fn redeem<'a>(&'a self, redemption: &'a Redemption) -> StoreFuture<'a, Verdict> {
        Box::pin(Store::redeem(self, redemption))
    }

    fn revoke<'a>(&'a self, user: &'a UserId, before: SystemTime) -> StoreFuture<'a, ()> {
        Box::pin(Store::revoke(self, user, before))
    }
}
