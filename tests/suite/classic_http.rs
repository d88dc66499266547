//! Exact HTTP responses to classic clients outside channels: negotiation, start, send, abort and proxies.

use hubcast::classic;
use serde_json::{Value, json};

use crate::support::{
    HttpResponse, NegotiatedConnection, Server, http_request, http_request_with_body, percent_encoded,
};

const JSON: Option<&str> = Some("application/json; charset=UTF-8");
const SCRIPT: Option<&str> = Some("application/javascript; charset=UTF-8");

/// A connection that has had a channel.
async fn connect(server: &Server) -> NegotiatedConnection {
    let connection = NegotiatedConnection::negotiate(server.address, "").await;
    assert_eq!(get(server, &connection.path("connect", "longPolling", "")).await.status, 200);
    connection
}

async fn get(server: &Server, path: &str) -> HttpResponse {
    http_request(server.address, &format!("GET {path}"), "").await
}

/// A server with JSONP enabled.
async fn start_with_jsonp() -> Server {
    Server::start_with(|engine| engine.classic_settings(classic::Settings { jsonp: true, ..Default::default() })).await
}

fn status_and_body(response: &HttpResponse) -> (u16, &str) {
    (response.status, &response.body)
}

#[tokio::test]
async fn negotiation_has_the_reference_members_in_order() {
    let server = Server::start().await;
    let response = get(&server, "/signalr/negotiate?clientProtocol=2.1").await;
    assert_eq!((response.status, response.header("content-type")), (200, JSON));
    let negotiation = response.json();
    let token = &negotiation["ConnectionToken"];
    let id = &negotiation["ConnectionId"];
    let whole = format!(
        "{{\"Url\":\"/signalr\",\"ConnectionToken\":{token},\"ConnectionId\":{id},\"KeepAliveTimeout\":20.0,\
         \"DisconnectTimeout\":30.0,\"ConnectionTimeout\":110.0,\"TryWebSockets\":true,\"ProtocolVersion\":\"2.0\",\
         \"TransportConnectTimeout\":5.0,\"LongPollDelay\":0.0}}"
    );
    assert_eq!(response.body, whole);
    let lengths: Vec<_> = id.as_str().unwrap().split('-').map(str::len).collect();
    assert_eq!(lengths, [8, 4, 4, 4, 12]);
    let is_safe = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
    assert!(token.as_str().unwrap().chars().all(is_safe), "a token needs no escaping in URLs: {token}");
}

#[tokio::test]
async fn each_negotiation_creates_a_connection() {
    let server = Server::start().await;
    let first = NegotiatedConnection::negotiate(server.address, "").await;
    let second = NegotiatedConnection::negotiate(server.address, "").await;
    assert!(first.id != second.id && first.token != second.token);
}

#[tokio::test]
async fn disabled_keep_alive_is_null_in_negotiation() {
    let off = classic::Settings { keep_alive: None, ..classic::Settings::default() };
    let server = Server::start_with(|engine| engine.classic_settings(off)).await;
    let negotiation = get(&server, "/signalr/negotiate").await.json();
    assert_eq!(negotiation.get("KeepAliveTimeout"), Some(&Value::Null));
}

#[tokio::test]
async fn protocol_version_is_clamped_to_supported_range() {
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
        let negotiation = get(&server, &format!("/signalr/negotiate?{asked}")).await.json();
        assert_eq!(negotiation["ProtocolVersion"], agreed, "{asked}");
    }
}

#[tokio::test]
async fn ping_is_answered_with_pong() {
    let server = Server::start().await;
    for request in ["GET /signalr/ping", "POST /SIGNALR/ping", "PUT /signalr/x/PING", "DELETE /signalr//ping"] {
        let response = http_request(server.address, request, "").await;
        assert_eq!((response.status, response.header("content-type")), (200, JSON), "{request}");
        assert_eq!(response.json(), json!({ "Response": "pong" }));
    }
}

