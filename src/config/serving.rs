//! Settings of the engine for all clients and for those of ASP.NET Core SignalR, in the format of the configuration.

use std::{collections::BTreeMap, num::NonZeroUsize, time::Duration};

use serde::Deserialize;

use super::{Store, units};
use crate::{ConnectionLimits, RejoinSettings, aspnetcore, outbox, pipeline::Policy};

/// How reconnecting clients rejoin their groups.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rejoin {
    /// The source of the groups: `token` (default, as in SignalR 2.x), `store`, `intersection` or `union`.
    #[serde(deserialize_with = "units::keyword")]
    pub policy: Policy,
    /// Policies of individual hubs, by the name of the hub. Default none.
    pub policies: BTreeMap<String, Policy>,
    /// The lifetime of a token. Default 24 h. A connected client receives a new token after half of it, so the other
    /// half must cover the longest disconnection of a classic client.
    #[serde(deserialize_with = "units::duration")]
    pub lifetime: Duration,
}

impl Default for Rejoin {
    fn default() -> Self {
        let RejoinSettings { policy, lifetime, .. } = RejoinSettings::default();
        Self { policy, policies: BTreeMap::new(), lifetime }
    }
}

impl Rejoin {
    /// Converts to the settings of the engine.
    #[must_use]
    pub fn settings(&self, store: &Store) -> RejoinSettings {
        RejoinSettings {
            policy: self.policy,
            policies: self.policies.iter().map(|(hub, policy)| (hub.as_str().into(), *policy)).collect(),
            lifetime: self.lifetime,
            on_store_failure: store.on_failure,
        }
    }
}

/// The limits of connections, and of the outbox of each client: messages that wait for a client that reads slowly.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// The maximum number of connections of the process. Default 100,000, which need about 1 GB of memory, or the number
    /// of client sockets that the limit of file descriptors allows if that is less. A client beyond it gets status 503.
    #[serde(deserialize_with = "units::optional_integer")]
    pub connections: Option<NonZeroUsize>,
    /// The maximum number of connections of a user, or `none` for no limit. Default 1,000: more than the devices of a
    /// person, and too few to occupy the process. A client beyond it gets status 429.
    #[serde(deserialize_with = "units::count_or_none")]
    pub connections_per_user: Option<NonZeroUsize>,
    /// The maximum number of connections of a client address, or `none` (default) for no limit, because all clients
    /// behind a proxy can have its address. An IPv6 network of 64 bits counts as one address. A client beyond it gets
    /// status 429.
    #[serde(deserialize_with = "units::count_or_none")]
    pub connections_per_address: Option<NonZeroUsize>,
    /// The number of durable changes of groups that a client may cause per second, or `none` for no limit. Default 100:
    /// more than a person causes, and so few that the database serves many such clients. Further changes wait.
    #[serde(deserialize_with = "units::count_or_none")]
    pub durable_changes: Option<NonZeroUsize>,
    /// The maximum number of messages. Default 10,000: a burst that a healthy client reads in well under a second.
    #[serde(deserialize_with = "units::integer")]
    pub items: NonZeroUsize,
    /// The maximum number of bytes. Default 1 MiB.
    #[serde(deserialize_with = "units::integer")]
    pub bytes: NonZeroUsize,
    /// The reaction to an exceeded limit: `close` (default) disconnects the client, so that it never misses a message
    /// unnoticed; `drop-oldest` drops the oldest waiting broadcast.
    #[serde(deserialize_with = "units::keyword")]
    pub overflow: outbox::Overflow,
}

impl Default for Limits {
    fn default() -> Self {
        let outbox::Limits { items, bytes, .. } = outbox::Limits::default();
        let at_least_one = |number| NonZeroUsize::new(number).unwrap_or(NonZeroUsize::MIN);
        let ConnectionLimits { per_user, per_address, .. } = ConnectionLimits::default();
        Self {
            connections: None,
            connections_per_user: per_user,
            connections_per_address: per_address,
            durable_changes: Some(crate::engine::DEFAULT_DURABLE_RATE),
            items: at_least_one(items),
            bytes: at_least_one(bytes),
            overflow: outbox::Overflow::Close,
        }
    }
}

impl From<Limits> for outbox::Limits {
    fn from(limits: Limits) -> Self {
        Self { items: limits.items.get(), bytes: limits.bytes.get(), overflow: limits.overflow }
    }
}

