//! The store in a database, through SeaORM: the only file that knows of tables, rows and statements.
//!
//! Role: each verb is a statement or two, or one transaction.
//! Life: connects, brings the schema up to date, and is ready; the pool closes with its last clone.
//! Neighbours: `entities` say what a row is, `migration` how it came to be so; both end here.
//! Never: it does not decide by reading first. Where two may race, a key of the database decides.
//!
//! SQLite has one writer at a time. A transaction here says at its beginning that it will write, so it
//! waits its turn there, bounded, and cannot fail half way because another one wrote in between. It is also what
//! makes a call that is given up do nothing: a statement of its own would be carried out once the lock is free.

use std::{
    collections::HashMap,
    time::{Duration, SystemTime},
};

use entities::{connection, conversation_room, node, rejoin_use, user, user_room};
use migration::{Migrator, MigratorTrait};
use sea_orm::{
    ColumnTrait, Condition, ConnectOptions, ConnectionTrait, Database, DatabaseConnection,
    DatabaseTransaction as Transaction, DbErr, EntityTrait, ExprTrait, IntoActiveModel, Iterable, PaginatorTrait,
    QueryFilter, QueryOrder, QuerySelect, QueryTrait, SqlErr, SqliteTransactionMode, TransactionOptions,
    TransactionTrait,
    sea_query::{Expr, OnConflict},
    sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous},
};

use super::{Change, Error, Lease, LeaseChange, Members, Node, Owner, Page, Redemption, Spend, Store, Verdict, made};
use crate::ids::{ConnectionId, GroupName, HubName, UserId};

mod address;
mod cause;
mod millis;
mod outcome;
mod retry;

/// Everything in a database.
#[derive(Clone, Debug)]
pub struct SeaStore {
    db: DatabaseConnection,
}

/// How long a call waits for a connection of the pool, and how long for the database's lock; then it is answered
/// [`Error::Unavailable`]. Far above what a healthy database takes, far below what a client waits for.
const PATIENCE: Duration = Duration::from_secs(5);

/// Connections to a database file: one that writes and some that read meanwhile.
const CONNECTIONS: u32 = 4;

/// Values in one statement, well below the least limit of the databases (SQLite: 32,766).
const VALUES: usize = 10_000;

impl SeaStore {
    /// Connects to a database, creates or updates its tables, and is ready.
    ///
    /// `sqlite:///path/hubcast.db` is a file, made when missing unless the address says `?mode=rw`;
    /// `sqlite::memory:` lives as long as this.
    ///
    /// # Errors
    ///
    /// [`Error::Address`] for what is no database's address, [`Error::Unavailable`] for a database that
    /// cannot be opened now, [`Error::Corrupt`] for a file that is no database, or not ours.
    pub async fn connect(url: &str) -> Result<Self, Error> {
        Self::connect_within(url, PATIENCE).await
    }

    async fn connect_within(url: &str, patience: Duration) -> Result<Self, Error> {
        address::check(url)?;
        let store = Self { db: open(url, patience).await? };
        store.migrate().await?;
        Ok(store)
    }

    /// Order: the lock before the look, or two processes that start together would both find the tables missing.
    async fn migrate(&self) -> Result<(), DbErr> {
        let change = self.begin().await?;
        Migrator::up(&change, None).await?;
        change.commit().await
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
        // The columns of the primary key alone: its index answers by itself.
        let rows = user_room::Entity::find().select_only().columns([Column::Hub, Column::UserName, Column::RoomName]);
        for batch in owners.chunks(VALUES) {
            let batch = rows.clone().filter(any_of(batch)).into_tuple::<(String, String, String)>();
            for (hub, user, group) in batch.all(&self.db).await? {
                found.entry(Owner { hub: hub.into(), user: user.into() }).or_default().push(group.into());
            }
        }
        Ok(owners.iter().map(|owner| found.get(owner).cloned().unwrap_or_default()).collect())
    }

    async fn add(&self, owner: &Owner, group: &GroupName) -> Result<Change, Error> {
        let (hub, user_name, room_name) = key(owner, group);
        let now = millis::floor(SystemTime::now());
        let room = conversation_room::Model { hub: hub.clone(), room_name: room_name.clone(), created_at: now };
        let row = user_room::Model { hub, user_name, room_name, joined_at: now };
        let change = self.begin().await?;
        know_user(&change, &owner.user, now).await?;
        let room = conversation_room::Entity::insert(room.into_active_model()).on_conflict_do_nothing();
        room.exec_without_returning(&change).await?;
        let new = is_new(user_room::Entity::insert(row.into_active_model()).exec_without_returning(&change).await)?;
        change.commit().await?;
        Ok(made(new))
    }

    async fn remove(&self, owner: &Owner, group: &GroupName) -> Result<Change, Error> {
        let change = self.begin().await?;
        let removed = user_room::Entity::delete_by_id(key(owner, group)).exec(&change).await?;
        change.commit().await?;
        Ok(made(removed.rows_affected > 0))
    }

