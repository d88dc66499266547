//! An in-memory store: implements the whole contract of [`Store`](super::Store) and is empty after a restart.
//!
//! Tests, examples and applications without a database use it, and it is the reference for other stores. It lives as
//! long as its owner; the engine shares one. It never waits: each method is one step under one lock, so no caller sees
//! a partial change.
//!
//! It keeps only data that a method can return or depend on.

use std::{
    collections::{BTreeSet, HashMap, hash_map::Entry},
    hash::Hash,
    ops::Bound,
    sync::{Mutex, MutexGuard},
    time::{Duration, SystemTime},
};

use super::{
    Change, Error, GroupList, Holder, LeaseChange, LeaseRecord, LeaseStore, MAX_GROUP_LISTS, Members, MembershipChange,
    MembershipOp, MembershipStore, Node, Owner, Page, Redeemed, Redemption, Renewal, TokenStore, TokenUse,
    UserActivity, Verdict, tokens::groups_of,
};
use crate::ids::{ConnectionId, GroupKey, GroupName, HubName, NodeId, UserId};

mod leases;

use leases::Leases;

/// A store in memory.
#[derive(Debug, Default)]
pub struct MemoryStore {
    tables: Mutex<Tables>,
}

impl MemoryStore {
    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().expect("no method panics while it holds the lock")
    }
}

impl MembershipStore for MemoryStore {
    async fn groups_of(&self, owners: &[Owner]) -> Result<Vec<Vec<GroupName>>, Error> {
        let tables = self.tables();
        Ok(owners.iter().map(|owner| tables.groups_of(owner)).collect())
    }

    async fn apply(&self, changes: &[MembershipChange]) -> Result<Vec<Change>, Error> {
        let mut tables = self.tables();
        Ok(changes.iter().map(|change| tables.apply(change)).collect())
    }

    async fn members(&self, hub: &HubName, group: &GroupName, page: &Page) -> Result<Members, Error> {
        Ok(self.tables().members(&key(hub, group), page))
    }
}

impl LeaseStore for MemoryStore {
    async fn lease(&self, node: &Node, changes: &[LeaseChange]) -> Result<(), Error> {
        self.tables().leases.write(node, changes);
        Ok(())
    }

    async fn renew(&self, node: &Node, now: SystemTime, term: Duration) -> Result<Renewal, Error> {
        Ok(self.tables().leases.renew(node, now, term))
    }

    async fn release(&self, node: &Node) -> Result<(), Error> {
        self.tables().leases.release(node);
        Ok(())
    }

    async fn nodes(&self) -> Result<u64, Error> {
        Ok(self.tables().leases.node_count())
    }

    async fn find(&self, connection: &ConnectionId) -> Result<Option<LeaseRecord>, Error> {
        Ok(self.tables().leases.find(connection))
    }

    async fn activity(&self, users: &[UserId], now: SystemTime) -> Result<Vec<UserActivity>, Error> {
        Ok(self.tables().leases.activity(users, now))
    }
}

impl TokenStore for MemoryStore {
    async fn redeem_all(&self, redemptions: &[Redemption]) -> Result<Vec<Redeemed>, Error> {
        let mut tables = self.tables();
        Ok(redemptions.iter().map(|redemption| tables.redeem(redemption)).collect())
    }

    async fn revoke(&self, user: &UserId, before: SystemTime) -> Result<(), Error> {
        let mut tables = self.tables();
        revoke(&mut tables.revoked_before, user, before);
        Ok(())
    }

    async fn revoke_group(&self, group: &GroupKey, before: SystemTime) -> Result<(), Error> {
        let mut tables = self.tables();
        revoke(&mut tables.group_revoked_before, group, before);
        Ok(())
    }

