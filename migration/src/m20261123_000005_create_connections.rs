//! Creates the table of open connections. The user is not a foreign key, because it can have no row in `users`.

use sea_orm::{
    DbErr,
    prelude::async_trait,
    sea_query::{Index, IndexCreateStatement, Table},
};

use crate::{
    runner::{MigrationTrait, SchemaManager},
    schema::{big_integer, string_len, string_len_null, text},
};

pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager<'_>) -> Result<(), DbErr> {
        let table = Table::create()
            .table("connections")
            .col(string_len("connection_id", 128).primary_key())
            .col(string_len_null("user_name", 320))
            .col(text("user_agent"))
            .col(string_len("transport", 64))
            .col(string_len("node_id", 255))
            .col(string_len("incarnation", 64))
            .col(big_integer("connected_at"))
            .take();
        manager.execute(table).await?;
        manager.execute(by_node()).await
    }

    async fn down(&self, manager: &SchemaManager<'_>) -> Result<(), DbErr> {
        manager.execute(Table::drop().table("connections").take()).await
    }
}

/// Finds the connections of a node, so that the cost of deleting an expired node depends only on its connections.
fn by_node() -> IndexCreateStatement {
    Index::create().name("connections_by_node").table("connections").col("node_id").col("incarnation").take()
}
