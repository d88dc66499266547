//! What comes in over a WebSocket, cut into frames that are handed on one at a time.
//!
//! The library that decodes them takes in whatever its source has before it decodes one frame, and keeps all
//! of it. So its source has one frame at a time, and of a long one a piece at a time: the next is read when
//! the one before has been dealt with, and a client that sends faster than that is slowed down by TCP.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use actix_http::error::PayloadError;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use futures_util::Stream;

/// The longest payload that is handed on whole. A longer one becomes fragments of this length, a multiple of
/// that of a mask, so that the same mask fits each.
pub(super) const PIECE: usize = 16 * 1024;

/// Wire: RFC 6455 section 5.2.
const FINAL: u8 = 0x80;
const RESERVED: u8 = 0x70;
const CONTROL: u8 = 0x08;
const MASKED: u8 = 0x80;
const MASK: usize = 4;

/// Wire: the longest payload of a control frame (RFC 6455 section 5.5).
const LONGEST_CONTROL: u64 = 125;

/// A head that the decoder refuses, in place of a frame that it would wait for to its end before it does.
const REFUSED: &[u8] = &[RESERVED, 0];

/// The head of a client's frame.
#[derive(Clone, Copy, Debug)]
struct Head {
    first: u8,
    payload: u64,
    mask: [u8; MASK],
    length: usize,
}

enum Read {
    /// More of it has to come.
    Partly,
    /// It is no head of a client's, or announces what no frame may be.
    Wrong,
    Whole(Head),
}

