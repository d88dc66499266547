//! Clients that reconnect with a rejoin token.

use hubcast::testkit;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::future::join_all;
use hubcast::{
    Hub, HubError, KeyRing, RejoinSettings,
    hub::Connected,
    store::{GroupList, MAX_GROUP_LISTS, TokenStore, memory::MemoryStore, sea::SeaStore},
};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::support::{CoreClient, Server, wait_until, with_timeout};

/// The next rejoin token, before which the client may be told what it got back.
pub(crate) async fn next_token(client: &mut CoreClient) -> String {
    let (mut target, mut arguments) = client.next_invocation().await;
    if target == "hubcast:rejoined" {
        (target, arguments) = client.next_invocation().await;
    }
    assert_eq!(target, "hubcast:rejoinToken");
    arguments[0].as_str().unwrap().to_owned()
}

/// The report on the rejoin token that the client has presented.
pub(crate) async fn next_report(client: &mut CoreClient) -> Value {
    let (target, arguments) = client.next_invocation().await;
    assert_eq!(target, "hubcast:rejoined");
    arguments[0].clone()
}

pub(crate) async fn connect_with_token(server: &Server, user: &str, claim: &str) -> CoreClient {
    CoreClient::connect(server.address, &format!("/chat?user={user}&rejoin={claim}")).await
}

/// A client of the user `ann` in the lobby, and a rejoin token that contains the lobby.
pub(crate) async fn ann_in_lobby(server: &Server) -> (CoreClient, String) {
    let mut ann = connect_with_token(server, "ann", "1").await;
    next_token(&mut ann).await;
    ann.invoke_nonblocking("JoinRoom", json!(["lobby"])).await;
    let token = next_token(&mut ann).await;
    (ann, token)
}

/// True if a message to the lobby reaches this client.
pub(crate) async fn is_in_lobby(server: &Server, client: &mut CoreClient) -> bool {
    client.invoke("Echo", json!(["invocations wait until OnConnected has run"])).await;
    let hub = server.engine.hub("chat").unwrap();
    hub.clients().group("lobby").send("addChatMessage", ("server", "hello")).await.unwrap();
    client.invoke_nonblocking("SendTo", json!(["caller", [], "end"])).await;
    loop {
        // Rejoin tokens arrive on the same connection.
        let (target, arguments) = client.next_invocation().await;
        if target == "addChatMessage" {
            return arguments[0] == "server";
        }
    }
}

#[tokio::test]
async fn token_restores_groups_on_a_new_connection() {
    let server = Server::start().await;
    let (ann, token) = ann_in_lobby(&server).await;
    ann.drop_socket();
    let mut back = connect_with_token(&server, "ann", &token).await;
    assert!(is_in_lobby(&server, &mut back).await);
    assert_eq!(server.engine.metrics().rejoins_accepted.get(), 1);
}

#[tokio::test]
async fn connection_without_token_is_in_no_group() {
    let server = Server::start().await;
    let (ann, _) = ann_in_lobby(&server).await;
    ann.drop_socket();
    let mut back = connect_with_token(&server, "ann", "1").await;
    assert!(!is_in_lobby(&server, &mut back).await);
}

#[tokio::test]
async fn tokens_are_sent_only_on_request() {
    let server = Server::start().await;
    let mut ann = CoreClient::connect_and_join(server.address, "ann", "lobby").await;
    ann.expect_no_message().await;
}

#[tokio::test]
async fn token_can_be_used_once() {
    let server = Server::start().await;
    let (ann, token) = ann_in_lobby(&server).await;
    ann.drop_socket();
    let mut first = connect_with_token(&server, "ann", &token).await;
    assert!(is_in_lobby(&server, &mut first).await);
    let mut second = connect_with_token(&server, "ann", &token).await;
    assert!(!is_in_lobby(&server, &mut second).await);
    assert_eq!(server.engine.metrics().rejoins_replayed.get(), 1);
}

#[tokio::test]
async fn concurrent_uses_of_a_token_succeed_once() {
    let server = Server::start().await;
    let (ann, token) = ann_in_lobby(&server).await;
    ann.drop_socket();
    let mut clients = join_all((0..8).map(|_| connect_with_token(&server, "ann", &token))).await;
    let mut restored = 0;
    for client in &mut clients {
        restored += usize::from(is_in_lobby(&server, client).await);
    }
    assert_eq!(restored, 1);
    assert_eq!(server.engine.metrics().rejoins_replayed.get(), 7);
}

/// Drops the connection and waits until the server has noticed.
pub(crate) async fn drop_and_wait(server: &Server, client: CoreClient) {
    client.drop_socket();
    with_timeout(wait_until(|| testkit::connections(&server.engine).count() == 0)).await;
}

