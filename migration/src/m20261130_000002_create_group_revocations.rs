//! Creates the table of revoked groups, with an index for those that are later than a token and for those that expire.

use sea_orm::{
    DbErr,
    prelude::async_trait,
    sea_query::{Index, Table},
};

use crate::{
    runner::{MigrationTrait, SchemaManager},
    schema::{big_integer, compare_by_bytes, string_len},
};

pub(crate) struct Migration;

const TABLE: &str = "group_revocations";

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager<'_>) -> Result<(), DbErr> {
        let table = Table::create()
            .table(TABLE)
            .col(string_len("hub", 128))
            .col(string_len("room_name", 320))
            .col(big_integer("revoked_before"))
            .primary_key(Index::create().col("hub").col("room_name"))
            .take();
        manager.execute(table).await?;
        compare_by_bytes(manager, TABLE, &[("hub", 128), ("room_name", 320)]).await?;
        let by_time = Index::create().name("group_revocations_by_time").table(TABLE).col("revoked_before").take();
        manager.execute(by_time).await
    }

    async fn down(&self, manager: &SchemaManager<'_>) -> Result<(), DbErr> {
        manager.execute(Table::drop().table(TABLE).take()).await
    }
}
