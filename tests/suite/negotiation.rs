//! Negotiation and other requests before a WebSocket is open, and the refusal of invalid ones.

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use crate::support::{CoreClient, HttpResponse, Server, UPGRADE, http_request, negotiate_token as token};

async fn negotiate(server: &Server, path_and_query: &str) -> Value {
    let response = http_request(server.address, &format!("POST {path_and_query}"), "").await;
    assert_eq!((response.status, response.header("content-type")), (200, Some("application/json")), "{path_and_query}");
    response.json()
}

fn status_and_body(response: &HttpResponse) -> (u16, &str) {
    (response.status, &response.body)
}

#[tokio::test]
async fn negotiation_lists_only_supported_features() {
    let server = Server::start().await;
    let negotiation = negotiate(&server, "/chat/negotiate?negotiateVersion=1&useStatefulReconnect=true").await;
    let names: Vec<_> = negotiation.as_object().unwrap().keys().collect();
    assert_eq!(names, ["availableTransports", "connectionId", "connectionToken", "negotiateVersion"]);
    let offer = |name, formats: &[&str]| json!({ "transport": name, "transferFormats": formats });
    let transports = [
        offer("WebSockets", &["Text", "Binary"]),
        offer("ServerSentEvents", &["Text"]),
        offer("LongPolling", &["Text", "Binary"]),
    ];
    assert_eq!(
        (&negotiation["negotiateVersion"], &negotiation["availableTransports"]),
        (&json!(1), &json!(transports))
    );
    let offered = negotiate(&server, "/nows/negotiate?negotiateVersion=1").await;
    assert_eq!(offered["availableTransports"], json!(&transports[1..]));
    let is_random = |name: &str| negotiation[name].as_str().is_some_and(|id| id.len() == 22);
    assert!(is_random("connectionId") && is_random("connectionToken"), "{negotiation}");
    assert_ne!(negotiation["connectionId"], negotiation["connectionToken"]);
}

#[tokio::test]
async fn version_0_uses_one_id_for_both() {
    let server = Server::start().await;
    for query in ["", "?negotiateVersion=0", "?negotiateVersion=-0", "?NEGOTIATEVERSION=%20+00%20"] {
        let negotiation = negotiate(&server, &format!("/chat/negotiate{query}")).await;
        assert_eq!(
            (&negotiation["negotiateVersion"], negotiation.get("connectionToken")),
            (&json!(0), None),
            "{query}"
        );
        let path = format!("/chat?id={}", negotiation["connectionId"].as_str().unwrap());
        let mut client = CoreClient::connect(server.address, &path).await;
        assert_eq!(client.invoke("WhoAmI", json!([])).await, negotiation["connectionId"]);
    }
}

#[tokio::test]
async fn newer_version_is_lowered_to_the_newest() {
    let server = Server::start().await;
    for version in ["1", "01", "%2B1", "2", "2147483647"] {
        let negotiation = negotiate(&server, &format!("/chat/negotiate?negotiateVersion={version}")).await;
        assert_eq!(negotiation["negotiateVersion"], 1, "{version}");
    }
}

#[tokio::test]
async fn non_integer_version_is_an_error() {
    let server = Server::start().await;
    let error = json!({ "error": "The client requested a non-integer protocol version." });
    for version in ["", "1.0", "one", "2147483648", "1&negotiateVersion=1"] {
        assert_eq!(
            negotiate(&server, &format!("/chat/negotiate?negotiateVersion={version}")).await,
            error,
            "{version}"
        );
    }
}

#[tokio::test]
async fn version_below_the_minimum_is_an_error() {
    let server = Server::start().await;
    for (path, version) in [("/chat", -1), ("/strict", 0)] {
        let text = format!("The client requested version '{version}', but the server does not support this version.");
        let response = negotiate(&server, &format!("{path}/negotiate?negotiateVersion={version}")).await;
        assert_eq!(response, json!({ "error": text }));
    }
}

#[tokio::test]
async fn paths_are_case_insensitive_and_allow_trailing_slash() {
    let server = Server::start().await;
    for path in ["/CHAT/Negotiate?negotiateVersion=1", "/chat/negotiate/?negotiateVersion=1"] {
        let negotiation = negotiate(&server, path).await;
        let path = format!("/Chat/?id={}", negotiation["connectionToken"].as_str().unwrap());
        CoreClient::connect(server.address, &path).await.expect_no_message().await;
    }
}

