//! The queries of leases: the record of a connection, and the activity of users.

use std::{
    collections::{BTreeSet, HashMap},
    time::SystemTime,
};

use entities::{connection, node, user_last_seen};
use sea_orm::{ColumnTrait, ConnectionTrait, DbErr, EntityTrait, QueryFilter, QuerySelect};

use super::{MAX_BIND_VARIABLES, millis};
use crate::{
    ids::{ConnectionId, NodeId, UserId},
    store::{CloseReason, Lease, LeaseRecord, UserActivity},
};

pub(super) async fn find(db: &impl ConnectionTrait, connection: &ConnectionId) -> Result<Option<LeaseRecord>, DbErr> {
    let row = connection::Entity::find_by_id(connection.as_str()).one(db).await?;
    let Some(row) = row else { return Ok(None) };
    let node = node::Entity::find_by_id(row.node_id.as_str()).one(db).await?;
    record_of(row, node.map_or(0, |node| node.renewed_at)).map(Some)
}

fn record_of(row: connection::Model, renewed_at: i64) -> Result<LeaseRecord, DbErr> {
    let closed = match (row.closed_at, row.close_reason.as_deref()) {
        (Some(at), Some(name)) => {
            let unknown = || DbErr::Type(format!("a lease was closed for an unknown reason `{name}`"));
            Some((millis::time(at), CloseReason::of_name(name).ok_or_else(unknown)?))
        }
        _ => None,
    };
    let last_seen = if closed.is_some() { row.last_seen_at } else { row.last_seen_at.max(renewed_at) };
    let lease = Lease {
        connection: row.connection_id.into(),
        user: row.user_name.map(UserId::from),
        user_agent: row.user_agent,
        transport: row.transport,
        since: millis::time(row.connected_at),
    };
    Ok(LeaseRecord { lease, node: row.node_id.into(), last_seen: millis::time(last_seen), closed })
}

/// What is known of one user.
#[derive(Default)]
struct Activity {
    nodes: BTreeSet<NodeId>,
    last_seen: Option<i64>,
}

impl Activity {
    fn see(&mut self, at: i64) {
        self.last_seen = self.last_seen.max(Some(at));
    }
}

pub(super) async fn activity(
    db: &impl ConnectionTrait,
    users: &[UserId],
    now: SystemTime,
) -> Result<Vec<UserActivity>, DbErr> {
    let nodes = node::Entity::find().all(db).await?;
    let nodes: HashMap<&str, &node::Model> = nodes.iter().map(|node| (&*node.node_id, node)).collect();
    let (now, mut found) = (millis::floor(now), HashMap::<String, Activity>::new());
    for batch in users.chunks(MAX_BIND_VARIABLES) {
        for (user, last_seen) in last_seen(db, batch).await? {
            found.entry(user).or_default().see(last_seen);
        }
        for (user, node_id, incarnation, since) in open_leases(db, batch).await? {
            let Some(node) = nodes.get(&*node_id).filter(|node| node.incarnation == incarnation) else { continue };
            let activity = found.entry(user).or_default();
            activity.see(node.renewed_at.max(since));
            if node.lease_until > now {
                activity.nodes.insert(node_id.into());
            }
        }
    }
    let answer = |user: &UserId| {
        let activity = found.get(user.as_str());
        let nodes = activity.map_or_else(Vec::new, |activity| activity.nodes.iter().cloned().collect());
        UserActivity { nodes, last_seen: activity.and_then(|activity| activity.last_seen).map(millis::time) }
    };
    Ok(users.iter().map(answer).collect())
}

/// When each of these users was last seen. Open leases do not count.
pub(super) async fn last_seen(db: &impl ConnectionTrait, users: &[UserId]) -> Result<Vec<(String, i64)>, DbErr> {
    use user_last_seen::Column;
    let rows = user_last_seen::Entity::find().select_only().columns([Column::UserName, Column::LastSeenAt]);
    let rows = rows.filter(Column::UserName.is_in(users.iter().map(UserId::as_str)));
    rows.into_tuple().all(db).await
}

/// For each user, node and incarnation with open leases, when the latest of them was opened.
async fn open_leases(db: &impl ConnectionTrait, users: &[UserId]) -> Result<Vec<(String, String, String, i64)>, DbErr> {
    use connection::Column;
    let columns = [Column::UserName, Column::NodeId, Column::Incarnation];
    let open = connection::Entity::find().select_only().columns(columns);
    let open = open.column_as(Column::ConnectedAt.max(), "latest").filter(Column::ClosedAt.is_null());
    let open = open.filter(Column::UserName.is_in(users.iter().map(UserId::as_str)));
    columns.into_iter().fold(open, QuerySelect::group_by).into_tuple().all(db).await
}
