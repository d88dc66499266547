//! How much may wait, what is let go beyond it, and when somebody should look.

use super::{Item, Queue};
use crate::outbox::{Overflow, Push};

/// What waits for a client because it has returned. It was kept within the window, and so is not held against
/// the limits: else a client that comes back into a busy group would be too slow at once.
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
    /// A client that is away loses the oldest of what it was not sent; it will be told of the gap.
    pub(super) fn slide(&mut self) -> Push {
        while self.items.len() > self.window.items || self.waiting_bytes + self.kept_bytes > self.window.bytes {
            if self.sent == self.first && !self.pass_over_front() {
                break;
            }
            self.forget_front();
        }
        Push::Queued
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
        let Some(behind) = self.items.range(from..).position(Item::is_droppable) else { return false };
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
            self.items.insert(self.offset(), Item::Nothing);
        }
    }

    /// True unless more than half of what may wait does, with a transport that can take it.
    pub(in crate::outbox) fn has_room(&self) -> bool {
        let (items, bytes) = self.held_against_limits();
        !self.attached || !self.is_open() || (items <= self.limits.items / 2 && bytes <= self.limits.bytes / 2)
    }

    /// True when so much waits for a transport that somebody should look whether it moves at all.
    pub(in crate::outbox) fn is_congested(&self) -> bool {
        let (items, bytes) = self.held_against_limits();
        self.attached && (items > self.limits.items / 8 || bytes > self.limits.bytes / 8)
    }
}
