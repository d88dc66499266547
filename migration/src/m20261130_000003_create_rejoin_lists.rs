//! Creates the table of the groups of clients whose tokens cannot list all of them.

use sea_orm::{
    ConnectionTrait, DatabaseBackend, DbErr,
    prelude::async_trait,
    sea_query::{ColumnDef, Index, Table},
};

use crate::{
    runner::{MigrationTrait, SchemaManager},
    schema::{big_integer, compare_by_bytes, string_len},
};

pub(crate) struct Migration;

const TABLE: &str = "rejoin_lists";

/// A BLOB of MySQL has at most 64 KiB.
const ALLOW_LONG_LISTS: &str = "ALTER TABLE rejoin_lists MODIFY listed LONGBLOB NOT NULL";

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager<'_>) -> Result<(), DbErr> {
        let table = Table::create()
            .table(TABLE)
            .col(string_len("family", 128).primary_key())
            .col(ColumnDef::new("listed").blob().not_null())
            .col(big_integer("omitted"))
            .col(big_integer("written_at"))
            .col(big_integer("expires_at"))
            .take();
        manager.execute(table).await?;
        compare_by_bytes(manager, TABLE, &[("family", 128)]).await?;
        if manager.get_database_backend() == DatabaseBackend::MySql {
            manager.get_connection().execute_unprepared(ALLOW_LONG_LISTS).await?;
        }
        let by_expiry = Index::create().name("rejoin_lists_by_expiry").table(TABLE).col("expires_at").take();
        manager.execute(by_expiry).await
    }

    async fn down(&self, manager: &SchemaManager<'_>) -> Result<(), DbErr> {
        manager.execute(Table::drop().table(TABLE).take()).await
    }
}
