//! The receive buffer of a connection: splits the incoming bytes into messages.

use bytes::{Buf, Bytes, BytesMut};
use memchr::{memchr, memrchr};

use crate::{
    aspnetcore::protocol::{Framing, json::SEPARATOR},
    client_log::Cause,
    hub::HubError,
};

/// Wire: a length prefix has at most five bytes with seven bits each, and the number has at most 31 bits.
const MAX_PREFIX: usize = 5;
const MAX_LAST_BYTE: u8 = 0x07;

/// Bytes that were received over one connection and are not handled yet.
#[derive(Debug)]
pub(super) struct MessageBuffer {
    bytes: BytesMut,
    /// The length of the prefix that contains no separator. It avoids scanning again when a long message arrives in
    /// many parts.
    scanned: usize,
    /// The length of the messages that [`MessageBuffer::peek_message`] has returned and that are still here.
    peeked: usize,
    /// The maximum message size in bytes, including its framing.
    limit: Option<usize>,
}

/// Why no message can be read any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FramingError {
    /// A message exceeds the maximum size.
    TooLarge,
    /// The length prefix of a message is invalid.
    InvalidLength,
}

impl FramingError {
    /// The cause for the log.
    pub(super) fn cause(self) -> Cause {
        match self {
            Self::TooLarge => Cause::MessageTooLong,
            Self::InvalidLength => Cause::InvalidMessage,
        }
    }
}

/// The position of a message in the buffer.
struct Frame {
    /// The length of its prefix.
    prefix: usize,
    length: usize,
    /// The length of its separator.
    suffix: usize,
}

impl MessageBuffer {
    pub(super) fn new(limit: Option<usize>) -> Self {
        Self { bytes: BytesMut::new(), scanned: 0, peeked: 0, limit }
    }

    pub(super) fn append(&mut self, bytes: &Bytes) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Removes and returns the next complete message, without its framing.
    pub(super) fn next_message(&mut self, framing: Framing) -> Result<Option<Bytes>, FramingError> {
        let limit = self.limit.unwrap_or(usize::MAX);
        let frame = match framing {
            Framing::Separator => self.find_separator(),
            Framing::LengthPrefix => read_prefix(&self.bytes)?,
            Framing::Chunks => self.chunk(limit),
        };
        match frame {
            Some(frame) if frame.prefix + frame.length + frame.suffix <= limit => Ok(Some(self.remove(&frame))),
            None if self.bytes.len() < limit => Ok(None),
            Some(_) | None => Err(FramingError::TooLarge),
        }
    }

    /// The complete message behind those that were returned before, without its framing. It stays in the buffer.
    pub(super) fn peek_message(&mut self, framing: Framing) -> Option<Bytes> {
        let rest = &self.bytes[self.peeked..];
        let Frame { prefix, length, suffix } = match framing {
            Framing::Separator => memchr(SEPARATOR, rest).map(|length| Frame { prefix: 0, length, suffix: 1 }),
            Framing::LengthPrefix => read_prefix(rest).ok().flatten(),
            Framing::Chunks => None,
        }?;
        let message = Bytes::copy_from_slice(&rest[prefix..prefix + length]);
        self.peeked += prefix + length + suffix;
        Some(message)
    }

    /// Drops the incomplete message at the end.
    pub(super) fn drop_incomplete(&mut self, framing: Framing) {
        let complete = match framing {
            Framing::Separator => memrchr(SEPARATOR, &self.bytes).map_or(0, |end| end + 1),
            Framing::LengthPrefix => self.complete_length(),
            Framing::Chunks => self.bytes.len(),
        };
        if complete == 0 {
            // Frees the allocation, as in `remove`.
            return self.clear();
        }
        self.bytes.truncate(complete);
        self.scanned = self.scanned.min(complete);
    }

    /// The length of the complete messages with a length prefix.
    fn complete_length(&self) -> usize {
        let mut complete = 0;
        while let Ok(Some(frame)) = read_prefix(&self.bytes[complete..]) {
            complete += frame.prefix + frame.length;
        }
        complete
    }

    fn find_separator(&mut self) -> Option<Frame> {
        let end = memchr(SEPARATOR, &self.bytes[self.scanned..]).map(|offset| self.scanned + offset);
        self.scanned = if end.is_some() { 0 } else { self.bytes.len() };
        end.map(|length| Frame { prefix: 0, length, suffix: 1 })
    }

    /// What is buffered, up to the maximum size.
    fn chunk(&self, limit: usize) -> Option<Frame> {
        let length = self.bytes.len().min(limit);
        (length > 0).then_some(Frame { prefix: 0, length, suffix: 0 })
    }

    fn remove(&mut self, frame: &Frame) -> Bytes {
        self.bytes.advance(frame.prefix);
        let message = self.bytes.split_to(frame.length);
        self.bytes.advance(frame.suffix);
        self.peeked = self.peeked.saturating_sub(frame.prefix + frame.length + frame.suffix);
        if self.bytes.is_empty() {
            // Frees the allocation, which is as large as the longest message so far.
            self.clear();
        }
        message.freeze()
    }

