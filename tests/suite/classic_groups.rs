//! Groups of classic clients, and the groups token that restores them.

use hubcast::{EngineBuilder, KeyRing};
use serde_json::json;

use crate::support::{ClassicClient, NegotiatedConnection, STREAMING_TRANSPORTS, Server, TRANSPORTS, with_timeout};

fn with_known_keys(engine: EngineBuilder) -> EngineBuilder {
    engine.keys(KeyRing::new(["a secret that outlives the process"]).unwrap())
}

pub(crate) async fn send_to_group(server: &Server, room: &str, text: &str) {
    let hub = server.engine.hub("chat").unwrap();
    with_timeout(hub.clients().group(room).send("addChatMessage", ("server", text))).await.unwrap();
}

async fn expect_chat_message(client: &mut ClassicClient, text: &str) {
    assert_eq!(client.next_chat_message().await, ("server".to_owned(), text.to_owned()));
}

/// Asserts that no message for this client is pending: the next one it receives is one that this function sends.
pub(crate) async fn expect_no_pending_messages(client: &mut ClassicClient) {
    client.invoke("SendTo", json!(["caller", [], "end"])).await;
    assert_eq!(client.next_chat_message().await.1, "end");
}

#[tokio::test]
async fn member_receives_group_messages_until_it_leaves() {
    let server = Server::start().await;
    for transport in TRANSPORTS {
        let mut client = ClassicClient::connect_and_join(server.address, transport, "ann", "lobby").await;
        send_to_group(&server, "lobby", "hello").await;
        expect_chat_message(&mut client, "hello").await;
        let token = client.groups_token.clone();
        client.invoke("LeaveRoom", json!(["lobby"])).await;
        send_to_group(&server, "lobby", "not delivered").await;
        expect_no_pending_messages(&mut client).await;
        assert_ne!(client.groups_token, token, "leaving the last group issues a new token");
        client.connection.request("abort").await;
    }
}

#[tokio::test]
async fn reconnect_restores_groups_without_a_new_token() {
    let server = Server::start().await;
    for transport in TRANSPORTS {
        let mut client = ClassicClient::connect_and_join(server.address, transport, "ann", "lobby").await;
        let token = client.groups_token.clone();
        client.drop_channel();
        send_to_group(&server, "lobby", "missed").await;
        client.reconnect().await;
        expect_chat_message(&mut client, "missed").await;
        expect_no_pending_messages(&mut client).await;
        assert_eq!(client.groups_token, token, "{transport}");
        client.connection.request("abort").await;
    }
}

#[tokio::test]
async fn groups_survive_server_restart_with_same_key() {
    for transport in TRANSPORTS {
        let before = Server::start_with(with_known_keys).await;
        let mut client = ClassicClient::connect_and_join(before.address, transport, "ann", "lobby").await;
        client.drop_channel();
        drop(before);
        let (after, mut events) = Server::start_with_event_log(with_known_keys).await;
        client.connection.server = after.address;
        client.reconnect().await;
        assert_eq!(events.next_event().await, "reconnected with a gap", "{transport}");
        send_to_group(&after, "lobby", "welcome back").await;
        expect_chat_message(&mut client, "welcome back").await;
        let stopped = client.connection.request("abort").await;
        assert_eq!((stopped.status, events.next_event().await), (200, "stopped".into()));
    }
}

/// A name that is longer than those of the other groups, so that a token omits it first.
const OMITTED: &str = "a group whose name has more than one hundred and ten characters, which is more than the name of \
                       any of the other groups has";

/// Joins more groups than a token can list, among them [`OMITTED`].
async fn join_many_groups(client: &mut ClassicClient, count: usize) {
    for _ in 0..count {
        let name: String = std::iter::repeat_with(|| hubcast::ConnectionId::random().to_string()).take(5).collect();
        client.invoke("JoinRoom", json!([name])).await;
    }
    client.invoke("JoinRoom", json!([OMITTED])).await;
}

#[tokio::test]
async fn groups_beyond_the_token_survive_a_reconnect() {
    let server = Server::start().await;
    for transport in TRANSPORTS {
        let mut client = ClassicClient::connect(server.address, transport, "&user=ann").await;
        join_many_groups(&mut client, 70).await;
        client.drop_channel();
        client.reconnect().await;
        send_to_group(&server, OMITTED, "hello").await;
        expect_chat_message(&mut client, "hello").await;
        client.connection.request("abort").await;
    }
    assert_eq!(server.engine.metrics().rejoins_incomplete.get(), 0);
}

#[tokio::test]
async fn groups_lost_in_a_restart_are_reported() {
    let before = Server::start_with(with_known_keys).await;
    let mut client = ClassicClient::connect(before.address, "webSockets", "&user=ann").await;
    join_many_groups(&mut client, 70).await;
    client.drop_channel();
    drop(before);
    let after = Server::start_with(with_known_keys).await;
    client.connection.server = after.address;
    client.reconnect().await;
    let (_, method, arguments) = client.next_invocation().await;
    let restored = arguments[0]["groups"]["chat"].as_array().unwrap().len();
    assert_eq!((&*method, &arguments[0]["lost"], restored > 40), ("hubcast:rejoined", &json!(71 - restored), true));
    assert_eq!(after.engine.metrics().rejoins_incomplete.get(), 1);
}

