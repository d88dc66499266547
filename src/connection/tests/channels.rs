//! Tests of channels: attached, replaced, refused and lost.

use super::*;

const AWAY: Duration = Duration::from_secs(5);

impl TestEngine {
    /// A connection that lives for a while without a channel.
    fn start_durable(&self) -> TestClient {
        let session = ScriptedSession { time_without_channel: Some(AWAY), ..ScriptedSession::default() };
        self.start("ann", ConnectionId::random(), session)
    }
}

impl TestClient {
    async fn request(&self, text: &str) {
        let _ = self.address.send(ClientRequest(text.to_owned())).await;
    }
}

#[actix::test]
async fn channels_are_attached_in_order_of_requests() {
    tokio::time::pause();
    let engine = TestEngine::new();
    let client = engine.start_durable();
    let (slow, fast) = tokio::join!(client.attach(Open::AfterRejoin), client.attach(Open::AtOnce));
    let (slow, fast) = (slow.unwrap(), fast.unwrap());
    assert_eq!((slow.channel(), fast.channel(), client.outbox.channel()), (1, 2, 2));
}

#[actix::test]
async fn refused_channel_leaves_the_current_one() {
    tokio::time::pause();
    let engine = TestEngine::new();
    let mut client = engine.open("ann").await;
    assert!(matches!(client.attach(Open::Never).await, Err(AttachError::Refused(()))));
    client.outbox.push_private(*b"hello");
    assert_eq!(client.next_frame().await, "hello");
}

#[actix::test]
async fn ended_connection_attaches_no_channel() {
    tokio::time::pause();
    let engine = TestEngine::new();
    let client = engine.open("ann").await;
    client.request("stop").await;
    assert!(client.address.connected(), "it waits for its transport");
    assert!(matches!(client.attach(Open::AtOnce).await, Err(AttachError::Ended)));
}

#[actix::test]
async fn waiting_requests_for_channels_are_limited() {
    tokio::time::pause();
    let engine = TestEngine::new();
    let client = engine.start_durable();
    let attached = futures_util::future::join_all((0..40).map(|_| client.attach(Open::AfterRejoin))).await;
    let busy = attached.iter().filter(|attached| matches!(attached, Err(AttachError::Busy))).count();
    assert!((1..40).contains(&busy), "{busy}");
}

#[actix::test]
async fn connection_without_channel_ends_after_its_time() {
    tokio::time::pause();
    for has_had_channel in [false, true] {
        let engine = TestEngine::new();
        let client = engine.start_durable();
        if has_had_channel {
            drop(client.attach(Open::AtOnce).await.unwrap());
        }
        sleep(AWAY - Duration::from_millis(10)).await;
        assert!(client.outbox.is_open(), "{has_had_channel}");
        sleep(Duration::from_millis(20)).await;
        assert!(!client.outbox.is_open() && !client.address.connected(), "{has_had_channel}");
    }
}

#[actix::test]
async fn new_channel_keeps_the_connection() {
    tokio::time::pause();
    let engine = TestEngine::new();
    let client = engine.start_durable();
    drop(client.attach(Open::AtOnce).await.unwrap());
    sleep(AWAY / 2).await;
    let _reader = client.attach(Open::AfterRejoin).await.unwrap();
    sleep(SETTLE_TIME).await;
    assert!(client.outbox.is_open());
}

#[actix::test]
async fn connection_that_ends_without_channel_stops_at_once() {
    tokio::time::pause();
    let engine = TestEngine::new();
    let client = engine.start_durable();
    client.request("stop").await;
    tokio::task::yield_now().await;
    assert!(!client.address.connected());
}

#[actix::test]
async fn first_channel_frees_what_waited_for_it() {
    tokio::time::pause();
    let engine = TestEngine::new();
    let held = Arc::new(());
    let session = ScriptedSession { time_without_channel: Some(AWAY), ..ScriptedSession::default() };
    let new = engine.new_connection("ann", ConnectionId::random());
    let new = NewConnection { held_until_channel: Box::new(Arc::clone(&held)), ..new };
    let (id, outbox) = (new.id.clone(), Arc::clone(&new.outbox));
    let client = TestClient { id, outbox, address: Connection::spawn(new, session, ()), reader: None };
    assert_eq!(Arc::strong_count(&held), 2);
    let _reader = client.attach(Open::AtOnce).await.unwrap();
    assert_eq!(Arc::strong_count(&held), 1);
}

#[actix::test]
async fn data_of_replaced_channel_is_ignored() {
    tokio::time::pause();
    let mut engine = TestEngine::new();
    let client = engine.connect("ann", &[]).await;
    let mut newer = client.attach(Open::AtOnce).await.unwrap();
    for text in ["fill up", "stop"] {
        assert!(tokio::time::timeout(SETTLE_TIME, client.send(text)).await.is_ok());
    }
    client.outbox.push_private(*b"still open");
    let mut out = bytes::BytesMut::new();
    futures_util::future::poll_fn(|cx| newer.poll(cx, &mut out)).await;
    assert_eq!(&out[..], b"still open");
}

#[actix::test]
async fn registry_finds_connections_until_their_entry_is_dropped() {
    tokio::time::pause();
    let engine = TestEngine::new();
    let registry = Registry::<&str, ScriptedSession>::new();
    let create = |entry: RegistryEntry<&'static str, ScriptedSession>| {
        let new = engine.new_connection("ann", ConnectionId::random());
        let session = ScriptedSession { time_without_channel: Some(AWAY), ..ScriptedSession::default() };
        Ok::<_, Infallible>(Connection::spawn(NewConnection { held_until_end: Box::new(entry), ..new }, session, ()))
    };
    let Ok(connection) = registry.find_or_create(&"token", create);
    assert!(registry.find(&"token").is_some_and(|found| found == connection) && registry.find(&"other").is_none());
    let Ok(same) = registry.find_or_create::<Infallible>(&"token", |_| unreachable!("it exists"));
    assert!(same == connection);
    connection.send(ClientRequest("stop".to_owned())).await.unwrap();
    assert!(registry.find(&"token").is_none());
    let Ok(later) = registry.find_or_create(&"token", create);
    assert!(later != connection && registry.find(&"token").is_some());
}
