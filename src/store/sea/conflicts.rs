//! Repetition of a transaction that the database ended because of another one, such as a deadlock.

use sea_orm::DbErr;

use super::errors;
use crate::store::Error;

/// The maximum number of attempts. The transactions lock rows in one order, so a conflict is rare, and two in a row are
/// rarer.
const MAX_ATTEMPTS: u32 = 5;

/// Makes attempts until one does not end with a conflict.
pub(super) async fn retry_conflicts<T, F>(attempt: impl Fn() -> F) -> Result<T, Error>
where
    F: Future<Output = Result<T, DbErr>>,
{
    for _ in 1..MAX_ATTEMPTS {
        match attempt().await {
            Err(error) if errors::is_conflict(&error) => {}
            result => return result.map_err(Error::from),
        }
    }
    attempt().await.map_err(Error::from)
}
