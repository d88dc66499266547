//! Size limits, parallel invocations and timeouts.

use std::{num::NonZeroUsize, time::Duration};

use hubcast::{Limits, aspnetcore::Settings, classic};
use serde_json::json;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use crate::support::{ClassicClient, CloseMessage, CoreClient, Server, wait_until};

/// An invocation of `Echo` of exactly `length` bytes, including the record separator.
fn echo_of_length(length: usize) -> String {
    let invocation = |text: &str| format!(r#"{{"type":1,"invocationId":"1","target":"Echo","arguments":["{text}"]}}"#);
    let padding = "x".repeat(length - invocation("").len() - 1);
    invocation(&padding)
}

#[tokio::test]
async fn message_above_the_size_limit_closes_the_connection() {
    let server = Server::start_with_detailed_errors().await;
    let mut client = CoreClient::connect(server.address, "/chat").await;
    client.send_record(&echo_of_length(32 * 1024)).await;
    assert_eq!(client.completion("1").await["error"], json!(null));
    client.send_record(&echo_of_length(32 * 1024 + 1)).await;
    let text = "Connection closed with an error. InvalidDataException: The maximum message size of 32768B was exceeded. \
                The message size can be configured in AddHubOptions.";
    assert_eq!(client.expect_close().await, CloseMessage { error: Some(text.to_owned()), allow_reconnect: true });
}

#[tokio::test]
async fn size_limit_applies_to_each_message() {
    let server = Server::start().await;
    let mut client = CoreClient::connect(server.address, "/chat").await;
    let ping = format!("{}\u{1e}", r#"{"type":6}"#);
    let half = echo_of_length(20 * 1024);
    client.send_record(&format!("{ping}{half}\u{1e}{ping}{half}")).await;
    client.completion("1").await;
    client.completion("1").await;
}

#[tokio::test]
async fn one_frame_can_contain_thousands_of_invocations() {
    let server = Server::start().await;
    let mut client = CoreClient::connect(server.address, "/chat").await;
    let invocation = |id: u32| format!(r#"{{"type":1,"invocationId":"{id}","target":"Add","arguments":[{id},1]}}"#);
    let invocations: Vec<_> = (0..3_000).map(invocation).collect();
    client.send_record(&invocations.join("\u{1e}")).await;
    for id in 0..3_000 {
        assert_eq!(client.next_record().await, json!({ "type": 3, "invocationId": id.to_string(), "result": id + 1 }));
    }
}

#[tokio::test]
async fn unterminated_message_is_refused_at_the_limit() {
    let server = Server::start().await;
    let mut client = CoreClient::connect(server.address, "/chat").await;
    client.send_message(tokio_tungstenite::tungstenite::Message::text("x".repeat(32 * 1024))).await;
    assert!(client.expect_close().await.allow_reconnect);
}

#[tokio::test]
async fn size_limit_can_be_disabled() {
    let settings = Settings { max_message: None, ..Settings::default() };
    let server = Server::start_with(move |engine| engine.aspnetcore_settings(settings)).await;
    let mut client = CoreClient::connect(server.address, "/chat").await;
    let text = "x".repeat(1 << 20);
    assert_eq!(client.invoke("Echo", json!([text])).await, text);
}

#[tokio::test]
async fn parallel_invocations_are_limited() {
    let settings = Settings { parallel_calls: NonZeroUsize::new(2).unwrap(), ..Settings::default() };
    let server = Server::start_with(move |engine| engine.aspnetcore_settings(settings)).await;
    let mut client = CoreClient::connect(server.address, "/chat").await;
    let mut other = CoreClient::connect(server.address, "/chat").await;
    client.send_record(r#"{"type":1,"invocationId":"a","target":"Hold","arguments":["a"]}"#).await;
    assert_eq!(client.invoke("Add", json!([1, 1])).await, 2, "it overtakes the blocked invocation");
    client.send_record(r#"{"type":1,"invocationId":"b","target":"Hold","arguments":["b"]}"#).await;
    client.send_record(r#"{"type":1,"invocationId":"c","target":"Add","arguments":[1,1]}"#).await;
    // The third invocation waits. Messages to the client are still delivered.
    other.invoke("SendTo", json!(["all", [], "meanwhile"])).await;
    assert_eq!(client.next_record().await["arguments"][1], "meanwhile");
    other.invoke("Open", json!(["b"])).await;
    assert_eq!(
        [client.next_record().await, client.next_record().await].map(|response| response["invocationId"].clone()),
        ["b", "c"]
    );
    other.invoke("Open", json!(["a"])).await;
    assert_eq!(client.next_record().await["invocationId"], "a");
}

#[tokio::test]
async fn method_can_send_caller_more_than_queue_limit() {
    let limits = Limits { items: 16, ..Limits::default() };
    let server = Server::start_with(move |engine| engine.limits(limits)).await;
    let mut client = CoreClient::connect(server.address, "/chat").await;
    client.invoke_nonblocking("Burst", json!([1_000])).await;
    for number in 0..1_000 {
        assert_eq!(client.next_invocation().await, ("tick".to_owned(), json!([number])));
    }
}

#[tokio::test]
async fn silent_client_times_out_after_its_first_ping() {
    let settings =
        Settings { client_timeout: Duration::from_millis(200), detailed_errors: true, ..Settings::default() };
    let server = Server::start_with(move |engine| engine.aspnetcore_settings(settings)).await;
    let mut quiet = CoreClient::connect(server.address, "/chat").await;
    let mut client = CoreClient::connect(server.address, "/chat").await;
    client.send_record(r#"{"type":6}"#).await;
    let text = "Connection closed with an error. OperationCanceledException: \
                Client hasn't sent a message/ping within the configured ClientTimeoutInterval.";
    assert_eq!(client.expect_close().await, CloseMessage { error: Some(text.to_owned()), allow_reconnect: true });
    quiet.expect_no_message().await;
    assert_eq!(server.engine.metrics().connections_timed_out.get(), 1);
}

#[tokio::test]
async fn server_sends_keep_alive_pings() {
    let settings = Settings { keep_alive: Duration::from_millis(100), ..Settings::default() };
    let server = Server::start_with(move |engine| engine.aspnetcore_settings(settings)).await;
    let mut client = CoreClient::connect(server.address, "/chat").await;
    for _ in 0..3 {
        client.expect_ping().await;
    }
}

#[tokio::test]
async fn expired_credentials_close_the_connection() {
    let server = Server::start().await;
    let mut client = CoreClient::connect(server.address, "/guarded?access_token=ann.member.5").await;
    assert_eq!(client.expect_close().await, CloseMessage { error: None, allow_reconnect: true });
}

#[tokio::test]
async fn expired_credentials_close_classic_connections() {
    let endpoint = classic::Endpoint::new("/signalr").close_on_expiry();
    let server = Server::start_core_only(|engine| engine.classic_endpoint(endpoint)).await;
    let mut client = ClassicClient::connect(server.address, "webSockets", "&access_token=ann.member.5").await;
    assert_eq!(client.wait_for_close().await, Some(CloseCode::Normal));
    wait_until(|| server.engine.metrics().connections_closed.get() == 1).await;
}
