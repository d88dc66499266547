//! The live connections of one dialect, by connection token.
//!
//! Requests find the connection of their token here. Lookups take no lock. Other modules find connections by their
//! public id, in `connections`.

use std::{
    hash::Hash,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use actix::Addr;
use papaya::HashMap as SharedMap;

use super::{Connection, Dialect};

type Entries<K, D> = SharedMap<K, Entry<D>, foldhash::fast::RandomState>;

/// See the module's documentation.
pub(crate) struct Registry<K, D: Dialect> {
    entries: Arc<Entries<K, D>>,
    /// Held while a connection is created, so that no two requests create the same one.
    creating: Mutex<()>,
    next_entry: AtomicU64,
}

struct Entry<D: Dialect> {
    number: u64,
    address: Addr<Connection<D>>,
}

/// The place of a connection in the registry. Dropping it removes the connection.
pub(crate) struct RegistryEntry<K: Eq + Hash + 'static, D: Dialect> {
    key: K,
    number: u64,
    entries: Arc<Entries<K, D>>,
}

impl<K, D> Registry<K, D>
where
    K: Clone + Eq + Hash + Send + Sync + 'static,
    D: Dialect,
{
    pub(crate) fn new() -> Self {
        Self { entries: Arc::default(), creating: Mutex::default(), next_entry: AtomicU64::default() }
    }

    /// The live connection of a token.
    pub(crate) fn find(&self, token: &K) -> Option<Addr<Connection<D>>> {
        let entries = self.entries.pin();
        entries.get(token).map(|entry| entry.address.clone()).filter(Addr::connected)
    }

    /// The live connection of a token, or else the one that `create` creates. The connection has to keep the entry that
    /// `create` receives as long as requests may find it.
    ///
    /// # Errors
    /// The error of `create`.
    pub(crate) fn find_or_create<E>(
        &self,
        token: &K,
        create: impl FnOnce(RegistryEntry<K, D>) -> Result<Addr<Connection<D>>, E>,
    ) -> Result<Addr<Connection<D>>, E> {
        if let Some(connection) = self.find(token) {
            return Ok(connection);
        }
        // A panic under the lock has created no connection.
        let _guard = self.creating.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(connection) = self.find(token) {
            return Ok(connection);
        }
        let number = self.next_entry.fetch_add(1, Ordering::Relaxed);
        let address = create(RegistryEntry { key: token.clone(), number, entries: Arc::clone(&self.entries) })?;
        // Order: the actor runs on this thread, and thus drops its entry after it is inserted.
        self.entries.pin().insert(token.clone(), Entry { number, address: address.clone() });
        Ok(address)
    }
}

impl<K: Eq + Hash + 'static, D: Dialect> Drop for RegistryEntry<K, D> {
    fn drop(&mut self) {
        // An error means that a later connection has the token.
        let _ = self.entries.pin().remove_if(&self.key, |_, entry| entry.number == self.number);
    }
}
