//! A client that does not read is its own problem.

use hubcast::{
    Clients, ConnectionId, Hub, HubError,
    hub::Connected,
    outbox::{Limits, Overflow},
};
use serde_json::json;

use crate::support::{Classic, Client, Server, until, within};

/// What may wait for a client in these tests, in bytes.
const MOST: usize = 256 * 1024;

/// What may wait for a classic client that is away, where that is more.
const WINDOW: usize = 1024 * 1024;

/// Far more than the kernel's buffers and the outbox can hold together.
const FLOOD: usize = 64 << 20;
const SIZE: usize = 64 * 1024;

async fn id_of(client: &mut Client) -> ConnectionId {
    client.invoke("WhoAmI", json!([])).await.as_str().unwrap().into()
}

#[tokio::test]
async fn a_stalled_reader_is_evicted_and_the_rest_receive_everything_in_order() {
    let limits = Limits { items: 1_000, bytes: MOST, overflow: Overflow::Close };
    let server = Server::start_with(move |engine| engine.limits(limits)).await;
    let mut stalled = Client::join(server.address, "stalled", "lobby").await;
    let handle = server.engine.connections().find(&id_of(&mut stalled).await).unwrap();
    let mut ann = Client::join(server.address, "ann", "lobby").await;
    let mut bob = Client::connect(server.address, "/chat?user=bob").await;
    let text = "x".repeat(SIZE);
    for turn in 0..FLOOD / SIZE {
        // Each is heard before the next is sent: nobody waits for the one who does not read.
        bob.invoke("Flood", json!(["lobby", 1, SIZE])).await;
        assert_eq!(ann.called().await, ("flood".to_owned(), json!([0, text])), "{turn}");
        assert!(handle.backlog().bytes <= MOST, "{:?}", handle.backlog());
    }
    within(until(|| server.engine.metrics().connections_evicted.get() == 1)).await;
    assert!(handle.backlog().peak_bytes <= MOST + 2 * SIZE, "{:?}", handle.backlog());
    within(until(|| server.engine.connections().count() == 2)).await;
    ann.heard_nothing().await;
}

/// How long a result is of which two do not fit into what may wait.
const HALF: usize = MOST / 2 + 1;

#[tokio::test]
async fn a_client_is_not_too_slow_for_the_answers_to_its_own_calls() {
    const CALLS: usize = 200;
    let long = Hub::new("long").method("Long", async || Ok("x".repeat(HALF)));
    let limits = Limits { items: 64, bytes: MOST, overflow: Overflow::Close };
    let server = Server::start_with(move |engine| engine.limits(limits).hub("/long", long)).await;
    let mut client = Client::connect(server.address, "/long").await;
    for call in 0..CALLS {
        client
            .say(&json!({ "type": 1, "invocationId": call.to_string(), "target": "Long", "arguments": [] }).to_string())
            .await;
    }
    // It reads nothing until so much waits for it that the next answer has to.
    let handle = server.engine.connections().all().remove(0);
    within(until(|| handle.backlog().bytes > 0)).await;
    for call in 0..CALLS {
        let answer = client.next().await;
        assert_eq!(answer["invocationId"], call.to_string());
        assert_eq!(answer["result"].as_str().map(str::len), Some(HALF));
    }
    assert!(handle.backlog().peak_bytes < MOST, "{:?}", handle.backlog());
}

async fn floods_its_caller(clients: Clients) -> Result<(), HubError> {
    let text = "x".repeat(SIZE);
    for _ in 0..FLOOD / SIZE {
        clients.caller().send("flood", (&text,)).await?;
    }
    Ok(())
}

/// A client that reads nothing of what waits for it goes, and nothing is left of it.
async fn leaves_nothing_behind(server: &Server, client: Client) {
    let connections = server.engine.connections();
    // The kernel takes in a few megabytes; then the sender waits.
    within(until(|| connections.all().first().is_some_and(|handle| handle.backlog().bytes > 0))).await;
    client.drop_socket();
    within(until(|| connections.count() == 0)).await;
}