#[tokio::test]
async fn only_post_can_negotiate() {
    let server = Server::start().await;
    for method in ["GET", "PUT", "DELETE", "PATCH"] {
        let response = http_request(server.address, &format!("{method} /chat/negotiate"), "").await;
        assert_eq!(status_and_body(&response), (405, ""), "{method}");
    }
}

#[tokio::test]
async fn authorization_is_checked_before_anything_else() {
    let server = Server::start().await;
    for (token, status) in [("", 401), ("Authorization: Bearer ann\r\n", 403)] {
        for request in ["POST /guarded/negotiate", "GET /guarded", "POST /guarded?id=none", "DELETE /guarded?id=none"] {
            assert_eq!(status_and_body(&http_request(server.address, request, token).await), (status, ""), "{request}");
        }
    }
    let member = "Authorization: Bearer ann.member\r\n";
    assert_eq!(http_request(server.address, "POST /guarded/negotiate", member).await.status, 200);
    CoreClient::connect(server.address, "/guarded?access_token=ann.member").await.expect_no_message().await;
}

#[tokio::test]
async fn requests_without_id_are_refused() {
    let server = Server::start().await;
    for request in ["GET /chat", "GET /chat?id=", "POST /chat", "DELETE /chat"] {
        assert_eq!(
            status_and_body(&http_request(server.address, request, "").await),
            (400, "Connection ID required"),
            "{request}"
        );
    }
    let stream = http_request(server.address, "GET /chat", "Accept: text/event-stream\r\n").await;
    assert_eq!(status_and_body(&stream), (400, "Connection ID required"));
}

#[tokio::test]
async fn unknown_id_is_not_found() {
    let server = Server::start().await;
    let id = token(&server).await;
    for id in ["none".to_owned(), format!("{id}&id={id}")] {
        for (method, headers) in [("GET", ""), ("GET", UPGRADE), ("POST", ""), ("DELETE", "")] {
            let response = http_request(server.address, &format!("{method} /chat?id={id}"), headers).await;
            assert_eq!(status_and_body(&response), (404, "No Connection with that ID"), "{method} {id}");
        }
    }
}

#[tokio::test]
async fn token_is_bound_to_its_path() {
    let server = Server::start().await;
    let id = token(&server).await;
    let response = http_request(server.address, &format!("GET /strict?id={id}"), UPGRADE).await;
    assert_eq!(status_and_body(&response), (404, "No Connection with that ID"));
    CoreClient::connect(server.address, &format!("/chat?id={id}")).await.expect_no_message().await;
}

#[tokio::test]
async fn unsupported_transport_is_not_found() {
    let server = Server::start().await;
    let refused = |name: &str| format!("{name} transport not supported by this end point type");
    let negotiation = negotiate(&server, "/wsonly/negotiate?negotiateVersion=1").await;
    let id = negotiation["connectionToken"].as_str().unwrap();
    let poll = http_request(server.address, &format!("GET /wsonly?id={id}"), "").await;
    assert_eq!(status_and_body(&poll), (404, &*refused("LongPolling")));
    let stream = http_request(server.address, &format!("GET /wsonly?id={id}"), "Accept: text/event-stream\r\n").await;
    assert_eq!(status_and_body(&stream), (404, &*refused("ServerSentEvents")));
    let socket = http_request(server.address, "GET /nows", UPGRADE).await;
    assert_eq!(status_and_body(&socket), (404, &*refused("WebSockets")));
}

#[tokio::test]
async fn event_stream_takes_precedence_over_upgrade() {
    let server = Server::start().await;
    let both = format!("{UPGRADE}Accept: text/html, Text/Event-Stream\r\n");
    assert_eq!(
        status_and_body(&http_request(server.address, "GET /chat", &both).await),
        (400, "Connection ID required")
    );
    let with_parameter = format!("{UPGRADE}Accept: text/event-stream;q=0.5\r\n");
    assert_eq!(http_request(server.address, "GET /chat", &with_parameter).await.status, 101);
}

