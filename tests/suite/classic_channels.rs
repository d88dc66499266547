//! Channels of classic clients: how they begin, what goes over them, and how they end and are replaced.

use std::time::Duration;

use hubcast::{HubError, classic, hub::Connected};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::{Bytes, Message, protocol::frame::coding::CloseCode};

use crate::support::{Classic, ClassicConnection, Download, STREAMS, Server, TRANSPORTS, ask, ask_with, within};

/// As impatient as clients let a server be: keep-alives every 2 s.
fn impatient() -> classic::Settings {
    classic::Settings::default().with_disconnect_timeout(Duration::from_secs(6))
}

async fn say(server: &Server, text: &str) {
    let hub = server.engine.hub("chat").unwrap();
    within(hub.clients().all().send("addChatMessage", ("the house", text))).await.unwrap();
}

async fn hears(client: &mut Classic, text: &str) {
    assert_eq!(client.heard().await, ("the house".to_owned(), text.to_owned()));
}

#[tokio::test]
async fn a_channel_begins_with_a_frame_that_says_so() {
    let server = Server::start().await;
    for transport in TRANSPORTS {
        let handle = ClassicConnection::negotiate(server.address, "").await;
        let mut client = Classic::open(handle, transport).await;
        let first = client.frame().await.unwrap();
        let cursor = first["C"].as_str().unwrap();
        assert_eq!(first.to_string(), json!({ "C": cursor, "S": 1, "M": [] }).to_string(), "{transport}");
    }
}

#[tokio::test]
async fn streams_say_what_they_are() {
    let server = Server::start().await;
    let head = async |operation: &str, transport: &str, more: &str| {
        let handle = ClassicConnection::negotiate(server.address, "").await;
        let path = handle.path(operation, transport, more);
        Download::begin(server.address, &format!("GET {path}"), "").await.head
    };
    for (transport, more, kind) in [
        ("serverSentEvents", "", "text/event-stream"),
        ("foreverFrame", "&frameId=1", "text/html; charset=UTF-8"),
        ("longPolling", "", "application/json; charset=UTF-8"),
    ] {
        let head = head("connect", transport, more).await;
        assert_eq!((head.status, head.header("content-type")), (200, Some(kind)));
        assert_eq!(head.header("x-content-type-options"), Some("nosniff"), "{transport}");
        assert_eq!(head.header("x-accel-buffering"), Some("no"), "{transport}");
    }
}

#[tokio::test]
async fn who_speaks_an_older_http_gets_no_chunks_and_its_connection_ends_with_the_answer() {
    let server = Server::start().await;
    for (transport, more) in [("serverSentEvents", ""), ("foreverFrame", "&frameId=1"), ("longPolling", "")] {
        let handle = ClassicConnection::negotiate(server.address, "").await;
        let request = format!("GET {} HTTP/1.0", handle.path("connect", transport, more));
        let head = Download::begin(server.address, &request, "").await.head;
        assert_eq!((head.status, head.header("transfer-encoding")), (200, None), "{transport}");
    }
    let handle = ClassicConnection::negotiate(server.address, "").await;
    let request = format!("GET {} HTTP/1.0", handle.path("connect", "longPolling", ""));
    // It is read until it closes, although it is asked to go on.
    let poll = ask(server.address, &request, "Connection: keep-alive\r\n").await;
    assert_eq!((poll.header("transfer-encoding"), poll.header("content-length")), (None, None));
    assert_eq!(poll.json()["S"], 1, "{}", poll.body);
}

#[tokio::test]
async fn a_socket_needs_an_upgrade() {
    let server = Server::start().await;
    let handle = ClassicConnection::negotiate(server.address, "").await;
    let answer = ask(server.address, &format!("GET {}", handle.path("connect", "webSockets", "")), "").await;
    assert_eq!((answer.status, &*answer.body), (400, "Not a valid web socket request."));
}

