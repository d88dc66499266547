//! Groups of classic clients, and the token that brings them back.

use hubcast::{EngineBuilder, KeyRing};
use serde_json::json;

use crate::support::{Classic, ClassicConnection, STREAMS, Server, TRANSPORTS, within};

fn with_known_keys(engine: EngineBuilder) -> EngineBuilder {
    engine.keys(KeyRing::new(["a secret that outlives the process"]).unwrap())
}

pub(crate) async fn say(server: &Server, room: &str, text: &str) {
    let hub = server.engine.hub("chat").unwrap();
    within(hub.clients().group(room).send("addChatMessage", ("the house", text))).await.unwrap();
}

async fn hears(client: &mut Classic, text: &str) {
    assert_eq!(client.heard().await, ("the house".to_owned(), text.to_owned()));
}

/// Proves that the client has heard everything that was for it before now.
pub(crate) async fn has_heard_all(client: &mut Classic) {
    client.invoke("SendTo", json!(["caller", [], "that is all"])).await;
    assert_eq!(client.heard().await.1, "that is all");
}

#[tokio::test]
async fn a_member_hears_its_room_until_it_leaves() {
    let server = Server::start().await;
    for transport in TRANSPORTS {
        let mut client = Classic::join(server.address, transport, "ann", "lobby").await;
        say(&server, "lobby", "hello").await;
        hears(&mut client, "hello").await;
        let token = client.groups.clone();
        client.invoke("LeaveRoom", json!(["lobby"])).await;
        say(&server, "lobby", "nobody hears this").await;
        has_heard_all(&mut client).await;
        assert_ne!(client.groups, token, "being in no group is news");
        client.handle.ask("abort").await;
    }
}

#[tokio::test]
async fn a_client_that_returns_is_in_its_groups_and_is_not_told_so_again() {
    let server = Server::start().await;
    for transport in TRANSPORTS {
        let mut client = Classic::join(server.address, transport, "ann", "lobby").await;
        let token = client.groups.clone();
        client.drop_channel();
        say(&server, "lobby", "missed").await;
        client.return_().await;
        hears(&mut client, "missed").await;
        has_heard_all(&mut client).await;
        assert_eq!(client.groups, token, "{transport}");
        client.handle.ask("abort").await;
    }
}

#[tokio::test]
async fn a_client_is_back_in_its_groups_after_a_restart_with_the_same_key() {
    for transport in TRANSPORTS {
        let before = Server::start_with(with_known_keys).await;
        let mut client = Classic::join(before.address, transport, "ann", "lobby").await;
        client.drop_channel();
        drop(before);
        let (after, mut diary) = Server::start_writing(with_known_keys).await;
        client.handle.server = after.address;
        client.return_().await;
        assert_eq!(diary.next().await, "reconnected with a gap", "{transport}");
        say(&after, "lobby", "welcome back").await;
        hears(&mut client, "welcome back").await;
        let stopped = client.handle.ask("abort").await;
        assert_eq!((stopped.status, diary.next().await), (200, "stopped".into()));
    }
}

#[tokio::test]
async fn a_token_does_not_bring_back_what_its_user_is_not_stored_in_any_more() {
    for transport in TRANSPORTS {
        let before = Server::start_with(with_known_keys).await;
        let mut client = Classic::join(before.address, transport, "ann", "lobby").await;
        let token = client.groups.clone();
        // It has joined one of the two before.
        client.invoke("JoinRoom", json!(["den"])).await;
        for room in ["home", "den"] {
            client.invoke("AddToRoom", json!([room])).await;
        }
        has_heard_all(&mut client).await;
        assert_ne!(client.groups, token, "being in a group for good is news");
        client.drop_channel();
        drop(before);
        let after = Server::start_with(with_known_keys).await;
        client.handle.server = after.address;
        client.return_().await;
        for room in ["home", "den"] {
            say(&after, room, "nobody hears this").await;
        }
        say(&after, "lobby", "welcome back").await;
        hears(&mut client, "welcome back").await;
        client.handle.ask("abort").await;
    }
}

