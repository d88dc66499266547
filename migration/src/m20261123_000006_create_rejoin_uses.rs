//! Creates the table of used rejoin tokens.

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
            .table("rejoin_uses")
            .col(string_len("family", 128))
            .col(big_integer("epoch"))
            .col(big_integer("expires_at"))
            .primary_key(Index::create().col("family").col("epoch"))
            .take();
        manager.create_table(table).await?;
        manager.create_index(by_expiry()).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table("rejoin_uses").take()).await
    }
}

/// Finds the rows that can be deleted.
fn by_expiry() -> IndexCreateStatement {
    Index::create().name("rejoin_uses_by_expiry").table("rejoin_uses").col("expires_at").take()
}
