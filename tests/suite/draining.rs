//! Draining a server and aborting a connection: messages to clients, and hub code that is still running.

use std::{
    iter,
    pin::pin,
    time::{Duration, Instant},
};

use futures_util::{
    FutureExt,
    future::{join, join_all},
};
use hubcast::{Hub, HubError, hub::Disconnected};
use serde_json::json;
use tokio::sync::{mpsc, watch};

use crate::support::{ClassicClient, CoreClient, Server, ServiceProcess, with_timeout};

/// A hub whose method and hook wait for the gate and log their start and end.
fn slow_hub(gate: watch::Receiver<bool>, events: mpsc::UnboundedSender<&'static str>) -> Hub {
    let work = move |started, finished| {
        let (mut gate, events) = (gate.clone(), events.clone());
        async move {
            events.send(started).unwrap();
            gate.wait_for(|is_open| *is_open).await.unwrap();
            events.send(finished).unwrap();
        }
    };
    let on_disconnected = work.clone();
    Hub::new("slow")
        .method("Work", move || work("method started", "method finished").map(Ok::<_, HubError>))
        .on_disconnected(move |_: Disconnected| on_disconnected("OnDisconnected started", "OnDisconnected finished"))
}

#[tokio::test]
async fn drain_waits_for_running_hub_code() {
    let (open, gate) = watch::channel(false);
    let (log, mut events) = mpsc::unbounded_channel();
    let server = Server::start_with(move |engine| engine.hub("/slow", slow_hub(gate, log))).await;
    let mut client = CoreClient::connect(server.address, "/slow").await;
    client.invoke_nonblocking("Work", json!([])).await;
    assert_eq!(with_timeout(events.recv()).await, Some("method started"));
    let mut drain = pin!(server.engine.drain(Duration::ZERO));
    let close = tokio::select! {
        () = &mut drain => panic!("the method still runs"),
        close = client.expect_close() => close,
    };
    assert!(close.allow_reconnect);
    let mut late = CoreClient::connect(server.address, "/slow").await;
    let close = tokio::select! {
        () = &mut drain => panic!("the method still runs"),
        close = late.expect_close() => close,
    };
    assert!(close.allow_reconnect, "a client that connects during the drain is closed as well");
    open.send_replace(true);
    with_timeout(drain).await;
    let mut logged: Vec<_> = iter::from_fn(|| events.try_recv().ok()).collect();
    logged.sort_unstable();
    let hooks =
        ["OnDisconnected finished", "OnDisconnected finished", "OnDisconnected started", "OnDisconnected started"];
    assert_eq!(logged, [&hooks[..], &["method finished"]].concat());
}

#[tokio::test]
async fn drain_spreads_clients_over_the_window() {
    let server = Server::start_with(|engine| engine.hub("/quiet", Hub::new("quiet"))).await;
    let mut clients = Vec::new();
    for _ in 0..25 {
        clients.push(CoreClient::connect(server.address, "/quiet").await);
    }
    let start = Instant::now();
    let closes = join_all(clients.iter_mut().map(CoreClient::expect_close));
    let (closes, ()) = with_timeout(join(closes, server.engine.drain(Duration::from_millis(300)))).await;
    assert!(closes.iter().all(|close| close.allow_reconnect));
    assert!(start.elapsed() >= Duration::from_millis(200), "three batches: {:?}", start.elapsed());
}

#[tokio::test]
async fn abort_between_polls_is_delivered_on_next_poll() {
    let (server, mut events) = Server::start_with_event_log(|engine| engine).await;
    let mut client = ClassicClient::connect(server.address, "longPolling", "").await;
    assert_eq!(events.next_event().await, "connected");
    client.connection.post(r#"{"H":"chat","M":"Drop","I":1}"#).await;
    assert_eq!(events.next_event().await, "lost");
    for response in
        [client.connection.post(r#"{"H":"chat","M":"WhoAmI","I":2}"#).await, client.connection.request("start").await]
    {
        assert_eq!((response.status, &*response.body), (503, "The connection has ended."));
    }
    for _ in 0..2 {
        assert_eq!(client.next_frame().await.unwrap()["D"], 1);
        client.reconnect().await;
    }
    ClassicClient::connect(server.address, "longPolling", "").await;
    assert_eq!(events.next_event().await, "connected", "the first client causes no further event");
}

#[tokio::test]
async fn hangup_does_not_end_the_service() {
    let data = tempfile::tempdir().unwrap();
    let mut service = ServiceProcess::start_logged(data.path(), None).await;
    let mut client = CoreClient::connect(service.address, "/chat?user=ann").await;
    service.signal("HUP").await;
    let requested = service.log_line("reload requested").await;
    assert!(requested.contains("the signing keys are read again; there is no TLS certificate"), "{requested}");
    service.log_line("signing keys not reloaded: none are configured").await;
    assert_eq!(client.invoke("JoinRoom", json!(["lobby"])).await, true);
    let (code, log) = service.stop().await;
    assert!(client.expect_close().await.allow_reconnect);
    assert!(code == Some(0) && log.iter().any(|line| line.contains("service stopped")), "{code:?} {log:?}");
}
