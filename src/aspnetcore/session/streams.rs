//! The streams of a session: those that hub methods return to the client, and those that the client sends to them.

use std::collections::{BTreeMap, HashMap};

use crate::{
    hub::{UploadCapacity, UploadReceiver, UploadSender, upload},
    payload::Payload,
};

/// The streams that the client receives, by the id of the invocation and by its number.
#[derive(Debug, Default)]
pub(super) struct ServerStreams {
    numbers: HashMap<String, u64>,
    ids: BTreeMap<u64, String>,
}

impl ServerStreams {
    pub(super) fn len(&self) -> usize {
        self.ids.len()
    }

    pub(super) fn contains(&self, id: &str) -> bool {
        self.numbers.contains_key(id)
    }

    pub(super) fn insert(&mut self, id: String, number: u64) {
        self.numbers.insert(id.clone(), number);
        self.ids.insert(number, id);
    }

    /// The invocation id of a stream; `None` if the client has cancelled it.
    pub(super) fn id(&self, number: u64) -> Option<&str> {
        self.ids.get(&number).map(String::as_str)
    }

    pub(super) fn remove(&mut self, number: u64) -> Option<String> {
        let id = self.ids.remove(&number)?;
        self.numbers.remove(&id);
        Some(id)
    }

    pub(super) fn remove_id(&mut self, id: &str) -> Option<u64> {
        let number = self.numbers.remove(id)?;
        self.ids.remove(&number);
        Some(number)
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

/// The streams that the client sends, by id.
#[derive(Debug)]
pub(super) struct ClientStreams {
    /// The number of items that each stream buffers.
    capacity: usize,
    senders: HashMap<String, UploadSender>,
    /// The item whose stream is full. Messages behind it are not read.
    blocked: Option<(String, Option<Payload>)>,
}

impl ClientStreams {
    pub(super) fn new(capacity: usize) -> Self {
        Self { capacity, senders: HashMap::new(), blocked: None }
    }

    /// Opens the streams of an invocation. Wire: an id that is in use belongs to the later invocation.
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
        self.blocked = Some((id, item));
        Some(capacity)
    }

    /// Passes the blocked item on. Returns what to wait for if its stream is still full.
    pub(super) fn retry(&mut self) -> Option<UploadCapacity> {
        let (id, item) = self.blocked.take()?;
        self.push(id, item)
    }

    pub(super) fn is_blocked(&self) -> bool {
        self.blocked.is_some()
    }

    pub(super) fn contains(&self, id: &str) -> bool {
        self.senders.contains_key(id)
    }

    /// Ends a stream.
    pub(super) fn complete(&mut self, id: &str, error: Option<String>) {
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
        self.senders = HashMap::new();
        self.blocked = None;
    }
}
