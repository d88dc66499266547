//! The groups of a client, divided into those that its tokens list and the rest. A change costs the same however many
//! groups there are.
//!
//! Groups are listed in the order in which they were added, as long as there is room. A change of the rest needs no new
//! token, so a client that joins more and more groups does not get a token for each.

use std::{collections::BTreeSet, hash::BuildHasher, sync::Arc};

use foldhash::quality::FixedState;

use super::{TokenGroups, encoding};
use crate::ids::GroupKey;

/// The number of groups that are tried for the room of a listed group that was removed.
const MAX_TRIED: usize = 16;

/// The maximum length of a stored list, in bytes of JSON: 2,500 groups with names of 100 characters.
const MAX_STORED_BYTES: usize = 256 * 1024;

/// The part of the stated number of omitted groups by which the real number may differ: an eighth.
const TOLERANCE: usize = 8;

/// Why a client is in a group; see [`TokenGroups`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum ListKind {
    Joined,
    Durable,
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub(crate) struct GroupLists {
    joined: List,
    durable: List,
}

#[derive(Debug)]
struct List {
    listed: BTreeSet<Arc<GroupKey>>,
    omitted: BTreeSet<Arc<GroupKey>>,
    /// The bytes of JSON that are left for `listed`.
    capacity: usize,
    fingerprint: Fingerprint,
}

impl Default for List {
    fn default() -> Self {
        Self {
            listed: BTreeSet::new(),
            omitted: BTreeSet::new(),
            capacity: encoding::MAX_LIST_BYTES,
            fingerprint: Fingerprint::default(),
        }
    }
}

impl List {
    fn add(&mut self, key: &Arc<GroupKey>) {
        if encoding::take(&mut self.capacity, encoding::json_length(key)) {
            self.fingerprint.add(key);
            self.listed.insert(Arc::clone(key));
        } else {
            self.omitted.insert(Arc::clone(key));
        }
    }

    fn remove(&mut self, key: &Arc<GroupKey>) {
        if self.listed.remove(key) {
            self.fingerprint.remove(key);
            self.capacity += encoding::json_length(key);
            self.list_omitted();
        } else {
            self.omitted.remove(key);
        }
    }

    /// Lists omitted groups for which there is room now.
    fn list_omitted(&mut self) {
        let tried: Vec<_> = self.omitted.iter().take(MAX_TRIED).cloned().collect();
        for key in &tried {
            self.omitted.remove(key);
            // Adds it to the omitted ones again if there is no room.
            self.add(key);
        }
    }

    fn summary(&self) -> ListSummary {
        ListSummary { fingerprint: self.fingerprint, omitted: self.omitted.len() }
    }
}

impl GroupLists {
    fn list(&mut self, kind: ListKind) -> &mut List {
        match kind {
            ListKind::Joined => &mut self.joined,
            ListKind::Durable => &mut self.durable,
        }
    }

    /// Moves a group from one list to another. It must be in the former and not in the latter.
    pub(crate) fn move_group(&mut self, key: &Arc<GroupKey>, from: Option<ListKind>, to: Option<ListKind>) {
        if let Some(kind) = from {
            self.list(kind).remove(key);
        }
        if let Some(kind) = to {
            self.list(kind).add(key);
        }
    }

    /// The groups that the connection was added to, sorted, as far as a stored list has room for them, and the number of the
    /// others.
    #[must_use]
    pub(crate) fn stored_list(&self) -> (Vec<Arc<GroupKey>>, usize) {
        let (mut capacity, joined) = (MAX_STORED_BYTES, &self.joined);
        let all = joined.listed.union(&joined.omitted);
        let listed: Vec<_> =
            all.filter(|key| encoding::take(&mut capacity, encoding::json_length(key))).cloned().collect();
        let omitted = joined.listed.len() + joined.omitted.len() - listed.len();
        (listed, omitted)
    }

    /// The listed groups of a kind, and the number of the others.
    pub(super) fn parts(&self, kind: ListKind) -> (&BTreeSet<Arc<GroupKey>>, usize) {
        let list = match kind {
            ListKind::Joined => &self.joined,
            ListKind::Durable => &self.durable,
        };
        (&list.listed, list.omitted.len())
    }

    /// All groups, whether tokens list them or not.
    #[cfg(test)]
    #[must_use]
    pub(crate) fn all(&self) -> TokenGroups {
        let groups = |list: &List| list.listed.union(&list.omitted).cloned().collect();
        TokenGroups { joined: groups(&self.joined), durable: groups(&self.durable) }
    }

    /// Identifies the content of a token with these lists.
    #[must_use]
    pub(crate) fn summary(&self) -> ListsSummary {
        ListsSummary { joined: self.joined.summary(), durable: self.durable.summary() }
    }
}

impl From<&TokenGroups> for GroupLists {
    fn from(TokenGroups { joined, durable }: &TokenGroups) -> Self {
        let mut lists = Self::default();
        joined.iter().for_each(|key| lists.joined.add(key));
        durable.iter().for_each(|key| lists.durable.add(key));
        lists
    }
}

