//! Joining and leaving groups, and the recipients of each send target.

use hubcast::testkit;
use hubcast::{
    Args, Caller, GroupError, GroupName, Groups, Hub, HubError,
    hub::{Added, Removed},
};
use serde_json::json;

use crate::support::{CoreClient, Server, wait_until, with_timeout};

fn chat_message(sender: &str, text: &str) -> (String, String) {
    (sender.to_owned(), text.to_owned())
}

#[tokio::test]
async fn group_message_reaches_only_members() {
    let server = Server::start().await;
    let mut ann = CoreClient::connect_and_join(server.address, "ann", "lobby").await;
    let mut bob = CoreClient::connect_and_join(server.address, "bob", "lobby").await;
    let mut eve = CoreClient::connect_and_join(server.address, "eve", "Lobby").await;
    ann.invoke("Send", json!(["lobby", "hello"])).await;
    assert_eq!(ann.next_chat_message().await, chat_message("ann", "hello"), "the sender is a member as well");
    assert_eq!(bob.next_chat_message().await, chat_message("ann", "hello"));
    eve.expect_no_message().await;
}

#[tokio::test]
async fn non_members_can_send_to_a_group() {
    let server = Server::start().await;
    let mut ann = CoreClient::connect_and_join(server.address, "ann", "lobby").await;
    let mut eve = CoreClient::connect(server.address, "/chat?user=eve").await;
    eve.invoke("Send", json!(["lobby", "psst"])).await;
    assert_eq!(ann.next_chat_message().await, chat_message("eve", "psst"));
    eve.expect_no_message().await;
}

#[tokio::test]
async fn sender_can_exclude_itself_and_others() {
    let server = Server::start().await;
    let mut ann = CoreClient::connect_and_join(server.address, "ann", "lobby").await;
    let mut bob = CoreClient::connect_and_join(server.address, "bob", "lobby").await;
    let mut eve = CoreClient::connect_and_join(server.address, "eve", "lobby").await;
    let id = eve.invoke("WhoAmI", json!([])).await;
    ann.invoke("SendToOthers", json!(["lobby", "not me"])).await;
    ann.invoke("SendExcept", json!(["lobby", "not eve", [id, "nobody"]])).await;
    assert_eq!(bob.next_chat_message().await, chat_message("ann", "not me"));
    assert_eq!(bob.next_chat_message().await, chat_message("ann", "not eve"));
    assert_eq!(ann.next_chat_message().await, chat_message("ann", "not eve"));
    assert_eq!(eve.next_chat_message().await, chat_message("ann", "not me"));
    eve.expect_no_message().await;
}

#[tokio::test]
async fn joining_twice_creates_one_membership() {
    let server = Server::start().await;
    let mut ann = CoreClient::connect_and_join(server.address, "ann", "lobby").await;
    ann.invoke("JoinRoom", json!(["lobby"])).await;
    ann.invoke("Send", json!(["lobby", "once"])).await;
    assert_eq!(ann.next_chat_message().await, chat_message("ann", "once"));
    ann.expect_no_message().await;
    ann.invoke("LeaveRoom", json!(["lobby"])).await;
    ann.invoke("LeaveRoom", json!(["lobby"])).await;
    ann.invoke("Send", json!(["lobby", "gone"])).await;
    ann.expect_no_message().await;
}

#[tokio::test]
async fn any_string_of_256_characters_names_a_group() {
    let server = Server::start().await;
    let mut ann = CoreClient::connect(server.address, "/chat?user=ann").await;
    for name in ["", " ", "a.b", "chat.lobby", "żółw", "\u{1e}", "\"", &"x".repeat(256)] {
        ann.invoke("JoinRoom", json!([name])).await;
        ann.invoke("Send", json!([name, name])).await;
        assert_eq!(ann.next_chat_message().await, chat_message("ann", name));
    }
}

#[tokio::test]
async fn all_members_receive_messages_in_one_order() {
    let server = Server::start().await;
    let mut members = Vec::new();
    for name in ["ann", "bob", "eve"] {
        members.push(CoreClient::connect_and_join(server.address, name, "lobby").await);
    }
    for turn in 0..200 {
        for member in &mut members {
            member.invoke_nonblocking("Send", json!(["lobby", turn.to_string()])).await;
        }
    }
    let mut received = Vec::new();
    for member in &mut members {
        let mut messages = Vec::new();
        for _ in 0..600 {
            messages.push(member.next_chat_message().await);
        }
        received.push(messages);
    }
    for name in ["ann", "bob", "eve"] {
        let turns: Vec<_> =
            received[0].iter().filter(|(sender, _)| sender == name).map(|(_, turn)| turn.clone()).collect();
        assert_eq!(turns, (0..200).map(|turn| turn.to_string()).collect::<Vec<_>>(), "{name}");
    }
    assert!(received[1] == received[0] && received[2] == received[0], "the group has one order");
}

