//! What classic clients are answered before and beside a channel, word for word.

use hubcast::classic;
use serde_json::{Value, json};

use crate::support::{ClassicConnection, HttpResponse, Server, ask, ask_with, escaped};

const JSON: Option<&str> = Some("application/json; charset=UTF-8");
const SCRIPT: Option<&str> = Some("application/javascript; charset=UTF-8");

async fn get(server: &Server, path: &str) -> HttpResponse {
    ask(server.address, &format!("GET {path}"), "").await
}

/// A server that answers as scripts.
async fn with_jsonp() -> Server {
    Server::start_with(|engine| engine.classic_settings(classic::Settings { jsonp: true, ..Default::default() })).await
}

fn said(answer: &HttpResponse) -> (u16, &str) {
    (answer.status, &answer.body)
}

#[tokio::test]
async fn an_offer_has_the_members_of_the_original_in_its_order() {
    let server = Server::start().await;
    let answer = get(&server, "/signalr/negotiate?clientProtocol=2.1").await;
    assert_eq!((answer.status, answer.header("content-type")), (200, JSON));
    let offer = answer.json();
    let token = &offer["ConnectionToken"];
    let id = &offer["ConnectionId"];
    let whole = format!(
        "{{\"Url\":\"/signalr\",\"ConnectionToken\":{token},\"ConnectionId\":{id},\"KeepAliveTimeout\":20.0,\
         \"DisconnectTimeout\":30.0,\"ConnectionTimeout\":110.0,\"TryWebSockets\":true,\"ProtocolVersion\":\"2.0\",\
         \"TransportConnectTimeout\":5.0,\"LongPollDelay\":0.0}}"
    );
    assert_eq!(answer.body, whole);
    let lengths: Vec<_> = id.as_str().unwrap().split('-').map(str::len).collect();
    assert_eq!(lengths, [8, 4, 4, 4, 12]);
    let is_safe = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
    assert!(token.as_str().unwrap().chars().all(is_safe), "a token goes into URLs as it is: {token}");
}

#[tokio::test]
async fn every_negotiation_offers_another_connection() {
    let server = Server::start().await;
    let first = ClassicConnection::negotiate(server.address, "").await;
    let second = ClassicConnection::negotiate(server.address, "").await;
    assert!(first.id != second.id && first.token != second.token);
}

#[tokio::test]
async fn keep_alive_that_is_off_is_offered_as_null() {
    let off = classic::Settings { keep_alive: None, ..classic::Settings::default() };
    let server = Server::start_with(|engine| engine.classic_settings(off)).await;
    let offer = get(&server, "/signalr/negotiate").await.json();
    assert_eq!(offer.get("KeepAliveTimeout"), Some(&Value::Null));
}

#[tokio::test]
async fn a_protocol_version_is_echoed_within_bounds() {
    let server = Server::start().await;
    for (asked, agreed) in [
        ("", "1.2"),
        ("clientProtocol=1.0", "1.2"),
        ("clientProtocol=1.3", "1.3"),
        ("clientProtocol=1.5", "1.5"),
        ("clientProtocol=1.3.5", "1.3.5"),
        ("clientProtocol=1.10", "1.10"),
        ("clientProtocol=2.1", "2.0"),
        ("clientProtocol=2.0.1", "2.0"),
        ("clientProtocol=99.9", "2.0"),
        ("clientProtocol=2", "1.2"),
        ("clientProtocol=1.4x", "1.2"),
        ("clientProtocol=1.5&clientProtocol=1.5", "1.2"),
        ("CLIENTPROTOCOL=1.5", "1.5"),
    ] {
        let offer = get(&server, &format!("/signalr/negotiate?{asked}")).await.json();
        assert_eq!(offer["ProtocolVersion"], agreed, "{asked}");
    }
}

#[tokio::test]
async fn a_ping_needs_nothing_and_gets_a_pong() {
    let server = Server::start().await;
    for request in ["GET /signalr/ping", "POST /SIGNALR/ping", "PUT /signalr/x/PING", "DELETE /signalr//ping"] {
        let answer = ask(server.address, request, "").await;
        assert_eq!((answer.status, answer.header("content-type")), (200, JSON), "{request}");
        assert_eq!(answer.json(), json!({ "Response": "pong" }));
    }
}

