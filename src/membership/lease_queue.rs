//! Lease changes that are not written yet, bounded in bytes. In a storm of new connections their leases wait for each
//! other. Ends of connections do not wait, because their clients may present their tokens to another node.
//!
//! It is pure. Leases inform operators, so that losing some in a long outage is acceptable.

use std::{collections::VecDeque, time::Duration};

use tokio::time::Instant;

use crate::store::{BatchPacing, Lease, LeaseChange};

/// The maximum size of all pending lease changes: about 30,000 of usual clients.
const MAX_BYTES: usize = 8 << 20;

/// The maximum number of changes in one transaction. A transaction delays the durable changes that wait meanwhile.
const MAX_BATCH: usize = 1_000;

/// See the module's documentation. When it is full, the oldest changes are dropped.
pub(super) struct LeaseQueue {
    changes: VecDeque<LeaseChange>,
    /// Invariant: the sum of the sizes of `changes`.
    bytes: usize,
    pacing: BatchPacing,
    /// A connection among `changes` has ended.
    is_urgent: bool,
}

impl LeaseQueue {
    /// `deadline` is the time limit of a call that writes leases.
    pub(super) fn new(deadline: Duration) -> Self {
        Self { changes: VecDeque::new(), bytes: 0, pacing: BatchPacing::new(deadline, MAX_BATCH), is_urgent: false }
    }

    /// How long the changes wait for others.
    pub(super) fn pause(&self, now: Instant) -> Duration {
        let waits = !self.is_urgent && !self.changes.is_empty();
        if waits { self.pacing.pause(now, self.changes.len()) } else { Duration::ZERO }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// Adds a change. Returns the number of older changes that were dropped.
    pub(super) fn push(&mut self, change: LeaseChange) -> u64 {
        self.bytes += size(&change);
        self.is_urgent |= matches!(change, LeaseChange::Closed(_));
        self.changes.push_back(change);
        self.drop_excess()
    }

    /// Takes the oldest changes, up to the size of a batch.
    pub(super) fn take_batch(&mut self, now: Instant) -> Vec<LeaseChange> {
        let batch: Vec<_> = self.changes.drain(..self.changes.len().min(MAX_BATCH)).collect();
        self.pacing.record(now, batch.len());
        self.is_urgent &= !self.changes.is_empty();
        self.bytes -= batch.iter().map(size).sum::<usize>();
        batch
    }

    /// Puts a batch back that could not be written. Returns the number of changes that were dropped.
    pub(super) fn put_back(&mut self, batch: Vec<LeaseChange>) -> u64 {
        for change in batch.into_iter().rev() {
            self.bytes += size(&change);
            self.is_urgent |= matches!(change, LeaseChange::Closed(_));
            self.changes.push_front(change);
        }
        self.drop_excess()
    }

    fn drop_excess(&mut self) -> u64 {
        let mut dropped = 0;
        while self.bytes > MAX_BYTES {
            let Some(oldest) = self.changes.pop_front() else { break };
            self.bytes -= size(&oldest);
            dropped += 1;
        }
        dropped
    }
}

/// The memory that a change takes, including its texts.
fn size(change: &LeaseChange) -> usize {
    let texts = match change {
        LeaseChange::Opened(Lease { connection, user, user_agent, transport, .. }) => {
            connection.len() + user.as_ref().map_or(0, |user| user.len()) + user_agent.len() + transport.len()
        }
        LeaseChange::Closed(end) => end.connection.len(),
    };
    size_of::<LeaseChange>() + texts
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::store::{CloseReason, LeaseEnd};

    fn queue() -> LeaseQueue {
        LeaseQueue::new(Duration::from_secs(5))
    }

    fn opened(connection: usize, agent_bytes: usize) -> LeaseChange {
        LeaseChange::Opened(Lease {
            connection: connection.to_string().into(),
            user: None,
            user_agent: "a".repeat(agent_bytes),
            transport: "webSockets".into(),
            since: SystemTime::UNIX_EPOCH,
        })
    }

    #[test]
    fn oldest_changes_beyond_the_bytes_are_dropped() {
        let mut queue = queue();
        let dropped: u64 = (0..100).map(|number| queue.push(opened(number, 1 << 20))).sum();
        assert_eq!((dropped, queue.changes.len()), (93, 7));
        let batch = queue.take_batch(Instant::now());
        assert_eq!((batch.first(), queue.bytes), (Some(&opened(93, 1 << 20)), 0));
        assert_eq!(queue.push(opened(100, 2 << 20)), 0);
        assert_eq!(queue.put_back(batch), 2);
        assert_eq!(queue.changes.front(), Some(&opened(95, 1 << 20)));
    }

    #[test]
    fn new_connections_wait_for_each_other() {
        let (mut queue, now) = (queue(), Instant::now());
        assert_eq!((0..10).map(|number| queue.push(opened(number, 10))).sum::<u64>(), 0);
        assert_eq!(queue.pause(now), Duration::ZERO, "there was no write before");
        let batch = queue.take_batch(now);
        assert_eq!(queue.pause(now), Duration::ZERO, "nothing waits");
        queue.push(opened(10, 10));
        assert!(queue.pause(now) > Duration::ZERO);
        let (since, reason) = (SystemTime::UNIX_EPOCH, CloseReason::Lost);
        queue.push(LeaseChange::Closed(LeaseEnd { connection: "10".into(), since, at: since, reason }));
        assert_eq!(queue.pause(now), Duration::ZERO, "an end does not wait");
        queue.take_batch(now);
        queue.put_back(batch);
        assert!(queue.pause(now) > Duration::ZERO);
    }

    #[test]
    fn batches_keep_the_order_of_changes() {
        let mut queue = queue();
        assert_eq!((0..MAX_BATCH + 5).map(|number| queue.push(opened(number, 10))).sum::<u64>(), 0);
        let first = queue.take_batch(Instant::now());
        assert_eq!((first.len(), queue.changes.len()), (MAX_BATCH, 5));
        assert_eq!(queue.put_back(first), 0);
        assert_eq!(queue.take_batch(Instant::now()).first(), Some(&opened(0, 10)));
        assert_eq!(
            queue.take_batch(Instant::now()),
            Vec::from_iter((MAX_BATCH..MAX_BATCH + 5).map(|number| opened(number, 10)))
        );
        assert!(queue.is_empty() && queue.bytes == 0);
    }
}
