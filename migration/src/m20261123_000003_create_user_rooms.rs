//! Creates the table of durable memberships, which are deleted with their user and with their group.

use sea_orm::{
    DbErr,
    prelude::async_trait,
    sea_query::{ForeignKey, ForeignKeyAction, ForeignKeyCreateStatement, Index, IndexCreateStatement, Table},
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
            .table("user_rooms")
            .col(string_len("hub", 128))
            .col(string_len("user_name", 320))
            .col(string_len("room_name", 320))
            .col(big_integer("joined_at"))
            .primary_key(Index::create().col("hub").col("user_name").col("room_name"))
            .foreign_key(&mut user())
            .foreign_key(&mut room())
            .take();
        manager.execute(table).await?;
        manager.execute(by_room()).await
    }

    async fn down(&self, manager: &SchemaManager<'_>) -> Result<(), DbErr> {
        manager.execute(Table::drop().table("user_rooms").take()).await
    }
}

pub(crate) fn user() -> ForeignKeyCreateStatement {
    ForeignKey::create()
        .name("fk_user_rooms_user")
        .from("user_rooms", "user_name")
        .to("users", "user_name")
        .on_update(ForeignKeyAction::Cascade)
        .on_delete(ForeignKeyAction::Cascade)
        .take()
}

pub(crate) fn room() -> ForeignKeyCreateStatement {
    ForeignKey::create()
        .name("fk_user_rooms_room")
        .from("user_rooms", ("hub", "room_name"))
        .to("conversation_rooms", ("hub", "room_name"))
        .on_update(ForeignKeyAction::Cascade)
        .on_delete(ForeignKeyAction::Cascade)
        .take()
}

/// Finds the members of a group in page order. The primary key finds the groups of a user.
fn by_room() -> IndexCreateStatement {
    Index::create().name("user_rooms_by_room").table("user_rooms").col("hub").col("room_name").col("user_name").take()
}
