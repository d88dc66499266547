//! What no well-behaved client does: frames and bytes that are not as they should be.

use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_tungstenite::tungstenite::{Message, protocol::frame::coding::CloseCode};

use crate::support::{ClassicConnection, Client, Server, ask, within};

/// A call of `Add`, with its separator.
const CALL: &[u8] = b"{\"type\":1,\"invocationId\":\"1\",\"target\":\"Add\",\"arguments\":[2,3]}\x1e";

/// A WebSocket whose frames are made by hand.
struct Raw(TcpStream);

impl Raw {
    async fn connect(server: &Server) -> Self {
        let mut raw = Self::upgrade(server, "/chat").await;
        raw.frame(0x81, b"{\"protocol\":\"json\",\"version\":1}\x1e").await;
        assert_eq!(raw.receive().await, (0x81, b"{}\x1e".to_vec()));
        raw
    }

    async fn upgrade(server: &Server, path: &str) -> Self {
        let mut socket = within(TcpStream::connect(server.address)).await.unwrap();
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            server.address
        );
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(within(socket.read_u8()).await.unwrap());
        }
        Self(socket)
    }

    /// Waits until the server has closed the connection, which this side keeps open.
    async fn closed(&mut self) {
        assert_eq!(within(self.0.read(&mut [0])).await.unwrap(), 0);
    }

    /// Sends a frame with that first byte, under a mask that changes nothing.
    async fn frame(&mut self, first: u8, payload: &[u8]) {
        let length = u8::try_from(payload.len()).unwrap();
        assert!(length < 126, "a short frame");
        let head = [first, 0x80 | length, 0, 0, 0, 0];
        self.0.write_all(&[&head[..], payload].concat()).await.unwrap();
    }

    /// A short frame of the server's: its first byte, and what it carries.
    async fn receive(&mut self) -> (u8, Vec<u8>) {
        let mut head = [0; 2];
        within(self.0.read_exact(&mut head)).await.unwrap();
        assert!(head[1] < 126, "a short frame without a mask");
        let mut payload = vec![0; head[1].into()];
        within(self.0.read_exact(&mut payload)).await.unwrap();
        (head[0], payload)
    }

    /// The code of the close frame that comes next.
    async fn close_code(&mut self) -> u16 {
        let (first, payload) = self.receive().await;
        assert_eq!(first, 0x88, "{payload:?}");
        u16::from_be_bytes([payload[0], payload[1]])
    }

    async fn answer(&mut self) -> Vec<u8> {
        let (first, payload) = self.receive().await;
        assert_eq!(first, 0x81);
        payload
    }
}

const SUM: &[u8] = b"{\"type\":3,\"invocationId\":\"1\",\"result\":5}\x1e";

#[tokio::test]
async fn a_message_may_come_in_fragments_with_a_ping_in_between() {
    let server = Server::start().await;
    let mut raw = Raw::connect(&server).await;
    let (start, end) = CALL.split_at(20);
    raw.frame(0x01, start).await;
    raw.frame(0x89, b"are you there?").await;
    assert_eq!(raw.receive().await, (0x8a, b"are you there?".to_vec()), "a pong with the same words");
    raw.frame(0x00, &end[..5]).await;
    raw.frame(0x80, &end[5..]).await;
    assert_eq!(raw.answer().await, SUM);
}

#[tokio::test]
async fn messages_do_not_end_where_frames_do() {
    let server = Server::start().await;
    let mut raw = Raw::connect(&server).await;
    let (start, end) = CALL.split_at(30);
    raw.frame(0x81, start).await;
    raw.frame(0x82, end).await;
    assert_eq!(raw.answer().await, SUM);
    raw.frame(0x82, CALL).await;
    assert_eq!(raw.answer().await, SUM, "the kind of a frame is not looked at");
}

#[tokio::test]
async fn a_breach_of_the_websocket_protocol_is_answered_with_its_code() {
    let server = Server::start().await;
    for (name, first, payload, code) in [
        ("a reserved bit", 0xc1, &b"text"[..], 1002),
        ("a reserved kind", 0x83, b"text", 1002),
        ("a control frame in fragments", 0x09, b"ping", 1002),
        ("a close code that nobody may send", 0x88, &[0x03, 0xed], 1002),
        ("text that is no UTF-8", 0x81, &[0xff, 0xfe], 1007),
    ] {
        let mut raw = Raw::connect(&server).await;
        raw.frame(first, payload).await;
        assert_eq!(raw.close_code().await, code, "{name}");
    }
}

#[tokio::test]
async fn a_socket_that_is_closed_on_both_sides_ends_at_once_and_one_whose_client_never_answers_in_time() {
    let server = Server::start().await;
    let (mut ready, mut mute) = (Raw::connect(&server).await, Raw::connect(&server).await);
    ready.frame(0x88, &[]).await;
    assert_eq!(ready.close_code().await, 1000);
    ready.closed().await;

    mute.frame(0x83, b"a kind that there is not").await;
    assert_eq!(mute.close_code().await, 1002);
    mute.closed().await;
}

