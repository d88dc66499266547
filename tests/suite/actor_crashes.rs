//! Crashes of each actor that others depend on, while clients exchange messages.

use hubcast::testkit::{self, CrashTarget};
use serde_json::json;

use crate::support::{ClassicClient, CoreClient, Server, TRANSPORTS, wait_until, wait_until_async, with_timeout};

/// The number of messages that are sent around a crash.
const MESSAGES: i64 = 200;

/// Crashes `target` while Ann sends to the lobby, and asserts that Ann and Bob receive messages afterwards. The argument
/// of `target` is the id of Ann's connection.
async fn messages_are_delivered_after_crash_of(target: impl FnOnce(&str) -> CrashTarget) {
    let server = Server::start().await;
    let mut ann = CoreClient::connect_and_join(server.address, "ann", "lobby").await;
    let mut bob = CoreClient::connect_and_join(server.address, "bob", "lobby").await;
    let id = ann.invoke("WhoAmI", json!([])).await;
    let target = target(id.as_str().unwrap());
    for turn in 0..MESSAGES {
        if turn == MESSAGES / 2 {
            with_timeout(server.engine.crash(&target)).await;
        }
        // An invocation that hits the crash may fail, but it always completes.
        ann.invoke_raw("Send", json!(["lobby", "during the crash"])).await;
    }
    // Members of a crashed group rejoin on their own. The group is complete when both receive the same message.
    with_timeout(wait_until_both_receive(&server, &mut ann, &mut bob)).await;
}

async fn wait_until_both_receive(server: &Server, ann: &mut CoreClient, bob: &mut CoreClient) {
    let hub = server.engine.hub("chat").unwrap();
    wait_until_async(async || {
        hub.groups().members("lobby").await.ok().flatten().is_some_and(|room| room.members.len() == 2)
    })
    .await;
    ann.invoke("Send", json!(["lobby", "after the crash"])).await;
    for client in [ann, bob] {
        while client.next_invocation().await.1[1] != "after the crash" {}
    }
}

#[tokio::test]
async fn clients_survive_crash_of_membership_supervisor() {
    messages_are_delivered_after_crash_of(|_| CrashTarget::Membership).await;
}

#[tokio::test]
async fn clients_survive_crash_of_rejoin_supervisor() {
    messages_are_delivered_after_crash_of(|_| CrashTarget::Pipeline).await;
}

#[tokio::test]
async fn clients_survive_crash_of_group_shards() {
    messages_are_delivered_after_crash_of(|_| CrashTarget::Shards).await;
}

#[tokio::test]
async fn clients_survive_crash_of_group() {
    messages_are_delivered_after_crash_of(|_| CrashTarget::Group("chat".into(), "lobby".into())).await;
}

#[tokio::test]
async fn crashed_connection_leaves_its_groups() {
    let server = Server::start().await;
    let mut ann = CoreClient::connect_and_join(server.address, "ann", "lobby").await;
    let mut bob = CoreClient::connect_and_join(server.address, "bob", "lobby").await;
    let id = ann.invoke("WhoAmI", json!([])).await;
    with_timeout(server.engine.crash(&CrashTarget::Connection(id.as_str().unwrap().into()))).await;
    with_timeout(wait_until(|| testkit::connections(&server.engine).count() == 1)).await;
    bob.invoke("Send", json!(["lobby", "still alive"])).await;
    assert_eq!(bob.next_invocation().await.1[1], "still alive");
    let room = server.engine.hub("chat").unwrap().groups().members("lobby").await.unwrap().unwrap();
    assert_eq!(room.members.len(), 1);
}

#[tokio::test]
async fn clients_can_connect_while_supervisors_crash() {
    let server = Server::start().await;
    let mut ann = CoreClient::connect_and_join(server.address, "ann", "lobby").await;
    for target in [CrashTarget::Membership, CrashTarget::Pipeline, CrashTarget::Shards] {
        let (_, mut client) = tokio::join!(
            with_timeout(server.engine.crash(&target)),
            CoreClient::connect_and_join(server.address, "bob", "lobby")
        );
        client.invoke("Send", json!(["lobby", format!("{target:?}")])).await;
        while ann.next_invocation().await.1[1] != format!("{target:?}") {}
    }
}

/// Crashes `target`, and asserts that a classic client in the lobby on each transport receives messages afterwards.
async fn classic_clients_receive_after_crash_of(target: CrashTarget) {
    let server = Server::start().await;
    let mut members = Vec::new();
    for transport in TRANSPORTS {
        members.push(ClassicClient::connect_and_join(server.address, transport, transport, "lobby").await);
    }
    with_timeout(server.engine.crash(&target)).await;
    let hub = server.engine.hub("chat").unwrap();
    let has_all_members =
        async || hub.groups().members("lobby").await.ok().flatten().is_some_and(|room| room.members.len() == 3);
    with_timeout(wait_until_async(has_all_members)).await;
    hub.clients().group("lobby").send("addChatMessage", ("server", "after the crash")).await.unwrap();
    for member in &mut members {
        assert_eq!(member.next_invocation().await.2[1], "after the crash");
        member.reconnect().await;
    }
    hub.clients().group("lobby").send("addChatMessage", ("server", "after reconnecting")).await.unwrap();
    for member in &mut members {
        assert_eq!(
            member.next_invocation().await.2[1],
            "after reconnecting",
            "a reconnected client is still in its groups"
        );
    }
}

#[tokio::test]
async fn classic_clients_survive_crash_of_supervisors() {
    for target in [CrashTarget::Membership, CrashTarget::Pipeline, CrashTarget::Shards] {
        classic_clients_receive_after_crash_of(target).await;
    }
}

#[tokio::test]
async fn classic_clients_survive_crash_of_group() {
    classic_clients_receive_after_crash_of(CrashTarget::Group("chat".into(), "lobby".into())).await;
}

#[tokio::test]
async fn classic_client_recovers_after_connection_crash() {
    let server = Server::start().await;
    for transport in TRANSPORTS {
        let mut ann = ClassicClient::connect_and_join(server.address, transport, "ann", "lobby").await;
        let id = ann.connection.id.as_str().into();
        with_timeout(server.engine.crash(&CrashTarget::Connection(id))).await;
        with_timeout(wait_until(|| testkit::connections(&server.engine).count() == 0)).await;
        ann.reconnect().await;
        ann.invoke("Send", json!(["lobby", "back"])).await;
        assert_eq!(ann.next_invocation().await.2[1], "back", "{transport}: its groups token restores the group");
        ann.connection.request("abort").await;
        with_timeout(wait_until(|| testkit::connections(&server.engine).count() == 0)).await;
    }
}
