//! Clients that come back with a rejoin token.

use std::time::{SystemTime, UNIX_EPOCH};

use futures_util::future::join_all;
use hubcast::RejoinSettings;
use serde_json::json;

use crate::support::{Client, Server, until, within};

/// The latest token that the client was given for these many changes.
async fn token(client: &mut Client) -> String {
    let (target, arguments) = client.called().await;
    assert_eq!(target, "hubcast:rejoinToken");
    arguments[0].as_str().unwrap().to_owned()
}

pub(crate) async fn comer(server: &Server, user: &str, claim: &str) -> Client {
    Client::connect(server.address, &format!("/chat?user={user}&rejoin={claim}")).await
}

/// Ann, who has joined the lobby, and a token that says so.
pub(crate) async fn ann_in_the_lobby(server: &Server) -> (Client, String) {
    let mut ann = comer(server, "ann", "1").await;
    token(&mut ann).await;
    ann.tell("JoinRoom", json!(["lobby"])).await;
    let token = token(&mut ann).await;
    (ann, token)
}

/// True if a message to the lobby reaches this client.
pub(crate) async fn is_in_the_lobby(server: &Server, client: &mut Client) -> bool {
    client.invoke("Echo", json!(["calls wait until it is connected"])).await;
    let hub = server.engine.hub("chat").unwrap();
    hub.clients().group("lobby").send("addChatMessage", ("the house", "hello")).await.unwrap();
    client.tell("SendTo", json!(["caller", [], "and that is all"])).await;
    loop {
        // Tokens come as well.
        let (target, arguments) = client.called().await;
        if target == "addChatMessage" {
            return arguments[0] == "the house";
        }
    }
}

#[tokio::test]
async fn a_token_puts_a_new_connection_into_the_groups_of_an_old_one() {
    let server = Server::start().await;
    let (ann, token) = ann_in_the_lobby(&server).await;
    ann.drop_socket();
    let mut back = comer(&server, "ann", &token).await;
    assert!(is_in_the_lobby(&server, &mut back).await);
    assert_eq!(server.engine.metrics().rejoins_accepted.get(), 1);
}

#[tokio::test]
async fn without_a_token_a_new_connection_is_in_no_group() {
    let server = Server::start().await;
    let (ann, _) = ann_in_the_lobby(&server).await;
    ann.drop_socket();
    let mut back = comer(&server, "ann", "1").await;
    assert!(!is_in_the_lobby(&server, &mut back).await);
}

#[tokio::test]
async fn a_client_that_does_not_ask_is_given_no_token() {
    let server = Server::start().await;
    let mut ann = Client::join(server.address, "ann", "lobby").await;
    ann.heard_nothing().await;
}

#[tokio::test]
async fn a_token_is_good_once() {
    let server = Server::start().await;
    let (ann, token) = ann_in_the_lobby(&server).await;
    ann.drop_socket();
    let mut first = comer(&server, "ann", &token).await;
    assert!(is_in_the_lobby(&server, &mut first).await);
    let mut second = comer(&server, "ann", &token).await;
    assert!(!is_in_the_lobby(&server, &mut second).await);
    assert_eq!(server.engine.metrics().rejoins_replayed.get(), 1);
}

#[tokio::test]
async fn of_many_who_bring_a_token_at_once_one_is_put_back() {
    let server = Server::start().await;
    let (ann, token) = ann_in_the_lobby(&server).await;
    ann.drop_socket();
    let mut comers = join_all((0..8).map(|_| comer(&server, "ann", &token))).await;
    let mut put_back = 0;
    for comer in &mut comers {
        put_back += usize::from(is_in_the_lobby(&server, comer).await);
    }
    assert_eq!(put_back, 1);
    assert_eq!(server.engine.metrics().rejoins_replayed.get(), 7);
}

/// The client breaks off, and the server has noticed.
async fn gone(server: &Server, client: Client) {
    client.drop_socket();
    within(until(|| server.engine.connections().count() == 0)).await;
}