#[tokio::test]
async fn an_operation_is_a_whole_last_segment() {
    let server = Server::start().await;
    for path in ["/xnegotiate", "/negotiate/", "/ping/", "/x.ping", "/hubs/x", "/xhubs", "/connect", "/poll", ""] {
        let answer = get(&server, &format!("/signalr{path}")).await;
        assert_eq!(said(&answer), (400, "Protocol error: Unknown transport."), "{path}");
    }
    for path in ["/signalr2/ping", "/x/signalr/ping"] {
        assert_eq!(get(&server, path).await.status, 404, "{path}");
    }
}

#[tokio::test]
async fn every_answer_forbids_guessing_and_keeping() {
    let server = Server::start().await;
    let handle = ClassicConnection::negotiate(server.address, "").await;
    for path in
        ["/signalr/negotiate".to_owned(), "/signalr/ping".to_owned(), handle.path("start", "serverSentEvents", "")]
    {
        let answer = get(&server, &path).await;
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{path}");
        assert_eq!(answer.header("cache-control"), Some("no-cache, no-store"), "{path}");
    }
    for path in ["/signalr/hubs", "/signalr/connect", &handle.path("abort", "webSockets", "")] {
        assert_eq!(get(&server, path).await.header("x-content-type-options"), Some("nosniff"), "{path}");
    }
}

#[tokio::test]
async fn what_is_wrong_with_a_request_is_told_in_the_originals_order() {
    let server = Server::start().await;
    for operation in ["connect", "reconnect", "poll", "start", "send", "abort"] {
        for (query, told) in [
            ("", "Protocol error: Unknown transport."),
            ("transport=pigeon&connectionToken=x", "Protocol error: Unknown transport."),
            ("transport=longPolling", "Protocol error: Missing connection token."),
            ("transport=longPolling&connectionToken=", "Protocol error: Missing connection token."),
            ("transport=longPolling&connectionToken=x", "The ConnectionId is in the incorrect format."),
        ] {
            let answer = get(&server, &format!("/signalr/{operation}?{query}")).await;
            assert_eq!(said(&answer), (400, told), "{operation}?{query}");
        }
    }
}

#[tokio::test]
async fn a_token_is_taken_from_the_query_alone() {
    let server = Server::start().await;
    let handle = ClassicConnection::negotiate(server.address, "").await;
    let request = "POST /signalr/start?transport=longPolling";
    let answer = ask_with(server.address, request, "", &format!("connectionToken={}", handle.token)).await;
    assert_eq!(said(&answer), (400, "Protocol error: Missing connection token."));
}

#[tokio::test]
async fn a_token_that_is_not_ours_is_refused() {
    let (server, other) = (Server::start().await, Server::start().await);
    let handle = ClassicConnection::negotiate(server.address, "").await;
    let foreign = ClassicConnection::negotiate(other.address, "").await.token;
    let (head, last) = handle.token.split_at(handle.token.len() - 1);
    let tampered = format!("{head}{}", if last == "A" { "B" } else { "A" });
    for token in [foreign, tampered, handle.id.clone(), format!("{}x", handle.token)] {
        let answer = ClassicConnection { token: token.clone(), ..handle.clone() }.ask("start").await;
        assert_eq!(said(&answer), (400, "The ConnectionId is in the incorrect format."), "{token}");
    }
}

#[tokio::test]
async fn a_groups_token_is_no_connection_token() {
    let server = Server::start().await;
    let client = crate::support::Classic::join(server.address, "webSockets", "ann", "lobby").await;
    let groups = client.groups.clone().unwrap();
    let answer = ClassicConnection { token: groups, ..client.handle.clone() }.ask("start").await;
    assert_eq!(said(&answer), (400, "The ConnectionId is in the incorrect format."));
}