    async fn save_lists(&self, lists: &[GroupList]) -> Result<u64, Error> {
        let mut tables = self.tables();
        // Order: as in a database, deletions make room first.
        let last: HashMap<_, _> = lists.iter().map(|list| (&list.family, list)).collect();
        let is_current = |list: &&GroupList| {
            tables.group_lists.get(&list.family).is_none_or(|stored| stored.written_at <= list.written_at)
        };
        let last: Vec<_> = last.into_values().filter(is_current).collect();
        let (kept, deleted): (Vec<_>, Vec<_>) = last.into_iter().partition(|list| !list.groups.is_empty());
        deleted.iter().for_each(|list| drop(tables.group_lists.remove(&list.family)));
        Ok(kept.into_iter().map(|list| u64::from(!tables.save_list(list))).sum())
    }

    async fn release_holders(&self, node: &NodeId, connections: &[ConnectionId]) -> Result<(), Error> {
        let mut tables = self.tables();
        connections.iter().for_each(|connection| tables.release_holder(node, connection));
        Ok(())
    }

    async fn delete_expired(&self, now: SystemTime, term: Duration, lifetime: Duration) -> Result<(), Error> {
        self.tables().delete_expired(now, term, lifetime);
        Ok(())
    }
}

/// The latest use of a token of a family.
#[derive(Debug)]
struct LatestUse {
    epoch: u64,
    expires_at: SystemTime,
    /// `None` if the connection has ended.
    holder: Option<Holder>,
}

#[derive(Debug, Default)]
struct Tables {
    /// Invariant: `groups` and `members` hold the same memberships, and neither holds an empty set.
    groups: HashMap<Owner, BTreeSet<GroupName>>,
    members: HashMap<GroupKey, BTreeSet<UserId>>,
    leases: Leases,
    token_uses: HashMap<String, LatestUse>,
    /// The families whose token an open connection holds. Invariant: `token_uses` has the family and the holder.
    held: HashMap<ConnectionId, String>,
    /// The clock by which uses and revocations expire. It follows the slowest node.
    clock: Option<SystemTime>,
    /// The longest lifetime of a token that a node has had.
    longest_lifetime: Duration,
    revoked_before: HashMap<UserId, SystemTime>,
    group_revoked_before: HashMap<GroupKey, SystemTime>,
    group_lists: HashMap<String, GroupList>,
}

impl Tables {
    fn groups_of(&self, owner: &Owner) -> Vec<GroupName> {
        self.groups.get(owner).into_iter().flatten().cloned().collect()
    }

    fn apply(&mut self, MembershipChange { owner, group, op }: &MembershipChange) -> Change {
        match op {
            MembershipOp::Add => self.add(owner, group),
            MembershipOp::Remove => self.remove(owner, group),
        }
    }

    fn add(&mut self, owner: &Owner, group: &GroupName) -> Change {
        self.members.entry(key(&owner.hub, group)).or_default().insert(owner.user.clone());
        Change::applied_if(self.groups.entry(owner.clone()).or_default().insert(group.clone()))
    }

    fn remove(&mut self, owner: &Owner, group: &GroupName) -> Change {
        remove_from_set(&mut self.members, key(&owner.hub, group), &owner.user);
        Change::applied_if(remove_from_set(&mut self.groups, owner.clone(), group))
    }

    fn members(&self, key: &GroupKey, page: &Page) -> Members {
        let Some(all) = self.members.get(key) else { return Members { total: Some(0), ..Members::default() } };
        let after = page.after.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
        let limit = usize::try_from(page.limit).unwrap_or(usize::MAX);
        let users = all.range::<UserId, _>((after, Bound::Unbounded)).take(limit).cloned().collect();
        Members { users, total: Some(all.len() as u64) }
    }

    /// Records that a connection of `node` no longer holds a token.
    fn release_holder(&mut self, node: &NodeId, connection: &ConnectionId) {
        let held = self.held.get(connection).and_then(|family| self.token_uses.get_mut(family));
        if let Some(latest) = held.filter(|latest| latest.holder.as_ref().is_some_and(|it| it.node == *node)) {
            latest.holder = None;
            self.held.remove(connection);
        }
    }

