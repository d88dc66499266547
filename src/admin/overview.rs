//! An overview of the process.

use actix_web::{
    HttpResponse,
    web::{Data, Json},
};
use serde::Serialize;
use serde_json::{Map, Value};

use super::connections::Queue;
use crate::{
    Engine,
    ids::{ConnectionId, HubName, UserId},
    store,
};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Overview {
    version: &'static str,
    node: String,
    since: Option<jiff::Timestamp>,
    uptime_seconds: u64,
    is_draining: bool,
    store: StoreState,
    hubs: Vec<HubName>,
    live: Live,
    longest_queue: Option<LongestQueue>,
    restarts: Map<String, Value>,
    counters: Map<String, Value>,
}

/// Whether the store answers.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct StoreState {
    /// Whether it can be written to and memberships can be read.
    is_writable: bool,
    /// Why not.
    reason: Option<String>,
}

#[derive(Serialize)]
struct Live {
    connections: usize,
    groups: usize,
    users: usize,
}

/// The connection with the most queued bytes.
#[derive(Serialize)]
struct LongestQueue {
    connection: ConnectionId,
    user: Option<UserId>,
    queue: Queue,
}

pub(super) async fn overview(engine: Data<Engine>) -> HttpResponse {
    HttpResponse::Ok().json(Json(Overview::of(&engine).await))
}

impl Overview {
    async fn of(engine: &Engine) -> Self {
        let (connections, since) = (engine.connections(), engine.started_at());
        Self {
            version: env!("CARGO_PKG_VERSION"),
            node: engine.node().to_owned(),
            since: since.try_into().ok(),
            uptime_seconds: since.elapsed().unwrap_or_default().as_secs(),
            is_draining: engine.is_draining(),
            store: StoreState::of(engine.check_store().await),
            hubs: engine.hubs(),
            live: Live {
                connections: connections.count(),
                groups: engine.groups().count(),
                users: connections.users().len(),
            },
            longest_queue: longest_queue(engine),
            restarts: to_json_map(engine.restarts()),
            counters: to_json_map(engine.metrics().list()),
        }
    }
}

impl StoreState {
    fn of(check: Result<(), store::Error>) -> Self {
        Self { is_writable: check.is_ok(), reason: check.err().map(|error| error.to_string()) }
    }
}

/// `None` if every queue is empty.
fn longest_queue(engine: &Engine) -> Option<LongestQueue> {
    let queues = engine.connections().all().into_iter().map(|handle| (handle.backlog(), handle));
    let (backlog, handle) = queues.filter(|(backlog, _)| backlog.items > 0).max_by_key(|(backlog, _)| backlog.bytes)?;
    Some(LongestQueue { connection: handle.id.clone(), user: handle.user.clone(), queue: backlog.into() })
}

fn to_json_map(counts: impl IntoIterator<Item = (&'static str, u64)>) -> Map<String, Value> {
    counts.into_iter().map(|(name, count)| (name.to_owned(), count.into())).collect()
}
