//! A channel as the response to one long poll, whose status depends on what it carries.

use std::{future::poll_fn, task::Poll};

use bytes::{Bytes, BytesMut};

use crate::outbox::{OutboxReader, ReadStep};

/// The approximate maximum of bytes in one response. What is left waits for the next poll.
const MAX_RESPONSE: usize = 256 * 1024;

/// What a poll carries.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Polled {
    /// Frames that were waiting for the client.
    Frames(Bytes),
    /// The channel has ended: it was replaced, or the connection has ended and nothing waits any more.
    Ended,
}

/// Waits for frames or for the end of the channel, and takes the frames that wait.
///
/// Cancel safety: nothing is taken before this returns.
pub(crate) async fn next_frames(reader: &mut OutboxReader) -> Polled {
    poll_fn(|cx| {
        let mut out = BytesMut::new();
        while out.len() < MAX_RESPONSE {
            match reader.poll(cx, &mut out) {
                Poll::Ready(ReadStep::Write) => {}
                // The next poll learns of the end again.
                Poll::Ready(ReadStep::End(_)) if !out.is_empty() => break,
                Poll::Ready(ReadStep::End(_)) => return Poll::Ready(Polled::Ended),
                Poll::Pending if out.is_empty() => return Poll::Pending,
                Poll::Pending => break,
            }
        }
        Poll::Ready(Polled::Frames(out.freeze()))
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use futures_util::FutureExt;

    use super::*;
    use crate::{
        outbox::{ChannelFilter, End, FrameFields, Framer, Limits, Outbox, ReplayLimits, Resume},
        transport::FrameType,
    };

    struct Unframed;

    impl Framer for Unframed {
        fn frame(&self, _: &FrameFields, elements: &mut dyn Iterator<Item = &[u8]>, _: u64, out: &mut BytesMut) {
            elements.for_each(|element| FrameType::Unframed.frame(out, |out| out.extend_from_slice(element)));
        }

        fn write_raw(&self, frame: &[u8], out: &mut BytesMut) {
            out.extend_from_slice(frame);
        }
    }

    fn outbox() -> Arc<Outbox> {
        Outbox::new(&crate::hub::tests::FORM, Limits::default(), ReplayLimits::default())
    }

    fn poll(outbox: &Arc<Outbox>) -> OutboxReader {
        outbox.attach(Resume::Waiting, ChannelFilter::default(), Arc::new(Unframed)).0
    }

    fn frames(text: &'static str) -> Option<Polled> {
        Some(Polled::Frames(Bytes::from_static(text.as_bytes())))
    }

    #[test]
    fn poll_takes_all_that_waits() {
        let outbox = outbox();
        let mut first = poll(&outbox);
        assert_eq!(next_frames(&mut first).now_or_never(), None);
        outbox.push_private(*b"a;");
        outbox.push_private(*b"b;");
        assert_eq!(next_frames(&mut first).now_or_never(), frames("a;b;"));
    }

    #[test]
    fn abandoned_poll_takes_nothing() {
        let outbox = outbox();
        let mut abandoned = poll(&outbox);
        assert_eq!(next_frames(&mut abandoned).now_or_never(), None);
        drop(abandoned);
        outbox.push_private(*b"a;");
        assert_eq!(next_frames(&mut poll(&outbox)).now_or_never(), frames("a;"));
    }

    #[test]
    fn replaced_poll_ends() {
        let outbox = outbox();
        let mut earlier = poll(&outbox);
        let mut later = poll(&outbox);
        outbox.push_private(*b"a;");
        assert_eq!(next_frames(&mut earlier).now_or_never(), Some(Polled::Ended));
        assert_eq!(next_frames(&mut later).now_or_never(), frames("a;"));
    }

    #[test]
    fn end_follows_in_the_next_poll() {
        let outbox = outbox();
        outbox.push_private(*b"close;");
        outbox.finish(End::Close(1000));
        assert_eq!(next_frames(&mut poll(&outbox)).now_or_never(), frames("close;"));
        assert!(!outbox.is_end_delivered());
        assert_eq!(next_frames(&mut poll(&outbox)).now_or_never(), Some(Polled::Ended));
        assert!(outbox.is_end_delivered());
    }
}
