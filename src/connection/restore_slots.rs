//! The limits of clients whose groups are restored: at a time, and in a second.

use std::{
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, sleep_until},
};

/// The maximum number of clients that join their groups at a time, for each processor. One query loads the groups of many
/// clients. If all of them joined at once, the messages of established clients would wait behind thousands of joins.
const MAX_CONCURRENT_RESTORES: usize = 1;

/// The time between two clients for each processor: 800 clients in a second, which take about half of a processor.
const INTERVAL: Duration = Duration::from_micros(1_250);

/// The number of clients that may be ahead of that rate.
const MAX_BURST: u32 = 64;

/// See the module's documentation. Waiting clients get their slots in order. Clones share the slots.
#[derive(Clone, Debug)]
pub(crate) struct RestoreSlots {
    slots: Arc<Semaphore>,
    interval: Duration,
    /// The earliest start of the next client.
    next: Arc<Mutex<Option<Instant>>>,
}

impl Default for RestoreSlots {
    fn default() -> Self {
        Self::new(thread::available_parallelism().map_or(1, usize::from))
    }
}

impl RestoreSlots {
    fn new(processors: usize) -> Self {
        let slots = Arc::new(Semaphore::new(MAX_CONCURRENT_RESTORES * processors));
        let interval = INTERVAL / u32::try_from(processors).unwrap_or(u32::MAX);
        Self { slots, interval, next: Arc::default() }
    }

    /// Waits for a slot, which is free again when the returned permit is dropped.
    pub(crate) async fn take(self) -> OwnedSemaphorePermit {
        let permit = Arc::clone(&self.slots).acquire_owned().await.expect("the semaphore is never closed");
        let start = self.reserve(Instant::now());
        sleep_until(start).await;
        permit
    }

    /// Reserves the next start of a client.
    fn reserve(&self, now: Instant) -> Instant {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let earliest = now.checked_sub(self.interval * MAX_BURST).unwrap_or(now);
        let start = next.map_or(earliest, |next| next.max(earliest));
        *next = Some(start + self.interval);
        start
    }
}

#[cfg(test)]
mod tests {
    use futures_util::future::{FutureExt, join_all};

    use super::*;

    #[tokio::test]
    async fn slot_is_free_after_its_permit_is_dropped() {
        let slots = RestoreSlots::new(2);
        let mut taken = join_all((0..2 * MAX_CONCURRENT_RESTORES).map(|_| slots.clone().take())).await;
        assert!(slots.clone().take().now_or_never().is_none());
        taken.pop();
        assert!(slots.take().now_or_never().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn clients_beyond_a_burst_wait_for_their_time() {
        let (slots, start) = (RestoreSlots::new(1), Instant::now());
        for _ in 0..=MAX_BURST {
            drop(slots.clone().take().await);
        }
        assert_eq!(start.elapsed(), Duration::ZERO);
        for _ in 0..800 {
            drop(slots.clone().take().await);
        }
        assert_eq!(start.elapsed().as_secs(), 1);
    }
}
