//! Returns the space of deleted rows to the file system. Without it, SQLite keeps the pages of a file for later rows.

use log::{debug, info, warn};
use sea_orm::{ConnectionTrait, DatabaseConnection, DbErr, Statement};

/// The number of pages that one renewal returns: 10 MiB, which takes a few milliseconds.
const PAGES_PER_RENEWAL: u32 = 2_560;

/// Converts a file of an earlier version, which cannot shrink. That rewrites the file and takes seconds for each
/// gigabyte. If it fails, for example for lack of space, the file is used as it is.
pub(in crate::store::sea) async fn prepare(db: &DatabaseConnection) -> Result<(), DbErr> {
    if can_shrink(db).await? {
        return Ok(());
    }
    info!("rewriting the database, so that its file can shrink");
    // The setting itself comes with each connection, and takes effect by this statement.
    if let Err(error) = db.execute_unprepared("VACUUM").await {
        warn!(error:% = error; "the database file cannot shrink; will try again at the next start");
    }
    Ok(())
}

async fn can_shrink(db: &DatabaseConnection) -> Result<bool, DbErr> {
    let statement = Statement::from_string(db.get_database_backend(), "PRAGMA auto_vacuum");
    let row = db.query_one_raw(statement).await?;
    Ok(row.map(|row| row.try_get_by_index::<i32>(0)).transpose()? != Some(0))
}

/// Returns some unused pages. A failure is harmless: the next call repeats it.
pub(in crate::store::sea) async fn release(db: &DatabaseConnection) {
    if let Err(error) = db.execute_unprepared(&format!("PRAGMA incremental_vacuum({PAGES_PER_RENEWAL})")).await {
        debug!(error:% = error; "failed to shrink the database file");
    }
}
