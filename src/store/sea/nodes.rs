//! The rows of nodes: which process holds the name of a node, and until when. Methods of
//! [`SeaStore`](super::SeaStore) use it.

use std::time::{Duration, UNIX_EPOCH};

use entities::{connection, node};
use sea_orm::{
    ColumnTrait, DatabaseTransaction as Transaction, DbErr, EntityTrait, ExprTrait, IntoActiveModel, Iterable,
    QueryFilter, QuerySelect, QueryTrait,
    sea_query::{Expr, OnConflict},
};

use super::millis;
use crate::store::{Node, NodeLease, Process};

fn row(node: &Node, lease_until: i64) -> node::ActiveModel {
    let Node { id, incarnation, process } = node;
    let row = node::Model {
        node_id: id.to_string(),
        incarnation: incarnation.clone(),
        lease_until,
        process_id: process.id.clone(),
        host: process.host.clone(),
        pid: process.pid.into(),
        started_at: millis::floor(process.since),
    };
    row.into_active_model()
}

/// Inserts the row of a node that has not renewed its lease, if there is none. It expires at the Unix epoch.
pub(super) async fn insert_expired(transaction: &Transaction, node: &Node) -> Result<(), DbErr> {
    let inserted = node::Entity::insert(row(node, 0)).on_conflict_do_nothing();
    inserted.exec_without_returning(transaction).await.map(drop)
}

/// Renews the lease of a node for `term` from `now`, or returns the lease of another process that holds the name.
pub(super) async fn renew(
    transaction: &Transaction,
    node: &Node,
    now: i64,
    term: i64,
) -> Result<Option<NodeLease>, DbErr> {
    use node::Column;
    let is_own = Expr::col((node::Entity, Column::ProcessId)).eq(node.process.id.as_str());
    let is_free = Expr::col((node::Entity, Column::LeaseUntil)).lte(now);
    let mut upsert = OnConflict::column(Column::NodeId);
    upsert.update_columns(Column::iter()).action_and_where(is_own.or(is_free));
    let renewed = node::Entity::insert(row(node, now.saturating_add(term))).on_conflict(upsert);
    if renewed.exec_without_returning(transaction).await? > 0 {
        return Ok(None);
    }
    let held = node::Entity::find_by_id(node.id.as_str()).one(transaction).await?;
    Ok(held.map(lease_of))
}

fn lease_of(row: node::Model) -> NodeLease {
    let time = |millis: i64| UNIX_EPOCH + Duration::from_millis(millis.try_into().unwrap_or(0));
    let until = (row.lease_until < i64::MAX).then(|| time(row.lease_until));
    let pid = row.pid.try_into().unwrap_or(0);
    NodeLease { process: Process { id: row.process_id, host: row.host, pid, since: time(row.started_at) }, until }
}

/// Lets the lease of a node expire, if its process holds the name.
pub(super) async fn release(transaction: &Transaction, node: &Node) -> Result<(), DbErr> {
    use node::Column;
    let own = Column::NodeId.eq(node.id.as_str()).and(Column::ProcessId.eq(node.process.id.as_str()));
    let row = node::Entity::update_many().filter(own).col_expr(Column::LeaseUntil, Expr::value(0_i64));
    row.exec(transaction).await.map(drop)
}

/// Deletes the connections of earlier incarnations of this node and returns their number. The conditions are `<` and
/// `>` instead of `<>`, because an index serves those: the cost depends on the deleted rows only.
pub(super) async fn delete_previous_incarnations(transaction: &Transaction, node: &Node) -> Result<u64, DbErr> {
    use connection::Column;
    let (of_node, current) = (Column::NodeId.eq(node.id.as_str()), node.incarnation.as_str());
    let mut removed = 0;
    for earlier in [Column::Incarnation.lt(current), Column::Incarnation.gt(current)] {
        let rows = connection::Entity::delete_many().filter(of_node.clone()).filter(earlier);
        removed += rows.exec(transaction).await?.rows_affected;
    }
    Ok(removed)
}

/// Deletes the nodes whose lease has expired, and their connections. Returns the number of deleted connections.
pub(super) async fn delete_expired(transaction: &Transaction, now: i64) -> Result<u64, DbErr> {
    use node::Column;
    let expired = node::Entity::find().select_only().column(Column::NodeId).filter(Column::LeaseUntil.lte(now));
    let of_expired = connection::Column::NodeId.in_subquery(expired.into_query());
    let removed = connection::Entity::delete_many().filter(of_expired).exec(transaction).await?.rows_affected;
    node::Entity::delete_many().filter(Column::LeaseUntil.lte(now)).exec(transaction).await?;
    Ok(removed)
}