    pub(super) fn clear(&mut self) {
        (self.bytes, self.scanned, self.peeked) = (BytesMut::new(), 0, 0);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The error for the client. Wire: the texts of ASP.NET Core SignalR, whose limit includes the framing. The log names
    /// the setting of this server instead.
    pub(super) fn error(&self, error: FramingError) -> HubError {
        if error == FramingError::InvalidLength {
            return HubError::hidden("FormatException", "Messages over 2GB in size are not supported.");
        }
        let limit = self.limit.unwrap_or(usize::MAX);
        let text = format!(
            "The maximum message size of {limit}B was exceeded. The message size can be configured in AddHubOptions."
        );
        HubError::hidden("InvalidDataException", text)
            .with_cause(format!("the message is longer than {limit} bytes (aspnetcore.max_message)"))
    }
}

/// The frame of a message with a length prefix; `None` while it is not complete. Wire: a message beyond the limit
/// is noticed when that many bytes have arrived.
fn read_prefix(bytes: &[u8]) -> Result<Option<Frame>, FramingError> {
    let mut length = 0;
    for (index, byte) in bytes.iter().take(MAX_PREFIX).enumerate() {
        let is_last = index + 1 == MAX_PREFIX;
        if is_last && *byte > MAX_LAST_BYTE {
            return Err(FramingError::InvalidLength);
        }
        length |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            let prefix = index + 1;
            let is_complete = bytes.len() - prefix >= length;
            return Ok(is_complete.then_some(Frame { prefix, length, suffix: 0 }));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn buffer(limit: usize, bytes: &[u8]) -> MessageBuffer {
        let mut buffer = MessageBuffer::new(Some(limit));
        buffer.append(&Bytes::copy_from_slice(bytes));
        buffer
    }

    fn next(buffer: &mut MessageBuffer) -> Result<Option<Vec<u8>>, FramingError> {
        buffer.next_message(Framing::LengthPrefix).map(|message| message.map(Vec::from))
    }

    #[test]
    fn length_prefix_delimits_messages() {
        let mut buffer = buffer(100, b"\x02\x91\x06\x00\x83\x80\x80\x80\x00abc\x01");
        assert_eq!(next(&mut buffer), Ok(Some(b"\x91\x06".to_vec())));
        assert_eq!(next(&mut buffer), Ok(Some(Vec::new())));
        assert_eq!(next(&mut buffer), Ok(Some(b"abc".to_vec())), "a needlessly long prefix");
        assert_eq!(next(&mut buffer), Ok(None));
        buffer.append(&Bytes::from_static(b"x"));
        assert_eq!(next(&mut buffer), Ok(Some(b"x".to_vec())));
        assert!(buffer.is_empty());
    }

    #[test]
    fn long_prefix_holds_seven_bits_per_byte() {
        let message = vec![b'x'; 300];
        let mut buffer = buffer(302, &[&[0xac], &[0x02], &message[..]].concat());
        assert_eq!(next(&mut buffer), Ok(Some(message)));
    }

    #[test]
    fn invalid_prefix_is_an_error() {
        for prefix in [&b"\xff\xff\xff\xff\xff\xff\x01"[..], b"\xff\xff\xff\xff\x0f", b"\x80\x80\x80\x80\x08"] {
            assert_eq!(next(&mut buffer(32_768, prefix)), Err(FramingError::InvalidLength), "{prefix:x?}");
        }
        assert_eq!(next(&mut buffer(32_768, b"\xff\xff\xff\xff")), Ok(None));
    }

    #[test]
    fn peeked_messages_stay() {
        for (framing, bytes) in
            [(Framing::Separator, &b"a\x1ebc\x1ed"[..]), (Framing::LengthPrefix, b"\x01a\x02bc\x09d")]
        {
            let mut buffer = buffer(100, bytes);
            assert_eq!(buffer.peek_message(framing).as_deref(), Some(&b"a"[..]));
            assert_eq!(buffer.next_message(framing).unwrap().as_deref(), Some(&b"a"[..]));
            assert_eq!(buffer.peek_message(framing).as_deref(), Some(&b"bc"[..]));
            assert_eq!(buffer.peek_message(framing), None, "the next one is incomplete");
            assert_eq!(buffer.next_message(framing).unwrap().as_deref(), Some(&b"bc"[..]));
        }
    }

    #[test]
    fn incomplete_message_is_dropped() {
        for (framing, bytes, rest) in [
            (Framing::Separator, &b"a\x1ebc\x1ed"[..], &b"e\x1e"[..]),
            (Framing::LengthPrefix, b"\x01a\x02bc\x09d", b"\x01e"),
        ] {
            let mut buffer = buffer(100, bytes);
            assert_eq!(buffer.next_message(framing).unwrap().as_deref(), Some(&b"a"[..]));
            buffer.drop_incomplete(framing);
            buffer.append(&Bytes::copy_from_slice(rest));
            assert_eq!(buffer.next_message(framing).unwrap().as_deref(), Some(&b"bc"[..]));
            assert_eq!(buffer.next_message(framing).unwrap().as_deref(), Some(&b"e"[..]));
            assert!(buffer.is_empty());
        }
    }

    #[test]
    fn dropped_message_frees_its_memory() {
        for framing in [Framing::Separator, Framing::LengthPrefix] {
            let mut buffer = buffer(100, b"\x40abc");
            buffer.drop_incomplete(framing);
            assert_eq!(buffer.bytes.capacity(), 0);
        }
    }

    #[test]
    fn message_above_limit_is_noticed_at_the_limit() {
        assert_eq!(next(&mut buffer(4, b"\x03abc")), Ok(Some(b"abc".to_vec())));
        assert_eq!(next(&mut buffer(4, b"\x04abc")), Err(FramingError::TooLarge));
        assert_eq!(next(&mut buffer(4, b"\x04ab")), Ok(None));
        assert_eq!(next(&mut buffer(4, b"\x80\x80\x80")), Ok(None));
    }
}
