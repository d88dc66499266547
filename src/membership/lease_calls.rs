//! The calls for the leases of this node. Each also tells the store of tokens what it needs to know.

use std::{collections::BTreeSet, time::SystemTime};

use super::MembershipConfig;
use crate::store::{Error, LeaseChange, Node, Renewal, StoreParts};

/// Renews the lease of the node. The holder of its name also deletes expired records of tokens.
pub(super) async fn renew(store: &StoreParts, config: &MembershipConfig) -> Result<Renewal, Error> {
    let now = SystemTime::now();
    let renewal = store.leases.renew(&config.node, now, config.lease).await?;
    if matches!(renewal, Renewal::Renewed { .. }) {
        store.tokens.delete_expired(now, config.lease, config.token_lifetime).await?;
    }
    Ok(renewal)
}

/// Writes lease changes. Connections that have ended no longer hold a token. Both calls can be repeated.
pub(super) async fn write(store: &StoreParts, node: &Node, changes: &[LeaseChange]) -> Result<(), Error> {
    store.leases.lease(node, changes).await?;
    let mut closed = BTreeSet::new();
    for change in changes {
        match change {
            LeaseChange::Opened(lease) => drop(closed.remove(&lease.connection)),
            LeaseChange::Closed(connection) => drop(closed.insert(connection.clone())),
        }
    }
    if closed.is_empty() {
        return Ok(());
    }
    store.tokens.release_holders(&node.id, &Vec::from_iter(closed)).await
}
