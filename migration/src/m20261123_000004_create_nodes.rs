//! Creates the table of processes that serve connections.

use sea_orm::{DbErr, prelude::async_trait, sea_query::Table};

use crate::{
    runner::{MigrationTrait, SchemaManager},
    schema::{big_integer, string_len},
};

pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager<'_>) -> Result<(), DbErr> {
        let table = Table::create()
            .table("nodes")
            .col(string_len("node_id", 255).primary_key())
            .col(string_len("incarnation", 64))
            .col(big_integer("lease_until"))
            .take();
        manager.execute(table).await
    }

    async fn down(&self, manager: &SchemaManager<'_>) -> Result<(), DbErr> {
        manager.execute(Table::drop().table("nodes").take()).await
    }
}
