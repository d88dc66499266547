//! Databases that run as a server: the settings of the connection pool that they share, and migrations.
//!
//! Such a database can be stopped, restarted or unreachable at any time. The pool tests a connection before each use, and
//! connects again.

use std::{fmt::Display, str::FromStr, time::Duration};

use migration::Migrator;
use sea_orm::{ConnAcquireErr, ConnectOptions, ConnectionTrait, Database, DatabaseConnection, DbErr, TransactionTrait};
use tokio::time::timeout;

use super::{Timeouts, errors};
use crate::store::{Error, address::without_credentials};

/// The size of the connection pool. Writes of one process run one after another; the rest is for reads and tokens.
const MAX_CONNECTIONS: u32 = 10;

/// The maximum time to migrate the schema, including the wait for another process that does it.
const MIGRATION_TIMEOUT: Duration = Duration::from_secs(300);

/// Refuses addresses that the driver cannot parse, and addresses without a database. `O` is the type of the driver.
pub(super) fn check_address<O>(url: &str, database: fn(&O) -> Option<&str>) -> Result<(), Error>
where
    O: FromStr<Err: Display>,
{
    // The error of the driver shows no part of the address.
    let options: O = url.parse().map_err(|error: O::Err| Error::Address(error.to_string()))?;
    match database(&options) {
        None | Some("") => Err(Error::Address(format!("{} names no database", without_credentials(url)))),
        Some(_) => Ok(()),
    }
}

/// The settings of the pool.
pub(super) fn options(url: &str, timeouts: Timeouts) -> ConnectOptions {
    let mut options = ConnectOptions::new(url);
    options
        .max_connections(MAX_CONNECTIONS)
        .acquire_timeout(timeouts.acquire)
        .test_before_acquire(true)
        .sqlx_logging(false);
    options
}

/// Opens the pool with its first connection.
pub(super) async fn open(url: &str, options: ConnectOptions) -> Result<DatabaseConnection, Error> {
    Database::connect(options).await.map_err(|error| errors::connecting(&without_credentials(url), &error))
}

/// Migrates the schema on a connection of its own, which has no time limit for a statement. `lock` takes a lock that ends
/// with the connection, if not earlier.
pub(super) async fn migrate(url: &str, lock: &'static str) -> Result<(), DbErr> {
    let mut options = ConnectOptions::new(url);
    options.max_connections(1).sqlx_logging(false);
    let db = Database::connect(options).await?;
    let migrated = timeout(MIGRATION_TIMEOUT, migrate_locked(&db, lock)).await;
    let closed = db.close().await;
    migrated.map_err(|_| DbErr::ConnectionAcquire(ConnAcquireErr::Timeout))??;
    closed
}

async fn migrate_locked(db: &DatabaseConnection, lock: &str) -> Result<(), DbErr> {
    let transaction = db.begin().await?;
    transaction.execute_unprepared(lock).await?;
    Migrator::up(&transaction, None).await?;
    transaction.commit().await
}
