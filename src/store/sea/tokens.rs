//! The statements of rejoin tokens: their uses, the revocations of users and groups, the stored lists of groups, and the
//! clock by which they expire.

use std::{
    collections::{BTreeSet, HashSet},
    time::{Duration, SystemTime},
};

use entities::{clock, rejoin_family};
use sea_orm::{
    ColumnTrait, ConnectionTrait, DatabaseTransaction as Transaction, DbErr, EntityTrait, IntoActiveModel, QueryFilter,
    QueryOrder, QuerySelect, sea_query::Expr,
};

use super::{MAX_BIND_VARIABLES, expiry::Expired, memberships, millis};
use crate::{
    ids::{ConnectionId, NodeId},
    store::{Redeemed, Redemption},
};

mod lists;
mod revocations;
mod uses;

pub(super) use lists::save as save_lists;
pub(super) use revocations::{delete_group_revocations, revoke, revoke_group};
pub(super) use uses::record;

/// The name of the clock by which token uses and revocations expire.
const CLOCK_ID: &str = "token_uses";

/// The name of the row with the longest lifetime of a token that a node has had, in milliseconds.
const LONGEST_LIFETIME_ID: &str = "longest_token_lifetime";

/// Checks only whether the tokens are revoked, not whether they were used. Reads their stored lists.
pub(super) async fn check(db: &impl ConnectionTrait, redemptions: &[Redemption]) -> Result<Vec<Redeemed>, DbErr> {
    let lists = lists::load(db, redemptions).await?;
    revocations::check(db, redemptions, lists).await
}

/// Records that connections of `node` have ended and no longer hold a token.
pub(super) async fn release(
    transaction: &Transaction,
    node: &NodeId,
    connections: &[ConnectionId],
) -> Result<(), DbErr> {
    use rejoin_family::{Column, Entity};
    let mut families = BTreeSet::new();
    for batch in connections.chunks(MAX_BIND_VARIABLES) {
        let named = Column::ConnectionId.is_in(batch.iter().map(|connection| connection.as_str()));
        let held = Entity::find().select_only().column(Column::Family).filter(named);
        let held = held.filter(Column::NodeId.eq(node.as_str())).into_tuple::<String>();
        families.extend(held.all(transaction).await?);
    }
    // Order: lock the families by name, as redemptions do. An update by connection would lock them in another order.
    let ended: HashSet<_> = connections.iter().map(ConnectionId::as_str).collect();
    for batch in Vec::from_iter(families).chunks(MAX_BIND_VARIABLES) {
        let columns = [Column::Family, Column::ConnectionId, Column::NodeId];
        let rows = Entity::find().select_only().columns(columns).filter(Column::Family.is_in(batch));
        let rows = rows.order_by_asc(Column::Family).lock_exclusive();
        let rows = rows.into_tuple::<(String, Option<String>, Option<String>)>().all(transaction).await?;
        let is_held = |connection: Option<&str>, holder: Option<&str>| {
            holder == Some(node.as_str()) && connection.is_some_and(|connection| ended.contains(connection))
        };
        let held = rows.into_iter().filter(|(_, connection, holder)| is_held(connection.as_deref(), holder.as_deref()));
        let held = Vec::from_iter(held.map(|(family, ..)| family));
        if !held.is_empty() {
            let none = || Expr::value(None::<String>);
            let rows = Entity::update_many().filter(Column::Family.is_in(held));
            rows.col_expr(Column::ConnectionId, none()).col_expr(Column::NodeId, none()).exec(transaction).await?;
        }
    }
    Ok(())
}

/// Deletes the uses and lists that have expired by the clock that the nodes share, or some of them if they are many.
/// Advances the clock and returns its time (see
/// [`TokenStore::delete_expired`](crate::store::TokenStore::delete_expired)).
pub(super) async fn delete_expired(transaction: &Transaction, now: SystemTime, term: Duration) -> Result<i64, DbErr> {
    use rejoin_family::{Column, Entity};
    let now = millis::floor(now);
    let clock = lock_clock(transaction, CLOCK_ID, now).await?;
    let now_at = Ord::min(now, clock.saturating_add(millis::duration(term)));
    set_clock(transaction, CLOCK_ID, now_at).await?;
    Expired::<Entity>::new(Column::Family, Column::ExpiresAt, now_at - 1).delete(transaction).await?;
    lists::delete_expired(transaction, now_at).await?;
    Ok(now_at)
}

/// The longest lifetime of a token that a node has had, in milliseconds. `lifetime` is that of this node.
pub(super) async fn longest_lifetime(transaction: &Transaction, lifetime: Duration) -> Result<i64, DbErr> {
    let lifetime = millis::duration(lifetime);
    let longest = lock_clock(transaction, LONGEST_LIFETIME_ID, lifetime).await?;
    if longest < lifetime {
        set_clock(transaction, LONGEST_LIFETIME_ID, lifetime).await?;
    }
    Ok(Ord::max(longest, lifetime))
}

/// Locks a shared clock and returns its time. A new clock begins at `now`.
async fn lock_clock(transaction: &Transaction, id: &str, now: i64) -> Result<i64, DbErr> {
    let row = clock::Model { clock_id: id.into(), now_at: now }.into_active_model();
    let missing = clock::Entity::insert(row).on_conflict_do_nothing();
    missing.exec_without_returning(transaction).await?;
    let clock = clock::Entity::find_by_id(id).lock_exclusive().one(transaction).await?;
    Ok(clock.map_or(now, |clock| clock.now_at))
}

async fn set_clock(transaction: &Transaction, id: &str, now_at: i64) -> Result<(), DbErr> {
    let row = clock::Entity::update_many().filter(clock::Column::ClockId.eq(id));
    row.col_expr(clock::Column::NowAt, Expr::value(now_at)).exec(transaction).await.map(drop)
}
