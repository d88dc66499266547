//! The counters of an engine.
//!
//! A counter counts events and only increases. Current state, such as the number of connections or groups, is queried
//! from its owner instead. All modules increment the counters, and admin reads them. No behaviour depends on a counter.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// The counters of one engine.
        #[derive(Debug, Default)]
        pub struct Metrics {
            $($(#[$doc])* pub $name: Counter,)*
        }

        impl Metrics {
            /// The name and value of every counter, in the order of declaration.
            #[must_use]
            pub fn list(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name.get())),*]
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
    /// Connections that were ended because their client did not read fast enough.
    connections_evicted,
    /// Connections that were ended because nothing was received from their client for too long.
    connections_timed_out,
    /// Connections that were ended because their client sent invalid data.
    connections_faulted,
    /// Connections that continued on a new transport.
    connections_resumed,
    /// Reconnects whose client missed messages, because it returned too late or with a cursor of another connection.
    gaps,
    /// Invocations of hub methods.
    invocations,
    /// Invocations of hub methods that failed.
    invocations_failed,
    /// Panics of hub methods, lifecycle hooks and rejoin modules.
    hub_panics,
    /// Invocations of client methods. Each counts once, regardless of its number of recipients.
    sends,
    /// Recipients that those invocations were handed to.
    deliveries,
    /// Rejoin tokens that were accepted.
    rejoins_accepted,
    /// Rejoin tokens that could not be parsed.
    rejoins_malformed,
    /// Rejoin tokens signed with a key that is not in the key ring.
    rejoins_unknown_key,
    /// Rejoin tokens whose signature is wrong.
    rejoins_forged,
    /// Rejoin tokens past their expiry.
    rejoins_expired,
    /// Rejoin tokens issued to another user.
    rejoins_wrong_user,
    /// Rejoin tokens issued for another hub.
    rejoins_wrong_hub,
    /// Rejoin tokens issued to another connection.
    rejoins_wrong_connection,
    /// Rejoin tokens that were used before.
    rejoins_replayed,
    /// Rejoin tokens revoked by an operator or an application.
    rejoins_revoked,
    /// Rejoin tokens that could not be checked because the store did not answer.
    rejoins_unchecked,
    /// Rejoin tokens issued with an incomplete list of groups, because the names are too long in total.
    rejoins_without_list,
    /// Rejoin tokens that were accepted and whose client lost groups, because the token could not list them.
    rejoins_incomplete,
    /// Reads and writes of durable groups that failed or that the store did not answer in time.
    store_failures,
    /// Lease changes of connections that were dropped because they could not be written.
    leases_dropped,
    /// Leases of dead processes that were deleted.
    leases_reclaimed,
    /// Requests of classic clients that were answered with 4xx or 5xx, and requests of ASP.NET Core clients that failed
    /// authentication or authorization.
    requests_refused,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counter_is_listed_under_its_name() {
        let metrics = Metrics::default();
        metrics.gaps.increment();
        metrics.gaps.add(2);
        assert!(metrics.list().contains(&("gaps", 3)));
    }
}