#[tokio::test]
async fn a_frame_in_a_page_runs_a_script_for_each_frame() {
    let server = Server::start().await;
    let handle = ClassicConnection::negotiate(server.address, "").await;
    for id in ["", "-1", "1.5", "4294967296", "x"] {
        let path = handle.path("connect", "foreverFrame", &format!("&frameId={id}"));
        let answer = ask(server.address, &format!("GET {path}"), "").await;
        assert_eq!((answer.status, &*answer.body), (400, "The supplied frameId is in the incorrect format."), "{id}");
    }
    let path = handle.path("connect", "foreverFrame", "&frameId=007");
    let mut page = Download::begin(server.address, &format!("GET {path}"), "").await;
    let prologue = page.until("<body>").await.unwrap();
    assert!(prologue.contains("getConnection('7')") && prologue.contains("started(c)"), "{prologue}");
    assert!(page.until("</script>\r\n").await.unwrap().contains(r#""S":1"#));
    say(&server, "</script><b>").await;
    let script = page.until("</script>\r\n").await.unwrap();
    assert!(script.ends_with(r#""A":["the house","\u003c/script\u003e\u003cb\u003e"]}]});"#), "{script}");
}

#[tokio::test]
async fn on_connected_runs_when_it_is_asked_for_and_once() {
    let (server, mut diary) = Server::start_writing(|engine| engine).await;
    for transport in TRANSPORTS {
        let mut client = Classic::connect(server.address, transport, "").await;
        assert_eq!(diary.next().await, "connected", "{transport}");
        assert_eq!(client.handle.ask("start").await.status, 200, "a second time it is there");
        client.return_().await;
        assert_eq!(diary.next().await, "reconnected", "{transport}");
        assert_eq!(client.handle.ask("abort").await.status, 200);
        assert_eq!(diary.next().await, "stopped", "{transport}");
        client.handle.ask("abort").await;
    }
}

#[tokio::test]
async fn a_client_of_the_old_protocol_is_connected_before_it_is_told_so() {
    let (server, mut diary) = Server::start_writing(|engine| engine).await;
    for transport in ["serverSentEvents", "longPolling"] {
        let handle = ClassicConnection::negotiate(server.address, "").await;
        let path = handle.path("connect", transport, "").replace("clientProtocol=2.1", "clientProtocol=1.3");
        let mut channel = Download::begin(server.address, &format!("GET {path}"), "").await;
        assert!(channel.until(r#""S":1"#).await.is_some());
        assert_eq!(diary.next().await, "connected", "{transport}");
        handle.ask("abort").await;
        assert_eq!(diary.next().await, "stopped", "{transport}");
    }
}

#[tokio::test]
async fn a_client_that_is_not_let_in_is_told_why() {
    let server = Server::start().await;
    for (query, told) in [("&fail=hub", "told so"), ("&fail=crash", "The connection was not let in.")] {
        let mut client = Classic::open(ClassicConnection::negotiate(server.address, query).await, "webSockets").await;
        let answer = client.handle.ask("start").await;
        assert_eq!((answer.status, &*answer.body), (500, told));
        assert_eq!(client.end().await, Some(CloseCode::Normal));
    }
}

#[tokio::test]
async fn a_refused_client_may_come_again_as_another() {
    let refuse = |_: Connected| async { Err(HubError::new("not today")) };
    let hub = hubcast::Hub::new("strict").on_connected(refuse);
    let server = Server::start_with(|engine| engine.hub_only(hub)).await;
    let handle = ClassicConnection::negotiate(server.address, "").await;
    let strict = |handle: &ClassicConnection| handle.path("start", "longPolling", "").replace("chat", "strict");
    let answer = ask(server.address, &format!("GET {}", strict(&handle)), "").await;
    assert_eq!((answer.status, &*answer.body), (500, "not today"));
    assert_eq!(ClassicConnection::negotiate(server.address, "").await.ask("start").await.status, 200);
}

#[tokio::test]
async fn what_a_client_missed_comes_once_and_in_order() {
    let server = Server::start().await;
    for transport in TRANSPORTS {
        let mut client = Classic::connect(server.address, transport, "").await;
        say(&server, "before").await;
        hears(&mut client, "before").await;
        client.drop_channel();
        for text in ["one", "two", "three"] {
            say(&server, text).await;
        }
        client.return_().await;
        for text in ["one", "two", "three"] {
            hears(&mut client, text).await;
        }
        client.return_().await;
        say(&server, "after").await;
        hears(&mut client, "after").await;
        client.handle.ask("abort").await;
    }
    assert_eq!(server.engine.metrics().gaps.get(), 0);
}

#[tokio::test]
async fn a_client_misses_nothing_between_two_polls_although_it_is_more_than_the_window() {
    let server = Server::start().await;
    let mut client = Classic::connect(server.address, "longPolling", "").await;
    for number in 0..3_000 {
        say(&server, &number.to_string()).await;
    }
    for number in 0..3_000 {
        hears(&mut client, &number.to_string()).await;
    }
    let long = "x".repeat(2 << 20);
    say(&server, &long).await;
    say(&server, "behind it").await;
    hears(&mut client, &long).await;
    hears(&mut client, "behind it").await;
    assert_eq!(server.engine.metrics().gaps.get(), 0);
}

#[tokio::test]
async fn a_method_does_not_have_its_own_caller_miss_anything_between_two_polls() {
    const TICKS: u32 = 12_000;
    let server = Server::start().await;
    let mut client = Classic::connect(server.address, "longPolling", "").await;
    let handle = client.handle.clone();
    let call = json!({ "H": "chat", "M": "Burst", "A": [TICKS], "I": "1" }).to_string();
    let hear = async {
        for tick in 0..TICKS {
            assert_eq!(client.called().await.2, json!([tick]));
        }
    };
    let (answer, ()) = tokio::join!(handle.post(&call), hear);
    assert_eq!(answer.status, 200, "{}", answer.body);
}

#[tokio::test]
async fn a_frame_that_got_lost_comes_again() {
    let server = Server::start().await;
    for transport in STREAMS {
        let mut client = Classic::connect(server.address, transport, "").await;
        let before = client.cursor.clone();
        say(&server, "once").await;
        hears(&mut client, "once").await;
        client.cursor = before;
        client.return_().await;
        hears(&mut client, "once").await;
        client.handle.ask("abort").await;
    }
}

#[tokio::test]
async fn a_cursor_that_nobody_knows_is_replaced_at_once() {
    let (server, mut diary) = Server::start_writing(|engine| engine).await;
    for transport in TRANSPORTS {
        let mut client = Classic::connect(server.address, transport, "").await;
        assert_eq!(diary.next().await, "connected");
        client.cursor = Some("d-FFFFFFFF-B,0|C,0".into());
        client.return_().await;
        let frame = client.frame().await.unwrap();
        assert_eq!(frame["M"], json!([]), "{frame}");
        assert!(frame["C"].is_string() && frame.get("S").is_none(), "{frame}");
        assert_eq!(diary.next().await, "reconnected with a gap");
        say(&server, "from here on").await;
        hears(&mut client, "from here on").await;
        client.handle.ask("abort").await;
        assert_eq!(diary.next().await, "stopped");
    }
    assert_eq!(server.engine.metrics().gaps.get(), 3);
}

#[tokio::test]
async fn a_new_channel_ends_the_old_one() {
    let server = Server::start().await;
    for transport in STREAMS {
        let mut old = Classic::connect(server.address, transport, "").await;
        let mut new = Classic::open(old.handle.clone(), transport).await;
        assert_eq!(new.frame().await.unwrap()["S"], 1);
        old.end().await;
        say(&server, "hello").await;
        hears(&mut new, "hello").await;
    }
}

#[tokio::test]
async fn a_poll_that_comes_too_late_takes_nothing_from_a_stream() {
    let server = Server::start().await;
    let mut client = Classic::connect(server.address, "webSockets", "").await;
    let late = client.handle.begin_poll("poll", "").await.rest().await;
    assert!(late.ends_with(r#""M":[]}"#), "{late}");
    say(&server, "hello").await;
    hears(&mut client, "hello").await;
}

#[tokio::test]
async fn an_abort_ends_the_channel() {
    let server = Server::start().await;
    let mut socket = Classic::connect(server.address, "webSockets", "").await;
    socket.handle.ask("abort").await;
    assert_eq!(socket.end().await, Some(CloseCode::Normal));
    let mut events = Classic::connect(server.address, "serverSentEvents", "").await;
    events.handle.ask("abort").await;
    assert_eq!(events.frame().await, None);
    let polls = Classic::connect(server.address, "longPolling", "").await;
    let cursor = format!("&messageId={}", polls.cursor.as_ref().unwrap());
    let poll = polls.handle.begin_poll("poll", &cursor).await;
    polls.handle.ask("abort").await;
    let last: Value = serde_json::from_str(&poll.rest().await).unwrap();
    assert_eq!(last["M"], json!([]));
}

#[tokio::test]
async fn a_client_that_a_hub_drops_is_told_not_to_come_back() {
    let server = Server::start().await;
    for transport in STREAMS {
        let mut client = Classic::connect(server.address, transport, "").await;
        client.handle.post(r#"{"H":"chat","M":"Drop","I":1}"#).await;
        let last = client.frame().await.unwrap();
        assert_eq!(
            (&last["D"], &last["E"]),
            (&json!(1), &json!("The server has closed the connection.")),
            "{transport}"
        );
        assert_eq!(client.frame().await, None);
    }
}

#[tokio::test]
async fn a_server_that_ends_sends_polls_back_at_once_and_ends_streams() {
    let server = Server::start().await;
    let polling = Classic::connect(server.address, "longPolling", "").await;
    let cursor = format!("&messageId={}", polling.cursor.as_ref().unwrap());
    let poll = polling.handle.begin_poll("poll", &cursor).await;
    let mut stream = Classic::connect(server.address, "webSockets", "").await;
    within(server.engine.drain()).await;
    let last: Value = serde_json::from_str(&poll.rest().await).unwrap();
    assert_eq!((&last["T"], &last["M"]), (&json!(1), &json!([])));
    assert_eq!(stream.end().await, Some(CloseCode::Normal));
}

#[tokio::test]
async fn what_no_client_may_send_ends_its_channel_alone() {
    let (server, mut diary) = Server::start_writing(|engine| engine).await;
    let mut client = Classic::connect(server.address, "webSockets", "").await;
    assert_eq!(diary.next().await, "connected");
    for (message, code) in [
        (Message::Binary(Bytes::from_static(b"x")), CloseCode::Unsupported),
        (Message::Binary(Bytes::new()), CloseCode::Unsupported),
        (Message::text("x".repeat(64 * 1024 + 1)), CloseCode::Size),
    ] {
        client.say(message).await;
        assert_eq!(client.end().await, Some(code));
        client.return_().await;
        assert_eq!(diary.next().await, "reconnected");
    }
}

#[tokio::test]
async fn the_longest_message_is_taken() {
    let server = Server::start().await;
    let mut client = Classic::connect(server.address, "webSockets", "").await;
    let frame = json!({ "H": "chat", "M": "Echo", "A": [""], "I": "1" }).to_string();
    let text = "x".repeat(64 * 1024 - frame.len());
    assert_eq!(client.invoke("Echo", json!([text])).await, text);
}

#[tokio::test]
async fn a_stream_that_has_nothing_to_say_says_that() {
    let server = Server::start_with(|engine| engine.classic_settings(impatient())).await;
    let handle = ClassicConnection::negotiate(server.address, "").await;
    let mut stream = handle.listen("connect", "").await;
    assert!(stream.until("\n\n").await.unwrap().contains(r#""S":1"#));
    assert_eq!(stream.until("\n\n").await.as_deref(), Some("data: {}"));
}

#[tokio::test]
async fn a_poll_that_has_nothing_to_say_sends_blanks_and_then_a_whole_frame() {
    let settings = classic::Settings { connection_timeout: Duration::from_secs(7), ..impatient() };
    let server = Server::start_with(|engine| engine.classic_settings(settings)).await;
    let client = Classic::connect(server.address, "longPolling", "").await;
    let cursor = client.cursor.as_ref().unwrap();
    let path = client.handle.path("poll", "longPolling", "");
    let poll = Download::begin(server.address, &format!("POST {path}"), &format!("messageId={cursor}")).await;
    let answer = poll.rest().await;
    assert!(answer.starts_with(' ') && answer.trim_start().starts_with('{'), "{answer}");
    assert!(answer.ends_with(r#","M":[]}"#), "{answer}");
}

#[tokio::test]
async fn a_client_that_stays_away_is_given_up_once() {
    let (server, mut diary) = Server::start_writing(|engine| engine.classic_settings(impatient())).await;
    let client = Classic::connect(server.address, "longPolling", "").await;
    assert_eq!(diary.next().await, "connected");
    assert_eq!(diary.next().await, "lost");
    // Wire: it is accepted all the same when it comes back later.
    let body = format!("messageId={}", client.cursor.as_ref().unwrap());
    let path = client.handle.path("reconnect", "longPolling", "");
    let answer = Download::begin(server.address, &format!("POST {path}"), &body).await;
    assert!(answer.rest().await.contains(r#""M":[]"#));
    assert_eq!(diary.next().await, "reconnected with a gap");
}

#[tokio::test]
async fn a_call_over_http_needs_no_channel() {
    let server = Server::start().await;
    let handle = ClassicConnection::negotiate(server.address, "").await;
    let path = handle.path("send", "longPolling", "");
    let call = crate::support::escaped(r#"{"H":"chat","M":"Add","A":[2,3],"I":0}"#);
    let answer = ask_with(server.address, &format!("POST {path}"), "", &format!("data={call}")).await;
    assert_eq!((answer.status, &*answer.body), (200, r#"{"R":5,"I":"0"}"#));
}