    async fn members(&self, hub: &HubName, group: &GroupName, page: &Page) -> Result<Members, Error> {
        use user_room::Column;
        let of_group = Column::Hub.eq(hub.as_str()).and(Column::RoomName.eq(group.as_str()));
        let all = user_room::Entity::find().select_only().column(Column::UserName).filter(of_group);
        let total = all.clone().count(&self.db).await?;
        let rest = all.apply_if(page.after.as_deref(), |rows, after| rows.filter(Column::UserName.gt(after)));
        // The limit is bound as a signed number.
        let rows = rest.order_by_asc(Column::UserName).limit(Ord::min(page.limit, i64::MAX as u64));
        let names = rows.into_tuple::<String>().all(&self.db).await?;
        Ok(Members { users: names.into_iter().map(UserId::from).collect(), total })
    }

    async fn lease(&self, node: &Node, changes: &[LeaseChange]) -> Result<(), Error> {
        let (opened, closed) = outcome::of(changes);
        let change = self.begin().await?;
        // Invariant: every node that has connections has a row, at first one that ran out at the epoch: whoever
        // dies is found by it.
        let known = node::Entity::insert(node_until(node, 0)).on_conflict_do_nothing();
        known.exec_without_returning(&change).await?;
        take(&change, node, &opened).await?;
        release(&change, node, &closed).await?;
        change.commit().await?;
        Ok(())
    }

    async fn renew(&self, node: &Node, now: SystemTime, term: Duration) -> Result<u64, Error> {
        let now = millis::floor(now);
        let change = self.begin().await?;
        hold(&change, node, now.saturating_add(millis::span(term))).await?;
        let removed = succeed(&change, node).await? + bury(&change, now).await?;
        rejoin_use::Entity::delete_many().filter(rejoin_use::Column::ExpiresAt.lt(now)).exec(&change).await?;
        change.commit().await?;
        Ok(removed)
    }

    async fn redeem(&self, redemption: &Redemption) -> Result<Verdict, Error> {
        let Some(spend) = &redemption.once else { return validator(&self.db, redemption).await };
        let change = self.begin().await?;
        let verdict = match validator(&change, redemption).await? {
            Verdict::Accepted if !is_new(spend_once(&change, spend).await)? => Verdict::Replayed,
            verdict => verdict,
        };
        change.commit().await?;
        Ok(verdict)
    }

    async fn revoke(&self, user: &UserId, before: SystemTime) -> Result<(), Error> {
        use user::Column;
        let before = millis::ceil(before);
        let earlier = Column::RevokedBefore.is_null().or(Column::RevokedBefore.lt(before));
        let change = self.begin().await?;
        know_user(&change, user, millis::floor(SystemTime::now())).await?;
        let row = user::Entity::update_many().filter(Column::UserName.eq(user.as_str())).filter(earlier);
        row.col_expr(Column::RevokedBefore, Expr::value(before)).exec(&change).await?;
        change.commit().await?;
        Ok(())
    }
}

/// The first to open a new file turns it to write-ahead logging, which waits for nobody: tried again if busy.
async fn open(url: &str, patience: Duration) -> Result<DatabaseConnection, Error> {
    let opened =
        retry::persist(patience, cause::is_busy, async || Database::connect(options(url, patience)).await).await;
    opened.map_err(|error| cause::validator(&error)(format!("{url}: {error}")))
}

fn options(url: &str, patience: Duration) -> ConnectOptions {
    let has_mode = address::has_mode(url);
    let mut options = ConnectOptions::new(url);
    options
        .max_connections(if address::is_in_memory(url) { 1 } else { CONNECTIONS })
        // Neither age nor idleness closes a connection, nor a caller that goes while it is tested: a database
        // in memory would go with it.
        .min_connections(1)
        .idle_timeout(None)
        .max_lifetime(None)
        .test_before_acquire(false)
        .acquire_timeout(patience)
        .sqlx_logging(false)
        .map_sqlx_sqlite_opts(move |sqlite| {
            let sqlite = if has_mode { sqlite } else { sqlite.create_if_missing(true) };
            pragmas(sqlite).busy_timeout(patience)
        });
    options
}

/// Readers beside the writer, and commits that outlive a power cut: an answer means durable.
fn pragmas(sqlite: SqliteConnectOptions) -> SqliteConnectOptions {
    sqlite.journal_mode(SqliteJournalMode::Wal).synchronous(SqliteSynchronous::Full).foreign_keys(true)
}

/// One list of users per hub: a program has few hubs, and every database looks such a list up in its index.
fn any_of(owners: &[Owner]) -> Condition {
    let mut users: HashMap<&str, Vec<&str>> = HashMap::new();
    for owner in owners {
        users.entry(&owner.hub).or_default().push(&owner.user);
    }
    users.into_iter().fold(Condition::any(), |any, (hub, users)| {
        any.add(user_room::Column::Hub.eq(hub).and(user_room::Column::UserName.is_in(users)))
    })
}

