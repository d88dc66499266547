//! Creates the table of groups that have durable members.

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
            .table("conversation_rooms")
            .col(string_len("hub", 128))
            .col(string_len("room_name", 320))
            .col(big_integer("created_at"))
            .primary_key(Index::create().col("hub").col("room_name"))
            .take();
        manager.create_table(table).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table("conversation_rooms").take()).await
    }
}
