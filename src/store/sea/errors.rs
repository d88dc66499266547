//! Classification of database errors.
//!
//! It maps errors of the driver to the variants of [`Error`]. Every method of [`SeaStore`](super::SeaStore) uses it
//! through `?`. It does not log or retry, and no error shows the values of a statement.

use sea_orm::{DbErr, RuntimeErr, SqlxError};

use crate::store::Error;

impl From<DbErr> for Error {
    fn from(error: DbErr) -> Self {
        classify(&error)(error.to_string())
    }
}

/// Returns the constructor of the matching [`Error`] variant.
pub(super) fn classify(error: &DbErr) -> fn(String) -> Error {
    match (error, cause(error)) {
        (DbErr::Conn(RuntimeErr::Internal(_)), _) | (_, Some(SqlxError::Configuration(_))) => Error::Address,
        (_, Some(SqlxError::ColumnNotFound(_) | SqlxError::ColumnDecode { .. } | SqlxError::Decode(_))) => {
            Error::Corrupt
        }
        // SQLITE_ERROR (the statement does not match the tables), SQLITE_CORRUPT, SQLITE_MISMATCH, SQLITE_NOTADB.
        (_, Some(cause)) if matches!(sqlite_code(cause), Some(1 | 11 | 20 | 26)) => Error::Corrupt,
        (DbErr::ConnectionAcquire(_) | DbErr::Conn(_) | DbErr::Exec(_) | DbErr::Query(_), _) => Error::Unavailable,
        // All other errors report a row, a type or a migration that does not match.
        _ => Error::Corrupt,
    }
}

/// True for SQLITE_BUSY: another connection holds the lock.
pub(super) fn is_busy(error: &DbErr) -> bool {
    cause(error).and_then(sqlite_code) == Some(5)
}

fn cause(error: &DbErr) -> Option<&SqlxError> {
    use RuntimeErr::SqlxError as Cause;
    match error {
        DbErr::Conn(Cause(cause)) | DbErr::Exec(Cause(cause)) | DbErr::Query(Cause(cause)) => Some(cause),
        _ => None,
    }
}

/// The primary result code of SQLite: the low byte of the extended code.
fn sqlite_code(cause: &SqlxError) -> Option<u32> {
    Some(cause.as_database_error()?.code()?.parse::<u32>().ok()? & 0xff)
}
