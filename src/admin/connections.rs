//! Living connections, as rows and one by one.

use std::{net::SocketAddr, sync::Arc};

use actix_web::{
    HttpRequest, HttpResponse,
    web::{Data, Path},
};
use serde::Serialize;

use super::{
    Refusal,
    listing::{Listing, Mark, Value},
    query::Query,
};
use crate::{
    Engine,
    connections::Seat,
    ids::{ConnectionId, GroupKey, GroupName, HubName, UserId},
    outbox::Backlog,
};

const PARAMETERS: &[&str] = &["hub", "user", "group", "transport", "sort", "limit", "cursor"];
const COLUMNS: &[&str] = &["id", "since", "user", "items", "bytes", "peakBytes", "taken", "dropped"];

/// A connection as a row.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Row {
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

/// What waits for a client: how far behind it is.
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

impl From<&Seat> for Row {
    fn from(seat: &Seat) -> Self {
        Self {
            id: seat.id.clone(),
            user: seat.user.clone(),
            hubs: seat.about.hubs.clone(),
            dialect: seat.about.dialect,
            transport: seat.about.transport(),
            remote: seat.about.remote,
            user_agent: seat.about.user_agent.clone(),
            since: seat.about.since.try_into().ok(),
            queue: seat.backlog().into(),
        }
    }
}

/// A group by its two names.
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
struct Detail {
    #[serde(flatten)]
    row: Row,
    phase: &'static str,
    calls: usize,
    groups: Vec<GroupRef>,
}

pub(super) async fn list(engine: Data<Engine>, request: HttpRequest) -> Result<HttpResponse, Refusal> {
    let query = Query::read(&request, PARAMETERS)?;
    let listing = Listing::read(&query, COLUMNS)?;
    let page = listing.page(wanted(&engine, &query).await?, |seat, column| mark(seat, column));
    Ok(HttpResponse::Ok().json(page.map(|seat| Row::from(&*seat))))
}

pub(super) async fn detail(engine: Data<Engine>, id: Path<String>) -> Result<HttpResponse, Refusal> {
    let unknown = || Refusal::Unknown("there is no connection of that id now".into());
    let seat = engine.connections().find(&id.into_inner().into()).ok_or_else(unknown)?;
    let state = seat.inspect().await.ok_or_else(unknown)?;
    let groups = state.groups.iter().map(GroupRef::from).collect();
    Ok(HttpResponse::Ok().json(Detail { row: Row::from(&*seat), phase: state.phase, calls: state.calls, groups }))
}

/// The connections that pass every filter of the query.
async fn wanted(engine: &Engine, query: &Query) -> Result<Vec<Arc<Seat>>, Refusal> {
    let hub = query.hub(engine)?;
    let mut seats = match query.text("group") {
        Some(group) => members(engine, hub.as_ref(), group).await?,
        None => engine.connections().all(),
    };
    let (user, transport) = (query.text("user"), query.text("transport"));
    seats.retain(|seat| {
        hub.as_ref().is_none_or(|hub| seat.about.hubs.contains(hub))
            && user.is_none_or(|user| seat.user.as_deref() == Some(user))
            && transport.is_none_or(|transport| seat.about.transport().eq_ignore_ascii_case(transport))
    });
    Ok(seats)
}

async fn members(engine: &Engine, hub: Option<&HubName>, group: &str) -> Result<Vec<Arc<Seat>>, Refusal> {
    let hubs = engine.hubs();
    let hub = match (hub, &hubs[..]) {
        (Some(hub), _) | (None, [hub]) => hub,
        (None, _) => return Err(Refusal::parameter("group", "needs `hub`, since there are several")),
    };
    let group = GroupKey::new(hub, &group.into());
    let snapshot = engine.groups().inspect(&group).await.map_err(|error| Refusal::Unavailable(error.to_string()))?;
    let members = snapshot.map(|snapshot| snapshot.members).unwrap_or_default();
    Ok(members.iter().filter_map(|id| engine.connections().find(id)).collect())
}

fn mark(seat: &Seat, column: &str) -> Mark {
    let backlog = seat.backlog();
    let count = |count: usize| Value::Number(count as u64);
    let value = match column {
        "since" => Value::Number(micros(seat.about.since)),
        "user" => Value::Text(seat.user.as_deref().unwrap_or_default().to_owned()),
        "items" => count(backlog.items),
        "bytes" => count(backlog.bytes),
        "peakBytes" => count(backlog.peak_bytes),
        "taken" => Value::Number(backlog.taken),
        "dropped" => Value::Number(backlog.dropped),
        _ => Value::Text(seat.id.to_string()),
    };
    Mark { value, name: seat.id.to_string() }
}

fn micros(time: std::time::SystemTime) -> u64 {
    let since_epoch = time.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since_epoch.as_micros()).unwrap_or(u64::MAX)
}
