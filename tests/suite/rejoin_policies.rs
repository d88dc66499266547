//! The policies that decide between the groups of a rejoin token and those of the store.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use hubcast::{
    EngineBuilder, KeyRing, RejoinSettings,
    filters::{RejoiningGroups, on},
    pipeline::Policy,
    store::sea::SeaStore,
};
use serde_json::json;

use crate::{
    rejoining::{connect_with_token, next_token},
    support::{ClassicClient, CoreClient, Server, TRANSPORTS, with_timeout},
};

const POLICIES: [Policy; 4] = [Policy::Token, Policy::Store, Policy::Intersection, Policy::Union];

/// A group of the token, one of the token and the store, and one of the store.
const GROUPS: [&str; 3] = ["token", "both", "store"];

/// The groups of a client that returns. A new connection is in all groups of the store by itself.
fn expected(policy: Policy) -> &'static [&'static str] {
    match policy {
        Policy::Token | Policy::Union => &GROUPS,
        Policy::Store | Policy::Intersection => &GROUPS[1..],
    }
}

/// Two nodes whose hub `chat` has a policy of its own. Other hubs have the opposite one.
async fn two_nodes(policy: Policy) -> [Server; 2] {
    let store = SeaStore::connect("sqlite::memory:").await.unwrap();
    let node = |name: &'static str| {
        let (store, keys) = (store.clone(), KeyRing::new(["a secret that both nodes have"]).unwrap());
        let others = if expected(policy).len() == 3 { Policy::Store } else { Policy::Token };
        let rejoin =
            RejoinSettings { policy: others, policies: vec![("chat".into(), policy)], ..RejoinSettings::default() };
        Server::start_with(move |engine: EngineBuilder| engine.node(name).store(store).keys(keys).rejoin(rejoin))
    };
    [node("alpha").await, node("beta").await]
}

/// Makes a user a durable member after its token was issued.
async fn store_memberships(server: &Server, user: &str) {
    let users = server.engine.hub("chat").unwrap().users();
    for group in &GROUPS[1..] {
        users.add_to_group(user, *group).await.unwrap();
    }
}

/// Sends to each group, then to the user.
async fn send_to_all(server: &Server, user: &str) {
    let clients = server.engine.hub("chat").unwrap().clients();
    for group in GROUPS {
        with_timeout(clients.group(group).send("addChatMessage", ("server", group))).await.unwrap();
    }
    assert_eq!(with_timeout(clients.user(user).send("addChatMessage", ("server", "end"))).await.unwrap(), 1);
}

async fn received_by_core(client: &mut CoreClient) -> Vec<String> {
    let mut received = Vec::new();
    loop {
        let (target, arguments) = client.next_invocation().await;
        match arguments[1].as_str() {
            Some("end") => return received,
            Some(text) if target == "addChatMessage" => received.push(text.to_owned()),
            _ => {}
        }
    }
}

async fn received_by_classic(client: &mut ClassicClient) -> Vec<String> {
    let mut received = Vec::new();
    loop {
        let (_, method, arguments) = client.next_invocation().await;
        match arguments[1].as_str() {
            Some("end") => return received,
            Some(text) if method == "addChatMessage" => received.push(text.to_owned()),
            _ => {}
        }
    }
}

#[tokio::test]
async fn policy_of_the_hub_decides_for_core_clients() {
    for policy in POLICIES {
        let [alpha, beta] = two_nodes(policy).await;
        let mut ann = connect_with_token(&alpha, "ann", "1").await;
        let mut token = next_token(&mut ann).await;
        for group in &GROUPS[..2] {
            ann.invoke_nonblocking("JoinRoom", json!([group])).await;
            token = next_token(&mut ann).await;
        }
        ann.drop_socket();
        store_memberships(&beta, "ann").await;
        let mut back = connect_with_token(&beta, "ann", &token).await;
        back.invoke("Echo", json!(["invocations wait until OnConnected has run"])).await;
        send_to_all(&beta, "ann").await;
        assert_eq!(received_by_core(&mut back).await, expected(policy), "{policy:?}");
    }
}

