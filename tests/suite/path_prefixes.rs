//! Servers that clients reach below a path prefix.

use serde_json::json;

use crate::support::{ClassicClient, CoreClient, NegotiatedConnection, Server, TRANSPORTS, http_request};

/// The URL in the negotiate answer at `path`, and the one in the proxies script.
async fn named_urls(server: &Server, path: &str, headers: &str) -> (String, String) {
    let negotiation = http_request(server.address, &format!("GET {path}/negotiate?clientProtocol=2.1"), headers).await;
    let script = http_request(server.address, &format!("GET {path}/hubs"), headers).await.body;
    let url = script.split("$.hubConnection(\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap().to_owned();
    (negotiation.json()["Url"].as_str().unwrap().to_owned(), url)
}

#[tokio::test]
async fn classic_urls_begin_with_the_base_path() {
    let server = Server::start_with(|engine| engine.base_path("/app")).await;
    for path in ["/signalr", "/app/signalr"] {
        assert_eq!(named_urls(&server, path, "").await, ("/app/signalr".into(), "/app/signalr".into()), "{path}");
    }
}

#[tokio::test]
async fn prefix_of_an_unknown_proxy_is_ignored() {
    let server = Server::start().await;
    let headers = "X-Forwarded-Prefix: /app\r\nX-Forwarded-For: 127.0.0.1\r\n";
    assert_eq!(named_urls(&server, "/signalr", headers).await, ("/signalr".into(), "/signalr".into()));
}

#[tokio::test]
async fn every_transport_works_below_the_base_path() {
    let server = Server::start_with(|engine| engine.base_path("/app")).await;
    let mut core = CoreClient::connect(server.address, "/app/chat?user=core").await;
    core.invoke("JoinRoom", json!(["lobby"])).await;
    for transport in TRANSPORTS {
        let connection = NegotiatedConnection::negotiate_below("/app", server.address, "&user=ann").await;
        let mut ann = ClassicClient::start(connection, transport).await;
        ann.invoke("Send", json!(["lobby", transport])).await;
        assert_eq!(core.next_chat_message().await, ("ann".into(), transport.into()));
    }
}
