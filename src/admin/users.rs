//! Users: the list of connected users, and the details of one, including stored groups.

use std::{collections::BTreeMap, sync::Arc};

use actix_web::{
    HttpRequest, HttpResponse,
    web::{Data, Path},
};
use futures_util::future::join_all;
use serde::Serialize;

use super::{
    AdminError,
    connections::ConnectionRow,
    listing::{Listing, Page, SortKey, Value},
    query::Query,
};
use crate::{
    Engine,
    connections::ConnectionHandle,
    ids::{GroupKey, GroupName, HubName, UserId},
};

const PARAMETERS: &[&str] = &["prefix", "sort", "limit", "cursor"];
const COLUMNS: &[&str] = &["user", "connections"];
const DETAIL_PARAMETERS: &[&str] = &["limit", "cursor"];

#[derive(Serialize)]
struct UserRow {
    user: UserId,
    connections: usize,
}

#[derive(Serialize)]
struct UserResponse {
    user: UserId,
    connections: Page<ConnectionRow>,
    groups: Vec<MembershipRow>,
}

/// A group of a user.
#[derive(Serialize)]
struct MembershipRow {
    hub: HubName,
    name: GroupName,
    /// The number of the user's connections in the group.
    connections: usize,
    durable: bool,
}

pub(super) async fn list(engine: Data<Engine>, request: HttpRequest) -> Result<HttpResponse, AdminError> {
    let query = Query::from_request(&request, PARAMETERS)?;
    let listing = Listing::parse(&query, COLUMNS)?;
    let mut users = engine.connections().users();
    if let Some(prefix) = query.text("prefix") {
        users.retain(|user| user.starts_with(prefix));
    }
    let row = |user: UserId| UserRow { connections: engine.connections().of_user_on_any_hub(&user).len(), user };
    Ok(HttpResponse::Ok().json(listing.page(users.into_iter().map(row).collect(), UserRow::sort_key)))
}

impl UserRow {
    fn sort_key(&self, column: &str) -> SortKey {
        let name = self.user.to_string();
        let value =
            if column == "connections" { Value::Number(self.connections as u64) } else { Value::Text(name.clone()) };
        SortKey { value, name }
    }
}

pub(super) async fn detail(
    engine: Data<Engine>,
    user: Path<String>,
    request: HttpRequest,
) -> Result<HttpResponse, AdminError> {
    let user = UserId::from(user.into_inner());
    let query = Query::from_request(&request, DETAIL_PARAMETERS)?;
    let listing = Listing::parse(&query, &["id"])?;
    let handles = engine.connections().of_user_on_any_hub(&user);
    let groups = groups_of(&engine, &user, &handles).await?;
    if handles.is_empty() && groups.is_empty() {
        return Err(AdminError::NotFound("the user has no connection and no durable group".into()));
    }
    let sort_key = |handle: &Arc<ConnectionHandle>, _: &str| SortKey {
        value: Value::Text(handle.id.to_string()),
        name: handle.id.to_string(),
    };
    let connections = listing.page(handles, sort_key).map(|handle| ConnectionRow::from(&*handle));
    Ok(HttpResponse::Ok().json(UserResponse { user, connections, groups }))
}

/// The live and the durable groups of the user, merged and sorted.
async fn groups_of(
    engine: &Engine,
    user: &UserId,
    handles: &[Arc<ConnectionHandle>],
) -> Result<Vec<MembershipRow>, AdminError> {
    let mut groups = BTreeMap::<Arc<GroupKey>, (usize, bool)>::new();
    // Connections that have ended in the meantime are skipped.
    for snapshot in join_all(handles.iter().map(|handle| handle.inspect())).await.into_iter().flatten() {
        for key in snapshot.groups {
            groups.entry(key).or_default().0 += 1;
        }
    }
    for key in durable_groups(engine, user).await? {
        groups.entry(key).or_default().1 = true;
    }
    let membership = |(key, (connections, durable)): (Arc<GroupKey>, _)| MembershipRow {
        hub: key.hub.clone(),
        name: key.name.clone(),
        connections,
        durable,
    };
    Ok(groups.into_iter().map(membership).collect())
}

async fn durable_groups(engine: &Engine, user: &UserId) -> Result<Vec<Arc<GroupKey>>, AdminError> {
    let hubs = engine.hubs();
    let handles = hubs.iter().filter_map(|hub| engine.hub(hub));
    let lookups = handles.map(|hub| async move {
        let groups = hub.users().groups_of(user.clone()).await?;
        Ok::<_, AdminError>(groups.iter().map(|name| GroupKey::new(hub.name(), name)).collect::<Vec<_>>())
    });
    let groups: Result<Vec<_>, _> = join_all(lookups).await.into_iter().collect();
    Ok(groups?.concat())
}
