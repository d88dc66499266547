//! Live memberships that are made to agree with the store: after changes of another process, and after outages.

use std::time::Duration;

use hubcast::{
    OnStoreFailure, RejoinSettings,
    hub::Reconciled,
    pipeline::Policy,
    store::{faulty::FaultMode, sea::SeaStore},
    testkit::CrashTarget,
};
use hubcast_fixtures::databases::DatabaseServer;
use serde_json::json;

use crate::{
    rejoining::{ann_in_lobby, connect_with_token, next_report, next_token},
    support::{ClassicClient, CoreClient, Server, wait_until_async, with_timeout},
};

async fn start_node(name: &'static str, store: &SeaStore, interval: Option<Duration>) -> Server {
    let store = store.clone();
    Server::start_with(move |engine| engine.store(store).node(name).reconcile_interval(interval)).await
}

async fn members(server: &Server, group: &str) -> usize {
    let hub = server.engine.hub("chat").unwrap();
    hub.groups().members(group).await.unwrap().map_or(0, |group| group.members.len())
}

/// A durable change by one node reaches the user's connections to the other node with the next comparison.
async fn check_change_of_another_node(url: &str) {
    let store = SeaStore::connect(url).await.unwrap();
    let (here, there) = (start_node("here", &store, None).await, start_node("there", &store, None).await);
    let mut core = CoreClient::connect(there.address, "/chat?user=ann").await;
    let mut classic = ClassicClient::connect(there.address, "webSockets", "&user=ann").await;
    core.invoke("JoinRoom", json!(["own room"])).await;
    let users = here.engine.hub("chat").unwrap().users();

    assert_eq!(users.add_to_group("ann", "lobby").await.unwrap().connections, 0, "they are connected elsewhere");
    assert_eq!(there.engine.reconcile().await.unwrap(), Reconciled { joined: 2, left: 0 });
    let lobby = there.engine.hub("chat").unwrap().clients().group("lobby");
    assert_eq!(lobby.send("addChatMessage", ("server", "hello")).await.unwrap(), 2);
    assert_eq!(core.next_chat_message().await, ("server".into(), "hello".into()));
    assert_eq!(classic.next_chat_message().await, ("server".into(), "hello".into()));
    assert_eq!(there.engine.reconcile().await.unwrap(), Reconciled::default());

    users.remove_from_group("ann", "lobby").await.unwrap();
    assert_eq!(there.engine.reconcile().await.unwrap(), Reconciled { joined: 0, left: 2 });
    assert_eq!((members(&there, "lobby").await, members(&there, "own room").await), (0, 1));
}

#[tokio::test]
async fn change_of_another_node_is_applied_on_sqlite() {
    check_change_of_another_node("sqlite::memory:").await;
}

#[tokio::test]
async fn change_of_another_node_is_applied_on_postgresql() {
    check_change_of_another_node(&DatabaseServer::shared_postgres().new_database()).await;
}

#[tokio::test]
async fn change_of_another_node_is_applied_at_intervals() {
    let store = SeaStore::connect("sqlite::memory:").await.unwrap();
    let interval = Some(Duration::from_millis(100));
    let (here, there) = (start_node("here", &store, interval).await, start_node("there", &store, interval).await);
    let _ann = CoreClient::connect(there.address, "/chat?user=ann").await;
    let users = here.engine.hub("chat").unwrap().users();
    users.add_to_group("ann", "lobby").await.unwrap();
    with_timeout(wait_until_async(async || members(&there, "lobby").await == 1)).await;
    users.remove_from_group("ann", "lobby").await.unwrap();
    with_timeout(wait_until_async(async || members(&there, "lobby").await == 0)).await;
}

/// A client of a hub that its connection does not request is in no group of that hub.
#[tokio::test]
async fn classic_client_joins_groups_of_its_hubs_only() {
    let store = SeaStore::connect("sqlite::memory:").await.unwrap();
    let (here, there) = (start_node("here", &store, None).await, start_node("there", &store, None).await);
    let _ann = ClassicClient::connect(there.address, "serverSentEvents", "&user=ann").await;
    here.engine.hub("other").unwrap().users().add_to_group("ann", "lobby").await.unwrap();
    assert_eq!(there.engine.reconcile().await.unwrap(), Reconciled::default());
    here.engine.hub("chat").unwrap().users().add_to_group("ann", "lobby").await.unwrap();
    assert_eq!(there.engine.reconcile().await.unwrap(), Reconciled { joined: 1, left: 0 });
}

/// Clients are admitted while the store fails.
fn continues() -> RejoinSettings {
    RejoinSettings { on_store_failure: OnStoreFailure::Continue, ..RejoinSettings::default() }
}

#[tokio::test]
async fn client_admitted_without_its_groups_gets_them_later() {
    let (server, store) = Server::start_with_faulty_store(|engine| engine.rejoin(continues())).await;
    server.engine.hub("chat").unwrap().users().add_to_group("ann", "lobby").await.unwrap();
    store.set_mode(FaultMode::Refuse);
    let mut ann = CoreClient::connect(server.address, "/chat?user=ann").await;
    ann.invoke("Echo", json!(["invocations wait until OnConnected has run"])).await;
    assert_eq!(members(&server, "lobby").await, 0);
    assert!(server.engine.reconcile().await.is_err());
    store.set_mode(FaultMode::None);
    assert_eq!(server.engine.reconcile().await.unwrap(), Reconciled { joined: 1, left: 0 });
    assert_eq!(members(&server, "lobby").await, 1);
}

