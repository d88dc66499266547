//! Transports: they carry bytes between a client and its connection.
//!
//! A transport serves one channel over one HTTP request. It writes the frames of the connection's outbox to the socket
//! and passes received data to the connection as [`Received`]. The endpoints of both dialects open channels. A channel
//! lives as long as its request; a connection may have several channels, one after the other.
//!
//! Transports make no decisions about the protocol. They must not rely on timers in the task that writes: it blocks
//! together with its socket, so a peer that stops reading would stop the timer too. Other tasks disconnect such a
//! client through a second handle of its socket ([`SocketHandle`]).

use std::{
    any::Any,
    io::{self, Write},
    net::Shutdown,
    os::fd::AsFd,
    sync::Arc,
    time::Duration,
};

use actix::Message;
use actix_web::{dev::Extensions, rt::net::TcpStream};
use bytes::Bytes;
use tokio::io::Interest;

use crate::{
    client_log::{self, Cause},
    outbox::Sink,
};

pub(crate) mod framing;
mod socket_limit;
pub(crate) mod streaming;
pub(crate) mod websocket;

pub use framing::FrameType;
use socket_limit::SocketPlace;
pub(crate) use socket_limit::{SocketLimit, SocketRefused};

/// Data received on a channel. The response to this message means that the connection is ready for more data.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Received {
    /// The number of the channel within the connection; the first is 1.
    pub channel: u32,
    /// The received data.
    pub data: Inbound,
}

/// Data received on a WebSocket: complete messages or parts of them, as the connection has requested.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Inbound {
    /// A text message, or a part of one. A complete message is valid UTF-8.
    Text(Bytes),
    /// A binary message, or a part of one.
    Binary(Bytes),
    /// A message longer than the configured limit. Nothing after it can be read.
    TooLarge,
}

impl Inbound {
    /// The number of bytes.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Text(bytes) | Self::Binary(bytes) => bytes.len(),
            Self::TooLarge => 0,
        }
    }
}

/// A second handle to the TCP socket of a request. It writes directly, and disconnects a client that does not read.
#[derive(Clone, Debug)]
pub(crate) struct SocketHandle {
    stream: Arc<std::net::TcpStream>,
    /// Taken as long as a handle has a descriptor.
    _place: Option<Arc<SocketPlace>>,
}

impl Sink for SocketHandle {
    fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        (&*self.stream).write(bytes)
    }
}

impl SocketHandle {
    /// Waits until the socket is writable. The socket is registered with the runtime only for this wait, because most
    /// sockets are never full.
    pub(crate) async fn writable(&self) -> io::Result<()> {
        TcpStream::from_std(self.stream.try_clone()?)?.writable().await
    }

    /// Waits until the peer has closed its side, and returns whether it has. It returns `false` if the peer sends data
    /// instead; the reader of the socket must then detect the close.
    pub(crate) async fn peer_closed(&self) -> bool {
        let watched = self.stream.try_clone().and_then(TcpStream::from_std);
        let Ok(socket) = watched else { return false };
        socket.ready(Interest::READABLE).await.is_ok_and(|ready| ready.is_read_closed())
    }

    /// Closes the writing side of the socket after all written bytes.
    pub(crate) fn shut_down_write(&self) {
        // An error means that the socket is closed already.
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// Shuts the socket down in both directions. All tasks that wait for it are woken.
    pub(crate) fn shut_down(&self) {
        // An error means that the socket is closed already.
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}

/// The time after which the kernel drops a peer that acknowledges no sent data. A client without network neither
/// answers nor refuses data. By default the kernel would retransmit for about 15 minutes, during which the client would
/// count as a member of its groups.
const TCP_USER_TIMEOUT: Duration = Duration::from_secs(30);

/// Prepares an accepted socket: pass this to `HttpServer::on_connect`, before `bind`.
///
/// It sets `TCP_NODELAY`, because Nagle's algorithm combined with delayed acknowledgements costs 40 ms whenever two
/// small messages follow each other. It keeps a second handle to the socket; without one, a client that stops reading
/// can be removed but not disconnected. On Linux it sets `TCP_USER_TIMEOUT`, so that the kernel drops a peer that
/// acknowledges nothing for 30 s.
pub fn on_connect(socket: &dyn Any, data: &mut Extensions) {
    prepare(socket, data, None);
}

fn prepare(socket: &dyn Any, data: &mut Extensions, place: Option<Arc<SocketPlace>>) {
    let Some(stream) = socket.downcast_ref::<TcpStream>() else { return };
    if let Err(error) = stream.set_nodelay(true) {
        log_socket_error("TCP_NODELAY", &error);
    }
    set_tcp_user_timeout(TCP_USER_TIMEOUT, stream);
    match stream.as_fd().try_clone_to_owned() {
        Ok(descriptor) => {
            data.insert(SocketHandle { stream: Arc::new(descriptor.into()), _place: place });
        }
        // Without the handle, a slow client is removed but not disconnected promptly.
        Err(error) => {
            log_socket_error("duplicate", &error);
            data.insert(place);
        }
    }
}

fn log_socket_error(operation: &str, error: &io::Error) {
    client_log::log(Cause::SocketNotConfigured, &[("operation", &operation), ("error", error)]);
}

#[cfg(target_os = "linux")]
fn set_tcp_user_timeout(timeout: Duration, stream: &TcpStream) {
    if let Err(error) = socket2::SockRef::from(stream).set_tcp_user_timeout(Some(timeout)) {
        log_socket_error("TCP_USER_TIMEOUT", &error);
    }
}

#[cfg(not(target_os = "linux"))]
fn set_tcp_user_timeout(_: Duration, _: &TcpStream) {}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use actix_web::rt::net::TcpListener;

    use super::*;

    #[actix_web::test]
    async fn on_connect_configures_accepted_socket() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (accepted, _) = listener.accept().await.unwrap();
        let mut data = Extensions::new();
        on_connect(&accepted, &mut data);
        assert!(accepted.nodelay().unwrap());
        assert_eq!(socket2::SockRef::from(&accepted).tcp_user_timeout().unwrap(), Some(TCP_USER_TIMEOUT));
        assert!(data.contains::<SocketHandle>());
    }
}
