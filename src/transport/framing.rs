//! How each transport sets a frame apart from the next.

use bytes::{BufMut, BytesMut};

/// The shape that a transport gives to a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameType {
    /// A WebSocket text message.
    WebSocketText,
    /// A WebSocket binary message.
    WebSocketBinary,
}

/// Wire: a server's WebSocket frame has a head of two bytes, or four, or ten, by the length of its payload
/// (RFC 6455 section 5.2).
const MIDDLE_HEAD: usize = 4;
const LONG_HEAD: usize = 10;

/// Wire: the last frame of a message, of this kind.
const FINAL_TEXT: u8 = 0x81;
const FINAL_BINARY: u8 = 0x82;
const FINAL_CLOSE: u8 = 0x88;
const FINAL_PONG: u8 = 0x8a;

impl FrameType {
    /// Appends a frame whose payload is what `write` appends.
    pub fn frame(self, out: &mut BytesMut, write: impl FnOnce(&mut BytesMut)) {
        match self {
            Self::WebSocketText => websocket_frame(FINAL_TEXT, out, write),
            Self::WebSocketBinary => websocket_frame(FINAL_BINARY, out, write),
        }
    }
}

/// Appends a close frame of that code, without a reason.
pub(super) fn close_frame(code: u16, out: &mut BytesMut) {
    websocket_frame(FINAL_CLOSE, out, |out| out.put_u16(code));
}

/// The answer to a ping; its payload is at most 125 bytes long (RFC 6455 section 5.5).
pub(super) fn pong_frame(payload: &[u8]) -> Box<[u8]> {
    let mut out = BytesMut::with_capacity(MIDDLE_HEAD + payload.len());
    websocket_frame(FINAL_PONG, &mut out, |out| out.put_slice(payload));
    out[..].into()
}

/// The payload is written behind a head of the commonest length, and moved if the head turns out to be
/// shorter or longer: a short payload costs nothing to move, and a long one is rare.
fn websocket_frame(first: u8, out: &mut BytesMut, write: impl FnOnce(&mut BytesMut)) {
    let start = out.len();
    out.put_bytes(0, MIDDLE_HEAD);
    write(out);
    let end = out.len();
    let length = end - start - MIDDLE_HEAD;
    out[start] = first;
    if let Ok(short) = u8::try_from(length)
        && short < 126
    {
        out[start + 1] = short;
        out.copy_within(start + MIDDLE_HEAD..end, start + 2);
        out.truncate(end - 2);
    } else if let Ok(middle) = u16::try_from(length) {
        out[start + 1] = 126;
        out[start + 2..start + MIDDLE_HEAD].copy_from_slice(&middle.to_be_bytes());
    } else {
        out.put_bytes(0, LONG_HEAD - MIDDLE_HEAD);
        out.copy_within(start + MIDDLE_HEAD..end, start + LONG_HEAD);
        out[start + 1] = 127;
        out[start + 2..start + LONG_HEAD].copy_from_slice(&(length as u64).to_be_bytes());
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
    fn a_frame_of_every_length_class_is_read_back_whole() {
        for length in [0, 1, 124, 125, 126, 127, 65_535, 65_536, 70_000] {
            let (payload, mut out) = (vec![b'x'; length], BytesMut::from(&b""[..]));
            FrameType::WebSocketText.frame(&mut out, |out| out.put_slice(&payload));
            FrameType::WebSocketBinary.frame(&mut out, |out| out.put_slice(&payload));
            assert_eq!(read(out), [Frame::Text(payload.clone().into()), Frame::Binary(payload.into())], "{length}");
        }
    }

    #[test]
    fn a_close_frame_carries_its_code() {
        let mut out = BytesMut::new();
        close_frame(1008, &mut out);
        assert_eq!(&out[..], [0x88, 2, 0x03, 0xf0]);
    }

    proptest! {
        #[test]
        fn frames_that_follow_each_other_do_not_touch(payloads: Vec<Vec<u8>>) {
            let mut out = BytesMut::new();
            for payload in &payloads {
                FrameType::WebSocketBinary.frame(&mut out, |out| out.put_slice(payload));
            }
            let expected: Vec<_> = payloads.into_iter().map(|payload| Frame::Binary(payload.into())).collect();
            prop_assert_eq!(read(out), expected);
        }
    }
}
