//! Keeps the connections that were closed, with the time and the reason, and when each user was last seen.

use sea_orm::{
    ConnectionTrait, DbErr,
    prelude::async_trait,
    sea_query::{ColumnDef, Expr, ExprTrait, Index, IndexCreateStatement, Query, Table, TableAlterStatement},
};

use crate::{
    runner::{MigrationTrait, SchemaManager},
    schema::{big_integer, big_integer_null, compare_by_bytes, string_len, string_len_null},
};

pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager<'_>) -> Result<(), DbErr> {
        manager.execute(add("nodes", big_integer("renewed_at").default(0))).await?;
        manager.execute(add("connections", big_integer("last_seen_at").default(0))).await?;
        manager.execute(add("connections", &mut big_integer_null("closed_at"))).await?;
        manager.execute(add("connections", &mut string_len_null("close_reason", 32))).await?;
        let seen = Query::update().table("connections").value("last_seen_at", Expr::col("connected_at")).take();
        manager.get_connection().execute(&seen).await?;
        manager.execute(Index::drop().name("connections_by_node").table("connections").to_owned()).await?;
        for index in indexes() {
            manager.execute(index).await?;
        }
        create_last_seen(manager).await
    }

    /// Deletes the closed connections, which earlier versions take for open ones.
    async fn down(&self, manager: &SchemaManager<'_>) -> Result<(), DbErr> {
        manager.execute(Table::drop().table(LAST_SEEN).take()).await?;
        let closed = Query::delete().from_table("connections").and_where(Expr::col("closed_at").is_not_null()).take();
        manager.get_connection().execute(&closed).await?;
        for name in ["connections_open_by_node", "connections_open_by_user", "connections_by_closing"] {
            manager.execute(Index::drop().name(name).table("connections").to_owned()).await?;
        }
        let mut by_node = Index::create().name("connections_by_node").table("connections").take();
        manager.execute(by_node.col("node_id").col("incarnation").take()).await?;
        for column in ["last_seen_at", "closed_at", "close_reason"] {
            manager.execute(Table::alter().table("connections").drop_column(column).take()).await?;
        }
        manager.execute(Table::alter().table("nodes").drop_column("renewed_at").take()).await
    }
}

const LAST_SEEN: &str = "user_last_seen";

fn add(table: &'static str, column: &mut ColumnDef) -> TableAlterStatement {
    Table::alter().table(table).add_column(column.take()).take()
}

/// They find the open connections of a node and of a user, and the connections that were closed first, without reading
/// others.
fn indexes() -> [IndexCreateStatement; 3] {
    let on = |name: &'static str| Index::create().name(name).table("connections").take();
    [
        on("connections_open_by_node").col("node_id").col("closed_at").col("incarnation").take(),
        on("connections_open_by_user").col("user_name").col("closed_at").take(),
        on("connections_by_closing").col("closed_at").take(),
    ]
}

async fn create_last_seen(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    let user = string_len("user_name", 320).primary_key().take();
    manager.execute(Table::create().table(LAST_SEEN).col(user).col(big_integer("last_seen_at")).take()).await?;
    compare_by_bytes(manager, LAST_SEEN, &[("user_name", 320)]).await?;
    manager.execute(Index::create().name("user_last_seen_by_time").table(LAST_SEEN).col("last_seen_at").take()).await
}
