//! The options of an engine that concern its stores.

use std::{sync::Arc, time::Duration};

use super::EngineBuilder;
use crate::store::{LeaseStore, MembershipStore, Store, StoreParts, TokenStore};

/// The default time limit of a store call. A connecting client waits at most that long for the store.
pub(super) const DEFAULT_STORE_DEADLINE: Duration = Duration::from_secs(5);

/// The default of [`EngineBuilder::reconcile_interval`].
pub(crate) const DEFAULT_RECONCILE_INTERVAL: Duration = Duration::from_secs(60);

impl EngineBuilder {
    /// Sets the store for durable state. Default: a store in memory, lost when the process ends.
    #[must_use]
    pub fn store(mut self, store: impl Store) -> Self {
        self.store = StoreParts::of(Arc::new(store));
        self
    }

    /// Sets the store for durable memberships. Leases and tokens stay in the store that was set before.
    #[must_use]
    pub fn membership_store(mut self, store: impl MembershipStore) -> Self {
        self.store.memberships = Arc::new(store);
        self
    }

    /// Sets the store for leases. Memberships and tokens stay in the store that was set before.
    #[must_use]
    pub fn lease_store(mut self, store: impl LeaseStore) -> Self {
        self.store.leases = Arc::new(store);
        self
    }

    /// Sets the store for used and revoked rejoin tokens. Memberships and leases stay in the store that was set before.
    #[must_use]
    pub fn token_store(mut self, store: impl TokenStore) -> Self {
        self.store.tokens = Arc::new(store);
        self
    }

    /// Sets the time limit of a store call. Default 5 s.
    #[must_use]
    pub fn store_deadline(mut self, deadline: Duration) -> Self {
        self.store_deadline = deadline;
        self
    }

    /// Sets how often the durable groups of connected users are compared with the store, or `None` for never. The
    /// connections of this process are then made to agree with it, for example after another process on the same store
    /// has changed a user that is connected here. Default 60 s: within one process, only crashes leave differences, and
    /// one query for 1,000 users in that time is no load. The users are spread over the interval.
    /// [`Engine::reconcile`](crate::Engine::reconcile) compares them at once.
    #[must_use]
    pub fn reconcile_interval(mut self, interval: Option<Duration>) -> Self {
        self.reconcile_interval = interval;
        self
    }
}
