//! Compares users with the store, and repairs the live memberships that differ.
//!
//! Order: users are first compared without locks. What differs is decided again with the locks of its users and groups,
//! so that a change that is running is not taken for a difference.

use std::{collections::BTreeSet, time::Duration};

use futures_util::{StreamExt, stream};
use tokio::{
    pin,
    time::{Instant, timeout_at},
};

use super::{
    Reconciled, UserId,
    differences::{LiveUser, StoredGroups, differences, owners},
};
use crate::{
    connections::{JoinCause, LeaveCause},
    groups,
    hub::services::HubServices,
    ids::GroupKey,
    store::{Error, MembershipChange, Owner},
};

/// The number of connections that are asked, and of memberships that are repaired, at a time.
const MAX_CONCURRENT: usize = 16;

/// The maximum number of memberships that are locked at a time: other changes of them wait.
const MAX_LOCKED: usize = 256;

/// The maximum time to wait for connections, in which locks are held too. A connection whose thread is blocked by code of
/// the application is left to the next pass.
const MAX_WAIT: Duration = Duration::from_secs(1);

/// Compares the connections of `users` with the store, by one query, and repairs the differences.
pub(super) async fn reconcile(services: &HubServices, users: &[UserId]) -> Result<Reconciled, Error> {
    let live = inspect(services, users).await;
    let stored = load(services, owners(&live)).await?;
    let differences = Vec::from_iter(differences(&live, &stored));
    let mut reconciled = Reconciled::default();
    for differences in differences.chunks(MAX_LOCKED) {
        reconciled += repair(services, differences).await?;
    }
    Ok(reconciled)
}

async fn inspect(services: &HubServices, users: &[UserId]) -> Vec<LiveUser> {
    let handles = users.iter().flat_map(|user| services.connections.of_user_on_any_hub(user));
    let inspected = handles.map(async |handle| Some((handle.user.clone()?, handle.inspect_durable().await?)));
    let mut live = Vec::new();
    for_each_in_time(inspected, |inspected| live.extend(inspected)).await;
    live
}

/// Runs tasks, some at a time, and passes on the results of those that end in time. Drops the others.
async fn for_each_in_time<F: Future>(tasks: impl Iterator<Item = F>, mut on_result: impl FnMut(F::Output)) {
    let deadline = Instant::now() + MAX_WAIT;
    let results = stream::iter(Vec::from_iter(tasks)).buffer_unordered(MAX_CONCURRENT);
    pin!(results);
    while let Ok(Some(result)) = timeout_at(deadline, results.next()).await {
        on_result(result);
    }
}

async fn load(services: &HubServices, owners: BTreeSet<Owner>) -> Result<StoredGroups, Error> {
    let owners = Vec::from_iter(owners);
    if owners.is_empty() {
        return Ok(StoredGroups::default());
    }
    let groups = services.durable.store.call(|store| store.memberships.groups_of(&owners)).await?;
    Ok(StoredGroups::new(owners, groups))
}

/// Makes the live memberships agree with the store. The store decides, because a running change can have ended since the
/// differences were found.
async fn repair(services: &HubServices, differences: &[MembershipChange]) -> Result<Reconciled, Error> {
    let _locks = services.durable.lock_all(differences).await?;
    let stored = load(services, differences.iter().map(|difference| difference.owner.clone()).collect()).await?;
    let repairs = differences.iter().map(|difference| repair_one(services, difference, &stored));
    let mut reconciled = Reconciled::default();
    // The next pass repeats a repair that a crash of the group has interrupted.
    for_each_in_time(repairs, |repaired| reconciled += repaired.unwrap_or_default()).await;
    Ok(reconciled)
}

async fn repair_one(
    services: &HubServices,
    MembershipChange { owner, group, .. }: &MembershipChange,
    stored: &StoredGroups,
) -> Result<Reconciled, groups::Error> {
    let (router, metrics, key) = (&services.router, &services.metrics, GroupKey::new(&owner.hub, group));
    match stored.contains(owner, group) {
        Some(true) => {
            let joined = router.join_user(&owner.user, &key, JoinCause::Repair).await? as u64;
            metrics.reconciled_joins.add(joined);
            Ok(Reconciled { joined, left: 0 })
        }
        Some(false) => {
            let left = router.leave_user(&owner.user, &key, LeaveCause::Repair).await? as u64;
            metrics.reconciled_leaves.add(left);
            Ok(Reconciled { joined: 0, left })
        }
        None => Ok(Reconciled::default()),
    }
}
