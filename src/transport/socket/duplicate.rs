//! Second descriptors of the sockets of a server of actix-web.
//!
//! Frames are written to the second descriptor directly only if the socket's bytes are plain text: over TLS they pass
//! through the HTTP layer, which encrypts them, and the descriptor only closes the socket.

use std::{
    any::Any,
    io::{self, Write},
    net::Shutdown,
    os::fd::AsFd,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use actix_tls::accept::rustls_0_23::TlsStream;
use actix_web::{dev::Extensions, rt::net::TcpStream};
use tokio::io::{AsyncWrite, Interest};

use super::{SocketHandle, log_unprepared, set_options};
use crate::outbox::Sink;

/// The second descriptor of a socket, and whether the peer expects TLS records.
#[derive(Clone, Debug)]
pub(super) struct DuplicateHandle {
    stream: Arc<std::net::TcpStream>,
    is_encrypted: bool,
}

impl DuplicateHandle {
    /// Invariant: on a TLS listener no handle is plain, even if an application has passed the inner TCP stream to
    /// [`on_connect`].
    pub(super) fn encrypted_if(self, is_encrypted: bool) -> Self {
        Self { is_encrypted: self.is_encrypted || is_encrypted, ..self }
    }

    pub(super) fn plain(&self) -> Option<DuplicateSocket> {
        (!self.is_encrypted).then(|| DuplicateSocket { stream: Arc::clone(&self.stream), waiting: None })
    }

    pub(super) async fn peer_closed(&self) -> bool {
        let watched = self.stream.try_clone().and_then(TcpStream::from_std);
        let Ok(socket) = watched else { return false };
        loop {
            match socket.ready(Interest::READABLE).await {
                Ok(ready) if ready.is_read_closed() => return true,
                // The HTTP layer reads the data, such as the end of a TLS session before that of its socket. This
                // clears the readiness, so that the next wait ends with the next event.
                Ok(_) => drop(socket.try_io(Interest::READABLE, || Err::<(), _>(io::ErrorKind::WouldBlock.into()))),
                Err(_) => return false,
            }
        }
    }

    pub(super) fn shut_down(&self) {
        // An error means that the socket is closed already.
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}

/// A socket without encryption, to which frames are written past the HTTP layer.
#[derive(Debug)]
pub(in crate::transport) struct DuplicateSocket {
    stream: Arc<std::net::TcpStream>,
    /// The socket, registered with the runtime only while it is full, because most sockets never are.
    waiting: Option<TcpStream>,
}

impl DuplicateSocket {
    /// The same socket for direct writes.
    pub(in crate::transport) fn sink(&self) -> Arc<dyn Sink> {
        Arc::new(DuplicateSink(Arc::clone(&self.stream)))
    }

    /// Closes the writing side of the socket after all written bytes.
    pub(in crate::transport) fn shut_down_write(&self) {
        // An error means that the socket is closed already.
        let _ = self.stream.shutdown(Shutdown::Write);
    }
}

struct DuplicateSink(Arc<std::net::TcpStream>);

impl Sink for DuplicateSink {
    fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        (&*self.0).write(bytes)
    }
}

impl AsyncWrite for DuplicateSocket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            if let Some(waiting) = &self.waiting {
                ready!(waiting.poll_write_ready(cx))?;
                self.waiting = None;
            }
            match (&*self.stream).write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.waiting = Some(TcpStream::from_std(self.stream.try_clone()?)?);
                }
                written => return Poll::Ready(written),
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.stream.shutdown(Shutdown::Write))
    }
}

/// Prepares an accepted socket of a server of actix-web: pass this to `HttpServer::on_connect`, before `bind`. The
/// server of [`Engine::http_server`] needs no such hook.
///
/// It sets `TCP_NODELAY`, because Nagle's algorithm combined with delayed acknowledgements costs 40 ms whenever two
/// small messages follow each other. It keeps a second descriptor of the socket; without one, a client that stops reading
/// can be removed but not disconnected. On Linux it sets `TCP_USER_TIMEOUT`, so that the kernel drops a peer that
/// acknowledges nothing for 30 s.
///
/// It prepares TCP streams, and TLS streams of rustls 0.23 (`bind_rustls_0_23`). For the stream of another TLS library,
/// pass the TCP stream in it: on a listener with TLS, frames are never written past the encryption. A stream of an
/// unknown type is logged and left as it is.
///
/// [`Engine::http_server`]: crate::Engine::http_server
pub fn on_connect(stream: &dyn Any, data: &mut Extensions) {
    let Some((tcp, is_encrypted)) = tcp_stream(stream) else {
        return log_unprepared("recognize the stream", &"it is neither TCP nor rustls 0.23; pass its TCP stream");
    };
    set_options(tcp);
    match tcp.as_fd().try_clone_to_owned() {
        Ok(descriptor) => {
            let stream = Arc::new(descriptor.into());
            data.insert(SocketHandle::duplicate(DuplicateHandle { stream, is_encrypted }));
        }
        // Without the handle, a slow client is removed but not disconnected promptly.
        Err(error) => log_unprepared("duplicate", &error),
    }
}

/// The TCP stream in a stream of the server, and whether it is encrypted.
fn tcp_stream(stream: &dyn Any) -> Option<(&TcpStream, bool)> {
    let plain = || stream.downcast_ref::<TcpStream>().map(|tcp| (tcp, false));
    let encrypted = || stream.downcast_ref::<TlsStream<TcpStream>>().map(|tls| (tls.get_ref().0, true));
    plain().or_else(encrypted)
}
