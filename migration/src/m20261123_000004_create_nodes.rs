//! Creates the table of processes that serve connections.

use sea_orm_migration::{
    prelude::*,
    schema::{big_integer, string_len},
};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let table = Table::create()
            .table("nodes")
            .col(string_len("node_id", 255).primary_key())
            .col(string_len("incarnation", 64))
            .col(big_integer("lease_until"))
            .take();
        manager.create_table(table).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table("nodes").take()).await
    }
}