#[tokio::test]
async fn token_can_be_reused_until_its_successor_is() {
    let server = Server::start().await;
    let (ann, first) = ann_in_lobby(&server).await;
    drop_and_wait(&server, ann).await;
    for _ in 0..3 {
        let mut back = connect_with_token(&server, "ann", &first).await;
        assert!(is_in_lobby(&server, &mut back).await);
        drop_and_wait(&server, back).await;
    }
    let mut back = connect_with_token(&server, "ann", &first).await;
    let second = next_token(&mut back).await;
    drop_and_wait(&server, back).await;
    let mut back = connect_with_token(&server, "ann", &second).await;
    assert!(is_in_lobby(&server, &mut back).await);
    drop_and_wait(&server, back).await;
    let mut late = connect_with_token(&server, "ann", &first).await;
    assert!(!is_in_lobby(&server, &mut late).await, "its successor has been used");
    assert_eq!(server.engine.metrics().rejoins_replayed.get(), 1);
}

/// A hub whose OnConnected joins the lobby with the query parameter `join`. With `hold`, it reports when it runs and when the
/// client has gone, and does not return.
fn holding_hub(reports: mpsc::UnboundedSender<()>) -> Hub {
    Hub::new("holding").on_connected(move |Connected(context): Connected| {
        let reports = reports.clone();
        async move {
            let query = |name| context.caller().request().query(name).is_some();
            if query("join") {
                context.groups().join("lobby").await?;
            }
            if query("hold") {
                reports.send(())?;
                context.caller().ended().await;
                reports.send(())?;
                std::future::pending::<()>().await;
            }
            Ok::<_, HubError>(())
        }
    })
}

#[tokio::test]
async fn token_of_client_lost_in_on_connected_can_be_reused() {
    let (sender, mut reports) = mpsc::unbounded_channel();
    let server = Server::start_with(|engine| engine.hub("/holding", holding_hub(sender))).await;
    let connect =
        async |query: &str| CoreClient::connect(server.address, &format!("/holding?user=ann&rejoin={query}")).await;
    let mut ann = connect("1&join=1").await;
    let token = next_token(&mut ann).await;
    drop_and_wait(&server, ann).await;
    let held = connect(&format!("{token}&hold=1")).await;
    with_timeout(reports.recv()).await.unwrap();
    held.drop_socket();
    with_timeout(reports.recv()).await.unwrap();
    let mut back = connect(&token).await;
    assert_eq!(next_report(&mut back).await["groups"], json!({"holding": ["lobby"]}));
}

#[tokio::test]
async fn client_is_told_what_it_got_back() {
    let server = Server::start().await;
    let (ann, token) = ann_in_lobby(&server).await;
    drop_and_wait(&server, ann).await;
    let hub = server.engine.hub("chat").unwrap();
    hub.users().add_to_group("ann", "home").await.unwrap();
    let report = |groups: Value, refused: Value| json!({"groups": {"chat": groups}, "more": 0, "refused": refused, "lost": 0, "revoked": 0});
    let mut back = connect_with_token(&server, "ann", &token).await;
    assert_eq!(next_report(&mut back).await, report(json!(["home", "lobby"]), Value::Null));
    for (user, claim, reason) in
        [("ann", &*token, "replayed"), ("bob", &token, "wrongUser"), ("ann", "zzz", "malformed")]
    {
        let mut client = connect_with_token(&server, user, claim).await;
        let stored = if user == "ann" { json!(["home"]) } else { json!([]) };
        assert_eq!(next_report(&mut client).await, report(stored, json!(reason)), "{claim}");
    }
}

/// Joins groups with names of a hundred characters that compress badly. Returns the latest token.
async fn join_long_groups(client: &mut CoreClient, count: usize) -> String {
    let mut token = next_token(client).await;
    for _ in 0..count {
        let name: String = std::iter::repeat_with(|| hubcast::ConnectionId::random().to_string()).take(5).collect();
        client.invoke_nonblocking("JoinRoom", json!([name[..100]])).await;
        token = next_token(client).await;
    }
    token
}

/// A store that has no room for the groups of further clients.
pub(crate) async fn store_full_of_lists() -> MemoryStore {
    let store = MemoryStore::default();
    let list = |number: u64| GroupList {
        family: number.to_string(),
        groups: vec![hubcast::GroupKey::new(&"chat".into(), &"lobby".into())],
        omitted: 0,
        written_at: UNIX_EPOCH,
        expires_at: SystemTime::now() + Duration::from_secs(3_600),
    };
    assert_eq!(store.save_lists(&(0..MAX_GROUP_LISTS).map(list).collect::<Vec<_>>()).await.unwrap(), 0);
    store
}

#[tokio::test]
async fn groups_beyond_the_token_are_reported_as_lost() {
    let store = store_full_of_lists().await;
    let server = Server::start_with(|engine| engine.store(store)).await;
    for (count, lost) in [(50, 0), (70, 1)] {
        let mut ann = connect_with_token(&server, "ann", "1").await;
        let token = join_long_groups(&mut ann, count).await;
        assert!(token.len() <= 6 * 1024, "{}", token.len());
        drop_and_wait(&server, ann).await;
        let mut back = connect_with_token(&server, "ann", &token).await;
        let report = next_report(&mut back).await;
        let restored = report["groups"]["chat"].as_array().unwrap().len();
        assert_eq!(restored + usize::try_from(report["lost"].as_u64().unwrap()).unwrap(), count);
        assert_eq!(server.engine.metrics().rejoins_incomplete.get(), lost, "{count}");
        drop_and_wait(&server, back).await;
    }
}

