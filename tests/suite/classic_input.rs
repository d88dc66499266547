//! Unusual messages of classic clients: white space between JSON tokens, lenient JSON, and messages that are too long.

use actix_web::App;
use hubcast::Engine;
use hubcast_fixtures::{hubs, identity};
use serde_json::json;
use tokio_tungstenite::tungstenite::{Bytes, Message, protocol::frame::coding::CloseCode};

use crate::support::{ClassicClient, NegotiatedConnection, Server, StreamingResponse, TRANSPORTS};

/// A value with every line end that JSON permits between tokens or inside strings.
const RELAYED: &str = "{\r\n\t\"a\" :\n\n[\r1 ,\"\u{85}\u{2028}\u{2029}\"]}";

#[tokio::test]
async fn relayed_json_is_one_event() {
    let server = Server::start().await;
    let connection = NegotiatedConnection::negotiate(server.address, "").await;
    let mut stream = connection.open_event_stream("connect", "").await;
    assert_eq!(connection.request("start").await.status, 200);
    assert_eq!(connection.post(r#"{"H":"chat","M":"JoinRoom","A":["r"],"I":"0"}"#).await.status, 200);
    let call = format!(r#"{{"H":"chat","M":"PassOn","A":["r",{RELAYED}],"I":"1"}}"#);
    assert_eq!(connection.post(&call).await.status, 200);
    let event = loop {
        let event = stream.read_until("\n\n").await.expect("an event before the end");
        if event.contains("relayed") {
            break event;
        }
    };
    assert!(event.ends_with(r#""M":"relayed","A":[{"a":[1,"\u0085\u2028\u2029"]}]}]}"#), "{event}");
}

#[tokio::test]
async fn relayed_json_reaches_every_transport() {
    let server = Server::start().await;
    for transport in TRANSPORTS {
        let mut client = ClassicClient::connect_and_join(server.address, transport, "ann", transport).await;
        let call = format!(r#"{{"H":"chat","M":"PassOn","A":["{transport}",{RELAYED}],"I":"r"}}"#);
        assert_eq!(client.connection.post(&call).await.status, 200, "{transport}");
        let (_, method, arguments) = client.next_invocation().await;
        assert_eq!((&*method, arguments), ("relayed", json!([{ "a": [1, "\u{85}\u{2028}\u{2029}"] }])), "{transport}");
    }
}

#[tokio::test]
async fn relayed_json_is_one_script_of_a_forever_frame() {
    let server = Server::start().await;
    let connection = NegotiatedConnection::negotiate(server.address, "").await;
    let request = format!("GET {}", connection.path("connect", "foreverFrame", "&frameId=1"));
    let mut page = StreamingResponse::start(server.address, &request, "").await;
    assert_eq!(connection.request("start").await.status, 200);
    assert_eq!(connection.post(r#"{"H":"chat","M":"JoinRoom","A":["r"],"I":"0"}"#).await.status, 200);
    let call = format!(r#"{{"H":"chat","M":"PassOn","A":["r",{RELAYED}],"I":"1"}}"#);
    assert_eq!(connection.post(&call).await.status, 200);
    let script = loop {
        let script = page.read_until("</script>\r\n").await.expect("a script before the end");
        if script.contains("relayed") {
            break script;
        }
    };
    assert!(script.ends_with(r#""M":"relayed","A":[{"a":[1,"\u0085\u2028\u2029"]}]}]});"#), "{script}");
}

#[tokio::test]
async fn invalid_call_over_websocket_is_answered() {
    let server = Server::start().await;
    let mut client = ClassicClient::connect(server.address, "webSockets", "").await;
    for (call, member, value) in [
        ("{'H':'chat','M':'Echo','A':['x',],'I':'a'} ", "R", "x"),
        (r#"{"H":"chat","M":"Echo","A":["x"],"I":"b"} and more"#, "R", "x"),
        (r#"{"H":"chat","A":[],"I":"c"}"#, "E", "The message names no method."),
        (r#"{"H":"nope","M":"Echo","A":[],"I":"d"}"#, "E", "'nope' Hub could not be resolved."),
    ] {
        client.send_message(Message::text(call)).await;
        let response = client.next_frame().await.expect(call);
        assert_eq!(response[member], value, "{call}: {response}");
    }
}

#[tokio::test]
async fn oversized_message_ends_without_close_frame() {
    let server = Server::start().await;
    expect_end_without_close_frame(server.address).await;
}

#[actix_web::test]
async fn oversized_message_ends_without_second_socket_handle() {
    let engine = Engine::builder()
        .hub("/chat", hubs::chat())
        .classic("/signalr")
        .authenticate(identity::identify)
        .build()
        .unwrap();
    let server = actix_test::start(move || App::new().configure(engine.routes()));
    expect_end_without_close_frame(server.addr()).await;
}

async fn expect_end_without_close_frame(server: std::net::SocketAddr) {
    let mut client = ClassicClient::connect(server, "webSockets", "").await;
    let call = json!({ "H": "chat", "M": "Echo", "A": ["x".repeat(66_000)], "I": "0" });
    client.send_message(Message::text(call.to_string())).await;
    assert_eq!(client.wait_for_close().await, None);
}

#[tokio::test]
async fn invalid_message_ends_only_the_channel() {
    let (server, mut events) = Server::start_with_event_log(|engine| engine).await;
    let mut client = ClassicClient::connect(server.address, "webSockets", "").await;
    assert_eq!(events.next_event().await, "connected");
    for (message, code) in [
        (Message::Binary(Bytes::from_static(b"x")), Some(CloseCode::Unsupported)),
        (Message::Binary(Bytes::new()), Some(CloseCode::Unsupported)),
        // Wire: ASP.NET SignalR sends no close frame here, so that the client reports an error.
        (Message::text("x".repeat(64 * 1024 + 1)), None),
    ] {
        client.send_message(message).await;
        assert_eq!(client.wait_for_close().await, code);
        client.reconnect().await;
        assert_eq!(events.next_event().await, "reconnected");
    }
}

#[tokio::test]
async fn message_of_maximum_length_is_accepted() {
    let server = Server::start().await;
    let mut client = ClassicClient::connect(server.address, "webSockets", "").await;
    let frame = json!({ "H": "chat", "M": "Echo", "A": [""], "I": "1" }).to_string();
    let text = "x".repeat(64 * 1024 - frame.len());
    assert_eq!(client.invoke("Echo", json!([text])).await, text);
}
