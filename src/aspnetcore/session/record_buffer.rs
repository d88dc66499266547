//! The receive buffer of a connection: splits the incoming bytes into records.

use bytes::{Buf, Bytes, BytesMut};
use memchr::memchr;

use crate::{aspnetcore::json::SEPARATOR, hub::HubError};

/// The number of bytes that are buffered while a queued call blocks reading. Wire: ASP.NET Core SignalR buffers the
/// same amount before it stops reading.
const MAX_BUFFERED: usize = 64 * 1024;

/// Bytes that were received over one connection and are not handled yet.
#[derive(Debug)]
pub(super) struct RecordBuffer {
    bytes: BytesMut,
    /// The length of the prefix that contains no separator. It avoids scanning again when a long message arrives in
    /// many parts.
    scanned: usize,
    /// The maximum message size in bytes, including its separator.
    limit: Option<usize>,
}

/// A message exceeds the maximum size.
#[derive(Clone, Copy, Debug)]
pub(super) struct TooLarge;

impl RecordBuffer {
    pub(super) fn new(limit: Option<usize>) -> Self {
        Self { bytes: BytesMut::new(), scanned: 0, limit }
    }

    pub(super) fn append(&mut self, bytes: &Bytes) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Removes and returns the next complete message, without its separator.
    pub(super) fn next_record(&mut self) -> Result<Option<BytesMut>, TooLarge> {
        let limit = self.limit.unwrap_or(usize::MAX);
        let separator_at = memchr(SEPARATOR, &self.bytes[self.scanned..]).map(|offset| self.scanned + offset);
        self.scanned = if separator_at.is_some() { 0 } else { self.bytes.len() };
        match separator_at {
            Some(end) if end < limit => {
                let record = self.bytes.split_to(end);
                self.bytes.advance(1);
                if self.bytes.is_empty() {
                    // Frees the allocation, which is as large as the longest message so far.
                    self.clear();
                }
                Ok(Some(record))
            }
            None if self.bytes.len() < limit => Ok(None),
            Some(_) | None => Err(TooLarge),
        }
    }

    pub(super) fn clear(&mut self) {
        (self.bytes, self.scanned) = (BytesMut::new(), 0);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// True if the transport should stop reading while buffered messages cannot be handled.
    pub(super) fn is_full(&self) -> bool {
        self.bytes.len() > MAX_BUFFERED
    }

    /// The error for a message over the limit. Wire: the text of ASP.NET Core SignalR, which counts the separator.
    pub(super) fn size_error(&self) -> HubError {
        let limit = self.limit.unwrap_or(usize::MAX);
        let text = format!(
            "The maximum message size of {limit}B was exceeded. The message size can be configured in AddHubOptions."
        );
        HubError::hidden("InvalidDataException", text)
    }
}
