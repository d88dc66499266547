//! Clients that do not read, and their effect on others.

use hubcast::testkit;
use hubcast::{Clients, ConnectionId, Hub, HubError, Limits, Overflow, hub::Connected};
use serde_json::json;

use crate::support::{ClassicClient, CoreClient, Server, wait_until, with_timeout};

/// The outbox limit of a client in these tests, in bytes.
const MAX_QUEUED: usize = 256 * 1024;

/// The outbox limit of a disconnected classic client, in bytes; it is the larger one.
const MAX_QUEUED_WHILE_AWAY: usize = 1024 * 1024;

/// More bytes than the kernel's buffers and the outbox hold together.
const FLOOD: usize = 64 << 20;
const MESSAGE_SIZE: usize = 64 * 1024;

async fn id_of(client: &mut CoreClient) -> ConnectionId {
    client.invoke("WhoAmI", json!([])).await.as_str().unwrap().into()
}

#[tokio::test]
async fn stalled_reader_is_evicted_without_affecting_others() {
    let limits = Limits { items: 1_000, bytes: MAX_QUEUED, overflow: Overflow::Close };
    let server = Server::start_with(move |engine| engine.limits(limits)).await;
    let mut stalled = CoreClient::connect_and_join(server.address, "stalled", "lobby").await;
    let handle = testkit::connections(&server.engine).find(&id_of(&mut stalled).await).unwrap();
    let mut ann = CoreClient::connect_and_join(server.address, "ann", "lobby").await;
    let mut bob = CoreClient::connect(server.address, "/chat?user=bob").await;
    let text = "x".repeat(MESSAGE_SIZE);
    for turn in 0..FLOOD / MESSAGE_SIZE {
        // Ann receives each message before the next is sent, so the stalled client delays nobody.
        bob.invoke("Flood", json!(["lobby", 1, MESSAGE_SIZE])).await;
        assert_eq!(ann.next_invocation().await, ("flood".to_owned(), json!([0, text])), "{turn}");
        assert!(handle.backlog().bytes <= MAX_QUEUED, "{:?}", handle.backlog());
    }
    with_timeout(wait_until(|| server.engine.metrics().connections_evicted.get() == 1)).await;
    assert!(handle.backlog().peak_bytes <= MAX_QUEUED + 2 * MESSAGE_SIZE, "{:?}", handle.backlog());
    with_timeout(wait_until(|| testkit::connections(&server.engine).count() == 2)).await;
    ann.expect_no_message().await;
}

/// The length of a result. Two of them exceed the outbox limit.
const RESULT_SIZE: usize = MAX_QUEUED / 2 + 1;

#[tokio::test]
async fn completions_wait_for_a_slow_caller() {
    const CALLS: usize = 200;
    let long = Hub::new("long").method("Long", async || Ok("x".repeat(RESULT_SIZE)));
    let limits = Limits { items: 64, bytes: MAX_QUEUED, overflow: Overflow::Close };
    let server = Server::start_with(move |engine| engine.limits(limits).hub("/long", long)).await;
    let mut client = CoreClient::connect(server.address, "/long").await;
    for call in 0..CALLS {
        client
            .send_record(
                &json!({ "type": 1, "invocationId": call.to_string(), "target": "Long", "arguments": [] }).to_string(),
            )
            .await;
    }
    // The client reads nothing until completions are queued.
    let handle = testkit::connections(&server.engine).all().remove(0);
    with_timeout(wait_until(|| handle.backlog().bytes > 0)).await;
    for call in 0..CALLS {
        let response = client.next_record().await;
        assert_eq!(response["invocationId"], call.to_string());
        assert_eq!(response["result"].as_str().map(str::len), Some(RESULT_SIZE));
    }
    assert!(handle.backlog().peak_bytes < MAX_QUEUED, "{:?}", handle.backlog());
}

async fn flood_caller(clients: Clients) -> Result<(), HubError> {
    let text = "x".repeat(MESSAGE_SIZE);
    for _ in 0..FLOOD / MESSAGE_SIZE {
        clients.caller().send("flood", (&text,)).await?;
    }
    Ok(())
}

/// Drops a client that does not read, and asserts that its connection is removed.
async fn expect_removal_after_drop(server: &Server, client: CoreClient) {
    let connections = testkit::connections(&server.engine);
    // The kernel buffers a few megabytes; then the sender waits.
    with_timeout(wait_until(|| connections.all().first().is_some_and(|handle| handle.backlog().bytes > 0))).await;
    client.drop_socket();
    with_timeout(wait_until(|| connections.count() == 0)).await;
}

