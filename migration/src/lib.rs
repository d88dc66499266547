//! The history of the tables: one change per file, in the order of the list below.
//! A new table comes with its indexes.
//!
//! Role: brings an empty or older database to today's schema, and back.
//! Life: a file is never edited once it is merged; the next change is a new file at the end.
//! Neighbours: hubcast's `store/sea.rs` applies it before anything else touches the database.
//! Never: it does not import `entities`, or yesterday's migration would change with today's row.

#![expect(elided_lifetimes_in_paths, reason = "SeaORM's trait leaves them out, and async_trait wants ours alike")]

pub use sea_orm_migration::MigratorTrait;
use sea_orm_migration::prelude::*;

mod m20261123_000001_create_users;
mod m20261123_000002_create_conversation_rooms;
mod m20261123_000003_create_user_rooms;
mod m20261123_000004_create_nodes;
mod m20261123_000005_create_connections;
mod m20261123_000006_create_rejoin_uses;

/// Applies what is missing (`up`) or takes all of it back (`down`).
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
        ]
    }
}
