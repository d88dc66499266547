//! The older generation: clients of ASP.NET SignalR 2.x.
//!
//! Role: its requests, four transports, messages, cursors, tokens and rules.
//! Life: mounted into an actix-web application for each endpoint; all hubs that an endpoint serves share it,
//! and a connection may listen to several.
//! Neighbours: connections and transports below; the engine mounts it. `aspnetcore` is its twin, and neither
//! knows of the other.
//! Never: no hub, group or store can tell that it is this dialect that they serve.
//!
//! Wire: `SignalR/SignalR` at 2.4.4; where its servers differ from its documents, the servers were asked.

use std::{num::NonZeroUsize, time::Duration};

use crate::outbox::ReplayLimits;

mod aborted;
mod callback;
mod channel;
mod cursor;
mod endpoint;
mod frames;
mod message;
mod negotiate;
mod proxy;
mod query;
mod session;
mod token;

pub use endpoint::Endpoint;
pub(crate) use endpoint::{EndpointState, mount};

/// How clients of this generation are served. The defaults are those of the original, since clients were
/// made to fit them.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How long a connection outlives its channel; a client gives up its attempts to come back after as
    /// long. Default 30 s, at least 6 s.
    pub disconnect_timeout: Duration,
    /// How often a channel is written to; a client that hears nothing for twice as long opens another.
    /// Default 10 s, at least 2 s and at most a third of the disconnect timeout; `None`: never, and streams
    /// end like long polls.
    pub keep_alive: Option<Duration>,
    /// How long a poll waits for something to say. Default 110 s.
    pub connection_timeout: Duration,
    /// How long a client waits for a transport to begin before it tries the next. Default 5 s.
    pub transport_connect_timeout: Duration,
    /// How long a client pauses between two polls. Default none.
    pub long_poll_delay: Duration,
    /// The largest message that a client may send over a WebSocket, in bytes. Default 64 KiB; beyond it the
    /// channel is closed with code 1009, and the client comes back.
    pub max_message: usize,
    /// The largest body of a request, in bytes. Default 1 MiB; beyond it the answer is 413.
    pub max_form: usize,
    /// How much is kept of what a client was sent, for when it comes back. Default 1,000 messages or 1 MiB,
    /// whichever is reached first. What it was not sent yet waits up to the larger of this and the
    /// [`Limits`](crate::outbox::Limits). One that has missed more is told nothing of the oldest: it is counted as a gap,
    /// and hubs are told of it in OnReconnected, unless the client just goes on polling.
    pub window: ReplayLimits,
    /// How many calls of one client run at a time. Default 100; more have to wait (WebSockets) or are
    /// answered 503.
    pub parallel_calls: NonZeroUsize,
    /// How long a client may take nothing of what waits for it, before it is disconnected. Default 10 s.
    pub send_timeout: Duration,
    /// Answer requests of pages from anywhere as scripts, as very old browsers need it. Default off: such
    /// pages could act for their visitors.
    pub jsonp: bool,
    /// Serve the generated proxies. Default on; they name all hubs and methods to whoever asks.
    pub proxies: bool,
    /// Tell clients why a call failed, whatever it was. Default off: it tells of the server's insides.
    pub detailed_errors: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            disconnect_timeout: Duration::from_secs(30),
            keep_alive: Some(Duration::from_secs(10)),
            connection_timeout: Duration::from_secs(110),
            transport_connect_timeout: Duration::from_secs(5),
            long_poll_delay: Duration::ZERO,
            max_message: 64 * 1024,
            max_form: 1024 * 1024,
            window: ReplayLimits { items: 1_000, bytes: 1024 * 1024 },
            parallel_calls: NonZeroUsize::MIN.saturating_add(99),
            send_timeout: Duration::from_secs(10),
            jsonp: false,
            proxies: true,
            detailed_errors: false,
        }
    }
}

impl Settings {
    /// Sets the disconnect timeout, and the keep-alive to a third of it.
    #[must_use]
    pub fn with_disconnect_timeout(self, timeout: Duration) -> Self {
        Self { disconnect_timeout: timeout, keep_alive: Some(timeout / 3), ..self }
    }

    /// The longest that a client may be without a channel and still be the same.
    pub(crate) fn longest_absence(&self) -> Duration {
        self.disconnect_timeout.saturating_add(self.long_poll_delay.max(session::GRACE))
    }

    /// What is wrong with them, if anything is. Wire: the rules of the original, which clients count on.
    pub(crate) fn fault(&self) -> Option<&'static str> {
        let too_rare = |keep_alive: Duration| keep_alive > self.disconnect_timeout / 3;
        match self.keep_alive {
            _ if self.disconnect_timeout < Duration::from_secs(6) => {
                Some("the disconnect timeout must be at least 6 seconds")
            }
            Some(keep_alive) if keep_alive < Duration::from_secs(2) => {
                Some("the keep-alive must be at least 2 seconds")
            }
            Some(keep_alive) if too_rare(keep_alive) => {
                Some("the keep-alive must be at most a third of the disconnect timeout")
            }
            Some(_) | None => None,
        }
    }
}