#[tokio::test]
async fn a_token_is_good_again_for_whom_the_next_has_not_reached() {
    let server = Server::start().await;
    let (ann, first) = ann_in_the_lobby(&server).await;
    gone(&server, ann).await;
    for _ in 0..3 {
        let mut back = comer(&server, "ann", &first).await;
        assert!(is_in_the_lobby(&server, &mut back).await);
        gone(&server, back).await;
    }
    let mut back = comer(&server, "ann", &first).await;
    let second = token(&mut back).await;
    gone(&server, back).await;
    let mut back = comer(&server, "ann", &second).await;
    assert!(is_in_the_lobby(&server, &mut back).await);
    gone(&server, back).await;
    let mut late = comer(&server, "ann", &first).await;
    assert!(!is_in_the_lobby(&server, &mut late).await, "the next one has been used");
    assert_eq!(server.engine.metrics().rejoins_replayed.get(), 1);
}

#[tokio::test]
async fn who_was_removed_for_good_is_not_brought_back_by_an_older_token() {
    let server = Server::start().await;
    let mut phone = comer(&server, "ann", "1").await;
    token(&mut phone).await;
    phone.tell("AddToRoom", json!(["lobby"])).await;
    let claim = token(&mut phone).await;
    gone(&server, phone).await;
    let mut rejoin_service = comer(&server, "ann", &claim).await;
    assert!(is_in_the_lobby(&server, &mut rejoin_service).await, "the store says so");
    gone(&server, rejoin_service).await;
    server.engine.hub("chat").unwrap().users().remove_from_group("ann", "lobby").await.unwrap();
    let mut back = comer(&server, "ann", &claim).await;
    assert!(!is_in_the_lobby(&server, &mut back).await);
    assert_eq!(server.engine.metrics().rejoins_accepted.get(), 2, "there was nothing wrong with the token");
}

#[tokio::test]
async fn a_token_is_good_for_its_user_alone() {
    let server = Server::start().await;
    let (_ann, token) = ann_in_the_lobby(&server).await;
    let mut eve = comer(&server, "eve", &token).await;
    assert!(!is_in_the_lobby(&server, &mut eve).await);
    assert_eq!(server.engine.metrics().rejoins_wrong_user.get(), 1);
}

#[tokio::test]
async fn a_token_that_was_changed_is_refused_and_counted_and_its_bearer_served() {
    let server = Server::start().await;
    let (_ann, token) = ann_in_the_lobby(&server).await;
    let middle = token.len() / 2;
    let other = if &token[middle..=middle] == "A" { "B" } else { "A" };
    let forged = format!("{}{other}{}", &token[..middle], &token[middle + 1..]);
    for (claim, count) in [(&*forged, 1), ("nonsense", 2), (&token[..middle], 3)] {
        let mut eve = comer(&server, "ann", claim).await;
        assert!(!is_in_the_lobby(&server, &mut eve).await, "{claim}");
        let metrics = server.engine.metrics();
        assert_eq!(metrics.rejoins_forged.get() + metrics.rejoins_malformed.get(), count, "{claim}");
    }
}

#[tokio::test]
async fn a_token_that_has_run_out_is_refused() {
    let lifetime = std::time::Duration::from_nanos(1);
    let server =
        Server::start_newer(move |engine| engine.rejoin(RejoinSettings { lifetime, ..Default::default() })).await;
    let (_ann, token) = ann_in_the_lobby(&server).await;
    let mut back = comer(&server, "ann", &token).await;
    assert!(!is_in_the_lobby(&server, &mut back).await);
    assert_eq!(server.engine.metrics().rejoins_expired.get(), 1);
}

#[tokio::test]
async fn a_user_can_be_signed_out_of_all_tokens() {
    let server = Server::start().await;
    let (_ann, token) = ann_in_the_lobby(&server).await;
    // A revocation is of what was issued before its millisecond.
    let millisecond = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
    let issued = millisecond();
    within(until(|| millisecond() > issued)).await;
    server.engine.hub("chat").unwrap().users().revoke_tokens("ann").await.unwrap();
    let mut back = comer(&server, "ann", &token).await;
    assert!(!is_in_the_lobby(&server, &mut back).await);
    assert_eq!(server.engine.metrics().rejoins_revoked.get(), 1);
}
