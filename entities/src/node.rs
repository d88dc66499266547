//! `nodes`: the processes that serve connections, and when their leases expire.

use sea_orm::entity::prelude::*;

/// A process that serves connections.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "nodes")]
pub struct Model {
    /// Its configured name.
    #[sea_orm(primary_key, auto_increment = false, column_type = "String(StringLen::N(255))")]
    pub node_id: String,
    /// Identifies the part of the process that opens leases.
    #[sea_orm(column_type = "String(StringLen::N(64))")]
    pub incarnation: String,
    /// When the node last renewed its lease; zero if it has not.
    pub renewed_at: i64,
    /// When the lease expires, unless the node renews it.
    pub lease_until: i64,
    /// Identifies the process that holds the name.
    #[sea_orm(column_type = "String(StringLen::N(64))")]
    pub process_id: String,
    /// The name of its host.
    #[sea_orm(column_type = "String(StringLen::N(255))")]
    pub host: String,
    /// Its number on the host.
    pub pid: i64,
    /// When it started.
    pub started_at: i64,
}

impl ActiveModelBehavior for ActiveModel {}
