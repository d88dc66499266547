//! Creates the table of the time that the nodes agree on.

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
            .table("clocks")
            .col(string_len("clock_id", 64).primary_key())
            .col(big_integer("now_at"))
            .take();
        manager.execute(table).await
    }

    async fn down(&self, manager: &SchemaManager<'_>) -> Result<(), DbErr> {
        manager.execute(Table::drop().table("clocks").take()).await
    }
}
