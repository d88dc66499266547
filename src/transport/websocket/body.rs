//! A WebSocket as the body of the upgrade response, on a server that keeps the socket to itself.
//!
//! A write through the HTTP layer costs several times as much as a write to the socket. If there is a second descriptor
//! of a socket without TLS ([`on_connect`](crate::on_connect)), a task of its own writes to it. Otherwise the bytes pass
//! through the HTTP layer, as the body of the response.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use actix_web::Error;
use bytes::{Bytes, BytesMut};
use futures_util::{FutureExt, Stream};
use tokio::task::JoinHandle;

use super::{
    CLOSE_HANDSHAKE_TIMEOUT, ReadHalf,
    writer::{WriteEnd, write_until_end},
};
use crate::{
    outbox::{End, OutboxReader, ReadStep},
    transport::{SocketHandle, framing::close_frame},
};

/// The body of the upgrade response. It polls the reading and the writing half until both have ended.
pub(super) struct WebSocketBody {
    /// The reading half, until it has ended.
    frames: Option<ReadHalf>,
    /// The reader of the outbox, unless the task has it. It is kept until the end, because dropping it notifies the
    /// connection that the transport has ended.
    reader: Option<OutboxReader>,
    /// The handle to the socket, if the server keeps one.
    socket: Option<SocketHandle>,
    /// The task that writes past the HTTP layer.
    task: Option<JoinHandle<WriteEnd>>,
    is_write_done: bool,
    /// Shuts the socket down if the peer does not answer the close frame.
    close_timeout: Option<JoinHandle<()>>,
}

impl WebSocketBody {
    pub(super) fn new(frames: ReadHalf, reader: OutboxReader, socket: Option<SocketHandle>) -> Self {
        Self {
            frames: Some(frames),
            reader: Some(reader),
            socket,
            task: None,
            is_write_done: false,
            close_timeout: None,
        }
    }

    /// Starts the task that writes to the second descriptor, if there is one.
    ///
    /// Order: the HTTP layer polls the body after it has buffered the response header, and writes its buffer before
    /// another task can run. The header is therefore sent before the first frame.
    fn start_writing(&mut self) {
        if self.task.is_some() || self.is_write_done {
            return;
        }
        if let Some(socket) = self.socket.as_ref().and_then(SocketHandle::plain_duplicate)
            && let Some(reader) = self.reader.take()
        {
            self.task = Some(actix::spawn(async move {
                reader.enable_direct_write(socket.sink());
                write_until_end(reader, socket).await
            }));
        }
    }

    /// Polls the reading half, and returns whether it has ended.
    fn poll_inbound(&mut self, cx: &mut Context<'_>) -> bool {
        while let Some(frames) = &mut self.frames {
            match frames.as_mut().poll_next(cx) {
                // The actor writes nothing.
                Poll::Ready(Some(Ok(_))) => {}
                Poll::Ready(Some(Err(_)) | None) => self.frames = None,
                Poll::Pending => return false,
            }
        }
        true
    }

    /// Polls the writing half, and returns the bytes to write through the HTTP layer.
    fn poll_outbound(&mut self, cx: &mut Context<'_>) -> Option<Bytes> {
        if let Some(task) = &mut self.task {
            if let Poll::Ready(end) = task.poll_unpin(cx) {
                self.task = None;
                self.end_task(end.ok());
            }
            return None;
        }
        let mut out = BytesMut::new();
        match self.reader.as_mut()?.poll(cx, &mut out) {
            Poll::Ready(ReadStep::Write) => {}
            Poll::Ready(ReadStep::End(End::Abort)) => {
                self.is_write_done = true;
                self.frames = None;
            }
            Poll::Ready(ReadStep::End(End::Close(code))) => {
                self.end_write();
                close_frame(code, &mut out);
            }
            Poll::Pending => return None,
        }
        Some(out.freeze())
    }

    fn end_task(&mut self, end: Option<WriteEnd>) {
        if end.as_ref().is_some_and(|end| !end.has_close_frame) {
            self.shut_down_write();
        }
        self.reader = end.map(|end| end.reader);
        self.end_write();
    }

    /// Records that nothing follows, and limits the time until the peer closes its side.
    fn end_write(&mut self) {
        self.is_write_done = true;
        self.close_timeout = self.socket.clone().map(|socket| actix::spawn(shut_down_after_timeout(socket)));
    }

    /// Wire: the server closes the TCP connection first (RFC 6455 section 7.1.1). Over TLS the HTTP layer does it, after
    /// the end of the TLS session.
    fn shut_down_write(&self) {
        if let Some(socket) = self.socket.as_ref().and_then(SocketHandle::plain_duplicate) {
            socket.shut_down_write();
        }
    }
}

impl Stream for WebSocketBody {
    type Item = Result<Bytes, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.start_writing();
        let is_read_done = self.poll_inbound(cx);
        if let Some(bytes) = self.poll_outbound(cx) {
            return Poll::Ready(Some(Ok(bytes)));
        }
        if !is_read_done || !self.is_write_done {
            return Poll::Pending;
        }
        self.shut_down_write();
        Poll::Ready(None)
    }
}

impl Drop for WebSocketBody {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
        if let Some(close_timeout) = &self.close_timeout {
            close_timeout.abort();
        }
    }
}

async fn shut_down_after_timeout(socket: SocketHandle) {
    tokio::time::sleep(CLOSE_HANDSHAKE_TIMEOUT).await;
    socket.shut_down();
}
