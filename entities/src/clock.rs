//! `clocks`: the time that the nodes agree on, which follows the slowest clock of them, and the longest lifetime of their
//! tokens.

use sea_orm::entity::prelude::*;

/// A clock.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "clocks")]
pub struct Model {
    /// The name of the clock.
    #[sea_orm(primary_key, auto_increment = false, column_type = "String(StringLen::N(64))")]
    pub clock_id: String,
    /// Its time; in the row of the lifetime, milliseconds.
    pub now_at: i64,
}

impl ActiveModelBehavior for ActiveModel {}
