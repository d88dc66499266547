//! Transports: they carry bytes between a client and its connection.
//!
//! A transport serves one channel over one HTTP request. It writes the frames of the connection's outbox to the socket
//! and passes received data to the connection as [`Received`]. The endpoints of both dialects open channels. A channel
//! lives as long as its request; a connection may have several channels, one after the other.
//!
//! Transports make no decisions about the protocol. They must not rely on timers in the body of a response: it blocks
//! together with its socket, so a peer that stops reading would stop the timer too. Other tasks disconnect such a
//! client through a handle to its socket ([`SocketHandle`]).

use actix::Message;
use bytes::Bytes;

pub(crate) mod framing;
mod kind;
pub(crate) mod polling;
mod server_stream;
mod socket;
mod socket_limit;
pub(crate) mod streaming;
pub(crate) mod upgrade;
pub(crate) mod websocket;

pub use framing::FrameType;
pub use kind::Transport;
pub(crate) use server_stream::ServerStream;
pub use socket::on_connect;
pub(crate) use socket::{SharedTcp, SocketHandle};
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
