//! The statements of nodes: which process holds the name of a node, and until when.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use entities::{connection, node};
use sea_orm::{
    ActiveModelTrait, ColumnTrait, ConnectionTrait, DatabaseTransaction as Transaction, DbErr, EntityTrait, ExprTrait,
    IntoActiveModel, PaginatorTrait, QueryFilter, QueryOrder, QuerySelect,
    sea_query::{Expr, OnConflict},
};

use super::millis;
use crate::store::{Node, NodeLease, Process, Renewal};

fn row(node: &Node, lease_until: i64) -> node::Model {
    let Node { id, incarnation, process } = node;
    node::Model {
        node_id: id.to_string(),
        incarnation: incarnation.clone(),
        lease_until,
        process_id: process.id.clone(),
        host: process.host.clone(),
        pid: process.pid.into(),
        started_at: millis::floor(process.since),
    }
}

/// Locks the row of a node. Inserts a missing one, whose lease has expired at the Unix epoch.
pub(super) async fn lock(transaction: &Transaction, node: &Node) -> Result<(), DbErr> {
    use node::{Column, Entity};
    // An update without a change, for its lock.
    let unchanged = Expr::col((Entity, Column::LeaseUntil));
    let lock = OnConflict::column(Column::NodeId).value(Column::LeaseUntil, unchanged).to_owned();
    Entity::insert(row(node, 0).into_active_model())
        .on_conflict(lock)
        .exec_without_returning(transaction)
        .await
        .map(drop)
}

/// The number of nodes.
pub(super) async fn count(db: &impl ConnectionTrait) -> Result<u64, DbErr> {
    node::Entity::find().count(db).await
}

/// Renews the lease of a node for `term` from `now`, unless another process holds its name. Deletes the connections of
/// earlier incarnations of the node, and the expired nodes with their connections.
pub(super) async fn renew(
    transaction: &Transaction,
    node: &Node,
    now: SystemTime,
    term: Duration,
) -> Result<Renewal, DbErr> {
    let now = millis::floor(now);
    lock(transaction, node).await?;
    let stored = node::Entity::find_by_id(node.id.as_str()).one(transaction).await?;
    if let Some(other) = stored.filter(|row| row.process_id != node.process.id && row.lease_until > now) {
        return Ok(Renewal::Held(lease_of(other)));
    }
    let own = row(node, now.saturating_add(millis::duration(term)));
    node::Entity::update(own.into_active_model().reset_all()).exec(transaction).await?;
    let earlier = delete_previous_incarnations(transaction, node).await?;
    Ok(Renewal::Renewed { deleted: earlier + delete_expired(transaction, now).await? })
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

/// The conditions are `<` and `>` instead of `<>`, because an index serves those: the cost depends on the deleted rows
/// only.
async fn delete_previous_incarnations(transaction: &Transaction, node: &Node) -> Result<u64, DbErr> {
    use connection::Column;
    let (of_node, current) = (Column::NodeId.eq(node.id.as_str()), node.incarnation.as_str());
    let mut removed = 0;
    for earlier in [Column::Incarnation.lt(current), Column::Incarnation.gt(current)] {
        let rows = connection::Entity::delete_many().filter(of_node.clone()).filter(earlier);
        removed += rows.exec(transaction).await?.rows_affected;
    }
    Ok(removed)
}

/// Order: lock the expired nodes, then delete their connections. A node that writes a lease meanwhile waits for the lock,
/// and inserts its row again.
async fn delete_expired(transaction: &Transaction, now: i64) -> Result<u64, DbErr> {
    use node::Column;
    let expired = node::Entity::find().select_only().column(Column::NodeId).filter(Column::LeaseUntil.lte(now));
    let expired = expired.order_by_asc(Column::NodeId).lock_exclusive();
    let expired = expired.into_tuple::<String>().all(transaction).await?;
    if expired.is_empty() {
        return Ok(0);
    }
    let of_expired = connection::Column::NodeId.is_in(&expired);
    let removed = connection::Entity::delete_many().filter(of_expired).exec(transaction).await?.rows_affected;
    node::Entity::delete_many().filter(Column::NodeId.is_in(&expired)).exec(transaction).await?;
    Ok(removed)
}
