//! Used and revoked rejoin tokens, lists of groups that are too long for a token, and the store of them.

use std::{
    collections::HashSet,
    future::Future,
    sync::Arc,
    time::{Duration, SystemTime},
};

use super::{Error, StoreFuture};
use crate::ids::{ConnectionId, GroupKey, NodeId, UserId};

/// A rejoin token that a client presents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redemption {
    /// The user that the token names, if any.
    pub user: Option<UserId>,
    /// When the token was issued.
    pub issued_at: SystemTime,
    /// The groups that the token restores, as far as their tokens are not revoked.
    pub groups: Vec<Arc<GroupKey>>,
    /// The rejoin family whose stored list completes the token. `None` if the token lists all groups.
    pub list_of: Option<String>,
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
    /// A previous holder, if the caller knows that it has ended or that its client has gone. The token can be taken over
    /// from it.
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
    /// taken over when the connection has ended: see [`TokenStore::redeem`].
    InUse(Holder),
    /// Tokens of this user issued at that time are revoked.
    Revoked,
}

/// The answer of the store to a [`Redemption`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redeemed {
    /// The verdict on the token.
    pub verdict: Verdict,
    /// Those of [`Redemption::groups`] and of `list`, each once, that an accepted token does not restore, because the tokens
    /// of the group that were issued at that time are revoked.
    pub revoked_groups: Vec<Arc<GroupKey>>,
    /// The stored list that completes an accepted token, if the token needs one and the store has it.
    pub list: Option<GroupList>,
}

impl Redeemed {
    /// The answer to a token that restores nothing.
    pub(crate) fn refused(verdict: Verdict) -> Self {
        Self { verdict, revoked_groups: Vec::new(), list: None }
    }
}

/// The maximum number of lists that a store keeps, so that clients cannot fill it. Processes that share a store share this
/// number. With lists of at most 256 KiB they take at most 1 GiB.
pub const MAX_GROUP_LISTS: u64 = 4_096;

/// The groups of a client whose tokens cannot list all of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupList {
    /// The rejoin family of its tokens.
    pub family: String,
    /// The groups that the connection itself was added to. A list without groups deletes the stored one.
    pub groups: Vec<Arc<GroupKey>>,
    /// The number of groups that the list lacks, because it would be too long.
    pub omitted: u64,
    /// The last time at which the client was in these groups for certain, to the millisecond: the last change or token.
    pub written_at: SystemTime,
    /// When the list can be deleted, because the tokens that it completes have expired by then.
    pub expires_at: SystemTime,
}

/// The groups that a token restores together with its list, each once. Each has the time from which on a revocation concerns
/// it: a list can be older than the token.
pub(super) fn groups_of<'a>(
    redemption: &'a Redemption,
    list: Option<&'a GroupList>,
) -> impl Iterator<Item = (&'a Arc<GroupKey>, SystemTime)> {
    let issued_at = redemption.issued_at;
    let listed_at = list.map_or(issued_at, |list| list.written_at.min(issued_at));
    let known: HashSet<_> = list.into_iter().flat_map(|_| &redemption.groups).collect();
    let listed = list.into_iter().flat_map(|list| &list.groups).filter(move |group| !known.contains(group));
    let own = redemption.groups.iter().map(move |group| (group, issued_at));
    own.chain(listed.map(move |group| (group, listed_at)))
}

