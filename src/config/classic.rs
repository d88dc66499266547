//! How clients of SignalR 2.x are served, as it is written.

use std::{num::NonZeroUsize, time::Duration};

use serde::{Deserialize, Deserializer};

use super::units;
use crate::{classic, outbox::ReplayLimits};

/// How clients of SignalR 2.x are served. The defaults are the original's.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Classic {
    /// How long a connection outlives its channel; a client gives up its attempts to come back after as long.
    /// Default 30 s, at least 6 s.
    #[serde(deserialize_with = "units::span")]
    pub disconnect_timeout: Duration,
    /// How often a channel is written to, or `none`; a client that hears nothing for twice as long opens another.
    /// Default a third of the disconnect timeout; at least 2 s, and no more than that.
    #[serde(deserialize_with = "keep_alive")]
    pub keep_alive: KeepAlive,
    /// How long a poll waits for something to say. Default 110 s: less than what proxies cut.
    #[serde(deserialize_with = "units::span")]
    pub connection_timeout: Duration,
    /// How long a client waits for a transport to begin before it tries the next. Default 5 s.
    #[serde(deserialize_with = "units::span")]
    pub transport_connect_timeout: Duration,
    /// How long a client pauses between two polls. Default 0 s.
    #[serde(deserialize_with = "units::pause")]
    pub long_poll_delay: Duration,
    /// The largest message that a client may send over a WebSocket, in bytes. Default 64 KiB; beyond it the channel is
    /// closed, and the client comes back.
    #[serde(deserialize_with = "units::whole")]
    pub max_message: NonZeroUsize,
    /// The largest body of a request, in bytes. Default 1 MiB; beyond it the answer is 413.
    #[serde(deserialize_with = "units::whole")]
    pub max_form: NonZeroUsize,
    /// How many messages are kept of those that a client was sent, for when it comes back. Default 1,000. What it was not
    /// sent yet waits up to the larger of this and the limits. One that has missed more is told nothing of the oldest: it
    /// is counted as a gap, and hubs are told of it in OnReconnected, unless the client just goes on polling.
    #[serde(deserialize_with = "units::whole")]
    pub window_items: usize,
    /// How many bytes are, whichever is reached first. Default 1 MiB.
    #[serde(deserialize_with = "units::whole")]
    pub window_bytes: usize,
    /// How many calls of one client run at a time. Default 100; more have to wait, or are answered 503.
    #[serde(deserialize_with = "units::whole")]
    pub parallel_calls: NonZeroUsize,
    /// How long a client may take nothing of what waits for it, before it is disconnected. Default 10 s.
    #[serde(deserialize_with = "units::span")]
    pub send_timeout: Duration,
    /// Answer pages from anywhere with scripts, as very old browsers need it. Default false: such pages could act for
    /// their visitors.
    pub jsonp: bool,
    /// Serve the generated proxies (`/signalr/hubs`). Default true; they name all hubs and methods to whoever asks.
    pub proxies: bool,
    /// Tell clients why a call failed, whatever it was. Default false: it tells of the server's insides.
    pub detailed_errors: bool,
}

impl Default for Classic {
    fn default() -> Self {
        let usual = classic::Settings::default();
        let at_least_one = |number| NonZeroUsize::new(number).unwrap_or(NonZeroUsize::MIN);
        Self {
            disconnect_timeout: usual.disconnect_timeout,
            keep_alive: KeepAlive::default(),
            connection_timeout: usual.connection_timeout,
            transport_connect_timeout: usual.transport_connect_timeout,
            long_poll_delay: usual.long_poll_delay,
            max_message: at_least_one(usual.max_message),
            max_form: at_least_one(usual.max_form),
            window_items: usual.window.items,
            window_bytes: usual.window.bytes,
            parallel_calls: usual.parallel_calls,
            send_timeout: usual.send_timeout,
            jsonp: usual.jsonp,
            proxies: usual.proxies,
            detailed_errors: usual.detailed_errors,
        }
    }
}

/// How often a channel is written to that has nothing to say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KeepAlive {
    /// Thrice in the disconnect timeout, whatever that is.
    #[default]
    Third,
    /// So often.
    Every(Duration),
    /// Not at all.
    Never,
}

fn keep_alive<'de, D: Deserializer<'de>>(deserializer: D) -> Result<KeepAlive, D::Error> {
    Ok(units::span_or_none(deserializer)?.map_or(KeepAlive::Never, KeepAlive::Every))
}

impl From<Classic> for classic::Settings {
    fn from(settings: Classic) -> Self {
        Self {
            disconnect_timeout: settings.disconnect_timeout,
            keep_alive: match settings.keep_alive {
                KeepAlive::Third => Some(settings.disconnect_timeout / 3),
                KeepAlive::Every(span) => Some(span),
                KeepAlive::Never => None,
            },
            connection_timeout: settings.connection_timeout,
            transport_connect_timeout: settings.transport_connect_timeout,
            long_poll_delay: settings.long_poll_delay,
            max_message: settings.max_message.get(),
            max_form: settings.max_form.get(),
            window: ReplayLimits { items: settings.window_items, bytes: settings.window_bytes },
            parallel_calls: settings.parallel_calls,
            send_timeout: settings.send_timeout,
            jsonp: settings.jsonp,
            proxies: settings.proxies,
            detailed_errors: settings.detailed_errors,
        }
    }
}
