//! Clients of both SignalR protocols, and an actor, in one group.

use actix::prelude::*;
use hubcast::Delivery;
use serde_json::json;
use tokio::sync::mpsc;

use crate::support::{
    ClassicClient, CoreClient, STREAMING_TRANSPORTS, Server, TRANSPORTS, wait_until_async, with_timeout,
};

/// An actor that is a member of a group.
struct RecordingActor(mpsc::UnboundedSender<String>);

impl Actor for RecordingActor {
    type Context = Context<Self>;
}

impl Handler<Delivery> for RecordingActor {
    type Result = ();

    fn handle(&mut self, delivery: Delivery, _: &mut Self::Context) {
        // The test may have ended and dropped the receiver.
        let _ = self.0.send(delivery.message.call().arguments.to_string());
    }
}

fn chat_message(sender: &str, text: &str) -> (String, String) {
    (sender.into(), text.into())
}

#[actix_web::test]
async fn group_messages_reach_members_of_every_kind() {
    let server = Server::start().await;
    let (write, mut written) = mpsc::unbounded_channel();
    let groups = server.engine.hub("chat").unwrap().groups();
    let _membership = groups.add_actor("lobby", RecordingActor(write).start().recipient()).await.unwrap();
    let mut core = CoreClient::connect_and_join(server.address, "core", "lobby").await;
    let mut classic = Vec::new();
    for transport in TRANSPORTS {
        classic.push(ClassicClient::connect_and_join(server.address, transport, transport, "lobby").await);
    }
    core.invoke("Send", json!(["lobby", "hello"])).await;
    for client in &mut classic {
        client.invoke("Send", json!(["lobby", "hi"])).await;
    }
    let expected: Vec<_> = [chat_message("core", "hello")]
        .into_iter()
        .chain(TRANSPORTS.map(|transport| chat_message(transport, "hi")))
        .collect();
    for (sender, text) in &expected {
        assert_eq!(core.next_chat_message().await, chat_message(sender, text));
        assert_eq!(with_timeout(written.recv()).await, Some(json!([sender, text]).to_string()));
        for client in &mut classic {
            assert_eq!(client.next_chat_message().await, chat_message(sender, text));
        }
    }
}

#[tokio::test]
async fn direct_messages_reach_clients_of_both_protocols() {
    let server = Server::start().await;
    let mut core = CoreClient::connect(server.address, "/chat?user=ann").await;
    let mut classic = ClassicClient::connect(server.address, "webSockets", "&user=bob").await;
    let id = core.invoke("WhoAmI", json!([])).await;
    classic.invoke("SendTo", json!(["client", [id], "from classic"])).await;
    assert_eq!(core.next_chat_message().await, chat_message("bob", "from classic"));
    core.invoke("SendTo", json!(["client", [classic.connection.id], "from core"])).await;
    assert_eq!(classic.next_chat_message().await, chat_message("ann", "from core"));
    core.invoke("SendToUser", json!(["bob", "to the user"])).await;
    assert_eq!(classic.next_chat_message().await, chat_message("ann", "to the user"));
    classic.invoke("SendTo", json!(["allExcept", [classic.connection.id], "to all except me"])).await;
    assert_eq!(core.next_chat_message().await, chat_message("bob", "to all except me"));
    core.invoke("SendTo", json!(["others", [], "to all except core"])).await;
    assert_eq!(classic.next_chat_message().await, chat_message("ann", "to all except core"));
    core.expect_no_message().await;
}

/// The number of messages that each sender sends.
const MESSAGES: usize = 60;

async fn send_as_core_client(server: &Server) {
    let mut core = CoreClient::connect(server.address, "/chat?user=core").await;
    for number in 0..MESSAGES {
        core.invoke("Send", json!(["lobby", number.to_string()])).await;
    }
}

async fn send_as_classic_client(server: &Server) {
    let mut classic = ClassicClient::connect(server.address, "webSockets", "&user=classic").await;
    for number in 0..MESSAGES {
        classic.invoke("Send", json!(["lobby", number.to_string()])).await;
    }
}

/// Receives every message, and reconnects the channel after every seventh.
async fn receive_with_reconnects(client: &mut ClassicClient) -> Vec<(String, String)> {
    let mut received = Vec::new();
    while received.len() < 2 * MESSAGES {
        received.push(client.next_chat_message().await);
        if received.len() % 7 == 0 {
            client.drop_channel();
            client.reconnect().await;
        }
    }
    received
}

async fn receive(client: &mut CoreClient) -> Vec<(String, String)> {
    let mut received = Vec::new();
    while received.len() < 2 * MESSAGES {
        received.push(client.next_chat_message().await);
    }
    received
}

#[tokio::test]
async fn order_is_kept_across_channel_reconnects() {
    for transport in STREAMING_TRANSPORTS {
        let server = Server::start().await;
        let mut reconnecting = ClassicClient::connect_and_join(server.address, transport, "ann", "lobby").await;
        let mut steady = CoreClient::connect_and_join(server.address, "eve", "lobby").await;
        let (by_classic, by_core, (), ()) = tokio::join!(
            receive_with_reconnects(&mut reconnecting),
            receive(&mut steady),
            send_as_core_client(&server),
            send_as_classic_client(&server)
        );
        assert_eq!(by_classic, by_core, "{transport}");
        for sender in ["core", "classic"] {
            let numbers = by_core.iter().filter(|(name, _)| name == sender).map(|(_, number)| number.parse().unwrap());
            assert_eq!(numbers.collect::<Vec<usize>>(), (0..MESSAGES).collect::<Vec<_>>(), "{sender}");
        }
        steady.expect_no_message().await;
        reconnecting.invoke("SendTo", json!(["caller", [], "end"])).await;
        assert_eq!(reconnecting.next_chat_message().await, chat_message("ann", "end"));
    }
}

#[tokio::test]
async fn order_is_kept_across_polls() {
    let server = Server::start().await;
    let mut polling = ClassicClient::connect_and_join(server.address, "longPolling", "ann", "lobby").await;
    let mut steady = CoreClient::connect_and_join(server.address, "eve", "lobby").await;
    let (by_classic, by_core, (), ()) = tokio::join!(
        receive_with_reconnects(&mut polling),
        receive(&mut steady),
        send_as_core_client(&server),
        send_as_classic_client(&server)
    );
    assert_eq!(by_classic, by_core);
}

#[tokio::test]
async fn both_protocols_share_one_member_list() {
    let server = Server::start().await;
    let _newer = CoreClient::connect_and_join(server.address, "core", "lobby").await;
    let classic = ClassicClient::connect_and_join(server.address, "webSockets", "classic", "lobby").await;
    let groups = server.engine.hub("chat").unwrap().groups();
    let members = |room: Option<hubcast::GroupSnapshot>| room.map_or(0, |room| room.members.len());
    assert_eq!(members(groups.members("lobby").await.unwrap()), 2);
    assert_eq!(classic.connection.request("abort").await.status, 200);
    with_timeout(wait_until_async(async || members(groups.members("lobby").await.unwrap()) == 1)).await;
}
