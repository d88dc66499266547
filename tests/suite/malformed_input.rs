//! Malformed and unusual input: WebSocket frames, records and HTTP bodies.

use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_tungstenite::tungstenite::{Message, protocol::frame::coding::CloseCode};

use crate::support::{CoreClient, NegotiatedConnection, Server, http_request, with_timeout};

/// An invocation of `Add`, with the record separator.
const INVOCATION: &[u8] = b"{\"type\":1,\"invocationId\":\"1\",\"target\":\"Add\",\"arguments\":[2,3]}\x1e";

/// A WebSocket client that sends hand-made frames.
struct RawWebSocket(TcpStream);

impl RawWebSocket {
    async fn connect(server: &Server) -> Self {
        let mut raw = Self::upgrade(server, "/chat").await;
        raw.send_frame(0x81, b"{\"protocol\":\"json\",\"version\":1}\x1e").await;
        assert_eq!(raw.receive().await, (0x81, b"{}\x1e".to_vec()));
        raw
    }

    async fn upgrade(server: &Server, path: &str) -> Self {
        let mut socket = with_timeout(TcpStream::connect(server.address)).await.unwrap();
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            server.address
        );
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(with_timeout(socket.read_u8()).await.unwrap());
        }
        Self(socket)
    }

    /// Waits until the server has closed the TCP connection, which this side keeps open.
    async fn expect_end(&mut self) {
        assert_eq!(with_timeout(self.0.read(&mut [0])).await.unwrap(), 0);
    }

    /// Sends a short frame with the given first byte, masked with zeros.
    async fn send_frame(&mut self, first: u8, payload: &[u8]) {
        let length = u8::try_from(payload.len()).unwrap();
        assert!(length < 126, "a short frame");
        let head = [first, 0x80 | length, 0, 0, 0, 0];
        self.0.write_all(&[&head[..], payload].concat()).await.unwrap();
    }

    /// Receives a short frame; returns its first byte and its payload.
    async fn receive(&mut self) -> (u8, Vec<u8>) {
        let mut head = [0; 2];
        with_timeout(self.0.read_exact(&mut head)).await.unwrap();
        assert!(head[1] < 126, "a short frame without a mask");
        let mut payload = vec![0; head[1].into()];
        with_timeout(self.0.read_exact(&mut payload)).await.unwrap();
        (head[0], payload)
    }

    /// The code of the next frame, which must be a close frame.
    async fn close_code(&mut self) -> u16 {
        let (first, payload) = self.receive().await;
        assert_eq!(first, 0x88, "{payload:?}");
        u16::from_be_bytes([payload[0], payload[1]])
    }

    async fn receive_text(&mut self) -> Vec<u8> {
        let (first, payload) = self.receive().await;
        assert_eq!(first, 0x81);
        payload
    }
}

const COMPLETION: &[u8] = b"{\"type\":3,\"invocationId\":\"1\",\"result\":5}\x1e";

#[tokio::test]
async fn fragmented_message_can_contain_a_ping() {
    let server = Server::start().await;
    let mut raw = RawWebSocket::connect(&server).await;
    let (start, end) = INVOCATION.split_at(20);
    raw.send_frame(0x01, start).await;
    raw.send_frame(0x89, b"are you there?").await;
    assert_eq!(raw.receive().await, (0x8a, b"are you there?".to_vec()), "a pong with the same payload");
    raw.send_frame(0x00, &end[..5]).await;
    raw.send_frame(0x80, &end[5..]).await;
    assert_eq!(raw.receive_text().await, COMPLETION);
}

#[tokio::test]
async fn ten_pings_get_ten_pongs_in_order() {
    let server = Server::start().await;
    let mut raw = RawWebSocket::connect(&server).await;
    let pings: Vec<_> = (b'0'..=b'9').flat_map(|payload| [0x89, 0x81, 0, 0, 0, 0, payload]).collect();
    raw.0.write_all(&pings).await.unwrap();
    for payload in b'0'..=b'9' {
        assert_eq!(raw.receive().await, (0x8a, vec![payload]));
    }
}

