//! Makes PostgreSQL, MySQL and MariaDB compare and sort names byte by byte, as SQLite does: by default they use the rules
//! of a language, and some do not distinguish case or trailing spaces.

use sea_orm::{ConnectionTrait, DatabaseBackend, DbErr, Statement, prelude::async_trait, sea_query::ForeignKey};

use crate::{
    m20261123_000003_create_user_rooms as user_rooms,
    runner::{MigrationTrait, SchemaManager},
};

pub(crate) struct Migration;

/// The columns with names. The tables and columns of foreign keys are compared in the same way.
const COLUMNS: [(&str, &[(&str, u32)]); 7] = [
    ("users", &[("user_name", 320)]),
    ("conversation_rooms", &[("hub", 128), ("room_name", 320)]),
    ("user_rooms", &[("hub", 128), ("user_name", 320), ("room_name", 320)]),
    ("nodes", &[("node_id", 255), ("incarnation", 64), ("process_id", 64)]),
    ("connections", &[("connection_id", 128), ("user_name", 320), ("node_id", 255), ("incarnation", 64)]),
    ("rejoin_families", &[("family", 128), ("connection_id", 128), ("node_id", 255)]),
    ("clocks", &[("clock_id", 64)]),
];

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager<'_>) -> Result<(), DbErr> {
        match manager.get_database_backend() {
            DatabaseBackend::Postgres => alter_columns(manager).await,
            DatabaseBackend::MySql => convert_tables(manager).await,
            _ => Ok(()),
        }
    }

    /// The tables stay as they are: the columns have the same types.
    async fn down(&self, _: &SchemaManager<'_>) -> Result<(), DbErr> {
        Ok(())
    }
}

async fn alter_columns(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    for (table, columns) in COLUMNS {
        let actions: Vec<_> = columns
            .iter()
            .map(|(name, length)| format!("ALTER COLUMN {name} TYPE varchar({length}) COLLATE \"C\""))
            .collect();
        let statement = format!("ALTER TABLE {table} {}", actions.join(", "));
        manager.get_connection().execute_unprepared(&statement).await?;
    }
    Ok(())
}

/// The collations that compare bytes and do not ignore trailing spaces: of MySQL and of MariaDB.
const BINARY_COLLATIONS: &str = "SELECT collation_name FROM information_schema.collations WHERE collation_name IN ('utf8mb4_0900_bin', 'utf8mb4_nopad_bin')";

/// The foreign keys are missing meanwhile, because the columns of a key must have the same collation.
async fn convert_tables(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    let db = manager.get_connection();
    let row = db.query_one_raw(Statement::from_string(DatabaseBackend::MySql, BINARY_COLLATIONS)).await?;
    let Some(row) = row else {
        return Err(DbErr::Migration("the server has no collation that compares names byte by byte".into()));
    };
    let collation: String = row.try_get_by_index(0)?;
    for name in ["fk_user_rooms_user", "fk_user_rooms_room"] {
        manager.execute(ForeignKey::drop().name(name).table("user_rooms").to_owned()).await?;
    }
    for (table, _) in COLUMNS {
        let statement = format!("ALTER TABLE {table} CONVERT TO CHARACTER SET utf8mb4 COLLATE {collation}");
        db.execute_unprepared(&statement).await?;
    }
    manager.execute(user_rooms::user()).await?;
    manager.execute(user_rooms::room()).await
}
