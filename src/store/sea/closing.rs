//! The statements that close leases, delete closed ones, and record when users were last seen.

use std::collections::{BTreeMap, HashMap};

use entities::{connection, user_last_seen};
use sea_orm::{
    ColumnTrait, DatabaseTransaction as Transaction, DbErr, EntityTrait, ExprTrait, IntoActiveModel, QueryFilter,
    QueryOrder, QuerySelect,
    sea_query::{Expr, OnConflict},
};

use super::{MAX_BIND_VARIABLES, activity, backend, expiry::Expired, millis};
use crate::{
    ids::UserId,
    store::{CLOSED_LEASE_TERM, CloseReason, LAST_SEEN_TERM, LastSeen, LeaseEnd, MAX_CLOSED_LEASES, Node},
};

/// The maximum number of leases of dead processes that one renewal closes. They take well under a second, and other nodes
/// can wait for the renewal. The next renewals close the rest.
pub(super) const MAX_CLOSED_PER_RENEWAL: usize = 10_000;

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

/// A stored lease.
pub(super) struct StoredLease {
    pub(super) user: Option<String>,
    pub(super) since: i64,
    pub(super) node: String,
    pub(super) incarnation: String,
    pub(super) is_open: bool,
}

/// Locks the rows of connections, as far as they exist, and returns them by connection.
///
/// The rows are found by their keys only: with further conditions, a database may prefer another index, and then compares
/// each row of the node with each key. Order: `connections` are sorted, and a transaction calls it once.
pub(super) async fn lock(
    transaction: &Transaction,
    connections: &[&str],
) -> Result<HashMap<String, StoredLease>, DbErr> {
    use connection::Column;
    let columns = [Column::ConnectionId, Column::UserName, Column::ConnectedAt];
    let holder = [Column::NodeId, Column::Incarnation, Column::ClosedAt];
    let mut stored = HashMap::new();
    for batch in connections.chunks(MAX_BIND_VARIABLES) {
        let named = Column::ConnectionId.is_in(batch.iter().copied());
        let rows = connection::Entity::find().select_only().columns(columns).columns(holder).filter(named);
        let rows = rows.order_by_asc(Column::ConnectionId).lock_exclusive();
        let rows = rows.into_tuple::<(String, Option<String>, i64, String, String, Option<i64>)>();
        stored.extend(rows.all(transaction).await?.into_iter().map(
            |(id, user, since, node, incarnation, closed_at)| {
                (id, StoredLease { user, since, node, incarnation, is_open: closed_at.is_none() })
            },
        ));
    }
    Ok(stored)
}

