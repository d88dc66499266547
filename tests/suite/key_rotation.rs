//! Signing keys that are replaced while clients are connected.

use std::path::Path;

use hubcast::{EngineBuilder, KeyRing, store::sea::SeaStore};
use serde_json::json;

use crate::{
    rejoining::{ann_in_lobby, connect_with_token, is_in_lobby, next_report, next_token},
    support::{ClassicClient, CoreClient, NegotiatedCore, Server, ServiceProcess, TRANSPORTS},
};

const OLD: &str = "an old secret, long enough";
const NEW: &str = "a new secret, long enough";

/// The key rings of a rotation: one before it, and one after each step.
const STEPS: [&[&str]; 4] = [&[OLD], &[OLD, NEW], &[NEW, OLD], &[NEW]];

/// The number of steps after which the old key still verifies.
const WITH_OLD_KEY: usize = 2;

fn ring(step: usize) -> KeyRing {
    KeyRing::new(STEPS[step]).unwrap()
}

/// Two nodes with the old key and one store.
async fn two_nodes() -> [Server; 2] {
    let store = SeaStore::connect("sqlite::memory:").await.unwrap();
    let node = |name: &'static str| {
        let store = store.clone();
        move |engine: EngineBuilder| engine.node(name).store(store).keys(ring(0))
    };
    [Server::start_with(node("alpha")).await, Server::start_with(node("beta")).await]
}

/// The nodes change their keys one after another. Each time, both have clients of either generation that reconnect to the
/// other node.
#[tokio::test]
async fn tokens_are_accepted_between_neighbouring_steps() {
    let nodes = two_nodes().await;
    for step in 1..=WITH_OLD_KEY {
        for changed in 0..2 {
            nodes[changed].engine.replace_keys(ring(step));
            for (from, to) in [(&nodes[0], &nodes[1]), (&nodes[1], &nodes[0])] {
                let (ann, token) = ann_in_lobby(from).await;
                ann.drop_socket();
                let mut back = connect_with_token(to, "ann", &token).await;
                assert!(is_in_lobby(to, &mut back).await, "step {step}, node {changed}");
                let mut bob = ClassicClient::connect_and_join(from.address, "webSockets", "bob", "lobby").await;
                bob.drop_channel();
                bob.connection.server = to.address;
                bob.reconnect().await;
                assert_eq!(bob.invoke("WhoAmI", json!([])).await, bob.connection.id, "step {step}, node {changed}");
                to.engine
                    .hub("chat")
                    .unwrap()
                    .clients()
                    .group("lobby")
                    .send("addChatMessage", ("server", "hello"))
                    .await
                    .unwrap();
                assert_eq!(bob.next_chat_message().await.1, "hello", "step {step}, node {changed}");
            }
        }
    }
    let refused = |node: &Server| node.engine.metrics().rejoins_unknown_key.get();
    assert_eq!(nodes.each_ref().map(refused), [0, 0]);
}

#[tokio::test]
async fn token_of_each_step_is_accepted_after_the_next() {
    let server = Server::start_with(|engine| engine.keys(ring(0))).await;
    for step in 1..=WITH_OLD_KEY {
        let (ann, token) = ann_in_lobby(&server).await;
        let mut bob = ClassicClient::connect_and_join(server.address, "serverSentEvents", "bob", "lobby").await;
        server.engine.replace_keys(ring(step));
        ann.drop_socket();
        let mut back = connect_with_token(&server, "ann", &token).await;
        assert!(is_in_lobby(&server, &mut back).await, "step {step}");
        bob.reconnect().await;
        assert_eq!(bob.invoke("WhoAmI", json!([])).await, bob.connection.id, "step {step}");
    }
    assert_eq!(server.engine.metrics().rejoins_unknown_key.get(), 0);
}