/// Identifies the content of a token.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ListsSummary {
    joined: ListSummary,
    durable: ListSummary,
}

#[derive(Clone, Copy, Debug)]
struct ListSummary {
    fingerprint: Fingerprint,
    omitted: usize,
}

impl ListsSummary {
    /// Whether a token with this content is as good as one with the `current` content: it lists the same groups, and
    /// states about as many omitted ones.
    #[must_use]
    pub(crate) fn describes(&self, current: &Self) -> bool {
        self.joined.describes(&current.joined) && self.durable.describes(&current.durable)
    }
}

impl ListSummary {
    fn describes(&self, current: &Self) -> bool {
        let is_complete = |summary: &Self| summary.omitted == 0;
        self.fingerprint == current.fingerprint
            && is_complete(self) == is_complete(current)
            && self.omitted.abs_diff(current.omitted) <= self.omitted / TOLERANCE
    }
}

/// Identifies a set of groups. Different sets have the same fingerprint with a probability of 2⁻¹²⁸; a client that
/// provokes it only keeps an outdated token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Fingerprint([u64; 2]);

impl Fingerprint {
    fn add(&mut self, key: &GroupKey) {
        self.change(key, u64::wrapping_add);
    }

    fn remove(&mut self, key: &GroupKey) {
        self.change(key, u64::wrapping_sub);
    }

    fn change(&mut self, key: &GroupKey, combine: fn(u64, u64) -> u64) {
        for (seed, part) in (1..).zip(&mut self.0) {
            *part = combine(*part, FixedState::with_seed(seed).hash_one(key));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> Arc<GroupKey> {
        GroupKey::new(&"chat".into(), &name.into())
    }

    fn lists(joined: &[&str], durable: &[&str]) -> GroupLists {
        let keys = |names: &[&str]| names.iter().map(|name| key(name)).collect();
        (&TokenGroups { joined: keys(joined), durable: keys(durable) }).into()
    }

    fn describe_each_other(one: &GroupLists, other: &GroupLists) -> bool {
        let is_equal = one.summary().describes(&other.summary());
        assert_eq!(other.summary().describes(&one.summary()), is_equal);
        is_equal
    }

    /// The first groups fill the list, and these are omitted.
    fn with_omitted(count: usize) -> GroupLists {
        let mut lists = GroupLists::default();
        for filler in 0..16 {
            lists.joined.add(&key(&format!("{filler:-<1000}")));
        }
        assert_eq!(lists.joined.omitted.len(), 0);
        (0..count).for_each(|number| lists.joined.add(&key(&format!("{number:x<400}"))));
        assert_eq!(lists.joined.omitted.len(), count);
        lists
    }

    #[test]
    fn summary_depends_on_groups_and_kinds_only() {
        let two = lists(&["a", "b"], &[]);
        assert!(describe_each_other(&two, &lists(&["b", "a"], &[])));
        for other in [lists(&["a"], &[]), lists(&["a", "b", "c"], &[]), lists(&["a"], &["b"]), lists(&[], &["a", "b"])]
        {
            assert!(!describe_each_other(&two, &other));
        }
        let mut changed = lists(&["a", "c"], &["d"]);
        changed.move_group(&key("c"), Some(ListKind::Joined), None);
        changed.move_group(&key("d"), Some(ListKind::Durable), Some(ListKind::Joined));
        changed.move_group(&key("d"), Some(ListKind::Joined), None);
        changed.move_group(&key("b"), None, Some(ListKind::Joined));
        assert!(describe_each_other(&two, &changed));
    }

    #[test]
    fn stored_list_has_omitted_groups_up_to_its_limit() {
        let (listed, omitted) = with_omitted(5).stored_list();
        assert_eq!((listed.len(), omitted), (21, 0));
        assert!(listed.is_sorted());
        let (listed, omitted) = with_omitted(1_000).stored_list();
        assert_eq!(listed.len() + omitted, 1_016);
        assert!((500..700).contains(&listed.len()), "{}", listed.len());
    }

    #[test]
    fn change_of_many_omitted_groups_needs_no_token() {
        for (stated, current, is_good) in [
            (0, 1, false),
            (1, 0, false),
            (1, 2, false),
            (8, 9, true),
            (8, 10, false),
            (100, 112, true),
            (100, 87, false),
        ] {
            let (stated_lists, current_lists) = (with_omitted(stated), with_omitted(current));
            assert_eq!(stated_lists.summary().describes(&current_lists.summary()), is_good, "{stated} and {current}");
        }
    }

    #[test]
    fn removed_group_makes_room_for_omitted_ones() {
        let mut lists = with_omitted(5);
        let before = lists.summary();
        lists.joined.remove(&key(&format!("{0:-<1000}", 0)));
        assert_eq!((lists.joined.listed.len(), lists.joined.omitted.len()), (18, 2));
        assert!(!before.describes(&lists.summary()));
        assert_eq!(lists.all().joined.len(), 20);
        let used: usize = lists.joined.listed.iter().map(|key| encoding::json_length(key)).sum();
        assert_eq!(used + lists.joined.capacity, encoding::MAX_LIST_BYTES);
    }
}
