//! What carries bytes between a client and its connection.
//!
//! Role: opens a channel over HTTP, pumps what its outbox feeds it into the socket, and hands what comes in
//! to the connection, which decides.
//! Life: a channel lives as long as its request; a connection may have several, one after the other.
//! Neighbours: outboxes feed it; endpoints of both dialects open it; [`Received`] goes to the connection.
//! Never: no judgement in here, and no timer inside of a pump: it sleeps with its socket, and a peer that stops
//! reading would stop it. Whoever gives up on a client cuts its socket from outside ([`SocketHandle`]).

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
use log::warn;
use tokio::io::Interest;

use crate::outbox::Sink;

pub mod framing;
pub(crate) mod streaming;
pub mod websocket;

pub use framing::FrameType;

/// Something has come in over a channel. The answer says that the connection is ready for more.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Received {
    /// The channel, counted from 1 for each connection.
    pub channel: u32,
    /// What has come in.
    pub data: Inbound,
}

/// What can come in over a WebSocket: whole messages, or parts of them, as the connection wants it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Inbound {
    /// A text message; whole, it is valid UTF-8.
    Text(Bytes),
    /// A binary message.
    Binary(Bytes),
    /// A message longer than the transport was told to take; nothing after it can be read.
    TooLarge,
}

impl Inbound {
    /// How many bytes it has.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Text(bytes) | Self::Binary(bytes) => bytes.len(),
            Self::TooLarge => 0,
        }
    }
}

/// A second handle to the TCP socket of a request, to cut it when its client does not read.
#[derive(Clone, Debug)]
pub struct SocketHandle(Arc<std::net::TcpStream>);

impl Sink for SocketHandle {
    fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        (&*self.0).write(bytes)
    }
}

impl SocketHandle {
    /// Waits until the socket takes more. It is watched for only so long: most sockets are never full.
    pub(crate) async fn writable(&self) -> io::Result<()> {
        TcpStream::from_std(self.0.try_clone()?)?.writable().await
    }

    /// Waits until the peer has closed its side, and answers that it has; `false` if it says something
    /// instead, since whoever reads the socket has to find out then.
    pub(crate) async fn is_closed(&self) -> bool {
        let watched = self.0.try_clone().and_then(TcpStream::from_std);
        let Ok(socket) = watched else { return false };
        socket.ready(Interest::READABLE).await.is_ok_and(|ready| ready.is_read_closed())
    }

    /// Says that nothing more is sent, once everything is.
    pub(crate) fn finish(&self) {
        // A socket that has gone already is as good as closed.
        let _ = self.0.shutdown(Shutdown::Write);
    }

    /// Shuts the socket down in both directions; whoever waits for it is woken.
    pub fn cut(&self) {
        // A socket that has gone already is as good as cut.
        let _ = self.0.shutdown(Shutdown::Both);
    }
}

/// How long a peer may acknowledge nothing of what it was sent. A client whose network is gone says nothing
/// and refuses nothing; left to itself the kernel would try for a quarter of an hour, while it counts as a
/// member of its groups.
const SILENCE: Duration = Duration::from_secs(30);

/// Prepares an accepted socket: pass this to `HttpServer::on_connect`, before `bind`.
///
/// It sets `TCP_NODELAY`, since Nagle's algorithm against delayed acknowledgements costs 40 ms whenever
/// two small messages follow each other, and keeps a second handle to the socket, without which a client
/// that stops reading can be forgotten but not disconnected. On Linux it has the kernel give up on a peer
/// that acknowledges nothing for 30 s.
pub fn on_connect(socket: &dyn Any, data: &mut Extensions) {
    let Some(stream) = socket.downcast_ref::<TcpStream>() else { return };
    if let Err(error) = stream.set_nodelay(true) {
        warn!(error:% = error; "TCP_NODELAY is not set");
    }
    give_up_after(SILENCE, stream);
    match stream.as_fd().try_clone_to_owned() {
        Ok(descriptor) => {
            data.insert(SocketHandle(Arc::new(descriptor.into())));
        }
        Err(error) => warn!(error:% = error; "a socket has no second handle"),
    }
}

#[cfg(target_os = "linux")]
fn give_up_after(silence: Duration, stream: &TcpStream) {
    if let Err(error) = socket2::SockRef::from(stream).set_tcp_user_timeout(Some(silence)) {
        warn!(error:% = error; "TCP_USER_TIMEOUT is not set");
    }
}

#[cfg(not(target_os = "linux"))]
fn give_up_after(_: Duration, _: &TcpStream) {}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use actix_web::rt::net::TcpListener;

    use super::*;

    #[actix_web::test]
    async fn an_accepted_socket_is_prompt_and_gives_up_on_the_dead() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (accepted, _) = listener.accept().await.unwrap();
        let mut data = Extensions::new();
        on_connect(&accepted, &mut data);
        assert!(accepted.nodelay().unwrap());
        assert_eq!(socket2::SockRef::from(&accepted).tcp_user_timeout().unwrap(), Some(SILENCE));
        assert!(data.contains::<SocketHandle>());
    }
}
