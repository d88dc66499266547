//! The store as whoever asks it once sees it: it answers in time, or it is unavailable.

use std::{fmt, sync::Arc, time::Duration};

use tokio::time::timeout;

use super::{DynStore, Error, StoreFuture};

/// The store, for what needs no supervisor. Each question has its deadline.
#[derive(Clone)]
pub(crate) struct StoreHandle {
    store: Arc<dyn DynStore>,
    deadline: Duration,
}

impl StoreHandle {
    pub(crate) fn new(store: Arc<dyn DynStore>, deadline: Duration) -> Self {
        Self { store, deadline }
    }

    /// Asks once.
    ///
    /// # Errors
    /// What the store says, and [`Error::Unavailable`] if it says nothing in time.
    pub(crate) async fn ask<'a, T>(
        &'a self,
        ask: impl FnOnce(&'a dyn DynStore) -> StoreFuture<'a, T>,
    ) -> Result<T, Error> {
        timeout(self.deadline, ask(&*self.store)).await.unwrap_or_else(|_| Err(Error::no_answer()))
    }
}

impl fmt::Debug for StoreHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreHandle").field("deadline", &self.deadline).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{
        Page,
        faulty::{Fault, Faulty},
        memory::MemoryStore,
    };

    #[actix::test]
    async fn a_silent_store_is_given_up_in_time_and_asked_again_by_the_next() {
        tokio::time::pause();
        let faulty = Arc::new(Faulty::new(MemoryStore::default()));
        let store = StoreHandle::new(Arc::clone(&faulty) as Arc<dyn DynStore>, Duration::from_secs(5));
        let (hub, group, page) = ("chat".into(), "lobby".into(), Page { after: None, limit: 1 });
        for fault in [Fault::Hold, Fault::Refuse, Fault::Lose] {
            faulty.set(fault);
            let answer = store.ask(|store| store.members(&hub, &group, &page)).await;
            assert!(matches!(answer, Err(Error::Unavailable(_))), "{fault:?}");
        }
        faulty.set(Fault::None);
        assert!(store.ask(|store| store.members(&hub, &group, &page)).await.is_ok());
    }
}
