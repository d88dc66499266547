//! A store in a database, through SeaORM.
//!
//! Only this module and its submodules know tables and statements; only they use the crates `entities` (the tables)
//! and `migration` (the schema changes). Each method is one or two statements, or one transaction. Connecting also
//! migrates the schema. The connection pool closes when its last clone is dropped. No method resolves a race of two
//! callers by reading first: a key of the database decides.
//!
//! SQLite has one writer at a time. Every write transaction starts with `BEGIN IMMEDIATE`, so it waits for the lock at
//! its beginning, with a timeout, and cannot fail later because another transaction wrote in between. The transaction
//! also ensures that a cancelled call has no effect: SQLite would still execute a single statement once the lock is
//! free.

use std::{
    collections::HashMap,
    time::{Duration, SystemTime},
};

use entities::{connection, node, user, user_room};
use migration::{Migrator, MigratorTrait};
use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait, DatabaseConnection, DatabaseTransaction as Transaction, DbErr,
    EntityTrait, ExprTrait, IntoActiveModel, Iterable, PaginatorTrait, QueryFilter, QueryOrder, QuerySelect,
    QueryTrait, SqlErr, SqliteTransactionMode, TransactionOptions, TransactionTrait,
    sea_query::{Expr, OnConflict},
};

use super::{
    CLOCK_TOLERANCE, Change, Error, Lease, LeaseChange, Members, MembershipChange, Node, Owner, Page, Redemption,
    Renewal, Store, Verdict,
};
use crate::ids::{ConnectionId, GroupName, HubName, UserId};

mod address;
mod cause;
mod lease_changes;
mod membership_changes;
mod millis;
mod nodes;
mod pool;
mod retry;
mod space;
mod token_uses;

/// A store in a database.
#[derive(Clone, Debug)]
pub struct SeaStore {
    db: DatabaseConnection,
    _anchor: pool::Anchor,
}

/// The maximum wait for a connection of the pool, and separately for the lock of the database. After it, a call returns
/// [`Error::Unavailable`]. A healthy database answers much faster. Order: it ends before the deadline of the caller, 5 s, so
/// that the caller hears why the call failed.
const STORE_ACQUIRE_TIMEOUT: Duration = Duration::from_secs(3);

/// The maximum number of bind variables in one statement, well below the lowest limit of the databases (SQLite:
/// 32,766).
const MAX_BIND_VARIABLES: usize = 10_000;

impl SeaStore {
    /// Connects to a database, and creates or migrates its tables.
    ///
    /// `sqlite:///path/hubcast.db` is a file; it is created if it is missing, unless the address sets `?mode=rw`.
    /// `sqlite::memory:` is a database in memory that lives as long as the store.
    ///
    /// # Errors
    ///
    /// [`Error::Address`] if `url` is not the address of a supported database, [`Error::Unavailable`] if the database
    /// cannot be opened now, [`Error::Corrupt`] if the file is not a database, or has an unknown schema.
    pub async fn connect(url: &str) -> Result<Self, Error> {
        Self::connect_within(url, STORE_ACQUIRE_TIMEOUT).await
    }

    async fn connect_within(url: &str, acquire_timeout: Duration) -> Result<Self, Error> {
        address::check(url)?;
        let (db, _anchor) = pool::open(url, acquire_timeout).await?;
        let store = Self { db, _anchor };
        store.migrate().await?;
        space::prepare(&store.db).await?;
        Ok(store)
    }

    /// Order: take the lock first, then read the schema. Otherwise two processes that start at the same time would both
    /// find the tables missing.
    async fn migrate(&self) -> Result<(), DbErr> {
        let transaction = self.begin().await?;
        Migrator::up(&transaction, None).await?;
        transaction.commit().await
    }

    async fn begin(&self) -> Result<Transaction, DbErr> {
        let immediate = Some(SqliteTransactionMode::Immediate);
        self.db
            .begin_with_options(TransactionOptions { sqlite_transaction_mode: immediate, ..Default::default() })
            .await
    }
}

