//! The statements of leases: the rows of open connections. The rows of their nodes are in [`nodes`](super::nodes).

use entities::connection;
use sea_orm::{
    ColumnTrait, DatabaseTransaction as Transaction, DbErr, EntityTrait, ExprTrait, IntoActiveModel, Iterable,
    QueryFilter, sea_query::OnConflict,
};

use super::{MAX_BIND_VARIABLES, millis, nodes};
use crate::{
    ids::ConnectionId,
    store::{Lease, LeaseChange, Node},
};

mod reduce;

/// Writes lease changes of connections on `node`.
pub(super) async fn write(transaction: &Transaction, node: &Node, changes: &[LeaseChange]) -> Result<(), DbErr> {
    let (opened, closed) = reduce::reduce(changes);
    // Invariant: every node with connections has a row, so that a renewal finds it after it dies.
    nodes::lock(transaction, node).await?;
    insert(transaction, node, &opened).await?;
    delete(transaction, node, &closed).await
}

async fn insert(transaction: &Transaction, node: &Node, leases: &[&Lease]) -> Result<(), DbErr> {
    use connection::Column;
    let values = Column::iter().filter(|column| !matches!(column, Column::ConnectionId));
    let upsert = OnConflict::column(Column::ConnectionId).update_columns(values).to_owned();
    for batch in leases.chunks(MAX_BIND_VARIABLES / Column::iter().len()) {
        let rows = batch.iter().map(|lease| row(node, lease).into_active_model());
        let rows = connection::Entity::insert_many(rows).on_conflict(upsert.clone());
        rows.exec_without_returning(transaction).await?;
    }
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
    }
}

async fn delete(transaction: &Transaction, node: &Node, connections: &[&ConnectionId]) -> Result<(), DbErr> {
    use connection::Column;
    let holder = Column::NodeId.eq(node.id.as_str()).and(Column::Incarnation.eq(node.incarnation.as_str()));
    for batch in connections.chunks(MAX_BIND_VARIABLES) {
        let named = Column::ConnectionId.is_in(batch.iter().map(|connection| connection.as_str()));
        connection::Entity::delete_many().filter(named).filter(holder.clone()).exec(transaction).await?;
    }
    Ok(())
}
