//! The lists of groups that are too long for a token, on their way to the store.
//!
//! A change of groups requests a save. Saves of all connections share calls of the store, and a list is made when it is
//! saved, so many changes of one second cost one write. If the store fails, the save is repeated. Clones share the queue.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, SystemTime},
};

use log::warn;
use tokio::{sync::Semaphore, time::sleep};

use super::{groups_token::TokenIssuer, state::in_background};
use crate::{
    metrics::Metrics,
    store::{BackgroundQueue, Error, QueueWorker, StoreHandle},
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
    queue: BackgroundQueue<Waiting>,
    /// The turn to save lists.
    turns: Arc<Semaphore>,
}

/// The issuers whose lists have changed, by address.
type Waiting = BTreeMap<usize, Arc<TokenIssuer>>;

impl std::fmt::Debug for StoredLists {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StoredLists").finish_non_exhaustive()
    }
}

impl StoredLists {
    pub(crate) fn new(store: StoreHandle, metrics: Arc<Metrics>) -> Self {
        Self { store, metrics, queue: BackgroundQueue::new(Waiting::new()), turns: Arc::new(Semaphore::new(1)) }
    }

    /// Requests that the list of a client is saved. If too many wait, it is not saved.
    pub(super) fn request_save(&self, issuer: &Arc<TokenIssuer>) {
        match self.queue.add(|waiting| push(waiting, issuer)) {
            Ok(Some(worker)) => in_background(self.clone().run(worker)),
            Ok(None) => {}
            Err(TooManyWaiting) => self.metrics.rejoin_lists_failed.increment(),
        }
    }

    async fn run(self, mut worker: QueueWorker<Waiting>) {
        while worker.next(|waiting| (!waiting.is_empty()).then_some(())).is_some() {
            sleep(DELAY).await;
            self.flush().await;
        }
    }

    /// True if all lists are saved. A list that is being saved does not wait, so the turns are looked at last.
    pub(super) fn are_saved(&self) -> bool {
        self.queue.with(|waiting| waiting.is_empty()) && self.turns.available_permits() > 0
    }

    /// Saves all lists now if that of a family waits.
    pub(super) async fn flush_family(&self, family: &str) {
        let _turn = self.turns.acquire().await;
        if self.queue.with(|waiting| waiting.values().any(|issuer| issuer.has_family(family))) {
            self.save_waiting().await;
        }
    }

    /// Saves all lists that wait now. If the store fails, the rest waits again.
    pub(crate) async fn flush(&self) {
        let _turn = self.turns.acquire().await;
        self.save_waiting().await;
    }

    async fn save_waiting(&self) {
        let mut waiting = self.queue.with(std::mem::take);
        while !waiting.is_empty() {
            let batch: Vec<_> = waiting.values().take(MAX_BATCH).cloned().collect();
            if let Err(error) = self.save(&batch).await {
                warn!(lists = waiting.len(), error:% = error; "failed to store lists of groups; will retry");
                return self.queue.with(|queue| queue.extend(waiting));
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
            for (issuer, list) in batch.iter().zip(&lists) {
                if issuer.record_saved(!list.groups.is_empty()) {
                    self.request_save(issuer);
                }
            }
        }
        saved.map(drop)
    }
}

struct TooManyWaiting;

fn push(waiting: &mut Waiting, issuer: &Arc<TokenIssuer>) -> Result<(), TooManyWaiting> {
    let address = address(issuer);
    if waiting.len() >= MAX_WAITING && !waiting.contains_key(&address) {
        return Err(TooManyWaiting);
    }
    waiting.insert(address, Arc::clone(issuer));
    Ok(())
}

/// Identifies an issuer among those that wait.
fn address(issuer: &Arc<TokenIssuer>) -> usize {
    Arc::as_ptr(issuer).addr()
}
