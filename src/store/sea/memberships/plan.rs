//! Decides which rows a list of changes inserts and deletes, and the effect of each change. It is pure.

use std::{
    collections::{BTreeMap, HashSet},
    mem,
};

use crate::{
    ids::{GroupName, HubName, UserId},
    store::{Change, MembershipChange, MembershipOp},
};

/// The key of a membership. Keys of one user on one hub are next to each other in their order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Key {
    pub(super) hub: HubName,
    pub(super) user: UserId,
    pub(super) group: GroupName,
}

impl Key {
    pub(super) fn of(change: &MembershipChange) -> Self {
        let MembershipChange { owner, group, .. } = change;
        Self { hub: owner.hub.clone(), user: owner.user.clone(), group: group.clone() }
    }
}

/// What a list of changes does. Each list of keys is sorted and has no key twice.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    /// The effect of each change, in their order.
    pub(super) effects: Vec<Change>,
    /// The memberships to insert.
    pub(super) added: Vec<Key>,
    /// The memberships to delete.
    pub(super) removed: Vec<Key>,
    /// The memberships that the last change of each removes, stored or not.
    pub(super) absent: Vec<Key>,
}

impl Plan {
    /// Applies `changes` in order to the memberships that are `stored`.
    pub(super) fn new(stored: &HashSet<Key>, changes: &[MembershipChange]) -> Self {
        let mut members: BTreeMap<Key, bool> = BTreeMap::new();
        let mut plan = Self::default();
        for change in changes {
            let is_member = members.entry(Key::of(change)).or_insert_with_key(|key| stored.contains(key));
            let becomes_member = change.op == MembershipOp::Add;
            plan.effects.push(Change::applied_if(mem::replace(is_member, becomes_member) != becomes_member));
        }
        for (key, is_member) in members {
            match (stored.contains(&key), is_member) {
                (false, true) => plan.added.push(key),
                (true, true) => {}
                (true, false) => {
                    plan.removed.push(key.clone());
                    plan.absent.push(key);
                }
                (false, false) => plan.absent.push(key),
            }
        }
        plan
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Owner;

    fn key(user: &str) -> Key {
        Key { hub: "chat".into(), user: user.into(), group: "room".into() }
    }

    /// `+a` adds user a to the group, `-a` removes it. The memberships of `stored` are in the store.
    fn plan(stored: &str, changes: &str) -> Plan {
        let change = |text: &str| {
            let owner = Owner { hub: "chat".into(), user: text[1..].into() };
            let op = if text.starts_with('+') { MembershipOp::Add } else { MembershipOp::Remove };
            MembershipChange { owner, group: "room".into(), op }
        };
        let stored = stored.split_whitespace().map(key).collect();
        Plan::new(&stored, &changes.split_whitespace().map(change).collect::<Vec<_>>())
    }

    #[test]
    fn effects_follow_the_order_of_changes() {
        use Change::{Applied, Unchanged};
        assert_eq!(
            plan("a", "+a -a -a +b +b -c").effects,
            [Unchanged, Applied, Unchanged, Applied, Unchanged, Unchanged]
        );
    }

    #[test]
    fn last_change_decides_about_the_rows() {
        let plan = plan("a b", "-a +a -b +c -c +d -e");
        assert_eq!((plan.added, plan.removed), (vec![key("d")], vec![key("b")]));
        assert_eq!(plan.absent, [key("b"), key("c"), key("e")]);
    }
}
