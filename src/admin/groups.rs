//! Groups, as rows and one by one.

use std::sync::Arc;

use actix_web::{
    HttpRequest, HttpResponse,
    web::{Data, Path},
};
use futures_util::{StreamExt, stream};
use serde::Serialize;

use super::{
    AdminError,
    listing::{Listing, Page, SortKey, Value, decode, encode, limit_of},
    query::Query,
};
use crate::{
    Engine, HubHandle,
    group::{MemberRange, Snapshot},
    ids::{ConnectionId, GroupKey, GroupName, HubName, UserId},
    store,
};

const PARAMETERS: &[&str] = &["hub", "prefix", "sort", "limit", "cursor"];
const COLUMNS: &[&str] = &["name", "members", "published"];
const DETAIL_PARAMETERS: &[&str] = &["limit", "cursor", "durableCursor"];

/// How many groups are asked at a time.
const ASKED_AT_ONCE: usize = 64;

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
    durable_members: Page<UserId>,
}

/// A live member; an actor of the application has no user.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct MemberRow {
    id: ConnectionId,
    is_actor: bool,
    user: Option<UserId>,
}

pub(super) async fn list(engine: Data<Engine>, request: HttpRequest) -> Result<HttpResponse, AdminError> {
    let query = Query::read(&request, PARAMETERS)?;
    let listing = Listing::read(&query, COLUMNS)?;
    let keys = wanted(&engine, &query)?;
    let page = if listing.column() == "name" {
        let page =
            listing.page(keys, |key, _| SortKey { value: Value::Text(key.name.to_string()), name: key.to_string() });
        Page { items: measure(&engine, page.items).await, total: page.total, next: page.next }
    } else {
        listing.page(measure(&engine, keys).await, GroupRow::mark)
    };
    Ok(HttpResponse::Ok().json(page))
}

fn wanted(engine: &Engine, query: &Query) -> Result<Vec<Arc<GroupKey>>, AdminError> {
    let mut keys = engine.groups().keys(query.hub(engine)?.as_ref());
    if let Some(prefix) = query.text("prefix") {
        keys.retain(|key| key.name.starts_with(prefix));
    }
    Ok(keys)
}

/// Asks each group how large it is. One that has gone meanwhile is left out.
async fn measure(engine: &Engine, keys: Vec<Arc<GroupKey>>) -> Vec<GroupRow> {
    let ask = |key: Arc<GroupKey>| async move {
        let snapshot = engine.groups().survey(&key, MemberRange::NONE).await.ok().flatten()?;
        Some(GroupRow::new(&key, &snapshot))
    };
    stream::iter(keys).map(ask).buffered(ASKED_AT_ONCE).filter_map(std::future::ready).collect().await
}

impl GroupRow {
    fn new(key: &GroupKey, snapshot: &Snapshot) -> Self {
        let GroupKey { hub, name } = key.clone();
        Self { hub, name, members: snapshot.total, published: snapshot.published }
    }

    fn mark(&self, column: &str) -> SortKey {
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
    let query = Query::read(&request, DETAIL_PARAMETERS)?;
    let hub = engine.hub(&hub).ok_or_else(|| AdminError::Unknown(format!("there is no hub `{hub}`")))?;
    let key = GroupKey::new(hub.name(), &name.into());
    let (published, members) = live(&engine, &key, &query).await?;
    let durable_members = durable(&hub, &key.name, &query).await?;
    if members.total == 0 && durable_members.total == 0 {
        return Err(AdminError::Unknown("the group has no member, neither live nor durable".into()));
    }
    let GroupKey { hub, name } = GroupKey::clone(&key);
    Ok(HttpResponse::Ok().json(GroupResponse { hub, name, published, members, durable_members }))
}

/// How often the group was published to, and a page of its members in the order of their ids.
async fn live(engine: &Engine, key: &Arc<GroupKey>, query: &Query) -> Result<(u64, Page<MemberRow>), AdminError> {
    let limit = limit_of(query)?;
    let after = query.text("cursor").map(|cursor| decode("cursor", cursor)).transpose()?;
    let asked = engine.groups().survey(key, MemberRange { after, limit: limit + 1 }).await;
    let snapshot = asked.map_err(|error| AdminError::Unavailable(error.to_string()))?.unwrap_or_default();
    let (items, next) = cut(snapshot.members, limit);
    let member = |id: ConnectionId| MemberRow {
        is_actor: snapshot.actors.binary_search(&id).is_ok(),
        user: engine.connections().find(&id).and_then(|handle| handle.user.clone()),
        id,
    };
    let items = items.into_iter().map(member).collect();
    Ok((snapshot.published, Page { items, total: snapshot.total, next }))
}

/// A page of the stored members, in the order of their names.
async fn durable(hub: &HubHandle, group: &GroupName, query: &Query) -> Result<Page<UserId>, AdminError> {
    let limit = limit_of(query)?;
    let after = query.text("durableCursor").map(|cursor| decode("durableCursor", cursor)).transpose()?;
    let page = store::Page { after, limit: limit as u64 + 1 };
    let members = hub.users().members_of(group.clone(), &page).await.map_err(|error| AdminError::store(&error))?;
    let (items, next) = cut(members.users, limit);
    Ok(Page { items, total: usize::try_from(members.total).unwrap_or(usize::MAX), next })
}

/// Cuts off what was only asked for to see whether there is more; answers the cursor of the rest.
fn cut<T: Serialize>(mut rows: Vec<T>, limit: usize) -> (Vec<T>, Option<String>) {
    let has_more = rows.len() > limit;
    rows.truncate(limit);
    let next = rows.last().filter(|_| has_more).map(encode);
    (rows, next)
}
