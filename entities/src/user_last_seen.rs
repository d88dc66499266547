//! `user_last_seen`: when the users that are not connected were last known to be.

use sea_orm::entity::prelude::*;

/// A user that has had a connection. Its open connections are in `connections`.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "user_last_seen")]
pub struct Model {
    /// The user.
    #[sea_orm(primary_key, auto_increment = false, column_type = "String(StringLen::N(320))")]
    pub user_name: String,
    /// When its last closed connection was last known to be open.
    pub last_seen_at: i64,
}

impl ActiveModelBehavior for ActiveModel {}
