//! Schema migrations: one change per file, applied in the order of the list below.
//!
//! They bring an empty or older database to the current schema, and back. `store/sea.rs` of hubcast applies them before
//! any other access to the database. A file is never edited once it is merged; the next change is a new file at the
//! end. The migration that creates a table also creates its indexes. This crate does not import `entities`, because old
//! migrations would then change with the current entities.

#![expect(
    elided_lifetimes_in_paths,
    reason = "the trait of SeaORM elides them, and async_trait requires the same signature"
)]

pub use sea_orm_migration::MigratorTrait;
use sea_orm_migration::prelude::*;

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

/// Applies the missing migrations (`up`) or reverts all of them (`down`).
#[derive(Debug)]
pub struct Migrator;

#[async_trait::async_trait]
impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(m20261123_000001_create_users::Migration),
            Box::new(m20261123_000002_create_conversation_rooms::Migration),
            Box::new(m20261123_000003_create_user_rooms::Migration),
            Box::new(m20261123_000004_create_nodes::Migration),
            Box::new(m20261123_000005_create_connections::Migration),
            Box::new(m20261123_000006_create_rejoin_uses::Migration),
            Box::new(m20261124_000001_create_rejoin_families::Migration),
            Box::new(m20261124_000002_create_clocks::Migration),
            Box::new(m20261124_000003_delete_unused_rows::Migration),
            Box::new(m20261129_000001_name_processes_of_nodes::Migration),
            Box::new(m20261129_000002_compare_names_by_bytes::Migration),
        ]
    }
}
