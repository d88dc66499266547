//! Joining groups, leaving them, and who hears what.

use hubcast::{
    Caller, Hub,
    hub::{Added, Removed},
};
use serde_json::json;

use crate::support::{Client, Server, until, within};

fn said(who: &str, what: &str) -> (String, String) {
    (who.to_owned(), what.to_owned())
}

#[tokio::test]
async fn a_message_to_a_group_reaches_its_members_and_nobody_else() {
    let server = Server::start().await;
    let mut ann = Client::join(server.address, "ann", "lobby").await;
    let mut bob = Client::join(server.address, "bob", "lobby").await;
    let mut eve = Client::join(server.address, "eve", "Lobby").await;
    ann.invoke("Send", json!(["lobby", "hello"])).await;
    assert_eq!(ann.heard().await, said("ann", "hello"), "the sender is a member as well");
    assert_eq!(bob.heard().await, said("ann", "hello"));
    eve.heard_nothing().await;
}

#[tokio::test]
async fn a_sender_need_not_be_a_member() {
    let server = Server::start().await;
    let mut ann = Client::join(server.address, "ann", "lobby").await;
    let mut eve = Client::connect(server.address, "/chat?user=eve").await;
    eve.invoke("Send", json!(["lobby", "psst"])).await;
    assert_eq!(ann.heard().await, said("eve", "psst"));
    eve.heard_nothing().await;
}

#[tokio::test]
async fn a_sender_can_leave_itself_and_others_out() {
    let server = Server::start().await;
    let mut ann = Client::join(server.address, "ann", "lobby").await;
    let mut bob = Client::join(server.address, "bob", "lobby").await;
    let mut eve = Client::join(server.address, "eve", "lobby").await;
    let id = eve.invoke("WhoAmI", json!([])).await;
    ann.invoke("SendToOthers", json!(["lobby", "not me"])).await;
    ann.invoke("SendExcept", json!(["lobby", "not eve", [id, "nobody"]])).await;
    assert_eq!(bob.heard().await, said("ann", "not me"));
    assert_eq!(bob.heard().await, said("ann", "not eve"));
    assert_eq!(ann.heard().await, said("ann", "not eve"));
    assert_eq!(eve.heard().await, said("ann", "not me"));
    eve.heard_nothing().await;
}

#[tokio::test]
async fn joining_twice_is_being_a_member_once() {
    let server = Server::start().await;
    let mut ann = Client::join(server.address, "ann", "lobby").await;
    ann.invoke("JoinRoom", json!(["lobby"])).await;
    ann.invoke("Send", json!(["lobby", "once"])).await;
    assert_eq!(ann.heard().await, said("ann", "once"));
    ann.heard_nothing().await;
    ann.invoke("LeaveRoom", json!(["lobby"])).await;
    ann.invoke("LeaveRoom", json!(["lobby"])).await;
    ann.invoke("Send", json!(["lobby", "gone"])).await;
    ann.heard_nothing().await;
}

#[tokio::test]
async fn any_text_is_the_name_of_a_group() {
    let server = Server::start().await;
    let mut ann = Client::connect(server.address, "/chat?user=ann").await;
    for name in ["", " ", "a.b", "chat.lobby", "żółw", "\u{1e}", "\"", &"x".repeat(10_000)] {
        ann.invoke("JoinRoom", json!([name])).await;
        ann.invoke("Send", json!([name, name])).await;
        assert_eq!(ann.heard().await, said("ann", name));
    }
}

#[tokio::test]
async fn each_member_hears_each_sender_in_order_and_all_hear_one_order() {
    let server = Server::start().await;
    let mut members = Vec::new();
    for name in ["ann", "bob", "eve"] {
        members.push(Client::join(server.address, name, "lobby").await);
    }
    for turn in 0..200 {
        for member in &mut members {
            member.tell("Send", json!(["lobby", turn.to_string()])).await;
        }
    }
    let mut heard = Vec::new();
    for member in &mut members {
        let mut one = Vec::new();
        for _ in 0..600 {
            one.push(member.heard().await);
        }
        heard.push(one);
    }
    for name in ["ann", "bob", "eve"] {
        let turns: Vec<_> = heard[0].iter().filter(|(who, _)| who == name).map(|(_, turn)| turn.clone()).collect();
        assert_eq!(turns, (0..200).map(|turn| turn.to_string()).collect::<Vec<_>>(), "{name}");
    }
    assert!(heard[1] == heard[0] && heard[2] == heard[0], "the group has one order");
}

