//! The pure half of a group: who is in, and how many joins have been seen.
//!
//! It knows neither actors nor outboxes: `M` is whatever a member is reached by.

use std::collections::HashMap;

use actix::MessageResponse;

use crate::ids::ConnectionId;

/// What a join came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Joined {
    /// It is a member now.
    Now,
    /// It was one already.
    Already,
}

/// What a leave came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, MessageResponse)]
pub enum Left {
    /// It was a member, and no longer is.
    Now,
    /// It was no member.
    NoMember,
}

/// The members of one group.
#[derive(Debug)]
pub(crate) struct Roster<M> {
    members: Vec<(ConnectionId, M)>,
    places: HashMap<ConnectionId, usize, foldhash::fast::RandomState>,
    joins: u64,
    epoch: u64,
}

impl<M> Default for Roster<M> {
    fn default() -> Self {
        Self { members: Vec::new(), places: HashMap::default(), joins: 0, epoch: 0 }
    }
}

impl<M> Roster<M> {
    pub(crate) fn join(&mut self, id: &ConnectionId, member: M) -> Joined {
        if self.places.contains_key(id) {
            return Joined::Already;
        }
        self.places.insert(id.clone(), self.members.len());
        self.members.push((id.clone(), member));
        Joined::Now
    }

    pub(crate) fn leave(&mut self, id: &ConnectionId) -> Left {
        let Some(place) = self.places.remove(id) else { return Left::NoMember };
        self.members.swap_remove(place);
        if let Some((moved, _)) = self.members.get(place) {
            self.places.insert(moved.clone(), place);
        }
        Left::Now
    }

    /// Counts for another shard from now on, unless it is older than the present one.
    pub(crate) fn count_for(&mut self, epoch: u64) {
        if epoch > self.epoch {
            (self.epoch, self.joins) = (epoch, 0);
        }
    }

    /// Takes note of a join that has arrived, whatever comes of it. One that an earlier shard has passed
    /// on does not count.
    pub(crate) fn count_join(&mut self, epoch: u64) {
        self.count_for(epoch);
        self.joins += u64::from(epoch == self.epoch);
    }

    /// The shard that is counted for, and how many of its joins have arrived.
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

    /// The first `limit` members after one, in the order of their ids.
    pub(crate) fn span(&self, after: Option<&ConnectionId>, limit: usize) -> Vec<&(ConnectionId, M)> {
        let is_later = |(id, _): &&(ConnectionId, M)| after.is_none_or(|after| id > after);
        let mut span: Vec<_> = if limit == 0 { Vec::new() } else { self.iter().filter(is_later).collect() };
        if limit < span.len() {
            span.select_nth_unstable_by(limit, |(one, _), (other, _)| one.cmp(other));
            span.truncate(limit);
        }
        span.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        span
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn joins_are_counted_for_the_newest_shard_alone() {
        let mut roster = Roster::<()>::default();
        for epoch in [1, 1, 2, 1, 2] {
            roster.count_join(epoch);
        }
        assert_eq!(roster.joins(), (2, 2));
        roster.count_for(3);
        roster.count_for(2);
        assert_eq!(roster.joins(), (3, 0));
    }

    #[test]
    fn members_are_listed_in_the_order_of_their_ids_a_part_at_a_time() {
        let mut roster = Roster::default();
        for id in ["c", "e", "a", "d", "b"] {
            roster.join(&ConnectionId::from(id), ());
        }
        let ids = |after: Option<&str>, limit| -> Vec<String> {
            roster.span(after.map(ConnectionId::from).as_ref(), limit).iter().map(|(id, ())| id.to_string()).collect()
        };
        assert_eq!(ids(None, 2), ["a", "b"]);
        assert_eq!(ids(Some("b"), 2), ["c", "d"]);
        assert_eq!(ids(Some("bb"), usize::MAX), ["c", "d", "e"], "where one has gone, the next follows");
        assert_eq!(ids(Some("e"), 2), [""; 0]);
        assert_eq!(ids(None, 0), [""; 0]);
    }

    proptest! {
        #[test]
        fn a_roster_holds_exactly_who_joined_and_has_not_left(steps in prop::collection::vec((any::<bool>(), 0u8..12), 0..200)) {
            let (mut roster, mut model) = (Roster::default(), BTreeSet::new());
            for (joins, who) in steps {
                let id = ConnectionId::from(who.to_string());
                if joins {
                    let expected = if model.insert(who) { Joined::Now } else { Joined::Already };
                    prop_assert_eq!(roster.join(&id, who), expected);
                } else {
                    let expected = if model.remove(&who) { Left::Now } else { Left::NoMember };
                    prop_assert_eq!(roster.leave(&id), expected);
                }
                let members: BTreeSet<u8> = roster.iter().map(|(_, who)| *who).collect();
                prop_assert_eq!(&members, &model);
                prop_assert_eq!(roster.len(), model.len());
                prop_assert_eq!(roster.is_empty(), model.is_empty());
            }
        }
    }
}
