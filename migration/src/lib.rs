//! Schema migrations: one change per file, applied in the order of the list below.
//!
//! They bring an empty or older database to the current schema, and back. `store/sea.rs` of hubcast applies them before
//! any other access to the database. A file is never edited once it is merged; the next change is a new file at the
//! end. The migration that creates a table also creates its indexes. This crate does not import `entities`, because old
//! migrations would then change with the current entities.

pub use runner::IsDone;
use sea_orm::{DbErr, IntoDatabaseExecutor};

mod m20261123_000001_create_users;
mod m20261123_000002_create_conversation_rooms;
mod m20261123_000003_create_user_rooms;
mod m20261123_000004_create_nodes;
mod m20261123_000005_create_connections;
mod m20261123_000006_create_rejoin_uses;
mod m20261124_000001_create_rejoin_families;
mod m20261124_000002_create_clocks;
mod m20261124_000003_delete_unused_rows;
mod m20261129_000001_name_processes_of_nodes;
mod m20261129_000002_compare_names_by_bytes;
mod m20261130_000001_index_revocations;
mod m20261130_000002_create_group_revocations;
mod m20261130_000003_create_rejoin_lists;
mod m20261130_000004_close_leases;
mod runner;
mod schema;

/// The migrations with their names, in their order.
macro_rules! named {
    ($($module:ident),* $(,)?) => {
        [$((stringify!($module), &$module::Migration)),*]
    };
}

const MIGRATIONS: [runner::Named; 15] = named![
    m20261123_000001_create_users,
    m20261123_000002_create_conversation_rooms,
    m20261123_000003_create_user_rooms,
    m20261123_000004_create_nodes,
    m20261123_000005_create_connections,
    m20261123_000006_create_rejoin_uses,
    m20261124_000001_create_rejoin_families,
    m20261124_000002_create_clocks,
    m20261124_000003_delete_unused_rows,
    m20261129_000001_name_processes_of_nodes,
    m20261129_000002_compare_names_by_bytes,
    m20261130_000001_index_revocations,
    m20261130_000002_create_group_revocations,
    m20261130_000003_create_rejoin_lists,
    m20261130_000004_close_leases,
];

/// Applies the missing migrations (`up`), or reverts the last applied ones (`down`).
#[derive(Debug)]
pub struct Migrator;

impl Migrator {
    /// Applies the first `steps` of the missing migrations, or all of them. `db` is a connection or a transaction.
    ///
    /// # Errors
    /// Those of the database, and [`DbErr::Migration`] if the schema is that of a later version.
    pub async fn up<'c>(db: impl IntoDatabaseExecutor<'c>, steps: Option<usize>) -> Result<(), DbErr> {
        runner::up(&MIGRATIONS, db, steps, None).await
    }

    /// Applies all missing migrations to a database that cannot undo an interrupted one, and completes such a
    /// migration. `is_done` tells whether an error says that the effect of its statement exists already.
    ///
    /// # Errors
    /// As for [`up`](Self::up).
    pub async fn up_or_complete<'c>(db: impl IntoDatabaseExecutor<'c>, is_done: IsDone) -> Result<(), DbErr> {
        runner::up(&MIGRATIONS, db, None, Some(is_done)).await
    }

    /// Reverts the last `steps` of the applied migrations, or all of them.
    ///
    /// # Errors
    /// As for [`up`](Self::up).
    pub async fn down<'c>(db: impl IntoDatabaseExecutor<'c>, steps: Option<usize>) -> Result<(), DbErr> {
        runner::down(&MIGRATIONS, db, steps).await
    }
}
