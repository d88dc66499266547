//! The connection pool of a SQLite database, and the settings of its connections.
//!
//! A connection of the pool is outside of any transaction. SQLite ends a transaction by itself when
//! a statement or a COMMIT fails, for example on a full disk. The driver does not notice: it still counts the
//! transaction as open and would turn each later transaction of that connection into a savepoint, which is never
//! committed. Such a connection is closed.

use std::{fs::OpenOptions, os::unix::fs::OpenOptionsExt, path::Path, sync::Arc};

use sea_orm::{
    ConnectOptions, Database, DatabaseConnection, DbErr, RuntimeErr, SqlxError,
    sqlx::{
        ConnectOptions as _, SqliteConnection,
        sqlite::{SqliteAutoVacuum, SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous},
    },
};

use super::{address, retry};
use crate::store::{
    Error,
    sea::{PREPARED_STATEMENTS, Timeouts, errors, settled::close_unsettled},
};

/// The size of the connection pool of a database file: one writer and some concurrent readers.
const MAX_CONNECTIONS: u32 = 4;

/// A connection outside of the pool. A database in memory lives as long as one of its connections is open.
pub(in crate::store::sea) type Anchor = Option<Arc<SqliteConnection>>;

/// Opens the database. The first connection switches a new file to write-ahead logging. That switch ignores the busy
/// timeout of SQLite, so a busy database is retried here. So is a connection that was not open in time.
pub(in crate::store::sea) async fn open(url: &str, timeouts: Timeouts) -> Result<(DatabaseConnection, Anchor), Error> {
    let connect = async || connect(url, timeouts).await;
    let opened = retry::retry_while_busy(timeouts.open, is_busy, connect).await;
    opened.map_err(|error| errors::connecting(url, &error))
}

fn is_busy(error: &DbErr) -> bool {
    errors::cause(error).is_some_and(|error| match error {
        SqlxError::PoolTimedOut => true,
        error => error.as_database_error().is_some_and(super::is_busy),
    })
}

async fn connect(url: &str, timeouts: Timeouts) -> Result<(DatabaseConnection, Anchor), DbErr> {
    let db = Database::connect(options(url, timeouts)).await?;
    let anchor = if address::is_in_memory(url) { Some(connect_anchor(&db).await?) } else { None };
    Ok((db, anchor))
}

/// Creates a missing database file so that only its owner can read it: SQLite would let everybody read it. The files
/// beside it (`-wal`, `-shm`) get the same permissions.
fn create_private_file(path: &Path) {
    // If this fails, the file exists, or the driver reports why it cannot be created.
    let _ = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
}

async fn connect_anchor(db: &DatabaseConnection) -> Result<Arc<SqliteConnection>, DbErr> {
    let connected = db.get_sqlite_connection_pool().connect_options().connect().await;
    connected.map(Arc::new).map_err(|error| DbErr::Conn(RuntimeErr::SqlxError(Arc::new(error))))
}

fn options(url: &str, timeouts: Timeouts) -> ConnectOptions {
    let (has_mode, is_in_memory) = (address::has_mode(url), address::is_in_memory(url));
    let creates_file = address::creates_file(url);
    let mut options = ConnectOptions::new(url);
    options
        .max_connections(if is_in_memory { 1 } else { MAX_CONNECTIONS })
        // A connection to a local file does not age, and needs no test.
        .min_connections(1)
        .idle_timeout(None)
        .max_lifetime(None)
        .test_before_acquire(false)
        .acquire_timeout(timeouts.acquire)
        .sqlx_logging(false)
        .map_sqlx_sqlite_opts(move |sqlite| {
            if creates_file {
                create_private_file(sqlite.get_filename());
            }
            let sqlite = if has_mode { sqlite } else { sqlite.create_if_missing(true) };
            with_pragmas(sqlite).busy_timeout(timeouts.lock).statement_cache_capacity(PREPARED_STATEMENTS)
        })
        .map_sqlx_sqlite_pool_opts(close_unsettled);
    options
}

/// The size to which SQLite cuts the write-ahead log after a checkpoint. The log grows beyond it while a long query runs.
const MAX_IDLE_LOG_BYTES: u32 = 16 << 20;

/// WAL allows readers beside the writer. FULL makes a commit survive a power failure, so a returned call is durable.
fn with_pragmas(sqlite: SqliteConnectOptions) -> SqliteConnectOptions {
    sqlite
        .auto_vacuum(SqliteAutoVacuum::Incremental)
        .journal_mode(SqliteJournalMode::Wal)
        .pragma("journal_size_limit", MAX_IDLE_LOG_BYTES.to_string())
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
}
