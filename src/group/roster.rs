//! The members of a group and the count of the joins that it has received, without any I/O.
//!
//! The roster knows neither actors nor outboxes: `M` is the sink that a member's messages go to.

use std::collections::HashMap;

use actix::MessageResponse;

use crate::ids::ConnectionId;

/// The result of a join.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Joined {
    /// It became a member.
    Now,
    /// It was a member already.
    Already,
}

/// The result of a leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, MessageResponse)]
pub(crate) enum Left {
    /// Its membership was ended.
    Now,
    /// It was not a member.
    NotMember,
}

/// The members of one group.
#[derive(Debug)]
pub(crate) struct Roster<M> {
    members: Vec<(ConnectionId, M)>,
    positions: HashMap<ConnectionId, usize, foldhash::fast::RandomState>,
    joins: u64,
    epoch: u64,
}

impl<M> Default for Roster<M> {
    fn default() -> Self {
        Self { members: Vec::new(), positions: HashMap::default(), joins: 0, epoch: 0 }
    }
}

impl<M> Roster<M> {
    pub(crate) fn join(&mut self, id: &ConnectionId, member: M) -> Joined {
        if self.positions.contains_key(id) {
            return Joined::Already;
        }
        self.positions.insert(id.clone(), self.members.len());
        self.members.push((id.clone(), member));
        Joined::Now
    }

    pub(crate) fn leave(&mut self, id: &ConnectionId) -> Left {
        let Some(position) = self.positions.remove(id) else { return Left::NotMember };
        self.members.swap_remove(position);
        if let Some((moved, _)) = self.members.get(position) {
            self.positions.insert(moved.clone(), position);
        }
        Left::Now
    }

    /// Resets the count of joins if `epoch` is a later incarnation of the shard than the current one. Ignores an
    /// earlier one.
    pub(crate) fn set_epoch(&mut self, epoch: u64) {
        if epoch > self.epoch {
            (self.epoch, self.joins) = (epoch, 0);
        }
    }

    /// Counts a received join, regardless of its result. A join that an earlier incarnation of the shard forwarded is
    /// not counted.
    pub(crate) fn count_join(&mut self, epoch: u64) {
        self.set_epoch(epoch);
        self.joins += u64::from(epoch == self.epoch);
    }

    /// The current incarnation of the shard, and the number of its joins that were received.
    pub(crate) fn joins(&self) -> (u64, u64) {
        (self.epoch, self.joins)
    }

    pub(crate) fn len(&self) -> usize {
        self.members.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &(ConnectionId, M)> {
        self.members.iter()
    }

    /// The first `limit` members with an id greater than `after`, in the order of their ids.
    pub(crate) fn range(&self, after: Option<&ConnectionId>, limit: usize) -> Vec<&(ConnectionId, M)> {
        let is_later = |(id, _): &&(ConnectionId, M)| after.is_none_or(|after| id > after);
        let mut range: Vec<_> = if limit == 0 { Vec::new() } else { self.iter().filter(is_later).collect() };
        if limit < range.len() {
            range.select_nth_unstable_by(limit, |(one, _), (other, _)| one.cmp(other));
            range.truncate(limit);
        }
        range.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        range
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_joins_of_newest_epoch_are_counted() {
        let mut roster = Roster::<()>::default();
        for epoch in [1, 1, 2, 1, 2] {
            roster.count_join(epoch);
        }
        assert_eq!(roster.joins(), (2, 2));
        roster.set_epoch(3);
        roster.set_epoch(2);
        assert_eq!(roster.joins(), (3, 0));
    }

    #[test]
    fn range_pages_members_in_id_order() {
        let mut roster = Roster::default();
        for id in ["c", "e", "a", "d", "b"] {
            roster.join(&ConnectionId::from(id), ());
        }
        let ids = |after: Option<&str>, limit| -> Vec<String> {
            roster.range(after.map(ConnectionId::from).as_ref(), limit).iter().map(|(id, ())| id.to_string()).collect()
        };
        assert_eq!(ids(None, 2), ["a", "b"]);
        assert_eq!(ids(Some("b"), 2), ["c", "d"]);
        assert_eq!(ids(Some("bb"), usize::MAX), ["c", "d", "e"], "the id after which to list need not be a member");
        assert_eq!(ids(Some("e"), 2), [""; 0]);
        assert_eq!(ids(None, 0), [""; 0]);
    }

    proptest! {
        #[test]
        fn roster_matches_model_of_joins_and_leaves(steps in prop::collection::vec((any::<bool>(), 0u8..12), 0..200)) {
            let (mut roster, mut model) = (Roster::default(), BTreeSet::new());
            for (is_join, member) in steps {
                let id = ConnectionId::from(member.to_string());
                if is_join {
                    let expected = if model.insert(member) { Joined::Now } else { Joined::Already };
                    prop_assert_eq!(roster.join(&id, member), expected);
                } else {
                    let expected = if model.remove(&member) { Left::Now } else { Left::NotMember };
                    prop_assert_eq!(roster.leave(&id), expected);
                }
                let members: BTreeSet<u8> = roster.iter().map(|(_, member)| *member).collect();
                prop_assert_eq!(&members, &model);
                prop_assert_eq!(roster.len(), model.len());
                prop_assert_eq!(roster.is_empty(), model.is_empty());
            }
        }
    }
}