#[tokio::test]
async fn a_socket_that_was_replaced_is_cut_although_its_client_does_not_close_it() {
    let server = Server::start().await;
    let handle = ClassicConnection::negotiate(server.address, "").await;
    let path = handle.path("connect", "webSockets", "");
    let mut older = Raw::upgrade(&server, &path).await;
    assert_eq!(older.receive().await.0, 0x81, "it begins");
    let _newer = Raw::upgrade(&server, &path).await;
    while older.receive().await.0 != 0x88 {}
    older.closed().await;
}

#[tokio::test]
async fn whoever_closes_is_answered_with_1000_whatever_the_code() {
    let server = Server::start().await;
    for payload in [&[][..], &[0x03, 0xe8], &[0x03, 0xe9], &[0x0f, 0xa0, b'b', b'y', b'e']] {
        let mut raw = Raw::connect(&server).await;
        raw.frame(0x88, payload).await;
        assert_eq!(raw.close_code().await, 1000, "{payload:?}");
    }
}

#[tokio::test]
async fn bytes_that_are_no_text_spoil_an_argument_but_not_the_connection() {
    let server = Server::start().await;
    let mut client = Client::connect(server.address, "/chat").await;
    let mut call = br#"{"type":1,"invocationId":"a","target":"Echo","arguments":["?"]}"#.to_vec();
    let at = call.iter().position(|byte| *byte == b'?').unwrap();
    call[at] = 0xff;
    call.push(0x1e);
    client.send(Message::binary(call)).await;
    let error = "Failed to invoke 'Echo' due to an error on the server.";
    assert_eq!(client.next().await, json!({ "type": 3, "invocationId": "a", "error": error }));
    client.heard_nothing().await;
}

#[tokio::test]
async fn nesting_is_allowed_as_deep_as_the_original_allows_it() {
    let server = Server::start().await;
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    let call = |depth| format!(r#"{{"type":1,"invocationId":"a","target":"Any","arguments":[{}]}}"#, nested(depth));
    let mut client = Client::connect(server.address, "/chat").await;
    client.say(&call(62)).await;
    assert_eq!(client.completion("a").await["result"].to_string(), nested(62));
    client.say(&call(63)).await;
    assert!(client.farewell().await.may_return);
}

#[tokio::test]
async fn a_request_that_is_no_proper_upgrade_is_a_poll() {
    let server = Server::start().await;
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\n";
    for headers in [
        "",
        "Sec-WebSocket-Version: 12\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
        "Sec-WebSocket-Version: 13\r\n",
    ] {
        let answer = ask(server.address, "GET /chat", &format!("{upgrade}{headers}")).await;
        assert_eq!((answer.status, &*answer.body), (400, "Connection ID required"), "{headers}");
    }
}

#[tokio::test]
async fn after_every_misuse_the_server_serves_the_next_client() {
    let server = Server::start().await;
    for record in ["", "\u{0}", "{", "[[[[", "\"", "{\"type\":1e400}", "{\"type\":{}}", "\u{feff}{}"] {
        let mut client = Client::connect(server.address, "/chat").await;
        client.say(record).await;
        assert_eq!(client.end().await, Some(CloseCode::Normal), "{record:?}");
    }
    let mut client = Client::connect(server.address, "/chat").await;
    assert_eq!(client.invoke("Add", json!([1, 1])).await, 2);
    assert_eq!(server.engine.metrics().connections_faulted.get(), 8);
}

/// Posts to a negotiated connection that has no transport yet, and answers the head of what comes back. A body that is
/// announced longer than it is never ends.
async fn post_ahead(server: &Server, token: &str, body: &str, announced: usize) -> String {
    let mut socket = within(TcpStream::connect(server.address)).await.unwrap();
    let line = format!("POST /chat?id={token} HTTP/1.1\r\nHost: {}\r\n", server.address);
    let request = format!("{line}Content-Length: {announced}\r\n\r\n{body}");
    within(socket.write_all(request.as_bytes())).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(within(socket.read_u8()).await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

async fn token(server: &Server) -> String {
    let offer = ask(server.address, "POST /chat/negotiate?negotiateVersion=1", "").await.json();
    offer["connectionToken"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn what_is_posted_ahead_of_a_transport_is_heard_on_it() {
    let server = Server::start().await;
    let token = token(&server).await;
    for part in ["{\"protocol\":\"json\",", "\"version\":1}\u{1e}"] {
        let head = post_ahead(&server, &token, part, part.len()).await;
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    }
    let mut client = Client::dial(server.address, &format!("/chat?id={token}")).await;
    assert_eq!(client.next().await, json!({}), "the handshake was posted");
    client.heard_nothing().await;
}

#[tokio::test]
async fn a_body_is_refused_at_the_limit_and_not_gathered_to_its_end() {
    let server = Server::start().await;
    let token = token(&server).await;
    let body = "x".repeat(64 * 1024 + 1);
    let head = post_ahead(&server, &token, &body, 1 << 30).await;
    assert!(head.starts_with("HTTP/1.1 413 "), "{head}");
    Client::connect(server.address, &format!("/chat?id={token}")).await.heard_nothing().await;
}
