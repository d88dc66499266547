//! Classification of database errors.
//!
//! It maps errors of the driver to the variants of [`Error`]. Every method of [`SeaStore`](super::SeaStore) uses it. It
//! does not log or retry, and no error shows the values of a statement.

use sea_orm::{DbErr, RuntimeErr, SqlxError, sqlx::error::DatabaseError};

#[cfg(feature = "mysql")]
use super::mysql;
#[cfg(feature = "postgres")]
use super::postgres;
use super::sqlite;
use crate::store::Error;

/// What a failure asks the caller to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(any(feature = "mysql", feature = "postgres")), expect(dead_code, reason = "SQLite has not all of them"))]
pub(super) enum Failure {
    /// Repeat the transaction at once: another one was in its way.
    Conflict,
    /// Repeat the call later.
    Unavailable,
    /// The server refuses the user. A retry helps only if its settings change.
    Refused,
    /// The database does not exist.
    Missing,
    /// The user lacks a right, or the database cannot be written.
    Denied,
    /// The address is invalid.
    Address,
    /// The database cannot hold a value of the request.
    Unsupported,
    /// The stored data or the tables are not as expected.
    Corrupt,
}

impl From<DbErr> for Error {
    fn from(error: DbErr) -> Self {
        let text = text(&error);
        match classify(&error) {
            Failure::Conflict | Failure::Unavailable | Failure::Refused | Failure::Missing | Failure::Denied => {
                Self::Unavailable(text)
            }
            Failure::Address => Self::Address(text),
            Failure::Unsupported => Self::Unsupported(text),
            Failure::Corrupt => Self::Corrupt(text),
        }
    }
}

/// The error of the first connection to `address`, or of the migration there. The address must not contain a password.
pub(super) fn connecting(address: &str, error: &DbErr) -> Error {
    let cause = text(error);
    let text = format!("{address}: {cause}");
    match classify(error) {
        Failure::Address => Error::Address(text),
        Failure::Refused => Error::Refused(format!("{address}: the server refuses the user: {cause}")),
        Failure::Missing => Error::Refused(text),
        Failure::Denied => Error::Refused(format!(
            "{text}. The user needs the right to create and alter tables, and the database must be writable"
        )),
        Failure::Corrupt => Error::Corrupt(text),
        Failure::Conflict | Failure::Unavailable | Failure::Unsupported => Error::Unavailable(text),
    }
}

/// The text of an error. Of one that the database has sent, only its own text: a driver adds the line of the database's
/// source code.
fn text(error: &DbErr) -> String {
    match cause(error) {
        Some(SqlxError::Database(cause)) => cause.message().to_owned(),
        _ => error.to_string(),
    }
}

/// True if the same transaction can succeed at once.
pub(super) fn is_conflict(error: &DbErr) -> bool {
    classify(error) == Failure::Conflict
}

fn classify(error: &DbErr) -> Failure {
    match (error, cause(error)) {
        (DbErr::Conn(RuntimeErr::Internal(_)), _) | (_, Some(SqlxError::Configuration(_))) => Failure::Address,
        (_, Some(SqlxError::ColumnNotFound(_) | SqlxError::ColumnDecode { .. } | SqlxError::Decode(_))) => {
            Failure::Corrupt
        }
        (_, Some(SqlxError::Database(cause))) => stated_failure(&**cause).unwrap_or(Failure::Unavailable),
        (DbErr::ConnectionAcquire(_) | DbErr::Conn(_) | DbErr::Exec(_) | DbErr::Query(_), _) => Failure::Unavailable,
        // All other errors report a row, a type or a migration that does not match.
        _ => Failure::Corrupt,
    }
}

/// What the database that has sent the error means by it.
fn stated_failure(error: &dyn DatabaseError) -> Option<Failure> {
    let failure = sqlite::failure(error);
    #[cfg(feature = "postgres")]
    let failure = failure.or_else(|| postgres::failure(error));
    #[cfg(feature = "mysql")]
    let failure = failure.or_else(|| mysql::failure(error));
    failure
}

/// The error of the driver, if there is one.
pub(super) fn cause(error: &DbErr) -> Option<&SqlxError> {
    use RuntimeErr::SqlxError as Cause;
    match error {
        DbErr::Conn(Cause(cause)) | DbErr::Exec(Cause(cause)) | DbErr::Query(Cause(cause)) => Some(cause),
        _ => None,
    }
}