#[tokio::test]
async fn operation_is_the_last_path_segment() {
    let server = Server::start().await;
    for path in ["/xnegotiate", "/negotiate/", "/ping/", "/x.ping", "/hubs/x", "/xhubs", "/connect", "/poll", ""] {
        let response = get(&server, &format!("/signalr{path}")).await;
        assert_eq!(status_and_body(&response), (400, "Protocol error: Unknown transport."), "{path}");
    }
    for path in ["/signalr2/ping", "/x/signalr/ping"] {
        assert_eq!(get(&server, path).await.status, 404, "{path}");
    }
}

#[tokio::test]
async fn responses_forbid_sniffing_and_caching() {
    let server = Server::start().await;
    let connection = connect(&server).await;
    for path in
        ["/signalr/negotiate".to_owned(), "/signalr/ping".to_owned(), connection.path("start", "serverSentEvents", "")]
    {
        let response = get(&server, &path).await;
        assert_eq!(response.header("x-content-type-options"), Some("nosniff"), "{path}");
        assert_eq!(response.header("cache-control"), Some("no-cache, no-store"), "{path}");
    }
    for path in ["/signalr/hubs", "/signalr/connect", &connection.path("abort", "webSockets", "")] {
        assert_eq!(get(&server, path).await.header("x-content-type-options"), Some("nosniff"), "{path}");
    }
}

#[tokio::test]
async fn request_errors_are_checked_in_reference_order() {
    let server = Server::start().await;
    for operation in ["connect", "reconnect", "poll", "start", "send", "abort"] {
        for (query, error) in [
            ("", "Protocol error: Unknown transport."),
            ("transport=pigeon&connectionToken=x", "Protocol error: Unknown transport."),
            ("transport=longPolling", "Protocol error: Missing connection token."),
            ("transport=longPolling&connectionToken=", "Protocol error: Missing connection token."),
            ("transport=longPolling&connectionToken=x", "The ConnectionId is in the incorrect format."),
        ] {
            let response = get(&server, &format!("/signalr/{operation}?{query}")).await;
            assert_eq!(status_and_body(&response), (400, error), "{operation}?{query}");
        }
    }
}

#[tokio::test]
async fn connection_token_in_body_is_ignored() {
    let server = Server::start().await;
    let connection = NegotiatedConnection::negotiate(server.address, "").await;
    let request = "POST /signalr/start?transport=longPolling";
    let response =
        http_request_with_body(server.address, request, "", &format!("connectionToken={}", connection.token)).await;
    assert_eq!(status_and_body(&response), (400, "Protocol error: Missing connection token."));
}

#[tokio::test]
async fn foreign_or_tampered_token_is_refused() {
    let (server, other) = (Server::start().await, Server::start().await);
    let connection = NegotiatedConnection::negotiate(server.address, "").await;
    let foreign = NegotiatedConnection::negotiate(other.address, "").await.token;
    let (head, last) = connection.token.split_at(connection.token.len() - 1);
    let tampered = format!("{head}{}", if last == "A" { "B" } else { "A" });
    for token in [foreign, tampered, connection.id.clone(), format!("{}x", connection.token)] {
        let response = NegotiatedConnection { token: token.clone(), ..connection.clone() }.request("start").await;
        assert_eq!(status_and_body(&response), (400, "The ConnectionId is in the incorrect format."), "{token}");
    }
}

#[tokio::test]
async fn groups_token_is_refused_as_connection_token() {
    let server = Server::start().await;
    let client = crate::support::ClassicClient::connect_and_join(server.address, "webSockets", "ann", "lobby").await;
    let groups = client.groups_token.clone().unwrap();
    let response = NegotiatedConnection { token: groups, ..client.connection.clone() }.request("start").await;
    assert_eq!(status_and_body(&response), (400, "The ConnectionId is in the incorrect format."));
}

#[tokio::test]
async fn connection_token_is_bound_to_its_user() {
    let server = Server::start().await;
    let anns = NegotiatedConnection::negotiate(server.address, "&user=ann").await;
    let error = "Unrecognized user identity.  The user identity cannot change during an active SignalR connection.";
    for query in ["&user=bob", "&user=Ann", ""] {
        for operation in ["start", "abort", "connect", "send"] {
            let response = NegotiatedConnection { query: query.into(), ..anns.clone() }.request(operation).await;
            assert_eq!(status_and_body(&response), (403, error), "{query} {operation}");
        }
    }
    assert_eq!(anns.request("abort").await.status, 200);
}

