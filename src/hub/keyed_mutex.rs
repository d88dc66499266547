//! A mutex per key. Changes of one user's durable membership in one group run one after another, in the store and on
//! the user's live connections, so that both end in the same state.

use std::{
    hash::{BuildHasher, Hash, RandomState},
    iter::repeat_with,
    time::Duration,
};

use tokio::{
    sync::{Mutex, MutexGuard},
    time::timeout,
};

use crate::store::Error;

/// The number of locks, and so the maximum number of concurrent changes. Unrelated keys can share a lock.
const STRIPES: usize = 256;

/// Keys are hashed onto a fixed number of locks. See the module's documentation.
#[derive(Debug)]
pub(crate) struct KeyedMutex {
    stripes: Box<[Mutex<()>]>,
    hasher: RandomState,
    timeout: Duration,
}

impl KeyedMutex {
    /// Waiting for a lock fails after `timeout`.
    pub(crate) fn new(timeout: Duration) -> Self {
        Self { stripes: repeat_with(Mutex::default).take(STRIPES).collect(), hasher: RandomState::new(), timeout }
    }

    /// Locks `key` until the returned guard is dropped. Waits while another task holds the lock.
    ///
    /// # Errors
    /// [`Error::Unavailable`], if earlier holders are delayed by the store for longer than the timeout.
    pub(crate) async fn lock(&self, key: &impl Hash) -> Result<MutexGuard<'_, ()>, Error> {
        let index = self.hasher.hash_one(key) % self.stripes.len() as u64;
        let lock = &self.stripes[usize::try_from(index).expect("it is below the number of stripes")];
        timeout(self.timeout, lock.lock()).await.map_err(|_| Error::timed_out())
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[actix::test]
    async fn lock_of_held_key_times_out() {
        tokio::time::pause();
        let mutex = KeyedMutex::new(Duration::from_secs(5));
        let first = mutex.lock(&"ann").await.unwrap();
        assert!(mutex.lock(&"ann").now_or_never().is_none());
        assert!(matches!(mutex.lock(&"ann").await, Err(Error::Unavailable(_))));
        drop(first);
        assert!(mutex.lock(&"ann").await.is_ok());
    }

    #[actix::test]
    async fn most_other_keys_do_not_wait() {
        let mutex = KeyedMutex::new(Duration::from_secs(5));
        let held: Vec<_> = (0..STRIPES / 4).filter_map(|user| mutex.lock(&user).now_or_never()).collect();
        assert!(held.len() > STRIPES / 8, "{}", held.len());
    }
}
