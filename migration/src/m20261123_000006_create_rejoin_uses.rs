//! Creates the table of used rejoin tokens.

use sea_orm::{
    DbErr,
    prelude::async_trait,
    sea_query::{Index, IndexCreateStatement, Table},
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
            .table("rejoin_uses")
            .col(string_len("family", 128))
            .col(big_integer("epoch"))
            .col(big_integer("expires_at"))
            .primary_key(Index::create().col("family").col("epoch"))
            .take();
        manager.execute(table).await?;
        manager.execute(by_expiry()).await
    }

    async fn down(&self, manager: &SchemaManager<'_>) -> Result<(), DbErr> {
        manager.execute(Table::drop().table("rejoin_uses").take()).await
    }
}

/// Finds the rows that can be deleted.
fn by_expiry() -> IndexCreateStatement {
    Index::create().name("rejoin_uses_by_expiry").table("rejoin_uses").col("expires_at").take()
}
