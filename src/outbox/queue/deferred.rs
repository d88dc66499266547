//! A message that is encoded when it is written. At most one waits, at the place where it was first queued.

use super::{Push, Queue, QueueEntry};
use crate::outbox::DeferredField;

/// The deferred message of a queue.
#[derive(Debug, Default)]
pub(super) struct DeferredMessage {
    content: Option<DeferredField>,
    /// An entry waits in the queue as the place of the message.
    has_place: bool,
}

impl DeferredMessage {
    /// The bytes of the message, if its place is among `entries`, which are written now.
    pub(super) fn encode<'a>(&mut self, mut entries: impl Iterator<Item = &'a QueueEntry>) -> Option<Box<[u8]>> {
        if !self.has_place || !entries.any(QueueEntry::is_deferred) {
            return None;
        }
        self.has_place = false;
        self.content.take().as_ref().map(DeferredField::encode)
    }
}

impl Queue {
    /// Queues a message, or replaces the one that waits. With `None` none is written.
    pub(in crate::outbox) fn set_deferred(&mut self, content: Option<DeferredField>) -> Push {
        let needs_place = content.is_some() && !self.deferred.has_place;
        if !self.is_open() {
            return Push::Closed;
        }
        self.deferred.content = content;
        if !needs_place {
            return Push::Queued;
        }
        self.deferred.has_place = true;
        self.push(QueueEntry::deferred())
    }
}