/// A classic client in the groups of its token.
async fn bob_with_token(server: &Server, transport: &'static str) -> ClassicClient {
    let mut bob = ClassicClient::connect_and_join(server.address, transport, "bob", GROUPS[0]).await;
    let first = bob.groups_token.clone();
    bob.invoke("JoinRoom", json!([GROUPS[1]])).await;
    while bob.groups_token == first {
        let clients = server.engine.hub("chat").unwrap().clients();
        with_timeout(clients.group(GROUPS[1]).send("addChatMessage", ("server", "wake"))).await.unwrap();
        assert_eq!(bob.next_chat_message().await.1, "wake");
    }
    bob.drop_channel();
    bob
}

#[tokio::test]
async fn policy_of_the_hub_decides_for_classic_clients() {
    for policy in POLICIES {
        for transport in TRANSPORTS {
            let [alpha, beta] = two_nodes(policy).await;
            let mut bob = bob_with_token(&alpha, transport).await;
            store_memberships(&beta, "bob").await;
            bob.connection.server = beta.address;
            bob.reconnect().await;
            bob.invoke("WhoAmI", json!([])).await;
            send_to_all(&beta, "bob").await;
            assert_eq!(received_by_classic(&mut bob).await, expected(policy), "{policy:?} {transport}");
        }
    }
}

/// A connection that still lives has joined the durable group itself, after the client left.
#[tokio::test]
async fn policy_of_the_hub_decides_for_live_classic_connections() {
    for policy in POLICIES {
        let [alpha, _] = two_nodes(policy).await;
        for transport in TRANSPORTS {
            let mut bob = bob_with_token(&alpha, transport).await;
            store_memberships(&alpha, "bob").await;
            bob.reconnect().await;
            bob.invoke("WhoAmI", json!([])).await;
            send_to_all(&alpha, "bob").await;
            assert_eq!(received_by_classic(&mut bob).await, expected(policy), "{policy:?} {transport}");
            bob.connection.request("abort").await;
            for group in &GROUPS[1..] {
                alpha.engine.hub("chat").unwrap().users().remove_from_group("bob", *group).await.unwrap();
            }
        }
    }
}

/// A durable membership is that of the user, and no token decides about it. After the first reconnect, the client knows
/// of all groups that its connection is in.
#[tokio::test]
async fn connection_without_token_stays_in_durable_groups() {
    for policy in POLICIES {
        let [alpha, _] = two_nodes(policy).await;
        let mut bob = bob_with_token(&alpha, "webSockets").await;
        store_memberships(&alpha, "bob").await;
        for token in [None, Some("forged")] {
            bob.groups_token = token.map(str::to_owned);
            bob.reconnect().await;
            bob.invoke("WhoAmI", json!([])).await;
            send_to_all(&alpha, "bob").await;
            assert_eq!(received_by_classic(&mut bob).await, GROUPS[1..], "{policy:?} {token:?}");
        }
    }
}

/// Polls, posts and messages of a channel decide nothing again.
#[tokio::test]
async fn groups_are_decided_once_per_reconnect() {
    let decisions = Arc::<AtomicUsize>::default();
    let counter = Arc::clone(&decisions);
    let count = on(move |event: RejoiningGroups| {
        counter.fetch_add(usize::from(event.hub.as_str() == "chat"), Ordering::Relaxed);
        async { Ok(event) }
    });
    let server = Server::start_with(|engine| engine.filter("count", count)).await;
    let count = || decisions.swap(0, Ordering::Relaxed);
    for transport in TRANSPORTS {
        let mut bob = bob_with_token(&server, transport).await;
        assert_eq!(count(), 0, "{transport}: the first connect restores nothing");
        for _ in 0..2 {
            bob.reconnect().await;
            for _ in 0..3 {
                bob.invoke("WhoAmI", json!([])).await;
                send_to_all(&server, "bob").await;
                received_by_classic(&mut bob).await;
            }
            assert_eq!(count(), 1, "{transport}");
        }
        bob.connection.request("abort").await;
    }
    let mut ann = connect_with_token(&server, "ann", "1").await;
    let token = next_token(&mut ann).await;
    assert_eq!(count(), 0);
    ann.drop_socket();
    let mut back = connect_with_token(&server, "ann", &token).await;
    for _ in 0..3 {
        back.invoke("Echo", json!(["again"])).await;
    }
    assert_eq!(count(), 1);
}
