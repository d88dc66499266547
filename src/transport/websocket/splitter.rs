//! Splits received WebSocket data into frames and passes them to the decoder one at a time.
//!
//! The decoder of `actix_web_actors` buffers all available input before it decodes a frame. This stream therefore
//! offers a single frame, or a single fragment of a long frame. It reads the next one after the previous one was
//! processed, and TCP slows down a client that sends faster.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use actix_http::error::PayloadError;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use futures_util::Stream;

/// The longest payload that is passed on in one frame. A longer payload is split into fragments of this length. It is a
/// multiple of the length of a mask, so that the same mask applies to each fragment.
pub(super) const MAX_FRAGMENT: usize = 16 * 1024;

/// Wire: RFC 6455 section 5.2.
const FINAL: u8 = 0x80;
const RESERVED: u8 = 0x70;
const CONTROL: u8 = 0x08;
const MASKED: u8 = 0x80;
const MASK_LENGTH: usize = 4;

/// Wire: the longest payload of a control frame (RFC 6455 section 5.5).
const MAX_CONTROL_PAYLOAD: u64 = 125;

/// A header that the decoder rejects at once. It replaces an invalid frame, which the decoder would reject only after
/// receiving all of it.
const INVALID_FRAME: &[u8] = &[RESERVED, 0];

/// The header of a client's frame.
#[derive(Clone, Copy, Debug)]
struct FrameHeader {
    first: u8,
    payload: u64,
    mask: [u8; MASK_LENGTH],
    length: usize,
}

enum ParsedHeader {
    /// More bytes are needed.
    Incomplete,
    /// The header is invalid, or the frame would exceed the limits of the protocol.
    Invalid,
    Complete(FrameHeader),
}

