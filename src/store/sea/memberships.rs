//! The statements of durable memberships, and of the rows of users and groups that exist because of them.
//!
//! Each transaction first locks the rows of all its users, then those of all its groups, each in the order of their
//! names. Then it reads the stored memberships, and no other transaction changes them until it ends. So the effect of a
//! change is known without a failed statement, and two transactions rarely wait for each other in a circle.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    time::SystemTime,
};

use entities::{conversation_room, user, user_room};
use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait, DatabaseTransaction as Transaction, DbErr, EntityTrait, ExprTrait,
    IntoActiveModel, PaginatorTrait, QueryFilter, QueryOrder, QuerySelect, QueryTrait,
    sea_query::{Expr, OnConflict},
};

use self::plan::{Key, Plan};
use super::{MAX_BIND_VARIABLES, millis};
use crate::{
    ids::{GroupName, HubName, UserId},
    store::{Change, Members, MembershipChange, Owner, Page},
};

mod plan;

/// The maximum number of changes in one statement: one more level of its condition for each, of which SQLite accepts
/// 1,000.
const MAX_CHANGES: usize = 256;

/// The maximum number of users or groups that one statement locks. Each row has three columns.
const MAX_LOCKED: usize = MAX_BIND_VARIABLES / 3;

pub(super) async fn groups_of(db: &impl ConnectionTrait, owners: &[Owner]) -> Result<Vec<Vec<GroupName>>, DbErr> {
    use user_room::Column;
    let mut found: HashMap<Owner, Vec<GroupName>> = HashMap::new();
    // Only columns of the primary key: its index covers the query.
    let rows = user_room::Entity::find().select_only().columns([Column::Hub, Column::UserName, Column::RoomName]);
    for batch in owners.chunks(MAX_BIND_VARIABLES) {
        let batch = rows.clone().filter(of_any_owner(batch)).into_tuple::<(String, String, String)>();
        for (hub, user, group) in batch.all(db).await? {
            found.entry(Owner { hub: hub.into(), user: user.into() }).or_default().push(group.into());
        }
    }
    Ok(owners.iter().map(|owner| found.get(owner).cloned().unwrap_or_default()).collect())
}

/// Matches the rows of any of `owners`, with one list of users per hub: an application has few hubs, and every database
/// uses its index for such a list.
fn of_any_owner(owners: &[Owner]) -> Condition {
    let mut users: HashMap<&str, Vec<&str>> = HashMap::new();
    for owner in owners {
        users.entry(&owner.hub).or_default().push(&owner.user);
    }
    users.into_iter().fold(Condition::any(), |any, (hub, users)| {
        any.add(user_room::Column::Hub.eq(hub).and(user_room::Column::UserName.is_in(users)))
    })
}

pub(super) async fn members(
    db: &impl ConnectionTrait,
    hub: &HubName,
    group: &GroupName,
    page: &Page,
) -> Result<Members, DbErr> {
    use user_room::Column;
    let of_group = Column::Hub.eq(hub.as_str()).and(Column::RoomName.eq(group.as_str()));
    let all = user_room::Entity::find().select_only().column(Column::UserName).filter(of_group);
    let total = all.clone().count(db).await?;
    let rest = all.apply_if(page.after.as_deref(), |rows, after| rows.filter(Column::UserName.gt(after)));
    // The driver binds the limit as a signed integer.
    let rows = rest.order_by_asc(Column::UserName).limit(Ord::min(page.limit, i64::MAX as u64));
    let names = rows.into_tuple::<String>().all(db).await?;
    Ok(Members { users: names.into_iter().map(UserId::from).collect(), total: Some(total) })
}

