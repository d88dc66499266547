//! A server that stops: what its clients are told, and what it ends first.

use std::{iter, pin::pin};

use futures_util::FutureExt;
use hubcast::{Hub, HubError, hub::Disconnected};
use serde_json::json;
use tokio::sync::{mpsc, watch};

use crate::support::{Client, Server, within};

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
