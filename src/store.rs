//! Durable state of the engine: durable group memberships, leases of open connections, and used rejoin tokens.
//!
//! The [`Store`] trait has eight methods to implement and hides the database behind them. An application builds its store before
//! the engine. The engine shares it, and it outlives every actor. The `Membership` and `Pipeline` actors call it, and
//! so do the hub functions that revoke tokens or list members. A store does not know live groups, and none of its
//! calls waits for a client.
//!
//! Users and their memberships are durable. Connections are leases: when a process dies, its leases expire.
//! [`memory::MemoryStore`] implements the whole contract without persistence; `sea::SeaStore` (feature `database`) persists to a database.

use std::{
    future::Future,
    time::{Duration, SystemTime},
};

use crate::ids::{ConnectionId, GroupName, HubName, NodeId, UserId};

pub use dynamic::{DynStore, StoreFuture};
pub(crate) use handle::StoreHandle;
pub use process::{NodeLease, Process, Renewal};

#[cfg(any(test, feature = "testkit"))]
pub mod conformance;
mod dynamic;
#[cfg(any(test, feature = "testkit"))]
pub mod faulty;
mod handle;
pub mod memory;
mod process;
#[cfg(feature = "database")]
pub mod sea;

/// The maximum difference between the clocks of two nodes that revocations allow for. Clocks that are synchronized over
/// a network differ by far less.
pub const CLOCK_TOLERANCE: Duration = Duration::from_secs(10);

/// A user on one hub: the owner of a set of durable groups.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Owner {
    /// The hub.
    pub hub: HubName,
    /// The user.
    pub user: UserId,
}

/// A change of one durable membership.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MembershipChange {
    /// The user and the hub.
    pub owner: Owner,
    /// The group.
    pub group: GroupName,
    /// Whether the user becomes a member or ceases to be one.
    pub op: MembershipOp,
}

/// The kind of a [`MembershipChange`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MembershipOp {
    /// Make the user a member.
    Add,
    /// End the user's membership.
    Remove,
}

/// The effect of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// The write changed the stored state.
    Applied,
    /// The stored state was already as requested; nothing was written.
    Unchanged,
}

impl Change {
    fn applied_if(changed: bool) -> Self {
        if changed { Self::Applied } else { Self::Unchanged }
    }
}

/// A page of a sorted list.
#[derive(Clone, Debug)]
pub struct Page {
    /// Return only entries that sort after this one; `None` starts at the beginning.
    pub after: Option<UserId>,
    /// The maximum number of entries.
    pub limit: u64,
}

/// A page of the durable members of a group, sorted by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Members {
    /// The members on this page.
    pub users: Vec<UserId>,
    /// The number of members on all pages.
    pub total: u64,
}

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

/// A rejoin token that a client presents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redemption {
    /// The user that the token names, if any.
    pub user: Option<UserId>,
    /// When the token was issued.
    pub issued_at: SystemTime,
    /// The use to record, for single-use tokens. `None` if the token may be used repeatedly.
    pub single_use: Option<TokenUse>,
}

/// The single use of a token: one epoch of one family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenUse {
    /// The rejoin family: a chain of connections, each of which continues the previous one.
    pub family: String,
    /// The position in the chain.
    pub epoch: u64,
    /// When the record of this use can be deleted, because the token itself has expired by then.
    pub expires_at: SystemTime,
    /// The connection that uses the token.
    pub holder: Holder,
    /// A previous holder, if the caller knows that it has ended. The token can be taken over from it.
    pub ended: Option<Holder>,
}

/// The connection that has used a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The connection.
    pub connection: ConnectionId,
    /// The node that serves it.
    pub node: NodeId,
}

/// The store's verdict on a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The token is valid. A single-use token is now used.
    Accepted,
    /// A later epoch of the family was used.
    Replayed,
    /// The epoch of the token is the latest of its family that was used, and this connection holds it. The token can be
    /// taken over when the connection has ended: see [`Store::redeem`].
    InUse(Holder),
    /// Tokens of this user issued at that time are revoked.
    Revoked,
}

/// Why a store call failed. Each variant asks for a different reaction of the caller.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// The store does not answer now; the same call can succeed later. The requested change was applied in full or not
    /// at all. Operators read the text, also at a route without a token: it must not contain secrets.
    #[error("the store is unavailable: {0}")]
    Unavailable(String),
    /// The stored data cannot be read; a retry does not help.
    #[error("the store holds data that cannot be read: {0}")]
    Corrupt(String),
    /// The store cannot hold a value of the request, such as a name with a NUL character in PostgreSQL. Nothing has changed,
    /// and a retry does not help.
    #[error("the store does not support a value: {0}")]
    Unsupported(String),
    /// The address of the store is invalid, or its server refuses the user that it names. Only connecting returns this error; the methods of [`Store`] do not.
    #[error("the store's address is wrong: {0}")]
    Address(String),
}