#[tokio::test]
async fn a_token_is_good_for_its_user_alone() {
    let server = Server::start().await;
    let anns = ClassicConnection::negotiate(server.address, "&user=ann").await;
    let told = "Unrecognized user identity.  The user identity cannot change during an active SignalR connection.";
    for query in ["&user=bob", ""] {
        for operation in ["start", "abort", "connect", "send"] {
            let answer = ClassicConnection { query: query.into(), ..anns.clone() }.ask(operation).await;
            assert_eq!(said(&answer), (403, told), "{query} {operation}");
        }
    }
    assert_eq!(ClassicConnection { query: "&user=ANN".into(), ..anns.clone() }.ask("abort").await.status, 200);
}

#[tokio::test]
async fn a_hub_that_there_is_not_is_named() {
    let server = Server::start().await;
    let data = |json: &str| format!("connectionData={}", escaped(json));
    for (json, status, told) in [
        (r#"[{"name":"nope"}]"#, 400, "'nope' Hub could not be resolved."),
        (r#"[{"name":"chat"},{"Name":"CHAT"}]"#, 400, "Duplicate Hub names found."),
        ("None", 400, "connectionData is not a list of hubs."),
    ] {
        let answer = get(&server, &format!("/signalr/negotiate?{}", data(json))).await;
        assert_eq!(said(&answer), (status, told), "{json}");
    }
    // The original says 500 here, which would be a lie.
    let answer = get(&server, &format!("/signalr/ping?{}", data(r#"[{"name":"nope"}]"#))).await;
    assert_eq!(said(&answer), (501, "'nope' Hub could not be resolved."));
}

#[tokio::test]
async fn scripts_are_refused_unless_they_are_wanted() {
    let server = Server::start().await;
    for path in ["/signalr/negotiate?callback=f", "/signalr/ping?callback=f", "/signalr/connect?callback=f"] {
        let answer = get(&server, path).await;
        assert_eq!(said(&answer), (403, ""), "{path}");
        assert_eq!(answer.reason(), "Forbidden: JSONP is disabled.");
    }
    assert_eq!(get(&server, "/signalr/ping?callback=").await.status, 200, "an empty name is none");
}

#[tokio::test]
async fn an_answer_as_a_script_calls_what_it_is_told_to() {
    let server = with_jsonp().await;
    let answer = get(&server, "/signalr/ping?callback=jQuery.f_1").await;
    assert_eq!((answer.status, answer.header("content-type")), (200, SCRIPT));
    assert_eq!(answer.body, r#"jQuery.f_1({"Response":"pong"});"#);
}

#[tokio::test]
async fn only_the_name_of_a_function_is_called() {
    let server = with_jsonp().await;
    let handle = ClassicConnection::negotiate(server.address, "").await;
    for callback in ["alert(1)//", "a b", "f;g", "while", "1f", "a..b", "<script>"] {
        let answer = get(&server, &format!("/signalr/negotiate?callback={}", escaped(callback))).await;
        assert_eq!(answer.status, 400, "{callback}");
        let poll = handle.path("connect", "longPolling", &format!("&callback={}", escaped(callback)));
        assert_eq!(get(&server, &poll).await.status, 400, "{callback}");
    }
}

#[tokio::test]
async fn proxies_are_a_script_that_names_hubs_and_methods() {
    let server = Server::start().await;
    for path in ["/signalr/hubs", "/signalr/js", "/signalr/HUBS/"] {
        let script = get(&server, path).await;
        assert_eq!((script.status, script.header("content-type")), (200, SCRIPT), "{path}");
        assert!(script.body.contains("joinRoom") && script.body.contains("\"/signalr\""), "{path}");
    }
    let settings = classic::Settings { proxies: false, ..classic::Settings::default() };
    let silent = Server::start_with(|engine| engine.classic_settings(settings)).await;
    let script = get(&silent, "/signalr/hubs").await;
    assert!(script.body.contains("SignalR: JavaScript Hub proxy generation has been disabled."));
    assert!(script.status == 200 && !script.body.contains("joinRoom"));
}

#[tokio::test]
async fn an_abort_is_answered_with_nothing_whether_there_is_anything_to_end_or_not() {
    let server = Server::start().await;
    let handle = ClassicConnection::negotiate(server.address, "").await;
    for _ in 0..2 {
        let answer = handle.ask("abort").await;
        assert_eq!((said(&answer), answer.header("content-type")), ((200, ""), Some("text/plain")));
    }
}

#[tokio::test]
async fn what_is_no_call_is_refused_with_a_reason() {
    let server = Server::start().await;
    let handle = ClassicConnection::negotiate(server.address, "").await;
    for (data, told) in [
        ("[]", "The message is no JSON object."),
        (r#"{"M":"Add"}"#, "The message names no hub."),
        (r#"{"H":"chat"}"#, "The message names no method."),
        (r#"{"H":"nope","M":"Add"}"#, "'nope' Hub could not be resolved."),
        (r#"{"H":"chat","M":"Add","I":{}}"#, "The id of an invocation is a plain value."),
    ] {
        assert_eq!(said(&handle.post(data).await), (400, told), "{data}");
    }
    assert_eq!(said(&handle.post("").await), (400, "The request brings no data."));
    let as_socket = get(&server, &handle.path("send", "webSockets", "&data=x")).await;
    assert_eq!(said(&as_socket), (400, "Not a valid web socket request."));
}

#[tokio::test]
async fn what_can_be_called_is_what_the_endpoint_serves_that_a_call_comes_through() {
    let server = Server::start_with(|engine| {
        engine.classic_endpoint(classic::Endpoint::new("/deep/one").only([&"chat".into()]))
    })
    .await;
    let hi = format!("data={}", escaped(r#"{"H":"other","M":"Hi","I":0}"#));
    let refusal = (400, "'other' Hub could not be resolved.");
    for begins_at in ["/signalr", "/deep/one"] {
        let handle = ClassicConnection::negotiate(server.address, "").await;
        let at = |place: &str, operation: &str| {
            format!("POST {}", handle.path(operation, "longPolling", "").replacen("/signalr", place, 1))
        };
        assert_eq!(ask_with(server.address, &at(begins_at, "connect"), "", "").await.status, 200);
        for (place, answer) in [("/signalr", (200, r#"{"R":"other","I":"0"}"#)), ("/deep/one", refusal)] {
            let told = ask_with(server.address, &at(place, "send"), "", &hi).await;
            assert_eq!(said(&told), answer, "begun at {begins_at}, called at {place}");
        }
    }
}

#[tokio::test]
async fn a_call_may_come_in_a_form_of_any_kind_and_for_polls_in_the_query() {
    let server = Server::start().await;
    let handle = ClassicConnection::negotiate(server.address, "").await;
    let call = escaped(r#"{"h":"CHAT","m":"ADD","a":[2,3],"I":7}"#);
    let (path, answer) = (handle.path("send", "longPolling", ""), (200, r#"{"R":5,"I":"7"}"#));
    let headers = "Content-Type: text/plain\r\n";
    let post = ask_with(server.address, &format!("POST {path}"), headers, &format!("DATA={call}")).await;
    assert_eq!((said(&post), post.header("content-type")), (answer, JSON));
    assert_eq!(said(&get(&server, &format!("{path}&data={call}")).await), answer);
    let streams = handle.path("send", "serverSentEvents", &format!("&data={call}"));
    assert_eq!(said(&get(&server, &streams).await), (400, "The request brings no data."));
}

#[tokio::test]
async fn a_body_beyond_the_limit_is_refused() {
    let settings = classic::Settings { max_form: 1000, ..classic::Settings::default() };
    let server = Server::start_with(|engine| engine.classic_settings(settings)).await;
    let handle = ClassicConnection::negotiate(server.address, "").await;
    let fits = handle.post(&json!({ "H": "chat", "M": "Echo", "A": ["x".repeat(500)], "I": 1 }).to_string()).await;
    assert_eq!(fits.status, 200);
    assert_eq!(handle.post(&"x".repeat(1000)).await.status, 413);
}
