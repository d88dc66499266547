//! `rejoin_lists`: the groups of clients whose rejoin tokens cannot list all of them.

use sea_orm::entity::prelude::*;

/// The groups of the client of a rejoin family.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "rejoin_lists")]
pub struct Model {
    /// The rejoin family: the chain of connections that the tokens continue.
    #[sea_orm(primary_key, auto_increment = false, column_type = "String(StringLen::N(128))")]
    pub family: String,
    /// The groups: compressed JSON, an object with the names of the groups of each hub.
    #[sea_orm(column_type = "Blob")]
    pub listed: Vec<u8>,
    /// The number of groups that the list lacks, because it would be too long.
    pub omitted: i64,
    /// When the list was made.
    pub written_at: i64,
    /// When the row can be deleted, because the tokens of the family have expired by then.
    pub expires_at: i64,
}

impl ActiveModelBehavior for ActiveModel {}
