//! The statements that open leases. [`closing`](super::closing) closes them, and the rows of their nodes are in
//! [`nodes`](super::nodes).

use std::collections::{BTreeSet, HashMap};

use entities::connection;
use sea_orm::{
    DatabaseTransaction as Transaction, DbErr, EntityTrait, IntoActiveModel, Iterable, sea_query::OnConflict,
};

use super::{
    MAX_BIND_VARIABLES,
    closing::{self, StoredLease},
    millis, nodes,
};
use crate::store::{Lease, LeaseChange, Node};

mod reduce;

/// Writes lease changes of connections on `node`.
pub(super) async fn write(transaction: &Transaction, node: &Node, changes: &[LeaseChange]) -> Result<(), DbErr> {
    let (opened, ended) = reduce::reduce(changes);
    // Invariant: every node with connections has a row, so that a renewal finds it after it dies.
    nodes::lock(transaction, node).await?;
    // Order: lock the connections that open and those that end together, because one can move from another node to this
    // one while another one moves back.
    let opening = opened.iter().map(|lease| lease.connection.as_str());
    let connections: BTreeSet<_> = opening.chain(ended.iter().map(|end| end.connection.as_str())).collect();
    let mut stored = closing::lock(transaction, &Vec::from_iter(connections)).await?;
    insert(transaction, node, &opened, &mut stored).await?;
    closing::close_ended(transaction, node, &ended, stored).await
}

/// Opens leases, unless they are open on another node and were opened later. `stored` are the leases of the connections.
async fn insert(
    transaction: &Transaction,
    node: &Node,
    leases: &[&Lease],
    stored: &mut HashMap<String, StoredLease>,
) -> Result<(), DbErr> {
    use connection::Column;
    let values = Column::iter().filter(|column| !matches!(column, Column::ConnectionId));
    let upsert = OnConflict::column(Column::ConnectionId).update_columns(values).to_owned();
    let is_late = |lease: &Lease| {
        let stored = stored.get(lease.connection.as_str()).filter(|stored| stored.is_open && *stored.node != *node.id);
        stored.is_some_and(|stored| stored.since > millis::floor(lease.since))
    };
    let rows: Vec<_> = leases.iter().filter(|lease| !is_late(lease)).map(|lease| row(node, lease)).collect();
    for batch in rows.chunks(MAX_BIND_VARIABLES / Column::iter().len()) {
        let rows = connection::Entity::insert_many(batch.iter().cloned().map(IntoActiveModel::into_active_model));
        rows.on_conflict(upsert.clone()).exec_without_returning(transaction).await?;
    }
    stored.extend(rows.into_iter().map(|row| {
        let connection::Model {
            connection_id, user_name: user, connected_at: since, node_id: node, incarnation, ..
        } = row;
        (connection_id, StoredLease { user, since, node, incarnation, is_open: true })
    }));
    Ok(())
}

fn row(node: &Node, lease: &Lease) -> connection::Model {
    connection::Model {
        connection_id: lease.connection.to_string(),
        user_name: lease.user.as_ref().map(ToString::to_string),
        user_agent: lease.user_agent.clone(),
        transport: lease.transport.clone(),
        node_id: node.id.to_string(),
        incarnation: node.incarnation.clone(),
        connected_at: millis::floor(lease.since),
        last_seen_at: millis::floor(lease.since),
        closed_at: None,
        close_reason: None,
    }
}
