//! The built-in hub: the calls that stock clients and watchers receive.

use serde_json::{Value, json};

use crate::support::{ClassicClient, CoreClient, ServiceProcess};

/// A call of a client: its method and arguments.
type Call = (String, Value);

fn chat_message(text: &str) -> Call {
    ("addChatMessage".into(), json!(["bob", text]))
}

fn room_message(room: Option<&str>, text: &str) -> Call {
    ("addRoomMessage".into(), json!([room, "bob", text]))
}

/// Bob's four kinds of messages, of which three reach the members of the lobby, and the last one reaches ann.
async fn send_all_kinds(bob: &mut CoreClient) {
    bob.invoke("Send", json!(["lobby", "to all"])).await;
    bob.invoke("SendToOthers", json!(["lobby", "to others"])).await;
    bob.invoke("SendExcept", json!(["lobby", "to all except nobody", []])).await;
    bob.invoke("SendToUser", json!(["ann", "to ann"])).await;
}

const TEXTS: [&str; 4] = ["to all", "to others", "to all except nobody", "to ann"];

async fn watch(client: &mut CoreClient, room: &str) {
    client.invoke("WatchUser", json!([])).await;
    client.invoke("WatchRoom", json!([room])).await;
}

#[tokio::test]
async fn stock_clients_receive_name_and_message_only() {
    let data = tempfile::tempdir().unwrap();
    let server = ServiceProcess::start(data.path()).await;
    let mut core = CoreClient::connect_and_join(server.address, "ann", "lobby").await;
    let mut classic = ClassicClient::connect_and_join(server.address, "webSockets", "ann", "lobby").await;
    let mut watcher = CoreClient::connect_and_join(server.address, "ann", "lobby").await;
    watch(&mut watcher, "lobby").await;
    let mut bob = CoreClient::connect(server.address, "/chat?user=bob").await;
    send_all_kinds(&mut bob).await;
    for text in TEXTS {
        assert_eq!(core.next_invocation().await, chat_message(text));
        let (hub, method, arguments) = classic.next_invocation().await;
        assert_eq!((&*hub, (method, arguments)), ("chat", chat_message(text)));
        let room = (text != "to ann").then_some("lobby");
        assert_eq!(watcher.next_invocation().await, room_message(room, text));
        assert_eq!(watcher.next_invocation().await, chat_message(text));
    }
}

#[tokio::test]
async fn watchers_learn_rooms_that_their_user_joins() {
    let data = tempfile::tempdir().unwrap();
    let server = ServiceProcess::start(data.path()).await;
    let mut phone = CoreClient::connect(server.address, "/chat?user=ann").await;
    phone.invoke("AddToRoom", json!(["garden"])).await;
    let mut watcher = CoreClient::connect(server.address, "/chat?user=ann").await;
    watcher.invoke("WatchUser", json!([])).await;
    phone.invoke("AddToRoom", json!(["lobby"])).await;
    let mut bob = CoreClient::connect(server.address, "/chat?user=bob").await;
    for room in ["garden", "lobby"] {
        bob.invoke("Send", json!([room, room])).await;
        assert_eq!(watcher.next_invocation().await, room_message(Some(room), room));
        assert_eq!(watcher.next_invocation().await, chat_message(room));
        assert_eq!(phone.next_invocation().await, chat_message(room));
        phone.invoke("RemoveFromRoom", json!([room])).await;
        bob.invoke("Send", json!([room, "after the removal"])).await;
    }
    bob.invoke("SendToUser", json!(["ann", "last"])).await;
    assert_eq!(watcher.next_invocation().await, room_message(None, "last"));
}

#[tokio::test]
async fn client_that_leaves_a_room_watches_it_no_longer() {
    let data = tempfile::tempdir().unwrap();
    let server = ServiceProcess::start(data.path()).await;
    let mut ann = CoreClient::connect_and_join(server.address, "ann", "lobby").await;
    watch(&mut ann, "lobby").await;
    assert_eq!(ann.invoke("LeaveRoom", json!(["lobby"])).await, true);
    let mut bob = CoreClient::connect(server.address, "/chat?user=bob").await;
    bob.invoke("Send", json!(["lobby", "after she has left"])).await;
    bob.invoke("SendToUser", json!(["ann", "last"])).await;
    assert_eq!(ann.next_invocation().await, room_message(None, "last"));
}

#[tokio::test]
async fn groups_of_watchers_are_refused_as_rooms() {
    let data = tempfile::tempdir().unwrap();
    let server = ServiceProcess::start(data.path()).await;
    let mut bob = CoreClient::connect(server.address, "/chat?user=bob").await;
    let room = "watchers of room lobby";
    for (method, arguments) in [
        ("JoinRoom", json!([room])),
        ("EnterRoom", json!([room])),
        ("LeaveRoom", json!([room])),
        ("AddToRoom", json!([room])),
        ("RemoveFromRoom", json!([room])),
        ("Send", json!([room, "hello"])),
        ("SendToOthers", json!([room, "hello"])),
        ("SendExcept", json!([room, "hello", []])),
    ] {
        let error = bob.invoke_error(method, arguments).await;
        assert!(error.ends_with("the name of a room cannot begin with `watchers of `"), "{method}: {error}");
    }
}
