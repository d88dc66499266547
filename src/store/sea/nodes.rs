//! The statements of nodes: which process holds the name of a node, and until when.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use entities::{connection, node};
use sea_orm::{
    ActiveModelTrait, ColumnTrait, ConnectionTrait, DatabaseTransaction as Transaction, DbErr, EntityTrait, ExprTrait,
    IntoActiveModel, PaginatorTrait, QueryFilter, QueryOrder, QuerySelect,
    sea_query::{Expr, OnConflict},
};

use super::{
    closing::{DeadLeases, Death},
    millis,
};
use crate::store::{CloseReason, Node, NodeLease, Process, Renewal};

/// The maximum number of expired nodes in one renewal. Each costs a query, and their rows are locked by one statement with
/// eight variables for each. The next renewals have the rest.
pub(super) const MAX_EXPIRED: usize = 100;

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
    lock_rows(transaction, vec![row(node, 0, 0)]).await
}

/// Locks rows, which are sorted by the names of their nodes. Inserts those that are missing.
async fn lock_rows(transaction: &Transaction, rows: Vec<node::Model>) -> Result<(), DbErr> {
    use node::{Column, Entity};
    // An update without a change, for its lock.
    let unchanged = Expr::col((Entity, Column::LeaseUntil));
    let lock = OnConflict::column(Column::NodeId).value(Column::LeaseUntil, unchanged).to_owned();
    let rows = Entity::insert_many(rows.into_iter().map(IntoActiveModel::into_active_model)).on_conflict(lock);
    rows.exec_without_returning(transaction).await.map(drop)
}

/// The number of nodes.
pub(super) async fn count(db: &impl ConnectionTrait) -> Result<u64, DbErr> {
    node::Entity::find().count(db).await
}

/// Renews the lease of a node for `term` from `now`, unless another process holds its name. Closes the leases of earlier
/// incarnations of the node, and those of the nodes that expired first, and deletes the nodes that have none left.
pub(super) async fn renew(
    transaction: &Transaction,
    node: &Node,
    now: SystemTime,
    term: Duration,
) -> Result<Renewal, DbErr> {
    let now = millis::floor(now);
    let mut rows = lock_with_expired(transaction, node, now).await?;
    let stored = rows.remove(node.id.as_str());
    let last_renewal = stored.as_ref().map_or(0, |row| row.renewed_at);
    if let Some(other) = stored.filter(|row| row.process_id != node.process.id && row.lease_until > now) {
        return Ok(Renewal::Held(lease_of(other)));
    }
    let own = row(node, now, now.saturating_add(millis::duration(term)));
    node::Entity::update(own.into_active_model().reset_all()).exec(transaction).await?;
    let (mut dead, mut empty) = (DeadLeases::default(), Vec::new());
    find_previous_incarnations(transaction, node, (last_renewal, now), &mut dead).await?;
    for row in rows.into_values().filter(|row| row.lease_until <= now) {
        let of_node = connection::Column::NodeId.eq(row.node_id.as_str());
        let death = Death { reason: CloseReason::NodeExpired, last_renewal: row.renewed_at, now };
        if dead.find(transaction, &of_node, death).await? {
            empty.push(row.node_id);
        }
    }
    let (closed, users) = dead.close(transaction).await?;
    if !empty.is_empty() {
        node::Entity::delete_many().filter(node::Column::NodeId.is_in(empty)).exec(transaction).await?;
    }
    Ok(Renewal::Renewed { closed, users })
}

/// Locks the rows of `node` and of the nodes that expired first, and returns them by name.
///
/// Order: together and by name, because all nodes have expired after an outage of the database, and then renew their leases
/// at the same time. A row that was deleted meanwhile is inserted again, as it was. A node that writes a lease waits for
/// the lock of its row.
async fn lock_with_expired(
    transaction: &Transaction,
    node: &Node,
    now: i64,
) -> Result<BTreeMap<String, node::Model>, DbErr> {
    use node::{Column, Entity};
    let expired = Entity::find().filter(Column::LeaseUntil.lte(now)).order_by_asc(Column::LeaseUntil);
    let mut rows = expired.limit(MAX_EXPIRED as u64).all(transaction).await?;
    rows.retain(|row| row.node_id != *node.id);
    rows.push(row(node, 0, 0));
    rows.sort_unstable_by(|one, other| one.node_id.cmp(&other.node_id));
    let names = Vec::from_iter(rows.iter().map(|row| row.node_id.clone()));
    lock_rows(transaction, rows).await?;
    let locked = Entity::find().filter(Column::NodeId.is_in(names)).all(transaction).await?;
    Ok(locked.into_iter().map(|row| (row.node_id.clone(), row)).collect())
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
async fn find_previous_incarnations(
    transaction: &Transaction,
    node: &Node,
    (last_renewal, now): (i64, i64),
    dead: &mut DeadLeases,
) -> Result<(), DbErr> {
    use connection::Column;
    let (of_node, current) = (Column::NodeId.eq(node.id.as_str()), node.incarnation.as_str());
    for earlier in [Column::Incarnation.lt(current), Column::Incarnation.gt(current)] {
        let death = Death { reason: CloseReason::NodeRestarted, last_renewal, now };
        dead.find(transaction, &of_node.clone().and(earlier), death).await?;
    }
    Ok(())
}
