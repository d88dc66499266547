//! Tests that every way to end a connection cleans up completely.

use super::*;
use crate::connection::ending::{CLOSE_HANDSHAKE_TIMEOUT, DRAIN_CLOSE_TIMEOUT};

const ENDINGS: [&str; 12] = [
    "stop",
    "protocol error",
    "twice",
    "panic",
    "time out",
    "channel lost",
    "channel closed by client",
    "aborted",
    "drained",
    "overflowed",
    "crashed",
    "several at once",
];

async fn end(client: &mut TestClient, ending: &str) {
    match ending {
        "channel lost" => client.reader = None,
        "channel closed by client" => client.reader.as_ref().expect("it has a transport").control().close(END),
        "aborted" => client.disconnect().await,
        "drained" => client.command(Command::Drain).await,
        "overflowed" => overflow(client),
        "crashed" => assert!(client.address.send(Command::Crash).await.is_err()),
        "several at once" => {
            overflow(client);
            client.reader = None;
            let (aborted, drained) = (client.disconnect(), client.command(Command::Drain));
            tokio::join!(aborted, client.send("stop"), drained);
        }
        text => client.send(text).await,
    }
}

fn overflow(client: &TestClient) {
    for _ in 0..100 {
        client.outbox.push_private(*b"too much");
    }
}

/// The events that the hub may receive for an ending. With several endings at once, either may win.
fn expected_events(ending: &str) -> &'static [&'static str] {
    match ending {
        "stop" | "twice" => &["stopped"],
        "protocol error" => &["disconnected: protocol error"],
        "several at once" => &["disconnected", "stopped"],
        _ => &["disconnected"],
    }
}

#[actix::test]
async fn every_ending_runs_on_disconnected_once() {
    tokio::time::pause();
    for ending in ENDINGS {
        let mut engine = TestEngine::new();
        let mut client = engine.connect("ann", &["lobby", "attic", "cellar"]).await;
        end(&mut client, ending).await;
        let events = engine.events().await;
        assert_eq!(events.len(), 1, "{ending}: {events:?}");
        assert!(expected_events(ending).contains(&&*events[0]), "{ending}: {events:?}");
        engine.assert_nothing_left(ending);
        assert!(!client.outbox.is_open() && !client.address.connected(), "{ending}");
        let metrics = &engine.services.metrics;
        let counted = (metrics.connections_opened.get(), metrics.connections_closed.get());
        assert_eq!(counted, (1, 1), "{ending}");
    }
}

#[actix::test]
async fn end_reasons_are_counted_in_metrics() {
    tokio::time::pause();
    for (ending, evicted, timed_out, faulted) in
        [("overflowed", 1, 0, 0), ("time out", 0, 1, 0), ("protocol error", 0, 0, 1), ("stop", 0, 0, 0)]
    {
        let mut engine = TestEngine::new();
        let mut client = engine.connect("ann", &[]).await;
        end(&mut client, ending).await;
        engine.events().await;
        let metrics = &engine.services.metrics;
        let counted =
            (metrics.connections_evicted.get(), metrics.connections_timed_out.get(), metrics.connections_faulted.get());
        assert_eq!(counted, (evicted, timed_out, faulted), "{ending}");
    }
}

#[actix::test]
async fn duration_and_status_of_ended_connections_are_recorded() {
    tokio::time::pause();
    for (ending, status) in [
        ("stop", ConnectionStatus::NormalClosure),
        ("protocol error", ConnectionStatus::NormalClosure),
        ("channel lost", ConnectionStatus::NormalClosure),
        ("aborted", ConnectionStatus::NormalClosure),
        ("panic", ConnectionStatus::NormalClosure),
        ("overflowed", ConnectionStatus::Timeout),
        ("drained", ConnectionStatus::AppShutdown),
    ] {
        let mut engine = TestEngine::new();
        let mut client = engine.connect("ann", &[]).await;
        sleep(Duration::from_secs(90)).await;
        end(&mut client, ending).await;
        engine.events().await;
        let recorded = engine.services.metrics.durations.connections("none", status).snapshot();
        assert_eq!((recorded.count(), recorded.sum.round()), (1, 90.0), "{ending}");
    }
}

#[actix::test]
async fn other_group_members_stay_when_one_ends() {
    tokio::time::pause();
    for ending in ENDINGS {
        let mut engine = TestEngine::new();
        let mut ann = engine.connect("ann", &["lobby", "attic"]).await;
        let bob = engine.connect("bob", &["lobby"]).await;
        end(&mut ann, ending).await;
        engine.events().await;
        let snapshot = engine.services.groups.inspect(&key("lobby")).await.unwrap().unwrap();
        assert_eq!(snapshot.members, std::slice::from_ref(&bob.id), "{ending}");
        assert_eq!(engine.services.groups.count(), 1, "{ending}");
    }
}

#[actix::test]
async fn join_in_progress_at_end_leaves_no_group() {
    tokio::time::pause();
    for ending in ENDINGS {
        let mut engine = TestEngine::new();
        let mut client = engine.connect("ann", &[]).await;
        let (id, services) = (client.id.clone(), Arc::clone(&engine.services));
        let lobby = key("lobby");
        let join = services.router.join(&id, &lobby, JoinCause::Caller);
        // The join may or may not succeed, depending on the order.
        let (_, ()) = tokio::join!(join, end(&mut client, ending));
        engine.events().await;
        engine.assert_nothing_left(ending);
    }
}

