//! The presence of durable members: pages and events, with clients of both generations and several nodes.

use std::time::{Duration, SystemTime};

use hubcast::{
    Hub,
    hub::{MemberPresence, PresenceChange, PresenceEvent},
    store::{Page, sea::SeaStore},
};
use serde_json::json;
use tokio::sync::mpsc;

use crate::support::{ClassicClient, CoreClient, Server, wait_until, wait_until_async, with_timeout};

/// Longer than a client takes to return, also on a busy machine.
const WINDOW: Duration = Duration::from_secs(5);

const FIRST_PAGE: Page = Page { after: None, limit: 100 };

/// The events of the hub `rooms` of one server, in order.
struct Events(mpsc::UnboundedReceiver<String>);

impl Events {
    async fn next(&mut self) -> String {
        with_timeout(self.0.recv()).await.expect("the hub exists")
    }
}

fn describe(event: &PresenceEvent) -> String {
    let change = match event.change {
        PresenceChange::Joined => "joined",
        PresenceChange::Left => "left",
        PresenceChange::Online => "is online in",
        PresenceChange::Offline { last_seen } if last_seen > SystemTime::now() => "is offline before it was seen in",
        PresenceChange::Offline { .. } => "is offline in",
    };
    let groups: Vec<_> = event.groups.iter().map(|group| group.as_str()).collect();
    format!("{} {change} {}", event.user, groups.join(" and "))
}

/// A node with the hub `rooms`, whose events are recorded.
async fn start_node(name: &'static str, store: &SeaStore, window: Duration) -> (Server, Events) {
    let (sender, events) = mpsc::unbounded_channel();
    let hub = Hub::new("rooms").on_presence(move |event| {
        // The test may have ended and dropped the receiver.
        drop(sender.send(describe(&event)));
        async {}
    });
    let store = store.clone();
    let change =
        move |engine: hubcast::EngineBuilder| engine.hub("/rooms", hub).store(store).node(name).presence_window(window);
    (Server::start_with(change).await, Events(events))
}

async fn start(window: Duration) -> (Server, Events) {
    start_node("alpha", &SeaStore::connect("sqlite::memory:").await.unwrap(), window).await
}

async fn add(server: &Server, user: &str, group: &str) {
    server.engine.hub("rooms").unwrap().users().add_to_group(user, group).await.unwrap();
}

async fn connect(server: &Server, user: &str) -> CoreClient {
    let mut client = CoreClient::connect(server.address, &format!("/rooms?user={user}")).await;
    // Order: the first call of a client is handled when it is admitted.
    client.invoke_error("NoSuchMethod", json!([])).await;
    client
}

/// Nodes alpha and beta. `ann` and `bob` are durable members of `lobby` and connected to alpha, which has reported them.
async fn two_nodes() -> ([(Server, Events); 2], [CoreClient; 2]) {
    let store = SeaStore::connect("sqlite::memory:").await.unwrap();
    let (alpha, mut alpha_events) = start_node("alpha", &store, WINDOW).await;
    let beta = start_node("beta", &store, WINDOW).await;
    let members = connect_members(&alpha, &mut alpha_events).await;
    ([(alpha, alpha_events), beta], members)
}

/// Adds `ann` and `bob` to `lobby` and connects them. The server has reported it.
async fn connect_members(server: &Server, events: &mut Events) -> [CoreClient; 2] {
    for user in ["ann", "bob"] {
        add(server, user, "lobby").await;
        events.next().await;
    }
    let ann = connect(server, "ann").await;
    assert_eq!(events.next().await, "ann is online in lobby");
    let bob = connect(server, "bob").await;
    assert_eq!(events.next().await, "bob is online in lobby");
    [ann, bob]
}

async fn lobby(server: &Server) -> Vec<MemberPresence> {
    server.engine.hub("rooms").unwrap().groups().presence("lobby", &FIRST_PAGE).await.unwrap().members
}

async fn is_online(server: &Server, user: &str) -> bool {
    lobby(server).await.iter().any(|member| *member.user == *user && member.is_online)
}

#[tokio::test]
async fn members_join_come_go_and_leave() {
    let (server, mut events) = start(Duration::ZERO).await;
    add(&server, "ann", "lobby").await;
    add(&server, "ann", "lobby").await;
    add(&server, "bob", "lobby").await;
    assert_eq!([events.next().await, events.next().await], ["ann joined lobby", "bob joined lobby"]);
    let (first, second) = (connect(&server, "ann").await, connect(&server, "ann").await);
    assert_eq!(events.next().await, "ann is online in lobby");
    let online: Vec<_> =
        lobby(&server).await.iter().map(|member| (member.user.to_string(), member.is_online)).collect();
    assert_eq!(online, [("ann".to_owned(), true), ("bob".to_owned(), false)]);
    first.drop_socket();
    let bob = connect(&server, "bob").await;
    assert_eq!(events.next().await, "bob is online in lobby", "ann has another connection");
    second.drop_socket();
    assert_eq!(events.next().await, "ann is offline in lobby");
    wait_until_async(async || !is_online(&server, "ann").await).await;
    server.engine.hub("rooms").unwrap().users().remove_from_group("bob", "lobby").await.unwrap();
    assert_eq!(events.next().await, "bob left lobby");
    drop(bob);
}

