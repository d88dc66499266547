//! Each actor that others depend on is killed while clients talk.

use hubcast::CrashTarget;
use serde_json::json;

use crate::support::{Classic, Client, Server, TRANSPORTS, until, until_async, within};

/// How many messages go through a room while somebody dies.
const TRAFFIC: i64 = 200;

/// Ann and Bob in the lobby, and a victim that dies in the midst of their talk; then both still hear each other.
async fn talk_goes_on_without(victim: impl FnOnce(&str) -> CrashTarget) {
    let server = Server::start().await;
    let mut ann = Client::join(server.address, "ann", "lobby").await;
    let mut bob = Client::join(server.address, "bob", "lobby").await;
    let id = ann.invoke("WhoAmI", json!([])).await;
    let victim = victim(id.as_str().unwrap());
    for turn in 0..TRAFFIC {
        if turn == TRAFFIC / 2 {
            within(server.engine.crash(&victim)).await;
        }
        // A call that meets the death of an actor is answered with an error at worst, and never not at all.
        ann.call("Send", json!(["lobby", "under way"])).await;
    }
    // Whoever lost a group joins afresh by itself; the room is whole when both hear the same.
    within(until_both_hear(&server, &mut ann, &mut bob)).await;
}

async fn until_both_hear(server: &Server, ann: &mut Client, bob: &mut Client) {
    let hub = server.engine.hub("chat").unwrap();
    until_async(async || {
        hub.groups().members("lobby").await.ok().flatten().is_some_and(|room| room.members.len() == 2)
    })
    .await;
    ann.invoke("Send", json!(["lobby", "after all"])).await;
    for client in [ann, bob] {
        while client.called().await.1[1] != "after all" {}
    }
}

#[tokio::test]
async fn talk_goes_on_when_the_supervisor_of_membership_dies() {
    talk_goes_on_without(|_| CrashTarget::Membership).await;
}

#[tokio::test]
async fn talk_goes_on_when_the_supervisor_of_rejoining_dies() {
    talk_goes_on_without(|_| CrashTarget::Pipeline).await;
}

#[tokio::test]
async fn talk_goes_on_when_the_shards_of_the_groups_die() {
    talk_goes_on_without(|_| CrashTarget::Shards).await;
}

#[tokio::test]
async fn talk_goes_on_when_the_group_dies() {
    talk_goes_on_without(|_| CrashTarget::Group("chat".into(), "lobby".into())).await;
}

#[tokio::test]
async fn a_connection_that_dies_leaves_its_groups_and_harms_nobody() {
    let server = Server::start().await;
    let mut ann = Client::join(server.address, "ann", "lobby").await;
    let mut bob = Client::join(server.address, "bob", "lobby").await;
    let id = ann.invoke("WhoAmI", json!([])).await;
    within(server.engine.crash(&CrashTarget::Connection(id.as_str().unwrap().into()))).await;
    within(until(|| server.engine.connections().count() == 1)).await;
    bob.invoke("Send", json!(["lobby", "still here"])).await;
    assert_eq!(bob.called().await.1[1], "still here");
    let room = server.engine.hub("chat").unwrap().groups().members("lobby").await.unwrap().unwrap();
    assert_eq!(room.members.len(), 1);
}

#[tokio::test]
async fn who_comes_while_supervisors_die_is_let_in() {
    let server = Server::start().await;
    let mut ann = Client::join(server.address, "ann", "lobby").await;
    for victim in [CrashTarget::Membership, CrashTarget::Pipeline, CrashTarget::Shards] {
        let (_, mut comer) =
            tokio::join!(within(server.engine.crash(&victim)), Client::join(server.address, "bob", "lobby"));
        comer.invoke("Send", json!(["lobby", format!("{victim:?}")])).await;
        while ann.called().await.1[1] != format!("{victim:?}") {}
    }
}

/// A classic client in the lobby, on each transport, and a victim that dies while the house talks to them.
async fn classic_clients_hear_on_without(victim: CrashTarget) {
    let server = Server::start().await;
    let mut members = Vec::new();
    for transport in TRANSPORTS {
        members.push(Classic::join(server.address, transport, transport, "lobby").await);
    }
    within(server.engine.crash(&victim)).await;
    let hub = server.engine.hub("chat").unwrap();
    let full = async || hub.groups().members("lobby").await.ok().flatten().is_some_and(|room| room.members.len() == 3);
    within(until_async(full)).await;
    hub.clients().group("lobby").send("addChatMessage", ("the house", "after all")).await.unwrap();
    for member in &mut members {
        assert_eq!(member.called().await.2[1], "after all");
        member.return_().await;
    }
    hub.clients().group("lobby").send("addChatMessage", ("the house", "and again")).await.unwrap();
    for member in &mut members {
        assert_eq!(member.called().await.2[1], "and again", "whoever returns is in its groups still");
    }
}

#[tokio::test]
async fn classic_clients_hear_on_when_supervisors_die() {
    for victim in [CrashTarget::Membership, CrashTarget::Pipeline, CrashTarget::Shards] {
        classic_clients_hear_on_without(victim).await;
    }
}

#[tokio::test]
async fn classic_clients_hear_on_when_their_group_dies() {
    classic_clients_hear_on_without(CrashTarget::Group("chat".into(), "lobby".into())).await;
}

#[tokio::test]
async fn a_classic_connection_that_dies_is_begun_again_by_its_client() {
    let server = Server::start().await;
    for transport in TRANSPORTS {
        let mut ann = Classic::join(server.address, transport, "ann", "lobby").await;
        let id = ann.handle.id.as_str().into();
        within(server.engine.crash(&CrashTarget::Connection(id))).await;
        within(until(|| server.engine.connections().count() == 0)).await;
        ann.return_().await;
        ann.invoke("Send", json!(["lobby", "back"])).await;
        assert_eq!(ann.called().await.2[1], "back", "{transport}: its token has put it back");
        ann.handle.ask("abort").await;
        within(until(|| server.engine.connections().count() == 0)).await;
    }
}
