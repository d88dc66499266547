//! Replaces the table of used rejoin tokens by one with a row for each family. The connections of the copied rows have
//! no known node, so they count as ended.

use sea_orm::{
    DbErr,
    prelude::async_trait,
    sea_query::{Expr, ExprTrait, Index, IndexCreateStatement, Query, SelectStatement, Table},
};

use crate::{
    m20261123_000006_create_rejoin_uses::Migration as RejoinUses,
    runner::{MigrationTrait, SchemaManager},
    schema::{big_integer, string_len, string_len_null},
};

pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager<'_>) -> Result<(), DbErr> {
        let table = Table::create()
            .table("rejoin_families")
            .col(string_len("family", 128).primary_key())
            .col(big_integer("epoch"))
            .col(big_integer("expires_at"))
            .col(string_len_null("connection_id", 128))
            .col(string_len_null("node_id", 255))
            .take();
        manager.execute(table).await?;
        manager.execute(index("rejoin_families_by_expiry", "expires_at")).await?;
        manager.execute(index("rejoin_families_by_connection", "connection_id")).await?;
        let latest = Query::select()
            .column("family")
            .expr(Expr::col("epoch").max())
            .expr(Expr::col("expires_at").max())
            .from("rejoin_uses")
            .group_by_col("family")
            .take();
        copy(manager, "rejoin_families", latest).await?;
        RejoinUses.down(manager).await
    }

    async fn down(&self, manager: &SchemaManager<'_>) -> Result<(), DbErr> {
        RejoinUses.up(manager).await?;
        let latest = Query::select().columns(["family", "epoch", "expires_at"]).from("rejoin_families").take();
        copy(manager, "rejoin_uses", latest).await?;
        manager.execute(Table::drop().table("rejoin_families").take()).await
    }
}

fn index(name: &'static str, column: &'static str) -> IndexCreateStatement {
    Index::create().name(name).table("rejoin_families").col(column).take()
}

async fn copy(manager: &SchemaManager<'_>, into: &'static str, rows: SelectStatement) -> Result<(), DbErr> {
    let columns = ["family", "epoch", "expires_at"];
    let insert = Query::insert()
        .into_table(into)
        .columns(columns)
        .select_from(rows)
        .map_err(|error| DbErr::Custom(error.to_string()))?
        .take();
    manager.execute(insert).await
}
