//! Messages that the client acknowledges, and bytes of the protocol that it does not count.

use super::{Outbox, Push, entry::QueueEntry, wake_transport};

impl Outbox {
    /// Queues bytes of the protocol for this client, in order among the messages. The client does not acknowledge them.
    pub fn push_control(&self, bytes: impl Into<Box<[u8]>>) -> Push {
        self.push_entry(QueueEntry::control(bytes.into()))
    }

    /// Keeps messages from now on until the client acknowledges them. Senders that wait for capacity do so while more than
    /// `limit` bytes are not acknowledged.
    pub fn keep_until_acknowledged(&self, limit: usize) {
        self.lock().queue.keep_until_acknowledged(limit);
    }

    /// The client has received the messages up to `number`, counted from 1.
    pub fn acknowledge(&self, number: u64) {
        let mut shared = self.lock();
        shared.queue.acknowledge(number);
        shared.wake_capacity_waiters();
    }

    /// Writes `encode(number)` to the current channel before everything that waits, where `number` is that of the first
    /// message that the client has not acknowledged.
    pub fn push_first(&self, encode: impl FnOnce(u64) -> Box<[u8]>) {
        let mut shared = self.lock();
        let bytes = encode(shared.queue.first_unacknowledged());
        shared.writer.push_first(&bytes);
        wake_transport(shared);
    }
}
