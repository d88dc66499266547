//! POST requests of ASP.NET Core SignalR clients that are cut, broken or late.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::support::{NegotiatedCore, Server, wait_until_async, with_timeout};

const HANDSHAKE: &str = r#"{"protocol":"json","version":1}"#;
const PING: &str = "{\"type\":6}\u{1e}";
const UNKNOWN: (u16, &str) = (404, "No Connection with that ID");

fn echo(id: u32) -> String {
    format!("{{\"type\":1,\"invocationId\":\"{id}\",\"target\":\"Echo\",\"arguments\":[\"x\"]}}\u{1e}")
}

fn echoed(id: u32) -> String {
    format!("{{\"type\":3,\"invocationId\":\"{id}\",\"result\":\"x\"}}\u{1e}")
}

/// Sends a POST request with hand-made framing.
async fn post(server: &Server, client: &NegotiatedCore, framing: &str, body: &str) -> TcpStream {
    let mut socket = with_timeout(TcpStream::connect(server.address)).await.unwrap();
    let path = client.path();
    socket
        .write_all(format!("POST {path} HTTP/1.1\r\nHost: test\r\n{framing}\r\n\r\n{body}").as_bytes())
        .await
        .unwrap();
    socket
}

#[tokio::test]
async fn incomplete_message_of_an_aborted_post_is_dropped() {
    let server = Server::start().await;
    let client = NegotiatedCore::polling(&server, "/chat", "").await;
    let aborted = post(&server, &client, "Content-Length: 1000", &(echo(1) + &echo(2)[..30])).await;
    assert_eq!(client.poll().await.body, echoed(1));
    drop(aborted);
    assert_eq!(client.post("").await.status, 200);
    assert_eq!(client.post(&echo(3)).await.status, 200);
    assert_eq!(client.poll().await.body, echoed(3));
}

#[tokio::test]
async fn connection_survives_a_broken_chunk() {
    let server = Server::start().await;
    let client = NegotiatedCore::polling(&server, "/chat", "").await;
    let record = echo(1);
    let body = format!("{:x}\r\n{record}\r\n", record.len());
    let mut broken = post(&server, &client, "Transfer-Encoding: chunked", &body).await;
    assert_eq!(client.poll().await.body, echoed(1));
    broken.write_all(b"zz\r\n").await.unwrap();
    let mut response = Vec::new();
    with_timeout(broken.read_to_end(&mut response)).await.unwrap();
    assert!(response.starts_with(b"HTTP/1.1 400 "), "{}", String::from_utf8_lossy(&response));
    assert_eq!(client.post(&echo(2)).await.status, 200);
    assert_eq!(client.poll().await.body, echoed(2));
}

#[tokio::test]
async fn refused_poller_is_known_until_it_has_read_so() {
    let server = Server::start().await;
    let client = NegotiatedCore::new(&server, "/chat", "&fail=hub").await;
    assert_eq!(client.poll().await.status, 200);
    client.send(&[HANDSHAKE]).await;
    let mut polled = String::new();
    while !polled.contains("\"type\":7") {
        let late = client.post(PING).await;
        assert_eq!((late.status, &*late.body), (200, ""), "after {polled}");
        polled += &client.poll().await.body;
    }
    let late = client.post(PING).await;
    assert_eq!((late.status, &*late.body), (200, ""), "the end is not delivered");
    assert_eq!(client.poll().await.status, 204);
    wait_until_async(async || client.post(PING).await.status == 404).await;
    let late = client.poll().await;
    assert_eq!((late.status, &*late.body), UNKNOWN);
}
