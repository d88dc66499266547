//! Clients beyond the limits of connections.

use std::num::NonZeroUsize;

use hubcast::{ConnectionLimits, EngineBuilder};

use crate::support::{
    ClassicClient, CoreClient, NegotiatedConnection, Server, UPGRADE, http_request, wait_until_async,
};

fn with_limits(
    total: usize,
    per_user: Option<usize>,
    per_address: Option<usize>,
) -> impl FnOnce(EngineBuilder) -> EngineBuilder {
    let at_most = |number| NonZeroUsize::new(number).unwrap();
    let limits = ConnectionLimits {
        total: at_most(total),
        per_user: per_user.map(at_most),
        per_address: per_address.map(at_most),
    };
    move |engine| engine.connection_limits(limits)
}

/// The status of each request with which a client could get a connection, and whether it says when to try again.
async fn statuses(server: &Server, query: &str) -> Vec<(u16, bool)> {
    let classic = "/signalr/negotiate?clientProtocol=2.1&connectionData=[]";
    let mut statuses = Vec::new();
    for (request, headers) in [
        (format!("POST /chat/negotiate?negotiateVersion=1{query}"), ""),
        (format!("GET /chat?x=1{query}"), UPGRADE),
        (format!("GET {classic}{query}"), ""),
    ] {
        let response = http_request(server.address, &request, headers).await;
        statuses.push((response.status, response.header("retry-after").is_some()));
    }
    statuses
}

#[tokio::test]
async fn connection_beyond_total_gets_503_until_another_ends() {
    let server = Server::start_with(with_limits(2, None, None)).await;
    let negotiated = NegotiatedConnection::negotiate(server.address, "").await;
    let core = CoreClient::connect(server.address, "/chat").await;
    let classic = ClassicClient::connect(server.address, "longPolling", "").await;
    assert_eq!(statuses(&server, "").await, [(503, true); 3]);
    assert_eq!(negotiated.request("connect").await.status, 503);
    assert_eq!(classic.connection.request("ping").await.status, 200, "a connection that is in goes on");
    assert_eq!(classic.connection.request("abort").await.status, 200);
    wait_until_async(async || statuses(&server, "").await[0].0 == 200).await;
    drop(core);
}

#[tokio::test]
async fn connection_beyond_limit_of_user_gets_429() {
    let server = Server::start_with(with_limits(9, Some(2), None)).await;
    let _core = CoreClient::connect(server.address, "/chat?user=ann").await;
    let _classic = ClassicClient::connect(server.address, "webSockets", "&user=ann").await;
    assert_eq!(statuses(&server, "&user=ann").await, [(429, true); 3]);
    assert_eq!(statuses(&server, "&user=bob").await, [(200, false), (101, false), (200, false)]);
}

#[tokio::test]
async fn connection_beyond_limit_of_address_gets_429() {
    let server = Server::start_with(with_limits(9, None, Some(1))).await;
    let _core = CoreClient::connect(server.address, "/chat?user=ann").await;
    assert_eq!(statuses(&server, "&user=bob").await, [(429, true); 3]);
    assert!(server.engine.metrics().list().contains(&("connections_refused", 3)));
}
