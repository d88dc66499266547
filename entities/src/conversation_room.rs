//! `conversation_rooms`: every group that has a durable member.

use sea_orm::entity::prelude::*;

/// A group of one hub. The same name on another hub is another row.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "conversation_rooms")]
pub struct Model {
    /// The hub's registered name.
    #[sea_orm(primary_key, auto_increment = false, column_type = "String(StringLen::N(128))")]
    pub hub: String,
    /// The group's name inside that hub.
    #[sea_orm(primary_key, auto_increment = false, column_type = "String(StringLen::N(320))")]
    pub room_name: String,
    /// When the row was written.
    pub created_at: i64,
    /// The durable memberships.
    #[sea_orm(has_many)]
    pub users: HasMany<super::user_room::Entity>,
}

impl ActiveModelBehavior for ActiveModel {}
