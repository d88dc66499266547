//! PostgreSQL: its addresses, the settings of its connections, and its error codes.

use sea_orm::{
    ConnectOptions,
    sqlx::{
        Executor, PgConnection, Postgres,
        error::DatabaseError,
        pool::PoolOptions,
        postgres::{PgConnectOptions, PgDatabaseError, PgSslMode},
    },
};

use super::{
    PREPARED_STATEMENTS, Timeouts,
    errors::Failure,
    parameters::Parameters,
    server::{self, Driver},
    settled::close_unsettled,
};

/// The migration waits for the lock without a limit of its own. The number is arbitrary: the same in all processes.
pub(super) const LOCK_SCHEMA: &str = "SELECT pg_advisory_xact_lock(4852434153544401)";

pub(super) const DRIVER: Driver<PgConnectOptions> = Driver {
    database: PgConnectOptions::get_database,
    endpoint,
    requires_tls,
    verify_authority,
    authority_parameters: &["sslrootcert", "ssl-root-cert", "ssl-ca"],
    strictest_mode: "sslmode=verify-full",
    parameters: Parameters {
        is_known,
        choices: &[(&["sslmode", "ssl-mode"], &["disable", "allow", "prefer", "require", "verify-ca", "verify-full"])],
    },
};

/// The list of the driver.
fn is_known(parameter: &str) -> bool {
    let is_known = matches!(
        parameter,
        "sslmode"
            | "ssl-mode"
            | "sslrootcert"
            | "ssl-root-cert"
            | "ssl-ca"
            | "sslcert"
            | "ssl-cert"
            | "sslkey"
            | "ssl-key"
            | "statement-cache-capacity"
            | "host"
            | "hostaddr"
            | "port"
            | "dbname"
            | "user"
            | "password"
            | "application_name"
            | "options"
    );
    is_known || parameter.strip_prefix("options[").is_some_and(|option| option.ends_with(']'))
}

fn endpoint(options: &PgConnectOptions) -> String {
    match options.get_socket() {
        Some(socket) => socket.display().to_string(),
        None => format!("{}:{}", options.get_host(), options.get_port()),
    }
}

fn requires_tls(options: &PgConnectOptions) -> bool {
    matches!(options.get_ssl_mode(), PgSslMode::Require | PgSslMode::VerifyCa | PgSslMode::VerifyFull)
}

fn verify_authority(options: PgConnectOptions) -> PgConnectOptions {
    if matches!(options.get_ssl_mode(), PgSslMode::Require) { options.ssl_mode(PgSslMode::VerifyCa) } else { options }
}

/// The settings of each connection.
pub(super) fn options(url: &str) -> ConnectOptions {
    let (address, mut options) = (url.to_owned(), ConnectOptions::new(url));
    options.sqlx_logging(false).map_sqlx_postgres_opts(move |postgres| {
        DRIVER.with_tls(&address, postgres).statement_cache_capacity(PREPARED_STATEMENTS)
    });
    options
}

/// The settings of the pool.
pub(super) fn pool_options(url: &str, timeouts: Timeouts) -> ConnectOptions {
    let mut options = server::pool(options(url), timeouts);
    options.map_sqlx_postgres_pool_opts(move |pool| with_session(close_unsettled(pool), timeouts));
    options
}

/// Sets the isolation level and the time limits of each connection. A process that stops in a transaction loses it, so
/// that its locks do not stop the other processes.
fn with_session(pool: PoolOptions<Postgres>, timeouts: Timeouts) -> PoolOptions<Postgres> {
    let lock = timeouts.lock.as_millis();
    let session = format!(
        "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL READ COMMITTED;
         SET lock_timeout = {lock}; SET statement_timeout = {statement};
         SET idle_in_transaction_session_timeout = {idle}",
        statement = timeouts.statement.as_millis(),
        idle = timeouts.idle_transaction.as_millis(),
    );
    pool.after_connect(move |connection: &mut PgConnection, _| {
        let session = sea_orm::sqlx::AssertSqlSafe(session.clone());
        Box::pin(async move { connection.execute(session).await.map(drop) })
    })
}

/// What an error of the server means. See "PostgreSQL Error Codes" in its manual.
pub(super) fn failure(error: &dyn DatabaseError) -> Option<Failure> {
    let code = error.try_downcast_ref::<PgDatabaseError>()?.code();
    Some(match code {
        // serialization_failure, deadlock_detected
        "40001" | "40P01" => Failure::Conflict,
        // invalid_authorization_specification, invalid_password
        "28000" | "28P01" => Failure::Refused,
        // invalid_catalog_name: a database that does not exist
        "3D000" => Failure::Missing,
        // insufficient_privilege: the operator can grant it. read_only_sql_transaction
        "42501" | "25006" => Failure::Denied,
        // data_corrupted, index_corrupted
        "XX001" | "XX002" => Failure::Corrupt,
        // A value that the server cannot hold, such as a NUL character.
        _ if code.starts_with("22") => Failure::Unsupported,
        // The statement does not match the tables.
        _ if code.starts_with("42") => Failure::Corrupt,
        _ => Failure::Unavailable,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_needs_a_database() {
        DRIVER.check_address("postgres://app@db/hubcast?sslmode=require").unwrap();
        for url in ["postgres://app:hunter2@db", "postgres://app:hunter2@db/", "postgres://app:hunter2@db:port/hubcast"]
        {
            let error = DRIVER.check_address(url).unwrap_err().to_string();
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
}