pub(super) async fn apply(transaction: &Transaction, changes: &[MembershipChange]) -> Result<Vec<Change>, DbErr> {
    let now = millis::floor(SystemTime::now());
    let (mut effects, mut absent) = (Vec::with_capacity(changes.len()), Vec::new());
    lock_users(transaction, &changes.iter().map(|change| &change.owner.user).collect(), now).await?;
    lock_rooms(transaction, &changes.iter().map(|change| (&change.owner.hub, &change.group)).collect(), now).await?;
    for changes in changes.chunks(MAX_CHANGES) {
        let plan = Plan::new(&stored_among(transaction, changes).await?, changes);
        insert(transaction, &plan.added, now).await?;
        if !plan.removed.is_empty() {
            user_room::Entity::delete_many().filter(any_of(&plan.removed)).exec(transaction).await?;
        }
        absent.extend(plan.absent);
        effects.extend(plan.effects);
    }
    // A row that was inserted for its lock is deleted, too. Order: find, then delete. MariaDB locks the memberships that a
    // condition of DELETE reads, and two transactions would wait for each other.
    delete_unused_rooms(transaction, &absent).await?;
    delete_unused_users(transaction, absent.iter().map(|key| key.user.as_str()).collect()).await?;
    Ok(effects)
}

/// Locks the rows of users. Inserts those that are missing.
pub(super) async fn lock_users(transaction: &Transaction, users: &BTreeSet<&UserId>, now: i64) -> Result<(), DbErr> {
    use user::{Column, Entity};
    let row = |user: &&UserId| user::Model { user_name: user.to_string(), created_at: now, revoked_before: None };
    // An update without a change, for its lock.
    let unchanged = Expr::col((Entity, Column::CreatedAt));
    let lock = OnConflict::column(Column::UserName).value(Column::CreatedAt, unchanged).to_owned();
    for users in Vec::from_iter(users).chunks(MAX_LOCKED) {
        let rows = Entity::insert_many(users.iter().map(|user| row(user).into_active_model()));
        rows.on_conflict(lock.clone()).exec_without_returning(transaction).await?;
    }
    Ok(())
}

/// Locks the rows of groups. Inserts those that are missing.
async fn lock_rooms(
    transaction: &Transaction,
    rooms: &BTreeSet<(&HubName, &GroupName)>,
    now: i64,
) -> Result<(), DbErr> {
    use conversation_room::{Column, Entity, Model};
    let row = |(hub, group): &(&HubName, &GroupName)| {
        Model { hub: hub.to_string(), room_name: group.to_string(), created_at: now }.into_active_model()
    };
    // An update without a change, for its lock.
    let unchanged = Expr::col((Entity, Column::CreatedAt));
    let lock = OnConflict::columns([Column::Hub, Column::RoomName]).value(Column::CreatedAt, unchanged).to_owned();
    for rooms in Vec::from_iter(rooms.iter().copied()).chunks(MAX_LOCKED) {
        let rows = Entity::insert_many(rooms.iter().map(row)).on_conflict(lock.clone());
        rows.exec_without_returning(transaction).await?;
    }
    Ok(())
}

/// The stored memberships among those that change.
async fn stored_among(transaction: &Transaction, changes: &[MembershipChange]) -> Result<HashSet<Key>, DbErr> {
    use user_room::Column;
    let keys: BTreeSet<_> = changes.iter().map(Key::of).collect();
    let rows = user_room::Entity::find().select_only().columns([Column::Hub, Column::UserName, Column::RoomName]);
    let rows = rows.filter(any_of(&Vec::from_iter(keys))).into_tuple::<(String, String, String)>();
    let key =
        |(hub, user, group): (String, String, String)| Key { hub: hub.into(), user: user.into(), group: group.into() };
    Ok(rows.all(transaction).await?.into_iter().map(key).collect())
}

/// Matches the memberships, with one list of groups for each user.
fn any_of(keys: &[Key]) -> Condition {
    use user_room::Column;
    let same_owner = |one: &Key, other: &Key| (&one.hub, &one.user) == (&other.hub, &other.user);
    keys.chunk_by(same_owner).fold(Condition::any(), |any, keys| {
        let of_owner = Column::Hub.eq(keys[0].hub.as_str()).and(Column::UserName.eq(keys[0].user.as_str()));
        any.add(of_owner.and(Column::RoomName.is_in(keys.iter().map(|key| key.group.as_str()))))
    })
}

async fn insert(transaction: &Transaction, keys: &[Key], now: i64) -> Result<(), DbErr> {
    if keys.is_empty() {
        return Ok(());
    }
    let rows = keys.iter().map(|key| {
        let (hub, user_name, room_name) = (key.hub.to_string(), key.user.to_string(), key.group.to_string());
        user_room::Model { hub, user_name, room_name, joined_at: now }.into_active_model()
    });
    user_room::Entity::insert_many(rows).exec_without_returning(transaction).await.map(drop)
}

