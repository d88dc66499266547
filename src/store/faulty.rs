//! Fault injection: a store that forwards calls, refuses them, loses their replies, or holds them back.
//!
//! Tests use it to simulate outages without a database. It wraps any store and forwards calls in
//! [`FaultMode::None`]. It never sleeps: a held call continues when the test sets another mode.

use std::{
    future::Future,
    time::{Duration, SystemTime},
};

use tokio::sync::watch;

use super::{
    Change, Error, GroupList, LeaseChange, LeaseRecord, LeaseStore, Members, MembershipChange, MembershipPromises,
    MembershipStore, Node, Owner, Page, Redeemed, Redemption, Renewal, TokenStore, UserActivity,
};
use crate::ids::{ConnectionId, GroupKey, GroupName, HubName, NodeId, UserId};

/// How the store treats calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FaultMode {
    /// Forward the call.
    #[default]
    None,
    /// Return [`Error::Unavailable`] without effect.
    Refuse,
    /// Refuse one call, then continue in [`FaultMode::None`].
    RefuseOnce,
    /// Carry out the call, but return [`Error::Unavailable`].
    LoseReply,
    /// Hold the call until the mode changes, then treat it as the new mode says.
    Hold,
}

/// A store that fails on demand, for tests. Clones share the mode.
#[derive(Clone, Debug)]
pub struct FaultyStore<S> {
    inner: S,
    mode: watch::Sender<FaultMode>,
    calls: watch::Sender<Vec<&'static str>>,
}

impl<S> FaultyStore<S> {
    /// Wraps `inner`, in [`FaultMode::None`].
    pub fn new(inner: S) -> Self {
        Self { inner, mode: watch::Sender::default(), calls: watch::Sender::default() }
    }

    /// Sets the mode of the calls that are held now and of all later calls.
    pub fn set_mode(&self, mode: FaultMode) {
        self.mode.send_replace(mode);
    }

    /// Waits until `calls` calls have arrived since construction, in any mode.
    pub async fn wait_for_calls(&self, calls: usize) {
        let seen = self.calls.subscribe().wait_for(|seen| seen.len() >= calls).await.is_ok();
        debug_assert!(seen, "the sender lives in self");
    }

    /// The methods of the calls that have arrived since construction, in any mode.
    pub fn calls(&self) -> Vec<&'static str> {
        self.calls.borrow().clone()
    }

    async fn forward<T>(
        &self,
        method: &'static str,
        call: impl Future<Output = Result<T, Error>> + Send,
    ) -> Result<T, Error> {
        match self.effective_mode(method).await {
            FaultMode::Refuse | FaultMode::RefuseOnce => Err(outage()),
            FaultMode::LoseReply => call.await.and(Err(outage())),
            FaultMode::None | FaultMode::Hold => call.await,
        }
    }

    async fn effective_mode(&self, method: &'static str) -> FaultMode {
        self.calls.send_modify(|calls| calls.push(method));
        let mut mode = self.mode.subscribe();
        let mode = mode.wait_for(|mode| *mode != FaultMode::Hold).await.map_or(FaultMode::Refuse, |mode| *mode);
        // Of several concurrent calls, only the one that ends the mode is refused by it.
        let ended = self
            .mode
            .send_if_modified(|mode| *mode == FaultMode::RefuseOnce && std::mem::take(mode) == FaultMode::RefuseOnce);
        if mode == FaultMode::RefuseOnce && !ended { FaultMode::None } else { mode }
    }
}

fn outage() -> Error {
    Error::Unavailable("injected fault".into())
}

impl<S: MembershipStore> MembershipStore for FaultyStore<S> {
    fn promises(&self) -> MembershipPromises {
        self.inner.promises()
    }

    async fn groups_of(&self, owners: &[Owner]) -> Result<Vec<Vec<GroupName>>, Error> {
        self.forward("groups_of", self.inner.groups_of(owners)).await
    }

    async fn apply(&self, changes: &[MembershipChange]) -> Result<Vec<Change>, Error> {
        self.forward("apply", self.inner.apply(changes)).await
    }

    async fn members(&self, hub: &HubName, group: &GroupName, page: &Page) -> Result<Members, Error> {
        self.forward("members", self.inner.members(hub, group, page)).await
    }
}

impl<S: LeaseStore> LeaseStore for FaultyStore<S> {
    async fn lease(&self, node: &Node, changes: &[LeaseChange]) -> Result<(), Error> {
        self.forward("lease", self.inner.lease(node, changes)).await
    }

