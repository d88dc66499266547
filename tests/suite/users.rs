//! Users, who may have several connections, and groups that are theirs for good.

use futures_util::future::join_all;
use serde_json::json;

use crate::support::{Client, Server};

fn said(who: &str, what: &str) -> (String, String) {
    (who.to_owned(), what.to_owned())
}

#[tokio::test]
async fn a_message_to_a_user_reaches_each_of_its_connections() {
    let server = Server::start().await;
    let mut rejoin_service = Client::connect(server.address, "/chat?user=ann").await;
    let mut phone = Client::connect(server.address, "/chat?user=ann").await;
    let mut bob = Client::connect(server.address, "/chat?user=bob").await;
    let mut other_case = Client::connect(server.address, "/chat?user=Ann").await;
    bob.invoke("SendToUser", json!(["ann", "hello"])).await;
    assert_eq!(rejoin_service.heard().await, said("bob", "hello"));
    assert_eq!(phone.heard().await, said("bob", "hello"));
    other_case.heard_nothing().await;
    bob.heard_nothing().await;
}

#[tokio::test]
async fn a_durable_group_takes_in_every_connection_of_its_user_now_and_later() {
    let server = Server::start().await;
    let mut rejoin_service = Client::connect(server.address, "/chat?user=ann").await;
    let users = server.engine.hub("chat").unwrap().users();
    users.add_to_group("ann", "lobby").await.unwrap();
    let mut phone = Client::connect(server.address, "/chat?user=ann&greet=1").await;
    assert_eq!(phone.called().await.0, "greeting", "it is connected");
    let mut bob = Client::connect(server.address, "/chat?user=bob").await;
    bob.invoke("Send", json!(["lobby", "hello"])).await;
    assert_eq!(rejoin_service.heard().await, said("bob", "hello"));
    assert_eq!(phone.heard().await, said("bob", "hello"));
    users.remove_from_group("ann", "lobby").await.unwrap();
    bob.invoke("Send", json!(["lobby", "anybody?"])).await;
    rejoin_service.heard_nothing().await;
    phone.heard_nothing().await;
}

#[tokio::test]
async fn a_client_that_is_told_it_is_connected_misses_nothing_of_its_groups() {
    let server = Server::start().await;
    let hub = server.engine.hub("chat").unwrap();
    let mut first = Client::connect(server.address, "/chat?user=ann").await;
    hub.users().add_to_group("ann", "lobby").await.unwrap();
    first.heard_nothing().await;
    for turn in 0..20 {
        let mut ann = Client::connect(server.address, "/chat?user=ann&greet=1").await;
        assert_eq!(ann.called().await.0, "greeting", "it is connected");
        hub.clients().group("lobby").send("addChatMessage", ("bob", turn.to_string())).await.unwrap();
        assert_eq!(ann.heard().await, said("bob", &turn.to_string()));
    }
}

#[tokio::test]
async fn what_is_stored_of_a_user_and_what_its_connections_hear_agree_however_many_change_it_at_once() {
    const CONNECTIONS: usize = 6;
    let server = Server::start().await;
    let mut anns: Vec<_> = join_all((0..CONNECTIONS).map(|_| Client::connect(server.address, "/chat?user=ann"))).await;
    let hub = server.engine.hub("chat").unwrap();
    for turn in 0..100 {
        let room = format!("room {turn}");
        join_all(anns.iter_mut().enumerate().map(|(place, ann)| {
            let method = if place % 2 == 0 { "AddToRoom" } else { "RemoveFromRoom" };
            ann.invoke(method, json!([room]))
        }))
        .await;
        let stored = hub.users().groups_of("ann").await.unwrap().iter().filter(|group| group.as_str() == room).count();
        let members = hub.groups().members(&*room).await.unwrap().map_or(0, |room| room.members.len());
        assert_eq!(members, stored * CONNECTIONS, "{room}");
    }
}