impl Error {
    pub(crate) fn timed_out() -> Self {
        Self::Unavailable("no answer in time".into())
    }
}

/// Durable state of the engine.
///
/// Every method can be called from any thread and returns only when its effect is durable. Every method except
/// [`Store::redeem`] is idempotent: a second call with the same arguments changes nothing. A call whose future is
/// dropped before it completes has taken effect in full or not at all, and takes no effect later.
pub trait Store: Send + Sync + 'static {
    /// Returns the durable groups of each of `owners`, in the order of `owners`; an unknown user has none.
    ///
    /// An implementation uses a few queries for the whole batch, never one per owner.
    fn groups_of(&self, owners: &[Owner]) -> impl Future<Output = Result<Vec<Vec<GroupName>>, Error>> + Send;

    /// Makes users durable members of groups, or ends memberships, in order and in one transaction: all changes of the
    /// list are applied, or none. Returns the effect of each change, in the order of `changes`.
    ///
    /// The records of a group and of a user, except for a revocation, end with the last membership.
    fn apply(&self, changes: &[MembershipChange]) -> impl Future<Output = Result<Vec<Change>, Error>> + Send;

    /// Makes the user a durable member: [`Store::apply`] of one change.
    fn add(&self, owner: &Owner, group: &GroupName) -> impl Future<Output = Result<Change, Error>> + Send {
        apply_one(self, owner, group, MembershipOp::Add)
    }

    /// Ends the user's durable membership: [`Store::apply`] of one change.
    fn remove(&self, owner: &Owner, group: &GroupName) -> impl Future<Output = Result<Change, Error>> + Send {
        apply_one(self, owner, group, MembershipOp::Remove)
    }

    /// Returns a page of the durable members of a group, sorted by name.
    fn members(
        &self,
        hub: &HubName,
        group: &GroupName,
        page: &Page,
    ) -> impl Future<Output = Result<Members, Error>> + Send;

    /// Writes lease changes of connections on `node`, in order.
    ///
    /// The node that opened a connection last holds its lease, and only the holder can close it: a late report of
    /// another node changes nothing. A closed connection of this node no longer holds a token (see [`Store::redeem`]). A
    /// node must call [`Store::renew`] before it opens its first lease; until then it
    /// counts as expired.
    fn lease(&self, node: &Node, changes: &[LeaseChange]) -> impl Future<Output = Result<(), Error>> + Send;

    /// Takes the name of `node` for its process, or renews it, for `term` from `now`. Deletes the connections of earlier
    /// incarnations of this node and of expired nodes, and the records of token uses that have expired.
    ///
    /// If another process holds the name, and its lease has not expired, nothing changes: [`Renewal::Held`]. Of two
    /// processes that take a free name at the same time, one gets it.
    ///
    /// Token uses expire by a clock that all nodes share. Each renewal sets it to `now`, but not further ahead than
    /// `term`. It follows the slowest node, so that a node whose clock is ahead deletes no records that others need.
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

    /// Validates a token and records the use of a single-use token: of two callers with the same epoch exactly one
    /// receives [`Verdict::Accepted`]. The use of a revoked token is not recorded.
    ///
    /// A client whose connection ends before it receives its next token has only the used token. Therefore the latest
    /// used epoch of a family is accepted again if its holder has ended. A store knows that from a
    /// [`LeaseChange::Closed`] of the holder's node, or from [`TokenUse::ended`]. An earlier epoch is never accepted.
    fn redeem(&self, redemption: &Redemption) -> impl Future<Output = Result<Verdict, Error>> + Send;

    /// Revokes every rejoin token of `user` issued before `before`, to the millisecond. An earlier `before` than that
    /// of a previous call changes nothing. The user can be unknown to the store.
    ///
    /// While more than one node holds a lease, tokens issued up to [`CLOCK_TOLERANCE`] later are revoked too: the clock
    /// of their node may be ahead.
    fn revoke(&self, user: &UserId, before: SystemTime) -> impl Future<Output = Result<(), Error>> + Send;
}

async fn apply_one(
    store: &(impl Store + ?Sized),
    owner: &Owner,
    group: &GroupName,
    op: MembershipOp,
) -> Result<Change, Error> {
    let change = MembershipChange { owner: owner.clone(), group: group.clone(), op };
    let effects = store.apply(&[change]).await?;
    effects.first().copied().ok_or_else(|| Error::Corrupt("the store returned no effect".into()))
}
