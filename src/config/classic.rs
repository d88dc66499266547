//! Settings for clients of SignalR 2.x, in the format of the configuration.

use std::{num::NonZeroUsize, time::Duration};

use serde::{Deserialize, Deserializer};

use super::units;
use crate::{classic, outbox::ReplayLimits};

/// Settings for clients of SignalR 2.x. The defaults are those of ASP.NET SignalR.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Classic {
    /// The time that a connection survives without a channel; a client stops its attempts to reconnect after that time.
    /// Default 30 s, at least 6 s.
    #[serde(deserialize_with = "units::duration")]
    pub disconnect_timeout: Duration,
    /// The interval between keep-alive frames on an idle channel, or `none`. A client that receives nothing for twice
    /// this time opens another channel. Default a third of `disconnect_timeout`, which is also the maximum; at least
    /// 2 s.
    #[serde(deserialize_with = "keep_alive")]
    pub keep_alive: KeepAlive,
    /// The time after which a poll without messages is answered. Default 110 s, less than the timeout of common
    /// proxies.
    #[serde(deserialize_with = "units::duration")]
    pub connection_timeout: Duration,
    /// The time that a client waits for a transport to connect before it tries the next one. Default 5 s.
    #[serde(deserialize_with = "units::duration")]
    pub transport_connect_timeout: Duration,
    /// The pause of a client between two polls. Default 0 s.
    #[serde(deserialize_with = "units::duration_or_zero")]
    pub long_poll_delay: Duration,
    /// The largest message that a client may send over a WebSocket, in bytes. Default 64 KiB. A larger message closes
    /// the channel, and the client reconnects.
    #[serde(deserialize_with = "units::integer")]
    pub max_message: NonZeroUsize,
    /// The largest body of a request, in bytes. Default 1 MiB. A larger body is answered with status 413.
    #[serde(deserialize_with = "units::integer")]
    pub max_form: NonZeroUsize,
    /// The number of sent messages that are kept for replay after a reconnect. Default 1,000. Unsent messages are
    /// limited by the larger of this and `limits`. If a client has missed more, the oldest messages are lost. They are
    /// counted as a gap, which hubs see in OnReconnected. A client that merely continues to poll causes no
    /// OnReconnected.
    #[serde(deserialize_with = "units::integer")]
    pub window_items: usize,
    /// The total size of the messages that are kept for replay, in bytes. Default 1 MiB. The limit that is reached
    /// first applies.
    #[serde(deserialize_with = "units::integer")]
    pub window_bytes: usize,
    /// The number of calls of one client that run at the same time. Default 100. Further calls wait (WebSockets) or are
    /// answered with status 503.
    #[serde(deserialize_with = "units::integer")]
    pub parallel_calls: NonZeroUsize,
    /// The time after which a client is disconnected that reads none of its queued messages. Default 10 s.
    #[serde(deserialize_with = "units::duration")]
    pub send_timeout: Duration,
    /// Answer requests with a callback as scripts (JSONP), as very old browsers need it for other origins. Default
    /// false, because a page of any origin could then act as its visitor.
    pub jsonp: bool,
    /// Serve the generated hub proxies (`/signalr/hubs`). Default true. The script lists all hubs and methods for every
    /// client.
    pub proxies: bool,
    /// Send the reason of every failed call to the client. Default false, because the texts reveal internals of the
    /// server.
    pub detailed_errors: bool,
}

impl Default for Classic {
    fn default() -> Self {
        let defaults = classic::Settings::default();
        let at_least_one = |number| NonZeroUsize::new(number).unwrap_or(NonZeroUsize::MIN);
        Self {
            disconnect_timeout: defaults.disconnect_timeout,
            keep_alive: KeepAlive::default(),
            connection_timeout: defaults.connection_timeout,
            transport_connect_timeout: defaults.transport_connect_timeout,
            long_poll_delay: defaults.long_poll_delay,
            max_message: at_least_one(defaults.max_message),
            max_form: at_least_one(defaults.max_form),
            window_items: defaults.window.items,
            window_bytes: defaults.window.bytes,
            parallel_calls: defaults.parallel_calls,
            send_timeout: defaults.send_timeout,
            jsonp: defaults.jsonp,
            proxies: defaults.proxies,
            detailed_errors: defaults.detailed_errors,
        }
    }
}

/// The interval between keep-alive frames on an idle channel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KeepAlive {
    /// A third of the disconnect timeout.
    #[default]
    ThirdOfDisconnectTimeout,
    /// A fixed interval.
    Every(Duration),
    /// No keep-alive frames.
    Disabled,
}

fn keep_alive<'de, D: Deserializer<'de>>(deserializer: D) -> Result<KeepAlive, D::Error> {
    Ok(units::duration_or_none(deserializer)?.map_or(KeepAlive::Disabled, KeepAlive::Every))
}

impl From<Classic> for classic::Settings {
    fn from(settings: Classic) -> Self {
        Self {
            disconnect_timeout: settings.disconnect_timeout,
            keep_alive: match settings.keep_alive {
                KeepAlive::ThirdOfDisconnectTimeout => Some(settings.disconnect_timeout / 3),
                KeepAlive::Every(interval) => Some(interval),
                KeepAlive::Disabled => None,
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
