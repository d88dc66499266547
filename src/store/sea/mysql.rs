//! MySQL and MariaDB: their addresses, the settings of their connections, and their error numbers.

use sea_orm::{
    ConnectOptions, DbErr,
    sqlx::{
        Executor, MySql, MySqlConnection,
        error::DatabaseError,
        mysql::{MySqlConnectOptions, MySqlDatabaseError, MySqlSslMode},
        pool::PoolOptions,
    },
};

use super::{
    PREPARED_STATEMENTS, Timeouts,
    errors::{self, Failure},
    parameters::Parameters,
    server::{self, Driver},
    settled::close_unsettled,
};

/// The lock belongs to the connection, because each change of a table ends the transaction. The name is that of the
/// database, because the server has one set of names.
pub(super) const LOCK_SCHEMA: &str = "DO GET_LOCK(LEFT(CONCAT('hubcast:', DATABASE()), 64), 600)";

pub(super) const DRIVER: Driver<MySqlConnectOptions> = Driver {
    database: MySqlConnectOptions::get_database,
    endpoint,
    requires_tls,
    verify_authority,
    authority_parameters: &["ssl-ca", "sslca"],
    strictest_mode: "ssl-mode=VERIFY_IDENTITY",
    parameters: Parameters {
        is_known,
        choices: &[(&["sslmode", "ssl-mode"], &["DISABLED", "PREFERRED", "REQUIRED", "VERIFY_CA", "VERIFY_IDENTITY"])],
    },
};

/// The list of the driver.
fn is_known(parameter: &str) -> bool {
    matches!(
        parameter,
        "sslmode"
            | "ssl-mode"
            | "sslca"
            | "ssl-ca"
            | "charset"
            | "collation"
            | "sslcert"
            | "ssl-cert"
            | "sslkey"
            | "ssl-key"
            | "statement-cache-capacity"
            | "socket"
            | "timezone"
            | "time-zone"
    )
}

fn endpoint(options: &MySqlConnectOptions) -> String {
    match options.get_socket() {
        Some(socket) => socket.display().to_string(),
        None => format!("{}:{}", options.get_host(), options.get_port()),
    }
}

fn requires_tls(options: &MySqlConnectOptions) -> bool {
    use MySqlSslMode::{Required, VerifyCa, VerifyIdentity};
    matches!(options.get_ssl_mode(), Required | VerifyCa | VerifyIdentity)
}

fn verify_authority(options: MySqlConnectOptions) -> MySqlConnectOptions {
    let only_requires_tls = matches!(options.get_ssl_mode(), MySqlSslMode::Required);
    if only_requires_tls { options.ssl_mode(MySqlSslMode::VerifyCa) } else { options }
}

/// The settings of each connection.
pub(super) fn options(url: &str) -> ConnectOptions {
    let (address, mut options) = (url.to_owned(), ConnectOptions::new(url));
    options.sqlx_logging(false).map_sqlx_mysql_opts(move |mysql| {
        DRIVER.with_tls(&address, mysql).statement_cache_capacity(PREPARED_STATEMENTS)
    });
    options
}

/// The settings of the pool.
pub(super) fn pool_options(url: &str, timeouts: Timeouts) -> ConnectOptions {
    let mut options = server::pool(options(url), timeouts);
    options.map_sqlx_mysql_pool_opts(move |pool| with_session(close_unsettled(pool), timeouts));
    options
}

/// Sets the isolation level and the time limits of each connection, and makes the server refuse a value that is too long
/// instead of cutting it. MariaDB also limits each statement, and ends the transaction of a process that has stopped.
///
/// With `sql_safe_updates`, UPDATE and DELETE find their rows by an index. Otherwise they read the whole table if they
/// change a large part of it, and wait for rows that other transactions have locked.
fn with_session(pool: PoolOptions<MySql>, timeouts: Timeouts) -> PoolOptions<MySql> {
    let session = format!(
        "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED;
         SET SESSION sql_mode = CONCAT(@@sql_mode, ',STRICT_TRANS_TABLES'), innodb_lock_wait_timeout = {lock},
             sql_safe_updates = 1
         /*M! , max_statement_time = {statement}, idle_transaction_timeout = {idle} */",
        lock = timeouts.lock.as_secs().max(1),
        statement = timeouts.statement.as_secs().max(1),
        idle = timeouts.idle_transaction.as_secs().max(1),
    );
    pool.after_connect(move |connection: &mut MySqlConnection, _| {
        let session = sea_orm::sqlx::AssertSqlSafe(session.clone());
        Box::pin(async move { connection.execute(session).await.map(drop) })
    })
}

/// Whether the statement of a migration has taken effect before. Each change of a table ends the transaction, so a
/// process that was killed leaves the first statements of a migration.
pub(super) fn is_done(error: &DbErr) -> bool {
    let number = errors::cause(error)
        .and_then(|error| Some(error.as_database_error()?.try_downcast_ref::<MySqlDatabaseError>()?.number()));
    // ER_TABLE_EXISTS_ERROR, ER_BAD_TABLE_ERROR (a table to drop), ER_DUP_FIELDNAME, ER_DUP_KEYNAME, ER_DUP_ENTRY (rows
    // that were copied), ER_CANT_DROP_FIELD_OR_KEY, ER_NO_SUCH_TABLE (rows were copied, then their table was dropped)
    number.is_some_and(|number| matches!(number, 1050 | 1051 | 1060 | 1061 | 1062 | 1091 | 1146))
}

/// What an error of the server means. See "Server Error Message Reference" in its manual.
pub(super) fn failure(error: &dyn DatabaseError) -> Option<Failure> {
    Some(match error.try_downcast_ref::<MySqlDatabaseError>()?.number() {
        // ER_LOCK_DEADLOCK, ER_CHECKREAD
        1213 | 1020 => Failure::Conflict,
        // ER_ACCESS_DENIED_ERROR
        1045 => Failure::Refused,
        // ER_BAD_DB_ERROR
        1049 => Failure::Missing,
        // ER_DBACCESS_DENIED_ERROR, ER_TABLEACCESS_DENIED_ERROR, ER_SPECIFIC_ACCESS_DENIED_ERROR,
        // ER_OPTION_PREVENTS_STATEMENT (a read-only server), ER_CANT_EXECUTE_IN_READ_ONLY_TRANSACTION
        1044 | 1142 | 1227 | 1290 | 1792 => Failure::Denied,
        // ER_DATA_TOO_LONG, ER_TRUNCATED_WRONG_VALUE_FOR_FIELD
        1406 | 1366 => Failure::Unsupported,
        // The statement does not match the tables: ER_BAD_FIELD_ERROR, ER_PARSE_ERROR, ER_WRONG_VALUE_COUNT_ON_ROW,
        // ER_NO_SUCH_TABLE. A damaged table: ER_CRASHED_ON_USAGE, ER_TABLE_CORRUPT.
        1054 | 1064 | 1136 | 1146 | 1194 | 1877 => Failure::Corrupt,
        _ => Failure::Unavailable,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_needs_a_database() {
        DRIVER.check_address("mysql://app@db/hubcast?ssl-mode=required").unwrap();
        for url in ["mysql://app:hunter2@db", "mysql://app:hunter2@db/", "mysql://app:hunter2@db:port/hubcast"] {
            let error = DRIVER.check_address(url).unwrap_err().to_string();
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
}