#[tokio::test]
async fn open_connection_refuses_second_transport() {
    let server = Server::start().await;
    let id = token(&server).await;
    let mut client = CoreClient::connect(server.address, &format!("/chat?id={id}")).await;
    let expected = [
        ("GET", UPGRADE, 409, ""),
        ("GET", "", 400, "Cannot change transports mid-connection"),
        ("GET", "Accept: text/event-stream\r\n", 400, "Cannot change transports mid-connection"),
        ("POST", "", 405, "POST requests are not allowed for WebSocket connections."),
        ("DELETE", "", 400, "Cannot terminate this connection using the DELETE endpoint."),
        ("PUT", "", 405, ""),
    ];
    for (method, headers, status, body) in expected {
        let response = http_request(server.address, &format!("{method} /chat?id={id}"), headers).await;
        assert_eq!(status_and_body(&response), (status, body), "{method} {headers}");
    }
    client.expect_no_message().await;
}

#[tokio::test]
async fn ended_connection_is_not_found() {
    let server = Server::start().await;
    let id = token(&server).await;
    let mut client = CoreClient::connect(server.address, &format!("/chat?id={id}")).await;
    client.send_record(r#"{"type":7}"#).await;
    assert_eq!(client.wait_for_close().await, Some(CloseCode::Normal));
    for (method, headers) in [("GET", UPGRADE), ("GET", ""), ("POST", ""), ("DELETE", "")] {
        let response = http_request(server.address, &format!("{method} /chat?id={id}"), headers).await;
        assert_eq!(status_and_body(&response), (404, "No Connection with that ID"), "{method}");
    }
}

#[tokio::test]
async fn delete_before_any_transport_is_refused() {
    let server = Server::start().await;
    let id = token(&server).await;
    let response = http_request(server.address, &format!("DELETE /chat?id={id}"), "").await;
    assert_eq!(status_and_body(&response), (400, "Cannot terminate this connection using the DELETE endpoint."));
}

#[tokio::test]
async fn empty_post_before_any_transport_is_accepted() {
    let server = Server::start().await;
    let id = token(&server).await;
    assert_eq!(status_and_body(&http_request(server.address, &format!("POST /chat?id={id}"), "").await), (200, ""));
    CoreClient::connect(server.address, &format!("/chat?id={id}")).await.expect_no_message().await;
}

#[tokio::test]
async fn poll_responses_are_not_cacheable() {
    let server = Server::start().await;
    for path in ["/chat", "/chat?id=none"] {
        let response = http_request(server.address, &format!("GET {path}"), "").await;
        assert_eq!(response.header("cache-control"), Some("no-cache, no-store"), "{path}");
        assert_eq!(response.header("pragma"), Some("no-cache"));
        assert_eq!(response.header("expires"), Some("Thu, 01 Jan 1970 00:00:00 GMT"));
        assert_eq!(response.header("content-type"), Some("text/plain"));
        let post = http_request(server.address, &format!("POST {path}"), "").await;
        assert_eq!(post.header("cache-control"), None);
    }
}

#[tokio::test]
async fn path_without_a_hub_is_not_found() {
    let server = Server::start().await;
    for path in ["/", "/chatter", "/chat/other", "/nothing/negotiate"] {
        assert_eq!(http_request(server.address, &format!("POST {path}"), "").await.status, 404, "{path}");
    }
}

#[tokio::test]
async fn cors_allows_configured_origins() {
    let server = Server::start().await;
    let preflight = "Origin: http://page.example\r\nAccess-Control-Request-Method: POST\r\n\
                     Access-Control-Request-Headers: x-requested-with,x-signalr-user-agent\r\n";
    let response = http_request(server.address, "OPTIONS /chat/negotiate", preflight).await;
    assert_eq!(response.status, 204);
    assert_eq!(response.header("access-control-allow-origin"), Some("http://page.example"));
    assert_eq!(response.header("access-control-allow-credentials"), Some("true"));
    assert_eq!(response.header("access-control-allow-headers"), Some("x-requested-with,x-signalr-user-agent"));
    let refused = http_request(server.address, "POST /guarded/negotiate", "Origin: http://page.example\r\n").await;
    assert_eq!(refused.status, 401);
    assert_eq!(
        refused.header("access-control-allow-origin"),
        Some("http://page.example"),
        "errors have the header as well"
    );
}
