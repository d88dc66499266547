//! Why a statement failed, as the caller has to know it.
//!
//! Role: turns what the driver says into the three errors of a store.
//! Life: functions of an error.
//! Neighbours: every verb of [`SeaStore`](super::SeaStore), through `?`.
//! Never: it does not log, try again, or show a statement's values.

use sea_orm::{DbErr, RuntimeErr, SqlxError};

use crate::store::Error;

impl From<DbErr> for Error {
    fn from(error: DbErr) -> Self {
        validator(&error)(error.to_string())
    }
}

/// Which error it is to the caller.
pub(super) fn validator(error: &DbErr) -> fn(String) -> Error {
    match (error, cause(error)) {
        (DbErr::Conn(RuntimeErr::Internal(_)), _) | (_, Some(SqlxError::Configuration(_))) => Error::Address,
        (_, Some(SqlxError::ColumnNotFound(_) | SqlxError::ColumnDecode { .. } | SqlxError::Decode(_))) => {
            Error::Corrupt
        }
        // A statement that does not fit the tables, a damaged file, a value of the wrong type, no database at all.
        (_, Some(cause)) if matches!(sqlite_code(cause), Some(1 | 11 | 20 | 26)) => Error::Corrupt,
        (DbErr::ConnectionAcquire(_) | DbErr::Conn(_) | DbErr::Exec(_) | DbErr::Query(_), _) => Error::Unavailable,
        // All others say that a row, a type or a migration is not what it should be.
        _ => Error::Corrupt,
    }
}

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

/// The kind of error is the low byte of SQLite's code.
fn sqlite_code(cause: &SqlxError) -> Option<u32> {
    Some(cause.as_database_error()?.code()?.parse::<u32>().ok()? & 0xff)
}