#[tokio::test]
async fn every_send_target_reaches_its_clients() {
    let server = Server::start().await;
    let mut ann = CoreClient::connect_and_join(server.address, "ann", "one").await;
    let mut bob = CoreClient::connect_and_join(server.address, "bob", "two").await;
    let mut eve = CoreClient::connect(server.address, "/chat?user=eve").await;
    let id = bob.invoke("WhoAmI", json!([])).await;
    for (target, ids) in [
        ("all", json!([])),
        ("others", json!([])),
        ("allExcept", json!([id])),
        ("client", json!([id])),
        ("clients", json!([id, id, "nobody"])),
        ("groups", json!(["one", "two", "none"])),
        ("users", json!(["ann", "ann", "nobody"])),
        ("caller", json!([])),
    ] {
        eve.invoke("SendTo", json!([target, ids, target])).await;
    }
    let expect_all = async |client: &mut CoreClient, expected: &[&str]| {
        for target in expected {
            assert_eq!(client.next_chat_message().await, chat_message("eve", target));
        }
        client.expect_no_message().await;
    };
    expect_all(&mut ann, &["all", "others", "allExcept", "groups", "users"]).await;
    expect_all(&mut bob, &["all", "others", "client", "clients", "groups"]).await;
    expect_all(&mut eve, &["all", "allExcept", "caller"]).await;
}

#[tokio::test]
async fn sending_to_no_recipient_succeeds() {
    let server = Server::start().await;
    let mut ann = CoreClient::connect(server.address, "/chat").await;
    ann.invoke("Send", json!(["empty", "hello"])).await;
    ann.invoke("SendToUser", json!(["nobody", "hello"])).await;
    for target in ["client", "clients", "groups", "users"] {
        ann.invoke("SendTo", json!([target, ["nobody"], "hello"])).await;
    }
    ann.expect_no_message().await;
}

#[tokio::test]
async fn group_is_removed_with_its_last_member() {
    let server = Server::start().await;
    let mut ann = CoreClient::connect_and_join(server.address, "ann", "lobby").await;
    let bob = CoreClient::connect(server.address, "/chat?user=bob&bye=lobby").await;
    assert_eq!(testkit::groups(&server.engine).count(), 1);
    bob.drop_socket();
    assert_eq!(ann.next_invocation().await.0, "gone", "OnDisconnected has run");
    ann.invoke("LeaveRoom", json!(["lobby"])).await;
    with_timeout(wait_until(|| testkit::groups(&server.engine).count() == 0)).await;
    ann.invoke("JoinRoom", json!(["lobby"])).await;
    ann.invoke("Send", json!(["lobby", "again"])).await;
    assert_eq!(ann.next_chat_message().await, chat_message("ann", "again"));
}

#[tokio::test]
async fn application_sends_to_a_group_outside_a_hub() {
    let server = Server::start().await;
    let mut ann = CoreClient::connect_and_join(server.address, "ann", "lobby").await;
    let hub = server.engine.hub("chat").unwrap();
    hub.clients().group("lobby").send("addChatMessage", ("server", "closing")).await.unwrap();
    assert_eq!(ann.next_chat_message().await, chat_message("server", "closing"));
}

#[tokio::test]
async fn groups_reject_connections_of_other_hubs() {
    let news = Hub::new("news").method("WhoAmI", async |caller: Caller| Ok(caller.id().to_string()));
    let server = Server::start_with(|engine| engine.hub("/news", news)).await;
    let mut reader = CoreClient::connect(server.address, "/news?user=ann").await;
    let id = reader.invoke("WhoAmI", json!([])).await;
    let groups = server.engine.hub("chat").unwrap().groups();
    assert_eq!(groups.add(id.as_str().unwrap(), "lobby").await, Ok(Added::NoSuchConnection));
    assert_eq!(groups.remove(id.as_str().unwrap(), "lobby").await, Ok(Removed::NoSuchConnection));
    assert_eq!(groups.list(), []);
}

/// The results by name. An error is its text.
fn described<T: std::fmt::Debug>(results: Vec<(GroupName, Result<T, GroupError>)>) -> Vec<(GroupName, String)> {
    let text = |result: Result<T, GroupError>| match result {
        Ok(change) => format!("{change:?}"),
        Err(error) => error.to_string(),
    };
    results.into_iter().map(|(name, result)| (name, text(result))).collect()
}

async fn join_all_groups(
    groups: Groups,
    Args((names,)): Args<(Vec<String>,)>,
) -> Result<Vec<(GroupName, String)>, HubError> {
    Ok(described(groups.join_all(names).await?))
}

#[tokio::test]
async fn many_groups_are_joined_and_left_in_one_call() {
    let leave_all = async |groups: Groups| Ok::<_, HubError>(described(groups.leave_all().await));
    let many = Hub::new("many").method("JoinAll", join_all_groups).method("LeaveAll", leave_all);
    let server = Server::start_with(|engine| engine.hub("/many", many)).await;
    let groups = server.engine.hub("many").unwrap().groups();
    let mut ann = CoreClient::connect(server.address, "/many?user=ann").await;
    let long = "x".repeat(257);
    let joined = ann.invoke("JoinAll", json!([["b", "a", "b", long]])).await;
    let too_long = groups.add("nobody", &*long).await.unwrap_err().to_string();
    assert_eq!(joined, json!([["b", "Joined"], ["a", "Joined"], [long, too_long]]));
    assert_eq!(ann.invoke("JoinAll", json!([["c", "a"]])).await, json!([["c", "Joined"], ["a", "AlreadyMember"]]));
    let names: Vec<_> = (0..1_001).map(|number| number.to_string()).collect();
    let error = ann.invoke_error("JoinAll", json!([names])).await;
    assert!(error.ends_with("The call makes 1001 changes; the maximum is 1000."), "{error}");
    assert_eq!(ann.invoke("LeaveAll", json!([])).await, json!([["a", "Left"], ["b", "Left"], ["c", "Left"]]));
    assert_eq!(ann.invoke("LeaveAll", json!([])).await, json!([]));
    // A group stops a moment after its last member has left.
    with_timeout(wait_until(|| groups.list().is_empty())).await;
}
