//! What a client may send, and for how long it may be silent.

use std::{num::NonZeroUsize, time::Duration};

use hubcast::{aspnetcore::Settings, outbox::Limits};
use serde_json::json;

use crate::support::{Client, Farewell, Server};

/// A call of `Echo` that has exactly `length` bytes, its separator included.
fn call_of(length: usize) -> String {
    let call = |text: &str| format!(r#"{{"type":1,"invocationId":"1","target":"Echo","arguments":["{text}"]}}"#);
    let padding = "x".repeat(length - call("").len() - 1);
    call(&padding)
}

#[tokio::test]
async fn the_largest_message_passes_and_one_byte_more_does_not() {
    let server = Server::start_detailed().await;
    let mut client = Client::connect(server.address, "/chat").await;
    client.say(&call_of(32 * 1024)).await;
    assert_eq!(client.completion("1").await["error"], json!(null));
    client.say(&call_of(32 * 1024 + 1)).await;
    let text = "Connection closed with an error. InvalidDataException: The maximum message size of 32768B was exceeded. \
                The message size can be configured in AddHubOptions.";
    assert_eq!(client.farewell().await, Farewell { error: Some(text.to_owned()), may_return: true });
}

#[tokio::test]
async fn several_messages_in_one_may_be_longer_than_each_may_be() {
    let server = Server::start().await;
    let mut client = Client::connect(server.address, "/chat").await;
    let ping = format!("{}\u{1e}", r#"{"type":6}"#);
    let half = call_of(20 * 1024);
    client.say(&format!("{ping}{half}\u{1e}{ping}{half}")).await;
    client.completion("1").await;
    client.completion("1").await;
}

#[tokio::test]
async fn thousands_of_calls_may_come_in_one_message_of_the_transport() {
    let server = Server::start().await;
    let mut client = Client::connect(server.address, "/chat").await;
    let call = |id: u32| format!(r#"{{"type":1,"invocationId":"{id}","target":"Add","arguments":[{id},1]}}"#);
    let calls: Vec<_> = (0..3_000).map(call).collect();
    client.say(&calls.join("\u{1e}")).await;
    for id in 0..3_000 {
        assert_eq!(client.next().await, json!({ "type": 3, "invocationId": id.to_string(), "result": id + 1 }));
    }
}

#[tokio::test]
async fn what_has_no_end_is_refused_at_the_limit() {
    let server = Server::start().await;
    let mut client = Client::connect(server.address, "/chat").await;
    client.send(tokio_tungstenite::tungstenite::Message::text("x".repeat(32 * 1024))).await;
    assert!(client.farewell().await.may_return);
}

#[tokio::test]
async fn an_application_may_allow_any_size() {
    let settings = Settings { max_message: None, ..Settings::default() };
    let server = Server::start_with(move |engine| engine.aspnetcore_settings(settings)).await;
    let mut client = Client::connect(server.address, "/chat").await;
    let text = "x".repeat(1 << 20);
    assert_eq!(client.invoke("Echo", json!([text])).await, text);
}

#[tokio::test]
async fn as_many_calls_run_at_a_time_as_are_allowed() {
    let settings = Settings { parallel_calls: NonZeroUsize::new(2).unwrap(), ..Settings::default() };
    let server = Server::start_with(move |engine| engine.aspnetcore_settings(settings)).await;
    let mut client = Client::connect(server.address, "/chat").await;
    let mut other = Client::connect(server.address, "/chat").await;
    client.say(r#"{"type":1,"invocationId":"a","target":"Hold","arguments":["a"]}"#).await;
    assert_eq!(client.invoke("Add", json!([1, 1])).await, 2, "it overtakes the call that waits");
    client.say(r#"{"type":1,"invocationId":"b","target":"Hold","arguments":["b"]}"#).await;
    client.say(r#"{"type":1,"invocationId":"c","target":"Add","arguments":[1,1]}"#).await;
    // The third is read and waits; a hub's word comes over all the same.
    other.invoke("SendTo", json!(["all", [], "meanwhile"])).await;
    assert_eq!(client.next().await["arguments"][1], "meanwhile");
    other.invoke("Open", json!(["b"])).await;
    assert_eq!([client.next().await, client.next().await].map(|answer| answer["invocationId"].clone()), ["b", "c"]);
    other.invoke("Open", json!(["a"])).await;
    assert_eq!(client.next().await["invocationId"], "a");
}

#[tokio::test]
async fn a_method_may_send_its_caller_more_than_may_wait_for_it() {
    let limits = Limits { items: 16, ..Limits::default() };
    let server = Server::start_with(move |engine| engine.limits(limits)).await;
    let mut client = Client::connect(server.address, "/chat").await;
    client.tell("Burst", json!([1_000])).await;
    for number in 0..1_000 {
        assert_eq!(client.called().await, ("tick".to_owned(), json!([number])));
    }
}

#[tokio::test]
async fn who_pings_and_then_falls_silent_is_timed_out() {
    let settings =
        Settings { client_timeout: Duration::from_millis(200), detailed_errors: true, ..Settings::default() };
    let server = Server::start_with(move |engine| engine.aspnetcore_settings(settings)).await;
    let mut quiet = Client::connect(server.address, "/chat").await;
    let mut client = Client::connect(server.address, "/chat").await;
    client.say(r#"{"type":6}"#).await;
    let text = "Connection closed with an error. OperationCanceledException: \
                Client hasn't sent a message/ping within the configured ClientTimeoutInterval.";
    assert_eq!(client.farewell().await, Farewell { error: Some(text.to_owned()), may_return: true });
    quiet.heard_nothing().await;
    assert_eq!(server.engine.metrics().connections_timed_out.get(), 1);
}

#[tokio::test]
async fn a_client_is_pinged_so_that_it_knows_the_server_lives() {
    let settings = Settings { keep_alive: Duration::from_millis(100), ..Settings::default() };
    let server = Server::start_with(move |engine| engine.aspnetcore_settings(settings)).await;
    let mut client = Client::connect(server.address, "/chat").await;
    for _ in 0..3 {
        client.ping().await;
    }
}

#[tokio::test]
async fn a_proof_that_runs_out_ends_the_connection() {
    let server = Server::start().await;
    let mut client = Client::connect(server.address, "/guarded?access_token=ann.member.5").await;
    assert_eq!(client.farewell().await, Farewell { error: None, may_return: true });
}
