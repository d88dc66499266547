//! The object-safe form of [`Store`](super::Store), for stores behind a pointer.

use std::{
    future::Future,
    pin::Pin,
    time::{Duration, SystemTime},
};

use super::{
    Change, Error, LeaseChange, Members, MembershipChange, Node, Owner, Page, Redemption, Renewal, Store, Verdict,
};
use crate::ids::{GroupName, HubName, UserId};

/// The future of a method of [`DynStore`].
pub type StoreFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send + 'a>>;

/// The object-safe form of [`Store`]. Every store implements it through a blanket implementation.
pub trait DynStore: Send + Sync + 'static {
    /// See [`Store::groups_of`].
    fn groups_of<'a>(&'a self, owners: &'a [Owner]) -> StoreFuture<'a, Vec<Vec<GroupName>>>;
    /// See [`Store::apply`].
    fn apply<'a>(&'a self, changes: &'a [MembershipChange]) -> StoreFuture<'a, Vec<Change>>;
    /// See [`Store::add`].
    fn add<'a>(&'a self, owner: &'a Owner, group: &'a GroupName) -> StoreFuture<'a, Change>;
    /// See [`Store::remove`].
    fn remove<'a>(&'a self, owner: &'a Owner, group: &'a GroupName) -> StoreFuture<'a, Change>;
    /// See [`Store::members`].
    fn members<'a>(&'a self, hub: &'a HubName, group: &'a GroupName, page: &'a Page) -> StoreFuture<'a, Members>;
    /// See [`Store::lease`].
    fn lease<'a>(&'a self, node: &'a Node, changes: &'a [LeaseChange]) -> StoreFuture<'a, ()>;
    /// See [`Store::renew`].
    fn renew<'a>(&'a self, node: &'a Node, now: SystemTime, term: Duration) -> StoreFuture<'a, Renewal>;
    /// See [`Store::release`].
    fn release<'a>(&'a self, node: &'a Node) -> StoreFuture<'a, ()>;
    /// See [`Store::redeem`].
    fn redeem<'a>(&'a self, redemption: &'a Redemption) -> StoreFuture<'a, Verdict>;
    /// See [`Store::revoke`].
    fn revoke<'a>(&'a self, user: &'a UserId, before: SystemTime) -> StoreFuture<'a, ()>;
}

impl<S: Store> DynStore for S {
    fn groups_of<'a>(&'a self, owners: &'a [Owner]) -> StoreFuture<'a, Vec<Vec<GroupName>>> {
        Box::pin(Store::groups_of(self, owners))
    }

    fn apply<'a>(&'a self, changes: &'a [MembershipChange]) -> StoreFuture<'a, Vec<Change>> {
        Box::pin(Store::apply(self, changes))
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

    fn renew<'a>(&'a self, node: &'a Node, now: SystemTime, term: Duration) -> StoreFuture<'a, Renewal> {
        Box::pin(Store::renew(self, node, now, term))
    }

    fn release<'a>(&'a self, node: &'a Node) -> StoreFuture<'a, ()> {
        Box::pin(Store::release(self, node))
    }

    fn redeem<'a>(&'a self, redemption: &'a Redemption) -> StoreFuture<'a, Verdict> {
        Box::pin(Store::redeem(self, redemption))
    }

    fn revoke<'a>(&'a self, user: &'a UserId, before: SystemTime) -> StoreFuture<'a, ()> {
        Box::pin(Store::revoke(self, user, before))
    }
}