impl From<Limits> for ConnectionLimits {
    fn from(limits: Limits) -> Self {
        Self {
            total: limits.connections.unwrap_or(Self::default().total),
            per_user: limits.connections_per_user,
            per_address: limits.connections_per_address,
        }
    }
}

/// Settings for clients of ASP.NET Core SignalR. The defaults are those of ASP.NET Core SignalR, because clients are
/// tuned for them.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AspNetCore {
    /// The interval between pings to a client. Default 15 s, half of the client's own timeout.
    #[serde(deserialize_with = "units::duration")]
    pub keep_alive: Duration,
    /// The longest silence of a client that has pinged at least once. Default 30 s, two ping intervals of the client.
    #[serde(deserialize_with = "units::duration")]
    pub client_timeout: Duration,
    /// The time limit for the handshake. Default 15 s.
    #[serde(deserialize_with = "units::duration")]
    pub handshake_timeout: Duration,
    /// The time that a negotiated connection can exist without a transport, and that a polling client may pause between
    /// two polls. Default 15 s.
    #[serde(deserialize_with = "units::duration")]
    pub disconnect_timeout: Duration,
    /// The time after which a poll without messages is answered. Default 90 s, less than the 100 s that clients wait.
    #[serde(deserialize_with = "units::duration")]
    pub poll_timeout: Duration,
    /// The time after which a client is disconnected that reads none of its queued messages. Default 10 s.
    #[serde(deserialize_with = "units::duration")]
    pub send_timeout: Duration,
    /// The maximum size of a client's message in bytes, or `none` for no limit. Default 32 KiB. A client that exceeds
    /// it is disconnected.
    #[serde(deserialize_with = "units::limit_or_none")]
    pub max_message: Option<usize>,
    /// The maximum number of calls of one client that run at the same time. Further calls wait. Default 1.
    #[serde(deserialize_with = "units::integer")]
    pub parallel_calls: NonZeroUsize,
    /// The number of items of a client's stream that wait for the hub method. While it is reached, nothing more is read
    /// from the client. Default 10.
    #[serde(deserialize_with = "units::integer")]
    pub stream_capacity: NonZeroUsize,
    /// Let clients that ask for it resume a connection with a new WebSocket. Default false, because each such connection
    /// keeps the messages that its client has not acknowledged.
    pub allow_stateful_reconnects: bool,
    /// The number of bytes that such a client may leave unacknowledged. Beyond it, a hub method that sends to its caller
    /// waits. Default 100,000.
    #[serde(deserialize_with = "units::integer")]
    pub reconnect_buffer: NonZeroUsize,
    /// Send the reason of every failed call to the client. Default false, because the texts reveal internals of the
    /// server.
    pub detailed_errors: bool,
}

impl Default for AspNetCore {
    fn default() -> Self {
        let defaults = aspnetcore::Settings::default();
        Self {
            keep_alive: defaults.keep_alive,
            client_timeout: defaults.client_timeout,
            handshake_timeout: defaults.handshake_timeout,
            disconnect_timeout: defaults.disconnect_timeout,
            poll_timeout: defaults.poll_timeout,
            send_timeout: defaults.send_timeout,
            max_message: defaults.max_message,
            parallel_calls: defaults.parallel_calls,
            stream_capacity: defaults.stream_capacity,
            allow_stateful_reconnects: false,
            reconnect_buffer: NonZeroUsize::new(defaults.reconnect_buffer).unwrap_or(NonZeroUsize::MIN),
            detailed_errors: defaults.detailed_errors,
        }
    }
}

impl From<AspNetCore> for aspnetcore::Settings {
    fn from(settings: AspNetCore) -> Self {
        Self {
            keep_alive: settings.keep_alive,
            client_timeout: settings.client_timeout,
            handshake_timeout: settings.handshake_timeout,
            disconnect_timeout: settings.disconnect_timeout,
            poll_timeout: settings.poll_timeout,
            send_timeout: settings.send_timeout,
            max_message: settings.max_message,
            parallel_calls: settings.parallel_calls,
            stream_capacity: settings.stream_capacity,
            reconnect_buffer: settings.reconnect_buffer.get(),
            detailed_errors: settings.detailed_errors,
        }
    }
}
