//! The framing of messages on each transport.

use bytes::{BufMut, BytesMut};
use memchr::memchr;

/// The type of the frames of a transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameType {
    /// A WebSocket text message.
    WebSocketText,
    /// A WebSocket binary message.
    WebSocketBinary,
    /// A server-sent event.
    Event,
    /// No frame: the response to a poll contains nothing but payloads.
    Unframed,
}

/// Wire: the header of a server's WebSocket frame has two, four or ten bytes, depending on the length of the payload
/// (RFC 6455 section 5.2).
const MEDIUM_HEADER: usize = 4;
const LONG_HEADER: usize = 10;

/// Wire: the first byte of the final frame of a message, with the opcode (RFC 6455 section 5.2).
const FINAL_TEXT: u8 = 0x81;
const FINAL_BINARY: u8 = 0x82;
const FINAL_CLOSE: u8 = 0x88;
const FINAL_PONG: u8 = 0x8a;

impl FrameType {
    /// Appends a frame to `out`. `write` appends its payload.
    pub fn frame(self, out: &mut BytesMut, write: impl FnOnce(&mut BytesMut)) {
        match self {
            Self::WebSocketText => websocket_frame(FINAL_TEXT, out, write),
            Self::WebSocketBinary => websocket_frame(FINAL_BINARY, out, write),
            Self::Event => event(out, write),
            Self::Unframed => write(out),
        }
    }
}

/// Appends a server-sent event. Wire: each line of the payload is a `data` line, and the client joins them with a line
/// feed. Lines end with CR LF, as in ASP.NET Core SignalR.
fn event(out: &mut BytesMut, write: impl FnOnce(&mut BytesMut)) {
    const FIELD: &[u8] = b"data: ";
    out.put_slice(FIELD);
    let start = out.len();
    write(out);
    if memchr(b'\n', &out[start..]).is_some() {
        let payload = out.split_off(start);
        for (number, line) in payload[..].split(|byte| *byte == b'\n').enumerate() {
            out.put_slice(if number == 0 { b"" } else { b"\r\ndata: " });
            out.put_slice(line.strip_suffix(b"\r").unwrap_or(line));
        }
    }
    out.put_slice(b"\r\n\r\n");
}

/// Appends a close frame with `code` and without a reason.
pub(super) fn close_frame(code: u16, out: &mut BytesMut) {
    websocket_frame(FINAL_CLOSE, out, |out| out.put_u16(code));
}

/// Makes the response to a ping. Wire: its payload has at most 125 bytes (RFC 6455 section 5.5).
pub(super) fn pong_frame(payload: &[u8]) -> Box<[u8]> {
    let mut out = BytesMut::with_capacity(MEDIUM_HEADER + payload.len());
    websocket_frame(FINAL_PONG, &mut out, |out| out.put_slice(payload));
    out[..].into()
}

/// Writes the payload behind a header of the most common length, and moves it if the header turns out shorter or
/// longer. A short payload is cheap to move, and a long one is rare.
fn websocket_frame(first: u8, out: &mut BytesMut, write: impl FnOnce(&mut BytesMut)) {
    let start = out.len();
    out.put_bytes(0, MEDIUM_HEADER);
    write(out);
    let end = out.len();
    let length = end - start - MEDIUM_HEADER;
    out[start] = first;
    if let Ok(short) = u8::try_from(length)
        && short < 126
    {
        out[start + 1] = short;
        out.copy_within(start + MEDIUM_HEADER..end, start + 2);
        out.truncate(end - 2);
    } else if let Ok(medium) = u16::try_from(length) {
        out[start + 1] = 126;
        out[start + 2..start + MEDIUM_HEADER].copy_from_slice(&medium.to_be_bytes());
    } else {
        out.put_bytes(0, LONG_HEADER - MEDIUM_HEADER);
        out.copy_within(start + MEDIUM_HEADER..end, start + LONG_HEADER);
        out[start + 1] = 127;
        out[start + 2..start + LONG_HEADER].copy_from_slice(&(length as u64).to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use actix_http::ws::{Codec, Frame};
    use proptest::prelude::*;
    use tokio_util::codec::Decoder;

    use super::*;

    fn read(mut bytes: BytesMut) -> Vec<Frame> {
        let mut codec = Codec::new().client_mode().max_size(usize::MAX);
        std::iter::from_fn(|| codec.decode(&mut bytes).unwrap()).collect()
    }

    #[test]
    fn frame_of_each_length_class_round_trips() {
        for length in [0, 1, 124, 125, 126, 127, 65_535, 65_536, 70_000] {
            let (payload, mut out) = (vec![b'x'; length], BytesMut::from(&b""[..]));
            FrameType::WebSocketText.frame(&mut out, |out| out.put_slice(&payload));
            FrameType::WebSocketBinary.frame(&mut out, |out| out.put_slice(&payload));
            assert_eq!(read(out), [Frame::Text(payload.clone().into()), Frame::Binary(payload.into())], "{length}");
        }
    }

    #[test]
    fn event_has_one_data_line_per_line() {
        for (payload, expected) in [
            ("{}\u{1e}", "data: {}\u{1e}\r\n\r\n"),
            ("", "data: \r\n\r\n"),
            ("a\nb\r\nc", "data: a\r\ndata: b\r\ndata: c\r\n\r\n"),
            ("a\n", "data: a\r\ndata: \r\n\r\n"),
        ] {
            let mut out = BytesMut::from(&b":\r\n"[..]);
            FrameType::Event.frame(&mut out, |out| out.put_slice(payload.as_bytes()));
            assert_eq!(out, format!(":\r\n{expected}"), "{payload:?}");
        }
    }

    #[test]
    fn poll_has_no_framing() {
        let mut out = BytesMut::new();
        for payload in ["{}\u{1e}", "{\"type\":6}\u{1e}"] {
            FrameType::Unframed.frame(&mut out, |out| out.put_slice(payload.as_bytes()));
        }
        assert_eq!(out, "{}\u{1e}{\"type\":6}\u{1e}");
    }

    #[test]
    fn close_frame_carries_its_code() {
        let mut out = BytesMut::new();
        close_frame(1008, &mut out);
        assert_eq!(&out[..], [0x88, 2, 0x03, 0xf0]);
    }

    proptest! {
        #[test]
        fn consecutive_frames_are_decoded_separately(payloads: Vec<Vec<u8>>) {
            let mut out = BytesMut::new();
            for payload in &payloads {
                FrameType::WebSocketBinary.frame(&mut out, |out| out.put_slice(payload));
            }
            let expected: Vec<_> = payloads.into_iter().map(|payload| Frame::Binary(payload.into())).collect();
            prop_assert_eq!(read(out), expected);
        }
    }
}
