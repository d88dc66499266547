//! The pure half of a connection's memberships: which groups it is in, what is under way, and what it
//! hears of them.
//!
//! A group is listed here from the moment a join is sent, so that whoever cleans up misses none.

use std::{
    collections::{BTreeMap, HashSet, VecDeque},
    sync::Arc,
};

use crate::{
    group::{Admission, Generation},
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
    is_joining: bool,
    is_member: bool,
    /// Its user is a member for good.
    is_durable: bool,
    /// The group that has let it in.
    within: Generation,
    /// The latest group of the name that is known to have died.
    lost: Generation,
    is_muted: bool,
    was_left: bool,
    /// Where in the sequence of what its client hears it was to be told of it; absent if its token says so.
    heard_from: Option<u64>,
}

impl Entry {
    fn is_idle(&self) -> bool {
        !self.is_joining && !self.is_member && !self.was_left
    }
}

/// What follows from the answer to a join.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Joining {
    /// It is through.
    Done,
    /// The group that has let it in has died meanwhile.
    Afresh,
}

impl Memberships {
    /// Takes note of a join that is sent, and answers whether it should be: one that restores what
    /// somebody has asked to leave since should not.
    pub(crate) fn begin_join(&mut self, key: &Arc<GroupKey>, restores: bool) -> bool {
        let entry = self.entries.entry(Arc::clone(key)).or_default();
        if restores && entry.was_left {
            return false;
        }
        (entry.is_joining, entry.was_left) = (true, false);
        true
    }

    /// Takes note of the answer to a join; `None`: there was none.
    pub(crate) fn end_join(&mut self, key: &Arc<GroupKey>, admission: Option<Admission>) -> Joining {
        let Some(entry) = self.entries.get_mut(key) else { return Joining::Done };
        entry.is_joining = false;
        if let Some(Admission::Member(_, generation)) = admission {
            if generation <= entry.lost {
                return Joining::Afresh;
            }
            (entry.is_member, entry.within) = (true, generation);
        }
        self.drop_idle(key);
        Joining::Done
    }

    /// Takes note that a group which the connection is in is one that its user is in for good; false if that was known.
    pub(crate) fn make_durable(&mut self, key: &Arc<GroupKey>) -> bool {
        let entry = self.entries.get_mut(key).filter(|entry| entry.is_member && !entry.is_durable);
        entry.map(|entry| entry.is_durable = true).is_some()
    }

    /// The groups that the connection is in because its user is for good.
    pub(crate) fn durable(&self) -> Vec<Arc<GroupKey>> {
        self.members().filter(|key| self.is_durable(key)).cloned().collect()
    }

    /// True if the connection is in a group because its user is for good.
    pub(crate) fn is_durable(&self, key: &Arc<GroupKey>) -> bool {
        self.entries.get(key).is_some_and(|entry| entry.is_durable)
    }

    /// Takes note that somebody asks to leave; a restoration under way must not undo it.
    pub(crate) fn begin_leave(&mut self, key: &Arc<GroupKey>) {
        self.entries.entry(Arc::clone(key)).or_default().was_left = true;
    }

    /// Takes note of the answer to a leave, or that there was none. While a restoration is under way it has to be
    /// remembered that somebody asked.
    pub(crate) fn end_leave(&mut self, key: &Arc<GroupKey>, is_answered: bool, is_restoring: bool) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        entry.is_member &= !is_answered;
        entry.is_durable &= entry.is_member;
        entry.was_left &= is_restoring;
        self.drop_idle(key);
    }

    /// Forgets what only mattered to restorations.
    pub(crate) fn end_restoration(&mut self) {
        self.entries.retain(|_, entry| {
            entry.was_left = false;
            !entry.is_idle()
        });
    }

    fn drop_idle(&mut self, key: &Arc<GroupKey>) {
        if self.entries.get(key).is_some_and(Entry::is_idle) {
            self.entries.remove(key);
        }
    }

    /// Takes note that a group has died, and answers whether the connection was in it. A join that is under way
    /// may have been answered by that group or by a later one, which its answer will tell.
    pub(crate) fn lose(&mut self, key: &Arc<GroupKey>, generation: Generation) -> bool {
        let Some(entry) = self.entries.get_mut(key) else { return false };
        entry.lost = entry.lost.max(generation);
        !entry.is_joining && self.is_adrift(key)
    }

    /// True if the connection counts as a member, but of a group that has died.
    pub(crate) fn is_adrift(&self, key: &Arc<GroupKey>) -> bool {
        self.entries.get(key).is_some_and(|entry| entry.is_member && entry.within <= entry.lost)
    }

    /// Takes note that the channel hears a group from `at` on, since somebody had it join.
    pub(crate) fn hear(&mut self, key: &Arc<GroupKey>, at: u64) {
        if let Some(entry) = self.entries.get_mut(key) {
            (entry.is_muted, entry.heard_from) = (false, Some(at));
        }
    }

    /// Takes note that a client is to be told at `at` of the groups that it was restored into, but for those that it
    /// claims itself, which are sorted.
    pub(crate) fn hear_restored(&mut self, claimed: &[Arc<GroupKey>], at: u64) {
        for (key, entry) in &mut self.entries {
            if entry.is_member && !entry.is_muted && claimed.binary_search(key).is_err() {
                entry.heard_from = entry.heard_from.or(Some(at));
            }
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
        let left: HashSet<_> = self.departures.iter().filter(|(at, _)| *at >= cursor).map(|(_, left)| left).collect();
        let mut groups: Vec<_> = claimed.into_iter().filter(|key| !left.contains(key)).collect();
        let known: HashSet<_> = groups.iter().cloned().collect();
        groups.extend(self.heard_since(cursor).filter(|key| !known.contains(key)));
        groups
    }

    fn heard_since(&self, at: u64) -> impl Iterator<Item = Arc<GroupKey>> {
        let is_since = move |entry: &Entry| entry.is_member && entry.heard_from.is_some_and(|from| from >= at);
        self.entries.iter().filter(move |(_, entry)| is_since(entry)).map(|(key, _)| Arc::clone(key))
    }

    /// Makes the channel deaf to all groups but `wanted`, and those that were joined since `at`.
    pub(crate) fn mute_all_but(&mut self, wanted: &[Arc<GroupKey>], at: u64) {
        let wanted: HashSet<_> = wanted.iter().collect();
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
