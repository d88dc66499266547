//! The stores of an engine, each of which can be in another database.

use std::{fmt, sync::Arc};

use super::{DynLeaseStore, DynMembershipStore, DynTokenStore, Store};

/// The three stores of an engine.
#[derive(Clone)]
pub(crate) struct StoreParts {
    pub(crate) memberships: Arc<dyn DynMembershipStore>,
    pub(crate) leases: Arc<dyn DynLeaseStore>,
    pub(crate) tokens: Arc<dyn DynTokenStore>,
}

impl StoreParts {
    /// One store for everything.
    pub(crate) fn of(store: Arc<impl Store>) -> Self {
        Self { memberships: Arc::clone(&store) as _, leases: Arc::clone(&store) as _, tokens: store }
    }
}

impl fmt::Debug for StoreParts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreParts").finish_non_exhaustive()
    }
}