#[tokio::test]
async fn record_can_span_several_frames() {
    let server = Server::start().await;
    let mut raw = RawWebSocket::connect(&server).await;
    let (start, end) = INVOCATION.split_at(30);
    raw.send_frame(0x81, start).await;
    raw.send_frame(0x82, end).await;
    assert_eq!(raw.receive_text().await, COMPLETION);
    raw.send_frame(0x82, INVOCATION).await;
    assert_eq!(raw.receive_text().await, COMPLETION, "text and binary frames are equivalent");
}

#[tokio::test]
async fn websocket_violations_get_their_close_code() {
    let server = Server::start().await;
    for (name, first, payload, code) in [
        ("a reserved bit", 0xc1, &b"text"[..], 1002),
        ("a reserved opcode", 0x83, b"text", 1002),
        ("a fragmented control frame", 0x09, b"ping", 1002),
        ("a reserved close code", 0x88, &[0x03, 0xed], 1002),
        ("text that is not UTF-8", 0x81, &[0xff, 0xfe], 1007),
    ] {
        let mut raw = RawWebSocket::connect(&server).await;
        raw.send_frame(first, payload).await;
        assert_eq!(raw.close_code().await, code, "{name}");
    }
}

#[tokio::test]
async fn close_handshake_completes_or_times_out() {
    let server = Server::start().await;
    let (mut ready, mut mute) = (RawWebSocket::connect(&server).await, RawWebSocket::connect(&server).await);
    ready.send_frame(0x88, &[]).await;
    assert_eq!(ready.close_code().await, 1000);
    ready.expect_end().await;

    mute.send_frame(0x83, b"reserved opcode").await;
    assert_eq!(mute.close_code().await, 1002);
    mute.expect_end().await;
}

#[tokio::test]
async fn replaced_socket_is_closed_by_the_server() {
    let server = Server::start().await;
    let connection = NegotiatedConnection::negotiate(server.address, "").await;
    let path = connection.path("connect", "webSockets", "");
    let mut older = RawWebSocket::upgrade(&server, &path).await;
    assert_eq!(older.receive().await.0, 0x81, "the initial frame");
    let _newer = RawWebSocket::upgrade(&server, &path).await;
    while older.receive().await.0 != 0x88 {}
    older.expect_end().await;
}

#[tokio::test]
async fn close_frame_is_answered_with_1000() {
    let server = Server::start().await;
    for payload in [&[][..], &[0x03, 0xe8], &[0x03, 0xe9], &[0x0f, 0xa0, b'b', b'y', b'e']] {
        let mut raw = RawWebSocket::connect(&server).await;
        raw.send_frame(0x88, payload).await;
        assert_eq!(raw.close_code().await, 1000, "{payload:?}");
    }
}

#[tokio::test]
async fn invalid_utf8_fails_only_its_invocation() {
    let server = Server::start().await;
    let mut client = CoreClient::connect(server.address, "/chat").await;
    let mut call = br#"{"type":1,"invocationId":"a","target":"Echo","arguments":["?"]}"#.to_vec();
    let at = call.iter().position(|byte| *byte == b'?').unwrap();
    call[at] = 0xff;
    call.push(0x1e);
    client.send_message(Message::binary(call)).await;
    let error = "Failed to invoke 'Echo' due to an error on the server.";
    assert_eq!(client.next_record().await, json!({ "type": 3, "invocationId": "a", "error": error }));
    client.expect_no_message().await;
}

