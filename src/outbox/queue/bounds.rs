//! How much may wait, what is let go beyond it, and when somebody should look.

use super::Queue;
use crate::outbox::{Overflow, Push, entry::QueueEntry};

/// What waits for a client because it has returned. It was bounded while the client was away, and so is not held
/// against the limits: else a client that comes back into a busy group would be too slow at once.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Replay {
    /// The place behind it.
    pub(super) until: u64,
    /// How much of it still waits.
    pub(super) bytes: usize,
}

impl Replay {
    /// The item at `place` does not wait any more.
    pub(super) fn pass(&mut self, place: u64, length: usize) {
        if place < self.until {
            self.bytes -= length;
        }
    }
}

impl Queue {
    /// A client that is away is spared more than the window: it may be one that polls, and back in a moment. What is
    /// too much even so counts as sent, the oldest first, and is kept within the window or forgotten, which is a gap.
    pub(super) fn hold_for_return(&mut self) -> Push {
        while self.is_over_absence() && self.pass_over_front() {}
        self.trim();
        Push::Queued
    }

    fn is_over_absence(&self) -> bool {
        let (items, bytes) = (self.limits.items.max(self.window.items), self.limits.bytes.max(self.window.bytes));
        self.waiting() > items || (self.waiting_bytes > bytes && self.bytes_behind_a_giant(bytes) > bytes)
    }

    /// What waits but for an oldest item that exceeds `most` by itself: it could never be sent if it counted.
    fn bytes_behind_a_giant(&self, most: usize) -> usize {
        let oldest = self.front().map_or(0, |item| item.len(self.form));
        if oldest > most { self.waiting_bytes - oldest } else { self.waiting_bytes }
    }

    pub(super) fn hold_to_limits(&mut self) -> Push {
        while self.is_over_limits() {
            if self.limits.overflow == Overflow::Close || !self.drop_oldest() {
                return Push::Overflowed;
            }
            self.dropped += 1;
            self.trim();
        }
        Push::Queued
    }

    /// A single item larger than the limit may wait: it could never be sent otherwise.
    fn is_over_limits(&self) -> bool {
        let (items, bytes) = self.held_against_limits();
        items > 1 && (items > self.limits.items || bytes > self.limits.bytes)
    }

    /// What waits but for what is replayed.
    fn held_against_limits(&self) -> (usize, usize) {
        (self.waiting() - self.replayed(), self.waiting_bytes - self.replay.bytes)
    }

    /// How many of those that wait are replayed.
    fn replayed(&self) -> usize {
        let replayed = self.replay.until.saturating_sub(self.sent);
        usize::try_from(replayed).expect("what is kept is counted in memory")
    }

    /// Leaves out the oldest broadcast that waits; false if none does. What is for this client alone stays.
    fn drop_oldest(&mut self) -> bool {
        let from = self.offset() + self.replayed();
        let Some(behind) = self.items.range(from..).position(QueueEntry::is_droppable) else { return false };
        self.trade_for_front(from + behind);
        self.pass_over_front()
    }

    /// Exchanges an item that waits for an empty place in front of all that do. What is between moves on by one
    /// place, which nobody was told yet.
    fn trade_for_front(&mut self, index: usize) {
        if index == self.offset() {
            return;
        }
        if let Some(item) = self.items.remove(index) {
            self.waiting_bytes -= item.len(self.form);
            self.replay.until += u64::from(self.replayed() > 0);
            self.items.insert(self.offset(), QueueEntry::NOTHING);
        }
    }

    /// True unless more than half of what may wait would, with so many bytes more. What is replayed counts here, and so
    /// does what waits for a client that is away: whoever can wait adds nothing to it.
    pub(in crate::outbox) fn has_room_for(&self, bytes: usize) -> bool {
        let fits = || self.waiting() <= self.limits.items / 2 && self.waiting_bytes + bytes <= self.limits.bytes / 2;
        !self.is_open() || self.is_idle() || fits()
    }

    /// True when so much waits for a transport that somebody should look whether it moves at all.
    pub(in crate::outbox) fn is_congested(&self) -> bool {
        self.attached && (self.waiting() > self.limits.items / 8 || self.waiting_bytes > self.limits.bytes / 8)
    }
}
