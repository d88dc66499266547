//! Second handles to accepted sockets: options, closing, and writes past the HTTP layer.
//!
//! [`on_connect`] prepares each accepted socket and keeps a handle with it. The transport of a request finds the handle
//! with [`SocketHandle::of`]. Frames are written to the socket directly only if its bytes are plain text: over TLS they
//! pass through the HTTP layer, which encrypts them, and the handle only closes the socket.

use std::{
    any::Any,
    io::{self, Write},
    net::Shutdown,
    os::fd::AsFd,
    sync::Arc,
    time::Duration,
};

use actix_tls::accept::rustls_0_23::TlsStream;
use actix_web::{HttpRequest, dev::Extensions, http::Version, rt::net::TcpStream};
use tokio::io::Interest;

use super::socket_limit::SocketPlace;
use crate::{
    client_log::{self, Cause},
    outbox::Sink,
};

/// A second handle to the TCP socket of a request. It disconnects a client that does not read.
#[derive(Clone, Debug)]
pub(crate) struct SocketHandle {
    socket: Arc<Socket>,
    /// The peer expects TLS records.
    is_encrypted: bool,
}

#[derive(Debug)]
struct Socket {
    stream: std::net::TcpStream,
    /// Taken as long as a handle has a descriptor.
    _place: Option<SocketPlace>,
}

impl SocketHandle {
    /// The handle to the socket of `request`. `None` if the server keeps none, and over HTTP/2, where requests of other
    /// clients can share the socket.
    pub(crate) fn of(request: &HttpRequest) -> Option<Self> {
        if request.version() == Version::HTTP_2 {
            return None;
        }
        let Some(handle) = request.conn_data::<Self>() else {
            // A Unix socket has no peer address and no handle.
            if request.peer_addr().is_some() {
                log_unprepared("find the socket", &"`hubcast::on_connect` is not registered, or was after `bind`");
            }
            return None;
        };
        // Invariant: on a TLS listener no handle is plain, even if an application has passed the inner TCP stream to
        // `on_connect`.
        let is_encrypted = handle.is_encrypted || request.app_config().secure();
        Some(Self { socket: Arc::clone(&handle.socket), is_encrypted })
    }

    /// The same socket for direct writes; `None` if it is encrypted.
    pub(crate) fn plain(&self) -> Option<PlainSocket> {
        (!self.is_encrypted).then(|| PlainSocket(Arc::clone(&self.socket)))
    }

    /// Waits until the peer has closed its side. Returns `false` if the socket cannot be watched.
    pub(crate) async fn peer_closed(&self) -> bool {
        let watched = self.socket.stream.try_clone().and_then(TcpStream::from_std);
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

    /// Shuts the socket down in both directions. All tasks that wait for it are woken.
    pub(crate) fn shut_down(&self) {
        // An error means that the socket is closed already.
        let _ = self.socket.stream.shutdown(Shutdown::Both);
    }
}

/// A socket without encryption. Frames are written to it directly.
#[derive(Clone, Debug)]
pub(crate) struct PlainSocket(Arc<Socket>);

impl Sink for PlainSocket {
    fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        (&self.0.stream).write(bytes)
    }
}

impl PlainSocket {
    /// Waits until the socket is writable. The socket is registered with the runtime only for this wait, because most
    /// sockets are never full.
    pub(crate) async fn writable(&self) -> io::Result<()> {
        TcpStream::from_std(self.0.stream.try_clone()?)?.writable().await
    }

    /// Closes the writing side of the socket after all written bytes.
    pub(crate) fn shut_down_write(&self) {
        // An error means that the socket is closed already.
        let _ = self.0.stream.shutdown(Shutdown::Write);
    }
}

/// The time after which the kernel drops a peer that acknowledges no sent data. A client without network neither
/// answers nor refuses data. By default the kernel would retransmit for about 15 minutes, during which the client would
/// count as a member of its groups.
const TCP_USER_TIMEOUT: Duration = Duration::from_secs(30);

/// Prepares an accepted socket: pass this to `HttpServer::on_connect`, before `bind`. [`Engine::http_server`] does it.
///
/// It sets `TCP_NODELAY`, because Nagle's algorithm combined with delayed acknowledgements costs 40 ms whenever two
/// small messages follow each other. It keeps a second handle to the socket; without one, a client that stops reading
/// can be removed but not disconnected. On Linux it sets `TCP_USER_TIMEOUT`, so that the kernel drops a peer that
/// acknowledges nothing for 30 s.
///
/// It prepares TCP streams, and TLS streams of rustls 0.23 (`bind_rustls_0_23`). For the stream of another TLS library,
/// pass the TCP stream in it: on a listener with TLS, frames are never written past the encryption. A stream of an
/// unknown type is logged and left as it is.
///
/// [`Engine::http_server`]: crate::Engine::http_server
pub fn on_connect(stream: &dyn Any, data: &mut Extensions) {
    prepare(stream, data, None);
}

/// As [`on_connect`], for a socket that takes a place of the limit.
pub(super) fn prepare(stream: &dyn Any, data: &mut Extensions, place: Option<SocketPlace>) {
    let Some((tcp, is_encrypted)) = tcp_stream(stream) else {
        data.insert(place);
        return log_unprepared("recognize the stream", &"it is neither TCP nor rustls 0.23; pass its TCP stream");
    };
    if let Err(error) = tcp.set_nodelay(true) {
        log_unprepared("set TCP_NODELAY", &error);
    }
    set_tcp_user_timeout(TCP_USER_TIMEOUT, tcp);
    match tcp.as_fd().try_clone_to_owned() {
        Ok(descriptor) => {
            let socket = Arc::new(Socket { stream: descriptor.into(), _place: place });
            data.insert(SocketHandle { socket, is_encrypted });
        }
        // Without the handle, a slow client is removed but not disconnected promptly.
        Err(error) => {
            data.insert(place);
            log_unprepared("duplicate", &error);
        }
    }
}

/// The TCP stream in a stream of the server, and whether it is encrypted.
fn tcp_stream(stream: &dyn Any) -> Option<(&TcpStream, bool)> {
    let plain = || stream.downcast_ref::<TcpStream>().map(|tcp| (tcp, false));
    let encrypted = || stream.downcast_ref::<TlsStream<TcpStream>>().map(|tls| (tls.get_ref().0, true));
    plain().or_else(encrypted)
}

fn log_unprepared(operation: &'static str, reason: &dyn std::fmt::Display) {
    client_log::log(Cause::SocketNotConfigured, &[("operation", &operation), ("error", reason)]);
}

#[cfg(target_os = "linux")]
fn set_tcp_user_timeout(timeout: Duration, stream: &TcpStream) {
    if let Err(error) = socket2::SockRef::from(stream).set_tcp_user_timeout(Some(timeout)) {
        log_unprepared("set TCP_USER_TIMEOUT", &error);
    }
}

#[cfg(not(target_os = "linux"))]
fn set_tcp_user_timeout(_: Duration, _: &TcpStream) {}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests;
