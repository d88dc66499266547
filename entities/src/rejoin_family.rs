//! `rejoin_families`: the single-use rejoin tokens that have been used, one row for each family.

use sea_orm::entity::prelude::*;

/// The latest use of a token of a rejoin family.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "rejoin_families")]
pub struct Model {
    /// The rejoin family: the chain of connections that the token continues.
    #[sea_orm(primary_key, auto_increment = false, column_type = "String(StringLen::N(128))")]
    pub family: String,
    /// The highest position in that chain that was used: the bits of an unsigned 64-bit number.
    pub epoch: i64,
    /// When the row can be deleted, because all used tokens of the family have expired by then.
    pub expires_at: i64,
    /// The connection that used the token. `None` if it has ended.
    #[sea_orm(column_type = "String(StringLen::N(128))", nullable)]
    pub connection_id: Option<String>,
    /// The node of that connection.
    #[sea_orm(column_type = "String(StringLen::N(255))", nullable)]
    pub node_id: Option<String>,
}

impl ActiveModelBehavior for ActiveModel {}