#[tokio::test]
async fn a_server_with_another_key_knows_nobody() {
    let (before, after) = (Server::start().await, Server::start().await);
    let client = Classic::join(before.address, "longPolling", "ann", "lobby").await;
    let answer = ClassicConnection { server: after.address, ..client.handle.clone() }.ask("start").await;
    assert_eq!((answer.status, &*answer.body), (400, "The ConnectionId is in the incorrect format."));
}

#[tokio::test]
async fn a_groups_token_opens_nothing_for_another_connection() {
    let before = Server::start_with(with_known_keys).await;
    let ann = Classic::join(before.address, "webSockets", "ann", "lobby").await;
    let after = Server::start_with(with_known_keys).await;
    let mut eve = Classic::connect(after.address, "webSockets", "&user=ann").await;
    eve.groups = ann.groups;
    eve.return_().await;
    has_heard_all(&mut eve).await;
    say(&after, "lobby", "not for eve").await;
    has_heard_all(&mut eve).await;
}

#[tokio::test]
async fn a_groups_token_that_is_none_is_passed_over() {
    let server = Server::start().await;
    for token in ["zzz", "", "a.b.c"] {
        let mut client = Classic::connect(server.address, "serverSentEvents", "").await;
        client.groups = Some(token.into());
        client.return_().await;
        has_heard_all(&mut client).await;
    }
}

#[tokio::test]
async fn a_client_that_returns_without_its_token_hears_no_group() {
    let server = Server::start().await;
    for transport in STREAMS {
        let mut client = Classic::join(server.address, transport, "ann", "lobby").await;
        client.groups = None;
        client.return_().await;
        has_heard_all(&mut client).await;
        say(&server, "lobby", "not for ann").await;
        has_heard_all(&mut client).await;
        client.handle.ask("abort").await;
    }
}

#[tokio::test]
async fn a_group_that_was_left_while_the_channel_was_deaf_to_it_is_heard_after_the_next_join() {
    let server = Server::start().await;
    for transport in TRANSPORTS {
        let before = Classic::join(server.address, transport, "ann", "lobby").await;
        // As some clients come back: it says neither where it is nor in which groups.
        let mut client = Classic::open(before.handle.clone(), transport).await;
        for method in ["LeaveRoom", "JoinRoom"] {
            client.invoke(method, json!(["lobby"])).await;
        }
        say(&server, "lobby", "hello").await;
        hears(&mut client, "hello").await;
        client.handle.ask("abort").await;
    }
}

#[tokio::test]
async fn a_client_that_lost_what_it_was_first_told_of_its_durable_rooms_is_told_again_and_misses_nothing() {
    let server = Server::start().await;
    Classic::connect(server.address, "webSockets", "&user=ann").await.invoke("AddToRoom", json!(["home"])).await;
    for transport in TRANSPORTS {
        let mut client = Classic::connect(server.address, transport, "&user=ann").await;
        let (epoch, _) = client.cursor.as_ref().unwrap().split_once('-').unwrap();
        (client.cursor, client.groups) = (Some(format!("{epoch}-0")), None);
        client.drop_channel();
        say(&server, "home", "missed").await;
        client.return_().await;
        hears(&mut client, "missed").await;
        has_heard_all(&mut client).await;
        assert!(client.groups.is_some(), "{transport}");
        client.handle.ask("abort").await;
    }
}

#[tokio::test]
async fn a_hub_that_a_client_does_not_list_is_not_heard() {
    let server = Server::start().await;
    let mut client = Classic::connect(server.address, "webSockets", "").await;
    let other = server.engine.hub("other").unwrap();
    assert_eq!(within(other.clients().all().send("hello", ())).await.unwrap(), 0);
    has_heard_all(&mut client).await;
}
