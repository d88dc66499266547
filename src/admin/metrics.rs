//! The metrics of the engine as OpenMetrics text.

use std::collections::BTreeMap;

use actix_web::{HttpResponse, http::header, web::Data};

use crate::{
    Engine,
    filters::FilterHandle,
    metrics::{EngineState, openmetrics},
};

/// Dialects and transports that are counted even if they have no connection, so that a series does not end with its
/// last connection.
const CHANNELS: [(&str, &str); 7] = [
    ("aspnetcore", "WebSockets"),
    ("aspnetcore", "ServerSentEvents"),
    ("aspnetcore", "LongPolling"),
    ("classic", "webSockets"),
    ("classic", "serverSentEvents"),
    ("classic", "longPolling"),
    ("classic", "foreverFrame"),
];

pub(super) async fn metrics(engine: Data<Engine>) -> HttpResponse {
    let families = engine.metrics().families(&state_of(&engine));
    HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, openmetrics::CONTENT_TYPE))
        .body(openmetrics::encode(families))
}

fn state_of(engine: &Engine) -> EngineState {
    let mut connections = BTreeMap::from(CHANNELS.map(|channel| (channel, 0)));
    let (mut messages, mut bytes, mut largest) = (0, 0, 0);
    engine.connections().for_each(|handle| {
        *connections.entry((handle.info.dialect, handle.info.transport())).or_default() += 1;
        let backlog = handle.backlog();
        messages += backlog.items;
        bytes += backlog.bytes;
        largest = largest.max(backlog.bytes);
    });
    EngineState {
        version: env!("CARGO_PKG_VERSION"),
        node: engine.node().to_owned(),
        started_at: engine.started_at(),
        is_draining: engine.is_draining(),
        connections,
        users: engine.connections().users().len(),
        groups: engine.groups().count(),
        hub_tasks: engine.hub_tasks(),
        backlog_messages: messages,
        backlog_bytes: bytes,
        largest_backlog_bytes: largest,
        restarts: engine.restarts(),
        filters: engine.filters().iter().flat_map(FilterHandle::samples).collect(),
    }
}
