//! Requests that the HTTP layer would refuse without a word: raw characters in targets are served, malformed heads get an
//! answer with a text, and a line in the log.

use std::net::SocketAddr;

use serde_json::{Value, json};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
};

use crate::support::{Certificate, NegotiatedConnection, NegotiatedCore, Server, ServiceProcess, with_timeout};

/// Sends bytes in parts, and returns what the server sends until it closes the connection.
async fn exchange(mut socket: impl AsyncRead + AsyncWrite + Unpin, parts: &[&[u8]]) -> String {
    for part in parts {
        with_timeout(socket.write_all(part)).await.unwrap();
        socket.flush().await.unwrap();
        tokio::task::yield_now().await;
    }
    let mut response = Vec::new();
    with_timeout(socket.read_to_end(&mut response)).await.unwrap();
    String::from_utf8(response).unwrap()
}

async fn connect(server: SocketAddr) -> TcpStream {
    let socket = with_timeout(TcpStream::connect(server)).await.unwrap();
    socket.set_nodelay(true).unwrap();
    socket
}

/// A request without a body.
fn get(target: &str, fields: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: test\r\n{fields}\r\n")
}

const LAST: &str = "Connection: close\r\n";

/// The negotiations of classic clients that do not encode their query, as curl and other tools send it.
const RAW_NEGOTIATIONS: [&str; 5] = [
    r#"/signalr/negotiate?clientProtocol=2.1&connectionData=[{"name":"chat"}]"#,
    "/signalr/negotiate?clientProtocol=2.1&x=<",
    "/signalr/negotiate?clientProtocol=2.1&x=>",
    "/signalr/negotiate?clientProtocol=2.1&user=ä€",
    "/signalr/a`<>/negotiate?clientProtocol=2.1",
];

#[tokio::test]
async fn raw_characters_in_targets_are_served() {
    let server = Server::start().await;
    for target in RAW_NEGOTIATIONS {
        let response = exchange(connect(server.address).await, &[get(target, LAST).as_bytes()]).await;
        assert!(response.starts_with("HTTP/1.1 200 ") && response.contains("ConnectionToken"), "{target}: {response}");
    }
}

