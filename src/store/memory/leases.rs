//! The leases of the store in memory, of connections and of nodes, and when users were last seen.

use std::{
    collections::{BTreeSet, HashMap, HashSet, hash_map::Entry},
    time::{Duration, SystemTime},
};

use crate::{
    ids::{ConnectionId, NodeId, UserId},
    store::{
        CLOSED_LEASE_TERM, CloseReason, LAST_SEEN_TERM, LastSeen, Lease, LeaseChange, LeaseEnd, LeaseRecord,
        MAX_CLOSED_LEASES, Node, NodeLease, Process, Renewal, UserActivity,
    },
};

/// The lease of a node. The process is `None` if the node has never renewed it.
#[derive(Debug)]
struct NodeRow {
    process: Option<Process>,
    incarnation: String,
    /// The Unix epoch if it has never renewed it.
    renewed: SystemTime,
    /// `None`, a time beyond the range of the clock, means never.
    until: Option<SystemTime>,
}

impl NodeRow {
    fn has_expired(&self, now: SystemTime) -> bool {
        self.until.is_some_and(|until| until <= now)
    }
}

/// The latest lease of a connection.
#[derive(Debug)]
struct Row {
    lease: Lease,
    node: NodeId,
    incarnation: String,
    end: Option<End>,
}

#[derive(Debug)]
struct End {
    last_seen: SystemTime,
    closed: SystemTime,
    reason: CloseReason,
}

impl Row {
    fn is_held_by(&self, node: &Node) -> bool {
        self.node == node.id && self.incarnation == node.incarnation && self.end.is_none()
    }
}

#[derive(Debug, Default)]
pub(super) struct Leases {
    /// Invariant: the node of every open lease is in `nodes`.
    rows: HashMap<ConnectionId, Row>,
    nodes: HashMap<NodeId, NodeRow>,
    last_seen: HashMap<UserId, SystemTime>,
}

impl Leases {
    pub(super) fn node_count(&self) -> u64 {
        self.nodes.len() as u64
    }

    pub(super) fn write(&mut self, node: &Node, changes: &[LeaseChange]) {
        self.nodes.entry(node.id.clone()).or_insert_with(|| NodeRow {
            process: None,
            incarnation: node.incarnation.clone(),
            renewed: SystemTime::UNIX_EPOCH,
            until: Some(SystemTime::UNIX_EPOCH),
        });
        for change in changes {
            match change {
                LeaseChange::Opened(lease) => self.open(node, lease),
                LeaseChange::Closed(end) => self.close(node, end),
            }
        }
    }

    fn open(&mut self, node: &Node, lease: &Lease) {
        let row =
            || Row { lease: lease.clone(), node: node.id.clone(), incarnation: node.incarnation.clone(), end: None };
        match self.rows.entry(lease.connection.clone()) {
            Entry::Vacant(entry) => drop(entry.insert(row())),
            Entry::Occupied(mut entry) => {
                let held = entry.get();
                let is_late = held.end.is_none() && held.node != node.id && held.lease.since > lease.since;
                if !is_late {
                    entry.insert(row());
                }
            }
        }
    }

    fn close(&mut self, node: &Node, end: &LeaseEnd) {
        let row = self.rows.get_mut(&end.connection);
        if let Some(row) = row.filter(|row| row.is_held_by(node) && row.lease.since == end.since) {
            row.end = Some(End { last_seen: end.at, closed: end.at, reason: end.reason });
            see(&mut self.last_seen, row.lease.user.as_ref(), end.at);
        }
    }

    pub(super) fn renew(&mut self, node: &Node, now: SystemTime, term: Duration) -> Renewal {
        if let Some(lease) = self.lease_of_other_process(node, now) {
            return Renewal::Held(lease);
        }
        let row = NodeRow {
            process: Some(node.process.clone()),
            incarnation: node.incarnation.clone(),
            renewed: now,
            until: now.checked_add(term),
        };
        let previous = self.nodes.insert(node.id.clone(), row);
        let last_renewal = previous.map_or(SystemTime::UNIX_EPOCH, |previous| previous.renewed);
        let (closed, users) = self.close_dead(node, last_renewal, now);
        self.nodes.retain(|_, row| !row.has_expired(now));
        self.prune(now);
        Renewal::Renewed { closed, users }
    }

    fn lease_of_other_process(&self, node: &Node, now: SystemTime) -> Option<NodeLease> {
        let row = self.nodes.get(&node.id).filter(|row| !row.has_expired(now))?;
        let process = row.process.as_ref().filter(|process| process.id != node.process.id)?;
        Some(NodeLease { process: process.clone(), until: row.until })
    }