/// A server that shares keys and store with others.
async fn start_node(name: &'static str, store: &SeaStore) -> Server {
    let store = store.clone();
    let keys = KeyRing::new(["a secret that both nodes have"]).unwrap();
    Server::start_core_only(move |engine| engine.node(name).store(store).keys(keys)).await
}

#[tokio::test]
async fn token_used_on_another_node_ends_earlier_ones() {
    let store = SeaStore::connect("sqlite::memory:").await.unwrap();
    let (alpha, beta) = (start_node("alpha", &store).await, start_node("beta", &store).await);
    let (ann, first) = ann_in_lobby(&alpha).await;
    drop_and_wait(&alpha, ann).await;
    let mut back = connect_with_token(&alpha, "ann", &first).await;
    let second = next_token(&mut back).await;
    drop_and_wait(&alpha, back).await;
    let mut moved = connect_with_token(&beta, "ann", &second).await;
    assert!(is_in_lobby(&beta, &mut moved).await);
    let mut thief = connect_with_token(&alpha, "ann", &first).await;
    assert!(!is_in_lobby(&alpha, &mut thief).await);
    assert_eq!(alpha.engine.metrics().rejoins_replayed.get(), 1);
}

#[tokio::test]
async fn older_token_does_not_restore_removed_durable_group() {
    let server = Server::start().await;
    let mut phone = connect_with_token(&server, "ann", "1").await;
    next_token(&mut phone).await;
    phone.invoke_nonblocking("AddToRoom", json!(["lobby"])).await;
    let claim = next_token(&mut phone).await;
    drop_and_wait(&server, phone).await;
    let mut desktop = connect_with_token(&server, "ann", &claim).await;
    assert!(is_in_lobby(&server, &mut desktop).await, "the group is stored");
    drop_and_wait(&server, desktop).await;
    server.engine.hub("chat").unwrap().users().remove_from_group("ann", "lobby").await.unwrap();
    let mut back = connect_with_token(&server, "ann", &claim).await;
    assert!(!is_in_lobby(&server, &mut back).await);
    assert_eq!(server.engine.metrics().rejoins_accepted.get(), 2, "the token is valid");
}

#[tokio::test]
async fn token_is_bound_to_its_user() {
    let server = Server::start().await;
    let (_ann, token) = ann_in_lobby(&server).await;
    let mut eve = connect_with_token(&server, "eve", &token).await;
    assert!(!is_in_lobby(&server, &mut eve).await);
    assert_eq!(server.engine.metrics().rejoins_wrong_user.get(), 1);
}

#[tokio::test]
async fn tampered_token_is_counted_and_restores_nothing() {
    let server = Server::start().await;
    let (_ann, token) = ann_in_lobby(&server).await;
    let middle = token.len() / 2;
    let other = if &token[middle..=middle] == "A" { "B" } else { "A" };
    let forged = format!("{}{other}{}", &token[..middle], &token[middle + 1..]);
    for (claim, count) in [(&*forged, 1), ("nonsense", 2), (&token[..middle], 3)] {
        let mut eve = connect_with_token(&server, "ann", claim).await;
        assert!(!is_in_lobby(&server, &mut eve).await, "{claim}");
        let metrics = server.engine.metrics();
        assert_eq!(metrics.rejoins_forged.get() + metrics.rejoins_malformed.get(), count, "{claim}");
    }
}

#[tokio::test]
async fn expired_token_is_refused() {
    let lifetime = Duration::from_nanos(1);
    let server =
        Server::start_core_only(move |engine| engine.rejoin(RejoinSettings { lifetime, ..Default::default() })).await;
    let (_ann, token) = ann_in_lobby(&server).await;
    let mut back = connect_with_token(&server, "ann", &token).await;
    assert!(!is_in_lobby(&server, &mut back).await);
    assert_eq!(server.engine.metrics().rejoins_expired.get(), 1);
}

#[tokio::test]
async fn revoked_tokens_are_refused() {
    let server = Server::start().await;
    let (_ann, token) = ann_in_lobby(&server).await;
    // A revocation applies to tokens issued before its millisecond.
    let millisecond = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
    let issued = millisecond();
    with_timeout(wait_until(|| millisecond() > issued)).await;
    server.engine.hub("chat").unwrap().users().revoke_tokens("ann").await.unwrap();
    let mut back = connect_with_token(&server, "ann", &token).await;
    assert!(!is_in_lobby(&server, &mut back).await);
    assert_eq!(server.engine.metrics().rejoins_revoked.get(), 1);
}
