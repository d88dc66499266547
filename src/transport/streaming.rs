//! A channel as the body of an HTTP answer: an event stream, a page that never ends, or one answer to a poll.
//!
//! The HTTP layer notices that a client has gone when it cannot write to it, which may be two keep-alives
//! later; so its socket is watched.
//!
//! Large frames are handed over in pieces: the HTTP layer keeps its largest buffer as long as the client
//! stays, and would else keep a megabyte for a client that was sent one once.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::{Bytes, BytesMut};
use futures_util::Stream;
use tokio::task::JoinHandle;

use super::SocketHandle;
use crate::outbox::{End, OutboxReader, ReadStep, Unsent};

/// How a stream ends whose client has gone; nobody reads the code.
const GONE: End = End { code: 1000 };

/// The largest piece that is handed over at once.
const PIECE: usize = 16 * 1024;

/// What a poll that ends without an answer is answered, by what is left of its channel.
type LastWord = Box<dyn Fn(Unsent) -> Bytes>;

/// The body of an answer that a feed writes.
pub(crate) struct Body {
    ready: Bytes,
    feed: Option<OutboxReader>,
    last_word: Option<LastWord>,
    /// Waits for the client to go.
    watch: Option<JoinHandle<()>>,
}

impl Body {
    /// A stream that begins with `first` and goes on until the feed ends.
    pub(crate) fn stream(feed: OutboxReader, first: impl Into<Bytes>) -> Self {
        Self { ready: first.into(), feed: Some(feed), last_word: None, watch: None }
    }

    /// The answer to a poll: whatever comes first besides blanks, or else the last word.
    pub(crate) fn answer(feed: OutboxReader, last_word: impl Fn(Unsent) -> Bytes + 'static) -> Self {
        Self { ready: Bytes::new(), feed: Some(feed), last_word: Some(Box::new(last_word)), watch: None }
    }

    /// Ends when the client closes its socket.
    pub(crate) fn watching(mut self, socket: Option<&SocketHandle>) -> Self {
        if let (Some(socket), Some(feed)) = (socket.cloned(), &self.feed) {
            let control = feed.control();
            self.watch = Some(actix::spawn(async move {
                if socket.is_closed().await {
                    control.hang_up(GONE);
                }
            }));
        }
        self
    }

    /// Takes what the feed has next; `false` when it has ended.
    fn fill(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        let Some(feed) = &mut self.feed else { return Poll::Ready(false) };
        let mut out = BytesMut::new();
        let step = std::task::ready!(feed.poll(cx, &mut out));
        let is_answered = self.last_word.is_some() && out.iter().any(|byte| *byte != b' ');
        if let (ReadStep::End(_), Some(last_word)) = (step, &self.last_word) {
            out.extend_from_slice(&last_word(feed.rest()));
        }
        if step != ReadStep::Write || is_answered {
            self.feed = None;
        }
        self.ready = out.freeze();
        Poll::Ready(true)
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        if let Some(watch) = &self.watch {
            watch.abort();
        }
    }
}

impl Stream for Body {
    type Item = Result<Bytes, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        while self.ready.is_empty() {
            if !std::task::ready!(self.fill(cx)) {
                return Poll::Ready(None);
            }
        }
        let piece = PIECE.min(self.ready.len());
        Poll::Ready(Some(Ok(self.ready.split_to(piece))))
    }
}
