//! The metrics of an engine. This file declares all of them.
//!
//! A counter counts events and only increases. A histogram counts durations. All modules record both, and admin reads
//! them. Current state, such as the number of connections or groups, is asked of its owner when it is read. No
//! behaviour depends on a metric.
//!
//! The JSON of admin lists the counters by their field names. The OpenMetrics text has all metrics. There, counters of
//! one kind share a name and differ in a label, and metrics that .NET has too have the names and labels of .NET.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering},
    time::SystemTime,
};

use prometheus_client::{metrics::MetricType, registry::Unit};

mod family;
mod filters;
mod histogram;
pub(crate) mod openmetrics;

use family::{Family, Sample, Value, gauge, transport_label};
pub(crate) use filters::{FilterFigures, FilterSample};
pub(crate) use histogram::{Histogram, HistogramSnapshot};

/// Declares counters. In OpenMetrics a counter has the name and label after the arrow, or else its own name.
macro_rules! counters {
    (@family $name:ident) => { concat!("hubcast_", stringify!($name)) };
    (@family $name:ident $family:literal) => { $family };
    ($($(#[doc = $doc:literal])* $name:ident $(=> $family:literal $([$label:literal = $value:literal])?)?),* $(,)?) => {
        /// The metrics of one engine.
        #[derive(Debug, Default)]
        pub struct Metrics {
            $($(#[doc = $doc])* pub $name: Counter,)*
            pub(crate) durations: Durations,
        }

        impl Metrics {
            /// The name and value of every counter, in the order of declaration.
            #[must_use]
            pub fn list(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name.get())),*]
            }

            /// Every counter as a family of its own.
            fn counters(&self) -> Vec<Family> {
                vec![$(Family::new(
                    counters!(@family $name $($family)?), concat!($($doc),*).trim(), MetricType::Counter)
                    .with(&[$($(($label, $value))?)?], Value::Counter(self.$name.get()))),*]
            }
        }
    };
}

/// A monotonic event counter.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds one.
    pub fn increment(&self) {
        self.add(1);
    }

    /// Adds `count`.
    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    /// The current value.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

counters! {
    /// Connections that were admitted: their `OnConnected` succeeded, or their client reconnected from an earlier
    /// process.
    connections_opened,
    /// Admitted connections that have ended, for any reason.
    connections_closed,
    /// Requests for a connection that were refused because a limit of connections was reached.
    connections_refused,
    /// Sockets that were refused because clients have as many as the file descriptors of the process allow.
    sockets_refused,
    /// Connections that were ended because their client did not read fast enough.
    connections_evicted => "hubcast_connections_terminated" ["reason" = "too_slow"],
    /// Connections that were ended because nothing was received from their client for too long.
    connections_timed_out => "hubcast_connections_terminated" ["reason" = "timed_out"],
    /// Connections that were ended because their client sent invalid data.
    connections_faulted => "hubcast_connections_terminated" ["reason" = "faulted"],
    /// Connections that continued on a new transport.
    connections_resumed,
    /// Reconnects whose client missed messages, because it returned too late or with a cursor of another connection.
    gaps,
    /// Invocations of hub methods.
    invocations,
    /// Invocations of hub methods that failed.
    invocations_failed,
    /// Panics of hub methods, lifecycle hooks and filters.
    hub_panics,
    /// Invocations of client methods. Each counts once, regardless of its number of recipients.
    sends,
    /// Recipients that those invocations were handed to.
    deliveries,
    /// Rejoin tokens that were accepted.
    rejoins_accepted => "hubcast_rejoins" ["outcome" = "accepted"],
    /// Rejoin tokens that could not be parsed.
    rejoins_malformed => "hubcast_rejoins" ["outcome" = "malformed"],
    /// Rejoin tokens signed with a key that is not in the key ring.
    rejoins_unknown_key => "hubcast_rejoins" ["outcome" = "unknown_key"],
    /// Rejoin tokens whose signature is wrong.
    rejoins_forged => "hubcast_rejoins" ["outcome" = "forged"],
    /// Rejoin tokens past their expiry.
    rejoins_expired => "hubcast_rejoins" ["outcome" = "expired"],
    /// Rejoin tokens issued to another user.
    rejoins_wrong_user => "hubcast_rejoins" ["outcome" = "wrong_user"],
    /// Rejoin tokens issued for another hub.
    rejoins_wrong_hub => "hubcast_rejoins" ["outcome" = "wrong_hub"],
    /// Rejoin tokens issued to another connection.
    rejoins_wrong_connection => "hubcast_rejoins" ["outcome" = "wrong_connection"],
    /// Rejoin tokens that were used before.
    rejoins_replayed => "hubcast_rejoins" ["outcome" = "replayed"],
    /// Rejoin tokens revoked by an operator or an application.
    rejoins_revoked => "hubcast_rejoins" ["outcome" = "revoked"],
    /// Rejoin tokens that could not be checked because the store did not answer.
    rejoins_unchecked => "hubcast_rejoins" ["outcome" = "unchecked"],
    /// Rejoin tokens issued with an incomplete list of groups, because the names are too long in total.
    rejoins_without_list => "hubcast_rejoin_tokens_incomplete",
    /// Rejoin tokens that were accepted and whose client lost groups, because the token could not list them.
    rejoins_incomplete,
    /// Groups that an accepted rejoin token did not restore, because it could not list them.
    rejoin_groups_unlisted => "hubcast_rejoin_groups_lost" ["reason" = "unlisted"],
    /// Groups that an accepted rejoin token did not restore, because the tokens of the group are revoked.
    rejoin_groups_revoked => "hubcast_rejoin_groups_lost" ["reason" = "revoked"],
    /// Accepted rejoin tokens that a stored list of groups has completed.
    rejoin_lists_restored,
    /// Lists of groups that could not be stored, because the store failed or keeps too many of them.
    rejoin_lists_failed,
    /// Queries for the durable groups of users. A query covers the users of up to 1,000 connections.
    store_loads,
    /// Calls of the store that redeem rejoin tokens. A call covers up to 1,000 tokens.
    store_redemptions,
    /// Reads and writes of durable groups that failed or that the store did not answer in time.
    store_failures,
    /// Comparisons of the durable groups of all connected users with the store.
    reconcile_passes,
    /// Joins of connections to durable groups of their users, because the store and the live memberships differed.
    reconciled_joins => "hubcast_reconciled_memberships" ["change" = "joined"],
    /// Leaves of connections from groups of which their users are no longer durable members, because the store and the
    /// live memberships differed.
    reconciled_leaves => "hubcast_reconciled_memberships" ["change" = "left"],
    /// Lease changes of connections that were dropped because they could not be written.
    leases_dropped,
    /// Leases of dead processes that were closed.
    leases_reclaimed,
    /// Events of the presence of users that were passed to a handler.
    presence_events,
    /// Handlers of presence that panicked or were cancelled because they did not finish in time, and users that were
    /// forgotten without going offline because too many were away.
    presence_failures,
    /// Requests of classic clients that were answered with 4xx or 5xx, and requests of ASP.NET Core clients that failed
    /// authentication or authorization.
    requests_refused,
}

/// The meaning of counters that share a name.
const SHARED_NAMES: [(&str, &str); 4] = [
    ("hubcast_connections_terminated", "Connections that the server ended because of their client, by reason."),
    (
        "hubcast_reconciled_memberships",
        "Live memberships that were changed because they differed from the durable ones in the store.",
    ),
    ("hubcast_rejoins", "Rejoin tokens that clients presented, by outcome."),
    ("hubcast_rejoin_groups_lost", "Groups that an accepted rejoin token did not restore, by reason."),
];

/// The upper bounds of the buckets for invocations, in seconds: those of .NET for HTTP requests, and two for methods that
/// only use memory.
const INVOCATION_BOUNDS: &[f64] =
    &[0.0001, 0.001, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];

/// The upper bounds of the buckets for connections, in seconds: those of .NET, and four for connections that last for
/// hours.
const CONNECTION_BOUNDS: &[f64] = &[
    0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 1_800.0, 7_200.0, 28_800.0,
    86_400.0,
];

/// The values of the label `signalr_transport`. Wire names differ between the dialects.
const TRANSPORTS: [&str; 5] = ["web_sockets", "server_sent_events", "long_polling", "forever_frame", "other"];

/// The values of the label `signalr_connection_status`.
const STATUSES: [&str; 3] = ["normal_closure", "timeout", "app_shutdown"];

/// How a connection ended, as .NET tells it apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ConnectionStatus {
    /// The client or the server ended it, or the network did.
    NormalClosure,
    /// The client sent or read nothing for too long.
    Timeout,
    /// The process is shutting down.
    AppShutdown,
}