#[tokio::test]
async fn a_message_can_go_to_everybody_in_many_ways() {
    let server = Server::start().await;
    let mut ann = Client::join(server.address, "ann", "one").await;
    let mut bob = Client::join(server.address, "bob", "two").await;
    let mut eve = Client::connect(server.address, "/chat?user=eve").await;
    let id = bob.invoke("WhoAmI", json!([])).await;
    for (how, to) in [
        ("all", json!([])),
        ("others", json!([])),
        ("allExcept", json!([id])),
        ("client", json!([id])),
        ("clients", json!([id, id, "nobody"])),
        ("groups", json!(["one", "two", "none"])),
        ("users", json!(["ann", "ann", "nobody"])),
        ("caller", json!([])),
    ] {
        eve.invoke("SendTo", json!([how, to, how])).await;
    }
    let all = async |client: &mut Client, expected: &[&str]| {
        for how in expected {
            assert_eq!(client.heard().await, said("eve", how));
        }
        client.heard_nothing().await;
    };
    all(&mut ann, &["all", "others", "allExcept", "groups", "users"]).await;
    all(&mut bob, &["all", "others", "client", "clients", "groups"]).await;
    all(&mut eve, &["all", "allExcept", "caller"]).await;
}

#[tokio::test]
async fn a_message_to_nobody_is_no_error() {
    let server = Server::start().await;
    let mut ann = Client::connect(server.address, "/chat").await;
    ann.invoke("Send", json!(["empty", "anybody?"])).await;
    ann.invoke("SendToUser", json!(["nobody", "anybody?"])).await;
    for how in ["client", "clients", "groups", "users"] {
        ann.invoke("SendTo", json!([how, ["nobody"], "anybody?"])).await;
    }
    ann.heard_nothing().await;
}

#[tokio::test]
async fn a_group_exists_while_it_has_members_and_who_breaks_off_is_none() {
    let server = Server::start().await;
    let mut ann = Client::join(server.address, "ann", "lobby").await;
    let bob = Client::connect(server.address, "/chat?user=bob&bye=lobby").await;
    assert_eq!(server.engine.groups().count(), 1);
    bob.drop_socket();
    assert_eq!(ann.called().await.0, "gone", "OnDisconnected has run");
    ann.invoke("LeaveRoom", json!(["lobby"])).await;
    within(until(|| server.engine.groups().count() == 0)).await;
    ann.invoke("JoinRoom", json!(["lobby"])).await;
    ann.invoke("Send", json!(["lobby", "again"])).await;
    assert_eq!(ann.heard().await, said("ann", "again"));
}

#[tokio::test]
async fn the_application_speaks_to_a_group_from_outside() {
    let server = Server::start().await;
    let mut ann = Client::join(server.address, "ann", "lobby").await;
    let hub = server.engine.hub("chat").unwrap();
    hub.clients().group("lobby").send("addChatMessage", ("the house", "closing")).await.unwrap();
    assert_eq!(ann.heard().await, said("the house", "closing"));
}

#[tokio::test]
async fn a_group_of_one_hub_takes_in_no_connection_of_another() {
    let news = Hub::new("news").method("WhoAmI", async |caller: Caller| Ok(caller.id().to_string()));
    let server = Server::start_with(|engine| engine.hub("/news", news)).await;
    let mut reader = Client::connect(server.address, "/news?user=ann").await;
    let id = reader.invoke("WhoAmI", json!([])).await;
    let groups = server.engine.hub("chat").unwrap().groups();
    assert_eq!(groups.add(id.as_str().unwrap(), "lobby").await, Ok(Added::NoSuchConnection));
    assert_eq!(groups.remove(id.as_str().unwrap(), "lobby").await, Ok(Removed::NoSuchConnection));
    assert_eq!(groups.list(), []);
}
