//! `group_revocations`: the groups whose rejoin tokens were revoked.

use sea_orm::entity::prelude::*;

/// The revocation of a group. The group need not have a durable member.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "group_revocations")]
pub struct Model {
    /// The hub's registered name.
    #[sea_orm(primary_key, auto_increment = false, column_type = "String(StringLen::N(128))")]
    pub hub: String,
    /// The group's name inside that hub.
    #[sea_orm(primary_key, auto_increment = false, column_type = "String(StringLen::N(320))")]
    pub room_name: String,
    /// Rejoin tokens issued before this time do not restore the group.
    pub revoked_before: i64,
}

impl ActiveModelBehavior for ActiveModel {}
