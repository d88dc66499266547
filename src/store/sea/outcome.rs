//! What a list of lease changes comes to, so that its length in statements does not depend on its order.
//!
//! Role: one insert and one delete for any list.
//! Life: a function of the list.
//! Neighbours: only [`SeaStore`](super::SeaStore)'s `lease`.
//! Never: it does not know who holds a lease; that is for the statements to ask.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    ids::ConnectionId,
    store::{Lease, LeaseChange},
};

/// The last opening of each connection, and those that are closed after it: write the one, then the other.
///
/// What is opened and closed again stands in both, since opening takes a lease from whoever held it. Sorted,
/// so that two nodes that write the same rows wait for each other, and never in a circle.
pub(super) fn of(changes: &[LeaseChange]) -> (Vec<&Lease>, Vec<&ConnectionId>) {
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

    /// Reads `+a` as the opening of connection a and `-a` as its end, and writes the outcome alike; an opening
    /// is followed by its place in the list.
    fn outcome(changes: &str) -> String {
        let changes: Vec<_> =
            changes.split_terminator(' ').enumerate().map(|(place, change)| read(place, change)).collect();
        let (opened, closed) = of(&changes);
        let opened = opened.iter().map(|lease| format!("+{}{}", lease.connection, lease.user_agent));
        opened.chain(closed.iter().map(|connection| format!("-{connection}"))).collect::<Vec<_>>().join(" ")
    }

    fn read(place: usize, change: &str) -> LeaseChange {
        let connection = ConnectionId::from(&change[1..]);
        if change.starts_with('-') {
            return LeaseChange::Closed(connection);
        }
        let (user_agent, transport, since) = (place.to_string(), String::new(), SystemTime::UNIX_EPOCH);
        LeaseChange::Opened(Lease { connection, user: None, user_agent, transport, since })
    }

    #[test]
    fn the_last_word_on_a_connection_counts() {
        assert_eq!(outcome(""), "");
        assert_eq!(outcome("+b +a"), "+a1 +b0");
        assert_eq!(outcome("-b -a -a"), "-a -b");
        assert_eq!(outcome("+a +a"), "+a1");
        assert_eq!(outcome("+a -a"), "+a0 -a");
        assert_eq!(outcome("-a +a"), "+a1");
        assert_eq!(outcome("-a +a -a +a +b -c"), "+a3 +b4 -c");
    }
}
