//! The live connections of each user. Adding and removing one costs the same for any number of connections of the user.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use papaya::HashMap as SharedMap;

use super::ConnectionHandle;
use crate::ids::{ConnectionId, UserId};

/// See the module's documentation. Finding a user takes no lock; only the connections of one user share one.
#[derive(Debug, Default)]
pub(super) struct ConnectionsByUser(SharedMap<UserId, Arc<UserEntry>, foldhash::fast::RandomState>);

#[derive(Debug, Default)]
struct UserEntry(Mutex<UserConnections>);

#[derive(Debug, Default)]
struct UserConnections {
    handles: HashMap<ConnectionId, Arc<ConnectionHandle>, foldhash::fast::RandomState>,
    /// The last connection was removed. The entry is about to be removed from the map and accepts no connection.
    is_retired: bool,
}

impl UserEntry {
    /// After a panic under the lock the map is still valid.
    fn lock(&self) -> MutexGuard<'_, UserConnections> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a connection. Returns false if the entry is retired.
    fn add(&self, handle: &Arc<ConnectionHandle>) -> bool {
        let mut connections = self.lock();
        if !connections.is_retired {
            connections.handles.insert(handle.id.clone(), Arc::clone(handle));
        }
        !connections.is_retired
    }

    /// Removes a connection. Returns true if it was the last one.
    fn remove(&self, handle: &ConnectionHandle) -> bool {
        let mut connections = self.lock();
        connections.handles.remove(&handle.id);
        connections.is_retired = connections.handles.is_empty();
        connections.is_retired
    }
}

impl ConnectionsByUser {
    pub(super) fn add(&self, user: &UserId, handle: &Arc<ConnectionHandle>) {
        let users = self.0.pin();
        loop {
            let entry = users.get_or_insert_with(user.clone(), Arc::default);
            if entry.add(handle) {
                return;
            }
            // An error means that the entry was replaced meanwhile.
            let _ = users.remove_if(user, |_, found| Arc::ptr_eq(found, entry));
        }
    }

    pub(super) fn remove(&self, user: &UserId, handle: &ConnectionHandle) {
        let users = self.0.pin();
        if let Some(entry) = users.get(user).filter(|entry| entry.remove(handle)) {
            // An error means that the entry was replaced meanwhile.
            let _ = users.remove_if(user, |_, found| Arc::ptr_eq(found, entry));
        }
    }

    /// The connections of a user for which `filter` returns true, in no particular order.
    pub(super) fn of(&self, user: &UserId, filter: impl Fn(&ConnectionHandle) -> bool) -> Vec<Arc<ConnectionHandle>> {
        let users = self.0.pin();
        let Some(entry) = users.get(user) else { return Vec::new() };
        entry.lock().handles.values().filter(|handle| filter(handle)).cloned().collect()
    }

    /// All users, in no particular order.
    pub(super) fn users(&self) -> Vec<UserId> {
        self.0.pin().keys().cloned().collect()
    }
}
