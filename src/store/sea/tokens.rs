//! The latest use of a single-use token of each family. `redeem`, `lease` and `renew` of
//! [`SeaStore`](super::SeaStore) use it, each in its transaction.
//!
//! One row for each family suffices: its earlier tokens are never accepted again.

use std::cmp::Ordering;

use entities::{clock, rejoin_family};
use sea_orm::{
    ColumnTrait, DatabaseTransaction as Transaction, DbErr, EntityTrait, IntoActiveModel, QueryFilter,
    sea_query::{Expr, OnConflict},
};

use super::{MAX_BIND_VARIABLES, millis, was_inserted};
use crate::{
    ids::ConnectionId,
    store::{Holder, Node, TokenUse, Verdict},
};

/// The name of the clock by which token uses expire.
const CLOCK_ID: &str = "token_uses";

/// Records the use of a token, if it can be used.
pub(super) async fn record(transaction: &Transaction, token_use: &TokenUse) -> Result<Verdict, DbErr> {
    let Some(latest) = rejoin_family::Entity::find_by_id(&*token_use.family).one(transaction).await? else {
        let row = row_of(token_use).into_active_model();
        let inserted = was_inserted(rejoin_family::Entity::insert(row).exec_without_returning(transaction).await)?;
        return Ok(accepted_if(inserted));
    };
    match (token_use.epoch.cmp(&latest.epoch.cast_unsigned()), holder_of(&latest)) {
        (Ordering::Less, _) => Ok(Verdict::Replayed),
        (Ordering::Equal, Some(holder)) if token_use.ended.as_ref() != Some(&holder) => Ok(Verdict::InUse(holder)),
        (Ordering::Equal | Ordering::Greater, _) => Ok(accepted_if(replace(transaction, &latest, token_use).await?)),
    }
}

/// Another caller that wrote the row first has used the token.
fn accepted_if(is_recorded: bool) -> Verdict {
    if is_recorded { Verdict::Accepted } else { Verdict::Replayed }
}

fn row_of(token_use: &TokenUse) -> rejoin_family::Model {
    rejoin_family::Model {
        family: token_use.family.clone(),
        epoch: token_use.epoch.cast_signed(),
        expires_at: millis::ceil(token_use.expires_at),
        connection_id: Some(token_use.holder.connection.to_string()),
        node_id: Some(token_use.holder.node.to_string()),
    }
}

fn holder_of(row: &rejoin_family::Model) -> Option<Holder> {
    let (connection, node) = row.connection_id.as_deref().zip(row.node_id.as_deref())?;
    Some(Holder { connection: connection.into(), node: node.into() })
}

/// Replaces the row, unless it has changed meanwhile. Returns whether it was replaced.
async fn replace(
    transaction: &Transaction,
    latest: &rejoin_family::Model,
    token_use: &TokenUse,
) -> Result<bool, DbErr> {
    use rejoin_family::Column;
    let row = row_of(token_use);
    let held = match &latest.connection_id {
        Some(connection) => Column::ConnectionId.eq(connection),
        None => Column::ConnectionId.is_null(),
    };
    let replaced = rejoin_family::Entity::update_many()
        .filter(Column::Family.eq(&latest.family))
        .filter(Column::Epoch.eq(latest.epoch))
        .filter(held)
        .col_expr(Column::Epoch, Expr::value(row.epoch))
        .col_expr(Column::ExpiresAt, Expr::value(Ord::max(row.expires_at, latest.expires_at)))
        .col_expr(Column::ConnectionId, Expr::value(row.connection_id))
        .col_expr(Column::NodeId, Expr::value(row.node_id))
        .exec(transaction)
        .await?;
    Ok(replaced.rows_affected > 0)
}

/// Records that connections of `node` have ended and no longer hold a token.
pub(super) async fn release(
    transaction: &Transaction,
    node: &Node,
    connections: &[&ConnectionId],
) -> Result<(), DbErr> {
    use rejoin_family::Column;
    for batch in connections.chunks(MAX_BIND_VARIABLES) {
        let named = Column::ConnectionId.is_in(batch.iter().map(|connection| connection.as_str()));
        let rows = rejoin_family::Entity::update_many().filter(named).filter(Column::NodeId.eq(node.id.as_str()));
        let none = || Expr::value(None::<String>);
        rows.col_expr(Column::ConnectionId, none()).col_expr(Column::NodeId, none()).exec(transaction).await?;
    }
    Ok(())
}

/// Deletes the uses that have expired by the clock that the nodes share, and advances the clock (see
/// [`Store::renew`](crate::store::Store::renew)). Times are in milliseconds.
pub(super) async fn delete_expired(transaction: &Transaction, now: i64, term: i64) -> Result<(), DbErr> {
    use rejoin_family::Column;
    let clock = clock::Entity::find_by_id(CLOCK_ID).one(transaction).await?;
    let now_at = clock.map_or(now, |clock| Ord::min(now, clock.now_at.saturating_add(term)));
    let upsert = OnConflict::column(clock::Column::ClockId).update_column(clock::Column::NowAt).to_owned();
    let row = clock::Model { clock_id: CLOCK_ID.into(), now_at }.into_active_model();
    clock::Entity::insert(row).on_conflict(upsert).exec_without_returning(transaction).await?;
    rejoin_family::Entity::delete_many().filter(Column::ExpiresAt.lt(now_at)).exec(transaction).await.map(drop)
}