#[tokio::test]
async fn json_nesting_limit_matches_aspnet_core() {
    let server = Server::start().await;
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    let call = |depth| format!(r#"{{"type":1,"invocationId":"a","target":"Any","arguments":[{}]}}"#, nested(depth));
    let mut client = CoreClient::connect(server.address, "/chat").await;
    client.send_record(&call(62)).await;
    assert_eq!(client.completion("a").await["result"].to_string(), nested(62));
    client.send_record(&call(63)).await;
    assert!(client.expect_close().await.allow_reconnect);
}

#[tokio::test]
async fn invalid_upgrade_is_treated_as_a_poll() {
    let server = Server::start().await;
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\n";
    for headers in [
        "",
        "Sec-WebSocket-Version: 12\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
        "Sec-WebSocket-Version: 13\r\n",
    ] {
        let response = http_request(server.address, "GET /chat", &format!("{upgrade}{headers}")).await;
        assert_eq!((response.status, &*response.body), (400, "Connection ID required"), "{headers}");
    }
}

#[tokio::test]
async fn other_protocol_or_version_is_not_upgraded() {
    let server = Server::start().await;
    let token = NegotiatedConnection::negotiate(server.address, "").await;
    let classic = token.path("connect", "webSockets", "");
    let key = "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    for (version, protocol) in [(" HTTP/1.0", "websocket"), ("", "xwebsocketx")] {
        for path in ["/chat", &classic] {
            let request = format!("GET {path}{version}");
            let response = http_request(server.address, &request, &format!("{key}Upgrade: {protocol}\r\n")).await;
            assert_eq!(response.status, 400, "{request}: {}", response.body);
        }
    }
}

#[tokio::test]
async fn server_accepts_clients_after_protocol_errors() {
    let server = Server::start().await;
    for record in ["", "\u{0}", "{", "[[[[", "\"", "{\"type\":1e400}", "{\"type\":{}}", "\u{feff}{}"] {
        let mut client = CoreClient::connect(server.address, "/chat").await;
        client.send_record(record).await;
        assert_eq!(client.wait_for_close().await, Some(CloseCode::Normal), "{record:?}");
    }
    let mut client = CoreClient::connect(server.address, "/chat").await;
    assert_eq!(client.invoke("Add", json!([1, 1])).await, 2);
    assert_eq!(server.engine.metrics().connections_faulted.get(), 8);
}

/// Posts to a negotiated connection that has no transport yet, and returns the head of the response. `announced` is the
/// content length; if it exceeds the body, the request never ends.
async fn post_before_transport(server: &Server, token: &str, body: &str, announced: usize) -> String {
    let mut socket = with_timeout(TcpStream::connect(server.address)).await.unwrap();
    let line = format!("POST /chat?id={token} HTTP/1.1\r\nHost: {}\r\n", server.address);
    let request = format!("{line}Content-Length: {announced}\r\n\r\n{body}");
    with_timeout(socket.write_all(request.as_bytes())).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(with_timeout(socket.read_u8()).await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

async fn token(server: &Server) -> String {
    let offer = http_request(server.address, "POST /chat/negotiate?negotiateVersion=1", "").await.json();
    offer["connectionToken"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn data_posted_before_the_transport_is_processed() {
    let server = Server::start().await;
    let token = token(&server).await;
    for part in ["{\"protocol\":\"json\",", "\"version\":1}\u{1e}"] {
        let head = post_before_transport(&server, &token, part, part.len()).await;
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    }
    let mut client = CoreClient::open(server.address, &format!("/chat?id={token}")).await;
    assert_eq!(client.next_record().await, json!({}), "the handshake was posted");
    client.expect_no_message().await;
}

#[tokio::test]
async fn oversized_body_is_refused_without_reading_it() {
    let server = Server::start().await;
    let token = token(&server).await;
    let body = "x".repeat(64 * 1024 + 1);
    let head = post_before_transport(&server, &token, &body, 1 << 30).await;
    assert!(head.starts_with("HTTP/1.1 413 "), "{head}");
    CoreClient::connect(server.address, &format!("/chat?id={token}")).await.expect_no_message().await;
}
