//! The newer generation: clients of ASP.NET Core SignalR.
//!
//! Role: its negotiation, handshake, messages and rules, over WebSockets and in JSON. Other transports,
//! MessagePack, streams, client results and stateful reconnection are not offered yet, and what is not
//! offered is not negotiated.
//! Life: mounted into an actix-web application for each endpoint.
//! Neighbours: connections and transports below; the engine mounts it. `classic` is its twin, and neither
//! knows of the other.
//! Never: no hub, group or store can tell that it is this dialect that they serve.

use std::{num::NonZeroUsize, time::Duration};

use bytes::{BufMut, BytesMut};

use crate::{
    outbox::{FrameFields, Framer},
    transport::FrameType,
};

mod endpoint;
mod handshake;
mod json;
mod negotiate;
mod negotiations;
mod session;

pub use endpoint::Endpoint;
pub(crate) use endpoint::{EndpointState, mount};

/// How clients of this generation are served. The defaults are those of the original, since clients were
/// made to fit them.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How often a client is pinged. Default 15 s: half of what its own timeout is.
    pub keep_alive: Duration,
    /// How long a client that has ever pinged may be silent. Default 30 s: two of its pings.
    pub client_timeout: Duration,
    /// How long a client may take for its handshake. Default 15 s.
    pub handshake_timeout: Duration,
    /// How long a negotiated connection waits for its transport. Default 15 s.
    pub disconnect_timeout: Duration,
    /// How long a client may take nothing of what waits for it, before it is disconnected. Default 10 s.
    pub send_timeout: Duration,
    /// The largest message of a client in bytes, its separator included; no limit if absent. Default
    /// 32 KiB. A client that exceeds it is disconnected.
    pub max_message: Option<usize>,
    /// How many calls of one client run at a time; the next one waits. Default 1.
    pub parallel_calls: NonZeroUsize,
    /// Tell clients why a call failed, whatever it was. Default off: it tells of the server's insides.
    pub detailed_errors: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            keep_alive: Duration::from_secs(15),
            client_timeout: Duration::from_secs(30),
            handshake_timeout: Duration::from_secs(15),
            disconnect_timeout: Duration::from_secs(15),
            send_timeout: Duration::from_secs(10),
            max_message: Some(32 * 1024),
            parallel_calls: NonZeroUsize::MIN,
            detailed_errors: false,
        }
    }
}

/// One hub message, one message of the transport: some clients take no more, and those that do gain little.
#[derive(Clone, Copy, Debug)]
struct HubFramer(FrameType);

impl Framer for HubFramer {
    fn frame(&self, _: &FrameFields, elements: &mut dyn Iterator<Item = &[u8]>, _: u64, out: &mut BytesMut) {
        for element in elements {
            self.0.frame(out, |out| out.put_slice(element));
        }
    }

    fn whole(&self, frame: &[u8], out: &mut BytesMut) {
        self.0.frame(out, |out| out.put_slice(frame));
    }
}
