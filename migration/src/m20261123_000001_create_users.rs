//! Creates the table of users, with the time before which their rejoin tokens are refused.

use sea_orm::{DbErr, prelude::async_trait, sea_query::Table};

use crate::{
    runner::{MigrationTrait, SchemaManager},
    schema::{big_integer, big_integer_null, string_len},
};

pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager<'_>) -> Result<(), DbErr> {
        let table = Table::create()
            .table("users")
            .col(string_len("user_name", 320).primary_key())
            .col(big_integer("created_at"))
            .col(big_integer_null("revoked_before"))
            .take();
        manager.execute(table).await
    }

    async fn down(&self, manager: &SchemaManager<'_>) -> Result<(), DbErr> {
        manager.execute(Table::drop().table("users").take()).await
    }
}
