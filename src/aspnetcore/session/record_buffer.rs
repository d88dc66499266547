//! What has come in and is not acted on yet: bytes, cut into messages.

use bytes::{Buf, Bytes, BytesMut};
use memchr::memchr;

use crate::{aspnetcore::json::SEPARATOR, hub::HubError};

/// How much may wait to be read while the client's calls keep the line busy. Wire: what the original
/// buffers before it stops reading.
const BACKLOG: usize = 64 * 1024;

/// What has come in over one connection.
#[derive(Debug)]
pub(super) struct RecordBuffer {
    bytes: BytesMut,
    /// So many of them are known to hold no separator: a long message comes in many parts.
    searched: usize,
    /// The largest message, its separator included.
    limit: Option<usize>,
}

/// A message is longer than this connection takes.
#[derive(Clone, Copy, Debug)]
pub(super) struct TooLarge;

impl RecordBuffer {
    pub(super) fn new(limit: Option<usize>) -> Self {
        Self { bytes: BytesMut::new(), searched: 0, limit }
    }

    pub(super) fn put(&mut self, bytes: &Bytes) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Cuts the next message off, without its separator.
    pub(super) fn next(&mut self) -> Result<Option<BytesMut>, TooLarge> {
        let limit = self.limit.unwrap_or(usize::MAX);
        let found = memchr(SEPARATOR, &self.bytes[self.searched..]).map(|at| self.searched + at);
        self.searched = if found.is_some() { 0 } else { self.bytes.len() };
        match found {
            Some(end) if end < limit => {
                let record = self.bytes.split_to(end);
                self.bytes.advance(1);
                if self.bytes.is_empty() {
                    // Memory goes back: what is left is the end of a buffer as long as the longest message.
                    self.clear();
                }
                Ok(Some(record))
            }
            None if self.bytes.len() < limit => Ok(None),
            Some(_) | None => Err(TooLarge),
        }
    }

    pub(super) fn clear(&mut self) {
        (self.bytes, self.searched) = (BytesMut::new(), 0);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// True when so much has come in that nothing more should be read while it cannot be acted on.
    pub(super) fn is_full(&self) -> bool {
        self.bytes.len() > BACKLOG
    }

    /// What a client is told that has exceeded the limit. Wire: the text of the original, which counts the
    /// separator.
    pub(super) fn size_error(&self) -> HubError {
        let limit = self.limit.unwrap_or(usize::MAX);
        let text = format!(
            "The maximum message size of {limit}B was exceeded. The message size can be configured in AddHubOptions."
        );
        HubError::hidden("InvalidDataException", text)
    }
}
