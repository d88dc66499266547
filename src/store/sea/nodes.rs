//! The statements of nodes: which process holds the name of a node, and until when.

use std::time::{Duration, SystemTime};

use entities::{connection, node};
use sea_orm::{
    ActiveModelTrait, ColumnTrait, ConnectionTrait, DatabaseTransaction as Transaction, DbErr, EntityTrait, ExprTrait,
    IntoActiveModel, PaginatorTrait, QueryFilter, QueryOrder, QuerySelect,
    sea_query::{Expr, OnConflict},
};

use super::{
    closing::{self, DeadLeases, Death},
    millis,
};
use crate::store::{CloseReason, Node, NodeLease, Process, Renewal};

fn row(node: &Node, renewed_at: i64, lease_until: i64) -> node::Model {
    let Node { id, incarnation, process } = node;
    node::Model {
        node_id: id.to_string(),
        incarnation: incarnation.clone(),
        renewed_at,
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
    Entity::insert(row(node, 0, 0).into_active_model())
        .on_conflict(lock)
        .exec_without_returning(transaction)
        .await
        .map(drop)
}

/// The number of nodes.
pub(super) async fn count(db: &impl ConnectionTrait) -> Result<u64, DbErr> {
    node::Entity::find().count(db).await
}

/// Renews the lease of a node for `term` from `now`, unless another process holds its name. Closes the leases of earlier
/// incarnations of the node, and those of expired nodes, and deletes closed leases that are too old or too many.
pub(super) async fn renew(
    transaction: &Transaction,
    node: &Node,
    now: SystemTime,
    term: Duration,
) -> Result<Renewal, DbErr> {
    let now = millis::floor(now);
    lock(transaction, node).await?;
    let stored = node::Entity::find_by_id(node.id.as_str()).one(transaction).await?;
    let last_renewal = stored.as_ref().map_or(0, |row| row.renewed_at);
    if let Some(other) = stored.filter(|row| row.process_id != node.process.id && row.lease_until > now) {
        return Ok(Renewal::Held(lease_of(other)));
    }
    let own = row(node, now, now.saturating_add(millis::duration(term)));
    node::Entity::update(own.into_active_model().reset_all()).exec(transaction).await?;
    let mut dead = DeadLeases::default();
    close_previous_incarnations(transaction, node, (last_renewal, now), &mut dead).await?;
    close_expired(transaction, now, &mut dead).await?;
    let (closed, users) = dead.finish(transaction).await?;
    closing::prune(transaction, now).await?;
    Ok(Renewal::Renewed { closed, users })
}

fn lease_of(row: node::Model) -> NodeLease {
    let until = (row.lease_until < i64::MAX).then(|| millis::time(row.lease_until));
    let (pid, since) = (row.pid.try_into().unwrap_or(0), millis::time(row.started_at));
    NodeLease { process: Process { id: row.process_id, host: row.host, pid, since }, until }
}

/// Lets the lease of a node expire, if its process holds the name.
pub(super) async fn release(transaction: &Transaction, node: &Node) -> Result<(), DbErr> {
    use node::Column;
    let own = Column::NodeId.eq(node.id.as_str()).and(Column::ProcessId.eq(node.process.id.as_str()));
    let row = node::Entity::update_many().filter(own).col_expr(Column::LeaseUntil, Expr::value(0_i64));
    row.exec(transaction).await.map(drop)
}

/// The conditions are `<` and `>` instead of `<>`, because an index serves those: the cost depends on the closed leases
/// only.
async fn close_previous_incarnations(
    transaction: &Transaction,
    node: &Node,
    (last_renewal, now): (i64, i64),
    dead: &mut DeadLeases,
) -> Result<(), DbErr> {
    use connection::Column;
    let (of_node, current) = (Column::NodeId.eq(node.id.as_str()), node.incarnation.as_str());
    let death = Death { reason: CloseReason::NodeRestarted, last_renewal, now };
    for earlier in [Column::Incarnation.lt(current), Column::Incarnation.gt(current)] {
        dead.close(transaction, &of_node.clone().and(earlier), &death).await?;
    }
    Ok(())
}

/// Closes the leases of expired nodes, and deletes the nodes that have none left.
///
/// Order: lock the expired nodes, then close their leases. A node that writes a lease meanwhile waits for the lock, and
/// inserts its row again.
async fn close_expired(transaction: &Transaction, now: i64, dead: &mut DeadLeases) -> Result<(), DbErr> {
    use node::Column;
    let expired = node::Entity::find().select_only().columns([Column::NodeId, Column::RenewedAt]);
    let expired = expired.filter(Column::LeaseUntil.lte(now)).order_by_asc(Column::NodeId).lock_exclusive();
    let mut empty = Vec::new();
    for (node_id, last_renewal) in expired.into_tuple::<(String, i64)>().all(transaction).await? {
        let of_node = connection::Column::NodeId.eq(node_id.as_str());
        let death = Death { reason: CloseReason::NodeExpired, last_renewal, now };
        if dead.close(transaction, &of_node, &death).await? {
            empty.push(node_id);
        }
    }
    if !empty.is_empty() {
        node::Entity::delete_many().filter(Column::NodeId.is_in(empty)).exec(transaction).await?;
    }
    Ok(())
}