fn read(bytes: &[u8]) -> Read {
    let &[first, second, ref rest @ ..] = bytes else { return Read::Partly };
    if first & RESERVED != 0 || second & MASKED == 0 {
        return Read::Wrong;
    }
    let (payload, rest) = match second & !MASKED {
        126 => match rest.split_first_chunk() {
            Some((length, rest)) => (u16::from_be_bytes(*length).into(), rest),
            None => return Read::Partly,
        },
        127 => match rest.split_first_chunk() {
            Some((length, rest)) => (u64::from_be_bytes(*length), rest),
            None => return Read::Partly,
        },
        short => (short.into(), rest),
    };
    if payload > i64::MAX.cast_unsigned() || (first & CONTROL != 0 && payload > LONGEST_CONTROL) {
        return Read::Wrong;
    }
    match rest.split_first_chunk() {
        Some((mask, rest)) => Read::Whole(Head { first, payload, mask: *mask, length: bytes.len() - rest.len() }),
        None => Read::Partly,
    }
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct FrameSplitter {
    bytes: BytesMut,
    /// The long frame that is being handed on in pieces: what is left of it.
    long: Option<Head>,
}

impl FrameSplitter {
    fn put(&mut self, chunk: Bytes) {
        if self.bytes.is_empty() {
            self.bytes = chunk.into();
        } else {
            self.bytes.extend_from_slice(&chunk);
        }
    }

    /// The next frame; nothing if more of it has to come.
    fn next(&mut self) -> Option<Bytes> {
        if self.long.is_some() {
            return self.next_piece();
        }
        match read(&self.bytes) {
            Read::Partly => None,
            Read::Wrong => Some(Bytes::from_static(REFUSED)),
            Read::Whole(head) if head.payload > PIECE as u64 => {
                self.bytes.advance(head.length);
                self.long = Some(head);
                self.next_piece()
            }
            Read::Whole(head) => self.take(head.length + usize::try_from(head.payload).unwrap_or(PIECE)),
        }
    }

    /// A fragment of the long frame.
    fn next_piece(&mut self) -> Option<Bytes> {
        let head = self.long?;
        let length = usize::try_from(head.payload).map_or(PIECE, |left| left.min(PIECE));
        let payload = self.take(length)?;
        let left = head.payload - length as u64;
        let is_last = left == 0;
        // What follows continues the message, and only its last fragment ends it.
        self.long = (!is_last).then_some(Head { first: head.first & FINAL, payload: left, ..head });
        let first = if is_last { head.first } else { head.first & !FINAL };
        Some(frame(first, head.mask, &payload))
    }

    fn take(&mut self, length: usize) -> Option<Bytes> {
        match self.bytes.len() {
            // Memory goes back: what is left is the end of a buffer.
            all if all == length => Some(std::mem::take(&mut self.bytes).freeze()),
            more if more > length => Some(self.bytes.split_to(length).freeze()),
            _ => None,
        }
    }
}

/// A frame of up to [`PIECE`] bytes, which are masked already.
fn frame(first: u8, mask: [u8; MASK], payload: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(2 + 2 + MASK + payload.len());
    frame.put_u8(first);
    frame.put_u8(MASKED | 126);
    frame.put_u16(u16::try_from(payload.len()).expect("a piece is short"));
    frame.put_slice(&mask);
    frame.put_slice(payload);
    frame.freeze()
}

/// The source of the decoder: a frame, then nothing until it is asked again.
pub(super) struct FrameStream<S> {
    source: S,
    splitter: FrameSplitter,
    has_given: bool,
}

impl<S> FrameStream<S> {
    pub(super) fn new(source: S) -> Self {
        Self { source, splitter: FrameSplitter::default(), has_given: false }
    }
}

impl<S: Stream<Item = Result<Bytes, PayloadError>> + Unpin> Stream for FrameStream<S> {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        // Invariant: the decoder has a frame to decode then, and asks for the next when it has; nobody needs
        // to be woken.
        if std::mem::take(&mut self.has_given) {
            return Poll::Pending;
        }
        loop {
            if let Some(frame) = self.splitter.next() {
                self.has_given = true;
                return Poll::Ready(Some(Ok(frame)));
            }
            match std::task::ready!(Pin::new(&mut self.source).poll_next(cx)) {
                Some(Ok(chunk)) => self.splitter.put(chunk),
                // A broken socket is the end of the stream, so that any error left is the client's doing.
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

    const KEY: [u8; MASK] = [1, 2, 3, 4];

    /// A frame as a client sends it.
    fn sent(first: u8, payload: &[u8]) -> Vec<u8> {
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
        out.extend(KEY);
        out.extend(payload.iter().zip(KEY.iter().cycle()).map(|(byte, key)| byte ^ key));
        out
    }

    /// What the decoder makes of the next that the intake hands on.
    fn decoded(splitter: &mut FrameSplitter, codec: &mut Codec) -> Option<Frame> {
        let mut bytes = BytesMut::from(&splitter.next()?[..]);
        let frame = codec.decode(&mut bytes).unwrap().expect("a whole frame");
        assert!(bytes.is_empty(), "and nothing else");
        Some(frame)
    }

    fn texts(frames: impl Iterator<Item = Frame>) -> Vec<Vec<u8>> {
        let (mut whole, mut begun) = (Vec::new(), Vec::new());
        for frame in frames {
            match frame {
                Frame::Binary(bytes) => whole.push(bytes.to_vec()),
                Frame::Continuation(Item::FirstBinary(bytes) | Item::Continue(bytes)) => begun.extend(bytes),
                Frame::Continuation(Item::Last(bytes)) => {
                    begun.extend(bytes);
                    whole.push(std::mem::take(&mut begun));
                }
                other => panic!("{other:?}"),
            }
        }
        whole
    }

    #[test]
    fn a_long_frame_is_handed_on_in_fragments() {
        let (mut splitter, mut codec) = (FrameSplitter::default(), Codec::new().max_size(PIECE));
        let payload: Vec<_> = (0..=255_u8).cycle().take(2 * PIECE + 7).collect();
        splitter.put(sent(0x81, &payload).into());
        let frames: Vec<_> = std::iter::from_fn(|| decoded(&mut splitter, &mut codec)).collect();
        let [Frame::Continuation(Item::FirstText(first)), _, Frame::Continuation(Item::Last(last))] = &frames[..]
        else {
            panic!("{} frames", frames.len());
        };
        assert_eq!((&first[..], &last[..]), (&payload[..PIECE], &payload[2 * PIECE..]));
    }

    #[test]
    fn a_frame_of_the_length_of_a_piece_is_handed_on_whole() {
        let (mut splitter, mut codec) = (FrameSplitter::default(), Codec::new().max_size(PIECE));
        splitter.put(sent(0x82, &[7; PIECE]).into());
        assert_eq!(decoded(&mut splitter, &mut codec), Some(Frame::Binary(vec![7; PIECE].into())));
    }

    #[test]
    fn what_no_client_may_send_is_refused_without_its_end() {
        let endless = [0x82, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
        let long_ping = [0x89, 0xfe, 0, 126];
        for bytes in [&endless[..], &long_ping, &[0x81, 0x05], &[0xc1, 0x85]] {
            let (mut splitter, mut codec) = (FrameSplitter::default(), Codec::new());
            splitter.put(Bytes::copy_from_slice(bytes));
            let handed_on = splitter.next().expect("the decoder has to see it");
            assert!(codec.decode(&mut BytesMut::from(&handed_on[..])).is_err(), "{bytes:x?}");
        }
    }

    proptest! {
        #[test]
        fn frames_arrive_as_they_were_sent_however_they_are_cut(
            payloads in prop::collection::vec(prop_oneof![0..300_usize, 16_300..16_500_usize, 60_000..140_000_usize], 1..6),
            cuts in prop::collection::vec(1..40_000_usize, 1..20),
        ) {
            let payloads: Vec<Vec<u8>> = payloads.into_iter().map(|length| (0..=255).cycle().take(length).collect()).collect();
            let mut bytes = Bytes::from(payloads.iter().flat_map(|payload| sent(0x82, payload)).collect::<Vec<_>>());
            let (mut splitter, mut codec) = (FrameSplitter::default(), Codec::new().max_size(PIECE));
            let mut frames = Vec::new();
            for cut in cuts.into_iter().cycle() {
                frames.extend(std::iter::from_fn(|| decoded(&mut splitter, &mut codec)));
                if bytes.is_empty() {
                    break;
                }
                splitter.put(bytes.split_to(cut.min(bytes.len())));
            }
            prop_assert_eq!(texts(frames.into_iter()), payloads);
        }
    }
}
