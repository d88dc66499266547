//! The handshake of the hub protocol.

use std::time::Duration;

use hubcast::aspnetcore::Settings;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::{Message, protocol::frame::coding::CloseCode};

use crate::support::{CoreClient, Server};

async fn handshake(server: &Server, record: &str) -> (Value, Option<CloseCode>) {
    let mut client = CoreClient::open(server.address, "/chat").await;
    client.send_record(record).await;
    let response = client.next_record().await;
    let code = if response == json!({}) { None } else { client.wait_for_close().await };
    (response, code)
}

async fn assert_refused(server: &Server, record: &str, text: &str) {
    let expected = (json!({ "error": text }), Some(CloseCode::Normal));
    assert_eq!(handshake(server, record).await, expected, "{record}");
}

#[tokio::test]
async fn valid_handshake_variants_are_accepted() {
    let server = Server::start().await;
    for record in [
        r#"{"protocol":"json","version":1}"#,
        r#"{"version":1,"protocol":"JSON"}"#,
        r#"{"protocol":"json","version":2}"#,
        r#"{"protocol":"json","version":-5}"#,
        r#" {"protocol":"none","protocol":"json","version":9,"version":0,"more":{"a":[1]}}"#,
        r#"{"protocol":"json","version":1}{}"#,
    ] {
        assert_eq!(handshake(&server, record).await, (json!({}), None), "{record}");
    }
}

#[tokio::test]
async fn unsupported_protocol_or_version_is_refused() {
    let server = Server::start().await;
    let text = "The protocol 'Soap' is not supported.";
    assert_refused(&server, r#"{"protocol":"Soap","version":9}"#, text).await;
    let text = "The server does not support version 3 of the 'json' protocol.";
    assert_refused(&server, r#"{"protocol":"json","version":3}"#, text).await;
}

#[tokio::test]
async fn malformed_handshake_is_refused_without_details() {
    let server = Server::start().await;
    for record in ["", "no JSON", "[]", "{}", r#"{"protocol":1,"version":1}"#, r#"{"protocol":"json","version":"1"}"#] {
        assert_refused(&server, record, "An unexpected error occurred during connection handshake.").await;
    }
}

#[tokio::test]
async fn malformed_handshake_is_explained_with_detailed_errors() {
    let server = Server::start_with_detailed_errors().await;
    let invalid =
        |text: &str| format!("An unexpected error occurred during connection handshake. InvalidDataException: {text}");
    let missing =
        |name: &str, raw: &str| invalid(&format!("Missing required property '{name}'. Message content: {raw}"));
    for (record, text) in [
        (r#"{"version":1}"#, missing("protocol", r#"{"version":1}"#)),
        (r#"{"protocol":"json"}"#, missing("version", r#"{"protocol":"json"}"#)),
        (r#"{"protocol":"json","version":null}"#, missing("version", r#"{"protocol":"json","version":null}"#)),
        (r#"{"protocol":1,"version":1}"#, invalid("Expected 'protocol' to be of type String.")),
        (r#"{"protocol":"json","version":"1"}"#, invalid("Expected 'version' to be of type Number.")),
        ("[]", invalid("Unexpected JSON Token Type 'Array'. Expected a JSON Object.")),
    ] {
        assert_refused(&server, record, &text).await;
    }
}

#[tokio::test]
async fn messages_after_the_handshake_are_processed() {
    let server = Server::start().await;
    let mut client = CoreClient::open(server.address, "/chat").await;
    let call = r#"{"type":1,"invocationId":"7","target":"Add","arguments":[2,3]}"#;
    client.send_record(&format!("{{\"protocol\":\"json\",\"version\":1}}\u{1e}{call}")).await;
    assert_eq!(client.next_record().await, json!({}));
    assert_eq!(client.next_record().await, json!({ "type": 3, "invocationId": "7", "result": 5 }));
}

#[tokio::test]
async fn handshake_can_be_split_across_frame_types() {
    let server = Server::start().await;
    let mut client = CoreClient::open(server.address, "/chat").await;
    client.send_message(Message::binary(&b"{\"protocol\":\"js"[..])).await;
    client.send_message(Message::text("on\",\"version\":1}")).await;
    client.send_message(Message::binary(&b"\x1e"[..])).await;
    assert_eq!(client.next_record().await, json!({}));
}

#[tokio::test]
async fn messages_of_on_connected_follow_the_handshake_response() {
    let server = Server::start().await;
    let mut client = CoreClient::connect(server.address, "/chat?user=ann&greet=1").await;
    assert_eq!(client.next_invocation().await, ("greeting".to_owned(), json!(["ann"])));
}

#[tokio::test]
async fn missing_handshake_times_out() {
    let settings = Settings { handshake_timeout: Duration::from_millis(100), ..Settings::default() };
    let server = Server::start_with(move |engine| engine.aspnetcore_settings(settings)).await;
    let mut client = CoreClient::open(server.address, "/chat").await;
    assert_eq!(client.next_record().await, json!({ "error": "Handshake was canceled." }));
    assert_eq!(client.wait_for_close().await, Some(CloseCode::Normal));
}

#[tokio::test]
async fn unterminated_handshake_is_canceled() {
    let server = Server::start().await;
    let mut client = CoreClient::open(server.address, "/chat").await;
    client.send_message(Message::text(" ".repeat(32 * 1024))).await;
    assert_eq!(client.next_record().await, json!({ "error": "Handshake was canceled." }));
    assert_eq!(client.wait_for_close().await, Some(CloseCode::Normal));
}

#[tokio::test]
async fn failed_on_connected_closes_without_reconnect() {
    let (plain, detailed) = (Server::start().await, Server::start_with_detailed_errors().await);
    let closed = "Connection closed with an error.";
    for (server, kind, text) in [
        (&plain, "hub", format!("{closed} HubException: told so")),
        (&plain, "other", closed.to_owned()),
        (&detailed, "other", format!("{closed} InvalidOperationException: secret")),
    ] {
        let mut client = CoreClient::connect(server.address, &format!("/chat?fail={kind}")).await;
        let close = client.expect_close().await;
        assert_eq!((close.error, close.allow_reconnect), (Some(text), false), "{kind}");
    }
}
