//! `users`: every user that has a durable membership or a revocation.

use sea_orm::entity::prelude::*;

/// A user.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "users")]
pub struct Model {
    /// The name from the identity provider.
    #[sea_orm(primary_key, auto_increment = false, column_type = "String(StringLen::N(320))")]
    pub user_name: String,
    /// When the row was written.
    pub created_at: i64,
    /// Rejoin tokens issued before this time are refused. `None` if no tokens were revoked.
    pub revoked_before: Option<i64>,
    /// The durable memberships.
    #[sea_orm(has_many)]
    pub rooms: HasMany<super::user_room::Entity>,
}

impl ActiveModelBehavior for ActiveModel {}