#[tokio::test]
async fn rejoin_token_of_removed_key_is_refused() {
    let server = Server::start_with(|engine| engine.keys(ring(0))).await;
    let (ann, token) = ann_in_lobby(&server).await;
    let mut bob = ClassicClient::connect_and_join(server.address, "webSockets", "bob", "lobby").await;
    server.engine.replace_keys(ring(3));
    ann.drop_socket();
    let mut back = connect_with_token(&server, "ann", &token).await;
    assert_eq!(next_report(&mut back).await["refused"], "unknownKey");
    assert!(!is_in_lobby(&server, &mut back).await);
    assert_eq!(server.engine.metrics().rejoins_unknown_key.get(), 1);
    bob.reconnect().await;
    assert_eq!(server.engine.metrics().rejoins_unknown_key.get(), 2);
    assert_eq!(bob.invoke("WhoAmI", json!([])).await, bob.connection.id, "the connection lives");
}

/// Clients whose requests carry a connection token go on after its key was removed.
#[tokio::test]
async fn clients_stay_connected_through_all_steps() {
    let server = Server::start_with(|engine| engine.keys(ring(0))).await;
    let mut core = CoreClient::connect_and_join(server.address, "ann", "lobby").await;
    let polling = NegotiatedCore::polling(&server, "/chat", "&user=bob").await;
    let mut classic = Vec::new();
    for transport in TRANSPORTS {
        classic.push(ClassicClient::connect_and_join(server.address, transport, "cid", "lobby").await);
    }
    for step in 1..STEPS.len() {
        server.engine.replace_keys(ring(step));
        assert_eq!(core.invoke("Echo", json!(["echo"])).await, "echo");
        polling
            .send(&[&json!({"type": 1, "invocationId": "1", "target": "Echo", "arguments": ["echo"]}).to_string()])
            .await;
        let answer = polling.poll().await;
        assert_eq!(answer.body, format!("{{\"type\":3,\"invocationId\":\"1\",\"result\":\"echo\"}}\u{1e}"));
        for client in &mut classic {
            assert_eq!(client.invoke("WhoAmI", json!([])).await, client.connection.id, "step {step}");
            let hub = server.engine.hub("chat").unwrap();
            hub.clients().group("lobby").send("addChatMessage", ("server", "hello")).await.unwrap();
        }
        for client in &mut classic {
            for _ in TRANSPORTS {
                assert_eq!(client.next_chat_message().await.1, "hello", "step {step}");
            }
        }
        for _ in TRANSPORTS {
            assert_eq!(core.next_chat_message().await.1, "hello", "step {step}");
        }
    }
    assert_eq!(server.engine.metrics().connections_opened.get(), 5, "nobody has connected again");
}

#[tokio::test]
async fn connection_token_ends_with_its_connection_and_key() {
    let server = Server::start_with(|engine| engine.keys(ring(0))).await;
    let client = ClassicClient::connect(server.address, "serverSentEvents", "&user=ann").await;
    server.engine.replace_keys(ring(3));
    assert_eq!(client.connection.request("abort").await.status, 200);
    crate::support::wait_until_async(async || client.connection.request("start").await.status == 400).await;
}

fn write_keys(directory: &Path, keys: &[&str]) {
    std::fs::write(directory.join("hubcast.toml"), format!("signing_keys = {keys:?}\n")).unwrap();
}

#[tokio::test]
async fn service_applies_keys_on_hangup() {
    let data = tempfile::tempdir().unwrap();
    write_keys(data.path(), STEPS[0]);
    let mut service = ServiceProcess::start_logged(data.path(), None).await;
    let mut ann = CoreClient::connect(service.address, "/chat?user=ann&rejoin=1").await;
    let mut token = next_token(&mut ann).await;
    for (keys, refused) in
        [(STEPS[1], None), (STEPS[2], None), (&["short"], None), (STEPS[3], None), (STEPS[0], Some("unknownKey"))]
    {
        write_keys(data.path(), keys);
        service.signal("HUP").await;
        let line = service.log_line("reloaded").await;
        assert_eq!(line.contains("not reloaded, the previous ones stay in use"), keys == ["short"], "{line}");
        assert!(!keys.iter().any(|key| line.contains(key)), "{line}");
        let mut back = CoreClient::connect(service.address, &format!("/chat?user=ann&rejoin={token}")).await;
        assert_eq!(next_report(&mut back).await["refused"], json!(refused), "{keys:?}");
        token = next_token(&mut back).await;
    }
    assert_eq!(ann.invoke("JoinRoom", json!(["lobby"])).await, true, "it has stayed connected");
}
