//! Groups whose rejoin tokens are revoked.

use std::time::{SystemTime, UNIX_EPOCH};

use hubcast::{KeyRing, store::sea::SeaStore};
use serde_json::{Value, json};

use crate::{
    rejoining::{connect_with_token, is_in_lobby, next_report, next_token},
    support::{ClassicClient, CoreClient, Server, TRANSPORTS, wait_until, with_timeout},
};

/// Waits for the next millisecond: a revocation applies to tokens issued before its millisecond.
async fn wait_for_next_millisecond() {
    let millisecond = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
    let now = millisecond();
    with_timeout(wait_until(|| millisecond() > now)).await;
}

/// Revokes the lobby in all tokens that were issued until now, and in none that is issued later.
async fn revoke_lobby(server: &Server) {
    wait_for_next_millisecond().await;
    server.engine.hub("chat").unwrap().groups().revoke_tokens("lobby").await.unwrap();
    wait_for_next_millisecond().await;
}

/// A client in the groups `home` and `lobby`, and a token with both.
async fn ann_in_two_groups(server: &Server) -> (CoreClient, String) {
    let mut ann = connect_with_token(server, "ann", "1").await;
    let mut token = next_token(&mut ann).await;
    for room in ["home", "lobby"] {
        ann.invoke_nonblocking("JoinRoom", json!([room])).await;
        token = next_token(&mut ann).await;
    }
    (ann, token)
}

fn report(groups: &[&str], revoked: u32) -> Value {
    json!({"groups": {"chat": groups}, "more": 0, "refused": null, "lost": 0, "revoked": revoked})
}

#[tokio::test]
async fn token_restores_all_but_the_revoked_group() {
    let server = Server::start().await;
    let (ann, token) = ann_in_two_groups(&server).await;
    ann.drop_socket();
    revoke_lobby(&server).await;
    let mut back = connect_with_token(&server, "ann", &token).await;
    assert_eq!(next_report(&mut back).await, report(&["home"], 1));
    let token = next_token(&mut back).await;
    assert!(!is_in_lobby(&server, &mut back).await);
    let metrics = server.engine.metrics();
    assert_eq!((metrics.rejoins_accepted.get(), metrics.rejoin_groups_revoked.get()), (1, 1));
    back.drop_socket();
    let mut again = connect_with_token(&server, "ann", &token).await;
    assert_eq!(next_report(&mut again).await, report(&["home"], 0), "its new token does not list the group");
}

#[tokio::test]
async fn token_of_a_later_join_restores_the_group() {
    let server = Server::start().await;
    revoke_lobby(&server).await;
    let (ann, token) = ann_in_two_groups(&server).await;
    ann.drop_socket();
    let mut back = connect_with_token(&server, "ann", &token).await;
    assert_eq!(next_report(&mut back).await, report(&["home", "lobby"], 0));
}

#[tokio::test]
async fn durable_member_returns_to_a_revoked_group() {
    let server = Server::start().await;
    let (mut ann, _) = ann_in_two_groups(&server).await;
    ann.invoke_nonblocking("AddToRoom", json!(["lobby"])).await;
    let token = next_token(&mut ann).await;
    ann.drop_socket();
    revoke_lobby(&server).await;
    let mut back = connect_with_token(&server, "ann", &token).await;
    assert_eq!(next_report(&mut back).await, report(&["home", "lobby"], 0));
}

async fn send_to(server: &Server, room: &str, text: &str) {
    let hub = server.engine.hub("chat").unwrap();
    with_timeout(hub.clients().group(room).send("addChatMessage", ("server", text))).await.unwrap();
}

/// A classic client in the groups `lobby` and `home`, whose token lists both.
async fn bob_in_two_groups(server: &Server, transport: &'static str) -> ClassicClient {
    let mut bob = ClassicClient::connect_and_join(server.address, transport, "bob", "lobby").await;
    let first = bob.groups_token.take();
    bob.invoke("JoinRoom", json!(["home"])).await;
    while bob.groups_token.is_none() || bob.groups_token == first {
        send_to(server, "home", "wake").await;
        assert_eq!(bob.next_chat_message().await.1, "wake");
    }
    bob
}

#[tokio::test]
async fn classic_client_does_not_return_to_a_revoked_group() {
    let store = SeaStore::connect("sqlite::memory:").await.unwrap();
    let node = |name: &'static str| {
        let (store, keys) = (store.clone(), KeyRing::new(["a secret that both nodes have"]).unwrap());
        Server::start_with(move |engine| engine.node(name).store(store).keys(keys))
    };
    let (alpha, beta) = (node("alpha").await, node("beta").await);
    for (number, transport) in (1..).zip(TRANSPORTS) {
        let mut bob = bob_in_two_groups(&alpha, transport).await;
        bob.drop_channel();
        revoke_lobby(&alpha).await;
        bob.connection.server = beta.address;
        bob.reconnect().await;
        let (_, method, arguments) = bob.next_invocation().await;
        assert_eq!((&*method, &arguments[0]["revoked"]), ("hubcast:rejoined", &json!(1)), "{transport}");
        assert_eq!(arguments[0]["groups"]["chat"], json!(["home"]), "{transport}");
        send_to(&beta, "lobby", "for members").await;
        send_to(&beta, "home", "hello").await;
        assert_eq!(bob.next_chat_message().await.1, "hello", "{transport}");
        assert_eq!(beta.engine.metrics().rejoin_groups_revoked.get(), number, "{transport}");
        bob.connection.request("abort").await;
    }
}

/// A live connection stays a member, but its client does not receive the group on a channel of an earlier token.
#[tokio::test]
async fn live_classic_connection_does_not_receive_a_revoked_group() {
    let server = Server::start().await;
    for transport in TRANSPORTS {
        let mut bob = bob_in_two_groups(&server, transport).await;
        bob.drop_channel();
        revoke_lobby(&server).await;
        bob.reconnect().await;
        send_to(&server, "lobby", "for members").await;
        send_to(&server, "home", "hello").await;
        loop {
            let (_, method, arguments) = bob.next_invocation().await;
            if method == "addChatMessage" {
                assert_eq!(arguments[1], "hello", "{transport}");
                break;
            }
        }
        bob.connection.request("abort").await;
    }
}
