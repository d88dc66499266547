//! Clients of both generations, and an actor, in one group.

use actix::prelude::*;
use hubcast::group::Delivery;
use serde_json::json;
use tokio::sync::mpsc;

use crate::support::{Classic, Client, STREAMS, Server, TRANSPORTS, until_async, within};

/// A member of a group that is no client.
struct Scribe(mpsc::UnboundedSender<String>);

impl Actor for Scribe {
    type Context = Context<Self>;
}

impl Handler<Delivery> for Scribe {
    type Result = ();

    fn handle(&mut self, delivery: Delivery, _: &mut Self::Context) {
        // The test may be over.
        let _ = self.0.send(delivery.message.call().arguments.to_string());
    }
}

fn said(who: &str, what: &str) -> (String, String) {
    (who.into(), what.into())
}

#[actix_web::test]
async fn all_members_of_a_group_hear_each_other() {
    let server = Server::start().await;
    let (write, mut written) = mpsc::unbounded_channel();
    let groups = server.engine.hub("chat").unwrap().groups();
    let _membership = groups.add_actor("lobby", Scribe(write).start().recipient()).await.unwrap();
    let mut newer = Client::join(server.address, "newer", "lobby").await;
    let mut older = Vec::new();
    for transport in TRANSPORTS {
        older.push(Classic::join(server.address, transport, transport, "lobby").await);
    }
    newer.invoke("Send", json!(["lobby", "hello"])).await;
    for client in &mut older {
        client.invoke("Send", json!(["lobby", "hi"])).await;
    }
    let words: Vec<_> = [said("newer", "hello")].into_iter().chain(TRANSPORTS.map(|who| said(who, "hi"))).collect();
    for (who, what) in &words {
        assert_eq!(newer.heard().await, said(who, what));
        assert_eq!(within(written.recv()).await, Some(json!([who, what]).to_string()));
        for client in &mut older {
            assert_eq!(client.heard().await, said(who, what));
        }
    }
}

#[tokio::test]
async fn what_is_sent_to_a_client_reaches_it_whichever_generation_it_is_of() {
    let server = Server::start().await;
    let mut newer = Client::connect(server.address, "/chat?user=ann").await;
    let mut older = Classic::connect(server.address, "webSockets", "&user=bob").await;
    let id = newer.invoke("WhoAmI", json!([])).await;
    older.invoke("SendTo", json!(["client", [id], "from the older"])).await;
    assert_eq!(newer.heard().await, said("bob", "from the older"));
    newer.invoke("SendTo", json!(["client", [older.handle.id], "from the newer"])).await;
    assert_eq!(older.heard().await, said("ann", "from the newer"));
    newer.invoke("SendToUser", json!(["bob", "to the user"])).await;
    assert_eq!(older.heard().await, said("ann", "to the user"));
    older.invoke("SendTo", json!(["allExcept", [older.handle.id], "to all but me"])).await;
    assert_eq!(newer.heard().await, said("bob", "to all but me"));
    newer.invoke("SendTo", json!(["others", [], "to all but the newer"])).await;
    assert_eq!(older.heard().await, said("ann", "to all but the newer"));
    newer.heard_nothing().await;
}

/// How many messages each speaker sends.
const WORDS: usize = 60;

async fn speak_newer(server: &Server) {
    let mut newer = Client::connect(server.address, "/chat?user=newer").await;
    for number in 0..WORDS {
        newer.invoke("Send", json!(["lobby", number.to_string()])).await;
    }
}

async fn speak_older(server: &Server) {
    let mut older = Classic::connect(server.address, "webSockets", "&user=older").await;
    for number in 0..WORDS {
        older.invoke("Send", json!(["lobby", number.to_string()])).await;
    }
}

/// Hears everything, over a channel that breaks again and again.
async fn listen_with_breaks(client: &mut Classic) -> Vec<(String, String)> {
    let mut heard = Vec::new();
    while heard.len() < 2 * WORDS {
        heard.push(client.heard().await);
        if heard.len() % 7 == 0 {
            client.drop_channel();
            client.return_().await;
        }
    }
    heard
}

async fn listen(client: &mut Client) -> Vec<(String, String)> {
    let mut heard = Vec::new();
    while heard.len() < 2 * WORDS {
        heard.push(client.heard().await);
    }
    heard
}

#[tokio::test]
async fn all_hear_everything_once_and_in_one_order_over_channels_that_break() {
    for transport in STREAMS {
        let server = Server::start().await;
        let mut broken = Classic::join(server.address, transport, "ann", "lobby").await;
        let mut steady = Client::join(server.address, "eve", "lobby").await;
        let (older, newer, (), ()) = tokio::join!(
            listen_with_breaks(&mut broken),
            listen(&mut steady),
            speak_newer(&server),
            speak_older(&server)
        );
        assert_eq!(older, newer, "{transport}");
        for who in ["newer", "older"] {
            let words = newer.iter().filter(|(name, _)| name == who).map(|(_, word)| word.parse().unwrap());
            assert_eq!(words.collect::<Vec<usize>>(), (0..WORDS).collect::<Vec<_>>(), "{who}");
        }
        steady.heard_nothing().await;
        broken.invoke("SendTo", json!(["caller", [], "that is all"])).await;
        assert_eq!(broken.heard().await, said("ann", "that is all"));
    }
}

#[tokio::test]
async fn polls_hear_everything_once_and_in_order() {
    let server = Server::start().await;
    let mut polling = Classic::join(server.address, "longPolling", "ann", "lobby").await;
    let mut steady = Client::join(server.address, "eve", "lobby").await;
    let (older, newer, (), ()) =
        tokio::join!(listen_with_breaks(&mut polling), listen(&mut steady), speak_newer(&server), speak_older(&server));
    assert_eq!(older, newer);
}

#[tokio::test]
async fn a_group_has_one_roster() {
    let server = Server::start().await;
    let _newer = Client::join(server.address, "newer", "lobby").await;
    let older = Classic::join(server.address, "webSockets", "older", "lobby").await;
    let groups = server.engine.hub("chat").unwrap().groups();
    let members = |room: Option<hubcast::group::Snapshot>| room.map_or(0, |room| room.members.len());
    assert_eq!(members(groups.members("lobby").await.unwrap()), 2);
    assert_eq!(older.handle.ask("abort").await.status, 200);
    within(until_async(async || members(groups.members("lobby").await.unwrap()) == 1)).await;
}