    pub(super) fn release(&mut self, node: &Node) {
        let row = self.nodes.get_mut(&node.id);
        let own = row.filter(|row| row.process.as_ref().is_some_and(|process| process.id == node.process.id));
        if let Some(row) = own {
            row.until = Some(SystemTime::UNIX_EPOCH);
        }
    }

    /// Closes the leases of earlier incarnations of `node` and of expired nodes. Returns their number and their users.
    fn close_dead(&mut self, node: &Node, last_renewal: SystemTime, now: SystemTime) -> (u64, Vec<LastSeen>) {
        let (mut count, mut users) = (0, HashSet::new());
        for row in self.rows.values_mut().filter(|row| row.end.is_none()) {
            let (reason, renewed) = if row.node == node.id {
                if row.incarnation == node.incarnation {
                    continue;
                }
                (CloseReason::NodeRestarted, last_renewal)
            } else {
                match self.nodes.get(&row.node).filter(|holder| holder.has_expired(now)) {
                    Some(holder) => (CloseReason::NodeExpired, holder.renewed),
                    None => continue,
                }
            };
            let last_seen = renewed.max(row.lease.since);
            row.end = Some(End { last_seen, closed: now, reason });
            see(&mut self.last_seen, row.lease.user.as_ref(), last_seen);
            users.extend(row.lease.user.clone());
            count += 1;
        }
        let last_seen = |user| Some(LastSeen { at: *self.last_seen.get(&user)?, user });
        (count, users.into_iter().filter_map(last_seen).collect())
    }

    fn prune(&mut self, now: SystemTime) {
        let is_recent = |time: SystemTime, term: Duration| time.checked_add(term).is_none_or(|end| end > now);
        self.rows.retain(|_, row| row.end.as_ref().is_none_or(|end| is_recent(end.closed, CLOSED_LEASE_TERM)));
        let mut closed: Vec<_> = self.rows.values().filter_map(|row| Some(row.end.as_ref()?.closed)).collect();
        if closed.len() > MAX_CLOSED_LEASES {
            let (_, newest_excess, _) = closed.select_nth_unstable_by(MAX_CLOSED_LEASES, |one, other| other.cmp(one));
            let excess = *newest_excess;
            self.rows.retain(|_, row| row.end.as_ref().is_none_or(|end| end.closed > excess));
        }
        self.last_seen.retain(|_, time| is_recent(*time, LAST_SEEN_TERM));
    }

    pub(super) fn find(&self, connection: &ConnectionId) -> Option<LeaseRecord> {
        let row = self.rows.get(connection)?;
        let renewed = self.nodes.get(&row.node).map_or(SystemTime::UNIX_EPOCH, |node| node.renewed);
        let last_seen = row.end.as_ref().map_or(renewed.max(row.lease.since), |end| end.last_seen);
        let closed = row.end.as_ref().map(|end| (end.closed, end.reason));
        Some(LeaseRecord { lease: row.lease.clone(), node: row.node.clone(), last_seen, closed })
    }

    pub(super) fn activity(&self, users: &[UserId], now: SystemTime) -> Vec<UserActivity> {
        let mut open: HashMap<&UserId, Vec<&Row>> = users.iter().map(|user| (user, Vec::new())).collect();
        for row in self.rows.values().filter(|row| row.end.is_none()) {
            if let Some(rows) = row.lease.user.as_ref().and_then(|user| open.get_mut(user)) {
                rows.push(row);
            }
        }
        users.iter().map(|user| self.activity_of(user, open.get(user).map_or(&[], |rows| rows), now)).collect()
    }

    fn activity_of(&self, user: &UserId, open: &[&Row], now: SystemTime) -> UserActivity {
        let (mut nodes, mut last_seen) = (BTreeSet::new(), self.last_seen.get(user).copied());
        for row in open {
            let Some(node) = self.nodes.get(&row.node).filter(|node| node.incarnation == row.incarnation) else {
                continue;
            };
            last_seen = last_seen.max(Some(node.renewed.max(row.lease.since)));
            if !node.has_expired(now) {
                nodes.insert(row.node.clone());
            }
        }
        UserActivity { nodes: nodes.into_iter().collect(), last_seen }
    }
}

/// Records that a user was connected at `time`.
fn see(last_seen: &mut HashMap<UserId, SystemTime>, user: Option<&UserId>, time: SystemTime) {
    if let Some(user) = user {
        let seen = last_seen.entry(user.clone()).or_insert(time);
        *seen = time.max(*seen);
    }
}
