//! The memberships of a connection: the groups that it is in, the joins and leaves in progress, and the groups whose
//! messages its channel receives.
//!
//! Pure state; the connection does the work. Invariant: a group is listed from the moment a join is sent, so that the
//! cleanup of the connection leaves every group that may have it as a member.

use std::{
    collections::{BTreeMap, HashSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::{
    connections::LeaveCause,
    group::{Admission, Generation},
    ids::GroupKey,
    pipeline::{GroupLists, ListKind, TokenGroups},
};

/// The number of leaves that are remembered for a client that may not know of them yet; the oldest is dropped first.
/// This is more than a client misses that is disconnected for half a minute.
const MAX_RECORDED_LEAVES: usize = 1_000;

/// The groups that a client receives messages from, which its outbox reads when it writes a token.
pub(super) type SharedGroups = Arc<Mutex<GroupLists>>;

pub(super) fn lock_groups(groups: &SharedGroups) -> MutexGuard<'_, GroupLists> {
    // A panic under the lock loses at most one change.
    groups.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The memberships of one connection.
#[derive(Debug, Default)]
pub(crate) struct Memberships {
    /// Boxed, because a map reserves the memory for eleven values, and most connections are in one group.
    entries: BTreeMap<Arc<GroupKey>, Box<Entry>>,
    /// The members among `entries` that are not filtered, if the client receives tokens.
    received: Option<SharedGroups>,
    /// Groups that were left, with the sequence number of the outbox at that time.
    leaves: VecDeque<(u64, Arc<GroupKey>)>,
}

#[derive(Clone, Debug, Default)]
struct Entry {
    is_joining: bool,
    is_member: bool,
    /// The connection is a member because its user is a durable member.
    is_durable: bool,
    /// The generation of the group that admitted the connection.
    generation: Generation,
    /// The latest generation of the group that is known to have crashed.
    crashed: Generation,
    /// The channel does not receive messages of the group.
    is_filtered: bool,
    /// Why the group was left. A restore in progress must not join it again.
    left_by: Option<LeaveCause>,
    /// The connection has left the group by itself, and its user was a durable member. A repair does not join it again.
    is_declined: bool,
    /// The sequence number from which the client can know of the membership; absent if its token lists the group.
    received_since: Option<u64>,
}

impl Entry {
    fn is_idle(&self) -> bool {
        !self.is_joining && !self.is_member && self.left_by.is_none() && !self.is_declined
    }

    /// Whether a durable membership of the user has taken effect: the connection is in the group for it, or has left it.
    fn has_settled_durable(&self) -> bool {
        self.is_declined || (self.is_member && self.is_durable)
    }

    /// The list of a token that has the group.
    fn list(&self) -> Option<ListKind> {
        let kind = if self.is_durable { ListKind::Durable } else { ListKind::Joined };
        (self.is_member && !self.is_filtered).then_some(kind)
    }

    /// Changes the entry of a group, and moves the group in `received`. All changes go through here.
    fn change(&mut self, key: &Arc<GroupKey>, received: Option<&SharedGroups>, change: impl FnOnce(&mut Self)) {
        let before = self.list();
        change(self);
        let after = self.list();
        if let Some(received) = received.filter(|_| before != after) {
            lock_groups(received).move_group(key, before, after);
        }
    }
}

/// The next step after the answer to a join.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum JoinStep {
    /// The join is finished.
    Done,
    /// Join again: the group has crashed since it admitted the connection.
    Retry,
}

impl Memberships {
    /// Records the start of a join. Returns false if it must not be sent: it `restores` a group that was left since the
    /// restore began.
    #[must_use]
    pub(crate) fn begin_join(&mut self, key: &Arc<GroupKey>, restores: bool) -> bool {
        let entry = self.entries.entry(Arc::clone(key)).or_default();
        if restores && entry.left_by.is_some() {
            return false;
        }
        (entry.is_joining, entry.left_by, entry.is_declined) = (true, None, false);
        true
    }

    /// Records the answer to a join; `None` if it failed.
    pub(crate) fn end_join(&mut self, key: &Arc<GroupKey>, admission: Option<Admission>) -> JoinStep {
        let Some(entry) = self.entries.get_mut(key) else { return JoinStep::Done };
        entry.is_joining = false;
        if let Some(Admission::Member(_, generation)) = admission {
            if generation <= entry.crashed {
                return JoinStep::Retry;
            }
            let admit = |entry: &mut Entry| (entry.is_member, entry.generation) = (true, generation);
            entry.change(key, self.received.as_ref(), admit);
        }
        self.drop_idle(key);
        JoinStep::Done
    }

    /// Records that the user of the connection is a durable member of a group that the connection is in. Returns false
    /// if that was known, or if the connection is not in the group.
    #[must_use]
    pub(crate) fn make_durable(&mut self, key: &Arc<GroupKey>) -> bool {
        let entry = self.entries.get_mut(key).filter(|entry| entry.is_member && !entry.is_durable);
        entry.map(|entry| entry.change(key, self.received.as_ref(), |entry| entry.is_durable = true)).is_some()
    }

    /// Records that a restore of a durable membership did not join a group, because it was left since the restore began. The
    /// connection does not follow the membership if it has left by itself, but if the user was removed.
    pub(crate) fn decline(&mut self, key: &Arc<GroupKey>) {
        let entry = self.entries.entry(Arc::clone(key)).or_default();
        entry.is_declined |= entry.left_by == Some(LeaveCause::Caller);
    }

    /// Whether a durable membership of the user makes no difference yet: the connection is not in the group for it, and
    /// did not leave the group by itself.
    pub(crate) fn is_missing(&self, key: &Arc<GroupKey>) -> bool {
        !self.entries.get(key).is_some_and(|entry| entry.has_settled_durable())
    }

    /// Records that the user of the connection is not a durable member of a group. Returns whether the connection has to
    /// leave it: it is in the group because its user was a durable member.
    #[must_use]
    pub(crate) fn end_durable(&mut self, key: &Arc<GroupKey>) -> bool {
        let Some(entry) = self.entries.get_mut(key) else { return false };
        entry.is_declined = false;
        let is_durable = entry.is_member && entry.is_durable;
        self.drop_idle(key);
        is_durable
    }

    /// The groups that the connection is in because its user is a durable member, and those that it has left by itself.
    pub(crate) fn durable_and_declined(&self) -> Vec<Arc<GroupKey>> {
        self.entries.iter().filter(|(_, entry)| entry.has_settled_durable()).map(|(key, _)| Arc::clone(key)).collect()
    }

    /// The groups that the connection is in because its user is a durable member.
    pub(crate) fn durable(&self) -> Vec<Arc<GroupKey>> {
        self.members().filter(|key| self.is_durable(key)).cloned().collect()
    }

    /// Whether the connection is in a group because its user is a durable member.
    pub(crate) fn is_durable(&self, key: &Arc<GroupKey>) -> bool {
        self.entries.get(key).is_some_and(|entry| entry.is_durable)
    }

    /// Records the start of a leave. A restore in progress does not undo it.
    pub(crate) fn begin_leave(&mut self, key: &Arc<GroupKey>, cause: LeaveCause) {
        let entry = self.entries.entry(Arc::clone(key)).or_default();
        // A user who was removed has no membership that a later leave of the connection could decline.
        if cause != LeaveCause::Caller || entry.left_by.is_none() {
            entry.left_by = Some(cause);
        }
    }

    /// Records the end of a leave, which may have failed. While a restore is in progress, the leave is remembered.
    pub(crate) fn end_leave(&mut self, key: &Arc<GroupKey>, cause: LeaveCause, is_answered: bool, is_restoring: bool) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        entry.change(key, self.received.as_ref(), |entry| {
            if is_answered {
                entry.is_declined = cause == LeaveCause::Caller && (entry.is_durable || entry.is_declined);
            }
            entry.is_member &= !is_answered;
            entry.is_durable &= entry.is_member;
            entry.left_by = entry.left_by.filter(|_| is_restoring);
        });
        self.drop_idle(key);
    }

    /// Drops the leaves that were only remembered for restores in progress.
    pub(crate) fn end_restore(&mut self) {
        self.entries.retain(|_, entry| {
            entry.left_by = None;
            !entry.is_idle()
        });
    }

    fn drop_idle(&mut self, key: &Arc<GroupKey>) {
        if self.entries.get(key).is_some_and(|entry| entry.is_idle()) {
            self.entries.remove(key);
        }
    }

    /// Records that a group has crashed. Returns whether the connection has to rejoin it. It does not if a join is in
    /// progress: the answer to the join tells whether it was this generation or a later one.
    #[must_use]
    pub(crate) fn record_crash(&mut self, key: &Arc<GroupKey>, generation: Generation) -> bool {
        let Some(entry) = self.entries.get_mut(key) else { return false };
        entry.crashed = entry.crashed.max(generation);
        !entry.is_joining && self.needs_rejoin(key)
    }

    /// Whether the connection counts as a member of a generation of the group that has crashed.
    pub(crate) fn needs_rejoin(&self, key: &Arc<GroupKey>) -> bool {
        self.entries.get(key).is_some_and(|entry| entry.is_member && entry.generation <= entry.crashed)
    }

    /// Records that the channel receives messages of a group from sequence number `at` on, since a caller joined it.
    pub(crate) fn receive_from(&mut self, key: &Arc<GroupKey>, at: u64) {
        if let Some(entry) = self.entries.get_mut(key) {
            entry.received_since = Some(at);
            entry.change(key, self.received.as_ref(), |entry| entry.is_filtered = false);
        }
    }

    /// Records that the client learns of its restored groups at sequence number `at`. Groups in `claimed` (sorted) are
    /// skipped: the client listed them itself.
    pub(crate) fn record_restored(&mut self, claimed: &[Arc<GroupKey>], at: u64) {
        for (key, entry) in &mut self.entries {
            if entry.is_member && !entry.is_filtered && claimed.binary_search(key).is_err() {
                entry.received_since = entry.received_since.or(Some(at));
            }
        }
    }

    /// Records that the channel stopped receiving messages of a group at sequence number `at`.
    pub(crate) fn record_leave(&mut self, key: &Arc<GroupKey>, at: u64) {
        self.leaves.push_back((at, Arc::clone(key)));
        if self.leaves.len() > MAX_RECORDED_LEAVES {
            self.leaves.pop_front();
        }
    }

    /// The changes that a client with this `cursor` cannot know of yet: groups that it joined or left at or after it.
    pub(crate) fn changes_since(&self, cursor: u64) -> UnseenChanges {
        let left = self.leaves.iter().filter(|(at, _)| *at >= cursor).map(|(_, left)| Arc::clone(left)).collect();
        UnseenChanges { joined: self.joined_since(cursor).collect(), left }
    }

    fn joined_since(&self, at: u64) -> impl Iterator<Item = Arc<GroupKey>> {
        let is_since = move |entry: &Entry| entry.is_member && entry.received_since.is_some_and(|from| from >= at);
        self.entries.iter().filter(move |(_, entry)| is_since(entry)).map(|(key, _)| Arc::clone(key))
    }

    /// Filters out all groups except `wanted` and those that were joined since sequence number `at`.
    pub(crate) fn filter_all_except(&mut self, wanted: &[Arc<GroupKey>], at: u64) {
        let wanted: HashSet<_> = wanted.iter().collect();
        for (key, entry) in &mut self.entries {
            let is_filtered = !wanted.contains(key) && entry.received_since.is_none_or(|from| from < at);
            entry.change(key, self.received.as_ref(), |entry| entry.is_filtered = is_filtered);
        }
    }

    /// The groups that the connection is in and whose messages are filtered out.
    pub(crate) fn filtered(&self) -> HashSet<Arc<GroupKey>> {
        let filtered = self.entries.iter().filter(|(_, entry)| entry.is_member && entry.is_filtered);
        filtered.map(|(key, _)| Arc::clone(key)).collect()
    }

    /// Whether the connection is in a group whose messages are filtered out.
    pub(crate) fn is_filtered(&self, key: &Arc<GroupKey>) -> bool {
        self.entries.get(key).is_some_and(|entry| entry.is_member && entry.is_filtered)
    }

    /// The groups that the connection is in.
    pub(crate) fn members(&self) -> impl Iterator<Item = &Arc<GroupKey>> {
        self.entries.iter().filter(|(_, entry)| entry.is_member).map(|(key, _)| key)
    }

    /// Shares the groups that the connection is in and receives messages from, for its tokens. To be called before the
    /// first join.
    pub(super) fn share_received(&mut self) -> &SharedGroups {
        self.received.get_or_insert_default()
    }

    /// The groups that the connection is in and receives messages from.
    pub(super) fn token_groups(&self) -> TokenGroups {
        let of_kind = |kind| {
            let listed = self.entries.iter().filter(|(_, entry)| entry.list() == Some(kind));
            listed.map(|(key, _)| Arc::clone(key)).collect()
        };
        TokenGroups { joined: of_kind(ListKind::Joined), durable: of_kind(ListKind::Durable) }
    }

    /// Every group that may have the connection as a member.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Arc<GroupKey>> {
        self.entries.iter().filter(|(_, entry)| entry.is_joining || entry.is_member).map(|(key, _)| key)
    }
}

/// Changes of memberships that a client cannot know of yet.
#[derive(Debug)]
pub(crate) struct UnseenChanges {
    joined: Vec<Arc<GroupKey>>,
    left: HashSet<Arc<GroupKey>>,
}

impl UnseenChanges {
    /// Applies the changes to the groups that the client claims.
    pub(crate) fn apply(self, claimed: Vec<Arc<GroupKey>>) -> Vec<Arc<GroupKey>> {
        let mut groups: Vec<_> = claimed.into_iter().filter(|key| !self.left.contains(key)).collect();
        let known: HashSet<_> = groups.iter().cloned().collect();
        groups.extend(self.joined.into_iter().filter(|key| !known.contains(key)));
        groups
    }
}

#[cfg(test)]
mod tests;
