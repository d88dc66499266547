//! Server-Sent Events, long polling, POST and DELETE of ASP.NET Core SignalR clients, byte by byte.

use std::time::Duration;

use hubcast::aspnetcore::Settings;

use crate::support::{HttpResponse, NegotiatedCore, Server, UPGRADE, with_timeout};

const EVENT_STREAM: &str = "Accept: text/event-stream\r\n";
const OTHER_TRANSPORT: &str = "Cannot change transports mid-connection";
const CLOSE: &str = "{\"type\":7,\"allowReconnect\":true}\u{1e}";

/// The header lines of a response in the order of their names, without the date and what concerns the socket.
fn headers(response: &HttpResponse) -> String {
    let names = ["cache-control", "content-encoding", "content-length", "content-type", "expires", "pragma"];
    let lines = names.iter().filter_map(|name| response.header(name).map(|value| format!("{name}: {value}")));
    lines.collect::<Vec<_>>().join("; ")
}

fn assert_empty_poll(response: &HttpResponse, status: u16) {
    assert_eq!((response.status, &*response.body), (status, ""));
    assert_eq!(response.header("content-type"), Some("text/plain"));
    assert_eq!(response.header("cache-control"), Some("no-cache, no-store"));
}

#[tokio::test]
async fn event_stream_has_its_head_and_framing() {
    let server = Server::start().await;
    let client = NegotiatedCore::new(&server, "/chat", "").await;
    let mut stream = client.open_event_stream().await;
    assert_eq!(stream.head.status, 200);
    let expected = "cache-control: no-cache,no-store; content-encoding: identity; content-type: text/event-stream; pragma: no-cache";
    assert_eq!(headers(&stream.head), expected);
    client.send(&[r#"{"protocol":"json","version":1}"#]).await;
    assert_eq!(stream.read_until("\r\n\r\n").await.as_deref(), Some(":\r\ndata: {}\u{1e}"));
    client.send(&[r#"{"type":1,"invocationId":"1","target":"Echo","arguments":["a\nb"]}"#]).await;
    let event = stream.read_until("\r\n\r\n").await.unwrap();
    assert_eq!(event, "data: {\"type\":3,\"invocationId\":\"1\",\"result\":\"a\\nb\"}\u{1e}");
}

#[tokio::test]
async fn relayed_json_is_one_event() {
    let server = Server::start().await;
    let (client, mut stream) = NegotiatedCore::streaming(&server, "").await;
    client.send(&[r#"{"type":1,"invocationId":"1","target":"JoinRoom","arguments":["r"]}"#]).await;
    assert!(stream.read_until("\r\n\r\n").await.unwrap().contains(r#""type":3"#));
    // Every line end that JSON permits between tokens or inside strings.
    let value = "{\r\n\t\"a\" :\n\n[\r1 ,\"\u{85}\u{2028}\u{2029}\"]}";
    client.send(&[&format!(r#"{{"type":1,"target":"PassOn","arguments":["r",{value}]}}"#)]).await;
    let event = stream.read_until("\r\n\r\n").await.unwrap();
    let expected = r#"data: {"type":1,"target":"relayed","arguments":[{"a":[1,"\u0085\u2028\u2029"]}]}"#;
    assert_eq!(event, format!("{expected}\u{1e}"));
}

#[tokio::test]
async fn polls_have_their_heads() {
    let server = Server::start().await;
    let client = NegotiatedCore::new(&server, "/chat", "").await;
    let head = |length| {
        format!(
            "cache-control: no-cache, no-store; content-length: {length}; content-type: application/octet-stream; \
             expires: Thu, 01 Jan 1970 00:00:00 GMT; pragma: no-cache"
        )
    };
    client.send(&[r#"{"protocol":"json","version":1}"#]).await;
    let first = client.poll().await;
    assert_eq!((first.status, &*first.body, headers(&first)), (200, "", head(0)), "although an answer waits");
    let second = client.poll().await;
    assert_eq!((second.status, &*second.body, headers(&second)), (200, "{}\u{1e}", head(3)));
}

#[tokio::test]
async fn newer_poll_takes_over() {
    let server = Server::start().await;
    let client = NegotiatedCore::polling(&server, "/chat", "").await;
    // Either of them may arrive first.
    let polls = futures_util::future::select(client.start_poll(), client.start_poll());
    let (earlier, later) = with_timeout(polls).await.factor_first();
    assert_empty_poll(&earlier.unwrap(), 204);
    client.send(&[r#"{"type":1,"invocationId":"1","target":"Add","arguments":[2,3]}"#]).await;
    assert!(with_timeout(later).await.unwrap().body.contains(r#""result":5"#));
}

#[tokio::test]
async fn connection_keeps_its_first_transport() {
    let server = Server::start().await;
    let (streaming, _stream) = NegotiatedCore::streaming(&server, "").await;
    for (method, headers, status, body) in [
        ("GET", EVENT_STREAM, 409, ""),
        ("GET", "", 400, OTHER_TRANSPORT),
        ("GET", UPGRADE, 400, OTHER_TRANSPORT),
        ("DELETE", "", 400, "Cannot terminate this connection using the DELETE endpoint."),
        ("POST", "", 200, ""),
    ] {
        let response = streaming.request(method, headers).await;
        assert_eq!((response.status, &*response.body), (status, body), "{method} {headers}");
        assert_eq!(response.header("content-type"), Some("text/plain"), "{method} {headers}");
    }
    let polling = NegotiatedCore::polling(&server, "/chat", "").await;
    for headers in [EVENT_STREAM, UPGRADE] {
        let response = polling.request("GET", headers).await;
        assert_eq!((response.status, &*response.body), (400, OTHER_TRANSPORT), "{headers}");
    }
}

#[tokio::test]
async fn delete_ends_the_connection() {
    let (server, mut events) = Server::start_with_event_log(|engine| engine).await;
    let client = NegotiatedCore::polling(&server, "/chat", "").await;
    assert_eq!(events.next_event().await, "connected");
    let response = client.request("DELETE", "").await;
    assert_eq!((response.status, &*response.body), (202, ""));
    assert_eq!(events.next_event().await, "stopped");
    for method in ["GET", "POST", "DELETE"] {
        let response = client.request(method, "").await;
        assert_eq!((response.status, &*response.body), (404, "No Connection with that ID"), "{method}");
    }
}

#[tokio::test]
async fn end_reaches_the_next_polls() {
    let server = Server::start().await;
    let client = NegotiatedCore::polling(&server, "/chat", "").await;
    client.send(&[r#"{"type":7}"#]).await;
    assert_eq!(client.poll().await.body, "{\"type\":7}\u{1e}");
    assert_empty_poll(&client.poll().await, 204);
    assert_eq!(client.poll().await.status, 404);
}

#[tokio::test]
async fn refused_handshake_ends_event_stream_and_polls() {
    let server = Server::start().await;
    let refused = "{\"error\":\"The protocol 'xml' is not supported.\"}\u{1e}";
    let handshake = [r#"{"protocol":"xml","version":1}"#];
    let streaming = NegotiatedCore::new(&server, "/chat", "").await;
    let stream = streaming.open_event_stream().await;
    streaming.send(&handshake).await;
    assert_eq!(stream.read_to_end().await, format!(":\r\ndata: {refused}\r\n\r\n"));
    let polling = NegotiatedCore::new(&server, "/chat", "").await;
    polling.poll().await;
    polling.send(&handshake).await;
    assert_eq!(polling.poll().await.body, refused);
    assert_empty_poll(&polling.poll().await, 204);
}

#[tokio::test]
async fn data_before_the_transport_is_kept_in_order() {
    let server = Server::start().await;
    let client = NegotiatedCore::new(&server, "/chat", "").await;
    for part in ["{\"protocol\":\"json\",\"version\":1}\u{1e}{\"type\":1,\"invocationId\":\"1\",", ""] {
        assert_eq!(client.post(part).await.status, 200);
    }
    client.send(&[r#""target":"Echo","arguments":["kept"]}"#]).await;
    let mut stream = client.open_event_stream().await;
    assert_eq!(stream.read_until("\r\n\r\n").await.as_deref(), Some(":\r\ndata: {}\u{1e}"));
    assert!(stream.read_until("\r\n\r\n").await.unwrap().contains(r#""result":"kept""#));
}

#[tokio::test]
async fn post_waits_while_the_hub_does_not_read() {
    let server = Server::start().await;
    let client = NegotiatedCore::polling(&server, "/chat", "").await;
    let hold = r#"{"type":1,"target":"Hold","arguments":["transports"]}"#;
    let add = r#"{"type":1,"target":"Add","arguments":[2,3]}"#;
    client.send(&[hold, r#"{"type":1,"invocationId":"1","target":"Add","arguments":[2,3]}"#]).await;
    let calls = vec![add; 5_000];
    let long = client.send(&calls);
    tokio::pin!(long);
    let mut answer = client.start_poll();
    let other = tokio::select! {
        () = &mut long => panic!("the hub reads nothing"),
        other = NegotiatedCore::polling(&server, "/chat", "") => other,
    };
    let open = [r#"{"type":1,"target":"Open","arguments":["transports"]}"#];
    with_timeout(async { tokio::join!(long, other.send(&open)) }).await;
    assert!(with_timeout(&mut answer).await.unwrap().body.contains(r#""result":5"#));
}

#[tokio::test]
async fn idle_poll_is_answered_after_its_timeout() {
    let poll_timeout = Duration::from_millis(10);
    let settings = Settings { poll_timeout, ..Settings::default() };
    let server = Server::start_with(|engine| engine.aspnetcore_settings(settings)).await;
    let client = NegotiatedCore::polling(&server, "/chat", "").await;
    assert_empty_poll(&client.poll().await, 200);
}

#[tokio::test]
async fn absent_polling_client_is_disconnected() {
    let settings = Settings { disconnect_timeout: Duration::from_secs(1), ..Settings::default() };
    let (server, mut events) = Server::start_with_event_log(|engine| engine.aspnetcore_settings(settings)).await;
    let client = NegotiatedCore::polling(&server, "/chat", "").await;
    assert_eq!(events.next_event().await, "connected");
    assert_eq!(events.next_event().await, "lost");
    assert_eq!(client.poll().await.status, 404);
}

#[tokio::test]
async fn closed_event_stream_is_a_lost_connection() {
    let (server, mut events) = Server::start_with_event_log(|engine| engine).await;
    let (client, stream) = NegotiatedCore::streaming(&server, "").await;
    assert_eq!(events.next_event().await, "connected");
    drop(stream);
    assert_eq!(events.next_event().await, "lost");
    assert_eq!(client.post("").await.status, 404);
}

#[tokio::test]
async fn drain_sends_close_over_every_transport() {
    let server = Server::start().await;
    let polling = NegotiatedCore::polling(&server, "/chat", "").await;
    let (_streaming, stream) = NegotiatedCore::streaming(&server, "").await;
    let poll = polling.start_poll();
    with_timeout(server.engine.drain(Duration::ZERO)).await;
    assert_eq!(stream.read_to_end().await, format!("data: {CLOSE}\r\n\r\n"));
    assert_eq!(with_timeout(poll).await.unwrap().body, CLOSE);
}

#[tokio::test]
async fn first_poll_is_the_request_that_hubs_see() {
    let server = Server::start().await;
    let client = NegotiatedCore::new(&server, "/chat", "").await;
    client.request("GET", "X-Which: first\r\n").await;
    client.send(&[r#"{"protocol":"json","version":1}"#]).await;
    client.request("GET", "X-Which: second\r\n").await;
    client.send(&[r#"{"type":1,"invocationId":"1","target":"Header","arguments":["x-which"]}"#]).await;
    assert!(client.poll().await.body.contains(r#""result":"first""#));
}

#[tokio::test]
async fn polls_refresh_the_identity() {
    let server = Server::start().await;
    let client = NegotiatedCore::polling(&server, "/chat", "").await;
    let call = |id| format!(r#"{{"type":1,"invocationId":"{id}","target":"Secret","arguments":[]}}"#);
    client.send(&[&call(1)]).await;
    assert!(client.poll().await.body.contains("because user is unauthorized"));
    client.send(&[r#"{"type":1,"invocationId":"2","target":"Add","arguments":[2,3]}"#]).await;
    assert!(client.request("GET", "Authorization: Bearer ann\r\n").await.body.contains(r#""result":5"#));
    client.send(&[&call(3)]).await;
    assert!(client.poll().await.body.contains("for members"));
}
