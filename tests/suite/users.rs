//! Users with several connections, and their durable groups.

use futures_util::future::join_all;
use serde_json::json;

use crate::support::{CoreClient, Server};

fn chat_message(sender: &str, text: &str) -> (String, String) {
    (sender.to_owned(), text.to_owned())
}

#[tokio::test]
async fn user_message_reaches_every_connection_of_the_user() {
    let server = Server::start().await;
    let mut desktop = CoreClient::connect(server.address, "/chat?user=ann").await;
    let mut phone = CoreClient::connect(server.address, "/chat?user=ann").await;
    let mut bob = CoreClient::connect(server.address, "/chat?user=bob").await;
    let mut other_case = CoreClient::connect(server.address, "/chat?user=Ann").await;
    bob.invoke("SendToUser", json!(["ann", "hello"])).await;
    assert_eq!(desktop.next_chat_message().await, chat_message("bob", "hello"));
    assert_eq!(phone.next_chat_message().await, chat_message("bob", "hello"));
    other_case.expect_no_message().await;
    bob.expect_no_message().await;
}

#[tokio::test]
async fn durable_group_includes_present_and_future_connections() {
    let server = Server::start().await;
    let mut desktop = CoreClient::connect(server.address, "/chat?user=ann").await;
    let users = server.engine.hub("chat").unwrap().users();
    users.add_to_group("ann", "lobby").await.unwrap();
    let mut phone = CoreClient::connect(server.address, "/chat?user=ann&greet=1").await;
    assert_eq!(phone.next_invocation().await.0, "greeting", "OnConnected has run");
    let mut bob = CoreClient::connect(server.address, "/chat?user=bob").await;
    bob.invoke("Send", json!(["lobby", "hello"])).await;
    assert_eq!(desktop.next_chat_message().await, chat_message("bob", "hello"));
    assert_eq!(phone.next_chat_message().await, chat_message("bob", "hello"));
    users.remove_from_group("ann", "lobby").await.unwrap();
    bob.invoke("Send", json!(["lobby", "hello again"])).await;
    desktop.expect_no_message().await;
    phone.expect_no_message().await;
}

#[tokio::test]
async fn connected_client_is_already_in_its_groups() {
    let server = Server::start().await;
    let hub = server.engine.hub("chat").unwrap();
    let mut first = CoreClient::connect(server.address, "/chat?user=ann").await;
    hub.users().add_to_group("ann", "lobby").await.unwrap();
    first.expect_no_message().await;
    for turn in 0..20 {
        let mut ann = CoreClient::connect(server.address, "/chat?user=ann&greet=1").await;
        assert_eq!(ann.next_invocation().await.0, "greeting", "OnConnected has run");
        hub.clients().group("lobby").send("addChatMessage", ("bob", turn.to_string())).await.unwrap();
        assert_eq!(ann.next_chat_message().await, chat_message("bob", &turn.to_string()));
    }
}

#[tokio::test]
async fn stored_and_live_memberships_agree_under_concurrent_changes() {
    const CONNECTIONS: usize = 6;
    let server = Server::start().await;
    let mut anns: Vec<_> =
        join_all((0..CONNECTIONS).map(|_| CoreClient::connect(server.address, "/chat?user=ann"))).await;
    let hub = server.engine.hub("chat").unwrap();
    for turn in 0..100 {
        let room = format!("room {turn}");
        join_all(anns.iter_mut().enumerate().map(|(index, ann)| {
            let method = if index % 2 == 0 { "AddToRoom" } else { "RemoveFromRoom" };
            ann.invoke(method, json!([room]))
        }))
        .await;
        let stored = hub.users().groups_of("ann").await.unwrap().iter().filter(|group| group.as_str() == room).count();
        let members = hub.groups().members(&*room).await.unwrap().map_or(0, |room| room.members.len());
        assert_eq!(members, stored * CONNECTIONS, "{room}");
    }
}
