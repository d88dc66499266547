//! Channels of classic clients: opening, frames, replacement and end.

use std::time::Duration;

use hubcast::{HubError, classic, hub::Connected};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use crate::support::{
    ClassicClient, NegotiatedConnection, STREAMING_TRANSPORTS, Server, StreamingResponse, TRANSPORTS, http_request,
    with_timeout,
};

/// The shortest timeouts that clients accept: keep-alives every 2 s.
fn short_timeouts() -> classic::Settings {
    classic::Settings::default().with_disconnect_timeout(Duration::from_secs(6))
}

async fn broadcast(server: &Server, text: &str) {
    let hub = server.engine.hub("chat").unwrap();
    with_timeout(hub.clients().all().send("addChatMessage", ("server", text))).await.unwrap();
}

async fn expect_chat_message(client: &mut ClassicClient, text: &str) {
    assert_eq!(client.next_chat_message().await, ("server".to_owned(), text.to_owned()));
}

#[tokio::test]
async fn first_frame_is_the_init_frame() {
    let server = Server::start().await;
    for transport in TRANSPORTS {
        let connection = NegotiatedConnection::negotiate(server.address, "").await;
        let mut client = ClassicClient::open(connection, transport).await;
        let first = client.next_frame().await.unwrap();
        let cursor = first["C"].as_str().unwrap();
        assert_eq!(first.to_string(), json!({ "C": cursor, "S": 1, "M": [] }).to_string(), "{transport}");
    }
}

#[tokio::test]
async fn each_transport_sends_its_content_type() {
    let server = Server::start().await;
    let response_head = async |operation: &str, transport: &str, more: &str| {
        let connection = NegotiatedConnection::negotiate(server.address, "").await;
        let path = connection.path(operation, transport, more);
        StreamingResponse::start(server.address, &format!("GET {path}"), "").await.head
    };
    for (transport, more, kind) in [
        ("serverSentEvents", "", "text/event-stream"),
        ("foreverFrame", "&frameId=1", "text/html; charset=UTF-8"),
        ("longPolling", "", "application/json; charset=UTF-8"),
    ] {
        let head = response_head("connect", transport, more).await;
        assert_eq!((head.status, head.header("content-type")), (200, Some(kind)));
        assert_eq!(head.header("x-content-type-options"), Some("nosniff"), "{transport}");
        assert_eq!(head.header("x-accel-buffering"), Some("no"), "{transport}");
    }
}

#[tokio::test]
async fn http_1_0_response_is_unchunked_and_closes() {
    let server = Server::start().await;
    for (transport, more) in [("serverSentEvents", ""), ("foreverFrame", "&frameId=1"), ("longPolling", "")] {
        let connection = NegotiatedConnection::negotiate(server.address, "").await;
        let request = format!("GET {} HTTP/1.0", connection.path("connect", transport, more));
        let head = StreamingResponse::start(server.address, &request, "").await.head;
        assert_eq!((head.status, head.header("transfer-encoding")), (200, None), "{transport}");
    }
    let connection = NegotiatedConnection::negotiate(server.address, "").await;
    let request = format!("GET {} HTTP/1.0", connection.path("connect", "longPolling", ""));
    // The response is read until the server closes, although the request asks for keep-alive.
    let poll = http_request(server.address, &request, "Connection: keep-alive\r\n").await;
    assert_eq!((poll.header("transfer-encoding"), poll.header("content-length")), (None, None));
    assert_eq!(poll.json()["S"], 1, "{}", poll.body);
}

#[tokio::test]
async fn websocket_transport_requires_an_upgrade() {
    let server = Server::start().await;
    let connection = NegotiatedConnection::negotiate(server.address, "").await;
    let response =
        http_request(server.address, &format!("GET {}", connection.path("connect", "webSockets", "")), "").await;
    assert_eq!((response.status, &*response.body), (400, "Not a valid web socket request."));
}

