//! `user_rooms`: the durable memberships of users in groups.

use sea_orm::entity::prelude::*;

/// A durable membership. It is deleted with its user and with its group.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "user_rooms")]
pub struct Model {
    /// The hub that the group belongs to.
    #[sea_orm(primary_key, auto_increment = false, column_type = "String(StringLen::N(128))")]
    pub hub: String,
    /// The member.
    #[sea_orm(primary_key, auto_increment = false, column_type = "String(StringLen::N(320))")]
    pub user_name: String,
    /// The group.
    #[sea_orm(primary_key, auto_increment = false, column_type = "String(StringLen::N(320))")]
    pub room_name: String,
    /// When the row was written.
    pub joined_at: i64,
    /// The row of the user.
    #[sea_orm(belongs_to, from = "user_name", to = "user_name", on_update = "Cascade", on_delete = "Cascade")]
    pub user: BelongsTo<super::user::Entity>,
    /// The row of the group.
    #[sea_orm(
        belongs_to,
        from = "(hub, room_name)",
        to = "(hub, room_name)",
        on_update = "Cascade",
        on_delete = "Cascade"
    )]
    pub room: BelongsTo<super::conversation_room::Entity>,
}

impl ActiveModelBehavior for ActiveModel {}
