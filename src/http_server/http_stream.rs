//! The stream between a socket and the HTTP layer.
//!
//! actix-http refuses some targets that ASP.NET servers accept, and its refusals have neither a body nor a log line. No
//! hook of it runs before. This stream therefore gives it such targets in an encoded form, and heads that it would
//! refuse not at all: the HTTP layer sees the end of the connection there, completes the requests before, and shuts the
//! stream down, which then sends the refusal. The rules are in [`Requests`].

use std::{
    fmt::Display,
    io::{self, IoSlice},
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll, ready},
    time::SystemTime,
};

use actix_codec::{Framed, FramedParts};
use actix_http::{Protocol, h1::Codec};
use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{refusal::Refusal, requests::Requests};
use crate::{
    client_log::{self, Cause, optional},
    transport::{ServerStream, upgrade},
};

/// A stream that the HTTP layer reads requests from.
#[derive(Debug)]
pub(super) struct HttpStream {
    /// `None` when the stream is shut down and a task sends a refusal.
    stream: Option<ServerStream>,
    client: Option<SocketAddr>,
    requests: Requests,
    /// What the HTTP layer has to read before anything else.
    passed: BytesMut,
}

impl HttpStream {
    pub(super) fn new(stream: ServerStream, protocol: Protocol, client: Option<SocketAddr>) -> Self {
        let requests = if protocol == Protocol::Http1 { Requests::new() } else { Requests::unknown() };
        Self { stream: Some(stream), client, requests, passed: BytesMut::new() }
    }

    /// The stream below.
    pub(super) fn get_ref(&self) -> Option<&ServerStream> {
        self.stream.as_ref()
    }

    /// The stream below, which the HTTP layer releases after an upgrade request, with what has been read after it.
    pub(super) fn release(framed: Framed<Self, Codec>) -> Option<FramedParts<ServerStream, Codec>> {
        let FramedParts { io: Self { stream, passed, .. }, codec, mut read_buf, write_buf, .. } = framed.into_parts();
        read_buf.extend_from_slice(&passed);
        let mut parts = FramedParts::with_read_buf(stream?, codec, read_buf);
        parts.write_buf = write_buf;
        Some(parts)
    }

    fn below(&mut self) -> io::Result<Pin<&mut ServerStream>> {
        self.stream.as_mut().map(Pin::new).ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    fn poll_read_requests(&mut self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            if !self.passed.is_empty() {
                let length = self.passed.len().min(buffer.remaining());
                buffer.put_slice(&self.passed.split_to(length));
                if self.passed.is_empty() {
                    self.passed = BytesMut::new();
                }
                return Poll::Ready(Ok(()));
            }
            if self.requests.refusal().is_some() {
                return Poll::Ready(Ok(()));
            }
            let before = buffer.filled().len();
            ready!(self.below()?.poll_read(cx, buffer))?;
            let bytes = &buffer.filled()[before..];
            if bytes.is_empty() || self.requests.skip_body(bytes.len()) {
                return Poll::Ready(Ok(()));
            }
            self.requests.receive(bytes, &mut self.passed);
            buffer.set_filled(before);
            if let Some(refusal) = self.requests.refusal() {
                log_refusal(self.client, &refusal);
            }
        }
    }

    /// Refuses the first request instead of the HTTP layer, which writes before it has read a request only if it does
    /// not wait longer for one.
    fn refuse_late_request(&mut self) {
        if self.requests.time_out() {
            log_refusal(self.client, &Refusal::TooSlow);
        }
    }
}

/// Logs a request that no application gets.
pub(super) fn log_refusal(client: Option<SocketAddr>, reason: &dyn Display) {
    client_log::log(Cause::MalformedRequest, &[("address", &optional(client)), ("reason", reason)]);
}

impl AsyncRead for HttpStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.requests.is_pass_through() && this.passed.is_empty() {
            return this.below()?.poll_read(cx, buffer);
        }
        this.poll_read_requests(cx, buffer)
    }
}

impl AsyncWrite for HttpStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.requests.is_before_first() {
            this.refuse_late_request();
        }
        if this.requests.refusal() == Some(Refusal::TooSlow) {
            return Poll::Ready(Ok(bytes.len()));
        }
        this.below()?.poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        // HTTP/1 responses are written by `poll_write` only.
        self.get_mut().below()?.poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.as_ref().is_some_and(AsyncWrite::is_write_vectored)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().below()?.poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let Some(refusal) = this.requests.refusal() else { return this.below()?.poll_shutdown(cx) };
        if let Some(stream) = this.stream.take() {
            upgrade::write_and_close(stream, refusal.response(SystemTime::now()));
        }
        Poll::Ready(Ok(()))
    }
}
