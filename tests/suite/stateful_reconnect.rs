//! Stateful reconnect of ASP.NET Core clients: a new WebSocket continues a connection whose WebSocket was lost.

use std::num::NonZeroUsize;

use hubcast::{
    Limits,
    aspnetcore::{Endpoint, Settings},
};
use serde_json::{Value, json};

use crate::support::{CoreClient, Server, UPGRADE, http_request, run_node};

async fn start() -> Server {
    start_with(Settings::default(), Limits::default()).await
}

async fn start_with(settings: Settings, limits: Limits) -> Server {
    Server::start_with(move |engine| {
        engine
            .aspnetcore_endpoint(Endpoint::new("/stateful", &"chat".into()).allow_stateful_reconnects())
            .aspnetcore_settings(settings)
            .limits(limits)
    })
    .await
}

/// Sends a stream of 100,000 items, and ordered messages in the other ways, over WebSockets that are cut at random.
async fn send_over_cut_sockets(format: &str) {
    // A client acknowledges messages once a second. So the buffers decide how many are sent in that time.
    let settings = Settings {
        reconnect_buffer: 1_000_000,
        stream_capacity: NonZeroUsize::new(1_000).unwrap(),
        ..Settings::default()
    };
    let limits = Limits { items: 1_000_000, bytes: 64 << 20, ..Limits::default() };
    let server = start_with(settings, limits).await;
    run_node("ordered_messages.mjs", &[format, &server.http(""), "100000"]).await;
}

async fn negotiate(server: &Server, query: &str) -> Value {
    let request = format!("POST /stateful/negotiate?negotiateVersion=1{query}");
    http_request(server.address, &request, "").await.json()
}

/// A client with stateful reconnect whose handshake is done, and the path of its WebSockets.
async fn connect(server: &Server, query: &str) -> (CoreClient, String) {
    let negotiation = negotiate(server, "&useStatefulReconnect=true").await;
    assert_eq!(negotiation["useStatefulReconnect"], true);
    let path = format!("/stateful?id={}{query}", negotiation["connectionToken"].as_str().unwrap());
    let mut client = CoreClient::open(server.address, &path).await;
    client.send_record(r#"{"protocol":"json","version":2}"#).await;
    assert_eq!(client.next_record().await, json!({}));
    (client, path)
}

async fn sequence(client: &mut CoreClient) -> Value {
    let record = client.next_record().await;
    assert_eq!(record["type"], 9, "{record}");
    record["sequenceId"].clone()
}

#[tokio::test]
async fn stateful_reconnect_is_offered_only_where_allowed() {
    let server = start().await;
    assert_eq!(negotiate(&server, "&useStatefulReconnect=TRUE").await["useStatefulReconnect"], true);
    for query in ["", "&useStatefulReconnect=false", "&useStatefulReconnect=1"] {
        assert_eq!(negotiate(&server, query).await.get("useStatefulReconnect"), None, "{query}");
    }
    let elsewhere = "POST /chat/negotiate?negotiateVersion=1&useStatefulReconnect=true";
    assert_eq!(http_request(server.address, elsewhere, "").await.json().get("useStatefulReconnect"), None);
}

#[tokio::test]
async fn unacknowledged_messages_are_sent_again() {
    let server = start().await;
    let (mut client, path) = connect(&server, "").await;
    assert_eq!(client.invoke("Echo", json!(["one"])).await, "one");
    assert_eq!(client.invoke("Echo", json!(["two"])).await, "two");
    client.send_record(r#"{"type":8,"sequenceId":1}"#).await;
    assert_eq!(client.invoke("Add", json!([2, 3])).await, 5);
    client.drop_socket();
    let mut again = CoreClient::open(server.address, &path).await;
    assert_eq!(sequence(&mut again).await, 2);
    assert_eq!(again.next_record().await["result"], "two");
    assert_eq!(again.next_record().await["result"], 5);
}

#[tokio::test]
async fn groups_stay_and_their_messages_follow() {
    let server = start().await;
    let (mut client, path) = connect(&server, "&user=ann").await;
    client.invoke("JoinRoom", json!(["lobby"])).await;
    client.drop_socket();
    let mut other = CoreClient::connect(server.address, "/chat?user=bob").await;
    other.invoke("Send", json!(["lobby", "while you were out"])).await;
    let mut again = CoreClient::open(server.address, &path).await;
    assert_eq!(sequence(&mut again).await, 1);
    assert_eq!(again.next_record().await["type"], 3, "the answer to the join was not acknowledged");
    assert_eq!(again.next_chat_message().await, ("bob".into(), "while you were out".into()));
    other.invoke("Send", json!(["lobby", "welcome back"])).await;
    assert_eq!(again.next_chat_message().await, ("bob".into(), "welcome back".into()));
}

#[tokio::test]
async fn newer_websocket_replaces_the_older_one() {
    let server = start().await;
    let (mut older, path) = connect(&server, "").await;
    let mut newer = CoreClient::open(server.address, &path).await;
    assert_eq!(sequence(&mut newer).await, 1);
    older.wait_for_close().await;
    assert_eq!(newer.invoke("Echo", json!(["hi"])).await, "hi");
}

#[tokio::test]
async fn closed_websocket_ends_the_connection() {
    let server = start().await;
    let (mut client, path) = connect(&server, "").await;
    client.send_record(r#"{"type":7}"#).await;
    client.wait_for_close().await;
    let response = http_request(server.address, &format!("GET {path}"), UPGRADE).await;
    assert_eq!((response.status, &*response.body), (404, "No Connection with that ID"));
}

#[tokio::test]
async fn random_cuts_lose_and_repeat_no_json_message() {
    send_over_cut_sockets("json").await;
}

#[tokio::test]
async fn random_cuts_lose_and_repeat_no_packed_message() {
    send_over_cut_sockets("messagepack").await;
}
