//! The protocol of ASP.NET SignalR 2.x clients: requests, the four transports, messages, cursors, tokens and rules.
//!
//! The engine mounts each endpoint into an actix-web application. An endpoint serves several hubs, and one connection
//! can receive from several of them. This module uses connections and transports. `aspnetcore` implements the other
//! protocol; the two modules do not use each other. Hubs, groups and the store must not depend on the protocol that
//! they serve.
//!
//! Wire: `SignalR/SignalR` at 2.4.4. If its servers and its documentation differ, this module follows the servers.

use std::{num::NonZeroUsize, time::Duration};

use crate::outbox::ReplayLimits;

mod aborted;
mod callback;
mod cursor;
#[cfg(any(test, feature = "testkit"))]
pub(crate) mod decoder_checks;
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

/// Settings for SignalR 2.x clients. The defaults are those of ASP.NET SignalR, because its clients rely on them.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The time that a connection stays alive without a channel. A client stops its attempts to reconnect after the
    /// same time. Default 30 s, at least 6 s.
    pub disconnect_timeout: Duration,
    /// The period of keep-alive frames. A client that receives nothing for two periods opens a new channel. Default
    /// 10 s, at least 2 s and at most a third of the disconnect timeout. With `None` no keep-alive is sent, and
    /// streams end after the connection timeout, as long polls do.
    pub keep_alive: Option<Duration>,
    /// The time after which a poll without messages is answered. Default 110 s.
    pub connection_timeout: Duration,
    /// The time that a client waits for a transport to connect before it tries the next one. Default 5 s.
    pub transport_connect_timeout: Duration,
    /// The pause of a client between two polls. Default none.
    pub long_poll_delay: Duration,
    /// The largest message that a client may send over a WebSocket, in bytes. Default 64 KiB. A larger message closes
    /// the channel with code 1009, and the client reconnects.
    pub max_message: usize,
    /// The largest body of a request, in bytes. Default 1 MiB. A larger body is answered with status 413.
    pub max_form: usize,
    /// The number and size of sent messages that are kept for replay after a reconnect. Default 1,000 messages or
    /// 1 MiB, whichever is reached first. Unsent messages are limited by the larger of this and the
    /// [`Limits`](crate::outbox::Limits). If a client has missed more, the oldest messages are lost. They are counted
    /// as a gap, which hubs see in OnReconnected. A client that merely continues to poll causes no OnReconnected.
    pub window: ReplayLimits,
    /// The number of calls of one client that run at the same time. Default 100. Further calls wait (WebSockets) or
    /// are answered with status 503.
    pub parallel_calls: NonZeroUsize,
    /// The time after which a client is disconnected that reads none of its queued messages. Default 10 s.
    pub send_timeout: Duration,
    /// Answer requests with a callback as scripts (JSONP), as very old browsers need it for other origins. Default
    /// off, because a page of any origin could then act as its visitor.
    pub jsonp: bool,
    /// Serve the generated hub proxies. Default on. The script lists all hubs and their listed methods for every
    /// client that the endpoint admits.
    pub proxies: bool,
    /// Send the reason of every failed call to the client. Default off, because the texts reveal internals of the
    /// server.
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

    /// The longest time that a connection can survive without a channel.
    pub(crate) fn max_time_without_channel(&self) -> Duration {
        self.disconnect_timeout.saturating_add(self.long_poll_delay.max(session::RECONNECT_GRACE))
    }

    /// The first rule that these settings violate, if any. Wire: the rules of ASP.NET SignalR, on which clients rely.
    pub(crate) fn fault(&self) -> Option<&'static str> {
        let is_too_rare = |keep_alive: Duration| keep_alive > self.disconnect_timeout / 3;
        match self.keep_alive {
            _ if self.disconnect_timeout < Duration::from_secs(6) => {
                Some("the disconnect timeout must be at least 6 seconds")
            }
            Some(keep_alive) if keep_alive < Duration::from_secs(2) => {
                Some("the keep-alive must be at least 2 seconds")
            }
            Some(keep_alive) if is_too_rare(keep_alive) => {
                Some("the keep-alive must be at most a third of the disconnect timeout")
            }
            Some(_) | None => None,
        }
    }
}
