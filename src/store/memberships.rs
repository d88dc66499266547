//! Durable memberships of users in groups, and the store of them.

use std::future::Future;

use super::{Error, StoreFuture};
use crate::ids::{GroupName, HubName, UserId};

/// A user on one hub: the owner of a set of durable groups.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
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
    /// The name for operators.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Unchanged => "unchanged",
        }
    }

    pub(super) fn applied_if(changed: bool) -> Self {
        if changed { Self::Applied } else { Self::Unchanged }
    }
}

/// A page of a list of members.
#[derive(Clone, Debug)]
pub struct Page {
    /// Return only members that follow this one in the order of the store; `None` starts at the beginning.
    pub after: Option<UserId>,
    /// The maximum number of members.
    pub limit: u64,
}

/// A page of the durable members of a group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Members {
    /// The members on this page.
    pub users: Vec<UserId>,
    /// The number of members on all pages, if the store [counts them](MembershipPromises::totals).
    pub total: Option<u64>,
}

/// What a membership store promises beyond the rest of its contract. The conformance suite tests each promise that a store
/// makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MembershipPromises {
    /// A few queries answer a call of [`MembershipStore::groups_of`] for any number of owners. Otherwise, each owner costs a
    /// query.
    pub batched_loads: bool,
    /// All changes of one call of [`MembershipStore::apply`] take effect, or none. Otherwise, each change by itself does.
    pub atomic_batches: bool,
    /// Members are listed in the order of the bytes of their names. Otherwise, the order is that of the store.
    pub sorted_members: bool,
    /// [`Members::total`] is known.
    pub totals: bool,
}

impl MembershipPromises {
    /// All promises.
    pub const ALL: Self = Self { batched_loads: true, atomic_batches: true, sorted_members: true, totals: true };
}

/// The store of durable memberships.
///
/// Every method can be called from any thread, returns only when its effect is durable, and is idempotent: a second call
/// with the same arguments changes nothing. A change whose future is dropped before it completes has taken effect in full
/// or not at all, and takes no effect after a later change of the same user.
pub trait MembershipStore: Send + Sync + 'static {
    /// What the store promises beyond the rest of this contract. Default: everything.
    fn promises(&self) -> MembershipPromises {
        MembershipPromises::ALL
    }

    /// Returns the durable groups of each of `owners`, in the order of `owners`; an unknown user has none.
    ///
    /// A storm of reconnects arrives in batches of 1,000: see [`MembershipPromises::batched_loads`].
    fn groups_of(&self, owners: &[Owner]) -> impl Future<Output = Result<Vec<Vec<GroupName>>, Error>> + Send;

    /// Makes users durable members of groups, or ends memberships, in order. Returns the effect of each change, in the
    /// order of `changes`.
    ///
    /// The records of a group and of a user end with the last membership.
    ///
    /// # Errors
    /// None of the changes has taken effect if the store promises
    /// [`atomic_batches`](MembershipPromises::atomic_batches), otherwise any of them can.
    fn apply(&self, changes: &[MembershipChange]) -> impl Future<Output = Result<Vec<Change>, Error>> + Send;

    /// Makes the user a durable member: [`MembershipStore::apply`] of one change.
    fn add(&self, owner: &Owner, group: &GroupName) -> impl Future<Output = Result<Change, Error>> + Send {
        apply_one(self, owner, group, MembershipOp::Add)
    }

    /// Ends the user's durable membership: [`MembershipStore::apply`] of one change.
    fn remove(&self, owner: &Owner, group: &GroupName) -> impl Future<Output = Result<Change, Error>> + Send {
        apply_one(self, owner, group, MembershipOp::Remove)
    }

    /// Returns a page of the durable members of a group.
    fn members(
        &self,
        hub: &HubName,
        group: &GroupName,
        page: &Page,
    ) -> impl Future<Output = Result<Members, Error>> + Send;
}

async fn apply_one(
    store: &(impl MembershipStore + ?Sized),
    owner: &Owner,
    group: &GroupName,
    op: MembershipOp,
) -> Result<Change, Error> {
    let change = MembershipChange { owner: owner.clone(), group: group.clone(), op };
    let effects = store.apply(&[change]).await?;
    effects.first().copied().ok_or_else(Error::missing_effect)
}

/// The object-safe form of [`MembershipStore`]. Every such store implements it through a blanket implementation.
pub trait DynMembershipStore: Send + Sync + 'static {
    /// See [`MembershipStore::promises`].
    fn promises(&self) -> MembershipPromises;
    /// See [`MembershipStore::groups_of`].
    fn groups_of<'a>(&'a self, owners: &'a [Owner]) -> StoreFuture<'a, Vec<Vec<GroupName>>>;
    /// See [`MembershipStore::apply`].
    fn apply<'a>(&'a self, changes: &'a [MembershipChange]) -> StoreFuture<'a, Vec<Change>>;
    /// See [`MembershipStore::add`].
    fn add<'a>(&'a self, owner: &'a Owner, group: &'a GroupName) -> StoreFuture<'a, Change>;
    /// See [`MembershipStore::remove`].
    fn remove<'a>(&'a self, owner: &'a Owner, group: &'a GroupName) -> StoreFuture<'a, Change>;
    /// See [`MembershipStore::members`].
    fn members<'a>(&'a self, hub: &'a HubName, group: &'a GroupName, page: &'a Page) -> StoreFuture<'a, Members>;
}

impl<S: MembershipStore> DynMembershipStore for S {
    fn promises(&self) -> MembershipPromises {
        MembershipStore::promises(self)
    }

    fn groups_of<'a>(&'a self, owners: &'a [Owner]) -> StoreFuture<'a, Vec<Vec<GroupName>>> {
        Box::pin(MembershipStore::groups_of(self, owners))
    }

    fn apply<'a>(&'a self, changes: &'a [MembershipChange]) -> StoreFuture<'a, Vec<Change>> {
        Box::pin(MembershipStore::apply(self, changes))
    }

    fn add<'a>(&'a self, owner: &'a Owner, group: &'a GroupName) -> StoreFuture<'a, Change> {
        Box::pin(MembershipStore::add(self, owner, group))
    }

    fn remove<'a>(&'a self, owner: &'a Owner, group: &'a GroupName) -> StoreFuture<'a, Change> {
        Box::pin(MembershipStore::remove(self, owner, group))
    }

    fn members<'a>(&'a self, hub: &'a HubName, group: &'a GroupName, page: &'a Page) -> StoreFuture<'a, Members> {
        Box::pin(MembershipStore::members(self, hub, group, page))
    }
}
