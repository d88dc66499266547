//! The statements that close leases, delete closed ones, and record when users were last seen.

use std::collections::{BTreeMap, HashMap};

use entities::{connection, user_last_seen};
use sea_orm::{
    ColumnTrait, DatabaseTransaction as Transaction, DbErr, EntityTrait, ExprTrait, IntoActiveModel, QueryFilter,
    QueryOrder, QuerySelect,
    sea_query::{Expr, OnConflict},
};

use super::{MAX_BIND_VARIABLES, activity, backend, millis};
use crate::{
    ids::UserId,
    store::{CLOSED_LEASE_TERM, CloseReason, LAST_SEEN_TERM, LastSeen, LeaseEnd, MAX_CLOSED_LEASES, Node},
};

/// The maximum number of leases of dead processes that one renewal closes. They take well under a second, and other nodes
/// can wait for the renewal. The next renewals close the rest.
pub(super) const MAX_CLOSED_PER_RENEWAL: usize = 10_000;

/// The maximum number of closed leases, and of last-seen times, that one renewal deletes. The next renewals delete the rest.
pub(super) const MAX_DELETED_PER_RENEWAL: usize = 10_000;

/// The columns of [`connection::Model`].
const COLUMNS: usize = 10;

/// The users whose leases were closed, and when each was last seen.
type Seen = BTreeMap<String, i64>;

fn see(seen: &mut Seen, user: Option<String>, at: i64) {
    if let Some(user) = user {
        let last = seen.entry(user).or_insert(at);
        *last = Ord::max(at, *last);
    }
}

/// A lease: connection, user, when it was opened, node, incarnation, and when it was closed.
type StoredLease = (String, Option<String>, i64, String, String, Option<i64>);

fn select_lease() -> sea_orm::Select<connection::Entity> {
    use connection::Column;
    let lease = [Column::ConnectionId, Column::UserName, Column::ConnectedAt];
    let holder = [Column::NodeId, Column::Incarnation, Column::ClosedAt];
    connection::Entity::find().select_only().columns(lease).columns(holder)
}

/// Closes the leases that `node` holds and that have ended.
///
/// The rows are found by their keys only: with further conditions, a database may prefer another index, and then compares
/// each row of the node with each key.
pub(super) async fn close_ended(transaction: &Transaction, node: &Node, ends: &[&LeaseEnd]) -> Result<(), DbErr> {
    use connection::Column;
    let mut seen = Seen::new();
    for batch in ends.chunks(MAX_BIND_VARIABLES) {
        let named = Column::ConnectionId.is_in(batch.iter().map(|end| end.connection.as_str()));
        let rows = select_lease().filter(named).order_by_asc(Column::ConnectionId).lock_exclusive();
        let mut held: HashMap<_, _> = rows
            .into_tuple::<StoredLease>()
            .all(transaction)
            .await?
            .into_iter()
            .filter(|(.., node_id, incarnation, closed_at)| {
                *node_id == *node.id && *incarnation == node.incarnation && closed_at.is_none()
            })
            .map(|(id, user, since, ..)| (id, (user, since)))
            .collect();
        let mut closed = Vec::new();
        for end in batch {
            let (id, opened) = (end.connection.as_str(), millis::floor(end.since));
            if held.get(id).is_some_and(|(_, since)| *since == opened) {
                let user = held.remove(id).and_then(|(user, _)| user);
                see(&mut seen, user, millis::floor(end.at));
                closed.push(*end);
            }
        }
        write_ends(transaction, &closed).await?;
    }
    record_last_seen(transaction, &seen).await
}

/// Writes the ends of rows that exist and are locked: an insert that finds every row, because it takes other values for
/// each row. The other columns keep their values.
async fn write_ends(transaction: &Transaction, ends: &[&LeaseEnd]) -> Result<(), DbErr> {
    use connection::Column;
    let changed = [Column::LastSeenAt, Column::ClosedAt, Column::CloseReason];
    let update = OnConflict::column(Column::ConnectionId).update_columns(changed).to_owned();
    for batch in ends.chunks(MAX_BIND_VARIABLES / COLUMNS) {
        let rows = batch.iter().map(|end| ended_row(end).into_active_model());
        let rows = connection::Entity::insert_many(rows).on_conflict(update.clone());
        rows.exec_without_returning(transaction).await?;
    }
    Ok(())
}

fn ended_row(end: &LeaseEnd) -> connection::Model {
    let at = millis::floor(end.at);
    connection::Model {
        connection_id: end.connection.to_string(),
        user_name: None,
        user_agent: String::new(),
        transport: String::new(),
        node_id: String::new(),
        incarnation: String::new(),
        connected_at: millis::floor(end.since),
        last_seen_at: at,
        closed_at: Some(at),
        close_reason: Some(end.reason.name().to_owned()),
    }
}

/// A process or an incarnation that has died.
pub(super) struct Death {
    pub(super) reason: CloseReason,
    /// Its last renewal: it was alive then.
    pub(super) last_renewal: i64,
    /// When its death was noticed.
    pub(super) now: i64,
}

/// The leases of dead processes that one renewal has closed.
#[derive(Default)]
pub(super) struct DeadLeases {
    count: usize,
    seen: Seen,
}

