//! Indexes the revocations of users, so that the search for those that can be deleted reads no other users.

use sea_orm::{DbErr, prelude::async_trait, sea_query::Index};

use crate::runner::{MigrationTrait, SchemaManager};

pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager<'_>) -> Result<(), DbErr> {
        manager.execute(Index::create().name("users_by_revocation").table("users").col("revoked_before").take()).await
    }

    async fn down(&self, manager: &SchemaManager<'_>) -> Result<(), DbErr> {
        manager.execute(Index::drop().name("users_by_revocation").table("users").to_owned()).await
    }
}
