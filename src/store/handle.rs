//! Store calls with a deadline, for callers that do not use a supervised actor.

use std::{fmt, time::Duration};

use tokio::time::timeout;

use super::{Error, MembershipPromises, StoreFuture, StoreParts};

/// Stores whose calls have a deadline.
#[derive(Clone)]
pub(crate) struct StoreHandle {
    store: StoreParts,
    deadline: Duration,
}

impl StoreHandle {
    pub(crate) fn new(store: StoreParts, deadline: Duration) -> Self {
        Self { store, deadline }
    }

    /// The time limit of a call.
    pub(crate) fn deadline(&self) -> Duration {
        self.deadline
    }

    /// The promises of the store of memberships.
    pub(crate) fn promises(&self) -> MembershipPromises {
        self.store.memberships.promises()
    }

    /// Makes one call, without a retry.
    ///
    /// # Errors
    /// The error of the store, or [`Error::Unavailable`] if the store does not answer before the deadline.
    pub(crate) async fn call<'a, T>(
        &'a self,
        call: impl FnOnce(&'a StoreParts) -> StoreFuture<'a, T>,
    ) -> Result<T, Error> {
        timeout(self.deadline, call(&self.store)).await.unwrap_or_else(|_| Err(Error::timed_out()))
    }
}

impl fmt::Debug for StoreHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreHandle").field("deadline", &self.deadline).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::store::{
        Page,
        faulty::{FaultMode, FaultyStore},
        memory::MemoryStore,
    };

    #[actix::test]
    async fn silent_store_times_out_and_later_call_succeeds() {
        tokio::time::pause();
        let faulty = Arc::new(FaultyStore::new(MemoryStore::default()));
        let store = StoreHandle::new(StoreParts::of(Arc::clone(&faulty)), Duration::from_secs(5));
        let (hub, group, page) = ("chat".into(), "lobby".into(), Page { after: None, limit: 1 });
        for fault in [FaultMode::Hold, FaultMode::Refuse, FaultMode::LoseReply] {
            faulty.set_mode(fault);
            let answer = store.call(|store| store.memberships.members(&hub, &group, &page)).await;
            assert!(matches!(answer, Err(Error::Unavailable(_))), "{fault:?}");
        }
        faulty.set_mode(FaultMode::None);
        assert!(store.call(|store| store.memberships.members(&hub, &group, &page)).await.is_ok());
    }
}
