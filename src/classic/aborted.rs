//! Connections that a hub has ended while their clients were away. They are told when they come back; else they would
//! just begin anew.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use crate::ids::ConnectionId;

/// How many are remembered; the oldest is forgotten first.
const MOST: usize = 10_000;

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct AbortedConnections {
    /// How long a client may try to come back.
    span: Duration,
    ids: Mutex<VecDeque<(Instant, ConnectionId)>>,
}

impl AbortedConnections {
    pub(super) fn new(span: Duration) -> Self {
        Self { span, ids: Mutex::default() }
    }

    /// Remembers a connection that has ended.
    pub(super) fn add(&self, id: ConnectionId, now: Instant) {
        let mut ids = self.remembered(now);
        if ids.len() == MOST {
            ids.pop_front();
        }
        ids.push_back((now, id));
    }

    /// True if the connection of that name has ended so, not long ago.
    pub(super) fn has(&self, id: &ConnectionId, now: Instant) -> bool {
        self.remembered(now).iter().any(|(_, dismissed)| dismissed == id)
    }

    fn remembered(&self, now: Instant) -> MutexGuard<'_, VecDeque<(Instant, ConnectionId)>> {
        // A panic under the lock leaves a list that is at worst short of a name.
        let mut ids = self.ids.lock().unwrap_or_else(PoisonError::into_inner);
        while ids.front().is_some_and(|(since, _)| now.duration_since(*since) > self.span) {
            ids.pop_front();
        }
        ids
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_is_dismissed_is_remembered_for_a_while() {
        let (dismissed, now) = (AbortedConnections::new(Duration::from_secs(60)), Instant::now());
        dismissed.add("ann".into(), now);
        for (id, seconds, is_remembered) in [("ann", 60, true), ("bob", 60, false), ("ann", 61, false)] {
            let then = now + Duration::from_secs(seconds);
            assert_eq!(dismissed.has(&id.into(), then), is_remembered, "{id} after {seconds} s");
        }
    }

    #[test]
    fn the_oldest_is_forgotten_where_there_are_too_many() {
        let (dismissed, now) = (AbortedConnections::new(Duration::from_secs(60)), Instant::now());
        for number in 0..=MOST {
            dismissed.add(number.to_string().into(), now);
        }
        assert!(!dismissed.has(&"0".into(), now) && dismissed.has(&"1".into(), now));
    }
}
