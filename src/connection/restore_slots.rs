//! The limit of clients whose groups are restored at a time.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The maximum number of clients that join their groups at a time. One query loads the groups of many clients. If all of
/// them joined at once, the messages of established clients would wait behind thousands of joins.
const MAX_CONCURRENT_RESTORES: usize = 8;

/// See the module's documentation. Waiting clients get their slots in order. Clones share the slots.
#[derive(Clone, Debug)]
pub(crate) struct RestoreSlots(Arc<Semaphore>);

impl Default for RestoreSlots {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MAX_CONCURRENT_RESTORES)))
    }
}

impl RestoreSlots {
    /// Waits for a slot, which is free again when the returned permit is dropped.
    pub(crate) async fn take(self) -> OwnedSemaphorePermit {
        self.0.acquire_owned().await.expect("the semaphore is never closed")
    }
}

#[cfg(test)]
mod tests {
    use futures_util::future::{FutureExt, join_all};

    use super::*;

    #[tokio::test]
    async fn slot_is_free_after_its_permit_is_dropped() {
        let slots = RestoreSlots::default();
        let mut taken = join_all((0..MAX_CONCURRENT_RESTORES).map(|_| slots.clone().take())).await;
        assert!(slots.clone().take().now_or_never().is_none());
        taken.pop();
        assert!(slots.take().now_or_never().is_some());
    }
}
