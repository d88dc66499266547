//! Creates the table of groups that have durable members.

use sea_orm::{
    DbErr,
    prelude::async_trait,
    sea_query::{Index, Table},
};

use crate::{
    runner::{MigrationTrait, SchemaManager},
    schema::{big_integer, string_len},
};

pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager<'_>) -> Result<(), DbErr> {
        let table = Table::create()
            .table("conversation_rooms")
            .col(string_len("hub", 128))
            .col(string_len("room_name", 320))
            .col(big_integer("created_at"))
            .primary_key(Index::create().col("hub").col("room_name"))
            .take();
        manager.execute(table).await
    }

    async fn down(&self, manager: &SchemaManager<'_>) -> Result<(), DbErr> {
        manager.execute(Table::drop().table("conversation_rooms").take()).await
    }
}