#[tokio::test]
async fn senders_stop_waiting_when_the_client_disconnects() {
    let hub = Hub::new("floods")
        .on_connected(|connected: Connected| async move {
            match connected.0.caller().request().query("early") {
                Some(_) => flood_caller(connected.0.clients()).await,
                None => Ok(()),
            }
        })
        .method("Flood", flood_caller)
        .method("Long", async || Ok("x".repeat(RESULT_SIZE)));
    let server = Server::start_with(move |engine| engine.hub("/floods", hub)).await;
    expect_removal_after_drop(&server, CoreClient::connect(server.address, "/floods?early=1").await).await;
    for method in ["Flood", "Long"] {
        let mut client = CoreClient::connect(server.address, "/floods").await;
        for _ in 0..FLOOD / RESULT_SIZE {
            client
                .send_record(&json!({ "type": 1, "invocationId": "1", "target": method, "arguments": [] }).to_string())
                .await;
        }
        expect_removal_after_drop(&server, client).await;
    }
}

/// A server with low outbox limits.
async fn start_with_low_limits() -> Server {
    let limits = Limits { items: 64, bytes: MAX_QUEUED, overflow: Overflow::Close };
    Server::start_with(move |engine| engine.limits(limits)).await
}

/// Fills the lobby up to a thousand clients and sends to all of them until the connection `stalled`, of the user of the
/// same name, is evicted. Asserts that no other client is delayed, and that at most `max_queued` bytes are queued for
/// `stalled`. On a busy machine the kernel may close the socket first; then a classic client counts as disconnected.
async fn expect_no_delay_from(server: &Server, stalled: &ConnectionId, max_queued: usize) {
    let handle = testkit::connections(&server.engine).find(stalled).unwrap();
    let mut others = Vec::new();
    for number in 1..1_000 {
        others.push(CoreClient::connect_and_join(server.address, &number.to_string(), "lobby").await);
    }
    let hub = server.engine.hub("chat").unwrap();
    let text = "x".repeat(MESSAGE_SIZE);
    let mut turns = 0;
    // Only the stalled client is sent too much, by its user name. The group receives one short message in each turn.
    while testkit::connections(&server.engine).find(stalled).is_some() {
        hub.clients().user("stalled").send("flood", &text).await.unwrap();
        hub.clients().group("lobby").send("tick", turns).await.unwrap();
        for other in &mut others {
            assert_eq!(other.next_invocation().await, ("tick".to_owned(), json!([turns])));
        }
        assert!(handle.backlog().bytes <= max_queued, "{:?}", handle.backlog());
        turns += 1;
    }
    assert_eq!(testkit::connections(&server.engine).count(), 999);
}

#[tokio::test]
async fn stalled_reader_delays_no_group_member() {
    let server = start_with_low_limits().await;
    let mut stalled = CoreClient::connect_and_join(server.address, "stalled", "lobby").await;
    let id = id_of(&mut stalled).await;
    expect_no_delay_from(&server, &id, MAX_QUEUED).await;
}

#[tokio::test]
async fn stalled_classic_reader_delays_no_group_member() {
    let server = start_with_low_limits().await;
    let stalled = ClassicClient::connect_and_join(server.address, "webSockets", "stalled", "lobby").await;
    expect_no_delay_from(&server, &stalled.connection.id.as_str().into(), MAX_QUEUED_WHILE_AWAY).await;
}

#[tokio::test]
async fn drop_oldest_keeps_slow_readers_connected() {
    let limits = Limits { items: 4, bytes: MAX_QUEUED, overflow: Overflow::DropOldest };
    let server = Server::start_with(move |engine| engine.limits(limits)).await;
    let mut slow = CoreClient::connect_and_join(server.address, "slow", "lobby").await;
    let handle = testkit::connections(&server.engine).find(&id_of(&mut slow).await).unwrap();
    let hub = server.engine.hub("chat").unwrap();
    let text = "x".repeat(MESSAGE_SIZE);
    let mut last = 0;
    while handle.backlog().dropped == 0 {
        last += 1;
        hub.clients().group("lobby").send("flood", (last, &text)).await.unwrap();
    }
    let (mut latest, mut count) = (0, 0);
    while latest < last {
        let number = slow.next_invocation().await.1[0].as_i64().unwrap();
        assert!(number > latest, "messages arrive in order: {number} after {latest}");
        (latest, count) = (number, count + 1);
    }
    assert!(count < last, "some messages were dropped");
    slow.expect_no_message().await;
}