impl Store for SeaStore {
    async fn groups_of(&self, owners: &[Owner]) -> Result<Vec<Vec<GroupName>>, Error> {
        use user_room::Column;
        let mut found: HashMap<Owner, Vec<GroupName>> = HashMap::new();
        // Only columns of the primary key: its index covers the query.
        let rows = user_room::Entity::find().select_only().columns([Column::Hub, Column::UserName, Column::RoomName]);
        for batch in owners.chunks(MAX_BIND_VARIABLES) {
            let batch = rows.clone().filter(of_any_owner(batch)).into_tuple::<(String, String, String)>();
            for (hub, user, group) in batch.all(&self.db).await? {
                found.entry(Owner { hub: hub.into(), user: user.into() }).or_default().push(group.into());
            }
        }
        Ok(owners.iter().map(|owner| found.get(owner).cloned().unwrap_or_default()).collect())
    }

    async fn apply(&self, changes: &[MembershipChange]) -> Result<Vec<Change>, Error> {
        let transaction = self.begin().await?;
        let effects = membership_changes::apply(&transaction, changes).await?;
        transaction.commit().await?;
        Ok(effects)
    }

    async fn members(&self, hub: &HubName, group: &GroupName, page: &Page) -> Result<Members, Error> {
        use user_room::Column;
        let of_group = Column::Hub.eq(hub.as_str()).and(Column::RoomName.eq(group.as_str()));
        let all = user_room::Entity::find().select_only().column(Column::UserName).filter(of_group);
        let total = all.clone().count(&self.db).await?;
        let rest = all.apply_if(page.after.as_deref(), |rows, after| rows.filter(Column::UserName.gt(after)));
        // The driver binds the limit as a signed integer.
        let rows = rest.order_by_asc(Column::UserName).limit(Ord::min(page.limit, i64::MAX as u64));
        let names = rows.into_tuple::<String>().all(&self.db).await?;
        Ok(Members { users: names.into_iter().map(UserId::from).collect(), total })
    }

    async fn lease(&self, node: &Node, changes: &[LeaseChange]) -> Result<(), Error> {
        let (opened, closed) = lease_changes::reduce(changes);
        let transaction = self.begin().await?;
        // Invariant: every node with connections has a row, so that `renew` finds it after it dies. The first row
        // expires at the Unix epoch.
        nodes::insert_expired(&transaction, node).await?;
        insert_leases(&transaction, node, &opened).await?;
        delete_leases(&transaction, node, &closed).await?;
        token_uses::release(&transaction, node, &closed).await?;
        transaction.commit().await?;
        Ok(())
    }

    async fn renew(&self, node: &Node, now: SystemTime, term: Duration) -> Result<Renewal, Error> {
        let now = millis::floor(now);
        let transaction = self.begin().await?;
        if let Some(holder) = nodes::renew(&transaction, node, now, millis::duration(term)).await? {
            return Ok(Renewal::Held(holder));
        }
        let deleted = nodes::delete_previous_incarnations(&transaction, node).await?
            + nodes::delete_expired(&transaction, now).await?;
        token_uses::delete_expired(&transaction, now, millis::duration(term)).await?;
        transaction.commit().await?;
        space::release(&self.db).await;
        Ok(Renewal::Renewed { deleted })
    }

    async fn release(&self, node: &Node) -> Result<(), Error> {
        let transaction = self.begin().await?;
        nodes::release(&transaction, node).await?;
        transaction.commit().await?;
        Ok(())
    }

    async fn redeem(&self, redemption: &Redemption) -> Result<Verdict, Error> {
        let Some(token_use) = &redemption.single_use else { return check_revoked(&self.db, redemption).await };
        let transaction = self.begin().await?;
        let verdict = match check_revoked(&transaction, redemption).await? {
            Verdict::Accepted => token_uses::record(&transaction, token_use).await?,
            verdict => verdict,
        };
        transaction.commit().await?;
        Ok(verdict)
    }

