//! Indexes memberships by user, and deletes users and groups without memberships, which earlier versions kept.

use sea_orm::{
    ConnectionTrait, DbErr,
    prelude::async_trait,
    sea_query::{DeleteStatement, Expr, ExprTrait, Index, IndexCreateStatement, Query},
};

use crate::runner::{MigrationTrait, SchemaManager};

pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager<'_>) -> Result<(), DbErr> {
        manager.execute(by_user()).await?;
        let connection = manager.get_connection();
        connection.execute(&unused_rooms()).await?;
        connection.execute(&unused_users()).await.map(drop)
    }

    async fn down(&self, manager: &SchemaManager<'_>) -> Result<(), DbErr> {
        manager.execute(Index::drop().name("user_rooms_by_user").table("user_rooms").to_owned()).await
    }
}

/// Finds the memberships of a user on all hubs.
fn by_user() -> IndexCreateStatement {
    Index::create().name("user_rooms_by_user").table("user_rooms").col("user_name").take()
}

fn unused_rooms() -> DeleteStatement {
    let table = "conversation_rooms";
    let members = Query::select()
        .column("user_name")
        .from("user_rooms")
        .and_where(Expr::col(("user_rooms", "hub")).equals((table, "hub")))
        .and_where(Expr::col(("user_rooms", "room_name")).equals((table, "room_name")))
        .take();
    Query::delete().from_table(table).and_where(Expr::exists(members).not()).take()
}

fn unused_users() -> DeleteStatement {
    let rooms = Query::select()
        .column("room_name")
        .from("user_rooms")
        .and_where(Expr::col(("user_rooms", "user_name")).equals(("users", "user_name")))
        .take();
    Query::delete()
        .from_table("users")
        .and_where(Expr::col("revoked_before").is_null())
        .and_where(Expr::exists(rooms).not())
        .take()
}
