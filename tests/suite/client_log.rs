//! The log lines of the service about its clients: each fault has one with its cause, and a client cannot fill the log.
//! No line contains a password.

use hubcast_fixtures::servers::reserve_port;
use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

use crate::support::{ClassicClient, CoreClient, ServiceProcess, http_request};

const WEBSOCKET: &str = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// Checks that the next line with `text` has all `parts`.
async fn assert_logged(server: &mut ServiceProcess, text: &str, parts: &[&str]) {
    let line = server.log_line(text).await;
    for part in parts {
        assert!(line.contains(part), "`{part}` in {line}");
    }
}

#[tokio::test]
async fn refused_calls_name_connection_and_method() {
    let data = tempfile::tempdir().unwrap();
    let mut server = ServiceProcess::start_logged(data.path(), None).await;
    let mut client = CoreClient::connect(server.address, "/chat?user=ann").await;
    let subject = ["INFO", " conn=", " user=ann", " address=127.0.0.1:", " hub=chat"];
    client.invoke_nonblocking("Nope", json!([])).await;
    assert_logged(&mut server, "unknown hub method", &[&subject[..], &[" method=Nope"]].concat()).await;
    client.invoke_nonblocking("JoinRoom", json!([{ "secret": 1 }])).await;
    let expected = [" method=JoinRoom", " reason=\"invalid type: map, expected a string"];
    assert_logged(&mut server, "arguments do not match", &[&subject[..], &expected].concat()).await;
    client.invoke_nonblocking("JoinRoom", json!([])).await;
    assert_logged(&mut server, "arguments do not match", &["0 arguments instead of 1"]).await;
    client.invoke_nonblocking("a\nb c=d", json!([])).await;
    assert_logged(&mut server, "unknown hub method", &[r#" method="a\nb c=d""#]).await;
}

#[tokio::test]
async fn invalid_data_is_logged_with_reason() {
    let data = tempfile::tempdir().unwrap();
    let mut server = ServiceProcess::start_logged(data.path(), None).await;
    let address = server.address;
    let mut client = CoreClient::open(address, "/chat?user=ann").await;
    client.send_record(r#"{"protocol":"foo","version":1}"#).await;
    assert_logged(&mut server, "handshake refused", &["user=ann", "hub=chat", "The protocol 'foo' is"]).await;
    let mut client = CoreClient::connect(address, "/chat").await;
    client.send_record("{bad").await;
    assert_logged(&mut server, "invalid message", &["conn=", "JSON"]).await;
    let mut client = CoreClient::connect(address, "/chat").await;
    client.send_record(&"x".repeat(40_000)).await;
    assert_logged(&mut server, "message too long", &["32768"]).await;
    let mut client = CoreClient::connect(address, "/chat").await;
    client.send_message(Message::Frame(invalid_frame())).await;
    assert_logged(&mut server, "invalid WebSocket frame", &["address=127.0.0.1:", "reason="]).await;

    let mut client = ClassicClient::connect(address, "webSockets", "&user=bob").await;
    client.send_message(Message::text("{")).await;
    assert_logged(&mut server, "invalid message", &["user=bob", "no invocation"]).await;
    client.send_message(Message::text(r#"{"H":"nohub","M":"Add","A":[],"I":0}"#)).await;
    assert_logged(&mut server, "unknown hub", &["user=bob", "hub=nohub", "method=Add"]).await;
    client.send_message(Message::text("x".repeat(70_000))).await;
    assert_logged(&mut server, "message too long", &["user=bob", "65536"]).await;
}

/// A frame with an opcode that does not exist.
fn invalid_frame() -> tokio_tungstenite::tungstenite::protocol::frame::Frame {
    use tokio_tungstenite::tungstenite::protocol::frame::{
        Frame, FrameHeader,
        coding::{Control, OpCode},
    };
    let header =
        FrameHeader { opcode: OpCode::Control(Control::Reserved(11)), mask: Some([1; 4]), ..FrameHeader::default() };
    Frame::from_payload(header, bytes::Bytes::new())
}

#[tokio::test]
async fn refused_requests_are_logged_with_status_and_reason() {
    let data = tempfile::tempdir().unwrap();
    let mut server = ServiceProcess::start_logged(data.path(), None).await;
    let address = server.address;
    for (request, headers, text, parts) in [
        (
            "GET /chat?id=no&user=ann",
            WEBSOCKET,
            "(404)",
            &["user=ann", "path=/chat", "\"No Connection with that ID\""][..],
        ),
        ("GET /nothing", "", "(404)", &["address=127.0.0.1:", "verb=GET", "path=/nothing"]),
        (
            "GET /chat",
            &format!("{WEBSOCKET}Origin: https://b.example\r\n"),
            "foreign origin",
            &["WARN", "origin=https://b.example", "path=/chat"],
        ),
        ("GET /chat?user=ann", "X-Forwarded-For: 10.0.0.1\r\n", "(401)", &["path=/chat", "not to those of a proxy"]),
        ("GET /signalr/connect?transport=foo", "", "request refused", &["status=400", "Unknown transport"]),
        ("POST /chat/negotiate?negotiateVersion=x", "", "negotiation refused", &["non-integer protocol version"]),
    ] {
        http_request(address, request, headers).await;
        assert_logged(&mut server, text, parts).await;
    }
}

#[tokio::test]
async fn refused_groups_token_is_logged() {
    let data = tempfile::tempdir().unwrap();
    let mut server = ServiceProcess::start_logged(data.path(), None).await;
    let mut client = ClassicClient::connect(server.address, "longPolling", "&user=bob").await;
    client.groups_token = Some("no-token".into());
    client.reconnect().await;
    let expected = ["user=bob", "address=127.0.0.1:", "reason=malformed"];
    assert_logged(&mut server, "rejoin token refused", &expected).await;
}

#[tokio::test]
async fn connections_are_logged_at_debug() {
    let data = tempfile::tempdir().unwrap();
    let mut server = ServiceProcess::start_logged(data.path(), Some("hubcast=debug")).await;
    let mut client = CoreClient::connect(server.address, "/chat?user=ann").await;
    assert_logged(
        &mut server,
        " connected",
        &["DEBUG", "conn=", "user=\"ann\"", "address=127.0.0.1:", "transport=WebSockets"],
    )
    .await;
    client.send_record(r#"{"type":7}"#).await;
    assert_logged(&mut server, "disconnected", &["DEBUG", "conn=", "reason=stopped"]).await;
}

#[tokio::test]
async fn client_cannot_fill_the_log() {
    const CALLS: usize = 200;
    let data = tempfile::tempdir().unwrap();
    let server = ServiceProcess::start_logged(data.path(), None).await;
    let mut client = CoreClient::connect(server.address, "/chat?user=ann").await;
    for _ in 0..CALLS {
        client.invoke_error("Nope", json!([])).await;
    }
    let (_, lines) = server.stop().await;
    let logged = lines.iter().filter(|line| line.contains("unknown hub method conn=")).count();
    let suppressed: usize = lines
        .iter()
        .filter_map(|line| line.split_once("suppressed=")?.1.split(' ').next())
        .map(|count| count.parse::<usize>().unwrap())
        .sum();
    assert!(suppressed > 0, "{lines:?}");
    assert_eq!(logged + suppressed, CALLS, "{lines:?}");
}

#[tokio::test]
async fn password_of_the_database_is_in_no_line() {
    let data = tempfile::tempdir().unwrap();
    for scheme in ["postgres", "mysql"] {
        let url = format!("{scheme}://app:hunter2@{}/hubcast", reserve_port());
        let settings = [("HUBCAST_STORE__URL", &*url), ("RUST_LOG", "trace")];
        let (code, log) = ServiceProcess::run_to_end(data.path(), &settings).await;
        assert!(code == Some(1) && log.contains("TRACE") && log.contains("/hubcast"), "{log}");
        assert!(!log.contains("hunter2"), "{log}");
    }
}
