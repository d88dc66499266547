//! Requests before there is a WebSocket: what is offered, and how misuse is refused.

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use crate::support::{Client, HttpResponse, Server, ask};

const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

async fn negotiate(server: &Server, path_and_query: &str) -> Value {
    let answer = ask(server.address, &format!("POST {path_and_query}"), "").await;
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")), "{path_and_query}");
    answer.json()
}

async fn token(server: &Server) -> String {
    let offer = negotiate(server, "/chat/negotiate?negotiateVersion=1").await;
    offer["connectionToken"].as_str().unwrap().to_owned()
}

fn said(answer: &HttpResponse) -> (u16, &str) {
    (answer.status, &answer.body)
}

#[tokio::test]
async fn an_offer_names_what_there_is_and_nothing_else() {
    let server = Server::start().await;
    let offer = negotiate(&server, "/chat/negotiate?negotiateVersion=1&useStatefulReconnect=true").await;
    let names: Vec<_> = offer.as_object().unwrap().keys().collect();
    assert_eq!(names, ["availableTransports", "connectionId", "connectionToken", "negotiateVersion"]);
    let websockets = json!([{ "transport": "WebSockets", "transferFormats": ["Text"] }]);
    assert_eq!((&offer["negotiateVersion"], &offer["availableTransports"]), (&json!(1), &websockets));
    let is_random = |name: &str| offer[name].as_str().is_some_and(|id| id.len() == 22);
    assert!(is_random("connectionId") && is_random("connectionToken"), "{offer}");
    assert_ne!(offer["connectionId"], offer["connectionToken"]);
}

#[tokio::test]
async fn the_oldest_version_has_one_name_for_both() {
    let server = Server::start().await;
    for query in ["", "?negotiateVersion=0", "?negotiateVersion=-0", "?NEGOTIATEVERSION=%20+00%20"] {
        let offer = negotiate(&server, &format!("/chat/negotiate{query}")).await;
        assert_eq!((&offer["negotiateVersion"], offer.get("connectionToken")), (&json!(0), None), "{query}");
        let path = format!("/chat?id={}", offer["connectionId"].as_str().unwrap());
        let mut client = Client::connect(server.address, &path).await;
        assert_eq!(client.invoke("WhoAmI", json!([])).await, offer["connectionId"]);
    }
}

#[tokio::test]
async fn a_newer_version_than_there_is_becomes_the_newest() {
    let server = Server::start().await;
    for version in ["1", "01", "%2B1", "2", "2147483647"] {
        let offer = negotiate(&server, &format!("/chat/negotiate?negotiateVersion={version}")).await;
        assert_eq!(offer["negotiateVersion"], 1, "{version}");
    }
}