#[tokio::test]
async fn forever_frame_sends_one_script_per_frame() {
    let server = Server::start().await;
    let connection = NegotiatedConnection::negotiate(server.address, "").await;
    for id in ["", "-1", "1.5", "4294967296", "x"] {
        let path = connection.path("connect", "foreverFrame", &format!("&frameId={id}"));
        let response = http_request(server.address, &format!("GET {path}"), "").await;
        assert_eq!(
            (response.status, &*response.body),
            (400, "The supplied frameId is in the incorrect format."),
            "{id}"
        );
    }
    let path = connection.path("connect", "foreverFrame", "&frameId=007");
    let mut page = StreamingResponse::start(server.address, &format!("GET {path}"), "").await;
    let prologue = page.read_until("<body>").await.unwrap();
    assert!(prologue.contains("getConnection('7')") && prologue.contains("started(c)"), "{prologue}");
    assert!(page.read_until("</script>\r\n").await.unwrap().contains(r#""S":1"#));
    broadcast(&server, "</script><b>").await;
    let script = page.read_until("</script>\r\n").await.unwrap();
    assert!(script.ends_with(r#""A":["server","\u003c/script\u003e\u003cb\u003e"]}]});"#), "{script}");
}

#[tokio::test]
async fn start_runs_on_connected_once() {
    let (server, mut events) = Server::start_with_event_log(|engine| engine).await;
    for transport in TRANSPORTS {
        let mut client = ClassicClient::connect(server.address, transport, "").await;
        assert_eq!(events.next_event().await, "connected", "{transport}");
        assert_eq!(client.connection.request("start").await.status, 200, "a second start succeeds");
        client.reconnect().await;
        assert_eq!(events.next_event().await, "reconnected", "{transport}");
        assert_eq!(client.connection.request("abort").await.status, 200);
        assert_eq!(events.next_event().await, "stopped", "{transport}");
        client.connection.request("abort").await;
    }
}

#[tokio::test]
async fn protocol_1_3_runs_on_connected_without_start() {
    let (server, mut events) = Server::start_with_event_log(|engine| engine).await;
    for transport in ["serverSentEvents", "longPolling"] {
        let connection = NegotiatedConnection::negotiate(server.address, "").await;
        let path = connection.path("connect", transport, "").replace("clientProtocol=2.1", "clientProtocol=1.3");
        let mut channel = StreamingResponse::start(server.address, &format!("GET {path}"), "").await;
        assert!(channel.read_until(r#""S":1"#).await.is_some());
        assert_eq!(events.next_event().await, "connected", "{transport}");
        connection.request("abort").await;
        assert_eq!(events.next_event().await, "stopped", "{transport}");
    }
}

#[tokio::test]
async fn failed_on_connected_is_reported_by_start() {
    let server = Server::start().await;
    for (query, error) in [("&fail=hub", "told so"), ("&fail=crash", "The connection was not let in.")] {
        let mut client =
            ClassicClient::open(NegotiatedConnection::negotiate(server.address, query).await, "webSockets").await;
        let response = client.connection.request("start").await;
        assert_eq!((response.status, &*response.body), (500, error));
        assert_eq!(client.wait_for_close().await, Some(CloseCode::Normal));
    }
}

#[tokio::test]
async fn refused_client_can_negotiate_again() {
    let refuse = |_: Connected| async { Err(HubError::new("not today")) };
    let hub = hubcast::Hub::new("strict").on_connected(refuse);
    let server = Server::start_with(|engine| engine.hub_only(hub)).await;
    let connection = NegotiatedConnection::negotiate(server.address, "").await;
    let strict = |operation: &str| connection.path(operation, "serverSentEvents", "").replace("chat", "strict");
    let mut channel = StreamingResponse::start(server.address, &format!("GET {}", strict("connect")), "").await;
    assert!(channel.read_until(r#""S":1"#).await.is_some());
    let response = http_request(server.address, &format!("GET {}", strict("start")), "").await;
    assert_eq!((response.status, &*response.body), (500, "not today"));
    ClassicClient::connect(server.address, "longPolling", "").await;
}

#[tokio::test]
async fn missed_messages_are_replayed_once_in_order() {
    let server = Server::start().await;
    for transport in TRANSPORTS {
        let mut client = ClassicClient::connect(server.address, transport, "").await;
        broadcast(&server, "before").await;
        expect_chat_message(&mut client, "before").await;
        client.drop_channel();
        for text in ["one", "two", "three"] {
            broadcast(&server, text).await;
        }
        client.reconnect().await;
        for text in ["one", "two", "three"] {
            expect_chat_message(&mut client, text).await;
        }
        client.reconnect().await;
        broadcast(&server, "after").await;
        expect_chat_message(&mut client, "after").await;
        client.connection.request("abort").await;
    }
    assert_eq!(server.engine.metrics().gaps.get(), 0);
}

#[tokio::test]
async fn polling_client_receives_more_than_the_replay_window() {
    let server = Server::start().await;
    let mut client = ClassicClient::connect(server.address, "longPolling", "").await;
    for number in 0..3_000 {
        broadcast(&server, &number.to_string()).await;
    }
    for number in 0..3_000 {
        expect_chat_message(&mut client, &number.to_string()).await;
    }
    let long = "x".repeat(2 << 20);
    broadcast(&server, &long).await;
    broadcast(&server, "after it").await;
    expect_chat_message(&mut client, &long).await;
    expect_chat_message(&mut client, "after it").await;
    assert_eq!(server.engine.metrics().gaps.get(), 0);
}

#[tokio::test]
async fn polling_caller_receives_every_message_of_its_call() {
    const TICKS: u32 = 12_000;
    let server = Server::start().await;
    let mut client = ClassicClient::connect(server.address, "longPolling", "").await;
    let connection = client.connection.clone();
    let call = json!({ "H": "chat", "M": "Burst", "A": [TICKS], "I": "1" }).to_string();
    let receive = async {
        for tick in 0..TICKS {
            assert_eq!(client.next_invocation().await.2, json!([tick]));
        }
    };
    let (response, ()) = tokio::join!(connection.post(&call), receive);
    assert_eq!(response.status, 200, "{}", response.body);
}

#[tokio::test]
async fn lost_frame_is_resent() {
    let server = Server::start().await;
    for transport in STREAMING_TRANSPORTS {
        let mut client = ClassicClient::connect(server.address, transport, "").await;
        let before = client.cursor.clone();
        broadcast(&server, "once").await;
        expect_chat_message(&mut client, "once").await;
        client.cursor = before;
        client.reconnect().await;
        expect_chat_message(&mut client, "once").await;
        client.connection.request("abort").await;
    }
}

#[tokio::test]
async fn unknown_cursor_is_replaced_immediately() {
    let (server, mut events) = Server::start_with_event_log(|engine| engine).await;
    for transport in TRANSPORTS {
        let mut client = ClassicClient::connect(server.address, transport, "").await;
        assert_eq!(events.next_event().await, "connected");
        client.cursor = Some("d-FFFFFFFF-B,0|C,0".into());
        client.reconnect().await;
        let frame = client.next_frame().await.unwrap();
        assert_eq!(frame["M"], json!([]), "{frame}");
        assert!(frame["C"].is_string() && frame.get("S").is_none(), "{frame}");
        assert_eq!(events.next_event().await, "reconnected with a gap");
        broadcast(&server, "from here on").await;
        expect_chat_message(&mut client, "from here on").await;
        client.connection.request("abort").await;
        assert_eq!(events.next_event().await, "stopped");
    }
    assert_eq!(server.engine.metrics().gaps.get(), 3);
}

#[tokio::test]
async fn new_channel_replaces_the_previous_one() {
    let server = Server::start().await;
    for transport in STREAMING_TRANSPORTS {
        let mut old = ClassicClient::connect(server.address, transport, "").await;
        let mut new = ClassicClient::open(old.connection.clone(), transport).await;
        assert_eq!(new.next_frame().await.unwrap()["S"], 1);
        old.wait_for_close().await;
        broadcast(&server, "hello").await;
        expect_chat_message(&mut new, "hello").await;
    }
}

#[tokio::test]
async fn stale_poll_does_not_consume_stream_messages() {
    let server = Server::start().await;
    let mut client = ClassicClient::connect(server.address, "webSockets", "").await;
    let late = client.connection.start_poll("poll", "").await.read_to_end().await;
    assert!(late.ends_with(r#""M":[]}"#), "{late}");
    broadcast(&server, "hello").await;
    expect_chat_message(&mut client, "hello").await;
}

#[tokio::test]
async fn abort_ends_the_channel() {
    let server = Server::start().await;
    let mut socket = ClassicClient::connect(server.address, "webSockets", "").await;
    socket.connection.request("abort").await;
    assert_eq!(socket.wait_for_close().await, Some(CloseCode::Normal));
    let mut events = ClassicClient::connect(server.address, "serverSentEvents", "").await;
    events.connection.request("abort").await;
    assert_eq!(events.next_frame().await, None);
    let polls = ClassicClient::connect(server.address, "longPolling", "").await;
    let cursor = format!("&messageId={}", polls.cursor.as_ref().unwrap());
    let poll = polls.connection.start_poll("poll", &cursor).await;
    polls.connection.request("abort").await;
    let last: Value = serde_json::from_str(&poll.read_to_end().await).unwrap();
    assert_eq!(last["M"], json!([]));
}

#[tokio::test]
async fn aborted_client_is_told_not_to_reconnect() {
    let server = Server::start().await;
    for transport in STREAMING_TRANSPORTS {
        let mut client = ClassicClient::connect(server.address, transport, "").await;
        let response = client.connection.post(r#"{"H":"chat","M":"Drop","I":1}"#).await;
        assert_eq!((response.status, &*response.body), (503, "The connection has ended."));
        let last = client.next_frame().await.unwrap();
        assert_eq!(
            (&last["D"], &last["E"]),
            (&json!(1), &json!("The server has closed the connection.")),
            "{transport}"
        );
        assert_eq!(client.next_frame().await, None);
    }
}

#[tokio::test]
async fn drain_completes_polls_and_ends_streams() {
    let server = Server::start().await;
    let polling = ClassicClient::connect(server.address, "longPolling", "").await;
    let cursor = format!("&messageId={}", polling.cursor.as_ref().unwrap());
    let poll = polling.connection.start_poll("poll", &cursor).await;
    let mut stream = ClassicClient::connect(server.address, "webSockets", "").await;
    with_timeout(server.engine.drain(Duration::ZERO)).await;
    let last: Value = serde_json::from_str(&poll.read_to_end().await).unwrap();
    assert_eq!((&last["T"], &last["M"]), (&json!(1), &json!([])));
    assert_eq!(stream.wait_for_close().await, Some(CloseCode::Normal));
}

#[tokio::test]
async fn idle_stream_receives_keep_alives() {
    let server = Server::start_with(|engine| engine.classic_settings(short_timeouts())).await;
    let connection = NegotiatedConnection::negotiate(server.address, "").await;
    let mut stream = connection.open_event_stream("connect", "").await;
    assert!(stream.read_until("\n\n").await.unwrap().contains(r#""S":1"#));
    assert_eq!(stream.read_until("\n\n").await.as_deref(), Some("data: {}"));
}

#[tokio::test]
async fn idle_poll_receives_spaces_then_a_complete_frame() {
    let settings = classic::Settings { connection_timeout: Duration::from_secs(7), ..short_timeouts() };
    let server = Server::start_with(|engine| engine.classic_settings(settings)).await;
    let client = ClassicClient::connect(server.address, "longPolling", "").await;
    let cursor = client.cursor.as_ref().unwrap();
    let path = client.connection.path("poll", "longPolling", "");
    let poll = StreamingResponse::start(server.address, &format!("POST {path}"), &format!("messageId={cursor}")).await;
    let response = poll.read_to_end().await;
    assert!(response.starts_with(' ') && response.trim_start().starts_with('{'), "{response}");
    assert!(response.ends_with(r#","M":[]}"#), "{response}");
}

#[tokio::test]
async fn absent_client_is_disconnected_once() {
    let (server, mut events) = Server::start_with_event_log(|engine| engine.classic_settings(short_timeouts())).await;
    let client = ClassicClient::connect(server.address, "longPolling", "").await;
    assert_eq!(events.next_event().await, "connected");
    assert_eq!(events.next_event().await, "lost");
    // Wire: a client that reconnects later is accepted.
    let body = format!("messageId={}", client.cursor.as_ref().unwrap());
    let path = client.connection.path("reconnect", "longPolling", "");
    let response = StreamingResponse::start(server.address, &format!("POST {path}"), &body).await;
    assert!(response.read_to_end().await.contains(r#""M":[]"#));
    assert_eq!(events.next_event().await, "reconnected with a gap");
}

#[tokio::test]
async fn start_and_send_run_before_the_first_channel() {
    let (server, mut events) = Server::start_with_event_log(|engine| engine).await;
    let call = r#"{"H":"chat","M":"Add","A":[2,3],"I":0}"#;
    let sending = NegotiatedConnection::negotiate(server.address, "").await;
    assert_eq!(sending.post(call).await.body, r#"{"R":5,"I":"0"}"#);
    let starting = NegotiatedConnection::negotiate(server.address, "").await;
    assert_eq!(starting.request("start").await.body, r#"{"Response":"started"}"#);
    assert_eq!(events.next_event().await, "connected");
    let mut client = ClassicClient::open(starting, "longPolling").await;
    assert_eq!(client.next_frame().await.unwrap()["S"], 1);
    assert_eq!(client.connection.request("start").await.status, 200);
    client.connection.request("abort").await;
    assert_eq!(events.next_event().await, "stopped", "OnConnected has run once");
}

#[tokio::test]
async fn connections_without_channel_are_limited_per_address() {
    let server = Server::start().await;
    let mut statuses = Vec::new();
    for _ in 0..20 {
        let connection = NegotiatedConnection::negotiate(server.address, "").await;
        let response = connection.post(r#"{"H":"chat","M":"Add","A":[2,3],"I":0}"#).await;
        assert_eq!(response.header("retry-after"), (response.status == 503).then_some("1"), "{}", response.body);
        statuses.push(response.status);
    }
    assert_eq!((&statuses[..16], &statuses[16..]), (&[200; 16][..], &[503; 4][..]));
    ClassicClient::connect(server.address, "webSockets", "").await;
}
