//! `nodes`: the processes whose connections count, and until when.

use sea_orm::entity::prelude::*;

/// A process that serves connections.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "nodes")]
pub struct Model {
    /// Its configured name.
    #[sea_orm(primary_key, auto_increment = false, column_type = "String(StringLen::N(255))")]
    pub node_id: String,
    /// This run of it.
    #[sea_orm(column_type = "String(StringLen::N(64))")]
    pub incarnation: String,
    /// When it counts as dead unless it has renewed.
    pub lease_until: i64,
}

impl ActiveModelBehavior for ActiveModel {}
