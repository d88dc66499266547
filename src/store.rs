//! Durable state of the engine: durable group memberships, leases of open connections, and used rejoin tokens.
//!
//! [`MembershipStore`], [`LeaseStore`] and [`TokenStore`] hide the database behind them. A [`Store`] is all three. An
//! application builds its stores before the engine, which shares them; they outlive every actor. A backend may supply one
//! of them and leave the others to another backend. The `Membership` and `Pipeline` actors call them, and so do the hub
//! functions that revoke tokens or list members. A store does not know live groups, and none of its calls waits for a
//! client.
//!
//! Users and their memberships are durable. Connections are leases: when a process dies, its leases are closed.
//! [`memory::MemoryStore`] implements the whole contract without persistence; `sea::SeaStore` (feature `database`)
//! persists to a database.

use std::{future::Future, pin::Pin, time::Duration};

pub(crate) use background_queue::{BackgroundQueue, QueueWorker};
pub(crate) use handle::StoreHandle;
pub use leases::{
    CLOSED_LEASE_TERM, CloseReason, DynLeaseStore, LAST_SEEN_TERM, LastSeen, Lease, LeaseChange, LeaseEnd, LeaseRecord,
    LeaseStore, MAX_CLOSED_LEASES, Node, UserActivity,
};
pub use memberships::{
    Change, DynMembershipStore, Members, MembershipChange, MembershipOp, MembershipPromises, MembershipStore, Owner,
    Page,
};
pub(crate) use pacing::BatchPacing;
pub(crate) use parts::StoreParts;
pub use process::{NodeLease, Process, Renewal};
pub(crate) use spread::{Answer, send_spread};
pub use tokens::{
    DynTokenStore, GroupList, Holder, MAX_GROUP_LISTS, Redeemed, Redemption, TokenStore, TokenUse, Verdict,
};

#[cfg(any(feature = "azure", feature = "mysql", feature = "postgres"))]
mod address;
#[cfg(feature = "azure")]
pub mod azure;
mod background_queue;
#[cfg(any(test, feature = "testkit"))]
pub mod conformance;
#[cfg(any(test, feature = "testkit"))]
pub mod faulty;
mod handle;
mod leases;
mod memberships;
pub mod memory;
mod pacing;
mod parts;
mod process;
#[cfg(feature = "database")]
pub mod sea;
mod spread;
mod tokens;

/// The maximum difference between the clocks of two nodes that revocations allow for. Clocks that are synchronized over
/// a network differ by far less.
pub const CLOCK_TOLERANCE: Duration = Duration::from_secs(10);

/// Why a store call failed. Each variant asks for a different reaction of the caller.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// The store does not answer now; the same call can succeed later. The requested change was applied in full or not
    /// at all. Operators read the text: it must not contain secrets.
    #[error("the store is unavailable: {0}")]
    Unavailable(String),
    /// The stored data cannot be read; a retry does not help.
    #[error("the store holds data that cannot be read: {0}")]
    Corrupt(String),
    /// The store cannot hold a value of the request, such as a name that is too long for it. Nothing has changed, and a
    /// retry does not help.
    #[error("the store does not support a value: {0}")]
    Unsupported(String),
    /// The address of the store is invalid. Only connecting returns this error; the methods of the stores do not.
    #[error("the store's address is wrong: {0}")]
    Address(String),
    /// The server of the store refuses the user, the user lacks a right, the database does not exist or cannot be written,
    /// or TLS fails. A retry helps only after a change of the server or the address. Only connecting returns this error; the
    /// methods of the stores do not.
    #[error("the store cannot be used: {0}")]
    Refused(String),
}

impl Error {
    /// The text of the cause.
    #[cfg(any(feature = "mysql", feature = "postgres", feature = "service"))]
    pub(crate) fn into_text(self) -> String {
        match self {
            Self::Unavailable(text)
            | Self::Corrupt(text)
            | Self::Unsupported(text)
            | Self::Address(text)
            | Self::Refused(text) => text,
        }
    }

    pub(crate) fn timed_out() -> Self {
        Self::Unavailable("no answer in time".into())
    }

    /// [`MembershipStore::apply`] returned fewer effects than it got changes.
    pub(crate) fn missing_effect() -> Self {
        Self::Corrupt("the store returned no effect of a change".into())
    }

    /// [`TokenStore::redeem_all`] returned fewer answers than it got tokens.
    pub(crate) fn missing_verdict() -> Self {
        Self::Corrupt("the store returned no verdict on a token".into())
    }
}

/// The future of a method of an object-safe store.
pub type StoreFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send + 'a>>;

/// A store of all durable state. Every type that implements the three parts implements it.
pub trait Store: MembershipStore + LeaseStore + TokenStore {}

impl<S: MembershipStore + LeaseStore + TokenStore> Store for S {}

/// The object-safe form of [`Store`].
pub trait DynStore: DynMembershipStore + DynLeaseStore + DynTokenStore {}

impl<S: DynMembershipStore + DynLeaseStore + DynTokenStore> DynStore for S {}
