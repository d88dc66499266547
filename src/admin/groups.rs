//! Groups: the list, and the details of one.

use std::sync::Arc;

use actix_web::{
    HttpRequest, HttpResponse,
    web::{Data, Path},
};
use futures_util::{StreamExt, stream};
use serde::Serialize;

use super::{
    AdminError,
    listing::{Listing, Page, SortKey, Value, decode, encode, parse_limit},
    query::Query,
};
use crate::{
    Engine, HubHandle,
    group::{GroupSnapshot, MemberRange},
    ids::{ConnectionId, GroupKey, GroupName, HubName, UserId},
    store,
};

const PARAMETERS: &[&str] = &["hub", "prefix", "sort", "limit", "cursor"];
const COLUMNS: &[&str] = &["name", "members", "published"];
const DETAIL_PARAMETERS: &[&str] = &["limit", "cursor", "durableCursor"];

/// The maximum number of groups that are inspected concurrently.
const MAX_CONCURRENT_INSPECTIONS: usize = 64;

#[derive(Serialize)]
struct GroupRow {
    hub: HubName,
    name: GroupName,
    members: usize,
    published: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct GroupResponse {
    hub: HubName,
    name: GroupName,
    published: u64,
    members: Page<MemberRow>,
    durable_members: StoredPage<UserId>,
}

/// A page of the durable members. The store may not count them.
#[derive(Serialize)]
pub(super) struct StoredPage<T> {
    pub(super) items: Vec<T>,
    pub(super) total: Option<u64>,
    pub(super) next: Option<String>,
}

impl<T> StoredPage<T> {
    /// A page after the last member is empty, too, if the store does not count the members.
    pub(super) fn is_of_empty_group(&self) -> bool {
        self.items.is_empty() && self.total.is_none_or(|total| total == 0)
    }
}

/// A live member. Actors of the application have no user.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct MemberRow {
    id: ConnectionId,
    is_actor: bool,
    user: Option<UserId>,
}

pub(super) async fn list(engine: Data<Engine>, request: HttpRequest) -> Result<HttpResponse, AdminError> {
    let query = Query::from_request(&request, PARAMETERS)?;
    let listing = Listing::parse(&query, COLUMNS)?;
    let keys = filtered(&engine, &query)?;
    let page = if listing.column() == "name" {
        let page =
            listing.page(keys, |key, _| SortKey { value: Value::Text(key.name.to_string()), name: key.to_string() });
        Page { items: load_rows(&engine, page.items).await, total: page.total, next: page.next }
    } else {
        listing.page(load_rows(&engine, keys).await, GroupRow::sort_key)
    };
    Ok(HttpResponse::Ok().json(page))
}

fn filtered(engine: &Engine, query: &Query) -> Result<Vec<Arc<GroupKey>>, AdminError> {
    let mut keys = engine.groups().keys(query.hub(engine)?.as_ref());
    if let Some(prefix) = query.text("prefix") {
        keys.retain(|key| key.name.starts_with(prefix));
    }
    Ok(keys)
}

/// Inspects each group. Groups that no longer exist are skipped.
async fn load_rows(engine: &Engine, keys: Vec<Arc<GroupKey>>) -> Vec<GroupRow> {
    let load = |key: Arc<GroupKey>| async move {
        let snapshot = engine.groups().inspect_range(&key, MemberRange::NONE).await.ok().flatten()?;
        Some(GroupRow::new(&key, &snapshot))
    };
    stream::iter(keys).map(load).buffered(MAX_CONCURRENT_INSPECTIONS).filter_map(std::future::ready).collect().await
}

impl GroupRow {
    fn new(key: &GroupKey, snapshot: &GroupSnapshot) -> Self {
        let GroupKey { hub, name } = key.clone();
        Self { hub, name, members: snapshot.total, published: snapshot.published }
    }

    fn sort_key(&self, column: &str) -> SortKey {
        let value = if column == "members" { self.members as u64 } else { self.published };
        SortKey { value: Value::Number(value), name: format!("{}.{}", self.hub, self.name) }
    }
}

pub(super) async fn detail(
    engine: Data<Engine>,
    path: Path<(String, String)>,
    request: HttpRequest,
) -> Result<HttpResponse, AdminError> {
    let (hub, name) = path.into_inner();
    let query = Query::from_request(&request, DETAIL_PARAMETERS)?;
    let hub = hub_named(&engine, &hub)?;
    let key = GroupKey::new(hub.name(), &name.into());
    let (published, members) = live_members(&engine, &key, &query).await?;
    let durable_members = durable_members(&hub, &key.name, &query).await?;
    if members.total == 0 && durable_members.is_of_empty_group() {
        return Err(AdminError::NotFound("the group has no live or durable members".into()));
    }
    let GroupKey { hub, name } = GroupKey::clone(&key);
    Ok(HttpResponse::Ok().json(GroupResponse { hub, name, published, members, durable_members }))
}

pub(super) fn hub_named(engine: &Engine, name: &str) -> Result<HubHandle, AdminError> {
    engine.hub(name).ok_or_else(|| AdminError::NotFound(format!("no hub is named `{name}`")))
}

/// The number of messages published to the group, and a page of its live members sorted by id.
async fn live_members(
    engine: &Engine,
    key: &Arc<GroupKey>,
    query: &Query,
) -> Result<(u64, Page<MemberRow>), AdminError> {
    let limit = parse_limit(query)?;
    let after = query.text("cursor").map(|cursor| decode("cursor", cursor)).transpose()?;
    let snapshot = engine.groups().inspect_range(key, MemberRange { after, limit: limit + 1 }).await?;
    let snapshot = snapshot.unwrap_or_default();
    let (items, next) = split_page(snapshot.members, limit, |id| id);
    let member = |id: ConnectionId| MemberRow {
        is_actor: snapshot.actors.binary_search(&id).is_ok(),
        user: engine.connections().find(&id).and_then(|handle| handle.user.clone()),
        id,
    };
    let items = items.into_iter().map(member).collect();
    Ok((snapshot.published, Page { items, total: snapshot.total, next }))
}

/// A page of the stored members, in the order of the store.
async fn durable_members(hub: &HubHandle, group: &GroupName, query: &Query) -> Result<StoredPage<UserId>, AdminError> {
    let limit = parse_limit(query)?;
    let after = query.text("durableCursor").map(|cursor| decode("durableCursor", cursor)).transpose()?;
    let page = store::Page { after, limit: limit as u64 + 1 };
    let members = hub.users().members_of(group.clone(), &page).await?;
    let (items, next) = split_page(members.users, limit, |user| user);
    Ok(StoredPage { items, total: members.total, next })
}

/// Truncates `rows`, which may have one row more than `limit`. If it does, returns the cursor of the next page: the name
/// of the last row.
pub(super) fn split_page<T, N: Serialize>(
    mut rows: Vec<T>,
    limit: usize,
    name: impl Fn(&T) -> &N,
) -> (Vec<T>, Option<String>) {
    let has_more = rows.len() > limit;
    rows.truncate(limit);
    let next = rows.last().filter(|_| has_more).map(|row| encode(name(row)));
    (rows, next)
}
