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
use tokio::{
    sync::Semaphore,
    time::{sleep, timeout},
};

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

    /// True if all lists are saved. A list that is being saved does not wait, but it may wait again before its turn ends.
    pub(super) fn are_saved(&self) -> bool {
        let none_waits = || self.queue.with(|waiting| waiting.is_empty());
        none_waits() && self.turns.available_permits() > 0 && none_waits()
    }

    /// Saves the list of a family now if it waits. Its client returns with a token that lacks groups, and waits for that at
    /// most as long as for one call of the store.
    pub(super) async fn flush_family(&self, family: &str) {
        let saved = async {
            let _turn = self.turns.acquire().await;
            let batch =
                self.take_batch(|waiting| issuers_of(waiting.extract_if(.., |_, issuer| issuer.has_family(family))));
            batch.issuers.iter().for_each(|issuer| issuer.keep_list());
            self.save(batch).await
        };
        // If the store fails, or the time is over, the list waits again.
        let _ = timeout(self.store.deadline(), saved).await;
    }

    /// Saves all lists that wait now. If the store fails, the rest waits on.
    pub(crate) async fn flush(&self) {
        let mut saved_to = 0;
        loop {
            let _turn = self.turns.acquire().await;
            // A list that waits again meanwhile waits for the next call of this function.
            let batch =
                self.take_batch(|waiting| issuers_of(waiting.extract_if(saved_to.., |_, _| true).take(MAX_BATCH)));
            let Some(last) = batch.issuers.last() else { return };
            saved_to = address(last) + 1;
            if let Err(error) = self.save(batch).await {
                let lists = self.queue.with(|waiting| waiting.len());
                return warn!(lists, error:% = error; "failed to store lists of groups; will retry");
            }
        }
    }

    fn take_batch(&self, take: impl FnOnce(&mut Waiting) -> Vec<Arc<TokenIssuer>>) -> Batch<'_> {
        Batch { issuers: self.queue.with(take), lists: self }
    }

    /// Saves the lists of a batch, in the turn of the caller.
    async fn save(&self, mut batch: Batch<'_>) -> Result<(), Error> {
        if batch.issuers.is_empty() {
            return Ok(());
        }
        let now = SystemTime::now();
        let make = |issuer: &Arc<TokenIssuer>| {
            let (list, is_complete) = issuer.stored_list(now);
            ((Arc::clone(issuer), is_complete), list)
        };
        let mut made: Vec<_> = batch.issuers.iter().map(make).collect();
        // Order: of two lists of a family in a call, the store keeps the last one.
        made.sort_by_key(|(_, list)| list.written_at);
        let (issuers, lists): (Vec<_>, Vec<_>) = made.into_iter().unzip();
        let saved = self.store.call(|store| store.tokens.save_lists(&lists)).await;
        self.metrics.rejoin_lists_failed.add(saved.as_ref().map_or(lists.len() as u64, |refused| *refused));
        saved?;
        batch.issuers.clear();
        for ((issuer, is_complete), list) in issuers.into_iter().zip(&lists) {
            issuer.record_saved(!list.groups.is_empty(), is_complete);
            if issuer.will_delete_list() {
                self.request_save(&issuer);
            }
        }
        Ok(())
    }
}

/// Lists that are being saved. Those that are not saved when it is dropped wait again: the store has failed, or the caller
/// has gone with its client.
struct Batch<'a> {
    issuers: Vec<Arc<TokenIssuer>>,
    lists: &'a StoredLists,
}

impl Drop for Batch<'_> {
    fn drop(&mut self) {
        self.issuers.drain(..).for_each(|issuer| self.lists.request_save(&issuer));
    }
}

fn issuers_of(taken: impl Iterator<Item = (usize, Arc<TokenIssuer>)>) -> Vec<Arc<TokenIssuer>> {
    taken.map(|(_, issuer)| issuer).collect()
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