/// The histograms of an engine.
#[derive(Debug)]
pub(crate) struct Durations {
    /// Invocations of hub methods that returned a result, from their start to their result.
    pub(crate) completed_invocations: Histogram,
    /// Invocations of hub methods that failed.
    pub(crate) failed_invocations: Histogram,
    /// Connections that were admitted, from their start to their end: by transport, then by status.
    connections: [[Histogram; STATUSES.len()]; TRANSPORTS.len()],
}

impl Default for Durations {
    fn default() -> Self {
        let connections = || std::array::from_fn(|_| Histogram::new(CONNECTION_BOUNDS));
        Self {
            completed_invocations: Histogram::new(INVOCATION_BOUNDS),
            failed_invocations: Histogram::new(INVOCATION_BOUNDS),
            connections: std::array::from_fn(|_| connections()),
        }
    }
}

impl Durations {
    /// The histogram of connections whose last transport had this name on the wire.
    pub(crate) fn connections(&self, transport: &str, status: ConnectionStatus) -> &Histogram {
        let label = transport_label(transport);
        let transport = TRANSPORTS.iter().position(|known| *known == label).unwrap_or(TRANSPORTS.len() - 1);
        &self.connections[transport][status as usize]
    }

    fn families(&self) -> [Family; 2] {
        let invocations = Family::new(
            "hubcast_invocation_duration",
            "The duration of invocations of hub methods.",
            MetricType::Histogram,
        )
        .in_unit(Unit::Seconds)
        .with(&[("outcome", "completed")], Value::Histogram(self.completed_invocations.snapshot()))
        .with(&[("outcome", "failed")], Value::Histogram(self.failed_invocations.snapshot()));
        let mut connections = Family::new(
            "signalr_server_connection_duration",
            "The duration of connections on the server.",
            MetricType::Histogram,
        )
        .in_unit(Unit::Seconds);
        for (transport, by_status) in TRANSPORTS.iter().zip(&self.connections) {
            for (status, histogram) in STATUSES.iter().zip(by_status) {
                let snapshot = histogram.snapshot();
                // Most combinations never occur. .NET leaves them out too.
                if snapshot.count() > 0 {
                    let labels = [("signalr_connection_status", *status), ("signalr_transport", *transport)];
                    connections = connections.with(&labels, Value::Histogram(snapshot));
                }
            }
        }
        [invocations, connections]
    }
}