/// The store cannot say which of the groups it would restore.
#[tokio::test]
async fn returning_client_keeps_durable_groups_while_the_store_fails() {
    let rejoin = RejoinSettings { policy: Policy::Store, ..continues() };
    let (server, store) = Server::start_with_faulty_store(|engine| engine.rejoin(rejoin)).await;
    let hub = server.engine.hub("chat").unwrap();
    let mut bob = ClassicClient::connect(server.address, "webSockets", "&user=bob").await;
    hub.users().add_to_group("bob", "lobby").await.unwrap();
    store.set_mode(FaultMode::Refuse);
    bob.drop_channel();
    bob.reconnect().await;
    bob.invoke("WhoAmI", json!([])).await;
    for (group, text) in [("lobby", "to the group"), ("other", "to nobody")] {
        with_timeout(hub.clients().group(group).send("addChatMessage", ("server", text))).await.unwrap();
    }
    with_timeout(hub.clients().user("bob").send("addChatMessage", ("server", "end"))).await.unwrap();
    assert_eq!(bob.next_chat_message().await.1, "to the group");
    assert_eq!(bob.next_chat_message().await.1, "end");
}

/// The store may have used the token up. It accepts it again, because the connection that presented it has ended.
#[tokio::test]
async fn unchecked_token_stays_valid_after_an_outage() {
    let (server, store) = Server::start_with_faulty_store(|engine| engine.rejoin(continues())).await;
    let users = server.engine.hub("chat").unwrap().users();
    let (mut ann, mut token) = ann_in_lobby(&server).await;
    for fault in [FaultMode::Refuse, FaultMode::LoseReply] {
        ann.drop_socket();
        wait_until_async(async || members(&server, "lobby").await == 0).await;
        store.set_mode(fault);
        let mut unchecked = connect_with_token(&server, "ann", &token).await;
        assert_eq!(next_report(&mut unchecked).await["refused"], "unchecked", "{fault:?}");
        store.set_mode(FaultMode::None);
        users.add_to_group("ann", format!("{fault:?}")).await.unwrap();
        unchecked.expect_no_message().await;
        unchecked.drop_socket();
        wait_until_async(async || members(&server, &format!("{fault:?}")).await == 0).await;
        ann = connect_with_token(&server, "ann", &token).await;
        token = next_token(&mut ann).await;
        assert_eq!(members(&server, "lobby").await, 1, "{fault:?}");
    }
}

#[tokio::test]
async fn join_ends_the_use_of_an_unchecked_token() {
    let (server, store) = Server::start_with_faulty_store(|engine| engine.rejoin(continues())).await;
    let (ann, token) = ann_in_lobby(&server).await;
    ann.drop_socket();
    store.set_mode(FaultMode::Refuse);
    let mut unchecked = connect_with_token(&server, "ann", &token).await;
    assert_eq!(next_report(&mut unchecked).await["refused"], "unchecked");
    store.set_mode(FaultMode::None);
    unchecked.invoke_nonblocking("JoinRoom", json!(["den"])).await;
    let token = next_token(&mut unchecked).await;
    unchecked.drop_socket();
    let mut back = connect_with_token(&server, "ann", &token).await;
    assert_eq!(next_report(&mut back).await["groups"], json!({"chat": ["den"]}));
}

#[tokio::test]
async fn classic_client_keeps_an_unchecked_token() {
    let (server, store) = Server::start_with_faulty_store(|engine| engine.rejoin(continues())).await;
    let hub = server.engine.hub("chat").unwrap();
    let mut bob = ClassicClient::connect_and_join(server.address, "webSockets", "bob", "lobby").await;
    hub.users().add_to_group("bob", "home").await.unwrap();
    bob.invoke("WhoAmI", json!([])).await;
    let token = bob.groups_token.clone();
    store.set_mode(FaultMode::Refuse);
    bob.drop_channel();
    bob.reconnect().await;
    bob.invoke("WhoAmI", json!([])).await;
    assert_eq!((server.engine.metrics().rejoins_unchecked.get(), &bob.groups_token), (1, &token));
    store.set_mode(FaultMode::None);
    bob.drop_channel();
    bob.reconnect().await;
    bob.invoke("WhoAmI", json!([])).await;
    with_timeout(hub.clients().group("lobby").send("addChatMessage", ("server", "hello"))).await.unwrap();
    assert_eq!(bob.next_chat_message().await.1, "hello");
}

#[tokio::test]
async fn crash_of_membership_is_repaired_at_once() {
    let interval = Some(Duration::from_secs(3_600));
    let (server, store) = Server::start_with_faulty_store(move |engine| engine.reconcile_interval(interval)).await;
    let mut ann = CoreClient::connect(server.address, "/chat?user=ann").await;
    ann.invoke("Echo", json!(["invocations wait until OnConnected has run"])).await;
    let users = server.engine.hub("chat").unwrap().users();
    // The change is stored, but its caller gets an error.
    store.set_mode(FaultMode::LoseReply);
    assert!(users.add_to_group("ann", "lobby").await.is_err());
    store.set_mode(FaultMode::None);
    assert_eq!(members(&server, "lobby").await, 0);
    with_timeout(server.engine.crash(&CrashTarget::Membership)).await;
    with_timeout(wait_until_async(async || members(&server, "lobby").await == 1)).await;
}

#[tokio::test]
async fn row_deleted_by_an_operator_ends_memberships() {
    let database = DatabaseServer::shared_postgres();
    let url = database.new_database();
    let server = start_node("here", &SeaStore::connect(&url).await.unwrap(), None).await;
    let mut ann = CoreClient::connect(server.address, "/chat?user=ann").await;
    ann.invoke("AddToRoom", json!(["lobby"])).await;
    assert_eq!(members(&server, "lobby").await, 1);
    database.query(&url, "DELETE FROM user_rooms WHERE user_name = 'ann'");
    assert_eq!(server.engine.reconcile().await.unwrap(), Reconciled { joined: 0, left: 1 });
    assert_eq!(members(&server, "lobby").await, 0);
}
