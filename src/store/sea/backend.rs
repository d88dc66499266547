//! What differs by database: the address, the connection pool, the kind of transaction, and the lock of the schema.
//!
//! The statements of the store are the same for all databases. Each database is a module of its own; this one selects it.

use migration::Migrator;
use sea_orm::{
    ConnectionTrait, DatabaseBackend, DatabaseConnection, DatabaseTransaction as Transaction, DbErr, Iden,
    SqliteTransactionMode, TransactionOptions, TransactionTrait, sea_query::Expr,
};

#[cfg(feature = "mysql")]
use super::mysql;
#[cfg(feature = "postgres")]
use super::postgres;
#[cfg(any(feature = "mysql", feature = "postgres"))]
use super::server;
use super::{Timeouts, sqlite};
use crate::store::Error;
#[cfg(any(feature = "mysql", feature = "postgres"))]
use crate::store::address::without_credentials;

/// A database that the store supports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Backend {
    Sqlite,
    #[cfg(feature = "postgres")]
    Postgres,
    #[cfg(feature = "mysql")]
    MySql,
}

/// The addresses of all stores of the service.
const EXPECTED: &str = "expected sqlite:///path/to/file, postgres://user@host/database, mysql://user@host/database or \
     azure-table://ACCOUNT.table.core.windows.net";

impl Backend {
    /// The database that the scheme of the address names. Refuses invalid addresses.
    pub(super) fn of(url: &str) -> Result<Self, Error> {
        let (scheme, _) = url.split_once(':').unwrap_or_default();
        match scheme {
            "sqlite" => sqlite::check_address(url).map(|()| Self::Sqlite),
            #[cfg(feature = "postgres")]
            "postgres" | "postgresql" => postgres::DRIVER.check_address(url).map(|()| Self::Postgres),
            #[cfg(feature = "mysql")]
            "mysql" => mysql::DRIVER.check_address(url).map(|()| Self::MySql),
            #[cfg(not(feature = "postgres"))]
            "postgres" | "postgresql" => Err(Error::Address("this build lacks the cargo feature `postgres`".into())),
            #[cfg(not(feature = "mysql"))]
            "mysql" => Err(Error::Address("this build lacks the cargo feature `mysql`".into())),
            #[cfg(not(feature = "azure"))]
            "azure-table" => Err(Error::Address("this build lacks the cargo feature `azure`".into())),
            #[cfg(feature = "azure")]
            "azure-table" => {
                Err(Error::Address("Azure Table Storage is no database; it stores memberships only".into()))
            }
            "" => Err(Error::Address(format!("the address names no database, {EXPECTED}"))),
            // Only the scheme is shown: the rest can contain a password.
            _ => Err(Error::Address(format!("`{scheme}` is not a supported database, {EXPECTED}"))),
        }
    }

    /// The address for messages, without credentials.
    pub(super) fn shown_address(self, url: &str) -> String {
        match self {
            Self::Sqlite => url.to_owned(),
            #[cfg(any(feature = "mysql", feature = "postgres"))]
            _ => without_credentials(url),
        }
    }

    /// Opens the connection pool.
    pub(super) async fn open(
        self,
        url: &str,
        timeouts: Timeouts,
    ) -> Result<(DatabaseConnection, sqlite::Anchor), Error> {
        match self {
            Self::Sqlite => sqlite::open(url, timeouts).await,
            #[cfg(feature = "postgres")]
            Self::Postgres => Ok((postgres::DRIVER.open(url, postgres::pool_options(url, timeouts)).await?, None)),
            #[cfg(feature = "mysql")]
            Self::MySql => Ok((mysql::DRIVER.open(url, mysql::pool_options(url, timeouts)).await?, None)),
        }
    }

