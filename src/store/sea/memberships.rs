//! The statements of [`Store::apply`](crate::store::Store::apply): durable memberships, and the rows of users and groups
//! that exist because of them.

use std::time::SystemTime;

use entities::{conversation_room, user, user_room};
use sea_orm::{
    ColumnTrait, DatabaseTransaction as Transaction, DbErr, EntityTrait, ExprTrait, IntoActiveModel, QueryFilter,
    QuerySelect, QueryTrait,
    sea_query::{Expr, SelectStatement},
};

use super::{millis, was_inserted};
use crate::{
    ids::{GroupName, UserId},
    store::{Change, MembershipChange, MembershipOp, Owner},
};

pub(super) async fn apply(transaction: &Transaction, changes: &[MembershipChange]) -> Result<Vec<Change>, DbErr> {
    let now = millis::floor(SystemTime::now());
    let mut effects = Vec::with_capacity(changes.len());
    for MembershipChange { owner, group, op } in changes {
        effects.push(Change::applied_if(match op {
            MembershipOp::Add => add(transaction, owner, group, now).await?,
            MembershipOp::Remove => remove(transaction, owner, group).await?,
        }));
    }
    Ok(effects)
}

async fn add(transaction: &Transaction, owner: &Owner, group: &GroupName, now: i64) -> Result<bool, DbErr> {
    let (hub, user_name, room_name) = key(owner, group);
    let room = conversation_room::Model { hub: hub.clone(), room_name: room_name.clone(), created_at: now };
    let row = user_room::Model { hub, user_name, room_name, joined_at: now };
    ensure_user(transaction, &owner.user, now).await?;
    let room = conversation_room::Entity::insert(room.into_active_model()).on_conflict_do_nothing();
    room.exec_without_returning(transaction).await?;
    was_inserted(user_room::Entity::insert(row.into_active_model()).exec_without_returning(transaction).await)
}

async fn remove(transaction: &Transaction, owner: &Owner, group: &GroupName) -> Result<bool, DbErr> {
    let removed = user_room::Entity::delete_by_id(key(owner, group)).exec(transaction).await?.rows_affected > 0;
    if removed {
        delete_unused_room(transaction, owner, group).await?;
        delete_unused_user(transaction, &owner.user).await?;
    }
    Ok(removed)
}

/// Inserts the row of a user, if it is missing.
pub(super) async fn ensure_user(transaction: &Transaction, user: &UserId, now: i64) -> Result<(), DbErr> {
    let row = user::Model { user_name: user.to_string(), created_at: now, revoked_before: None }.into_active_model();
    user::Entity::insert(row).on_conflict_do_nothing().exec_without_returning(transaction).await.map(drop)
}

async fn delete_unused_room(transaction: &Transaction, owner: &Owner, group: &GroupName) -> Result<(), DbErr> {
    use user_room::Column;
    let of_room = Column::Hub.eq(owner.hub.as_str()).and(Column::RoomName.eq(group.as_str()));
    let room = conversation_room::Entity::delete_by_id((owner.hub.to_string(), group.to_string()));
    room.filter(Expr::exists(memberships(of_room)).not()).exec(transaction).await.map(drop)
}

/// A row with a revocation stays: it says which tokens of the user are refused.
async fn delete_unused_user(transaction: &Transaction, user: &UserId) -> Result<(), DbErr> {
    let of_user = user_room::Column::UserName.eq(user.as_str());
    let user = user::Entity::delete_by_id(user.as_str()).filter(user::Column::RevokedBefore.is_null());
    user.filter(Expr::exists(memberships(of_user)).not()).exec(transaction).await.map(drop)
}

fn memberships(condition: Expr) -> SelectStatement {
    user_room::Entity::find().select_only().column(user_room::Column::UserName).filter(condition).into_query()
}

fn key(owner: &Owner, group: &GroupName) -> (String, String, String) {
    (owner.hub.to_string(), owner.user.to_string(), group.to_string())
}
