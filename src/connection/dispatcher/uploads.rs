//! The streams that the client sends, by id.

use std::collections::BTreeMap;

use crate::{
    hub::{UploadCapacity, UploadReceiver, UploadSender, upload},
    payload::Payload,
    router::ClientResult,
};

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct OpenUploads {
    /// The number of items that each stream buffers.
    capacity: usize,
    senders: BTreeMap<String, UploadSender>,
    /// The item whose stream is full. Requests behind it wait.
    blocked: Option<Box<(String, Option<Payload>)>>,
}

impl OpenUploads {
    pub(super) fn new(capacity: usize) -> Self {
        Self { capacity, senders: BTreeMap::new(), blocked: None }
    }

    /// Opens the streams of a call. Wire: an id that is in use belongs to the later call.
    pub(super) fn open(&mut self, ids: Vec<String>) -> Vec<UploadReceiver> {
        let open = |id| {
            let (sender, receiver) = upload(self.capacity);
            self.senders.insert(id, sender);
            receiver
        };
        ids.into_iter().map(open).collect()
    }

    /// Passes an item on. Returns what to wait for if its stream is full. An item of an unknown stream is ignored.
    pub(super) fn push(&mut self, id: String, item: Option<Payload>) -> Option<UploadCapacity> {
        let sender = self.senders.get(&id)?;
        let item = sender.send(item).err()?;
        let capacity = sender.capacity();
        self.blocked = Some(Box::new((id, item)));
        Some(capacity)
    }

    /// Passes the blocked item on. Returns what to wait for if its stream is still full.
    pub(super) fn retry(&mut self) -> Option<UploadCapacity> {
        let (id, item) = *self.blocked.take()?;
        self.push(id, item)
    }

    pub(super) fn is_blocked(&self) -> bool {
        self.blocked.is_some()
    }

    pub(super) fn contains(&self, id: &str) -> bool {
        self.senders.contains_key(id)
    }

    /// Ends a stream. Wire: a result ends it, too.
    pub(super) fn complete(&mut self, id: &str, result: ClientResult) {
        let error = match result {
            ClientResult::Error(error) => Some(error),
            ClientResult::Void | ClientResult::Result(_) => None,
        };
        if let Some(sender) = self.senders.remove(id) {
            sender.complete(error);
        }
    }

    /// Forgets the streams that no hub method reads any more. Items and ends that follow are ignored.
    pub(super) fn forget_unused(&mut self) {
        self.senders.retain(|_, sender| !sender.is_unused());
    }

    /// Ends all streams with an error, because the client has gone.
    pub(super) fn clear(&mut self) {
        self.senders = BTreeMap::new();
        self.blocked = None;
    }
}
