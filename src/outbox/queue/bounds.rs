//! Limits of the waiting entries, the overflow policy, and backpressure.

use super::Queue;
use crate::outbox::{Overflow, Push, entry::QueueEntry};

/// The waiting entries that are replayed to a client that has reconnected. They were limited while the client was
/// disconnected and do not count against the [`Limits`](crate::outbox::Limits). Otherwise a client that reconnects to a
/// busy group would be too slow at once.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Replay {
    /// The sequence number after the last replayed entry.
    pub(super) until: u64,
    /// Bytes of the replayed entries that still wait.
    pub(super) bytes: usize,
}

impl Replay {
    /// Records that the entry `number`, of `length` bytes, no longer waits.
    pub(super) fn record_sent(&mut self, number: u64, length: usize) {
        if number < self.until {
            self.bytes -= length;
        }
    }
}

impl Queue {
    /// Enforces the limits for a client without a channel. A polling client reconnects within moments, so more than the
    /// replay window may wait. Beyond the limits the oldest entries count as sent: they are kept within the window or
    /// dropped, which is a gap for the client.
    pub(super) fn enforce_disconnected_limits(&mut self) -> Push {
        while self.exceeds_disconnected_limits() && self.mark_front_sent() {}
        self.trim_kept();
        Push::Queued
    }

    fn exceeds_disconnected_limits(&self) -> bool {
        let (items, bytes) = (self.limits.items.max(self.window.items), self.limits.bytes.max(self.window.bytes));
        self.waiting() > items
            || (self.waiting_bytes > bytes && self.waiting_bytes_without_oversized_front(bytes) > bytes)
    }

    /// The waiting bytes, without the oldest entry if that alone exceeds `limit`: it could never be sent if it counted.
    fn waiting_bytes_without_oversized_front(&self, limit: usize) -> usize {
        let oldest = self.front().map_or(0, |entry| entry.len(self.form));
        if oldest > limit { self.waiting_bytes - oldest } else { self.waiting_bytes }
    }

    pub(super) fn enforce_limits(&mut self) -> Push {
        while self.exceeds_limits() {
            // A message that the client counts must not disappear.
            let must_close = self.limits.overflow == Overflow::Close || self.keeps_until_acknowledged();
            if must_close || !self.drop_oldest_broadcast() {
                return Push::Overflowed;
            }
            self.dropped += 1;
            self.trim_kept();
        }
        Push::Queued
    }

    /// A single entry may exceed the limit in bytes, because it could never be sent otherwise.
    fn exceeds_limits(&self) -> bool {
        let (items, bytes) = self.counted_against_limits();
        items > 1 && (items > self.limits.items || bytes > self.limits.bytes)
    }

    /// Number and bytes of the waiting entries that are not replayed. If the client acknowledges messages, those that it
    /// has not acknowledged count too.
    fn counted_against_limits(&self) -> (usize, usize) {
        if self.keeps_until_acknowledged() {
            return (self.entries.len(), self.kept_bytes + self.waiting_bytes);
        }
        (self.waiting() - self.replayed_count(), self.waiting_bytes - self.replay.bytes)
    }

    /// The number of waiting entries that are replayed.
    fn replayed_count(&self) -> usize {
        let replayed_count = self.replay.until.saturating_sub(self.sent);
        usize::try_from(replayed_count).expect("the number of entries in memory fits usize")
    }

    /// Skips the oldest waiting broadcast that is not replayed; false if there is none. Private entries and raw frames
    /// stay.
    fn drop_oldest_broadcast(&mut self) -> bool {
        let from = self.offset() + self.replayed_count();
        let Some(behind) = self.entries.range(from..).position(QueueEntry::is_droppable) else { return false };
        self.replace_by_empty_front(from + behind);
        self.mark_front_sent()
    }

    /// Replaces a waiting entry by an empty entry in front of all waiting entries. The entries in between move by one
    /// sequence number, which no client has seen yet.
    fn replace_by_empty_front(&mut self, index: usize) {
        if index == self.offset() {
            return;
        }
        if let Some(entry) = self.entries.remove(index) {
            self.waiting_bytes -= entry.len(self.form);
            self.replay.until += u64::from(self.replayed_count() > 0);
            self.entries.insert(self.offset(), QueueEntry::EMPTY);
        }
    }

    /// True if at most half of the limits is used with `bytes` more, the queue is empty, or it is closed. Replayed
    /// entries count here, and so do the entries that wait for a disconnected client: a sender that can wait should not
    /// add to them.
    pub(in crate::outbox) fn has_capacity_for(&self, bytes: usize) -> bool {
        let (used_items, used_bytes) = match self.keeps_until_acknowledged() {
            true => self.counted_against_limits(),
            false => (self.waiting(), self.waiting_bytes),
        };
        let fits = || used_items <= self.limits.items / 2 && used_bytes + bytes <= self.limits.bytes / 2;
        !self.is_open() || (!self.exceeds_unacknowledged_limit() && (used_items == 0 || fits()))
    }

    /// True when more than an eighth of the limits waits for a transport, so that its progress should be checked.
    pub(in crate::outbox) fn is_congested(&self) -> bool {
        self.attached && (self.waiting() > self.limits.items / 8 || self.waiting_bytes > self.limits.bytes / 8)
    }
}