/// The window of `bob` begins later than that of `ann`, so `ann` would go offline first.
#[tokio::test]
async fn return_within_the_window_is_no_event() {
    let (server, mut events) = start(WINDOW).await;
    let [ann, bob] = connect_members(&server, &mut events).await;
    ann.drop_socket();
    let ann = connect(&server, "ann").await;
    bob.drop_socket();
    assert!(is_online(&server, "bob").await, "it can still return");
    assert_eq!(events.next().await, "bob is offline in lobby");
    assert!(is_online(&server, "ann").await);
    drop(ann);
}

/// A classic client that is away keeps its connection.
#[tokio::test]
async fn classic_client_that_is_away_stays_online() {
    let (server, mut events) = start(Duration::ZERO).await;
    add(&server, "ann", "lobby").await;
    events.next().await;
    let mut ann = ClassicClient::connect(server.address, "serverSentEvents", "&user=ann").await;
    assert_eq!(events.next().await, "ann is online in lobby");
    ann.drop_channel();
    add(&server, "bob", "lobby").await;
    assert_eq!(events.next().await, "bob joined lobby", "ann can still return");
    ann.reconnect().await;
    assert!(is_online(&server, "ann").await);
    assert_eq!(ann.connection.request("abort").await.status, 200);
    assert_eq!(events.next().await, "ann is offline in lobby");
}

/// A user is online while one node has a connection of it. The last node reports that it is offline.
#[tokio::test]
async fn user_that_moves_to_another_node_stays_online() {
    let ([(alpha, mut alpha_events), (beta, mut beta_events)], [first, bob]) = two_nodes().await;
    wait_until_async(async || is_online(&beta, "ann").await).await;
    let second = connect(&beta, "ann").await;
    // Order: users that arrive are announced one after another.
    let cid = connect(&beta, "cid").await;
    assert_eq!(beta_events.next().await, "cid is online in ", "ann is connected to alpha");
    first.drop_socket();
    bob.drop_socket();
    assert_eq!(alpha_events.next().await, "bob is offline in lobby", "ann is connected to beta");
    assert!(is_online(&alpha, "ann").await);
    second.drop_socket();
    assert_eq!(beta_events.next().await, "ann is offline in lobby");
    drop(cid);
}

/// The window of `ann` on alpha ends before that of `bob`. Meanwhile, `ann` was connected to beta.
#[tokio::test]
async fn return_to_another_node_begins_a_new_window() {
    let ([(alpha, mut alpha_events), (beta, mut beta_events)], [first, bob]) = two_nodes().await;
    first.drop_socket();
    // A user counts as online for the window, so the list would say it too late.
    wait_until(|| alpha.engine.metrics().connections_closed.get() == 1).await;
    let second = connect(&beta, "ann").await;
    bob.drop_socket();
    second.drop_socket();
    assert_eq!(alpha_events.next().await, "bob is offline in lobby", "ann has moved to beta");
    // It can be online twice.
    while beta_events.next().await != "ann is offline in lobby" {}
}

#[tokio::test]
async fn last_seen_survives_a_restart() {
    let (data, begin) = (tempfile::tempdir().unwrap(), SystemTime::now());
    let url = format!("sqlite://{}/hubcast.db", data.path().display());
    let (server, mut events) = start_node("alpha", &SeaStore::connect(&url).await.unwrap(), Duration::ZERO).await;
    for user in ["ann", "bob"] {
        add(&server, user, "lobby").await;
    }
    connect(&server, "ann").await.drop_socket();
    while events.next().await != "ann is offline in lobby" {}
    // The record of the connection is written later.
    let is_recorded = |members: &[MemberPresence]| !members[0].is_online && members[0].last_seen.is_some();
    wait_until_async(async || is_recorded(&lobby(&server).await)).await;
    let before = lobby(&server).await;
    drop(server);
    let (server, _events) = start_node("beta", &SeaStore::connect(&url).await.unwrap(), Duration::ZERO).await;
    assert_eq!(lobby(&server).await, before);
    let seen = before[0].last_seen.unwrap();
    // The store rounds down to a millisecond.
    assert!(seen + Duration::from_millis(1) > begin && seen <= SystemTime::now(), "{seen:?}");
    assert_eq!(before[1].last_seen, None, "bob was never connected");
}
