//! The durable groups and rejoin tokens of users, in the store.

use std::{
    num::NonZeroUsize,
    time::{Duration, SystemTime},
};

use crate::{
    hub::{
        UsersError,
        keyed_mutex::{KeyedGuard, KeyedMutex},
    },
    ids::{GroupName, HubName, UserId},
    membership::{Check, Load, Membership, Write},
    store::{Change, Error, Members, MembershipChange, Owner, Page, StoreHandle},
    supervised::Supervised,
};

/// Loads and changes durable groups, and revokes rejoin tokens.
#[derive(Debug)]
pub(crate) struct DurableGroups {
    pub(crate) membership: Supervised<Membership>,
    pub(crate) store: StoreHandle,
    /// The maximum number of durable changes that a client may cause per second.
    pub(crate) rate: Option<NonZeroUsize>,
    /// Serializes changes by user and group.
    locks: KeyedMutex<(Owner, GroupName)>,
}

impl DurableGroups {
    /// Waiting for a change of the same user and group fails after `deadline`.
    pub(crate) fn new(
        membership: Supervised<Membership>,
        store: StoreHandle,
        rate: Option<NonZeroUsize>,
        deadline: Duration,
    ) -> Self {
        Self { membership, store, rate, locks: KeyedMutex::new(deadline) }
    }

    /// Waits for earlier changes of the same user and group. Later ones wait until the guard is dropped.
    pub(crate) async fn lock(
        &self,
        owner: &Owner,
        group: &GroupName,
    ) -> Result<KeyedGuard<'_, (Owner, GroupName)>, Error> {
        self.locks.lock((owner.clone(), group.clone())).await
    }

    /// Stores a change.
    pub(crate) async fn write(&self, change: MembershipChange) -> Result<Change, UsersError> {
        Ok(self.membership.ask(|answer| Write { change: change.clone(), answer }).await??)
    }

    /// The durable groups of a user.
    pub(crate) async fn groups_of(&self, owner: &Owner) -> Result<Vec<GroupName>, Error> {
        let load = |answer| Load { owner: owner.clone(), answer };
        self.membership.ask(load).await.unwrap_or_else(|died| Err(Error::Unavailable(died.to_string())))
    }

    /// The users that are durable members of a group.
    pub(crate) async fn members_of(&self, hub: &HubName, group: &GroupName, page: &Page) -> Result<Members, Error> {
        self.store.call(|store| store.members(hub, group, page)).await
    }

    /// Revokes all rejoin tokens of a user that were issued until now.
    pub(crate) async fn revoke_tokens(&self, user: &UserId) -> Result<(), Error> {
        let now = SystemTime::now();
        self.store.call(|store| store.revoke(user, now)).await
    }

    /// Writes to the store, or shares a write of the last second. The answer comes within a second.
    pub(crate) async fn check_store(&self) -> Result<(), Error> {
        let check = |answer| Check { answer };
        self.membership.ask(check).await.unwrap_or_else(|died| Err(Error::Unavailable(died.to_string())))
    }
}
