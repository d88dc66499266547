//! The pure half of a connection's memberships: which groups it is in, what is under way, and what it
//! hears of them.
//!
//! Answers of groups may arrive out of order; the later stamp holds. A group is listed here from the
//! moment a join is sent, so that whoever cleans up misses none.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    group::{Admission, Departure, Stamp},
    ids::GroupKey,
};

/// The memberships of one connection.
#[derive(Debug, Default)]
pub(crate) struct Memberships {
    entries: BTreeMap<Arc<GroupKey>, Entry>,
}

#[derive(Debug, Default)]
struct Entry {
    joins_under_way: u32,
    last: Stamp,
    is_member: bool,
    is_muted: bool,
    was_left: bool,
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

    /// Makes the channel deaf or attentive to a group.
    pub(crate) fn mute(&mut self, key: &Arc<GroupKey>, is_muted: bool) {
        if let Some(entry) = self.entries.get_mut(key) {
            entry.is_muted = is_muted;
        }
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
