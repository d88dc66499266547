//! The store that keeps nothing: complete, quick, and empty again after a restart.
//!
//! Role: what tests, examples and a service without a database run on; the measure of the others.
//! Life: as long as its owner; the engine shares one.
//! Neighbours: none; it is a [`Store`] and knows no more than the contract says.
//! Never: it does not wait. Each verb is one step under one lock, so none is ever seen half done.
//!
//! What no verb can ask for is not kept: of a lease only who holds it.

use std::{
    collections::{BTreeSet, HashMap, hash_map::Entry},
    hash::Hash,
    ops::Bound,
    sync::{Mutex, MutexGuard},
    time::{Duration, SystemTime},
};

use super::{Change, Error, LeaseChange, Members, Node, Owner, Page, Redemption, Spend, Store, Verdict, made};
use crate::ids::{ConnectionId, GroupKey, GroupName, HubName, NodeId, UserId};

/// Everything in memory.
#[derive(Debug, Default)]
pub struct MemoryStore {
    tables: Mutex<Tables>,
}

impl MemoryStore {
    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().expect("no verb panics while it holds the tables")
    }
}

impl Store for MemoryStore {
    async fn groups_of(&self, owners: &[Owner]) -> Result<Vec<Vec<GroupName>>, Error> {
        let tables = self.tables();
        Ok(owners.iter().map(|owner| tables.groups_of(owner)).collect())
    }

    async fn add(&self, owner: &Owner, group: &GroupName) -> Result<Change, Error> {
        Ok(self.tables().add(owner, group))
    }

    async fn remove(&self, owner: &Owner, group: &GroupName) -> Result<Change, Error> {
        Ok(self.tables().remove(owner, group))
    }

    async fn members(&self, hub: &HubName, group: &GroupName, page: &Page) -> Result<Members, Error> {
        Ok(self.tables().members(&key(hub, group), page))
    }

    async fn lease(&self, node: &Node, changes: &[LeaseChange]) -> Result<(), Error> {
        self.tables().lease(node, changes);
        Ok(())
    }

    async fn renew(&self, node: &Node, now: SystemTime, term: Duration) -> Result<u64, Error> {
        Ok(self.tables().renew(node, now, term))
    }

    async fn redeem(&self, redemption: &Redemption) -> Result<Verdict, Error> {
        Ok(self.tables().redeem(redemption))
    }

    async fn revoke(&self, user: &UserId, before: SystemTime) -> Result<(), Error> {
        self.tables().revoke(user, before);
        Ok(())
    }
}

/// When something runs out; what lies past the end of the clock never does.
type Until = Option<SystemTime>;

#[derive(Debug, Default)]
struct Tables {
    /// Invariant: says the same as `members`, and neither holds an empty set.
    groups: HashMap<Owner, BTreeSet<GroupName>>,
    members: HashMap<GroupKey, BTreeSet<UserId>>,
    /// Invariant: the node of every lease is in `nodes`.
    leases: HashMap<ConnectionId, Node>,
    nodes: HashMap<NodeId, Until>,
    spent: HashMap<(String, u64), SystemTime>,
    revoked: HashMap<UserId, SystemTime>,
}

impl Tables {
    fn groups_of(&self, owner: &Owner) -> Vec<GroupName> {
        self.groups.get(owner).into_iter().flatten().cloned().collect()
    }

    fn add(&mut self, owner: &Owner, group: &GroupName) -> Change {
        self.members.entry(key(&owner.hub, group)).or_default().insert(owner.user.clone());
        made(self.groups.entry(owner.clone()).or_default().insert(group.clone()))
    }

    fn remove(&mut self, owner: &Owner, group: &GroupName) -> Change {
        take(&mut self.members, key(&owner.hub, group), &owner.user);
        made(take(&mut self.groups, owner.clone(), group))
    }

    fn members(&self, key: &GroupKey, page: &Page) -> Members {
        let Some(all) = self.members.get(key) else { return Members::default() };
        let after = page.after.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
        let limit = usize::try_from(page.limit).unwrap_or(usize::MAX);
        let users = all.range::<UserId, _>((after, Bound::Unbounded)).take(limit).cloned().collect();
        Members { users, total: all.len() as u64 }
    }

    fn lease(&mut self, node: &Node, changes: &[LeaseChange]) {
        self.nodes.entry(node.id.clone()).or_insert(Some(SystemTime::UNIX_EPOCH));
        for change in changes {
            match change {
                LeaseChange::Opened(lease) => {
                    self.leases.insert(lease.connection.clone(), node.clone());
                }
                LeaseChange::Closed(connection) => self.close(node, connection),
            }
        }
    }

    fn close(&mut self, node: &Node, connection: &ConnectionId) {
        if self.leases.get(connection) == Some(node) {
            self.leases.remove(connection);
        }
    }

    fn renew(&mut self, node: &Node, now: SystemTime, term: Duration) -> u64 {
        self.nodes.insert(node.id.clone(), now.checked_add(term));
        self.nodes.retain(|_, until| until.is_none_or(|until| until > now));
        self.spent.retain(|_, expires| *expires >= now);
        self.bury(node)
    }

    /// Removes the leases that no living process holds.
    fn bury(&mut self, node: &Node) -> u64 {
        let before = self.leases.len();
        let nodes = &self.nodes;
        self.leases.retain(|_, holder| nodes.contains_key(&holder.id) && (holder.id != node.id || holder == node));
        (before - self.leases.len()) as u64
    }

    fn redeem(&mut self, redemption: &Redemption) -> Verdict {
        if self.is_revoked(redemption) {
            return Verdict::Revoked;
        }
        redemption.once.as_ref().map_or(Verdict::Accepted, |spend| self.spend(spend))
    }

    fn is_revoked(&self, redemption: &Redemption) -> bool {
        let before = redemption.user.as_ref().and_then(|user| self.revoked.get(user));
        before.is_some_and(|before| redemption.issued < *before)
    }

    fn spend(&mut self, spend: &Spend) -> Verdict {
        match self.spent.entry((spend.family.clone(), spend.epoch)) {
            Entry::Occupied(_) => Verdict::Replayed,
            Entry::Vacant(place) => {
                place.insert(spend.expires);
                Verdict::Accepted
            }
        }
    }

    fn revoke(&mut self, user: &UserId, before: SystemTime) {
        let revoked = self.revoked.entry(user.clone()).or_insert(before);
        *revoked = before.max(*revoked);
    }
}

/// Takes `item` out of the set under `key`, and the set with its last item.
fn take<K: Eq + Hash, T: Ord>(sets: &mut HashMap<K, BTreeSet<T>>, key: K, item: &T) -> bool {
    let Entry::Occupied(mut set) = sets.entry(key) else { return false };
    let taken = set.get_mut().remove(item);
    if set.get().is_empty() {
        set.remove();
    }
    taken
}

fn key(hub: &HubName, name: &GroupName) -> GroupKey {
    GroupKey { hub: hub.clone(), name: name.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    crate::store_conformance!(MemoryStore::default());
}
