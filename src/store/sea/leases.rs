//! The statements that open leases. [`closing`](super::closing) closes them, and the rows of their nodes are in
//! [`nodes`](super::nodes).

use std::collections::HashMap;

use entities::connection;
use sea_orm::{
    ColumnTrait, DatabaseTransaction as Transaction, DbErr, EntityTrait, IntoActiveModel, Iterable, QueryFilter,
    QueryOrder, QuerySelect, sea_query::OnConflict,
};

use super::{MAX_BIND_VARIABLES, closing, millis, nodes};
use crate::store::{Lease, LeaseChange, Node};

mod reduce;

/// Writes lease changes of connections on `node`.
pub(super) async fn write(transaction: &Transaction, node: &Node, changes: &[LeaseChange]) -> Result<(), DbErr> {
    let (opened, ended) = reduce::reduce(changes);
    // Invariant: every node with connections has a row, so that a renewal finds it after it dies.
    nodes::lock(transaction, node).await?;
    insert(transaction, node, &opened).await?;
    closing::close_ended(transaction, node, &ended).await
}

async fn insert(transaction: &Transaction, node: &Node, leases: &[&Lease]) -> Result<(), DbErr> {
    use connection::Column;
    let values = Column::iter().filter(|column| !matches!(column, Column::ConnectionId));
    let upsert = OnConflict::column(Column::ConnectionId).update_columns(values).to_owned();
    let held = held_elsewhere(transaction, node, leases).await?;
    let is_late =
        |lease: &Lease| held.get(lease.connection.as_str()).is_some_and(|opened| *opened > millis::floor(lease.since));
    let leases: Vec<_> = leases.iter().filter(|lease| !is_late(lease)).collect();
    for batch in leases.chunks(MAX_BIND_VARIABLES / Column::iter().len()) {
        let rows = batch.iter().map(|lease| row(node, lease).into_active_model());
        let rows = connection::Entity::insert_many(rows).on_conflict(upsert.clone());
        rows.exec_without_returning(transaction).await?;
    }
    Ok(())
}

/// The connections among those of `leases` whose lease is open on another node, and when each lease was opened. The rows
/// are found by their keys only, as in [`closing::close_ended`].
async fn held_elsewhere(
    transaction: &Transaction,
    node: &Node,
    leases: &[&Lease],
) -> Result<HashMap<String, i64>, DbErr> {
    use connection::Column;
    let columns = [Column::ConnectionId, Column::ConnectedAt, Column::NodeId, Column::ClosedAt];
    let mut held = HashMap::new();
    for batch in leases.chunks(MAX_BIND_VARIABLES) {
        let named = Column::ConnectionId.is_in(batch.iter().map(|lease| lease.connection.as_str()));
        let rows = connection::Entity::find().select_only().columns(columns).filter(named);
        let rows = rows.order_by_asc(Column::ConnectionId).lock_exclusive();
        let rows = rows.into_tuple::<(String, i64, String, Option<i64>)>().all(transaction).await?;
        let elsewhere = rows.into_iter().filter(|(_, _, holder, closed_at)| *holder != *node.id && closed_at.is_none());
        held.extend(elsewhere.map(|(connection, since, ..)| (connection, since)));
    }
    Ok(held)
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
