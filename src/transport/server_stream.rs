//! The stream of a connection that a server of this crate has accepted.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::server::TlsStream;

use super::{SocketHandle, socket::SharedTcp, upgrade::NextTask};

/// A TCP stream or a TLS stream, and what follows when the HTTP layer has released it.
#[derive(Debug)]
pub(crate) struct ServerStream {
    kind: Kind,
    next: NextTask,
    /// The socket is beyond the limit of sockets.
    is_refused: bool,
}

#[derive(Debug)]
enum Kind {
    Plain(SharedTcp),
    Tls(Box<TlsStream<SharedTcp>>),
}

impl ServerStream {
    /// A stream without encryption.
    pub(crate) fn plain(tcp: SharedTcp) -> Self {
        Self { kind: Kind::Plain(tcp), next: NextTask::default(), is_refused: false }
    }

    /// A stream whose TLS handshake is complete.
    pub(crate) fn tls(tls: TlsStream<SharedTcp>) -> Self {
        Self { kind: Kind::Tls(Box::new(tls)), next: NextTask::default(), is_refused: false }
    }

    /// Marks a socket beyond the limit of sockets.
    pub(crate) fn refused_if(self, is_refused: bool) -> Self {
        Self { is_refused, ..self }
    }

    /// True if the socket is beyond the limit of sockets.
    pub(crate) fn is_refused(&self) -> bool {
        self.is_refused
    }

    /// The TCP stream below.
    pub(crate) fn tcp(&self) -> &SharedTcp {
        match &self.kind {
            Kind::Plain(tcp) => tcp,
            Kind::Tls(tls) => tls.get_ref().0,
        }
    }

    /// The state of the TLS session.
    pub(crate) fn session(&self) -> Option<&rustls::ServerConnection> {
        match &self.kind {
            Kind::Plain(_) => None,
            Kind::Tls(tls) => Some(tls.get_ref().1),
        }
    }

    /// The TCP stream, if its bytes are not encrypted.
    pub(super) fn unencrypted(&self) -> Option<&SharedTcp> {
        match &self.kind {
            Kind::Plain(tcp) => Some(tcp),
            Kind::Tls(_) => None,
        }
    }

    /// The handle for the data of the connection.
    pub(crate) fn handle(&self) -> SocketHandle {
        SocketHandle::shared(self.tcp().downgrade())
    }

    /// The task that takes over when the HTTP layer has released the stream.
    pub(crate) fn next_task(&self) -> NextTask {
        self.next.clone()
    }
}

impl AsyncRead for ServerStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = match &mut self.kind {
            Kind::Plain(tcp) => Pin::new(tcp).poll_read(cx, buffer),
            Kind::Tls(tls) => Pin::new(tls).poll_read(cx, buffer),
        };
        let is_end = matches!(read, Poll::Ready(Ok(()))) && buffer.filled().len() == before && buffer.remaining() > 0;
        if is_end || matches!(read, Poll::Ready(Err(_))) {
            self.tcp().mark_closed();
        }
        read
    }
}

impl AsyncWrite for ServerStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.kind {
            Kind::Plain(tcp) => Pin::new(tcp).poll_write(cx, bytes),
            Kind::Tls(tls) => Pin::new(tls).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.kind {
            Kind::Plain(tcp) => Pin::new(tcp).poll_write_vectored(cx, slices),
            Kind::Tls(tls) => Pin::new(tls).poll_write_vectored(cx, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.kind {
            Kind::Plain(tcp) => Pin::new(tcp).poll_flush(cx),
            Kind::Tls(tls) => Pin::new(tls).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.kind {
            Kind::Plain(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Kind::Tls(tls) => Pin::new(tls).poll_shutdown(cx),
        }
    }
}