/// The current state of an engine.
#[derive(Debug)]
pub(crate) struct EngineState {
    pub(crate) version: &'static str,
    pub(crate) node: String,
    pub(crate) started_at: SystemTime,
    pub(crate) is_draining: bool,
    /// The number of connections by dialect and by transport, as named on the wire.
    pub(crate) connections: BTreeMap<(&'static str, &'static str), u64>,
    pub(crate) users: usize,
    pub(crate) groups: usize,
    pub(crate) hub_tasks: usize,
    /// The messages and bytes that wait for all clients.
    pub(crate) backlog_messages: usize,
    pub(crate) backlog_bytes: usize,
    /// The bytes that wait for the client with the longest queue.
    pub(crate) largest_backlog_bytes: usize,
    /// The restarts of supervised actors by kind.
    pub(crate) restarts: [(&'static str, u64); 4],
    /// The figures of all filters.
    pub(crate) filters: Vec<FilterSample>,
}

impl EngineState {
    fn families(&self) -> Vec<Family> {
        let started = self.started_at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let mut connections = Family::new(
            "signalr_server_active_connections",
            "Connections that are currently active on the server.",
            MetricType::Gauge,
        );
        for ((dialect, transport), count) in &self.connections {
            let labels = [("hubcast_dialect", *dialect), ("signalr_transport", &*transport_label(transport))];
            connections = connections.with(&labels, gauge(*count));
        }
        let mut restarts =
            Family::new("hubcast_actor_restarts", "Restarts of supervised actors after a panic.", MetricType::Counter);
        for (actor, count) in self.restarts {
            restarts = restarts.with(&[("actor", actor)], Value::Counter(count));
        }
        let info = [("version", self.version), ("node", &*self.node)];
        vec![
            Family::new("hubcast_build", "The version and the name of this process.", MetricType::Info)
                .with(&info, Value::Info),
            Family::gauge("hubcast_start_time", "When the engine was built, as Unix time.", started)
                .in_unit(Unit::Seconds),
            Family::gauge("hubcast_draining", "1 while the process shuts down, else 0.", u64::from(self.is_draining)),
            connections,
            Family::gauge("hubcast_users", "Users with at least one connection.", self.users),
            Family::gauge("hubcast_groups", "Groups with at least one live member.", self.groups),
            Family::gauge("hubcast_hub_tasks", "Hub methods and hooks that are running.", self.hub_tasks),
            Family::gauge(
                "hubcast_backlog_messages",
                "Messages that wait to be sent to clients.",
                self.backlog_messages,
            ),
            Family::gauge("hubcast_backlog", "Bytes that wait to be sent to clients.", self.backlog_bytes)
                .in_unit(Unit::Bytes),
            Family::gauge(
                "hubcast_largest_backlog",
                "Bytes that wait for the client with the most.",
                self.largest_backlog_bytes,
            )
            .in_unit(Unit::Bytes),
            restarts,
        ]
    }
}

impl Metrics {
    /// All metrics by their names in OpenMetrics.
    pub(crate) fn families(&self, state: &EngineState) -> Vec<Family> {
        let mut families = state.families();
        families.extend(self.durations.families());
        families.extend(filters::families(&state.filters));
        for counter in self.counters() {
            match families.last_mut().filter(|family| family.name == counter.name) {
                Some(family) => family.samples.extend(counter.samples),
                None => {
                    let shared = SHARED_NAMES.iter().find(|(name, _)| *name == counter.name);
                    families.push(Family { help: shared.map_or(counter.help, |(_, help)| help), ..counter });
                }
            }
        }
        families
    }
}

#[cfg(test)]
mod tests;
