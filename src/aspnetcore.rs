//! The dialect of ASP.NET Core SignalR clients.
//!
//! Implements negotiation, handshake, messages, stateful reconnect and session rules over WebSockets, Server-Sent Events
//! and long polling, in JSON and MessagePack, with streams and client results.
//!
//! The engine mounts one [`Endpoint`] after the other into an actix-web application. The module uses the connection and
//! transport layers. It must not depend on its counterpart `classic`, and hubs, groups and stores must not depend on
//! either of them.

use std::{num::NonZeroUsize, sync::Arc, time::Duration};

use bytes::{BufMut, BytesMut};

use crate::{
    outbox::{FrameFields, Framer},
    transport::{FrameType, Transport},
};

#[cfg(any(test, feature = "testkit"))]
pub(crate) mod decoder_checks;
mod endpoint;
mod handshake;
mod negotiate;
mod negotiations;
mod protocol;
mod session;

pub use endpoint::Endpoint;
pub(crate) use endpoint::{EndpointState, mount};
pub use negotiate::Redirect;
use protocol::TransferFormat;

/// Settings for ASP.NET Core SignalR clients. The defaults are those of ASP.NET Core SignalR, because its clients are
/// tuned for them.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The interval between pings to a client. Default 15 s, half of the client's own timeout.
    pub keep_alive: Duration,
    /// The longest silence of a client that has pinged at least once. Default 30 s, two ping intervals of the client.
    pub client_timeout: Duration,
    /// The time limit for the handshake. Default 15 s.
    pub handshake_timeout: Duration,
    /// How long a negotiated connection may exist without a transport, and a polling client may pause between two
    /// polls. Default 15 s.
    pub disconnect_timeout: Duration,
    /// The time after which a poll without messages is answered. Default 90 s, less than the 100 s that clients wait.
    pub poll_timeout: Duration,
    /// A client is disconnected if it reads none of its pending messages for this long. Default 10 s.
    pub send_timeout: Duration,
    /// The maximum size of a client's message in bytes, including its separator. `None` means no limit. Default 32 KiB.
    /// A client that exceeds it is disconnected.
    pub max_message: Option<usize>,
    /// The maximum number of calls of one client that run at a time. Further calls wait. Default 1.
    pub parallel_calls: NonZeroUsize,
    /// The number of items of a client's stream that wait for the hub method. While it is reached, nothing more is read
    /// from the client. Default 10.
    pub stream_capacity: NonZeroUsize,
    /// The number of bytes that a client with stateful reconnect may leave unacknowledged. Beyond it, a hub method that
    /// sends to its caller waits. Default 100,000.
    pub reconnect_buffer: usize,
    /// Send clients the text of every error. Default off, because it reveals internals of the server.
    pub detailed_errors: bool,
}

const DEFAULT_STREAM_CAPACITY: NonZeroUsize = NonZeroUsize::new(10).expect("10 is not zero");

impl Default for Settings {
    fn default() -> Self {
        Self {
            keep_alive: Duration::from_secs(15),
            client_timeout: Duration::from_secs(30),
            handshake_timeout: Duration::from_secs(15),
            disconnect_timeout: Duration::from_secs(15),
            poll_timeout: Duration::from_secs(90),
            send_timeout: Duration::from_secs(10),
            max_message: Some(32 * 1024),
            parallel_calls: NonZeroUsize::MIN,
            stream_capacity: DEFAULT_STREAM_CAPACITY,
            reconnect_buffer: 100_000,
            detailed_errors: false,
        }
    }
}

/// The framer of a transport for a transfer format; `None` if the transport cannot carry it. Wire: the type of WebSocket
/// frames follows from the protocol, and an event stream carries text only.
fn framer(transport: Transport, format: TransferFormat) -> Option<Arc<dyn Framer>> {
    let frame_type = match (transport, format) {
        (Transport::WebSockets, TransferFormat::Text) => FrameType::WebSocketText,
        (Transport::WebSockets, TransferFormat::Binary) => FrameType::WebSocketBinary,
        (Transport::LongPolling, _) => FrameType::Unframed,
        (Transport::ServerSentEvents | Transport::ForeverFrame, TransferFormat::Text) => FrameType::Event,
        (Transport::ServerSentEvents | Transport::ForeverFrame, TransferFormat::Binary) => return None,
    };
    Some(Arc::new(HubFramer(frame_type)))
}

/// Writes each hub message as one message of the transport: some clients accept only one per message, and the others
/// gain little from batching.
#[derive(Clone, Copy, Debug)]
struct HubFramer(FrameType);

impl Framer for HubFramer {
    fn frame(&self, _: &FrameFields, elements: &mut dyn Iterator<Item = &[u8]>, _: u64, out: &mut BytesMut) {
        for element in elements {
            self.0.frame(out, |out| out.put_slice(element));
        }
    }

    fn write_raw(&self, frame: &[u8], out: &mut BytesMut) {
        self.0.frame(out, |out| out.put_slice(frame));
    }
}
