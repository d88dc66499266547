//! Creates the table of users, with the time before which their rejoin tokens are refused.

use sea_orm_migration::{
    prelude::*,
    schema::{big_integer, big_integer_null, string_len},
};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let table = Table::create()
            .table("users")
            .col(string_len("user_name", 320).primary_key())
            .col(big_integer("created_at"))
            .col(big_integer_null("revoked_before"))
            .take();
        manager.create_table(table).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table("users").take()).await
    }
}
