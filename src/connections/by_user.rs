//! The live connections of each user. Adding and removing one costs the same for any number of connections of the user.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use papaya::HashMap as SharedMap;

use crate::ids::{ConnectionId, UserId};

/// The values of each user, by connection. Finding a user takes no lock; only the connections of one user share one.
#[derive(Debug)]
pub(super) struct ByUser<T>(SharedMap<UserId, Arc<UserEntry<T>>, foldhash::fast::RandomState>);

#[derive(Debug)]
struct UserEntry<T>(Mutex<UserConnections<T>>);

#[derive(Debug)]
struct UserConnections<T> {
    /// One of the connections. Most users have no other, and a map would reserve the memory for three.
    first: Option<(ConnectionId, T)>,
    others: HashMap<ConnectionId, T, foldhash::fast::RandomState>,
    /// The last connection was removed. The entry is about to be removed from the map and accepts no connection.
    is_retired: bool,
}

impl<T> Default for UserEntry<T> {
    fn default() -> Self {
        Self(Mutex::new(UserConnections { first: None, others: HashMap::default(), is_retired: false }))
    }
}

impl<T: Clone> UserEntry<T> {
    /// After a panic under the lock the map is still valid.
    fn lock(&self) -> MutexGuard<'_, UserConnections<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a connection. Returns false if the entry is retired.
    fn add(&self, id: &ConnectionId, value: &T) -> bool {
        let mut connections = self.lock();
        if !connections.is_retired {
            connections.insert(id.clone(), value.clone());
        }
        !connections.is_retired
    }

    /// Removes a connection. Returns true if it was the last one.
    fn remove(&self, id: &ConnectionId) -> bool {
        let mut connections = self.lock();
        connections.remove(id);
        connections.is_retired = connections.first.is_none() && connections.others.is_empty();
        connections.is_retired
    }
}

impl<T> UserConnections<T> {
    fn insert(&mut self, id: ConnectionId, value: T) {
        let is_first = self.first.as_ref().map_or(self.others.is_empty(), |(first, _)| *first == id);
        if is_first {
            self.first = Some((id, value));
        } else {
            self.others.insert(id, value);
        }
    }

    fn remove(&mut self, id: &ConnectionId) {
        if self.first.take_if(|(first, _)| first == id).is_none() {
            self.others.remove(id);
        }
    }

    fn values(&self) -> impl Iterator<Item = &T> {
        self.first.iter().map(|(_, value)| value).chain(self.others.values())
    }
}

impl<T> Default for ByUser<T> {
    fn default() -> Self {
        Self(SharedMap::default())
    }
}

impl<T: Clone> ByUser<T> {
    pub(super) fn add(&self, user: &UserId, id: &ConnectionId, value: &T) {
        let users = self.0.pin();
        loop {
            let entry = users.get_or_insert_with(user.clone(), Arc::default);
            if entry.add(id, value) {
                return;
            }
            // An error means that the entry was replaced meanwhile.
            let _ = users.remove_if(user, |_, found| Arc::ptr_eq(found, entry));
        }
    }

    pub(super) fn remove(&self, user: &UserId, id: &ConnectionId) {
        let users = self.0.pin();
        if let Some(entry) = users.get(user).filter(|entry| entry.remove(id)) {
            // An error means that the entry was replaced meanwhile.
            let _ = users.remove_if(user, |_, found| Arc::ptr_eq(found, entry));
        }
    }

    /// The values of a user for which `filter` returns true, in no particular order.
    pub(super) fn of(&self, user: &UserId, filter: impl Fn(&T) -> bool) -> Vec<T> {
        let users = self.0.pin();
        let Some(entry) = users.get(user) else { return Vec::new() };
        entry.lock().values().filter(|value| filter(value)).cloned().collect()
    }

    /// All users, in no particular order.
    pub(super) fn users(&self) -> Vec<UserId> {
        self.0.pin().keys().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicUsize, Ordering},
        thread,
    };

    use super::*;

    /// A value that counts its clones.
    struct Counted(Arc<AtomicUsize>);

    impl Clone for Counted {
        fn clone(&self) -> Self {
            self.0.fetch_add(1, Ordering::Relaxed);
            Self(Arc::clone(&self.0))
        }
    }

    fn id(number: usize) -> ConnectionId {
        number.to_string().into()
    }

    #[test]
    fn connection_costs_the_same_beside_many_others() {
        let (by_user, ann, clones) = (ByUser::default(), UserId::from("ann"), Arc::new(AtomicUsize::new(0)));
        for number in 0..1_000 {
            by_user.add(&ann, &id(number), &Counted(Arc::clone(&clones)));
        }
        by_user.remove(&ann, &id(0));
        assert_eq!(clones.load(Ordering::Relaxed), 1_000, "no value is copied for another");
        assert_eq!(by_user.of(&ann, |_| true).len(), 999);
    }

    #[test]
    fn user_is_listed_while_it_has_connections() {
        let (by_user, ann) = (ByUser::default(), UserId::from("ann"));
        by_user.add(&ann, &id(1), &1);
        by_user.add(&ann, &id(2), &2);
        by_user.remove(&ann, &id(1));
        assert_eq!((by_user.of(&ann, |_| true), by_user.users()), (vec![2], vec![ann.clone()]));
        assert!(by_user.of(&ann, |value| *value == 1).is_empty());
        by_user.remove(&ann, &id(2));
        assert_eq!((by_user.of(&ann, |_| true), by_user.users()), (vec![], vec![]));
    }

    #[test]
    fn no_connection_is_lost_to_a_retired_entry() {
        let (by_user, ann) = (ByUser::default(), UserId::from("ann"));
        thread::scope(|scope| {
            for thread in 0..4 {
                let (by_user, ann) = (&by_user, &ann);
                scope.spawn(move || {
                    for number in 0..10_000 {
                        by_user.add(ann, &id(thread), &number);
                        assert!(by_user.of(ann, |_| true).contains(&number), "thread {thread}, connection {number}");
                        by_user.remove(ann, &id(thread));
                    }
                });
            }
        });
        assert!(by_user.users().is_empty());
    }
}