#[tokio::test]
async fn whoever_waits_for_a_client_to_take_something_does_not_when_it_has_gone() {
    let hub = Hub::new("floods")
        .on_connected(|connected: Connected| async move {
            match connected.0.caller().request().query("early") {
                Some(_) => floods_its_caller(connected.0.clients()).await,
                None => Ok(()),
            }
        })
        .method("Flood", floods_its_caller)
        .method("Long", async || Ok("x".repeat(HALF)));
    let server = Server::start_with(move |engine| engine.hub("/floods", hub)).await;
    leaves_nothing_behind(&server, Client::connect(server.address, "/floods?early=1").await).await;
    for method in ["Flood", "Long"] {
        let mut client = Client::connect(server.address, "/floods").await;
        for _ in 0..FLOOD / HALF {
            client.say(&json!({ "type": 1, "invocationId": "1", "target": method, "arguments": [] }).to_string()).await;
        }
        leaves_nothing_behind(&server, client).await;
    }
}

/// A server that gives a slow client little.
async fn strict() -> Server {
    let limits = Limits { items: 64, bytes: MOST, overflow: Overflow::Close };
    Server::start_with(move |engine| engine.limits(limits)).await
}

/// Fills the lobby up to a thousand with the user `stalled` in it, whose connection this is, and talks to all until that one
/// is given up: nobody else has to wait meanwhile. On a machine that does other things the kernel may give up on it first:
/// then so much may wait as may for a client that is `away`.
async fn nobody_is_held_up_by(server: &Server, stalled: &ConnectionId, away: usize) {
    let handle = server.engine.connections().find(stalled).unwrap();
    let mut others = Vec::new();
    for number in 1..1_000 {
        others.push(Client::join(server.address, &number.to_string(), "lobby").await);
    }
    let hub = server.engine.hub("chat").unwrap();
    let text = "x".repeat(SIZE);
    let mut turns = 0;
    // The stalled one alone is sent more than it can be, by its own name; the group hears of each step.
    while server.engine.connections().find(stalled).is_some() {
        hub.clients().user("stalled").send("flood", &text).await.unwrap();
        hub.clients().group("lobby").send("tick", turns).await.unwrap();
        for other in &mut others {
            assert_eq!(other.called().await, ("tick".to_owned(), json!([turns])));
        }
        assert!(handle.backlog().bytes <= away, "{:?}", handle.backlog());
        turns += 1;
    }
    assert_eq!(server.engine.connections().count(), 999);
}

#[tokio::test]
async fn a_stalled_reader_in_a_group_of_a_thousand_holds_up_none_of_them() {
    let server = strict().await;
    let mut stalled = Client::join(server.address, "stalled", "lobby").await;
    let id = id_of(&mut stalled).await;
    nobody_is_held_up_by(&server, &id, MOST).await;
}

#[tokio::test]
async fn a_stalled_classic_reader_in_a_group_of_a_thousand_holds_up_none_of_them() {
    let server = strict().await;
    let stalled = Classic::join(server.address, "webSockets", "stalled", "lobby").await;
    nobody_is_held_up_by(&server, &stalled.handle.id.as_str().into(), WINDOW).await;
}

#[tokio::test]
async fn where_old_messages_may_be_left_out_a_slow_reader_stays() {
    let limits = Limits { items: 4, bytes: MOST, overflow: Overflow::DropOldest };
    let server = Server::start_with(move |engine| engine.limits(limits)).await;
    let mut slow = Client::join(server.address, "slow", "lobby").await;
    let handle = server.engine.connections().find(&id_of(&mut slow).await).unwrap();
    let hub = server.engine.hub("chat").unwrap();
    let text = "x".repeat(SIZE);
    let mut last = 0;
    while handle.backlog().dropped == 0 {
        last += 1;
        hub.clients().group("lobby").send("flood", (last, &text)).await.unwrap();
    }
    let (mut heard, mut seen) = (0, 0);
    while heard < last {
        let number = slow.called().await.1[0].as_i64().unwrap();
        assert!(number > heard, "what comes is in order: {number} after {heard}");
        (heard, seen) = (number, seen + 1);
    }
    assert!(seen < last, "some were left out");
    slow.heard_nothing().await;
}