#[tokio::test]
async fn raw_query_reaches_hubs_of_both_generations() {
    let server = Server::start().await;
    let user = "\"<ä>\"";
    let core = NegotiatedCore::polling(&server, "/chat", &format!("&user={user}")).await;
    core.send(&[r#"{"type":1,"invocationId":"1","target":"Query","arguments":["user"]}"#]).await;
    let record = core.poll().await.body;
    let answer: Value = serde_json::from_str(record.trim_end_matches('\u{1e}')).unwrap();
    assert_eq!(answer["result"], json!(user), "{answer}");

    let connection = NegotiatedConnection::negotiate(server.address, "").await;
    let raw = r#"connectionData=[{"name":"chat"}]"#;
    for (operation, transport, start) in
        [("connect", "serverSentEvents", "data: initialized"), ("connect", "longPolling", r#""S":1"#)]
    {
        let path = connection.path(operation, transport, "");
        let encoded = "connectionData=%5B%7B%22name%22%3A%22chat%22%7D%5D";
        let target = path.replace(encoded, raw);
        assert_ne!(target, path);
        let mut socket = connect(server.address).await;
        socket.write_all(get(&target, "").as_bytes()).await.unwrap();
        let mut response = Vec::new();
        while !String::from_utf8_lossy(&response).contains(start) {
            assert_ne!(with_timeout(socket.read_buf(&mut response)).await.unwrap(), 0, "{response:?}");
        }
    }
}

/// Three requests on one connection. The body of the second one looks like a request.
async fn conversation(server: &Server) -> String {
    let [first, .., last] = RAW_NEGOTIATIONS;
    let (body, client) = (get(first, ""), NegotiatedCore::new(server, "/chat", "&x=<\">").await);
    let (path, length) = (client.path(), body.len());
    let post = format!("POST {path} HTTP/1.1\r\nHost: test\r\nContent-Length: {length}\r\n\r\n{body}");
    [get(first, ""), post, get(last, LAST)].concat()
}

fn assert_conversation(responses: &str) {
    let responses: Vec<_> = responses.split("HTTP/1.1 200 OK\r\n").collect();
    let negotiations: Vec<_> = responses.iter().map(|response| response.contains("ConnectionToken")).collect();
    assert_eq!(negotiations, [false, true, false, true], "{responses:?}");
}

#[tokio::test]
async fn pipelined_requests_with_bodies_keep_their_order() {
    let server = Server::start().await;
    for parts in [1, 7, 60] {
        let conversation = conversation(&server).await;
        let length = conversation.len().div_ceil(parts);
        let parts: Vec<_> = conversation.as_bytes().chunks(length).collect();
        assert_conversation(&exchange(connect(server.address).await, &parts).await);
    }
}

#[tokio::test]
async fn raw_targets_are_served_over_tls() {
    let certificate = Certificate::generate();
    let server = Server::start_with_tls(&certificate, |_, _| (), |engine| engine).await;
    let connect = async || certificate.connect(server.address).await.unwrap();
    let conversation = RAW_NEGOTIATIONS.map(|target| get(target, "")).concat() + &get("/missing", LAST);
    let responses = exchange(connect().await, &[conversation.as_bytes()]).await;
    assert_eq!(responses.matches("ConnectionToken").count(), RAW_NEGOTIATIONS.len(), "{responses}");
    let refused = exchange(connect().await, &[b"GET / HTTP/1.1\r\n\r\n"]).await;
    assert!(refused.starts_with("HTTP/1.1 400 ") && refused.ends_with("exactly one Host header."), "{refused}");
}

/// Malformed requests, with the status and a part of the text of their response.
fn malformed() -> Vec<(String, u16, &'static str)> {
    vec![
        (get("/\u{1}", ""), 400, "target"),
        (get("/a b", ""), 400, "method, a target and a version"),
        ("\u{16}\u{3}\u{1}\u{2}".to_owned(), 400, "speaks HTTP/1.1"),
        ("GET / HTTP/2.0\r\n\r\n".to_owned(), 505, "version"),
        ("GET / HTTP/1.1\r\n\r\n".to_owned(), 400, "Host"),
        (get("/", "Host: x\r\n"), 400, "Host"),
        (get("/", "A b: c\r\n"), 400, "name of a header"),
        (get("/", "A: \u{1}\r\n"), 400, "value of a header"),
        (get("/", "Content-Length: 1\r\nContent-Length: 1\r\n"), 400, "Content-Length"),
        (get("/", "Transfer-Encoding: gzip\r\n"), 400, "Transfer-Encoding"),
        (get("/", &"a: b\r\n".repeat(96)), 431, "96 headers"),
        (get("/", &format!("a: {}\r\n", "b".repeat(140_000))), 431, "131072 bytes"),
        (get(&format!("/{}", "x".repeat(70_000)), ""), 414, "65534 bytes"),
        (get("/", &format!("{}: b\r\n", "a".repeat(70_000))), 400, "too long"),
    ]
}

#[tokio::test]
async fn malformed_requests_get_a_reason() {
    let server = Server::start().await;
    for (request, status, text) in malformed() {
        let response = exchange(connect(server.address).await, &[request.as_bytes()]).await;
        let (head, body) = response.split_once("\r\n\r\n").unwrap_or_default();
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")) && body.contains(text), "{text}: {response}");
        assert!(head.contains("content-type: text/plain") && head.contains("connection: close"), "{head}");
    }
}

#[tokio::test]
async fn malformed_request_is_answered_after_earlier_ones() {
    let server = Server::start().await;
    let earlier = get(RAW_NEGOTIATIONS[0], "");
    let responses = exchange(connect(server.address).await, &[earlier.as_bytes(), b"GET / HTTP/1.1\r\n\r\n"]).await;
    let second = responses.rfind("HTTP/1.1 400 Bad Request\r\n").expect("a refusal");
    assert!(responses.starts_with("HTTP/1.1 200 ") && responses[..second].contains("ConnectionToken"), "{responses}");
    assert!(responses.ends_with("exactly one Host header."), "{responses}");
}

#[tokio::test]
async fn malformed_requests_are_logged() {
    let data = tempfile::tempdir().unwrap();
    let mut server = ServiceProcess::start_logged(data.path(), None).await;
    for (request, reason) in [
        (get("/\u{1}", ""), "target"),
        (get("/", "Host: x\r\n"), "Host header"),
        // Behind an unusual head the HTTP layer answers by itself.
        (get("/", "Connection: unusual\r\n") + "GET / HTTP/1.1\r\n\r\n", "reason="),
    ] {
        exchange(connect(server.address).await, &[request.as_bytes()]).await;
        let line = server.log_line("malformed HTTP request refused").await;
        assert!(line.contains("INFO") && line.contains(" address=127.0.0.1:") && line.contains(reason), "{line}");
    }
}

/// The compatibility page states it.
#[tokio::test]
async fn mounted_engine_leaves_raw_targets_to_actix() {
    let server = Server::start_mounted(None, hubcast::on_connect, |engine| engine).await;
    for target in RAW_NEGOTIATIONS {
        let response = exchange(connect(server.address).await, &[get(target, LAST).as_bytes()]).await;
        assert!(response.starts_with("HTTP/1.1 400 ") && response.ends_with("\r\n\r\n"), "{target}: {response}");
    }
}
