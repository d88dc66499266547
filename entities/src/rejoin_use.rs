//! `rejoin_uses`: the single-use rejoin tokens that have been used.

use sea_orm::entity::prelude::*;

/// The use of one epoch of a rejoin family.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "rejoin_uses")]
pub struct Model {
    /// The rejoin family: the chain of connections that the token continues.
    #[sea_orm(primary_key, auto_increment = false, column_type = "String(StringLen::N(128))")]
    pub family: String,
    /// The position in that chain: the bits of an unsigned 64-bit number.
    #[sea_orm(primary_key, auto_increment = false)]
    pub epoch: i64,
    /// When the row can be deleted, because the token itself has expired by then.
    pub expires_at: i64,
}

impl ActiveModelBehavior for ActiveModel {}