async fn know_user(change: &Transaction, user: &UserId, now: i64) -> Result<(), DbErr> {
    let row = user::Model { user_name: user.to_string(), created_at: now, revoked_before: None }.into_active_model();
    user::Entity::insert(row).on_conflict_do_nothing().exec_without_returning(change).await.map(drop)
}

/// Whether a row was inserted rather than its key found. The key's own refusal is asked for, since the
/// databases count the rows of an insert that gives way differently.
fn is_new(inserted: Result<u64, DbErr>) -> Result<bool, DbErr> {
    match inserted {
        Err(error) if matches!(error.sql_err(), Some(SqlErr::UniqueConstraintViolation(_))) => Ok(false),
        other => other.map(|_| true),
    }
}

fn key(owner: &Owner, group: &GroupName) -> (String, String, String) {
    (owner.hub.to_string(), owner.user.to_string(), group.to_string())
}

fn node_until(node: &Node, lease_until: i64) -> node::ActiveModel {
    let (node_id, incarnation) = (node.id.to_string(), node.incarnation.clone());
    node::Model { node_id, incarnation, lease_until }.into_active_model()
}

async fn take(change: &Transaction, node: &Node, leases: &[&Lease]) -> Result<(), DbErr> {
    use connection::Column;
    let taken_over = OnConflict::column(Column::ConnectionId).update_columns(Column::iter()).to_owned();
    for batch in leases.chunks(VALUES / Column::iter().len()) {
        let rows = batch.iter().map(|lease| lease_of(node, lease).into_active_model());
        let rows = connection::Entity::insert_many(rows).on_conflict(taken_over.clone());
        rows.exec_without_returning(change).await?;
    }
    Ok(())
}

fn lease_of(node: &Node, lease: &Lease) -> connection::Model {
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

async fn release(change: &Transaction, node: &Node, connections: &[&ConnectionId]) -> Result<(), DbErr> {
    use connection::Column;
    let holder = Column::NodeId.eq(node.id.as_str()).and(Column::Incarnation.eq(node.incarnation.as_str()));
    for batch in connections.chunks(VALUES) {
        let named = Column::ConnectionId.is_in(batch.iter().map(|connection| connection.as_str()));
        connection::Entity::delete_many().filter(named).filter(holder.clone()).exec(change).await?;
    }
    Ok(())
}

async fn hold(change: &Transaction, node: &Node, until: i64) -> Result<(), DbErr> {
    let taken_over = OnConflict::column(node::Column::NodeId).update_columns(node::Column::iter()).to_owned();
    let row = node::Entity::insert(node_until(node, until)).on_conflict(taken_over);
    row.exec_without_returning(change).await.map(drop)
}

/// Removes what earlier runs of this node left. Less, then greater, rather than different: an index serves that,
/// so it costs what is removed and not what is there.
async fn succeed(change: &Transaction, node: &Node) -> Result<u64, DbErr> {
    use connection::Column;
    let (here, this) = (Column::NodeId.eq(node.id.as_str()), node.incarnation.as_str());
    let mut removed = 0;
    for earlier in [Column::Incarnation.lt(this), Column::Incarnation.gt(this)] {
        let rows = connection::Entity::delete_many().filter(here.clone()).filter(earlier);
        removed += rows.exec(change).await?.rows_affected;
    }
    Ok(removed)
}

/// Removes the nodes whose lease has run out, and their connections.
async fn bury(change: &Transaction, now: i64) -> Result<u64, DbErr> {
    use node::Column;
    let dead = node::Entity::find().select_only().column(Column::NodeId).filter(Column::LeaseUntil.lte(now));
    let of_dead = connection::Column::NodeId.in_subquery(dead.into_query());
    let removed = connection::Entity::delete_many().filter(of_dead).exec(change).await?.rows_affected;
    node::Entity::delete_many().filter(Column::LeaseUntil.lte(now)).exec(change).await?;
    Ok(removed)
}

/// Whether a token is revoked; whether it was spent is another question.
async fn validator(db: &impl ConnectionTrait, redemption: &Redemption) -> Result<Verdict, Error> {
    let Some(user) = &redemption.user else { return Ok(Verdict::Accepted) };
    let before = user::Entity::find_by_id(user.as_str()).one(db).await?.and_then(|row| row.revoked_before);
    let is_revoked = before.is_some_and(|before| millis::floor(redemption.issued) < before);
    Ok(if is_revoked { Verdict::Revoked } else { Verdict::Accepted })
}

async fn spend_once(db: &Transaction, spend: &Spend) -> Result<u64, DbErr> {
    let expires_at = millis::ceil(spend.expires);
    let row = rejoin_use::Model { family: spend.family.clone(), epoch: spend.epoch.cast_signed(), expires_at };
    rejoin_use::Entity::insert(row.into_active_model()).exec_without_returning(db).await
}

#[cfg(test)]
mod tests;