/// Deletes the rows of the groups of `absent` that have no member.
async fn delete_unused_rooms(transaction: &Transaction, absent: &[Key]) -> Result<(), DbErr> {
    use conversation_room::{Column, Entity};
    let rooms: BTreeSet<_> = absent.iter().map(|key| (&key.hub, &*key.group)).collect();
    let of_hubs = Vec::from_iter(rooms);
    let of_hubs = of_hubs.chunk_by(|one, other| one.0 == other.0);
    for rooms in of_hubs.flat_map(|rooms| rooms.chunks(MAX_BIND_VARIABLES)) {
        let (hub, rooms) = (rooms[0].0, Vec::from_iter(rooms.iter().map(|(_, room)| *room)));
        let same_room = Expr::col((user_room::Entity, user_room::Column::Hub))
            .equals((Entity, Column::Hub))
            .and(Expr::col((user_room::Entity, user_room::Column::RoomName)).equals((Entity, Column::RoomName)));
        let of_hub = Column::Hub.eq(hub.as_str());
        let unused = Entity::find().select_only().column(Column::RoomName).filter(of_hub.clone());
        let unused = unused.filter(Column::RoomName.is_in(rooms)).filter(has_no_membership(same_room));
        let unused = unused.into_tuple::<String>().all(transaction).await?;
        if !unused.is_empty() {
            Entity::delete_many().filter(of_hub).filter(Column::RoomName.is_in(unused)).exec(transaction).await?;
        }
    }
    Ok(())
}

/// Deletes the revocations before `before`. A call deletes some of them, if they are many.
pub(super) async fn delete_revocations(transaction: &Transaction, before: i64) -> Result<(), DbErr> {
    use user::{Column, Entity};
    let ended = Entity::find().select_only().column(Column::UserName).filter(Column::RevokedBefore.lt(before));
    let ended = ended.limit(MAX_BIND_VARIABLES as u64).into_tuple::<String>().all(transaction).await?;
    if ended.is_empty() {
        return Ok(());
    }
    // Order: lock the users first, by their names. A statement that waits for the lock does not see memberships that were
    // added meanwhile.
    let rows = Entity::find().select_only().columns([Column::UserName, Column::RevokedBefore]);
    let rows = rows.filter(Column::UserName.is_in(ended)).order_by_asc(Column::UserName).lock_exclusive();
    let rows = rows.into_tuple::<(String, Option<i64>)>().all(transaction).await?.into_iter();
    let users = rows.filter(|(_, revoked)| revoked.is_some_and(|revoked| revoked < before));
    let users = Vec::from_iter(users.map(|(user, _)| user));
    if !users.is_empty() {
        let rows = Entity::update_many().filter(Column::UserName.is_in(&users));
        rows.col_expr(Column::RevokedBefore, Expr::value(None::<i64>)).exec(transaction).await?;
    }
    delete_unused_users(transaction, users.iter().map(String::as_str).collect()).await
}

/// Deletes the rows of those of `users` that are in no group. A row with a revocation stays: it says which tokens of the
/// user are refused.
async fn delete_unused_users(transaction: &Transaction, users: BTreeSet<&str>) -> Result<(), DbErr> {
    use user::{Column, Entity};
    for users in Vec::from_iter(users).chunks(MAX_BIND_VARIABLES) {
        let same_user = Expr::col((user_room::Entity, user_room::Column::UserName)).equals((Entity, Column::UserName));
        let unused = Entity::find().select_only().column(Column::UserName);
        let unused = unused.filter(Column::UserName.is_in(users.iter().copied()));
        let unused = unused.filter(Column::RevokedBefore.is_null()).filter(has_no_membership(same_user));
        let unused = unused.into_tuple::<String>().all(transaction).await?;
        if !unused.is_empty() {
            Entity::delete_many().filter(Column::UserName.is_in(unused)).exec(transaction).await?;
        }
    }
    Ok(())
}

fn has_no_membership(condition: Expr) -> Expr {
    let rows = user_room::Entity::find().select_only().column(user_room::Column::UserName).filter(condition);
    Expr::exists(rows.into_query()).not()
}
