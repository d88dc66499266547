//! The lists of groups that are too long for a token, on their way to the store.
//!
//! A change of groups requests a save. Saves of all connections share calls of the store, and a list is made when it is
//! saved, so many changes of one second cost one write. If the store fails, the save is repeated. Clones share the queue.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use log::warn;
use tokio::time::sleep;

use super::{groups_token::TokenIssuer, state::in_background};
use crate::{
    metrics::Metrics,
    store::{Error, StoreHandle},
};

/// How long changes wait for others. A process that is killed loses the changes of this time.
const DELAY: Duration = Duration::from_secs(1);

/// The maximum number of lists in one call: 4 MiB.
const MAX_BATCH: usize = 16;

/// The maximum number of connections whose lists wait for the store, also after the end of a connection.
const MAX_WAITING: usize = 4_096;

/// See the module's documentation.
#[derive(Clone)]
pub(crate) struct StoredLists {
    store: StoreHandle,
    metrics: Arc<Metrics>,
    queue: Arc<Mutex<Queue>>,
}

#[derive(Default)]
struct Queue {
    /// The issuers whose lists have changed, by address.
    waiting: BTreeMap<usize, Arc<TokenIssuer>>,
    /// A task saves the waiting lists.
    is_running: bool,
}

impl std::fmt::Debug for StoredLists {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StoredLists").finish_non_exhaustive()
    }
}

impl StoredLists {
    pub(crate) fn new(store: StoreHandle, metrics: Arc<Metrics>) -> Self {
        Self { store, metrics, queue: Arc::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        // No code panics under the lock.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Requests that the list of a client is saved. If too many wait, it is not saved.
    pub(super) fn request_save(&self, issuer: &Arc<TokenIssuer>) {
        let mut queue = self.lock();
        let address = address(issuer);
        if queue.waiting.len() >= MAX_WAITING && !queue.waiting.contains_key(&address) {
            return self.metrics.rejoin_lists_failed.increment();
        }
        queue.waiting.insert(address, Arc::clone(issuer));
        if !std::mem::replace(&mut queue.is_running, true) {
            in_background(self.clone().run());
        }
    }

    async fn run(self) {
        while self.has_waiting() {
            sleep(DELAY).await;
            self.flush().await;
        }
    }

    fn has_waiting(&self) -> bool {
        let mut queue = self.lock();
        queue.is_running = !queue.waiting.is_empty();
        queue.is_running
    }

    /// Saves all lists that wait now. If the store fails, the rest waits again.
    pub(crate) async fn flush(&self) {
        let mut waiting = std::mem::take(&mut self.lock().waiting);
        while !waiting.is_empty() {
            let batch: Vec<_> = waiting.values().take(MAX_BATCH).cloned().collect();
            if let Err(error) = self.save(&batch).await {
                warn!(lists = waiting.len(), error:% = error; "failed to store lists of groups; will retry");
                return self.lock().waiting.extend(waiting);
            }
            batch.iter().for_each(|issuer| drop(waiting.remove(&address(issuer))));
        }
    }

    async fn save(&self, batch: &[Arc<TokenIssuer>]) -> Result<(), Error> {
        let now = SystemTime::now();
        let lists: Vec<_> = batch.iter().map(|issuer| issuer.stored_list(now)).collect();
        let saved = self.store.call(|store| store.tokens.save_lists(&lists)).await;
        self.metrics.rejoin_lists_failed.add(saved.as_ref().map_or(lists.len() as u64, |refused| *refused));
        if saved.is_ok() {
            batch.iter().zip(&lists).for_each(|(issuer, list)| issuer.record_saved(!list.groups.is_empty()));
        }
        saved.map(drop)
    }
}

/// Identifies an issuer among those that wait.
fn address(issuer: &Arc<TokenIssuer>) -> usize {
    Arc::as_ptr(issuer).addr()
}
