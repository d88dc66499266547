//! How clients are served: the engine's own settings, as they are written.

use std::{collections::BTreeMap, num::NonZeroUsize, time::Duration};

use serde::Deserialize;

use super::{Store, units};
use crate::{RejoinSettings, aspnetcore, outbox, pipeline::Policy};

/// How clients are put back into their groups.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rejoin {
    /// Who decides: `token` (default, as in SignalR 2.x), `store`, `intersection` or `union`.
    #[serde(deserialize_with = "units::word")]
    pub policy: Policy,
    /// Policies of hubs that differ, by the hub's name. Default none.
    pub policies: BTreeMap<String, Policy>,
    /// For how long a token is accepted. Default 24 h; a client that stays is given a new one at half of it, so that
    /// half of it has to last while a classic client is away.
    #[serde(deserialize_with = "units::span")]
    pub lifetime: Duration,
}

impl Default for Rejoin {
    fn default() -> Self {
        let RejoinSettings { policy, lifetime, .. } = RejoinSettings::default();
        Self { policy, policies: BTreeMap::new(), lifetime }
    }
}

impl Rejoin {
    /// As the engine takes it.
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

/// How much may wait for a client that reads slowly.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// So many messages. Default 10,000: a burst that a healthy client takes in well under a second.
    #[serde(deserialize_with = "units::whole")]
    pub items: NonZeroUsize,
    /// So many bytes. Default 1 MiB.
    #[serde(deserialize_with = "units::whole")]
    pub bytes: NonZeroUsize,
    /// What happens beyond: `close` (default) disconnects the client, so that it never misses a message unnoticed;
    /// `drop-oldest` leaves out the oldest broadcast that waits.
    #[serde(deserialize_with = "units::word")]
    pub overflow: Overflow,
}

/// What happens when more waits than may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Overflow {
    /// The client is disconnected.
    Close,
    /// The oldest broadcast is left out.
    DropOldest,
}

impl Default for Limits {
    fn default() -> Self {
        let outbox::Limits { items, bytes, .. } = outbox::Limits::default();
        let at_least_one = |number| NonZeroUsize::new(number).unwrap_or(NonZeroUsize::MIN);
        Self { items: at_least_one(items), bytes: at_least_one(bytes), overflow: Overflow::Close }
    }
}

impl From<Limits> for outbox::Limits {
    fn from(limits: Limits) -> Self {
        let overflow = match limits.overflow {
            Overflow::Close => outbox::Overflow::Close,
            Overflow::DropOldest => outbox::Overflow::DropOldest,
        };
        Self { items: limits.items.get(), bytes: limits.bytes.get(), overflow }
    }
}

/// How clients of ASP.NET Core SignalR are served. The defaults are the original's, since clients were made to fit.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AspNetCore {
    /// How often a client is pinged. Default 15 s: half of what its own timeout is.
    #[serde(deserialize_with = "units::span")]
    pub keep_alive: Duration,
    /// How long a client that has ever pinged may be silent. Default 30 s: two of its pings.
    #[serde(deserialize_with = "units::span")]
    pub client_timeout: Duration,
    /// How long a client may take for its handshake. Default 15 s.
    #[serde(deserialize_with = "units::span")]
    pub handshake_timeout: Duration,
    /// How long a negotiated connection waits for its transport. Default 15 s.
    #[serde(deserialize_with = "units::span")]
    pub disconnect_timeout: Duration,
    /// How long a client may take nothing of what waits for it, before it is disconnected. Default 10 s.
    #[serde(deserialize_with = "units::span")]
    pub send_timeout: Duration,
    /// The largest message of a client in bytes, or `none` for no limit. Default 32 KiB; a client that exceeds it is
    /// disconnected.
    #[serde(deserialize_with = "units::limit")]
    pub max_message: Option<usize>,
    /// How many calls of one client run at a time; the next one waits. Default 1.
    #[serde(deserialize_with = "units::whole")]
    pub parallel_calls: NonZeroUsize,
    /// Tell clients why a call failed, whatever it was. Default false: it tells of the server's insides.
    pub detailed_errors: bool,
}

impl Default for AspNetCore {
    fn default() -> Self {
        let usual = aspnetcore::Settings::default();
        Self {
            keep_alive: usual.keep_alive,
            client_timeout: usual.client_timeout,
            handshake_timeout: usual.handshake_timeout,
            disconnect_timeout: usual.disconnect_timeout,
            send_timeout: usual.send_timeout,
            max_message: usual.max_message,
            parallel_calls: usual.parallel_calls,
            detailed_errors: usual.detailed_errors,
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
            send_timeout: settings.send_timeout,
            max_message: settings.max_message,
            parallel_calls: settings.parallel_calls,
            detailed_errors: settings.detailed_errors,
        }
    }
}
