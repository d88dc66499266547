//! Messages that are kept until the client acknowledges them, so that a new channel can send them again.
//!
//! The client and the queue count messages separately: the first message after [`Queue::keep_until_acknowledged`] has
//! the number 1. Control entries are neither counted nor kept.

use super::{Queue, QueueEntry};
use crate::outbox::entry::Payload;

/// The state of a queue whose client acknowledges messages.
#[derive(Debug)]
pub(super) struct Acks {
    /// The number of the last acknowledged message.
    acknowledged: u64,
    /// The number of the last message that was written to any channel.
    written: u64,
    /// The number of the last message that was written to the current channel.
    written_now: u64,
    /// The maximum number of unacknowledged bytes, beyond which senders wait.
    limit: usize,
}

impl Queue {
    /// Keeps messages from now on until the client acknowledges them. Senders that can wait do so while more than `limit`
    /// bytes are not acknowledged.
    pub(in crate::outbox) fn keep_until_acknowledged(&mut self, limit: usize) {
        self.acks = Some(Box::new(Acks { acknowledged: 0, written: 0, written_now: 0, limit }));
    }

    /// The number of the first message that is not acknowledged, or of the next one.
    pub(in crate::outbox) fn first_unacknowledged(&self) -> u64 {
        self.acks.as_ref().map_or(1, |acks| acks.acknowledged + 1)
    }

    /// Forgets the messages up to `number`. A number that was never written counts as the last written one.
    pub(in crate::outbox) fn acknowledge(&mut self, number: u64) {
        while let Some(acks) = self.acks.as_mut().filter(|acks| acks.acknowledged < number.min(acks.written))
            && let Some(is_counted) = self.entries.front().map(QueueEntry::is_counted)
        {
            acks.acknowledged += u64::from(is_counted);
            self.forget_front();
        }
    }

    /// Removes the oldest entry. It may wait to be sent again.
    fn forget_front(&mut self) {
        if self.first < self.sent {
            return self.drop_oldest_kept();
        }
        if let Some(entry) = self.entries.pop_front() {
            self.waiting_bytes -= entry.len(self.form);
            (self.first, self.sent) = (self.first + 1, self.sent + 1);
        }
    }

    /// The position from which all unacknowledged messages are sent again. Returns the sequence number of its entry.
    pub(super) fn rewind_to_unacknowledged(&mut self) -> u64 {
        if let Some(acks) = &mut self.acks {
            acks.written_now = acks.acknowledged;
        }
        self.first
    }

    /// Prepares written entries for being sent again: a deferred message becomes what was written, and what is not counted
    /// is emptied. Returns the bytes of these entries afterwards.
    pub(super) fn keep_written(&mut self, from: usize, count: usize, deferred: Option<Box<[u8]>>) -> usize {
        let (Some(acks), mut deferred) = (&mut self.acks, deferred) else { return 0 };
        let mut bytes = 0;
        for entry in self.entries.range_mut(from..from + count) {
            match entry.payload() {
                Some(Payload::Deferred) => {
                    *entry = deferred.take().map_or(QueueEntry::EMPTY, QueueEntry::private);
                }
                Some(Payload::Control(_)) => *entry = QueueEntry::EMPTY,
                Some(Payload::Shared(_) | Payload::Private(_) | Payload::RawFrame(_)) | None => {}
            }
            acks.written_now += u64::from(entry.is_counted());
            bytes += entry.len(self.form);
        }
        acks.written = acks.written.max(acks.written_now);
        bytes
    }

    /// True if senders wait because the client has not acknowledged enough.
    pub(super) fn exceeds_unacknowledged_limit(&self) -> bool {
        self.acks.as_ref().is_some_and(|acks| self.kept_bytes + self.waiting_bytes > acks.limit)
    }

    pub(super) fn keeps_until_acknowledged(&self) -> bool {
        self.acks.is_some()
    }

    /// Forgets written entries at the front that need no acknowledgement.
    pub(super) fn trim_uncounted(&mut self) {
        while self.first < self.sent && self.entries.front().is_some_and(|entry| !entry.is_counted()) {
            self.drop_oldest_kept();
        }
    }
}