impl DeadLeases {
    /// Closes open leases that match `of_dead`. Returns false if some can be left for the next renewal.
    pub(super) async fn close(
        &mut self,
        transaction: &Transaction,
        of_dead: &Expr,
        death: &Death,
    ) -> Result<bool, DbErr> {
        use connection::Column;
        while self.count < MAX_CLOSED_PER_RENEWAL {
            // A node that takes a lease over meanwhile waits for the lock, or the row is skipped.
            let rows = select_lease().filter(of_dead.clone()).filter(Column::ClosedAt.is_null());
            let limit = MAX_BIND_VARIABLES.min(MAX_CLOSED_PER_RENEWAL - self.count);
            let rows = rows.limit(limit as u64).lock_exclusive();
            let rows = rows.into_tuple::<StoredLease>().all(transaction).await?;
            if rows.is_empty() {
                return Ok(true);
            }
            let opened_later = Column::ConnectedAt.gt(death.last_renewal);
            let last_seen = Expr::case(opened_later, Column::ConnectedAt.into_expr()).finally(death.last_renewal);
            connection::Entity::update_many()
                .col_expr(Column::LastSeenAt, last_seen.into())
                .col_expr(Column::ClosedAt, Expr::value(death.now))
                .col_expr(Column::CloseReason, Expr::value(death.reason.name()))
                .filter(Column::ConnectionId.is_in(rows.iter().map(|(id, ..)| id.as_str())))
                .exec(transaction)
                .await?;
            self.count += rows.len();
            for (_, user, since, ..) in rows {
                see(&mut self.seen, user, Ord::max(since, death.last_renewal));
            }
        }
        Ok(false)
    }

    /// Records when the users were last seen. Returns the number of closed leases, and these users, some of which were seen
    /// later by other nodes.
    pub(super) async fn finish(self, transaction: &Transaction) -> Result<(u64, Vec<LastSeen>), DbErr> {
        record_last_seen(transaction, &self.seen).await?;
        let (names, mut users) = (Vec::from_iter(self.seen.into_keys().map(UserId::from)), Vec::new());
        for batch in names.chunks(MAX_BIND_VARIABLES) {
            let seen = activity::last_seen(transaction, batch).await?.into_iter();
            users.extend(seen.map(|(user, at)| LastSeen { user: user.into(), at: millis::time(at) }));
        }
        Ok((self.count as u64, users))
    }
}

/// Records when users were last seen. An earlier time than the stored one changes nothing.
///
/// Order: by name, so that two transactions rarely wait for each other in a circle.
async fn record_last_seen(transaction: &Transaction, seen: &Seen) -> Result<(), DbErr> {
    use user_last_seen::{Column, Entity, Model};
    let stored = Expr::col((Entity, Column::LastSeenAt));
    let new = || backend::inserted(transaction, &Column::LastSeenAt);
    let latest = Expr::case(stored.clone().lt(new()), new()).finally(stored);
    let upsert = OnConflict::column(Column::UserName).value(Column::LastSeenAt, latest).to_owned();
    let rows = Vec::from_iter(seen);
    for batch in rows.chunks(MAX_BIND_VARIABLES / 2) {
        let row = |(user, at): &(&String, &i64)| Model { user_name: (*user).clone(), last_seen_at: **at };
        let rows = Entity::insert_many(batch.iter().map(|seen| row(seen).into_active_model()));
        rows.on_conflict(upsert.clone()).exec_without_returning(transaction).await?;
    }
    Ok(())
}

/// Deletes the closed leases and the last-seen times that are too old or too many, at most [`MAX_DELETED_PER_RENEWAL`] of
/// each.
pub(super) async fn prune(transaction: &Transaction, now: i64) -> Result<(), DbErr> {
    use connection::Column;
    let newest_excess = connection::Entity::find()
        .select_only()
        .column(Column::ClosedAt)
        .filter(Column::ClosedAt.is_not_null())
        .order_by_desc(Column::ClosedAt)
        .offset(MAX_CLOSED_LEASES as u64)
        .limit(1);
    let newest_excess = newest_excess.into_tuple::<i64>().one(transaction).await?;
    let too_old = now.saturating_sub(millis::duration(CLOSED_LEASE_TERM));
    let last_closed = newest_excess.map_or(too_old, |excess| Ord::max(excess, too_old));
    delete_oldest::<connection::Entity>(transaction, Column::ConnectionId, Column::ClosedAt, last_closed).await?;
    use user_last_seen::Column as Seen;
    let last_forgotten = now.saturating_sub(millis::duration(LAST_SEEN_TERM));
    delete_oldest::<user_last_seen::Entity>(transaction, Seen::UserName, Seen::LastSeenAt, last_forgotten).await
}

/// Deletes the rows with the earliest times, as far as they are not after `last`.
async fn delete_oldest<E: EntityTrait>(
    transaction: &Transaction,
    key: E::Column,
    time: E::Column,
    last: i64,
) -> Result<(), DbErr> {
    for _ in 0..MAX_DELETED_PER_RENEWAL / MAX_BIND_VARIABLES {
        let oldest = E::find().select_only().column(key).filter(time.lte(last)).order_by_asc(time);
        let keys = oldest.limit(MAX_BIND_VARIABLES as u64).into_tuple::<String>().all(transaction).await?;
        // A row can have changed meanwhile: a connection is open again, or a user was seen.
        E::delete_many().filter(key.is_in(&keys)).filter(time.lte(last)).exec(transaction).await?;
        if keys.len() < MAX_BIND_VARIABLES {
            break;
        }
    }
    Ok(())
}
