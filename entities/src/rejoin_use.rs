//! `rejoin_uses`: the rejoin tokens that are spent.

use sea_orm::entity::prelude::*;

/// The one use of one epoch of a rejoin family.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "rejoin_uses")]
pub struct Model {
    /// The chain of connections that the token continues.
    #[sea_orm(primary_key, auto_increment = false, column_type = "String(StringLen::N(128))")]
    pub family: String,
    /// The link of that chain, an unsigned number bit for bit.
    #[sea_orm(primary_key, auto_increment = false)]
    pub epoch: i64,
    /// When the row may go, since the token is refused by its age from then on.
    pub expires_at: i64,
}

impl ActiveModelBehavior for ActiveModel {}
