//! The stored lists of groups that are too long for a token.
//!
//! A list is one compressed value: JSON, an object with the names of the groups of each hub.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use entities::rejoin_list::{Column, Entity, Model};
use miniz_oxide::{deflate::compress_to_vec, inflate::decompress_to_vec_with_limit};
use sea_orm::{
    ColumnTrait, ConnectionTrait, DatabaseTransaction as Transaction, DbErr, EntityTrait, IntoActiveModel, Iterable,
    PaginatorTrait, QueryFilter, QueryOrder, QuerySelect, sea_query::OnConflict,
};

use super::{Expired, MAX_BIND_VARIABLES, millis};
use crate::{
    ids::GroupKey,
    store::{GroupList, MAX_GROUP_LISTS, Redemption},
};

/// The maximum number of lists in one statement: 4 MiB, since a list has at most 256 KiB.
const MAX_LISTS: usize = 16;

/// The maximum length of a decompressed list: four times that of a list that the engine writes.
const MAX_DECOMPRESSED_BYTES: usize = 1 << 20;

/// Names gain little from higher levels of compression.
const COMPRESSION_LEVEL: u8 = 3;

/// The stored lists that complete these tokens, by family.
pub(super) async fn load(
    db: &impl ConnectionTrait,
    redemptions: &[Redemption],
) -> Result<HashMap<String, GroupList>, DbErr> {
    let families: BTreeSet<_> = redemptions.iter().filter_map(|redemption| redemption.list_of.as_deref()).collect();
    let mut lists = HashMap::new();
    for families in Vec::from_iter(families).chunks(MAX_BIND_VARIABLES) {
        let rows = Entity::find().filter(Column::Family.is_in(families.iter().copied())).all(db).await?;
        lists.extend(rows.into_iter().filter_map(list_of).map(|list| (list.family.clone(), list)));
    }
    Ok(lists)
}

/// Replaces lists, and deletes those without groups. Returns the number of lists for which there is no room.
pub(in super::super) async fn save(transaction: &Transaction, lists: &[GroupList]) -> Result<u64, DbErr> {
    let last: BTreeMap<_, _> = lists.iter().map(|list| (&*list.family, list)).collect();
    let last = Vec::from_iter(last.into_values());
    let known = stored_times(transaction, &last).await?;
    let is_current =
        |list: &&GroupList| known.get(&list.family).is_none_or(|stored| *stored <= millis::floor(list.written_at));
    let current = last.into_iter().filter(is_current);
    let (mut kept, deleted): (Vec<_>, Vec<_>) = current.partition(|list| !list.groups.is_empty());
    for deleted in deleted.chunks(MAX_BIND_VARIABLES) {
        Entity::delete_many().filter(is_of_any(deleted)).exec(transaction).await?;
    }
    let mut room = MAX_GROUP_LISTS.saturating_sub(Entity::find().count(transaction).await?);
    let total = kept.len();
    kept.retain(|list| {
        let is_known = known.contains_key(&list.family);
        let is_stored = is_known || room > 0;
        room -= u64::from(is_stored && !is_known);
        is_stored
    });
    let values = Column::iter().filter(|column| !matches!(column, Column::Family));
    let upsert = OnConflict::column(Column::Family).update_columns(values).to_owned();
    for kept in kept.chunks(MAX_LISTS) {
        let rows = kept.iter().map(|list| row_of(list).into_active_model());
        Entity::insert_many(rows).on_conflict(upsert.clone()).exec_without_returning(transaction).await?;
    }
    Ok((total - kept.len()) as u64)
}

/// The times of the stored lists of these families, which are locked.
async fn stored_times(transaction: &Transaction, lists: &[&GroupList]) -> Result<HashMap<String, i64>, DbErr> {
    let mut times = HashMap::new();
    for lists in lists.chunks(MAX_BIND_VARIABLES) {
        let rows = Entity::find().select_only().columns([Column::Family, Column::WrittenAt]).filter(is_of_any(lists));
        // Order: every transaction locks in the order of the names.
        let rows = rows.order_by_asc(Column::Family).lock_exclusive();
        times.extend(rows.into_tuple::<(String, i64)>().all(transaction).await?);
    }
    Ok(times)
}

fn is_of_any(lists: &[&GroupList]) -> sea_orm::sea_query::Expr {
    Column::Family.is_in(lists.iter().map(|list| &*list.family))
}

fn row_of(list: &GroupList) -> Model {
    let mut names: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for group in &list.groups {
        names.entry(&group.hub).or_default().push(&group.name);
    }
    let json = serde_json::to_vec(&names).expect("strings can always be serialized");
    Model {
        family: list.family.clone(),
        listed: compress_to_vec(&json, COMPRESSION_LEVEL),
        omitted: i64::try_from(list.omitted).unwrap_or(i64::MAX),
        written_at: millis::floor(list.written_at),
        expires_at: millis::ceil(list.expires_at),
    }
}

/// The list of a row. `None` if it cannot be read: the token is accepted without it.
fn list_of(row: Model) -> Option<GroupList> {
    let json = decompress_to_vec_with_limit(&row.listed, MAX_DECOMPRESSED_BYTES).ok()?;
    let names: BTreeMap<String, Vec<String>> = serde_json::from_slice(&json).ok()?;
    let groups = names.into_iter().flat_map(|(hub, names)| {
        let hub = hub.into();
        Vec::from_iter(names.into_iter().map(|name| GroupKey::new(&hub, &name.into())))
    });
    Some(GroupList {
        groups: groups.collect::<Vec<Arc<_>>>(),
        family: row.family,
        omitted: u64::try_from(row.omitted).unwrap_or_default(),
        written_at: millis::time(row.written_at),
        expires_at: millis::time(row.expires_at),
    })
}

/// Deletes the lists that have expired.
pub(super) async fn delete_expired(transaction: &Transaction, now_at: i64) -> Result<(), DbErr> {
    Expired::<Entity>::new(Column::Family, Column::ExpiresAt, now_at - 1).delete(transaction).await
}