/// The store of used and revoked rejoin tokens, and of the lists of groups that are too long for a token.
///
/// Every method can be called from any thread and returns only when its effect is durable. Every method except
/// [`TokenStore::redeem_all`] and [`TokenStore::redeem`] is idempotent. A call whose future is dropped before it
/// completes has taken effect in full or not at all, and takes no effect after a later call for the same user or family.
pub trait TokenStore: Send + Sync + 'static {
    /// Validates tokens, one after another, and returns the answer to each, in their order. A storm of reconnects arrives
    /// in batches of up to 1,000 tokens, so a batch should cost a few queries, however many tokens it has.
    ///
    /// Records the use of a single-use token: of two callers with the same epoch exactly one receives
    /// [`Verdict::Accepted`]. The use of a revoked token is not recorded. A revocation of a group does not refuse a token.
    ///
    /// A client whose connection ends before it receives its next token has only the used token. Therefore the latest
    /// used epoch of a family is accepted again if its holder has ended. A store knows that from
    /// [`TokenStore::release_holders`], or from [`TokenUse::ended`]. An earlier epoch is never accepted.
    ///
    /// # Errors
    /// No use of the batch is recorded.
    fn redeem_all(&self, redemptions: &[Redemption]) -> impl Future<Output = Result<Vec<Redeemed>, Error>> + Send;

    /// The verdict on one token: [`TokenStore::redeem_all`] without its groups.
    fn redeem(&self, redemption: &Redemption) -> impl Future<Output = Result<Verdict, Error>> + Send {
        async move {
            let redeemed = self.redeem_all(std::slice::from_ref(redemption)).await?;
            redeemed.into_iter().next().map(|redeemed| redeemed.verdict).ok_or_else(Error::missing_verdict)
        }
    }

    /// Revokes every rejoin token of `user` issued before `before`, to the millisecond. An earlier `before` than that
    /// of a previous call changes nothing. The user can be unknown to the store.
    fn revoke(&self, user: &UserId, before: SystemTime) -> impl Future<Output = Result<(), Error>> + Send;

    /// Revokes a group in every rejoin token issued before `before`, to the millisecond: these tokens do not restore the
    /// group. An earlier `before` than that of a previous call changes nothing. The group can be unknown to the store.
    fn revoke_group(&self, group: &GroupKey, before: SystemTime) -> impl Future<Output = Result<(), Error>> + Send;

    /// Replaces the lists of these families. A list that is older than the stored one ([`GroupList::written_at`]) changes
    /// nothing: a node can be late. Of two lists of one family in a call the last one counts. Returns the number of lists that
    /// are not stored, because the store keeps [`MAX_GROUP_LISTS`] of other families already, or a few more if several
    /// processes write at the same time.
    fn save_lists(&self, lists: &[GroupList]) -> impl Future<Output = Result<u64, Error>> + Send;

    /// Records that connections of `node` have ended and no longer hold a token.
    fn release_holders(
        &self,
        node: &NodeId,
        connections: &[ConnectionId],
    ) -> impl Future<Output = Result<(), Error>> + Send;

    /// Deletes the records of uses and the lists that have expired, and the revocations whose tokens have all expired. If
    /// they are many, a call can leave some of them to the next calls: the renewal of a node waits for it.
    ///
    /// Records expire by a clock that all nodes share. Each call sets it to `now`, but not further ahead than `term`, the
    /// interval of at most that length at which every node calls. It follows the slowest node, so that a node whose clock
    /// is ahead deletes no records that others need. `lifetime` is that of the tokens of the calling node. A revocation is
    /// kept for the longest lifetime of all calls, because a node can have had a longer one when it issued a token.
    fn delete_expired(
        &self,
        now: SystemTime,
        term: Duration,
        lifetime: Duration,
    ) -> impl Future<Output = Result<(), Error>> + Send;
}

/// The object-safe form of [`TokenStore`]. Every such store implements it through a blanket implementation.
pub trait DynTokenStore: Send + Sync + 'static {
    /// See [`TokenStore::redeem_all`].
    fn redeem_all<'a>(&'a self, redemptions: &'a [Redemption]) -> StoreFuture<'a, Vec<Redeemed>>;
    /// See [`TokenStore::redeem`].
    fn redeem<'a>(&'a self, redemption: &'a Redemption) -> StoreFuture<'a, Verdict>;
    /// See [`TokenStore::revoke`].
    fn revoke<'a>(&'a self, user: &'a UserId, before: SystemTime) -> StoreFuture<'a, ()>;
    /// See [`TokenStore::revoke_group`].
    fn revoke_group<'a>(&'a self, group: &'a GroupKey, before: SystemTime) -> StoreFuture<'a, ()>;
    /// See [`TokenStore::save_lists`].
    fn save_lists<'a>(&'a self, lists: &'a [GroupList]) -> StoreFuture<'a, u64>;
    /// See [`TokenStore::release_holders`].
    fn release_holders<'a>(&'a self, node: &'a NodeId, connections: &'a [ConnectionId]) -> StoreFuture<'a, ()>;
    /// See [`TokenStore::delete_expired`].
    fn delete_expired(&self, now: SystemTime, term: Duration, lifetime: Duration) -> StoreFuture<'_, ()>;
}

impl<S: TokenStore> DynTokenStore for S {
    fn redeem_all<'a>(&'a self, redemptions: &'a [Redemption]) -> StoreFuture<'a, Vec<Redeemed>> {
        Box::pin(TokenStore::redeem_all(self, redemptions))
    }

    fn redeem<'a>(&'a self, redemption: &'a Redemption) -> StoreFuture<'a, Verdict> {
        Box::pin(TokenStore::redeem(self, redemption))
    }

    fn revoke<'a>(&'a self, user: &'a UserId, before: SystemTime) -> StoreFuture<'a, ()> {
        Box::pin(TokenStore::revoke(self, user, before))
    }

    fn revoke_group<'a>(&'a self, group: &'a GroupKey, before: SystemTime) -> StoreFuture<'a, ()> {
        Box::pin(TokenStore::revoke_group(self, group, before))
    }

    fn save_lists<'a>(&'a self, lists: &'a [GroupList]) -> StoreFuture<'a, u64> {
        Box::pin(TokenStore::save_lists(self, lists))
    }

    fn release_holders<'a>(&'a self, node: &'a NodeId, connections: &'a [ConnectionId]) -> StoreFuture<'a, ()> {
        Box::pin(TokenStore::release_holders(self, node, connections))
    }

    fn delete_expired(&self, now: SystemTime, term: Duration, lifetime: Duration) -> StoreFuture<'_, ()> {
        Box::pin(TokenStore::delete_expired(self, now, term, lifetime))
    }
}
