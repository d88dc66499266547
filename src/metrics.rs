//! Every counter of the process, named once.
//!
//! Role: what happened, in numbers that only grow; what *is* (connections, groups) is asked of its owner.
//! Life: one for each engine. Neighbours: everybody counts, admin reads.
//! Never: nothing is decided by a counter.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// The counters of one engine.
        #[derive(Debug, Default)]
        pub struct Metrics {
            $($(#[$doc])* pub $name: Counter,)*
        }

        impl Metrics {
            /// Every counter with its name, in the order of their declaration.
            #[must_use]
            pub fn list(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name.get())),*]
            }
        }
    };
}

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Counts one.
    pub fn count(&self) {
        self.add(1);
    }

    /// Counts several.
    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    /// How many so far.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

counters! {
    /// Connections that were let in: their OnConnected has succeeded, or their client has returned from an earlier
    /// process.
    connections_opened,
    /// Of those, the ones that have ended, for whatever reason.
    connections_closed,
    /// Connections ended because their client did not read fast enough.
    connections_evicted,
    /// Connections ended because their client fell silent.
    connections_timed_out,
    /// Connections ended for what they sent.
    connections_faulted,
    /// Connections that went on over a new transport.
    connections_resumed,
    /// Clients that came back too late, or with a cursor from elsewhere, and have missed something.
    gaps,
    /// Calls of hub methods.
    invocations,
    /// Calls of hub methods that failed.
    invocations_failed,
    /// Hub methods, hooks and modules that panicked.
    hub_panics,
    /// Calls of client methods, each however many it reached.
    sends,
    /// Recipients that those calls were handed to.
    deliveries,
    /// Rejoin tokens that were accepted.
    rejoins_accepted,
    /// Rejoin tokens that were no tokens at all.
    rejoins_malformed,
    /// Rejoin tokens signed under a key that is not in the ring.
    rejoins_unknown_key,
    /// Rejoin tokens whose signature is wrong.
    rejoins_forged,
    /// Rejoin tokens past their expiry.
    rejoins_expired,
    /// Rejoin tokens made for somebody else.
    rejoins_wrong_user,
    /// Rejoin tokens made for another hub.
    rejoins_wrong_hub,
    /// Rejoin tokens made for another connection.
    rejoins_wrong_connection,
    /// Rejoin tokens that were used before.
    rejoins_replayed,
    /// Rejoin tokens revoked by an operator or an application.
    rejoins_revoked,
    /// Rejoin tokens that could not be checked because the store did not answer.
    rejoins_unchecked,
    /// Rejoin tokens issued without their groups, whose names are too long in all.
    rejoins_without_list,
    /// Reads and writes of durable groups that the store has refused or not answered in time.
    store_failures,
    /// Connections' rows that could not be written and were given up.
    leases_dropped,
    /// Connections' rows that dead processes had left.
    leases_reclaimed,
    /// Requests of classic clients that were answered 4xx or 5xx, and those of ASP.NET Core clients that were refused
    /// for who sent them.
    requests_refused,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_is_listed_under_its_name() {
        let metrics = Metrics::default();
        metrics.gaps.count();
        metrics.gaps.add(2);
        assert!(metrics.list().contains(&("gaps", 3)));
    }
}
