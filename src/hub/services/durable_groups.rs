//! The durable groups and rejoin tokens of users, in the store.

use std::{
    collections::BTreeSet,
    num::NonZeroUsize,
    time::{Duration, SystemTime},
};

use crate::{
    hub::{
        UsersError,
        keyed_mutex::{KeyedGuard, KeyedMutex},
    },
    ids::{GroupKey, GroupName, HubName, UserId},
    membership::{Check, Load, Membership, Write},
    store::{CLOCK_TOLERANCE, Change, Error, Members, MembershipChange, Owner, Page, StoreHandle},
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

    /// Whether a few queries load the groups of any number of users. Otherwise, each user costs a query.
    pub(crate) fn batches_loads(&self) -> bool {
        self.store.promises().batched_loads
    }

    /// Waits for earlier changes of the same user and group. Later ones wait until the guard is dropped.
    pub(crate) async fn lock(
        &self,
        owner: &Owner,
        group: &GroupName,
    ) -> Result<KeyedGuard<'_, (Owner, GroupName)>, Error> {
        self.locks.lock((owner.clone(), group.clone())).await
    }

    /// Waits for earlier changes of the same users and groups. Later ones wait until the guards are dropped.
    pub(crate) async fn lock_all(
        &self,
        changes: &[MembershipChange],
    ) -> Result<Vec<KeyedGuard<'_, (Owner, GroupName)>>, Error> {
        let keys: BTreeSet<_> = changes.iter().map(|change| (change.owner.clone(), change.group.clone())).collect();
        self.locks.lock_all(keys.into_iter().collect()).await
    }

    /// Stores a change.
    pub(crate) async fn write(&self, change: MembershipChange) -> Result<Change, UsersError> {
        let effects = self.write_all(&[change]).await?;
        Ok(effects.first().copied().ok_or_else(Error::missing_effect)?)
    }

    /// Stores changes by one call of the store, and returns the effect of each.
    pub(crate) async fn write_all(&self, changes: &[MembershipChange]) -> Result<Vec<Change>, UsersError> {
        Ok(self.membership.ask(|answer| Write { changes: changes.to_vec(), answer }).await??)
    }

    /// The durable groups of a user.
    pub(crate) async fn groups_of(&self, owner: &Owner) -> Result<Vec<GroupName>, Error> {
        let load = |answer| Load { owner: owner.clone(), answer };
        self.membership.ask(load).await.unwrap_or_else(|died| Err(Error::Unavailable(died.to_string())))
    }

    /// The users that are durable members of a group.
    pub(crate) async fn members_of(&self, hub: &HubName, group: &GroupName, page: &Page) -> Result<Members, Error> {
        self.store.call(|store| store.memberships.members(hub, group, page)).await
    }

    /// Revokes all rejoin tokens of a user that were issued until now. While more than one node holds a lease, tokens that
    /// are issued in the next [`CLOCK_TOLERANCE`] are revoked too: the clock of their node may be ahead.
    pub(crate) async fn revoke_tokens(&self, user: &UserId) -> Result<(), Error> {
        let before = self.end_of_revocation().await?;
        self.store.call(|store| store.tokens.revoke(user, before)).await
    }

    /// Revokes a group in all rejoin tokens, as [`DurableGroups::revoke_tokens`] revokes those of a user.
    pub(crate) async fn revoke_group(&self, group: &GroupKey) -> Result<(), Error> {
        let before = self.end_of_revocation().await?;
        self.store.call(|store| store.tokens.revoke_group(group, before)).await
    }

    /// The time of issue from which tokens are not revoked.
    async fn end_of_revocation(&self) -> Result<SystemTime, Error> {
        let now = SystemTime::now();
        let has_peers = self.store.call(|store| store.leases.nodes()).await? > 1;
        Ok(if has_peers { now + CLOCK_TOLERANCE } else { now })
    }

    /// Writes to the store and reads memberships, or shares a check of the last second. The answer comes within a second.
    pub(crate) async fn check_store(&self) -> Result<(), Error> {
        let check = |answer| Check { answer };
        self.membership.ask(check).await.unwrap_or_else(|died| Err(Error::Unavailable(died.to_string())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        hub::tests::services,
        store::{Node, Process, Redemption, Verdict},
    };

    async fn redeem(durable: &DurableGroups, issued_at: SystemTime) -> Verdict {
        let token =
            Redemption { user: Some("ann".into()), issued_at, groups: Vec::new(), list_of: None, single_use: None };
        durable.store.call(|store| store.tokens.redeem(&token)).await.unwrap()
    }

    /// Another node can have issued a token before the revocation with a clock that is ahead.
    #[actix::test]
    async fn revocation_covers_fast_clocks_of_other_nodes() {
        let services = services(Vec::new());
        let (durable, ann) = (&services.durable, UserId::from("ann"));
        durable.check_store().await.unwrap();
        let in_5_s = SystemTime::now() + Duration::from_secs(5);
        durable.revoke_tokens(&ann).await.unwrap();
        assert_eq!(redeem(durable, in_5_s).await, Verdict::Accepted, "there is one node");
        let beta = Node { id: "beta".into(), incarnation: "1".into(), process: Process::current() };
        let term = Duration::from_secs(30);
        durable.store.call(|store| store.leases.renew(&beta, SystemTime::now(), term)).await.unwrap();
        durable.revoke_tokens(&ann).await.unwrap();
        assert_eq!(redeem(durable, in_5_s).await, Verdict::Revoked);
        assert_eq!(redeem(durable, in_5_s + CLOCK_TOLERANCE).await, Verdict::Accepted);
    }
}