#[tokio::test]
async fn missing_upgrade_is_reported_before_foreign_user() {
    let server = Server::start().await;
    let anns = NegotiatedConnection::negotiate(server.address, "&user=ann").await;
    let bobs = NegotiatedConnection { query: "&user=bob".into(), ..anns };
    let response = get(&server, &bobs.path("connect", "webSockets", "")).await;
    assert_eq!(status_and_body(&response), (400, "Not a valid web socket request."));
}

#[tokio::test]
async fn unknown_hub_is_named_in_the_error() {
    let server = Server::start().await;
    let data = |json: &str| format!("connectionData={}", percent_encoded(json));
    for (json, status, error) in [
        (r#"[{"name":"nope"}]"#, 400, "'nope' Hub could not be resolved."),
        (r#"[{"name":"chat"},{"Name":"CHAT"}]"#, 400, "Duplicate Hub names found."),
        ("None", 400, "connectionData is not a list of hubs."),
    ] {
        let response = get(&server, &format!("/signalr/negotiate?{}", data(json))).await;
        assert_eq!(status_and_body(&response), (status, error), "{json}");
    }
    // Wire: ASP.NET SignalR responds with 500 here, which would report a server fault.
    let response = get(&server, &format!("/signalr/ping?{}", data(r#"[{"name":"nope"}]"#))).await;
    assert_eq!(status_and_body(&response), (501, "'nope' Hub could not be resolved."));
}

#[tokio::test]
async fn jsonp_is_refused_by_default() {
    let server = Server::start().await;
    for path in ["/signalr/negotiate?callback=f", "/signalr/ping?callback=f", "/signalr/connect?callback=f"] {
        let response = get(&server, path).await;
        assert_eq!(status_and_body(&response), (403, ""), "{path}");
        assert_eq!(response.reason(), "Forbidden: JSONP is disabled.");
    }
    assert_eq!(get(&server, "/signalr/ping?callback=").await.status, 200, "an empty callback is ignored");
}

#[tokio::test]
async fn jsonp_response_calls_the_callback() {
    let server = start_with_jsonp().await;
    let response = get(&server, "/signalr/ping?callback=jQuery.f_1").await;
    assert_eq!((response.status, response.header("content-type")), (200, SCRIPT));
    assert_eq!(response.body, r#"jQuery.f_1({"Response":"pong"});"#);
}

#[tokio::test]
async fn invalid_jsonp_callback_name_is_refused() {
    let server = start_with_jsonp().await;
    let connection = NegotiatedConnection::negotiate(server.address, "").await;
    for callback in ["alert(1)//", "a b", "f;g", "while", "1f", "a..b", "<script>"] {
        let response = get(&server, &format!("/signalr/negotiate?callback={}", percent_encoded(callback))).await;
        assert_eq!(response.status, 400, "{callback}");
        let poll = connection.path("connect", "longPolling", &format!("&callback={}", percent_encoded(callback)));
        assert_eq!(get(&server, &poll).await.status, 400, "{callback}");
    }
}

#[tokio::test]
async fn proxy_script_contains_hubs_and_methods() {
    let server = Server::start().await;
    for path in ["/signalr/hubs", "/signalr/js", "/signalr/HUBS/"] {
        let script = get(&server, path).await;
        assert_eq!((script.status, script.header("content-type")), (200, SCRIPT), "{path}");
        assert!(script.body.contains("joinRoom") && script.body.contains("\"/signalr\""), "{path}");
    }
    let settings = classic::Settings { proxies: false, ..classic::Settings::default() };
    let without_proxies = Server::start_with(|engine| engine.classic_settings(settings)).await;
    let script = get(&without_proxies, "/signalr/hubs").await;
    assert!(script.body.contains("SignalR: JavaScript Hub proxy generation has been disabled."));
    assert!(script.status == 200 && !script.body.contains("joinRoom"));
}

#[tokio::test]
async fn abort_is_idempotent_and_has_an_empty_body() {
    let server = Server::start().await;
    let connection = NegotiatedConnection::negotiate(server.address, "").await;
    for _ in 0..2 {
        let response = connection.request("abort").await;
        assert_eq!((status_and_body(&response), response.header("content-type")), ((200, ""), Some("text/plain")));
    }
}

#[tokio::test]
async fn invalid_invocation_is_refused_with_a_reason() {
    let server = Server::start().await;
    let connection = NegotiatedConnection::negotiate(server.address, "").await;
    for (data, error) in [
        ("[]", "The message is no JSON object."),
        (r#"{"M":"Add"}"#, "The message names no hub."),
        (r#"{"H":"chat"}"#, "The message names no method."),
        (r#"{"H":"nope","M":"Add"}"#, "'nope' Hub could not be resolved."),
        (r#"{"H":"chat","M":"Add","I":{}}"#, "The id of an invocation is a plain value."),
    ] {
        assert_eq!(status_and_body(&connection.post(data).await), (400, error), "{data}");
    }
    assert_eq!(status_and_body(&connection.post("").await), (400, "The request brings no data."));
    let as_socket = get(&server, &connection.path("send", "webSockets", "&data=x")).await;
    assert_eq!(status_and_body(&as_socket), (400, "Not a valid web socket request."));
}

#[tokio::test]
async fn endpoint_restricts_which_hubs_can_be_invoked() {
    let server = Server::start_with(|engine| {
        engine.classic_endpoint(classic::Endpoint::new("/deep/one").only([&"chat".into()]))
    })
    .await;
    let hi = format!("data={}", percent_encoded(r#"{"H":"other","M":"Hi","I":0}"#));
    let refusal = (400, "'other' Hub could not be resolved.");
    for first in ["/signalr", "/deep/one"] {
        let connection = NegotiatedConnection::negotiate(server.address, "").await;
        let at = |prefix: &str, operation: &str| {
            format!("POST {}", connection.path(operation, "longPolling", "").replacen("/signalr", prefix, 1))
        };
        assert_eq!(http_request_with_body(server.address, &at(first, "connect"), "", "").await.status, 200);
        for (path, expected) in [("/signalr", (200, r#"{"R":"other","I":"0"}"#)), ("/deep/one", refusal)] {
            let response = http_request_with_body(server.address, &at(path, "send"), "", &hi).await;
            assert_eq!(status_and_body(&response), expected, "negotiated at {first}, invoked at {path}");
        }
    }
}

#[tokio::test]
async fn invocation_data_is_read_from_form_or_query() {
    let server = Server::start().await;
    let connection = connect(&server).await;
    let call = percent_encoded(r#"{"h":"CHAT","m":"ADD","a":[2,3],"I":7}"#);
    let (path, response) = (connection.path("send", "longPolling", ""), (200, r#"{"R":5,"I":"7"}"#));
    let headers = "Content-Type: text/plain\r\n";
    let post = http_request_with_body(server.address, &format!("POST {path}"), headers, &format!("DATA={call}")).await;
    assert_eq!((status_and_body(&post), post.header("content-type")), (response, JSON));
    assert_eq!(status_and_body(&get(&server, &format!("{path}&data={call}")).await), response);
    let streams = connection.path("send", "serverSentEvents", &format!("&data={call}"));
    assert_eq!(status_and_body(&get(&server, &streams).await), (400, "The request brings no data."));
}

#[tokio::test]
async fn body_above_the_limit_is_refused() {
    let settings = classic::Settings { max_form: 1000, ..classic::Settings::default() };
    let server = Server::start_with(|engine| engine.classic_settings(settings)).await;
    let connection = connect(&server).await;
    let fits = connection.post(&json!({ "H": "chat", "M": "Echo", "A": ["x".repeat(500)], "I": 1 }).to_string()).await;
    assert_eq!(fits.status, 200);
    assert_eq!(connection.post(&"x".repeat(1000)).await.status, 413);
}
