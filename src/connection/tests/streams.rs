//! Streams that hub methods return, from the method to the outbox.

use futures_util::stream;

use super::*;
use crate::hub::HubStream;

/// Writes to the log when it is dropped.
struct DropReport(mpsc::UnboundedSender<String>);

impl Drop for DropReport {
    fn drop(&mut self) {
        // The receiver lives as long as the test.
        let _ = self.0.send("stream dropped".into());
    }
}

/// Adds methods that return streams.
pub(super) fn add_streams(hub: Hub, log: mpsc::UnboundedSender<String>) -> Hub {
    let endless = move || {
        let report = DropReport(log.clone());
        let items = stream::once(async { 1 }).chain(stream::pending());
        async move {
            Ok(HubStream::new(items.inspect(move |_| {
                let _ = &report;
            })))
        }
    };
    hub.method("Two", async || Ok(HubStream::new(stream::iter([1, 2]))))
        .method("Failing", async || {
            Ok(HubStream::<i32>::with_errors(stream::iter([Ok(1), Err(HubError::new("no")), Ok(2)])))
        })
        .method("Panicking", async || {
            Ok(HubStream::<i32>::new(stream::once(async { panic!("requested by the test") })))
        })
        .method("Endless", endless)
}

/// The frames up to the end of a stream.
async fn until_end(client: &mut TestClient) -> String {
    let mut text = String::new();
    while !text.ends_with("end,") {
        text += &client.next_frame().await;
    }
    text
}

#[actix::test]
async fn items_are_sent_in_order() {
    tokio::time::pause();
    let mut engine = TestEngine::new();
    let mut client = engine.connect("ann", &[]).await;
    client.send("stream Two").await;
    assert_eq!(until_end(&mut client).await, "item 1,item 2,end,");
}

#[actix::test]
async fn stream_ends_at_its_first_error_or_panic() {
    tokio::time::pause();
    let mut engine = TestEngine::new();
    let mut client = engine.connect("ann", &[]).await;
    client.send("stream Failing").await;
    assert_eq!(until_end(&mut client).await, "item 1,error HubException: no,end,");
    client.send("stream Panicking").await;
    assert_eq!(until_end(&mut client).await, "error Panic: requested by the test,end,");
    assert_eq!(engine.services.metrics.hub_panics.get(), 1);
}

#[actix::test]
async fn cancelled_stream_is_dropped() {
    tokio::time::pause();
    let mut engine = TestEngine::new();
    let mut client = engine.connect("ann", &[]).await;
    client.send("stream Endless").await;
    assert_eq!(client.next_frame().await, "item 1,");
    client.send("cancel").await;
    assert_eq!(engine.event_log.recv().await.as_deref(), Some("stream dropped"));
}

#[actix::test]
async fn stream_is_dropped_with_its_connection() {
    tokio::time::pause();
    let mut engine = TestEngine::new();
    let mut client = engine.connect("ann", &[]).await;
    client.send("stream Endless").await;
    assert_eq!(client.next_frame().await, "item 1,");
    client.send("stop").await;
    assert_eq!(engine.events().await.iter().filter(|event| *event == "stream dropped").count(), 1);
}

#[actix::test]
async fn unread_stream_waits_for_capacity() {
    tokio::time::pause();
    let mut engine = TestEngine::new();
    let mut client = engine.connect("ann", &[]).await;
    for _ in 0..50 {
        client.send("stream Two").await;
    }
    // Shorter than the send timeout. The paused clock advances when all streams wait.
    sleep(Duration::from_millis(1)).await;
    assert!(client.outbox.backlog().items <= 16, "the limits of the outbox");
    let mut ends = 0;
    while ends < 50 {
        ends += client.next_frame().await.matches("end").count();
    }
    assert_eq!(ends, 50);
}
