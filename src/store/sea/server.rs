//! Databases that run as a server: their addresses, the settings of the connection pool that they share, and migrations.
//!
//! Such a database can be stopped, restarted or unreachable at any time. The pool tests a connection before each use, and
//! connects again.

use std::time::Duration;

use migration::{IsDone, Migrator};
use sea_orm::{
    ConnAcquireErr, ConnectOptions, ConnectionTrait, Database, DatabaseConnection, DbErr, TransactionTrait, sqlx,
};
use tokio::time::timeout;

use super::{Timeouts, parameters::Parameters};
use crate::store::{
    Error,
    address::{check_encoding, without_credentials},
};

mod failures;
mod tls;

/// The size of the connection pool. Writes of one process run one after another; the rest is for reads and tokens.
const MAX_CONNECTIONS: u32 = 10;

/// The maximum time to migrate the schema, including the wait for another process that does it.
const MIGRATION_TIMEOUT: Duration = Duration::from_secs(300);

/// What differs by the driver of a database. `O` is its type for a parsed address.
pub(super) struct Driver<O> {
    /// The database of an address.
    pub(super) database: fn(&O) -> Option<&str>,
    /// The host and the port, or the path of the socket.
    pub(super) endpoint: fn(&O) -> String,
    /// Whether a connection without TLS fails.
    pub(super) requires_tls: fn(&O) -> bool,
    /// Makes a connection that only requires TLS verify the authority of the certificate, but not its name.
    pub(super) verify_authority: fn(O) -> O,
    /// The names of the parameter of an address that names the file of a certificate authority, the usual one first.
    pub(super) authority_parameters: &'static [&'static str],
    /// The parameter that makes the driver verify the authority and the name of a certificate.
    pub(super) strictest_mode: &'static str,
    /// The parameters that the driver knows.
    pub(super) parameters: Parameters,
}

impl<O: sqlx::ConnectOptions<Connection: Sized>> Driver<O> {
    /// Refuses credentials that are not encoded, unknown parameters, addresses that the driver cannot parse, addresses
    /// without a database, and authorities without an effect.
    pub(super) fn check_address(&self, url: &str) -> Result<(), Error> {
        check_encoding(url)?;
        self.parameters.check(url)?;
        let options: O = url.parse().map_err(|error| unreadable(&error))?;
        match (self.database)(&options) {
            None | Some("") => Err(Error::Address(format!("{} names no database", without_credentials(url)))),
            Some(_) => self.check_authority(url, &options),
        }
    }

    /// Opens the pool with its first connection.
    pub(super) async fn open(&self, url: &str, options: ConnectOptions) -> Result<DatabaseConnection, Error> {
        self.check_authority_file(url)?;
        match Database::connect(options).await {
            Ok(db) => Ok(db),
            Err(error) => Err(self.failure(url, error).await),
        }
    }
}

/// The error of an address that the driver cannot parse. It shows no part of the address.
fn unreadable(error: &sqlx::Error) -> Error {
    let cause = if let sqlx::Error::Configuration(cause) = error { cause.to_string() } else { error.to_string() };
    Error::Address(format!("the address cannot be read: {cause}"))
}

/// The settings of the pool.
pub(super) fn pool(mut options: ConnectOptions, timeouts: Timeouts) -> ConnectOptions {
    options.max_connections(MAX_CONNECTIONS).acquire_timeout(timeouts.acquire).test_before_acquire(true);
    options
}

/// Migrates the schema on a connection of its own, which has no time limit for a statement. `lock` takes a lock that ends
/// with the connection, if not earlier. `is_done` is for a server that does not undo the statements of an interrupted
/// migration: see [`Migrator::up_or_complete`].
pub(super) async fn migrate(
    mut options: ConnectOptions,
    lock: &'static str,
    is_done: Option<IsDone>,
) -> Result<(), DbErr> {
    options.max_connections(1);
    let db = Database::connect(options).await?;
    let migrated = timeout(MIGRATION_TIMEOUT, migrate_locked(&db, lock, is_done)).await;
    let closed = db.close().await;
    migrated.map_err(|_| DbErr::ConnectionAcquire(ConnAcquireErr::Timeout))??;
    closed
}

async fn migrate_locked(db: &DatabaseConnection, lock: &str, is_done: Option<IsDone>) -> Result<(), DbErr> {
    let transaction = db.begin().await?;
    transaction.execute_unprepared(lock).await?;
    match is_done {
        Some(is_done) => Migrator::up_or_complete(&transaction, is_done).await?,
        None => Migrator::up(&transaction, None).await?,
    }
    transaction.commit().await
}