#[tokio::test]
async fn a_version_that_is_none_is_an_error() {
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
async fn a_version_below_the_least_is_an_error() {
    let server = Server::start().await;
    for (path, version) in [("/chat", -1), ("/strict", 0)] {
        let text = format!("The client requested version '{version}', but the server does not support this version.");
        let answer = negotiate(&server, &format!("{path}/negotiate?negotiateVersion={version}")).await;
        assert_eq!(answer, json!({ "error": text }));
    }
}

#[tokio::test]
async fn paths_have_no_case_and_may_end_in_a_slash() {
    let server = Server::start().await;
    for path in ["/CHAT/Negotiate?negotiateVersion=1", "/chat/negotiate/?negotiateVersion=1"] {
        let offer = negotiate(&server, path).await;
        let path = format!("/Chat/?id={}", offer["connectionToken"].as_str().unwrap());
        Client::connect(server.address, &path).await.heard_nothing().await;
    }
}

#[tokio::test]
async fn only_a_post_negotiates() {
    let server = Server::start().await;
    for method in ["GET", "PUT", "DELETE", "PATCH"] {
        let answer = ask(server.address, &format!("{method} /chat/negotiate"), "").await;
        assert_eq!(said(&answer), (405, ""), "{method}");
    }
}

#[tokio::test]
async fn who_may_not_is_refused_before_anything_is_looked_at() {
    let server = Server::start().await;
    for (token, status) in [("", 401), ("Authorization: Bearer ann\r\n", 403)] {
        for request in ["POST /guarded/negotiate", "GET /guarded", "POST /guarded?id=none", "DELETE /guarded?id=none"] {
            assert_eq!(said(&ask(server.address, request, token).await), (status, ""), "{request}");
        }
    }
    let member = "Authorization: Bearer ann.member\r\n";
    assert_eq!(ask(server.address, "POST /guarded/negotiate", member).await.status, 200);
    Client::connect(server.address, "/guarded?access_token=ann.member").await.heard_nothing().await;
}

#[tokio::test]
async fn every_request_but_a_websocket_needs_an_id() {
    let server = Server::start().await;
    for request in ["GET /chat", "GET /chat?id=", "POST /chat", "DELETE /chat"] {
        assert_eq!(said(&ask(server.address, request, "").await), (400, "Connection ID required"), "{request}");
    }
    let stream = ask(server.address, "GET /chat", "Accept: text/event-stream\r\n").await;
    assert_eq!(said(&stream), (400, "Connection ID required"));
}

#[tokio::test]
async fn an_unknown_id_is_not_found() {
    let server = Server::start().await;
    let id = token(&server).await;
    for id in ["none".to_owned(), format!("{id}&id={id}")] {
        for (method, headers) in [("GET", ""), ("GET", UPGRADE), ("POST", ""), ("DELETE", "")] {
            let answer = ask(server.address, &format!("{method} /chat?id={id}"), headers).await;
            assert_eq!(said(&answer), (404, "No Connection with that ID"), "{method} {id}");
        }
    }
}

#[tokio::test]
async fn a_token_opens_no_connection_at_another_path() {
    let server = Server::start().await;
    let id = token(&server).await;
    let answer = ask(server.address, &format!("GET /strict?id={id}"), UPGRADE).await;
    assert_eq!(said(&answer), (404, "No Connection with that ID"));
    Client::connect(server.address, &format!("/chat?id={id}")).await.heard_nothing().await;
}

#[tokio::test]
async fn a_transport_that_is_not_offered_is_not_found() {
    let server = Server::start().await;
    let refused = |name: &str| format!("{name} transport not supported by this end point type");
    let id = token(&server).await;
    let poll = ask(server.address, &format!("GET /chat?id={id}"), "").await;
    assert_eq!(said(&poll), (404, &*refused("LongPolling")));
    let stream = ask(server.address, &format!("GET /chat?id={id}"), "Accept: text/event-stream\r\n").await;
    assert_eq!(said(&stream), (404, &*refused("ServerSentEvents")));
    let socket = ask(server.address, "GET /nows", UPGRADE).await;
    assert_eq!(said(&socket), (404, &*refused("WebSockets")));
}

#[tokio::test]
async fn an_event_stream_wins_over_an_upgrade() {
    let server = Server::start().await;
    let both = format!("{UPGRADE}Accept: text/html, Text/Event-Stream\r\n");
    assert_eq!(said(&ask(server.address, "GET /chat", &both).await), (400, "Connection ID required"));
    let with_parameter = format!("{UPGRADE}Accept: text/event-stream;q=0.5\r\n");
    assert_eq!(ask(server.address, "GET /chat", &with_parameter).await.status, 101);
}

#[tokio::test]
async fn an_open_connection_takes_no_second_transport() {
    let server = Server::start().await;
    let id = token(&server).await;
    let mut client = Client::connect(server.address, &format!("/chat?id={id}")).await;
    let expected = [
        ("GET", UPGRADE, 409, ""),
        ("GET", "", 400, "Cannot change transports mid-connection"),
        ("GET", "Accept: text/event-stream\r\n", 400, "Cannot change transports mid-connection"),
        ("POST", "", 405, "POST requests are not allowed for WebSocket connections."),
        ("DELETE", "", 400, "Cannot terminate this connection using the DELETE endpoint."),
        ("PUT", "", 405, ""),
    ];
    for (method, headers, status, body) in expected {
        let answer = ask(server.address, &format!("{method} /chat?id={id}"), headers).await;
        assert_eq!(said(&answer), (status, body), "{method} {headers}");
    }
    client.heard_nothing().await;
}

#[tokio::test]
async fn a_connection_that_has_ended_is_not_found() {
    let server = Server::start().await;
    let id = token(&server).await;
    let mut client = Client::connect(server.address, &format!("/chat?id={id}")).await;
    client.say(r#"{"type":7}"#).await;
    assert_eq!(client.end().await, Some(CloseCode::Normal));
    for (method, headers) in [("GET", UPGRADE), ("GET", ""), ("POST", ""), ("DELETE", "")] {
        let answer = ask(server.address, &format!("{method} /chat?id={id}"), headers).await;
        assert_eq!(said(&answer), (404, "No Connection with that ID"), "{method}");
    }
}

#[tokio::test]
async fn a_delete_before_any_transport_is_refused() {
    let server = Server::start().await;
    let id = token(&server).await;
    let answer = ask(server.address, &format!("DELETE /chat?id={id}"), "").await;
    assert_eq!(said(&answer), (400, "Cannot terminate this connection using the DELETE endpoint."));
}

#[tokio::test]
async fn an_empty_post_ahead_of_a_transport_does_no_harm() {
    let server = Server::start().await;
    let id = token(&server).await;
    assert_eq!(said(&ask(server.address, &format!("POST /chat?id={id}"), "").await), (200, ""));
    Client::connect(server.address, &format!("/chat?id={id}")).await.heard_nothing().await;
}

#[tokio::test]
async fn answers_to_polls_are_never_cached() {
    let server = Server::start().await;
    for path in ["/chat", "/chat?id=none"] {
        let answer = ask(server.address, &format!("GET {path}"), "").await;
        assert_eq!(answer.header("cache-control"), Some("no-cache, no-store"), "{path}");
        assert_eq!(answer.header("pragma"), Some("no-cache"));
        assert_eq!(answer.header("expires"), Some("Thu, 01 Jan 1970 00:00:00 GMT"));
        assert_eq!(answer.header("content-type"), Some("text/plain"));
        let post = ask(server.address, &format!("POST {path}"), "").await;
        assert_eq!(post.header("cache-control"), None);
    }
}

#[tokio::test]
async fn a_path_without_a_hub_is_not_found() {
    let server = Server::start().await;
    for path in ["/", "/chatter", "/chat/other", "/nothing/negotiate"] {
        assert_eq!(ask(server.address, &format!("POST {path}"), "").await.status, 404, "{path}");
    }
}

#[tokio::test]
async fn a_page_from_elsewhere_is_let_in_where_the_application_says_so() {
    let server = Server::start().await;
    let preflight = "Origin: http://page.example\r\nAccess-Control-Request-Method: POST\r\n\
                     Access-Control-Request-Headers: x-requested-with,x-signalr-user-agent\r\n";
    let answer = ask(server.address, "OPTIONS /chat/negotiate", preflight).await;
    assert_eq!(answer.status, 204);
    assert_eq!(answer.header("access-control-allow-origin"), Some("http://page.example"));
    assert_eq!(answer.header("access-control-allow-credentials"), Some("true"));
    assert_eq!(answer.header("access-control-allow-headers"), Some("x-requested-with,x-signalr-user-agent"));
    let refused = ask(server.address, "POST /guarded/negotiate", "Origin: http://page.example\r\n").await;
    assert_eq!(refused.status, 401);
    assert_eq!(refused.header("access-control-allow-origin"), Some("http://page.example"), "errors have it as well");
}