#[tokio::test]
async fn token_does_not_restore_removed_durable_groups() {
    for transport in TRANSPORTS {
        let before = Server::start_with(with_known_keys).await;
        let mut client = ClassicClient::connect_and_join(before.address, transport, "ann", "lobby").await;
        let token = client.groups_token.clone();
        // The client joins one of the two groups before it becomes durable.
        client.invoke("JoinRoom", json!(["den"])).await;
        for room in ["home", "den"] {
            client.invoke("AddToRoom", json!([room])).await;
        }
        expect_no_pending_messages(&mut client).await;
        assert_ne!(client.groups_token, token, "a durable join issues a new token");
        client.drop_channel();
        drop(before);
        let after = Server::start_with(with_known_keys).await;
        client.connection.server = after.address;
        client.reconnect().await;
        for room in ["home", "den"] {
            send_to_group(&after, room, "not delivered").await;
        }
        send_to_group(&after, "lobby", "welcome back").await;
        expect_chat_message(&mut client, "welcome back").await;
        client.connection.request("abort").await;
    }
}

#[tokio::test]
async fn server_with_another_key_refuses_connection_token() {
    let (before, after) = (Server::start().await, Server::start().await);
    let client = ClassicClient::connect_and_join(before.address, "longPolling", "ann", "lobby").await;
    let response = NegotiatedConnection { server: after.address, ..client.connection.clone() }.request("start").await;
    assert_eq!((response.status, &*response.body), (400, "The ConnectionId is in the incorrect format."));
}

#[tokio::test]
async fn groups_token_is_bound_to_its_connection() {
    let before = Server::start_with(with_known_keys).await;
    let ann = ClassicClient::connect_and_join(before.address, "webSockets", "ann", "lobby").await;
    let after = Server::start_with(with_known_keys).await;
    let mut eve = ClassicClient::connect(after.address, "webSockets", "&user=ann").await;
    eve.groups_token = ann.groups_token;
    eve.reconnect().await;
    expect_no_pending_messages(&mut eve).await;
    send_to_group(&after, "lobby", "not for eve").await;
    expect_no_pending_messages(&mut eve).await;
}

#[tokio::test]
async fn invalid_groups_token_is_ignored() {
    let server = Server::start().await;
    for token in ["zzz", "", "a.b.c"] {
        let mut client = ClassicClient::connect(server.address, "serverSentEvents", "").await;
        client.groups_token = Some(token.into());
        client.reconnect().await;
        expect_no_pending_messages(&mut client).await;
    }
}

#[tokio::test]
async fn reconnect_without_token_receives_no_group_messages() {
    let server = Server::start().await;
    for transport in STREAMING_TRANSPORTS {
        let mut client = ClassicClient::connect_and_join(server.address, transport, "ann", "lobby").await;
        client.groups_token = None;
        client.reconnect().await;
        expect_no_pending_messages(&mut client).await;
        send_to_group(&server, "lobby", "not for ann").await;
        expect_no_pending_messages(&mut client).await;
        client.connection.request("abort").await;
    }
}

#[tokio::test]
async fn rejoining_a_filtered_group_removes_the_filter() {
    let server = Server::start().await;
    for transport in TRANSPORTS {
        let before = ClassicClient::connect_and_join(server.address, transport, "ann", "lobby").await;
        // Some clients reconnect like this, without a cursor and without a groups token.
        let mut client = ClassicClient::open(before.connection.clone(), transport).await;
        for method in ["LeaveRoom", "JoinRoom"] {
            client.invoke(method, json!(["lobby"])).await;
        }
        send_to_group(&server, "lobby", "hello").await;
        expect_chat_message(&mut client, "hello").await;
        client.connection.request("abort").await;
    }
}

#[tokio::test]
async fn lost_initial_groups_token_is_resent() {
    let server = Server::start().await;
    ClassicClient::connect(server.address, "webSockets", "&user=ann").await.invoke("AddToRoom", json!(["home"])).await;
    for transport in TRANSPORTS {
        let mut client = ClassicClient::connect(server.address, transport, "&user=ann").await;
        let (epoch, _) = client.cursor.as_ref().unwrap().split_once('-').unwrap();
        (client.cursor, client.groups_token) = (Some(format!("{epoch}-0")), None);
        client.drop_channel();
        send_to_group(&server, "home", "missed").await;
        client.reconnect().await;
        expect_chat_message(&mut client, "missed").await;
        expect_no_pending_messages(&mut client).await;
        assert!(client.groups_token.is_some(), "{transport}");
        client.connection.request("abort").await;
    }
}

#[tokio::test]
async fn messages_of_unrequested_hubs_are_not_delivered() {
    let server = Server::start().await;
    let mut client = ClassicClient::connect(server.address, "webSockets", "").await;
    let other = server.engine.hub("other").unwrap();
    assert_eq!(with_timeout(other.clients().all().send("hello", ())).await.unwrap(), 0);
    expect_no_pending_messages(&mut client).await;
}
