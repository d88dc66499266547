//! Names the process of each node, so that a second process under the same name is refused. The rows of earlier versions
//! name no process and count as expired.

use sea_orm::{
    ConnectionTrait, DbErr,
    prelude::async_trait,
    sea_query::{ColumnDef, Query, Table, TableAlterStatement},
};

use crate::{
    runner::{MigrationTrait, SchemaManager},
    schema::{big_integer, string_len},
};

pub(crate) struct Migration;

const COLUMNS: [&str; 4] = ["process_id", "host", "pid", "started_at"];

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager<'_>) -> Result<(), DbErr> {
        let [process_id, host, pid, started_at] = COLUMNS;
        for mut column in [string_len(process_id, 64), string_len(host, 255)] {
            manager.execute(add(column.default(""))).await?;
        }
        for mut column in [big_integer(pid), big_integer(started_at)] {
            manager.execute(add(column.default(0))).await?;
        }
        let expired = Query::update().table("nodes").value("lease_until", 0).take();
        manager.get_connection().execute(&expired).await.map(drop)
    }

    async fn down(&self, manager: &SchemaManager<'_>) -> Result<(), DbErr> {
        for column in COLUMNS {
            manager.execute(Table::alter().table("nodes").drop_column(column).take()).await?;
        }
        Ok(())
    }
}

fn add(column: &mut ColumnDef) -> TableAlterStatement {
    Table::alter().table("nodes").add_column(column.take()).take()
}
