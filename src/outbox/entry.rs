//! What outboxes hold.

use std::sync::Arc;

use crate::message::{Message, WireForm};

/// A call on its way into many outboxes, which hold the same one.
#[derive(Clone, Debug)]
pub struct SharedMessage(Arc<Payload>);

impl SharedMessage {
    /// A parcel of a message.
    #[must_use]
    pub fn new(message: Message) -> Self {
        Self(Arc::new(Payload::Shared(message)))
    }
}

#[derive(Debug)]
pub(super) enum Payload {
    /// A call that others receive too.
    Shared(Message),
    /// Bytes for this client alone, in the sequence and replayed like a call.
    Own(Box<[u8]>),
    /// A whole frame for the transport attached now; worthless to a later one.
    Frame(Box<[u8]>),
}

/// One place in the sequence of a client. It is a single pointer: a window of a thousand is read and written with each
/// broadcast, for each of a thousand clients.
#[derive(Debug)]
pub(super) struct QueueEntry(Option<Arc<Payload>>);

impl QueueEntry {
    /// A place without content: somebody excluded this client.
    pub(super) const NOTHING: Self = Self(None);

    pub(super) fn shared(SharedMessage(piece): &SharedMessage) -> Self {
        Self(Some(Arc::clone(piece)))
    }

    pub(super) fn own(bytes: Box<[u8]>) -> Self {
        Self(Some(Arc::new(Payload::Own(bytes))))
    }

    pub(super) fn frame(bytes: Box<[u8]>) -> Self {
        Self(Some(Arc::new(Payload::Frame(bytes))))
    }

    pub(super) fn piece(&self) -> Option<&Payload> {
        self.0.as_deref()
    }

    /// The message of a call.
    pub(super) fn message(&self) -> Option<&Message> {
        match self.piece() {
            Some(Payload::Shared(message)) => Some(message),
            Some(Payload::Own(_) | Payload::Frame(_)) | None => None,
        }
    }

    pub(super) fn len(&self, form: &WireForm) -> usize {
        match self.piece() {
            Some(Payload::Shared(message)) => message.encoded(form).len(),
            Some(Payload::Own(bytes) | Payload::Frame(bytes)) => bytes.len(),
            None => 0,
        }
    }

    pub(super) fn is_frame(&self) -> bool {
        matches!(self.piece(), Some(Payload::Frame(_)))
    }

    pub(super) fn is_droppable(&self) -> bool {
        matches!(self.piece(), Some(Payload::Shared(_)) | None)
    }
}
