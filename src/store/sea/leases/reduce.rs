//! Reduces a list of lease changes, in any order, to one insert and one delete. `lease` of
//! [`SeaStore`](crate::store::sea::SeaStore) uses it.
//!
//! It does not know the holders of leases; the statements check them.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    ids::ConnectionId,
    store::{Lease, LeaseChange},
};

/// Returns the last `Opened` of each connection, and the connections that are closed after it. The caller writes the
/// former, then deletes the latter.
///
/// A connection that is opened and then closed is in both lists, because opening takes the lease over from its
/// previous holder. Both lists are sorted, so that two nodes that write the same rows cannot deadlock.
pub(super) fn reduce(changes: &[LeaseChange]) -> (Vec<&Lease>, Vec<&ConnectionId>) {
    let (mut opened, mut closed) = (BTreeMap::new(), BTreeSet::new());
    for change in changes {
        match change {
            LeaseChange::Opened(lease) => {
                closed.remove(&lease.connection);
                opened.insert(&lease.connection, lease);
            }
            LeaseChange::Closed(connection) => drop(closed.insert(connection)),
        }
    }
    (opened.into_values().collect(), closed.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    /// Parses `+a` as the opening and `-a` as the closing of connection a, and formats the result in the same way. The
    /// index of its change follows each opening.
    fn reduced(changes: &str) -> String {
        let changes: Vec<_> =
            changes.split_terminator(' ').enumerate().map(|(index, change)| parse(index, change)).collect();
        let (opened, closed) = reduce(&changes);
        let opened = opened.iter().map(|lease| format!("+{}{}", lease.connection, lease.user_agent));
        opened.chain(closed.iter().map(|connection| format!("-{connection}"))).collect::<Vec<_>>().join(" ")
    }

    fn parse(index: usize, change: &str) -> LeaseChange {
        let connection = ConnectionId::from(&change[1..]);
        if change.starts_with('-') {
            return LeaseChange::Closed(connection);
        }
        let (user_agent, transport, since) = (index.to_string(), String::new(), SystemTime::UNIX_EPOCH);
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
}
