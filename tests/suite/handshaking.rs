//! The first words in each direction.

use std::time::Duration;

use hubcast::aspnetcore::Settings;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::{Message, protocol::frame::coding::CloseCode};

use crate::support::{Client, Server};

async fn shake(server: &Server, record: &str) -> (Value, Option<CloseCode>) {
    let mut client = Client::dial(server.address, "/chat").await;
    client.say(record).await;
    let answer = client.next().await;
    let code = if answer == json!({}) { None } else { client.end().await };
    (answer, code)
}

async fn assert_refused(server: &Server, record: &str, text: &str) {
    let expected = (json!({ "error": text }), Some(CloseCode::Normal));
    assert_eq!(shake(server, record).await, expected, "{record}");
}

#[tokio::test]
async fn a_handshake_may_look_in_many_ways() {
    let server = Server::start().await;
    for record in [
        r#"{"protocol":"json","version":1}"#,
        r#"{"version":1,"protocol":"JSON"}"#,
        r#"{"protocol":"json","version":2}"#,
        r#"{"protocol":"json","version":-5}"#,
        r#" {"protocol":"none","protocol":"json","version":9,"version":0,"more":{"a":[1]}}"#,
        r#"{"protocol":"json","version":1}{}"#,
    ] {
        assert_eq!(shake(&server, record).await, (json!({}), None), "{record}");
    }
}

#[tokio::test]
async fn what_is_not_offered_is_refused_by_name() {
    let server = Server::start().await;
    let unknown = |name: &str| format!("The protocol '{name}' is not supported.");
    assert_refused(&server, r#"{"protocol":"messagepack","version":1}"#, &unknown("messagepack")).await;
    assert_refused(&server, r#"{"protocol":"Soap","version":9}"#, &unknown("Soap")).await;
    let text = "The server does not support version 3 of the 'json' protocol.";
    assert_refused(&server, r#"{"protocol":"json","version":3}"#, text).await;
}

#[tokio::test]
async fn what_is_no_handshake_is_refused_without_a_reason() {
    let server = Server::start().await;
    for record in ["", "no JSON", "[]", "{}", r#"{"protocol":1,"version":1}"#, r#"{"protocol":"json","version":"1"}"#] {
        assert_refused(&server, record, "An unexpected error occurred during connection handshake.").await;
    }
}

#[tokio::test]
async fn the_reason_is_told_where_errors_are_detailed() {
    let server = Server::start_detailed().await;
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
async fn what_comes_with_the_handshake_is_kept() {
    let server = Server::start().await;
    let mut client = Client::dial(server.address, "/chat").await;
    let call = r#"{"type":1,"invocationId":"7","target":"Add","arguments":[2,3]}"#;
    client.say(&format!("{{\"protocol\":\"json\",\"version\":1}}\u{1e}{call}")).await;
    assert_eq!(client.next().await, json!({}));
    assert_eq!(client.next().await, json!({ "type": 3, "invocationId": "7", "result": 5 }));
}

#[tokio::test]
async fn a_handshake_may_come_in_pieces_and_of_any_kind() {
    let server = Server::start().await;
    let mut client = Client::dial(server.address, "/chat").await;
    client.send(Message::binary(&b"{\"protocol\":\"js"[..])).await;
    client.send(Message::text("on\",\"version\":1}")).await;
    client.send(Message::binary(&b"\x1e"[..])).await;
    assert_eq!(client.next().await, json!({}));
}

#[tokio::test]
async fn what_on_connected_says_follows_the_answer() {
    let server = Server::start().await;
    let mut client = Client::connect(server.address, "/chat?user=ann&greet=1").await;
    assert_eq!(client.called().await, ("greeting".to_owned(), json!(["ann"])));
}

#[tokio::test]
async fn who_does_not_shake_hands_in_time_is_let_go() {
    let settings = Settings { handshake_timeout: Duration::from_millis(100), ..Settings::default() };
    let server = Server::start_with(move |engine| engine.aspnetcore_settings(settings)).await;
    let mut client = Client::dial(server.address, "/chat").await;
    assert_eq!(client.next().await, json!({ "error": "Handshake was canceled." }));
    assert_eq!(client.end().await, Some(CloseCode::Normal));
}

#[tokio::test]
async fn a_handshake_without_an_end_is_cut_short() {
    let server = Server::start().await;
    let mut client = Client::dial(server.address, "/chat").await;
    client.send(Message::text(" ".repeat(32 * 1024))).await;
    assert_eq!(client.next().await, json!({ "error": "Handshake was canceled." }));
    assert_eq!(client.end().await, Some(CloseCode::Normal));
}

#[tokio::test]
async fn who_fails_to_connect_is_told_and_may_not_return() {
    let (plain, detailed) = (Server::start().await, Server::start_detailed().await);
    let closed = "Connection closed with an error.";
    for (server, kind, text) in [
        (&plain, "hub", format!("{closed} HubException: told so")),
        (&plain, "other", closed.to_owned()),
        (&detailed, "other", format!("{closed} InvalidOperationException: secret")),
    ] {
        let mut client = Client::connect(server.address, &format!("/chat?fail={kind}")).await;
        let farewell = client.farewell().await;
        assert_eq!((farewell.error, farewell.may_return), (Some(text), false), "{kind}");
    }
}
