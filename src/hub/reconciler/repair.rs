//! Compares users with the store, and repairs the live memberships that differ.
//!
//! Order: users are first compared without locks. What differs is decided again with the locks of its users and groups,
//! so that a change that is running is not taken for a difference.

use std::{collections::BTreeSet, time::Duration};

use futures_util::{StreamExt, future::ready, stream};
use tokio::time::timeout;

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

/// The maximum number of connections that are asked at a time. So many cost little memory, and those whose threads are
/// blocked leave places for the others.
const MAX_INSPECTED: usize = 1_000;

/// The maximum number of memberships that are locked and repaired at a time: other changes of them wait.
const MAX_LOCKED: usize = 256;

/// The maximum time to wait for a connection. Locks are held as long. A connection whose thread is blocked by code of the
/// application is left to the next pass.
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
    results_in_time(inspected, MAX_INSPECTED).await.into_iter().flatten().collect()
}

/// Runs tasks, up to `limit` at a time, and returns the results of those that end in time. The others are dropped.
async fn results_in_time<F: Future>(tasks: impl Iterator<Item = F>, limit: usize) -> Vec<F::Output> {
    let tasks = Vec::from_iter(tasks.map(|task| timeout(MAX_WAIT, task)));
    stream::iter(tasks).buffer_unordered(limit).filter_map(|result| ready(result.ok())).collect().await
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
    results_in_time(repairs, MAX_LOCKED).await.into_iter().flatten().for_each(|repaired| reconciled += repaired);
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
