//! `connections`: the open connections, and the processes that serve them.

use sea_orm::entity::prelude::*;

/// An open connection.
///
/// The user is not a foreign key, because a connection can belong to a user without a row in `users`. The node is not a
/// foreign key either: the store writes its row in the same transaction.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "connections")]
pub struct Model {
    /// The public id of the connection.
    #[sea_orm(primary_key, auto_increment = false, column_type = "String(StringLen::N(128))")]
    pub connection_id: String,
    /// Its user, if it has one.
    #[sea_orm(column_type = "String(StringLen::N(320))", nullable)]
    pub user_name: Option<String>,
    /// The user agent that the client sent, of any length.
    #[sea_orm(column_type = "Text")]
    pub user_agent: String,
    /// The transport, by its name on the wire.
    #[sea_orm(column_type = "String(StringLen::N(64))")]
    pub transport: String,
    /// The node that serves it.
    #[sea_orm(column_type = "String(StringLen::N(255))")]
    pub node_id: String,
    /// The incarnation of that node. Another incarnation of the same node does not serve the connection.
    #[sea_orm(column_type = "String(StringLen::N(64))")]
    pub incarnation: String,
    /// When it was opened.
    pub connected_at: i64,
}

impl ActiveModelBehavior for ActiveModel {}