    async fn renew(&self, node: &Node, now: SystemTime, term: Duration) -> Result<Renewal, Error> {
        self.forward("renew", self.inner.renew(node, now, term)).await
    }

    async fn release(&self, node: &Node) -> Result<(), Error> {
        self.forward("release", self.inner.release(node)).await
    }

    async fn nodes(&self) -> Result<u64, Error> {
        self.forward("nodes", self.inner.nodes()).await
    }

    async fn find(&self, connection: &ConnectionId) -> Result<Option<LeaseRecord>, Error> {
        self.forward("find", self.inner.find(connection)).await
    }

    async fn activity(&self, users: &[UserId], now: SystemTime) -> Result<Vec<UserActivity>, Error> {
        self.forward("activity", self.inner.activity(users, now)).await
    }
}

impl<S: TokenStore> TokenStore for FaultyStore<S> {
    async fn redeem_all(&self, redemptions: &[Redemption]) -> Result<Vec<Redeemed>, Error> {
        self.forward("redeem_all", self.inner.redeem_all(redemptions)).await
    }

    async fn revoke(&self, user: &UserId, before: SystemTime) -> Result<(), Error> {
        self.forward("revoke", self.inner.revoke(user, before)).await
    }

    async fn revoke_group(&self, group: &GroupKey, before: SystemTime) -> Result<(), Error> {
        self.forward("revoke_group", self.inner.revoke_group(group, before)).await
    }

    async fn save_lists(&self, lists: &[GroupList]) -> Result<u64, Error> {
        self.forward("save_lists", self.inner.save_lists(lists)).await
    }

    async fn release_holders(&self, node: &NodeId, connections: &[ConnectionId]) -> Result<(), Error> {
        self.forward("release_holders", self.inner.release_holders(node, connections)).await
    }

    async fn delete_expired(&self, now: SystemTime, term: Duration, lifetime: Duration) -> Result<(), Error> {
        self.forward("delete_expired", self.inner.delete_expired(now, term, lifetime)).await
    }
}

#[cfg(test)]
mod tests {
    use tokio::join;

    use super::*;
    use crate::store::{self, StoreFuture, conformance::commits::CommitFaults, memory::MemoryStore};

    crate::store_conformance!(FaultyStore::new(MemoryStore::default()));
    crate::store_commit_conformance!(FaultyStore::new(MemoryStore::default()));

    impl CommitFaults for FaultyStore<MemoryStore> {
        fn store(&self) -> &dyn store::DynStore {
            self
        }

        fn witness(&self) -> &dyn store::DynStore {
            &self.inner
        }

        fn fail_next_commit(&self) -> StoreFuture<'_, ()> {
            self.set_mode(FaultMode::RefuseOnce);
            Box::pin(async { Ok(()) })
        }
    }

    fn ann() -> Owner {
        Owner { hub: "chat".into(), user: "ann".into() }
    }

    async fn groups(store: &FaultyStore<MemoryStore>) -> usize {
        store.inner.groups_of(&[ann()]).await.unwrap()[0].len()
    }

    #[tokio::test]
    async fn refused_call_has_no_effect() {
        let store = FaultyStore::new(MemoryStore::default());
        store.set_mode(FaultMode::Refuse);
        assert!(matches!(store.add(&ann(), &"room".into()).await, Err(Error::Unavailable(_))));
        assert_eq!(groups(&store).await, 0);
    }

    #[tokio::test]
    async fn call_with_lost_reply_takes_effect() {
        let store = FaultyStore::new(MemoryStore::default());
        store.set_mode(FaultMode::LoseReply);
        assert!(matches!(store.add(&ann(), &"room".into()).await, Err(Error::Unavailable(_))));
        assert_eq!(groups(&store).await, 1);
    }

    #[tokio::test]
    async fn held_calls_wait_for_mode_change() {
        let store = FaultyStore::new(MemoryStore::default());
        store.set_mode(FaultMode::Hold);
        let release = async {
            store.wait_for_calls(2).await;
            assert_eq!(groups(&store).await, 0);
            store.set_mode(FaultMode::None);
        };
        let (one, two) = (GroupName::from("one"), GroupName::from("two"));
        let (owner, other) = (ann(), ann());
        let answers = join!(store.add(&owner, &one), store.add(&other, &two), release);
        assert_eq!((answers.0.unwrap(), answers.1.unwrap()), (Change::Applied, Change::Applied));
    }
}
