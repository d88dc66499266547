//! The calls for the leases of this node. Each also tells the store of tokens what it needs to know.

use std::{collections::BTreeMap, time::SystemTime};

use super::MembershipConfig;
use crate::{
    ids::ConnectionId,
    store::{Error, LeaseChange, Node, Owner, Renewal, StoreParts},
};

/// The hub whose memberships are read to check the store. Users of any hub would do.
const HUB_OF_CHECKS: &str = "hubcast-check";

/// Renews the lease of the node. The holder of its name also deletes expired records of tokens.
pub(super) async fn renew(store: &StoreParts, config: &MembershipConfig) -> Result<Renewal, Error> {
    let now = SystemTime::now();
    let renewal = store.leases.renew(&config.node, now, config.lease).await?;
    if matches!(renewal, Renewal::Renewed { .. }) {
        store.tokens.delete_expired(now, config.lease, config.token_lifetime).await?;
    }
    Ok(renewal)
}

/// Reads the memberships of one user. They can be in another store, or in a table that fails alone.
pub(super) async fn read_memberships(store: &StoreParts, node: &Node) -> Result<(), Error> {
    let nobody = Owner { hub: HUB_OF_CHECKS.into(), user: (*node.id).into() };
    store.memberships.groups_of(&[nobody]).await.map(drop)
}

/// Writes lease changes. Connections that have ended no longer hold a token. Both calls can be repeated.
pub(super) async fn write(store: &StoreParts, node: &Node, changes: &[LeaseChange]) -> Result<(), Error> {
    store.leases.lease(node, changes).await?;
    let ended = ended_connections(changes);
    if ended.is_empty() {
        return Ok(());
    }
    store.tokens.release_holders(&node.id, &ended).await
}

/// The connections that are not open after these changes.
fn ended_connections(changes: &[LeaseChange]) -> Vec<ConnectionId> {
    let mut latest = BTreeMap::new();
    for change in changes {
        let (connection, since, is_open) = match change {
            LeaseChange::Opened(lease) => (&lease.connection, lease.since, true),
            LeaseChange::Closed(end) => (&end.connection, end.since, false),
        };
        let (known, was_open) = latest.entry(connection).or_insert((since, is_open));
        // The end of an earlier lease can follow the begin of the next one.
        if since >= *known {
            (*known, *was_open) = (since, is_open);
        }
    }
    latest.into_iter().filter(|(_, (_, is_open))| !is_open).map(|(connection, _)| connection.clone()).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::store::{CloseReason, Lease, LeaseEnd};

    fn opened(connection: &str, second: u64) -> LeaseChange {
        let (user_agent, transport, since) = (String::new(), String::new(), at(second));
        LeaseChange::Opened(Lease { connection: connection.into(), user: None, user_agent, transport, since })
    }

    fn closed(connection: &str, second: u64) -> LeaseChange {
        let (since, reason) = (at(second), CloseReason::Lost);
        LeaseChange::Closed(LeaseEnd { connection: connection.into(), since, at: since, reason })
    }

    fn at(second: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(second)
    }

    #[test]
    fn late_end_releases_no_newer_connection() {
        let changes = [closed("a", 1), opened("b", 1), closed("b", 1), opened("c", 2), closed("c", 1), opened("d", 1)];
        assert_eq!(ended_connections(&changes), ["a", "b"].map(ConnectionId::from));
        assert!(ended_connections(&[closed("a", 1), opened("a", 2)]).is_empty());
    }
}
