//! Columns of tables.

use sea_orm::{ConnectionTrait, DatabaseBackend, DbErr, Statement, sea_query::ColumnDef};

use crate::runner::SchemaManager;

/// A text of at most `length` characters.
pub(crate) fn string_len(name: &'static str, length: u32) -> ColumnDef {
    ColumnDef::new(name).string_len(length).not_null().take()
}

/// A text of at most `length` characters, or null.
pub(crate) fn string_len_null(name: &'static str, length: u32) -> ColumnDef {
    ColumnDef::new(name).string_len(length).null().take()
}

/// A text of any length.
pub(crate) fn text(name: &'static str) -> ColumnDef {
    ColumnDef::new(name).text().not_null().take()
}

/// An integer of 64 bits.
pub(crate) fn big_integer(name: &'static str) -> ColumnDef {
    ColumnDef::new(name).big_integer().not_null().take()
}

/// An integer of 64 bits, or null.
pub(crate) fn big_integer_null(name: &'static str) -> ColumnDef {
    ColumnDef::new(name).big_integer().null().take()
}

/// The collations that compare bytes and do not ignore trailing spaces: of MySQL and of MariaDB.
const BINARY_COLLATIONS: &str = "SELECT collation_name FROM information_schema.collations WHERE collation_name IN ('utf8mb4_0900_bin', 'utf8mb4_nopad_bin')";

/// Makes the database compare and sort the texts of a new table byte by byte. `columns` are their names and lengths.
pub(crate) async fn compare_by_bytes(
    manager: &SchemaManager<'_>,
    table: &str,
    columns: &[(&str, u32)],
) -> Result<(), DbErr> {
    let db = manager.get_connection();
    let statement = match manager.get_database_backend() {
        DatabaseBackend::Postgres => {
            let alter = columns
                .iter()
                .map(|(name, length)| format!("ALTER COLUMN {name} TYPE varchar({length}) COLLATE \"C\""));
            format!("ALTER TABLE {table} {}", Vec::from_iter(alter).join(", "))
        }
        DatabaseBackend::MySql => {
            let row = db.query_one_raw(Statement::from_string(DatabaseBackend::MySql, BINARY_COLLATIONS)).await?;
            let missing = || DbErr::Migration("the server has no collation that compares names byte by byte".into());
            let collation: String = row.ok_or_else(missing)?.try_get_by_index(0)?;
            format!("ALTER TABLE {table} CONVERT TO CHARACTER SET utf8mb4 COLLATE {collation}")
        }
        _ => return Ok(()),
    };
    db.execute_unprepared(&statement).await.map(drop)
}
