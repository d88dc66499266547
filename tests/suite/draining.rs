//! A server that stops: what its clients are told, and what it ends first.

use std::pin::pin;

use futures_util::FutureExt;
use hubcast::{Hub, HubError, hub::Disconnected};
use serde_json::json;
use tokio::sync::{mpsc, watch};

use crate::support::{Client, Server, until, within};

/// A hub that does nothing until the gate is open, and then says what it has done.
fn slow(gate: watch::Receiver<bool>, done: mpsc::UnboundedSender<&'static str>) -> Hub {
    let work = move |what| {
        let (mut gate, done) = (gate.clone(), done.clone());
        async move {
            gate.wait_for(|is_open| *is_open).await.unwrap();
            done.send(what).unwrap();
        }
    };
    let last = work.clone();
    Hub::new("slow")
        .method("Work", move || work("method").map(Ok::<_, HubError>))
        .on_disconnected(move |_: Disconnected| last("OnDisconnected"))
}

#[tokio::test]
async fn a_drain_sends_clients_away_and_waits_for_what_hubs_have_begun() {
    let (open, gate) = watch::channel(false);
    let (tell, mut done) = mpsc::unbounded_channel();
    let server = Server::start_with(move |engine| engine.hub("/slow", slow(gate, tell))).await;
    let mut client = Client::connect(server.address, "/slow").await;
    client.tell("Work", json!([])).await;
    within(until(|| server.engine.at_work() == 1)).await;
    let mut drain = pin!(server.engine.drain());
    let farewell = tokio::select! {
        () = &mut drain => panic!("the method still runs"),
        farewell = client.farewell() => farewell,
    };
    assert!(farewell.may_return);
    open.send_replace(true);
    within(drain).await;
    let mut ended = [done.try_recv().unwrap(), done.try_recv().unwrap()];
    ended.sort_unstable();
    assert_eq!(ended, ["OnDisconnected", "method"]);
}
