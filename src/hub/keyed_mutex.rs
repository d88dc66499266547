//! A mutex per key. Changes of one user's durable membership in one group run one after another, in the store and on
//! the user's live connections, so that both end in the same state. Other changes do not wait for them.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{Mutex, OwnedMutexGuard},
    time::timeout,
};

use crate::store::Error;

/// See the module's documentation. It holds an entry for each key that is locked now: at most one for each running call.
#[derive(Debug)]
pub(crate) struct KeyedMutex<K: Clone + Eq + Hash> {
    locks: std::sync::Mutex<HashMap<K, Entry>>,
    timeout: Duration,
}

#[derive(Debug, Default)]
struct Entry {
    lock: Arc<Mutex<()>>,
    /// The number of tasks that hold the lock or wait for it.
    users: usize,
}

/// Removes the entry of a key with its last user.
#[derive(Debug)]
struct Registration<'a, K: Clone + Eq + Hash> {
    mutex: &'a KeyedMutex<K>,
    key: K,
}

/// A locked key. Unlocks it when dropped.
#[derive(Debug)]
pub(crate) struct KeyedGuard<'a, K: Clone + Eq + Hash> {
    _lock: OwnedMutexGuard<()>,
    _registration: Registration<'a, K>,
}

impl<K: Clone + Eq + Hash> KeyedMutex<K> {
    /// Waiting for a lock fails after `timeout`.
    pub(crate) fn new(timeout: Duration) -> Self {
        Self { locks: std::sync::Mutex::default(), timeout }
    }

    /// Locks `key` until the returned guard is dropped. Waits while another task holds the lock.
    ///
    /// # Errors
    /// [`Error::Unavailable`], if earlier holders are delayed by the store for longer than the timeout.
    pub(crate) async fn lock(&self, key: K) -> Result<KeyedGuard<'_, K>, Error> {
        let (lock, registration) = self.register(key);
        let lock = timeout(self.timeout, lock.lock_owned()).await.map_err(|_| Error::timed_out())?;
        Ok(KeyedGuard { _lock: lock, _registration: registration })
    }

    /// Locks all `keys`, which are sorted and have no duplicates: two tasks that lock some of the same keys do not wait for
    /// each other in a circle.
    ///
    /// # Errors
    /// As for [`KeyedMutex::lock`]. The timeout is for all keys together.
    pub(crate) async fn lock_all(&self, keys: Vec<K>) -> Result<Vec<KeyedGuard<'_, K>>, Error> {
        let mut guards = Vec::with_capacity(keys.len());
        let lock_each = async {
            for key in keys {
                let (lock, registration) = self.register(key);
                guards.push(KeyedGuard { _lock: lock.lock_owned().await, _registration: registration });
            }
        };
        timeout(self.timeout, lock_each).await.map_err(|_| Error::timed_out())?;
        Ok(guards)
    }

    fn register(&self, key: K) -> (Arc<Mutex<()>>, Registration<'_, K>) {
        let mut locks = self.locks.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = locks.entry(key.clone()).or_default();
        entry.users += 1;
        (Arc::clone(&entry.lock), Registration { mutex: self, key })
    }
}

impl<K: Clone + Eq + Hash> Drop for Registration<'_, K> {
    fn drop(&mut self) {
        let mut locks = self.mutex.locks.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = locks.get_mut(&self.key) {
            entry.users -= 1;
            if entry.users == 0 {
                locks.remove(&self.key);
            }
        }
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
        let first = mutex.lock("ann").await.unwrap();
        assert!(mutex.lock("ann").now_or_never().is_none());
        assert!(matches!(mutex.lock("ann").await, Err(Error::Unavailable(_))));
        drop(first);
        assert!(mutex.lock("ann").await.is_ok());
    }

    #[actix::test]
    async fn other_keys_do_not_wait() {
        let mutex = KeyedMutex::new(Duration::from_secs(5));
        let held: Vec<_> = (0..100).filter_map(|user| mutex.lock(user).now_or_never()).collect();
        assert!(held.len() == 100 && held.iter().all(Result::is_ok));
    }

    #[actix::test]
    async fn timeout_holds_for_all_keys_together() {
        tokio::time::pause();
        let mutex = KeyedMutex::new(Duration::from_secs(5));
        let held = mutex.lock(2).await.unwrap();
        let started = tokio::time::Instant::now();
        assert!(mutex.lock_all(vec![1, 2, 3]).await.is_err());
        // The timer rounds up to a millisecond.
        assert!((5_000..5_010).contains(&started.elapsed().as_millis()), "{:?}", started.elapsed());
        assert!(mutex.lock(1).now_or_never().is_some_and(|locked| locked.is_ok()), "it is unlocked again");
        drop(held);
        assert_eq!(mutex.lock_all(vec![1, 2, 3]).await.unwrap().len(), 3);
        assert!(mutex.locks.lock().unwrap().is_empty());
    }

    #[actix::test]
    async fn unused_keys_are_forgotten() {
        tokio::time::pause();
        let mutex = KeyedMutex::new(Duration::from_secs(5));
        let held = mutex.lock("ann").await.unwrap();
        assert!(mutex.lock("ann").await.is_err());
        assert_eq!(mutex.locks.lock().unwrap().len(), 1);
        drop(held);
        assert!(mutex.locks.lock().unwrap().is_empty());
    }
}
