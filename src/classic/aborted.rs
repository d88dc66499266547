//! Connections that a hub has aborted. The disconnect command may not have reached their clients: a client may have no
//! channel at that moment, or one that has just ended. When such a client reconnects, it gets the command. Otherwise it
//! would start a new connection.

use std::{
    collections::{HashSet, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use crate::ids::ConnectionId;

/// The number of ids that are kept. The oldest is dropped first.
const MAX_REMEMBERED: usize = 10_000;

/// The ids of these connections. See the documentation of the module.
#[derive(Debug)]
pub(crate) struct AbortedConnections {
    /// The time that a client may try to reconnect.
    retention: Duration,
    ids: Mutex<Ids>,
}

/// The ids by age, and as a set.
#[derive(Debug, Default)]
struct Ids {
    by_age: VecDeque<(Instant, ConnectionId)>,
    set: HashSet<ConnectionId>,
}

impl Ids {
    fn remove_oldest(&mut self) {
        if let Some((_, id)) = self.by_age.pop_front() {
            self.set.remove(&id);
        }
    }
}

impl AbortedConnections {
    pub(super) fn new(retention: Duration) -> Self {
        Self { retention, ids: Mutex::default() }
    }

    /// Adds a connection that a hub has aborted.
    pub(super) fn add(&self, id: ConnectionId, now: Instant) {
        let mut ids = self.lock_unexpired(now);
        if !ids.set.insert(id.clone()) {
            return;
        }
        ids.by_age.push_back((now, id));
        if ids.by_age.len() > MAX_REMEMBERED {
            ids.remove_oldest();
        }
    }

    /// True if a hub has aborted the connection with this id within the retention time.
    pub(super) fn contains(&self, id: &ConnectionId, now: Instant) -> bool {
        self.lock_unexpired(now).set.contains(id)
    }

    fn lock_unexpired(&self, now: Instant) -> MutexGuard<'_, Ids> {
        // After a panic under the lock, the ids are still valid. At worst one is missing.
        let mut ids = self.ids.lock().unwrap_or_else(PoisonError::into_inner);
        while ids.by_age.front().is_some_and(|(since, _)| now.duration_since(*since) > self.retention) {
            ids.remove_oldest();
        }
        ids
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aborted_connection_is_remembered_for_a_while() {
        let (aborted, now) = (AbortedConnections::new(Duration::from_secs(60)), Instant::now());
        aborted.add("ann".into(), now);
        for (id, seconds, is_contained) in [("ann", 60, true), ("bob", 60, false), ("ann", 61, false)] {
            let then = now + Duration::from_secs(seconds);
            assert_eq!(aborted.contains(&id.into(), then), is_contained, "{id} after {seconds} s");
        }
    }

    #[test]
    fn oldest_is_dropped_when_full() {
        let (aborted, now) = (AbortedConnections::new(Duration::from_secs(60)), Instant::now());
        for number in 0..=MAX_REMEMBERED {
            aborted.add(number.to_string().into(), now);
        }
        assert!(!aborted.contains(&"0".into(), now) && aborted.contains(&"1".into(), now));
    }
}