    async fn revoke(&self, user: &UserId, before: SystemTime) -> Result<(), Error> {
        use user::Column;
        let transaction = self.begin().await?;
        let has_peers = node::Entity::find().count(&transaction).await? > 1;
        let tolerance = if has_peers { millis::duration(CLOCK_TOLERANCE) } else { 0 };
        let before = millis::ceil(before).saturating_add(tolerance);
        let earlier = Column::RevokedBefore.is_null().or(Column::RevokedBefore.lt(before));
        membership_changes::ensure_user(&transaction, user, millis::floor(SystemTime::now())).await?;
        let row = user::Entity::update_many().filter(Column::UserName.eq(user.as_str())).filter(earlier);
        row.col_expr(Column::RevokedBefore, Expr::value(before)).exec(&transaction).await?;
        transaction.commit().await?;
        Ok(())
    }
}

/// Matches the rows of any of `owners`, with one list of users per hub: an application has few hubs, and every database
/// uses its index for such a list.
fn of_any_owner(owners: &[Owner]) -> Condition {
    let mut users: HashMap<&str, Vec<&str>> = HashMap::new();
    for owner in owners {
        users.entry(&owner.hub).or_default().push(&owner.user);
    }
    users.into_iter().fold(Condition::any(), |any, (hub, users)| {
        any.add(user_room::Column::Hub.eq(hub).and(user_room::Column::UserName.is_in(users)))
    })
}

/// Returns whether the row was inserted; false if its key existed. This relies on the unique constraint, because
/// databases count the rows of `INSERT … ON CONFLICT DO NOTHING` differently.
fn was_inserted(inserted: Result<u64, DbErr>) -> Result<bool, DbErr> {
    match inserted {
        Err(error) if matches!(error.sql_err(), Some(SqlErr::UniqueConstraintViolation(_))) => Ok(false),
        other => other.map(|_| true),
    }
}

async fn insert_leases(transaction: &Transaction, node: &Node, leases: &[&Lease]) -> Result<(), DbErr> {
    use connection::Column;
    let upsert = OnConflict::column(Column::ConnectionId).update_columns(Column::iter()).to_owned();
    for batch in leases.chunks(MAX_BIND_VARIABLES / Column::iter().len()) {
        let rows = batch.iter().map(|lease| connection_row(node, lease).into_active_model());
        let rows = connection::Entity::insert_many(rows).on_conflict(upsert.clone());
        rows.exec_without_returning(transaction).await?;
    }
    Ok(())
}

fn connection_row(node: &Node, lease: &Lease) -> connection::Model {
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

async fn delete_leases(transaction: &Transaction, node: &Node, connections: &[&ConnectionId]) -> Result<(), DbErr> {
    use connection::Column;
    let holder = Column::NodeId.eq(node.id.as_str()).and(Column::Incarnation.eq(node.incarnation.as_str()));
    for batch in connections.chunks(MAX_BIND_VARIABLES) {
        let named = Column::ConnectionId.is_in(batch.iter().map(|connection| connection.as_str()));
        connection::Entity::delete_many().filter(named).filter(holder.clone()).exec(transaction).await?;
    }
    Ok(())
}

/// Checks only whether the token is revoked, not whether it was used.
async fn check_revoked(db: &impl ConnectionTrait, redemption: &Redemption) -> Result<Verdict, Error> {
    let Some(user) = &redemption.user else { return Ok(Verdict::Accepted) };
    let before = user::Entity::find_by_id(user.as_str()).one(db).await?.and_then(|row| row.revoked_before);
    let is_revoked = before.is_some_and(|before| millis::floor(redemption.issued_at) < before);
    Ok(if is_revoked { Verdict::Revoked } else { Verdict::Accepted })
}

#[cfg(test)]
mod tests;
