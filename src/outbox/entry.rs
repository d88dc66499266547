//! The entries of an outbox.

use std::sync::Arc;

use crate::message::{Message, WireForm};

/// A message that many outboxes share.
#[derive(Clone, Debug)]
pub struct SharedMessage(Arc<Payload>);

impl SharedMessage {
    /// Makes a message shareable.
    #[must_use]
    pub fn new(message: Message) -> Self {
        Self(Arc::new(Payload::Shared(message)))
    }
}

#[derive(Debug)]
pub(super) enum Payload {
    /// A message that other clients receive too.
    Shared(Message),
    /// Bytes for this client only, ordered among the messages and replayed like them.
    Private(Box<[u8]>),
    /// Bytes for this client only, ordered among the messages. They are not kept for a channel that resumes.
    Control(Box<[u8]>),
    /// An encoded frame for the channel that is current when it is pushed; useless to a later channel.
    RawFrame(Box<[u8]>),
    /// The place of the deferred message of the queue.
    Deferred,
}

/// One sequence number of a client. It is a single pointer to keep memory traffic low: each broadcast touches the
/// windows of a thousand clients, of a thousand entries each.
#[derive(Debug)]
pub(super) struct QueueEntry(Option<Arc<Payload>>);

impl QueueEntry {
    /// An entry without content: the sender excluded this client, or the content is gone.
    pub(super) const EMPTY: Self = Self(None);

    pub(super) fn shared(SharedMessage(payload): &SharedMessage) -> Self {
        Self(Some(Arc::clone(payload)))
    }

    pub(super) fn private(bytes: Box<[u8]>) -> Self {
        Self(Some(Arc::new(Payload::Private(bytes))))
    }

    pub(super) fn control(bytes: Box<[u8]>) -> Self {
        Self(Some(Arc::new(Payload::Control(bytes))))
    }

    pub(super) fn raw_frame(bytes: Box<[u8]>) -> Self {
        Self(Some(Arc::new(Payload::RawFrame(bytes))))
    }

    pub(super) fn deferred() -> Self {
        Self(Some(Arc::new(Payload::Deferred)))
    }

    pub(super) fn payload(&self) -> Option<&Payload> {
        self.0.as_deref()
    }

    /// The shared message, if the entry is one.
    pub(super) fn message(&self) -> Option<&Message> {
        match self.payload() {
            Some(Payload::Shared(message)) => Some(message),
            Some(Payload::Private(_) | Payload::Control(_) | Payload::RawFrame(_) | Payload::Deferred) | None => None,
        }
    }

    /// The length in bytes. A deferred message counts as empty: there is one at most.
    pub(super) fn len(&self, form: &WireForm) -> usize {
        match self.payload() {
            Some(Payload::Shared(message)) => message.encoded(form).len(),
            Some(Payload::Private(bytes) | Payload::Control(bytes) | Payload::RawFrame(bytes)) => bytes.len(),
            Some(Payload::Deferred) | None => 0,
        }
    }

    pub(super) fn is_deferred(&self) -> bool {
        matches!(self.payload(), Some(Payload::Deferred))
    }

    /// True for a message that the client counts and acknowledges, if it does so at all.
    pub(super) fn is_counted(&self) -> bool {
        matches!(self.payload(), Some(Payload::Shared(_) | Payload::Private(_) | Payload::Deferred))
    }

    pub(super) fn is_raw_frame(&self) -> bool {
        matches!(self.payload(), Some(Payload::RawFrame(_)))
    }

    /// True if [`Overflow::DropOldest`](super::Overflow::DropOldest) may drop the entry.
    pub(super) fn is_droppable(&self) -> bool {
        match self.payload() {
            // The sender waits for the answer to an invocation with an id.
            Some(Payload::Shared(message)) => message.call().id.is_none(),
            Some(_) => false,
            None => true,
        }
    }
}
