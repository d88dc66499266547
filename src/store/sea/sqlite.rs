//! SQLite: its addresses, its connection pool, its error codes, and the space of deleted rows.
//!
//! SQLite has one writer at a time. Every write transaction starts with `BEGIN IMMEDIATE`, so it waits for the lock at
//! its beginning, with a timeout, and cannot fail later because another transaction wrote in between. The transaction
//! also ensures that a cancelled call has no effect: SQLite would still execute a single statement once the lock is
//! free.

use sea_orm::sqlx::{error::DatabaseError, sqlite::SqliteError};

use super::errors::Failure;

mod address;
mod pool;
mod retry;
mod space;

pub(super) use address::check as check_address;
pub(super) use pool::{Anchor, open};
pub(super) use space::{prepare, release as release_space};

/// What an error of the database means.
pub(super) fn failure(error: &dyn DatabaseError) -> Option<Failure> {
    Some(match code(error)? {
        // SQLITE_ERROR (the statement does not match the tables), SQLITE_CORRUPT, SQLITE_MISMATCH, SQLITE_NOTADB.
        1 | 11 | 20 | 26 => Failure::Corrupt,
        // SQLITE_READONLY
        8 => Failure::Denied,
        _ => Failure::Unavailable,
    })
}

/// True for SQLITE_BUSY: another connection holds the lock.
fn is_busy(error: &dyn DatabaseError) -> bool {
    code(error) == Some(5)
}

/// The primary result code: the low byte of the extended code.
fn code(error: &dyn DatabaseError) -> Option<u32> {
    error.try_downcast_ref::<SqliteError>()?;
    Some(error.code()?.parse::<u32>().ok()? & 0xff)
}