/// Closes the leases that `node` holds and that have ended. `stored` are the leases of the connections, which are locked.
pub(super) async fn close_ended(
    transaction: &Transaction,
    node: &Node,
    ends: &[&LeaseEnd],
    mut stored: HashMap<String, StoredLease>,
) -> Result<(), DbErr> {
    stored.retain(|_, lease| lease.is_open && *lease.node == *node.id && lease.incarnation == node.incarnation);
    let (mut seen, mut closed) = (Seen::new(), Vec::new());
    for end in ends {
        let (id, opened) = (end.connection.as_str(), millis::floor(end.since));
        if stored.get(id).is_some_and(|lease| lease.since == opened) {
            let user = stored.remove(id).and_then(|lease| lease.user);
            see(&mut seen, user, millis::floor(end.at));
            closed.push(*end);
        }
    }
    write_ends(transaction, &closed).await?;
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

/// The leases of dead processes that one renewal closes.
#[derive(Default)]
pub(super) struct DeadLeases {
    deaths: Vec<Death>,
    /// The node, the incarnation, and the index of the death of each connection.
    found: BTreeMap<String, (String, String, usize)>,
}

impl DeadLeases {
    /// Finds the open leases that match `of_dead`, which the dead process cannot change. Returns false if some can be left
    /// for the next renewal.
    pub(super) async fn find(
        &mut self,
        transaction: &Transaction,
        of_dead: &Expr,
        death: Death,
    ) -> Result<bool, DbErr> {
        use connection::Column;
        let (room, index) = (MAX_CLOSED_PER_RENEWAL - self.found.len(), self.deaths.len());
        self.deaths.push(death);
        let holder = [Column::ConnectionId, Column::NodeId, Column::Incarnation];
        let rows = connection::Entity::find().select_only().columns(holder).filter(of_dead.clone());
        let rows = rows.filter(Column::ClosedAt.is_null()).limit(room as u64);
        let rows = rows.into_tuple::<(String, String, String)>().all(transaction).await?;
        let found = rows.len();
        self.found.extend(rows.into_iter().map(|(id, node, incarnation)| (id, (node, incarnation, index))));
        Ok(found < room)
    }

    /// Closes the leases that were found and records when their users were last seen. Returns the number of closed leases,
    /// and these users, some of which were seen later by other nodes.
    pub(super) async fn close(self, transaction: &Transaction) -> Result<(u64, Vec<LastSeen>), DbErr> {
        let connections = Vec::from_iter(self.found.keys().map(String::as_str));
        let (mut seen, mut of_deaths) = (Seen::new(), vec![Vec::new(); self.deaths.len()]);
        for (id, lease) in lock(transaction, &connections).await? {
            let Some((node, incarnation, index)) = self.found.get(&id) else { continue };
            // Another node can have taken the lease over meanwhile.
            if lease.is_open && (&lease.node, &lease.incarnation) == (node, incarnation) {
                see(&mut seen, lease.user, Ord::max(lease.since, self.deaths[*index].last_renewal));
                of_deaths[*index].push(id);
            }
        }
        let mut closed = 0;
        for (death, connections) in self.deaths.iter().zip(&of_deaths) {
            closed += connections.len() as u64;
            death.write(transaction, connections).await?;
        }
        record_last_seen(transaction, &seen).await?;
        Ok((closed, last_seen(transaction, seen).await?))
    }
}

impl Death {
    /// Closes leases, which are locked.
    async fn write(&self, transaction: &Transaction, connections: &[String]) -> Result<(), DbErr> {
        use connection::Column;
        for batch in connections.chunks(MAX_BIND_VARIABLES) {
            let opened_later = Column::ConnectedAt.gt(self.last_renewal);
            let last_seen = Expr::case(opened_later, Column::ConnectedAt.into_expr()).finally(self.last_renewal);
            connection::Entity::update_many()
                .col_expr(Column::LastSeenAt, last_seen.into())
                .col_expr(Column::ClosedAt, Expr::value(self.now))
                .col_expr(Column::CloseReason, Expr::value(self.reason.name()))
                .filter(Column::ConnectionId.is_in(batch))
                .exec(transaction)
                .await?;
        }
        Ok(())
    }
}

/// When these users were last seen by any node.
async fn last_seen(transaction: &Transaction, seen: Seen) -> Result<Vec<LastSeen>, DbErr> {
    let (names, mut users) = (Vec::from_iter(seen.into_keys().map(UserId::from)), Vec::new());
    for batch in names.chunks(MAX_BIND_VARIABLES) {
        let seen = activity::last_seen(transaction, batch).await?.into_iter();
        users.extend(seen.map(|(user, at)| LastSeen { user: user.into(), at: millis::time(at) }));
    }
    Ok(users)
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

/// Deletes the closed leases that are too old or too many. A call deletes some of them, if they are many.
pub(super) async fn prune_leases(transaction: &Transaction, now: i64) -> Result<(), DbErr> {
    use connection::{Column, Entity};
    let newest_excess = Entity::find()
        .select_only()
        .column(Column::ClosedAt)
        .filter(Column::ClosedAt.is_not_null())
        .order_by_desc(Column::ClosedAt)
        .offset(MAX_CLOSED_LEASES as u64)
        .limit(1);
    let newest_excess = newest_excess.into_tuple::<i64>().one(transaction).await?;
    let too_old = now.saturating_sub(millis::duration(CLOSED_LEASE_TERM));
    let last_closed = newest_excess.map_or(too_old, |excess| Ord::max(excess, too_old));
    let closed = Expired::<Entity>::new(Column::ConnectionId, Column::ClosedAt, last_closed);
    closed.delete(transaction).await
}

/// Deletes the last-seen times that are too old. A call deletes some of them, if they are many.
pub(super) async fn prune_last_seen(transaction: &Transaction, now: i64) -> Result<(), DbErr> {
    use user_last_seen::{Column, Entity};
    let last_forgotten = now.saturating_sub(millis::duration(LAST_SEEN_TERM));
    let seen = Expired::<Entity>::new(Column::UserName, Column::LastSeenAt, last_forgotten);
    seen.delete(transaction).await
}