    fn delete_expired(&mut self, now: SystemTime, term: Duration, lifetime: Duration) {
        let latest = self.clock.and_then(|clock| clock.checked_add(term));
        let clock = latest.map_or(now, |latest| latest.min(now));
        self.clock = Some(clock);
        self.token_uses.retain(|_, latest| latest.expires_at >= clock);
        self.group_lists.retain(|_, list| list.expires_at >= clock);
        let token_uses = &self.token_uses;
        self.held.retain(|_, family| token_uses.contains_key(family));
        self.longest_lifetime = self.longest_lifetime.max(lifetime);
        if let Some(oldest) = clock.checked_sub(self.longest_lifetime) {
            self.revoked_before.retain(|_, before| *before >= oldest);
            self.group_revoked_before.retain(|_, before| *before >= oldest);
        }
    }

    fn redeem(&mut self, redemption: &Redemption) -> Redeemed {
        let is_before = |before: Option<&SystemTime>| before.is_some_and(|before| redemption.issued_at < *before);
        let verdict = match (&redemption.user, &redemption.single_use) {
            (Some(user), _) if is_before(self.revoked_before.get(user)) => Verdict::Revoked,
            (_, Some(token_use)) => self.use_token(token_use),
            (_, None) => Verdict::Accepted,
        };
        if verdict != Verdict::Accepted {
            return Redeemed::refused(verdict);
        }
        let list = redemption.list_of.as_ref().and_then(|family| self.group_lists.get(family)).cloned();
        let revoked = groups_of(redemption, list.as_ref());
        let revoked = revoked.filter(|(group, at)| {
            let before = self.group_revoked_before.get(&***group);
            before.is_some_and(|before| at < before)
        });
        Redeemed { revoked_groups: revoked.map(|(group, _)| group.clone()).collect(), verdict, list }
    }

    /// Stores a list, if there is room for it.
    fn save_list(&mut self, list: &GroupList) -> bool {
        let is_full = self.group_lists.len() as u64 >= MAX_GROUP_LISTS;
        let is_stored = !is_full || self.group_lists.contains_key(&list.family);
        if is_stored {
            self.group_lists.insert(list.family.clone(), list.clone());
        }
        is_stored
    }

    fn use_token(&mut self, token_use: &TokenUse) -> Verdict {
        let TokenUse { family, epoch, holder, ended, .. } = token_use;
        let latest = self.token_uses.get(family);
        if let Some(latest) = latest.filter(|latest| *epoch <= latest.epoch) {
            match &latest.holder {
                _ if *epoch < latest.epoch => return Verdict::Replayed,
                Some(holder) if ended.as_ref() != Some(holder) => return Verdict::InUse(holder.clone()),
                Some(_) | None => {}
            }
        }
        let expires_at = latest.map_or(token_use.expires_at, |latest| latest.expires_at.max(token_use.expires_at));
        if let Some(previous) = latest.and_then(|latest| latest.holder.as_ref()) {
            self.held.remove(&previous.connection);
        }
        self.held.insert(holder.connection.clone(), family.clone());
        let latest = LatestUse { epoch: *epoch, expires_at, holder: Some(holder.clone()) };
        self.token_uses.insert(family.clone(), latest);
        Verdict::Accepted
    }
}

fn revoke<K: Clone + Eq + Hash>(revocations: &mut HashMap<K, SystemTime>, key: &K, before: SystemTime) {
    let revoked = revocations.entry(key.clone()).or_insert(before);
    *revoked = before.max(*revoked);
}

/// Removes `item` from the set under `key`, and the set if it is empty then. Returns whether `item` was in it.
fn remove_from_set<K: Eq + Hash, T: Ord>(sets: &mut HashMap<K, BTreeSet<T>>, key: K, item: &T) -> bool {
    let Entry::Occupied(mut set) = sets.entry(key) else { return false };
    let removed = set.get_mut().remove(item);
    if set.get().is_empty() {
        set.remove();
    }
    removed
}

fn key(hub: &HubName, name: &GroupName) -> GroupKey {
    GroupKey { hub: hub.clone(), name: name.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    crate::store_conformance!(MemoryStore::default());
}
