//! `connections`: which connections are open, and which process says so.

use sea_orm::entity::prelude::*;

/// An open connection.
///
/// The user is no foreign key: a connection is reported whether or not anything durable is known of its
/// user. The node is none either: its row is written by the same hand, in the same transaction.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "connections")]
pub struct Model {
    /// The public identity of the connection.
    #[sea_orm(primary_key, auto_increment = false, column_type = "String(StringLen::N(128))")]
    pub connection_id: String,
    /// Its user, if it has one.
    #[sea_orm(column_type = "String(StringLen::N(320))", nullable)]
    pub user_name: Option<String>,
    /// What the client called itself, of any length.
    #[sea_orm(column_type = "Text")]
    pub user_agent: String,
    /// The transport by its name on the wire.
    #[sea_orm(column_type = "String(StringLen::N(64))")]
    pub transport: String,
    /// The node that serves it.
    #[sea_orm(column_type = "String(StringLen::N(255))")]
    pub node_id: String,
    /// The run of that node; another run of the same node does not serve it.
    #[sea_orm(column_type = "String(StringLen::N(64))")]
    pub incarnation: String,
    /// When it was opened.
    pub connected_at: i64,
}

impl ActiveModelBehavior for ActiveModel {}