fn parse_header(bytes: &[u8]) -> ParsedHeader {
    let &[first, second, ref rest @ ..] = bytes else { return ParsedHeader::Incomplete };
    if first & RESERVED != 0 || second & MASKED == 0 {
        return ParsedHeader::Invalid;
    }
    let (payload, rest) = match second & !MASKED {
        126 => match rest.split_first_chunk() {
            Some((length, rest)) => (u16::from_be_bytes(*length).into(), rest),
            None => return ParsedHeader::Incomplete,
        },
        127 => match rest.split_first_chunk() {
            Some((length, rest)) => (u64::from_be_bytes(*length), rest),
            None => return ParsedHeader::Incomplete,
        },
        short => (short.into(), rest),
    };
    if payload > i64::MAX.cast_unsigned() || (first & CONTROL != 0 && payload > MAX_CONTROL_PAYLOAD) {
        return ParsedHeader::Invalid;
    }
    match rest.split_first_chunk() {
        Some((mask, rest)) => {
            ParsedHeader::Complete(FrameHeader { first, payload, mask: *mask, length: bytes.len() - rest.len() })
        }
        None => ParsedHeader::Incomplete,
    }
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct FrameSplitter {
    bytes: BytesMut,
    /// The remainder of a long frame that is being passed on in fragments.
    fragmented: Option<FrameHeader>,
}

impl FrameSplitter {
    fn push(&mut self, chunk: Bytes) {
        if self.bytes.is_empty() {
            self.bytes = chunk.into();
        } else {
            self.bytes.extend_from_slice(&chunk);
        }
    }

    /// The next frame; `None` if more bytes are needed.
    fn next(&mut self) -> Option<Bytes> {
        if self.fragmented.is_some() {
            return self.next_fragment();
        }
        match parse_header(&self.bytes) {
            ParsedHeader::Incomplete => None,
            ParsedHeader::Invalid => Some(Bytes::from_static(INVALID_FRAME)),
            ParsedHeader::Complete(header) if header.payload > MAX_FRAGMENT as u64 => {
                self.bytes.advance(header.length);
                self.fragmented = Some(header);
                self.next_fragment()
            }
            ParsedHeader::Complete(header) => {
                self.take(header.length + usize::try_from(header.payload).unwrap_or(MAX_FRAGMENT))
            }
        }
    }

    /// The next fragment of the long frame.
    fn next_fragment(&mut self) -> Option<Bytes> {
        let header = self.fragmented?;
        let length = usize::try_from(header.payload).map_or(MAX_FRAGMENT, |left| left.min(MAX_FRAGMENT));
        let payload = self.take(length)?;
        let left = header.payload - length as u64;
        let is_last = left == 0;
        // Later fragments are continuation frames; only the last one keeps the FIN bit.
        self.fragmented = (!is_last).then_some(FrameHeader { first: header.first & FINAL, payload: left, ..header });
        let first = if is_last { header.first } else { header.first & !FINAL };
        Some(frame(first, header.mask, &payload))
    }

    fn take(&mut self, length: usize) -> Option<Bytes> {
        match self.bytes.len() {
            // Taking the whole buffer frees its memory once the frame is dropped.
            all if all == length => Some(std::mem::take(&mut self.bytes).freeze()),
            more if more > length => Some(self.bytes.split_to(length).freeze()),
            _ => None,
        }
    }
}

/// Makes a frame of up to [`MAX_FRAGMENT`] bytes of masked payload.
fn frame(first: u8, mask: [u8; MASK_LENGTH], payload: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(2 + 2 + MASK_LENGTH + payload.len());
    frame.put_u8(first);
    frame.put_u8(MASKED | 126);
    frame.put_u16(u16::try_from(payload.len()).expect("a fragment is at most MAX_FRAGMENT bytes long"));
    frame.put_slice(&mask);
    frame.put_slice(payload);
    frame.freeze()
}

/// The input stream of the decoder. It yields a frame, then is pending once.
pub(super) struct FrameStream<S> {
    source: S,
    splitter: FrameSplitter,
    has_yielded: bool,
}

impl<S> FrameStream<S> {
    pub(super) fn new(source: S) -> Self {
        Self { source, splitter: FrameSplitter::default(), has_yielded: false }
    }
}

impl<S: Stream<Item = Result<Bytes, PayloadError>> + Unpin> Stream for FrameStream<S> {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        // Invariant: the decoder now has a frame to decode and polls again after it, so no waker is needed.
        if std::mem::take(&mut self.has_yielded) {
            return Poll::Pending;
        }
        loop {
            if let Some(frame) = self.splitter.next() {
                self.has_yielded = true;
                return Poll::Ready(Some(Ok(frame)));
            }
            match std::task::ready!(Pin::new(&mut self.source).poll_next(cx)) {
                Some(Ok(chunk)) => self.splitter.push(chunk),
                // A broken socket ends the stream, so that every remaining error is a protocol error of the client.
                Some(Err(_)) | None => return Poll::Ready(None),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use actix_http::ws::{Codec, Frame, Item};
    use proptest::prelude::*;
    use tokio_util::codec::Decoder;

    use super::*;

    const TEST_MASK: [u8; MASK_LENGTH] = [1, 2, 3, 4];

    /// Encodes a frame as a client does.
    fn client_frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut out = vec![first];
        match payload.len() {
            short @ 0..126 => out.push(MASKED | u8::try_from(short).unwrap()),
            middle @ 126..65_536 => {
                out.push(MASKED | 126);
                out.extend(u16::try_from(middle).unwrap().to_be_bytes());
            }
            long => {
                out.push(MASKED | 127);
                out.extend((long as u64).to_be_bytes());
            }
        }
        out.extend(TEST_MASK);
        out.extend(payload.iter().zip(TEST_MASK.iter().cycle()).map(|(byte, key)| byte ^ key));
        out
    }

    /// Decodes the next frame of the splitter.
    fn decoded(splitter: &mut FrameSplitter, codec: &mut Codec) -> Option<Frame> {
        let mut bytes = BytesMut::from(&splitter.next()?[..]);
        let frame = codec.decode(&mut bytes).unwrap().expect("a whole frame");
        assert!(bytes.is_empty(), "exactly one frame");
        Some(frame)
    }

    fn texts(frames: impl Iterator<Item = Frame>) -> Vec<Vec<u8>> {
        let (mut whole, mut partial) = (Vec::new(), Vec::new());
        for frame in frames {
            match frame {
                Frame::Binary(bytes) => whole.push(bytes.to_vec()),
                Frame::Continuation(Item::FirstBinary(bytes) | Item::Continue(bytes)) => partial.extend(bytes),
                Frame::Continuation(Item::Last(bytes)) => {
                    partial.extend(bytes);
                    whole.push(std::mem::take(&mut partial));
                }
                other => panic!("{other:?}"),
            }
        }
        whole
    }

    #[test]
    fn long_frame_is_split_into_fragments() {
        let (mut splitter, mut codec) = (FrameSplitter::default(), Codec::new().max_size(MAX_FRAGMENT));
        let payload: Vec<_> = (0..=255_u8).cycle().take(2 * MAX_FRAGMENT + 7).collect();
        splitter.push(client_frame(0x81, &payload).into());
        let frames: Vec<_> = std::iter::from_fn(|| decoded(&mut splitter, &mut codec)).collect();
        let [Frame::Continuation(Item::FirstText(first)), _, Frame::Continuation(Item::Last(last))] = &frames[..]
        else {
            panic!("{} frames", frames.len());
        };
        assert_eq!((&first[..], &last[..]), (&payload[..MAX_FRAGMENT], &payload[2 * MAX_FRAGMENT..]));
    }

    #[test]
    fn frame_of_maximum_fragment_length_is_not_split() {
        let (mut splitter, mut codec) = (FrameSplitter::default(), Codec::new().max_size(MAX_FRAGMENT));
        splitter.push(client_frame(0x82, &[7; MAX_FRAGMENT]).into());
        assert_eq!(decoded(&mut splitter, &mut codec), Some(Frame::Binary(vec![7; MAX_FRAGMENT].into())));
    }

    #[test]
    fn invalid_frame_is_rejected_before_its_end() {
        let endless = [0x82, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
        let long_ping = [0x89, 0xfe, 0, 126];
        for bytes in [&endless[..], &long_ping, &[0x81, 0x05], &[0xc1, 0x85]] {
            let (mut splitter, mut codec) = (FrameSplitter::default(), Codec::new());
            splitter.push(Bytes::copy_from_slice(bytes));
            let frame = splitter.next().expect("the decoder must see it");
            assert!(codec.decode(&mut BytesMut::from(&frame[..])).is_err(), "{bytes:x?}");
        }
    }

    proptest! {
        #[test]
        fn frames_survive_arbitrary_chunking(
            payloads in prop::collection::vec(prop_oneof![0..300_usize, 16_300..16_500_usize, 60_000..140_000_usize], 1..6),
            cuts in prop::collection::vec(1..40_000_usize, 1..20),
        ) {
            let payloads: Vec<Vec<u8>> = payloads.into_iter().map(|length| (0..=255).cycle().take(length).collect()).collect();
            let mut bytes = Bytes::from(payloads.iter().flat_map(|payload| client_frame(0x82, payload)).collect::<Vec<_>>());
            let (mut splitter, mut codec) = (FrameSplitter::default(), Codec::new().max_size(MAX_FRAGMENT));
            let mut frames = Vec::new();
            for cut in cuts.into_iter().cycle() {
                frames.extend(std::iter::from_fn(|| decoded(&mut splitter, &mut codec)));
                if bytes.is_empty() {
                    break;
                }
                splitter.push(bytes.split_to(cut.min(bytes.len())));
            }
            prop_assert_eq!(texts(frames.into_iter()), payloads);
        }
    }
}
