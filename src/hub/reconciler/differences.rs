//! The differences between stored and live durable memberships. Pure.

use std::collections::{BTreeSet, HashMap, HashSet};

use crate::{
    connections::DurableSnapshot,
    ids::{GroupName, UserId},
    store::{MembershipChange, MembershipOp, Owner},
};

/// The durable groups of owners.
#[derive(Debug, Default)]
pub(super) struct StoredGroups(HashMap<Owner, HashSet<GroupName>>);

impl StoredGroups {
    /// Each of `owners` with its groups.
    pub(super) fn new(owners: Vec<Owner>, groups: Vec<Vec<GroupName>>) -> Self {
        Self(owners.into_iter().zip(groups).map(|(owner, groups)| (owner, groups.into_iter().collect())).collect())
    }

    /// Whether the user is a durable member; `None` if the store was not asked for its groups.
    pub(super) fn contains(&self, owner: &Owner, group: &GroupName) -> Option<bool> {
        self.0.get(owner).map(|groups| groups.contains(group))
    }

    fn of(&self, owner: &Owner) -> impl Iterator<Item = &GroupName> {
        self.0.get(owner).into_iter().flatten()
    }
}

/// A connection of a user.
pub(super) type LiveUser = (UserId, DurableSnapshot);

/// The owners whose groups decide about these connections: the user on each hub of the connection, and on the hubs of
/// its groups.
pub(super) fn owners(live: &[LiveUser]) -> BTreeSet<Owner> {
    let of_connection = |(user, snapshot): &LiveUser| {
        let hubs = snapshot.hubs.iter().chain(snapshot.groups.iter().map(|key| &key.hub));
        hubs.map(|hub| Owner { hub: hub.clone(), user: user.clone() }).collect::<Vec<_>>()
    };
    live.iter().flat_map(of_connection).collect()
}

/// The changes after which the live memberships agree with the store, each once. A connection joins groups of its
/// current hubs only.
pub(super) fn differences(live: &[LiveUser], stored: &StoredGroups) -> HashSet<MembershipChange> {
    let mut changes = HashSet::new();
    for (user, DurableSnapshot { hubs, groups }) in live {
        let owner = |hub: &_| Owner { hub: Clone::clone(hub), user: user.clone() };
        let known: HashSet<_> = groups.iter().map(|key| (&key.hub, &key.name)).collect();
        for hub in hubs {
            let owner = owner(hub);
            let missing = stored.of(&owner).filter(|group| !known.contains(&(hub, *group)));
            changes.extend(missing.map(|group| change(&owner, group, MembershipOp::Add)));
        }
        for key in groups {
            let owner = owner(&key.hub);
            if stored.contains(&owner, &key.name) == Some(false) {
                changes.insert(change(&owner, &key.name, MembershipOp::Remove));
            }
        }
    }
    changes
}

fn change(owner: &Owner, group: &GroupName, op: MembershipOp) -> MembershipChange {
    MembershipChange { owner: owner.clone(), group: group.clone(), op }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::GroupKey;

    fn owner(hub: &str, user: &str) -> Owner {
        Owner { hub: hub.into(), user: user.into() }
    }

    /// A connection on these hubs, in groups written `hub/group`.
    fn live(user: &str, hubs: &[&str], groups: &[&str]) -> LiveUser {
        let key = |group: &&str| {
            let (hub, name) = group.split_once('/').unwrap();
            GroupKey::new(&hub.into(), &name.into())
        };
        let hubs = hubs.iter().map(|hub| (*hub).into()).collect();
        (user.into(), DurableSnapshot { hubs, groups: groups.iter().map(key).collect() })
    }

    fn stored(groups: &[(&str, &str, &[&str])]) -> StoredGroups {
        let owners = groups.iter().map(|(hub, user, _)| owner(hub, user)).collect();
        let names = groups.iter().map(|(_, _, groups)| groups.iter().map(|group| (*group).into()).collect()).collect();
        StoredGroups::new(owners, names)
    }

    /// The differences as `user+hub/group` and `user-hub/group`, sorted.
    fn texts(live: &[LiveUser], stored: &StoredGroups) -> Vec<String> {
        let text = |MembershipChange { owner, group, op }: &MembershipChange| {
            let sign = if *op == MembershipOp::Add { '+' } else { '-' };
            format!("{}{sign}{}/{group}", owner.user, owner.hub)
        };
        let mut texts: Vec<_> = differences(live, stored).iter().map(text).collect();
        texts.sort_unstable();
        texts
    }

    #[test]
    fn agreeing_memberships_have_no_differences() {
        let store = stored(&[("chat", "ann", &["a", "b"]), ("chat", "bob", &[])]);
        let live = [live("ann", &["chat"], &["chat/a", "chat/b"]), live("bob", &["chat"], &[])];
        assert_eq!(texts(&live, &store), [""; 0]);
    }

    #[test]
    fn missing_and_ended_memberships_are_found() {
        let store = stored(&[("chat", "ann", &["a", "b"]), ("chat", "bob", &["a"])]);
        let live = [live("ann", &["chat"], &["chat/b", "chat/c"]), live("bob", &["chat"], &[])];
        assert_eq!(texts(&live, &store), ["ann+chat/a", "ann-chat/c", "bob+chat/a"]);
    }

    #[test]
    fn difference_of_several_connections_counts_once() {
        let store = stored(&[("chat", "ann", &["a"])]);
        let live = [
            live("ann", &["chat"], &[]),
            live("ann", &["chat"], &["chat/a", "chat/z"]),
            live("ann", &["chat"], &["chat/z"]),
        ];
        assert_eq!(texts(&live, &store), ["ann+chat/a", "ann-chat/z"]);
    }

    #[test]
    fn groups_of_other_hubs_are_left_but_not_joined() {
        let ann = live("ann", &["chat"], &["news/a", "news/old"]);
        assert_eq!(owners(std::slice::from_ref(&ann)), [owner("chat", "ann"), owner("news", "ann")].into());
        let store = stored(&[("chat", "ann", &[]), ("news", "ann", &["a", "new"])]);
        assert_eq!(texts(&[ann], &store), ["ann-news/old"]);
    }

    #[test]
    fn unknown_owner_has_no_differences() {
        assert_eq!(texts(&[live("ann", &["chat"], &["chat/a"])], &StoredGroups::default()), [""; 0]);
    }
}
