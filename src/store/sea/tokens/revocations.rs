//! The revocations of users and groups.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::SystemTime,
};

use entities::{group_revocation, user};
use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait, DatabaseTransaction as Transaction, DbErr, EntityTrait, ExprTrait,
    IntoActiveModel, QueryFilter, QueryOrder, QuerySelect,
    sea_query::{Expr, OnConflict},
};

use super::{Expired, MAX_BIND_VARIABLES, memberships, millis};
use crate::{
    ids::{GroupKey, UserId},
    store::{GroupList, Redeemed, Redemption, Verdict, tokens::groups_of},
};

/// The number of revocations of groups up to which all of them are read. Few groups are revoked within the lifetime of a
/// token, while a batch of tokens names thousands. If there are more, only those of the named groups are read.
const MAX_LISTED: usize = 100;

/// Checks whether the tokens are revoked. `lists` are the stored lists by family.
pub(super) async fn check(
    db: &impl ConnectionTrait,
    redemptions: &[Redemption],
    lists: HashMap<String, GroupList>,
) -> Result<Vec<Redeemed>, DbErr> {
    let Some(oldest) = redemptions.iter().map(issued).min() else { return Ok(Vec::new()) };
    let users = revoked_users(db, redemptions, oldest).await?;
    let oldest = lists.values().map(|list| millis::floor(list.written_at)).fold(oldest, Ord::min);
    let listed = lists.values().flat_map(|list| &list.groups);
    let named = redemptions.iter().flat_map(|redemption| &redemption.groups).chain(listed);
    let groups = revoked_groups(db, named, oldest).await?;
    let check = |redemption: &Redemption| {
        let is_before = |before: Option<&i64>| before.is_some_and(|before| issued(redemption) < *before);
        if redemption.user.as_ref().is_some_and(|user| is_before(users.get(&**user))) {
            return Redeemed::refused(Verdict::Revoked);
        }
        let list = redemption.list_of.as_ref().and_then(|family| lists.get(family));
        let revoked = groups_of(redemption, list).filter(|(group, at)| {
            let before = groups.get(&***group);
            before.is_some_and(|before| millis::floor(*at) < *before)
        });
        let revoked_groups = revoked.map(|(group, _)| Arc::clone(group)).collect();
        Redeemed { verdict: Verdict::Accepted, revoked_groups, list: list.cloned() }
    };
    Ok(redemptions.iter().map(check).collect())
}

fn issued(redemption: &Redemption) -> i64 {
    millis::floor(redemption.issued_at)
}

/// The times of the revocations after `oldest` of the users, by user.
async fn revoked_users(
    db: &impl ConnectionTrait,
    redemptions: &[Redemption],
    oldest: i64,
) -> Result<HashMap<String, i64>, DbErr> {
    use user::{Column, Entity};
    let users: BTreeSet<_> = redemptions.iter().filter_map(|redemption| redemption.user.as_deref()).collect();
    let mut revoked = HashMap::new();
    for users in Vec::from_iter(users).chunks(MAX_BIND_VARIABLES) {
        let rows = Entity::find().select_only().columns([Column::UserName, Column::RevokedBefore]);
        let rows = rows.filter(Column::UserName.is_in(users.iter().copied())).filter(Column::RevokedBefore.gt(oldest));
        revoked.extend(rows.into_tuple::<(String, i64)>().all(db).await?);
    }
    Ok(revoked)
}

/// The times of the revocations after `oldest`, by group: at least those of the `named` groups.
async fn revoked_groups<'a>(
    db: &impl ConnectionTrait,
    named: impl Iterator<Item = &'a Arc<GroupKey>>,
    oldest: i64,
) -> Result<HashMap<GroupKey, i64>, DbErr> {
    use group_revocation::{Column, Entity};
    let mut by_hub: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for group in named {
        by_hub.entry(&group.hub).or_default().insert(&group.name);
    }
    if by_hub.is_empty() {
        return Ok(HashMap::new());
    }
    let later = Entity::find().filter(Column::RevokedBefore.gt(oldest));
    let mut rows = later.clone().limit(MAX_LISTED as u64 + 1).all(db).await?;
    if rows.len() > MAX_LISTED {
        rows.clear();
        for (hub, names) in by_hub {
            for names in Vec::from_iter(names).chunks(MAX_BIND_VARIABLES) {
                let named = Column::Hub.eq(hub).and(Column::RoomName.is_in(names.iter().copied()));
                rows.extend(later.clone().filter(named).all(db).await?);
            }
        }
    }
    let key = |row: &group_revocation::Model| GroupKey { hub: (*row.hub).into(), name: (*row.room_name).into() };
    Ok(rows.iter().map(|row| (key(row), row.revoked_before)).collect())
}

/// Revokes the tokens of a user that were issued before `before`.
pub(in super::super) async fn revoke(
    transaction: &Transaction,
    user: &UserId,
    before: SystemTime,
) -> Result<(), DbErr> {
    use user::Column;
    let before = millis::ceil(before);
    let earlier = Column::RevokedBefore.is_null().or(Column::RevokedBefore.lt(before));
    memberships::lock_users(transaction, &BTreeSet::from([user]), millis::floor(SystemTime::now())).await?;
    let row = user::Entity::update_many().filter(Column::UserName.eq(user.as_str())).filter(earlier);
    row.col_expr(Column::RevokedBefore, Expr::value(before)).exec(transaction).await.map(drop)
}

/// Revokes a group in the tokens that were issued before `before`.
pub(in super::super) async fn revoke_group(
    transaction: &Transaction,
    group: &GroupKey,
    before: SystemTime,
) -> Result<(), DbErr> {
    use group_revocation::{Column, Entity, Model};
    let before = millis::ceil(before);
    let row = Model { hub: group.hub.to_string(), room_name: group.name.to_string(), revoked_before: before };
    // An update without a change, for its lock.
    let unchanged = Expr::col((Entity, Column::RevokedBefore));
    let lock = OnConflict::columns([Column::Hub, Column::RoomName]).value(Column::RevokedBefore, unchanged).to_owned();
    let inserted = Entity::insert(row.into_active_model()).on_conflict(lock);
    inserted.exec_without_returning(transaction).await?;
    let same = Column::Hub.eq(group.hub.as_str()).and(Column::RoomName.eq(group.name.as_str()));
    let earlier = Entity::update_many().filter(same).filter(Column::RevokedBefore.lt(before));
    earlier.col_expr(Column::RevokedBefore, Expr::value(before)).exec(transaction).await.map(drop)
}

/// Deletes the revocations of groups before `before`. A call deletes some of them, if they are many.
pub(in super::super) async fn delete_group_revocations(transaction: &Transaction, before: i64) -> Result<(), DbErr> {
    use group_revocation::{Column, Entity};
    let ended = Entity::find().select_only().column(Column::Hub).filter(Column::RevokedBefore.lt(before));
    let hubs = ended.distinct().order_by_asc(Column::Hub).into_tuple::<String>().all(transaction).await?;
    for hub in hubs {
        let scope = Condition::all().add(Column::Hub.eq(hub));
        let of_hub = Expired { scope, ..Expired::<Entity>::new(Column::RoomName, Column::RevokedBefore, before - 1) };
        of_hub.delete(transaction).await?;
    }
    Ok(())
}
