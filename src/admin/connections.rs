//! Live connections: the list, and the details of one.

use std::{net::SocketAddr, sync::Arc};

use actix_web::{
    HttpRequest, HttpResponse,
    web::{Data, Path},
};
use serde::Serialize;

use super::{
    AdminError,
    listing::{Listing, SortKey, Value},
    query::Query,
};
use crate::{
    Engine,
    connections::ConnectionHandle,
    ids::{ConnectionId, GroupKey, GroupName, HubName, NodeId, UserId, check_connection},
    outbox::Backlog,
    store::{CloseReason, LeaseRecord},
};

const PARAMETERS: &[&str] = &["hub", "user", "group", "transport", "sort", "limit", "cursor"];
const COLUMNS: &[&str] = &["id", "since", "user", "items", "bytes", "peakBytes", "taken", "dropped"];

/// A row of the list of connections.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ConnectionRow {
    id: ConnectionId,
    user: Option<UserId>,
    hubs: Vec<HubName>,
    dialect: &'static str,
    transport: &'static str,
    remote: Option<SocketAddr>,
    user_agent: String,
    since: Option<jiff::Timestamp>,
    queue: Queue,
}

/// The state of the outbox of a client.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Queue {
    items: usize,
    bytes: usize,
    peak_bytes: usize,
    taken: u64,
    dropped: u64,
    kept: usize,
}

impl From<Backlog> for Queue {
    fn from(Backlog { items, bytes, peak_bytes, taken, dropped, kept }: Backlog) -> Self {
        Self { items, bytes, peak_bytes, taken, dropped, kept }
    }
}

impl From<&ConnectionHandle> for ConnectionRow {
    fn from(handle: &ConnectionHandle) -> Self {
        Self {
            id: handle.id.clone(),
            user: handle.user.clone(),
            hubs: handle.info.hubs.clone(),
            dialect: handle.info.dialect,
            transport: handle.info.transport(),
            remote: handle.info.remote,
            user_agent: handle.info.user_agent.clone().into(),
            since: handle.info.since.try_into().ok(),
            queue: handle.backlog().into(),
        }
    }
}

/// The key of a group: its hub and its name.
#[derive(Debug, Serialize)]
pub(super) struct GroupRef {
    hub: HubName,
    name: GroupName,
}

impl From<&Arc<GroupKey>> for GroupRef {
    fn from(key: &Arc<GroupKey>) -> Self {
        Self { hub: key.hub.clone(), name: key.name.clone() }
    }
}

#[derive(Serialize)]
struct ConnectionResponse {
    #[serde(flatten)]
    row: ConnectionRow,
    phase: &'static str,
    calls: usize,
    groups: Vec<GroupRef>,
}

pub(super) async fn list(engine: Data<Engine>, request: HttpRequest) -> Result<HttpResponse, AdminError> {
    let query = Query::from_request(&request, PARAMETERS)?;
    let listing = Listing::parse(&query, COLUMNS)?;
    let page = listing.page(filtered(&engine, &query).await?, |handle, column| sort_key(handle, column));
    Ok(HttpResponse::Ok().json(page.map(|handle| ConnectionRow::from(&*handle))))
}

pub(super) async fn detail(engine: Data<Engine>, id: Path<String>) -> Result<HttpResponse, AdminError> {
    let not_found = || AdminError::NotFound("no connection has this id".into());
    let handle = engine.connections().find(&id.into_inner().into()).ok_or_else(not_found)?;
    let state = handle.inspect().await.ok_or_else(not_found)?;
    let groups = state.groups.iter().map(GroupRef::from).collect();
    Ok(HttpResponse::Ok().json(ConnectionResponse {
        row: ConnectionRow::from(&*handle),
        phase: state.phase,
        calls: state.calls,
        groups,
    }))
}

/// The stored record of a connection, which can be on another node or have ended.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct LeaseResponse {
    id: ConnectionId,
    user: Option<UserId>,
    node: NodeId,
    transport: String,
    user_agent: String,
    since: Option<jiff::Timestamp>,
    last_seen: Option<jiff::Timestamp>,
    closed_at: Option<jiff::Timestamp>,
    close_reason: Option<&'static str>,
}

pub(super) async fn lease(engine: Data<Engine>, id: Path<String>) -> Result<HttpResponse, AdminError> {
    let id = id.into_inner().into();
    check_connection(&id)?;
    let found = engine.find_lease(&id).await.map_err(|error| AdminError::store(&error))?;
    let not_found = || AdminError::NotFound("the store has no record of a connection with this id".into());
    let LeaseRecord { lease, node, last_seen, closed } = found.ok_or_else(not_found)?;
    let (closed_at, close_reason) = closed.unzip();
    Ok(HttpResponse::Ok().json(LeaseResponse {
        id: lease.connection,
        user: lease.user,
        node,
        transport: lease.transport,
        user_agent: lease.user_agent,
        since: lease.since.try_into().ok(),
        last_seen: last_seen.try_into().ok(),
        closed_at: closed_at.and_then(|at| at.try_into().ok()),
        close_reason: close_reason.map(CloseReason::name),
    }))
}

/// The connections that match every filter of the query.
async fn filtered(engine: &Engine, query: &Query) -> Result<Vec<Arc<ConnectionHandle>>, AdminError> {
    let hub = query.hub(engine)?;
    let mut handles = match query.text("group") {
        Some(group) => members(engine, hub.as_ref(), group).await?,
        None => engine.connections().all(),
    };
    let (user, transport) = (query.text("user"), query.text("transport"));
    handles.retain(|handle| {
        hub.as_ref().is_none_or(|hub| handle.info.hubs.contains(hub))
            && user.is_none_or(|user| handle.user.as_deref() == Some(user))
            && transport.is_none_or(|transport| handle.info.transport().eq_ignore_ascii_case(transport))
    });
    Ok(handles)
}

async fn members(
    engine: &Engine,
    hub: Option<&HubName>,
    group: &str,
) -> Result<Vec<Arc<ConnectionHandle>>, AdminError> {
    let hubs = engine.hubs();
    let hub = match (hub, &hubs[..]) {
        (Some(hub), _) | (None, [hub]) => hub,
        (None, _) => {
            return Err(AdminError::invalid_parameter("group", "requires `hub`, because the engine has several hubs"));
        }
    };
    let group = GroupKey::new(hub, &group.into());
    let snapshot = engine.groups().inspect(&group).await?;
    let members = snapshot.map(|snapshot| snapshot.members).unwrap_or_default();
    Ok(members.iter().filter_map(|id| engine.connections().find(id)).collect())
}

fn sort_key(handle: &ConnectionHandle, column: &str) -> SortKey {
    let backlog = handle.backlog();
    let count = |count: usize| Value::Number(count as u64);
    let value = match column {
        "since" => Value::Number(micros(handle.info.since)),
        "user" => Value::Text(handle.user.as_deref().unwrap_or_default().to_owned()),
        "items" => count(backlog.items),
        "bytes" => count(backlog.bytes),
        "peakBytes" => count(backlog.peak_bytes),
        "taken" => Value::Number(backlog.taken),
        "dropped" => Value::Number(backlog.dropped),
        _ => Value::Text(handle.id.to_string()),
    };
    SortKey { value, name: handle.id.to_string() }
}

fn micros(time: std::time::SystemTime) -> u64 {
    let since_epoch = time.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since_epoch.as_micros()).unwrap_or(u64::MAX)
}
