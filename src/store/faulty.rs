//! A store with a switch: it passes every verb on, refuses it, loses its answer, or holds it back.
//!
//! Role: shows how the engine bears an outage, without a database to break.
//! Life: as long as the test that throws the switch.
//! Neighbours: wraps any [`Store`]; what it wraps answers while the switch is at [`Fault::None`].
//! Never: it does not sleep. A held call moves when the switch is thrown, and not before.

use std::{
    future::Future,
    time::{Duration, SystemTime},
};

use tokio::sync::watch;

use super::{Change, Error, LeaseChange, Members, Node, Owner, Page, Redemption, Store, Verdict};
use crate::ids::{GroupName, HubName, UserId};

/// What is done to a call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fault {
    /// It passes.
    #[default]
    None,
    /// It is answered [`Error::Unavailable`] and has no effect.
    Refuse,
    /// It takes effect, and is answered [`Error::Unavailable`] all the same.
    Lose,
    /// It waits until the switch is thrown, and then does as the switch says.
    Hold,
}

/// A store that fails on demand.
#[derive(Debug)]
pub struct Faulty<S> {
    inner: S,
    fault: watch::Sender<Fault>,
    calls: watch::Sender<usize>,
}

impl<S: Store> Faulty<S> {
    /// Wraps `inner`; nothing fails yet.
    pub fn new(inner: S) -> Self {
        Self { inner, fault: watch::Sender::default(), calls: watch::Sender::default() }
    }

    /// Throws the switch, for the calls that are held and for those to come.
    pub fn set(&self, fault: Fault) {
        self.fault.send_replace(fault);
    }

    /// Waits until so many calls have arrived since the beginning, whatever became of them.
    pub async fn arrived(&self, calls: usize) {
        let seen = self.calls.subscribe().wait_for(|seen| *seen >= calls).await.is_ok();
        debug_assert!(seen, "the sender lives in self");
    }

    /// How many calls have arrived since the beginning, whatever became of them.
    pub fn calls(&self) -> usize {
        *self.calls.borrow()
    }

    async fn pass<T>(&self, call: impl Future<Output = Result<T, Error>> + Send) -> Result<T, Error> {
        match self.decide().await {
            Fault::Refuse => Err(outage()),
            Fault::Lose => call.await.and(Err(outage())),
            Fault::None | Fault::Hold => call.await,
        }
    }

    async fn decide(&self) -> Fault {
        self.calls.send_modify(|calls| *calls += 1);
        let mut fault = self.fault.subscribe();
        fault.wait_for(|fault| *fault != Fault::Hold).await.map_or(Fault::Refuse, |fault| *fault)
    }
}

fn outage() -> Error {
    Error::Unavailable("an outage was asked for".into())
}

impl<S: Store> Store for Faulty<S> {
    async fn groups_of(&self, owners: &[Owner]) -> Result<Vec<Vec<GroupName>>, Error> {
        self.pass(self.inner.groups_of(owners)).await
    }

    async fn add(&self, owner: &Owner, group: &GroupName) -> Result<Change, Error> {
        self.pass(self.inner.add(owner, group)).await
    }

    async fn remove(&self, owner: &Owner, group: &GroupName) -> Result<Change, Error> {
        self.pass(self.inner.remove(owner, group)).await
    }

    async fn members(&self, hub: &HubName, group: &GroupName, page: &Page) -> Result<Members, Error> {
        self.pass(self.inner.members(hub, group, page)).await
    }

    async fn lease(&self, node: &Node, changes: &[LeaseChange]) -> Result<(), Error> {
        self.pass(self.inner.lease(node, changes)).await
    }

    async fn renew(&self, node: &Node, now: SystemTime, term: Duration) -> Result<u64, Error> {
        self.pass(self.inner.renew(node, now, term)).await
    }

    async fn redeem(&self, redemption: &Redemption) -> Result<Verdict, Error> {
        self.pass(self.inner.redeem(redemption)).await
    }

    async fn revoke(&self, user: &UserId, before: SystemTime) -> Result<(), Error> {
        self.pass(self.inner.revoke(user, before)).await
    }
}

#[cfg(test)]
mod tests {
    use tokio::join;

    use super::*;
    use crate::store::memory::MemoryStore;

    crate::store_conformance!(Faulty::new(MemoryStore::default()));

    fn ann() -> Owner {
        Owner { hub: "chat".into(), user: "ann".into() }
    }

    async fn groups(store: &Faulty<MemoryStore>) -> usize {
        store.inner.groups_of(&[ann()]).await.unwrap()[0].len()
    }

    #[tokio::test]
    async fn a_refused_call_has_no_effect() {
        let store = Faulty::new(MemoryStore::default());
        store.set(Fault::Refuse);
        assert!(matches!(store.add(&ann(), &"room".into()).await, Err(Error::Unavailable(_))));
        assert_eq!(groups(&store).await, 0);
    }

    #[tokio::test]
    async fn a_lost_answer_has_its_effect() {
        let store = Faulty::new(MemoryStore::default());
        store.set(Fault::Lose);
        assert!(matches!(store.add(&ann(), &"room".into()).await, Err(Error::Unavailable(_))));
        assert_eq!(groups(&store).await, 1);
    }

    #[tokio::test]
    async fn held_calls_wait_for_the_switch() {
        let store = Faulty::new(MemoryStore::default());
        store.set(Fault::Hold);
        let release = async {
            store.arrived(2).await;
            assert_eq!(groups(&store).await, 0);
            store.set(Fault::None);
        };
        let (one, two) = (GroupName::from("one"), GroupName::from("two"));
        let (owner, other) = (ann(), ann());
        let answers = join!(store.add(&owner, &one), store.add(&other, &two), release);
        assert_eq!((answers.0.unwrap(), answers.1.unwrap()), (Change::Made, Change::Made));
    }
}
