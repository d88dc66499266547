//! Reduces a list of lease changes, in any order, to leases that are opened and leases that end after that. `lease` of
//! [`SeaStore`](crate::store::sea::SeaStore) uses it.
//!
//! It does not know the holders of leases; the statements check them.

use std::{collections::BTreeMap, time::SystemTime};

use crate::{
    ids::ConnectionId,
    store::{Lease, LeaseChange, LeaseEnd},
};

/// Returns the last `Opened` of each connection, and the ends that follow it. The caller writes the former, then the
/// latter.
///
/// A connection that is opened and then closed is in both lists, because opening takes the lease over from its
/// previous holder. Both lists are sorted, so that two nodes that insert the same new rows cannot deadlock.
pub(super) fn reduce(changes: &[LeaseChange]) -> (Vec<&Lease>, Vec<&LeaseEnd>) {
    let mut opened = BTreeMap::new();
    let mut ended: BTreeMap<&ConnectionId, BTreeMap<SystemTime, &LeaseEnd>> = BTreeMap::new();
    for change in changes {
        match change {
            LeaseChange::Opened(lease) => {
                ended.remove(&lease.connection);
                opened.insert(&lease.connection, lease);
            }
            // The first report of an end counts.
            LeaseChange::Closed(end) => drop(ended.entry(&end.connection).or_default().entry(end.since).or_insert(end)),
        }
    }
    (opened.into_values().collect(), ended.into_values().flat_map(BTreeMap::into_values).collect())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::store::CloseReason;

    /// Parses `+a` as the opening and `-a` as the end of connection a, and formats the result in the same way. The index of
    /// its change follows each opening. A digit after the name distinguishes the leases of a connection.
    fn reduced(changes: &str) -> String {
        let changes: Vec<_> =
            changes.split_terminator(' ').enumerate().map(|(index, change)| parse(index, change)).collect();
        let (opened, ended) = reduce(&changes);
        let opened = opened.iter().map(|lease| format!("+{}{}", lease.connection, lease.user_agent));
        let ended = ended.iter().map(|end| format!("-{}{}", end.connection, lease_number(end.since)));
        opened.chain(ended).collect::<Vec<_>>().join(" ")
    }

    fn lease_number(since: SystemTime) -> String {
        let seconds = since.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        if seconds == 0 { String::new() } else { seconds.to_string() }
    }

    fn parse(index: usize, change: &str) -> LeaseChange {
        let connection = ConnectionId::from(&change[1..2]);
        let since = SystemTime::UNIX_EPOCH + Duration::from_secs(change[2..].parse().unwrap_or(0));
        if change.starts_with('-') {
            return LeaseChange::Closed(LeaseEnd { connection, since, at: since, reason: CloseReason::Lost });
        }
        let (user_agent, transport) = (index.to_string(), String::new());
        LeaseChange::Opened(Lease { connection, user: None, user_agent, transport, since })
    }

    #[test]
    fn last_change_of_a_connection_wins() {
        assert_eq!(reduced(""), "");
        assert_eq!(reduced("+b +a"), "+a1 +b0");
        assert_eq!(reduced("-b -a -a"), "-a -b");
        assert_eq!(reduced("+a +a"), "+a1");
        assert_eq!(reduced("+a -a"), "+a0 -a");
        assert_eq!(reduced("-a +a"), "+a1");
        assert_eq!(reduced("-a +a -a +a +b -c"), "+a3 +b4 -c");
    }

    #[test]
    fn ends_of_different_leases_are_kept() {
        assert_eq!(reduced("+a1 +a2 -a1"), "+a1 -a1");
        assert_eq!(reduced("+a2 -a2 -a1"), "+a0 -a1 -a2");
        assert_eq!(reduced("-a1 -a2 +a3"), "+a2");
    }
}