    /// The error of a call that failed because the database does not answer. For a server, it names the address and the
    /// cause.
    #[cfg_attr(
        not(any(feature = "mysql", feature = "postgres")),
        expect(unused_variables, clippy::unused_async, reason = "SQLite has no server")
    )]
    pub(super) async fn explain(self, url: &str, text: String) -> Error {
        match self {
            Self::Sqlite => Error::Unavailable(text),
            #[cfg(feature = "postgres")]
            Self::Postgres => Box::pin(postgres::DRIVER.explain(url, &text)).await,
            #[cfg(feature = "mysql")]
            Self::MySql => Box::pin(mysql::DRIVER.explain(url, &text)).await,
        }
    }

    /// Starts a transaction for writing.
    ///
    /// The other databases use READ COMMITTED, which their connections set: each statement sees the rows that were
    /// committed before it. Each transaction first locks the rows that its decisions depend on.
    pub(super) async fn begin(self, db: &DatabaseConnection) -> Result<Transaction, DbErr> {
        let mode = (self == Self::Sqlite).then_some(SqliteTransactionMode::Immediate);
        db.begin_with_options(TransactionOptions { sqlite_transaction_mode: mode, ..Default::default() }).await
    }

    /// Creates or changes the tables. Of several processes that start at the same time, one does it and the others wait.
    ///
    /// Order: take the lock first, then read the schema. Otherwise two processes would both find the tables missing.
    #[cfg_attr(
        not(any(feature = "mysql", feature = "postgres")),
        expect(unused_variables, reason = "SQLite migrates on a connection of the pool")
    )]
    pub(super) async fn migrate(self, url: &str, db: &DatabaseConnection) -> Result<(), DbErr> {
        match self {
            Self::Sqlite => {
                let transaction = self.begin(db).await?;
                Migrator::up(&transaction, None).await?;
                transaction.commit().await
            }
            #[cfg(feature = "postgres")]
            Self::Postgres => server::migrate(postgres::options(url), postgres::LOCK_SCHEMA, None).await,
            #[cfg(feature = "mysql")]
            Self::MySql => server::migrate(mysql::options(url), mysql::LOCK_SCHEMA, Some(mysql::is_done)).await,
        }
    }

    /// Prepares the database for use.
    pub(super) async fn prepare(self, db: &DatabaseConnection) -> Result<(), DbErr> {
        if self == Self::Sqlite { sqlite::prepare(db).await } else { Ok(()) }
    }

    /// Returns the space of some deleted rows to the file system. The other databases do that by themselves.
    pub(super) async fn release_space(self, db: &DatabaseConnection) {
        if self == Self::Sqlite {
            sqlite::release_space(db).await;
        }
    }
}

/// In an insert that updates a row that exists, the value that was to be inserted into `column`.
pub(super) fn inserted(db: &impl ConnectionTrait, column: &impl Iden) -> Expr {
    let name = column.unquoted();
    match db.get_database_backend() {
        DatabaseBackend::MySql => Expr::cust(format!("VALUES({name})")),
        _ => Expr::cust(format!("excluded.{name}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scheme_selects_the_database() {
        for (url, expected) in [
            ("sqlite::memory:", Backend::Sqlite),
            ("postgres://app@db/hubcast", Backend::Postgres),
            ("postgresql://app@db/hubcast", Backend::Postgres),
            ("mysql://app@db/hubcast", Backend::MySql),
        ] {
            assert_eq!(Backend::of(url).unwrap(), expected, "{url}");
        }
    }

    #[test]
    fn unsupported_database_is_reported_without_its_password() {
        let error = Backend::of("oracle://hubcast:hunter2@db/hubcast").unwrap_err().to_string();
        assert!(error.contains("`oracle`") && !error.contains("hunter2"), "{error}");
        for scheme in ["sqlite://", "postgres://", "mysql://", "azure-table://"] {
            assert!(error.contains(scheme), "{error}");
        }
        assert!(!Backend::of("hunter2@db/hubcast").unwrap_err().to_string().contains("hunter2"));
        for url in ["", "hubcast.db", "/var/lib/hubcast.db", "SQLite.db"] {
            assert!(matches!(Backend::of(url), Err(Error::Address(_))), "{url}");
        }
    }
}