#[actix::test]
async fn commands_to_ended_connection_return_none() {
    tokio::time::pause();
    for ending in ENDINGS {
        let mut engine = TestEngine::new();
        let mut client = engine.connect("ann", &["lobby"]).await;
        let handle = engine.services.connections.find(&client.id).unwrap();
        end(&mut client, ending).await;
        engine.events().await;
        let join = |answer| Command::Join { group: key("lobby"), cause: JoinCause::Caller, answer };
        assert!(handle.ask(join).await.is_none(), "{ending}");
        assert!(handle.inspect().await.is_none(), "{ending}");
        assert!(!handle.disconnect(Reconnect::Deny).await, "{ending}");
    }
}

#[actix::test]
async fn paused_reads_resume_when_connection_ends() {
    tokio::time::pause();
    let mut engine = TestEngine::new();
    let client = engine.connect("ann", &[]).await;
    let (before, mut sending) = (Instant::now(), Box::pin(client.send("fill up")));
    assert!(sending.as_mut().now_or_never().is_none());
    client.disconnect().await;
    sending.await;
    assert_eq!(before.elapsed(), Duration::ZERO, "does not wait until the socket is closed");
}

#[actix::test]
async fn draining_shortens_the_close_handshake() {
    tokio::time::pause();
    let step = Duration::from_millis(100);
    for (is_draining, limit) in [(false, CLOSE_HANDSHAKE_TIMEOUT), (true, DRAIN_CLOSE_TIMEOUT)] {
        let mut engine = TestEngine::new();
        let client = engine.connect("ann", &[]).await;
        if is_draining {
            engine.services.drain.begin();
        }
        client.command(Command::Drain).await;
        let before = Instant::now();
        while client.address.connected() {
            sleep(step).await;
        }
        assert!((limit..=limit + step).contains(&before.elapsed()), "{is_draining}: {:?}", before.elapsed());
    }
}

#[actix::test]
async fn hub_method_completes_after_connection_ends() {
    tokio::time::pause();
    let mut engine = TestEngine::new();
    let client = engine.connect("ann", &[]).await;
    client.send("Finish").await;
    assert_eq!(engine.events().await, ["finished"]);
    for ending in ENDINGS {
        let mut engine = TestEngine::new();
        let mut client = engine.connect("ann", &[]).await;
        engine.gate.send_replace(false);
        client.send("Finish").await;
        end(&mut client, ending).await;
        assert_eq!(engine.events().await.len(), 1, "{ending}: OnDisconnected does not wait for the method");
        engine.gate.send_replace(true);
        assert_eq!(engine.events().await, ["finished after end"], "{ending}");
    }
}

#[actix::test]
async fn refused_client_gets_no_on_disconnected() {
    tokio::time::pause();
    let mut engine = TestEngine::new();
    let client = engine.open("eve").await;
    client.send("connect").await;
    assert_eq!(engine.events().await, ["connected"]);
    engine.assert_nothing_left("refused");
    assert_eq!(engine.services.metrics.connections_closed.get(), 0);
}

#[actix::test]
async fn connection_with_id_in_use_is_refused() {
    tokio::time::pause();
    let mut engine = TestEngine::new();
    let first = engine.connect("ann", &["lobby"]).await;
    let second = engine.open_as("ann", first.id.clone()).await;
    second.send("connect").await;
    let third = engine.new_connection("ann", first.id.clone());
    assert!(Connection::spawn_registered(third, ScriptedSession::default(), ()).is_none());
    assert_eq!(engine.events().await, Vec::<String>::new(), "the others are not connected");
    assert!(!second.address.connected());
    assert!(engine.services.connections.find(&first.id).is_some_and(|found| Arc::ptr_eq(&found.outbox, &first.outbox)));
    let snapshot = engine.services.groups.inspect(&key("lobby")).await.unwrap().unwrap();
    assert_eq!(snapshot.members, std::slice::from_ref(&first.id), "the end of the others changes no membership");
}

#[actix::test]
async fn client_that_never_connected_leaves_nothing() {
    tokio::time::pause();
    for ending in ENDINGS {
        let mut engine = TestEngine::new();
        let mut client = engine.open("ann").await;
        end(&mut client, ending).await;
        assert_eq!(engine.events().await, Vec::<String>::new(), "{ending}");
        engine.assert_nothing_left(ending);
    }
}

#[actix::test]
async fn end_before_on_connected_runs_both_hooks() {
    tokio::time::pause();
    for ending in ENDINGS {
        let mut engine = TestEngine::new();
        let mut client = engine.open("ann").await;
        client.send("connect").await;
        end(&mut client, ending).await;
        let events = engine.events().await;
        assert_eq!((events.len(), &*events[0]), (2, "connected"), "{ending}: {events:?}");
        assert!(expected_events(ending).contains(&&*events[1]), "{ending}: {events:?}");
        engine.assert_nothing_left(ending);
    }
}

#[actix::test]
async fn end_during_on_connected_defers_on_disconnected() {
    tokio::time::pause();
    for ending in ENDINGS {
        let mut engine = TestEngine::new();
        engine.gate.send_replace(false);
        let mut client = engine.connect("ann", &[]).await;
        end(&mut client, ending).await;
        assert_eq!(engine.events().await, Vec::<String>::new(), "{ending}: OnConnected is still running");
        engine.gate.send_replace(true);
        assert_eq!(engine.events().await.len(), 1, "{ending}");
        engine.assert_nothing_left(ending);
    }
}
