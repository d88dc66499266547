//! The statements of rejoin tokens: revocations of users, and the latest use of a single-use token of each family.
//!
//! One row for each family suffices: its earlier tokens are never accepted again.

use std::{
    cmp::Ordering,
    collections::BTreeSet,
    time::{Duration, SystemTime},
};

use entities::{clock, rejoin_family, user};
use sea_orm::{
    ColumnTrait, ConnectionTrait, DatabaseTransaction as Transaction, DbErr, EntityTrait, ExprTrait, IntoActiveModel,
    QueryFilter, QuerySelect,
    sea_query::{Expr, OnConflict},
};

use super::{MAX_BIND_VARIABLES, memberships, millis};
use crate::{
    ids::{ConnectionId, NodeId, UserId},
    store::{Holder, Redemption, TokenUse, Verdict},
};

/// The name of the clock by which token uses and revocations expire.
const CLOCK_ID: &str = "token_uses";

/// The name of the row with the longest lifetime of a token that a node has had, in milliseconds.
const LONGEST_LIFETIME_ID: &str = "longest_token_lifetime";

/// Checks only whether the token is revoked, not whether it was used.
pub(super) async fn check_revoked(db: &impl ConnectionTrait, redemption: &Redemption) -> Result<Verdict, DbErr> {
    let Some(user) = &redemption.user else { return Ok(Verdict::Accepted) };
    let before = user::Entity::find_by_id(user.as_str()).one(db).await?.and_then(|row| row.revoked_before);
    let is_revoked = before.is_some_and(|before| millis::floor(redemption.issued_at) < before);
    Ok(if is_revoked { Verdict::Revoked } else { Verdict::Accepted })
}

/// Revokes the tokens of a user that were issued before `before`.
pub(super) async fn revoke(transaction: &Transaction, user: &UserId, before: SystemTime) -> Result<(), DbErr> {
    use user::Column;
    let before = millis::ceil(before);
    let earlier = Column::RevokedBefore.is_null().or(Column::RevokedBefore.lt(before));
    memberships::lock_users(transaction, &BTreeSet::from([user]), millis::floor(SystemTime::now())).await?;
    let row = user::Entity::update_many().filter(Column::UserName.eq(user.as_str())).filter(earlier);
    row.col_expr(Column::RevokedBefore, Expr::value(before)).exec(transaction).await.map(drop)
}

/// Records the use of a token, if it can be used.
pub(super) async fn record(transaction: &Transaction, token_use: &TokenUse) -> Result<Verdict, DbErr> {
    let latest = lock(transaction, token_use).await?;
    match (token_use.epoch.cmp(&latest.epoch.cast_unsigned()), holder_of(&latest)) {
        (Ordering::Less, _) => Ok(Verdict::Replayed),
        (Ordering::Equal, Some(holder)) if token_use.ended.as_ref() != Some(&holder) => Ok(Verdict::InUse(holder)),
        (Ordering::Equal | Ordering::Greater, _) => {
            replace(transaction, &latest, token_use).await?;
            Ok(Verdict::Accepted)
        }
    }
}

/// Locks the row of a family and returns it. The row of a new family has the epoch of `token_use` and no holder, so the
/// token can be used.
async fn lock(transaction: &Transaction, token_use: &TokenUse) -> Result<rejoin_family::Model, DbErr> {
    use rejoin_family::{Column, Entity};
    let unheld = rejoin_family::Model { connection_id: None, node_id: None, ..row_of(token_use) };
    // An update without a change, for its lock.
    let unchanged = Expr::col((Entity, Column::ExpiresAt));
    let lock = OnConflict::column(Column::Family).value(Column::ExpiresAt, unchanged).to_owned();
    Entity::insert(unheld.into_active_model()).on_conflict(lock).exec_without_returning(transaction).await?;
    let row = Entity::find_by_id(&*token_use.family).one(transaction).await?;
    row.ok_or_else(|| DbErr::RecordNotFound("the row of a rejoin family that was just written".into()))
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

/// Replaces a row that this transaction has locked.
async fn replace(transaction: &Transaction, latest: &rejoin_family::Model, token_use: &TokenUse) -> Result<(), DbErr> {
    use rejoin_family::Column;
    let row = row_of(token_use);
    let family = rejoin_family::Entity::update_many().filter(Column::Family.eq(&latest.family));
    family
        .col_expr(Column::Epoch, Expr::value(row.epoch))
        .col_expr(Column::ExpiresAt, Expr::value(Ord::max(row.expires_at, latest.expires_at)))
        .col_expr(Column::ConnectionId, Expr::value(row.connection_id))
        .col_expr(Column::NodeId, Expr::value(row.node_id))
        .exec(transaction)
        .await
        .map(drop)
}

/// Records that connections of `node` have ended and no longer hold a token.
pub(super) async fn release(
    transaction: &Transaction,
    node: &NodeId,
    connections: &[ConnectionId],
) -> Result<(), DbErr> {
    use rejoin_family::Column;
    for batch in connections.chunks(MAX_BIND_VARIABLES) {
        let named = Column::ConnectionId.is_in(batch.iter().map(|connection| connection.as_str()));
        let rows = rejoin_family::Entity::update_many().filter(named).filter(Column::NodeId.eq(node.as_str()));
        let none = || Expr::value(None::<String>);
        rows.col_expr(Column::ConnectionId, none()).col_expr(Column::NodeId, none()).exec(transaction).await?;
    }
    Ok(())
}

/// Deletes the uses that have expired by the clock that the nodes share. Advances the clock and returns its time (see
/// [`TokenStore::delete_expired`](crate::store::TokenStore::delete_expired)).
pub(super) async fn delete_expired(transaction: &Transaction, now: SystemTime, term: Duration) -> Result<i64, DbErr> {
    use rejoin_family::Column;
    let now = millis::floor(now);
    let clock = lock_clock(transaction, CLOCK_ID, now).await?;
    let now_at = Ord::min(now, clock.saturating_add(millis::duration(term)));
    set_clock(transaction, CLOCK_ID, now_at).await?;
    rejoin_family::Entity::delete_many().filter(Column::ExpiresAt.lt(now_at)).exec(transaction).await?;
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
