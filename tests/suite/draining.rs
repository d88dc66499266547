//! A server that stops, or ends a connection: what its clients are told, and what it ends first.

use std::{iter, pin::pin};

use futures_util::FutureExt;
use hubcast::{Hub, HubError, hub::Disconnected};
use serde_json::json;
use tokio::sync::{mpsc, watch};

use crate::support::{Classic, Client, Server, within};

/// A hub that does nothing until the gate is open, and says what it has begun and ended.
fn slow(gate: watch::Receiver<bool>, diary: mpsc::UnboundedSender<&'static str>) -> Hub {
    let work = move |begun, ended| {
        let (mut gate, diary) = (gate.clone(), diary.clone());
        async move {
            diary.send(begun).unwrap();
            gate.wait_for(|is_open| *is_open).await.unwrap();
            diary.send(ended).unwrap();
        }
    };
    let last = work.clone();
    Hub::new("slow")
        .method("Work", move || work("method begun", "method ended").map(Ok::<_, HubError>))
        .on_disconnected(move |_: Disconnected| last("OnDisconnected begun", "OnDisconnected ended"))
}

#[tokio::test]
async fn a_drain_sends_clients_away_and_waits_for_what_hubs_have_begun() {
    let (open, gate) = watch::channel(false);
    let (tell, mut told) = mpsc::unbounded_channel();
    let server = Server::start_with(move |engine| engine.hub("/slow", slow(gate, tell))).await;
    let mut client = Client::connect(server.address, "/slow").await;
    client.tell("Work", json!([])).await;
    assert_eq!(within(told.recv()).await, Some("method begun"));
    let mut drain = pin!(server.engine.drain());
    let farewell = tokio::select! {
        () = &mut drain => panic!("the method still runs"),
        farewell = client.farewell() => farewell,
    };
    assert!(farewell.may_return);
    let mut late = Client::connect(server.address, "/slow").await;
    let farewell = tokio::select! {
        () = &mut drain => panic!("the method still runs"),
        farewell = late.farewell() => farewell,
    };
    assert!(farewell.may_return, "whoever comes meanwhile is sent away, too");
    open.send_replace(true);
    within(drain).await;
    let mut ended: Vec<_> = iter::from_fn(|| told.try_recv().ok()).collect();
    ended.sort_unstable();
    let twice = ["OnDisconnected begun", "OnDisconnected begun", "OnDisconnected ended", "OnDisconnected ended"];
    assert_eq!(ended, [&twice[..], &["method ended"]].concat());
}

#[tokio::test]
async fn a_client_that_a_hub_drops_between_two_polls_is_told_so_at_the_next_and_is_not_let_in_again() {
    let (server, mut diary) = Server::start_writing(|engine| engine).await;
    let mut client = Classic::connect(server.address, "longPolling", "").await;
    assert_eq!(diary.next().await, "connected");
    client.handle.post(r#"{"H":"chat","M":"Drop","I":1}"#).await;
    assert_eq!(diary.next().await, "lost");
    for refused in [client.handle.post(r#"{"H":"chat","M":"WhoAmI","I":2}"#).await, client.handle.ask("start").await] {
        assert_eq!(refused.status, 503, "{}", refused.body);
    }
    for _ in 0..2 {
        assert_eq!(client.frame().await.unwrap()["D"], 1);
        client.return_().await;
    }
    Classic::connect(server.address, "longPolling", "").await;
    assert_eq!(diary.next().await, "connected", "another client, and nothing of the first");
}
