//! A channel as the body of an HTTP response: server-sent events, a forever frame, or the response to a long poll.
//!
//! The HTTP layer notices a disconnected client only when a write fails, which may take two keep-alives. A task
//! therefore watches the socket.
//!
//! Large frames are passed on in chunks. The HTTP layer keeps its largest buffer as long as the client stays connected,
//! and would otherwise keep a megabyte for every client that was once sent a megabyte.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use actix_web::{
    HttpRequest, HttpResponse, HttpResponseBuilder,
    http::{ConnectionType, Version},
};
use bytes::{Bytes, BytesMut};
use futures_util::Stream;
use tokio::task::JoinHandle;

use super::SocketHandle;
use crate::outbox::{End, OutboxReader, ReadStep};

/// The end of a channel whose client has disconnected. Its code is never sent.
const CLIENT_GONE: End = End::Close(1000);

/// The maximum of bytes that are passed to the HTTP layer at once.
const MAX_CHUNK: usize = 16 * 1024;

/// The body of an HTTP response that an outbox writes.
pub(crate) struct ResponseBody {
    ready: Bytes,
    reader: Option<OutboxReader>,
    /// The body ends with the first frames that are more than blank keep-alives.
    is_poll: bool,
    /// Waits for the client to disconnect.
    watch: Option<JoinHandle<()>>,
}

impl ResponseBody {
    /// A stream that starts with `first` and continues until the channel ends.
    pub(crate) fn stream(reader: OutboxReader, first: impl Into<Bytes>) -> Self {
        Self { ready: first.into(), reader: Some(reader), is_poll: false, watch: None }
    }

    /// The response to a long poll: the first frames that are more than blank keep-alives, or else a frame without
    /// messages.
    pub(crate) fn poll_response(reader: OutboxReader) -> Self {
        Self { ready: Bytes::new(), reader: Some(reader), is_poll: true, watch: None }
    }

    /// Ends the channel when the client closes its socket.
    pub(crate) fn close_on_disconnect(mut self, socket: Option<SocketHandle>) -> Self {
        if let (Some(socket), Some(reader)) = (socket, &self.reader) {
            let control = reader.control();
            self.watch = Some(actix::spawn(async move {
                if socket.peer_closed().await {
                    control.lose(CLIENT_GONE);
                }
            }));
        }
        self
    }

    /// Takes the next frames from the reader; `false` when the channel has ended.
    fn fill(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        let Some(reader) = &mut self.reader else { return Poll::Ready(false) };
        let mut out = BytesMut::new();
        let step = std::task::ready!(reader.poll(cx, &mut out));
        let is_answered = self.is_poll && out.iter().any(|byte| *byte != b' ');
        if step != ReadStep::Write && self.is_poll {
            reader.write_unsent(&mut out);
        }
        if step != ReadStep::Write || is_answered {
            self.reader = None;
        }
        self.ready = out.freeze();
        Poll::Ready(true)
    }
}

impl Drop for ResponseBody {
    fn drop(&mut self) {
        if let Some(watch) = &self.watch {
            watch.abort();
        }
    }
}

impl Stream for ResponseBody {
    type Item = Result<Bytes, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        while self.ready.is_empty() {
            if !std::task::ready!(self.fill(cx)) {
                return Poll::Ready(None);
            }
        }
        let chunk = MAX_CHUNK.min(self.ready.len());
        Poll::Ready(Some(Ok(self.ready.split_to(chunk))))
    }
}

/// A response whose body is sent as it comes. Wire: HTTP versions before 1.1 have no chunked encoding (RFC 9112 section
/// 6.1), so the end of the connection ends the body.
pub(crate) fn streaming_response(
    mut head: HttpResponseBuilder,
    body: ResponseBody,
    request: &HttpRequest,
) -> HttpResponse {
    let mut response = head.streaming::<_, Infallible>(body);
    if request.version() < Version::HTTP_11 {
        response.head_mut().no_chunking(true);
        response.head_mut().set_connection_type(ConnectionType::Close);
    }
    response
}
