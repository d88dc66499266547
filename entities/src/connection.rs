//! `connections`: the open connections and the processes that serve them, and those that were closed recently.

use sea_orm::entity::prelude::*;

/// A connection: its latest lease.
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
    /// When it was last known to be open. While it is open, the last renewal of its node is later.
    pub last_seen_at: i64,
    /// When it was closed; `None` while it is open.
    pub closed_at: Option<i64>,
    /// Why it was closed.
    #[sea_orm(column_type = "String(StringLen::N(32))", nullable)]
    pub close_reason: Option<String>,
}

impl ActiveModelBehavior for ActiveModel {}
