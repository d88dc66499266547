//! The pure half of a connection's memberships: which groups it is in, what is under way, and what it
//! hears of them.
//!
//! Answers of groups may arrive out of order; the later stamp holds. A group is listed here from the
//! moment a join is sent, so that whoever cleans up misses none.

use std::{
    collections::{BTreeMap, HashSet, VecDeque},
    sync::Arc,
};

use crate::{
    group::{Admission, Departure, Stamp},
    ids::GroupKey,
};

/// How many departures are remembered for a client that may not have heard of them; the oldest is forgotten
/// first. More than a client that is away for half a minute can miss.
const DEPARTURES: usize = 1_000;

/// The memberships of one connection.
#[derive(Clone, Debug, Default)]
pub(crate) struct Memberships {
    entries: BTreeMap<Arc<GroupKey>, Entry>,
    /// Groups that were left, and where in the sequence of what its client hears.
    departures: VecDeque<(u64, Arc<GroupKey>)>,
}

#[derive(Clone, Debug, Default)]
struct Entry {
    joins_under_way: u32,
    last: Stamp,
    is_member: bool,
    is_muted: bool,
    was_left: bool,
    /// Where in the sequence of what its client hears somebody had it join.
    heard_from: Option<u64>,
}

impl Entry {
    fn is_idle(&self) -> bool {
        self.joins_under_way == 0 && !self.is_member
    }
}

impl Memberships {
    /// Takes note of a join that is sent, and answers whether it should be: one that restores what
    /// somebody has asked to leave since should not.
    pub(crate) fn begin_join(&mut self, key: &Arc<GroupKey>, restores: bool) -> bool {
        let entry = self.entries.entry(Arc::clone(key)).or_default();
        if restores && entry.was_left {
            return false;
        }
        entry.joins_under_way += 1;
        entry.was_left = false;
        true
    }

    /// Takes note of the answer to a join.
    pub(crate) fn end_join(&mut self, key: &Arc<GroupKey>, admission: Option<Admission>) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        entry.joins_under_way -= 1;
        if let Some(Admission::Member(_, stamp)) = admission
            && stamp > entry.last
        {
            (entry.last, entry.is_member) = (stamp, true);
        }
        self.drop_idle(key);
    }

    /// Takes note that somebody has asked to leave; a restoration under way must not undo it.
    pub(crate) fn begin_leave(&mut self, key: &Arc<GroupKey>) {
        self.entries.entry(Arc::clone(key)).or_default().was_left = true;
    }

    /// Takes note of the answer to a leave; `None`: there was no such group.
    pub(crate) fn end_leave(&mut self, key: &Arc<GroupKey>, departure: Option<Departure>) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        match departure {
            Some(Departure { stamp, .. }) if stamp > entry.last => (entry.last, entry.is_member) = (stamp, false),
            Some(_) => {}
            None if entry.joins_under_way == 0 => entry.is_member = false,
            None => {}
        }
    }

    /// Forgets whom nobody waits for any more. While a restoration is under way it has to be remembered
    /// that somebody asked to leave.
    pub(crate) fn end_restoration(&mut self) {
        self.entries.retain(|_, entry| {
            entry.was_left = false;
            !entry.is_idle()
        });
    }

    fn drop_idle(&mut self, key: &Arc<GroupKey>) {
        if self.entries.get(key).is_some_and(|entry| entry.is_idle() && !entry.was_left) {
            self.entries.remove(key);
        }
    }

    /// True if the connection is, or was about to be, in the group that has died.
    pub(crate) fn concerns(&self, key: &Arc<GroupKey>) -> bool {
        self.entries.get(key).is_some_and(|entry| entry.is_member)
    }

    /// Takes note that the channel hears a group from `at` on, since somebody had it join.
    pub(crate) fn hear(&mut self, key: &Arc<GroupKey>, at: u64) {
        if let Some(entry) = self.entries.get_mut(key) {
            (entry.is_muted, entry.heard_from) = (false, Some(at));
        }
    }

    /// Takes note that the channel stopped hearing a group at `at`.
    pub(crate) fn forget(&mut self, key: &Arc<GroupKey>, at: u64) {
        self.departures.push_back((at, Arc::clone(key)));
        if self.departures.len() > DEPARTURES {
            self.departures.pop_front();
        }
    }

    /// Corrects what a client claims by what it cannot have heard of yet: groups that it joined or left at
    /// or after its `cursor`.
    pub(crate) fn correct(&self, claimed: Vec<Arc<GroupKey>>, cursor: u64) -> Vec<Arc<GroupKey>> {
        let has_left = |key: &Arc<GroupKey>| self.departures.iter().any(|(at, left)| *at >= cursor && left == key);
        let mut groups: Vec<_> = claimed.into_iter().filter(|key| !has_left(key)).collect();
        groups.extend(self.heard_since(cursor).filter(|key| !groups.contains(key)).collect::<Vec<_>>());
        groups
    }

    fn heard_since(&self, at: u64) -> impl Iterator<Item = Arc<GroupKey>> {
        let is_since = move |entry: &Entry| entry.is_member && entry.heard_from.is_some_and(|from| from >= at);
        self.entries.iter().filter(move |(_, entry)| is_since(entry)).map(|(key, _)| Arc::clone(key))
    }

    /// Makes the channel deaf to all groups but `wanted`, and those that were joined since `at`.
    pub(crate) fn mute_all_but(&mut self, wanted: &[Arc<GroupKey>], at: u64) {
        for (key, entry) in &mut self.entries {
            entry.is_muted = !wanted.contains(key) && entry.heard_from.is_none_or(|from| from < at);
        }
    }

    /// The groups that the connection is in and its channel is deaf to.
    pub(crate) fn muted(&self) -> HashSet<Arc<GroupKey>> {
        let muted = self.entries.iter().filter(|(_, entry)| entry.is_member && entry.is_muted);
        muted.map(|(key, _)| Arc::clone(key)).collect()
    }

    /// True if the channel is deaf to a group that the connection is in.
    pub(crate) fn is_muted(&self, key: &Arc<GroupKey>) -> bool {
        self.entries.get(key).is_some_and(|entry| entry.is_member && entry.is_muted)
    }

    /// The groups that the connection is in.
    pub(crate) fn members(&self) -> impl Iterator<Item = &Arc<GroupKey>> {
        self.entries.iter().filter(|(_, entry)| entry.is_member).map(|(key, _)| key)
    }

    /// The groups that the connection is in and hears, sorted.
    pub(crate) fn heard(&self) -> Vec<Arc<GroupKey>> {
        let heard = self.entries.iter().filter(|(_, entry)| entry.is_member && !entry.is_muted);
        heard.map(|(key, _)| Arc::clone(key)).collect()
    }

    /// Every group that may have the connection in its roster.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Arc<GroupKey>> {
        self.entries.keys()
    }
}

#[cfg(test)]
mod tests;
