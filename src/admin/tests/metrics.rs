//! Tests of the metrics route.

use super::*;
use crate::metrics::openmetrics::parser::{Exposition, parse};

impl TestService {
    async fn metrics(&self, authorization: Option<&str>) -> Result<Exposition, StatusCode> {
        let request = authorization.into_iter().fold(self.server.get("/metrics"), |request, authorization| {
            request.insert_header(("Authorization", authorization))
        });
        let mut response = request.send().await.expect("a response");
        if response.status() != StatusCode::OK {
            return Err(response.status());
        }
        let content_type = response.headers().get("content-type").expect("a content type");
        assert_eq!(content_type, "application/openmetrics-text; version=1.0.0; charset=utf-8");
        let body = response.body().await.expect("a body");
        Ok(parse(str::from_utf8(&body).expect("text")))
    }

    pub(super) async fn metrics_text(&self) -> String {
        let request = self.server.get("/metrics").insert_header(("Authorization", format!("Bearer {TOKEN}")));
        let body = request.send().await.expect("a response").body().await.expect("a body");
        String::from_utf8(body.to_vec()).expect("text")
    }

    async fn metrics_with_token(&self) -> Exposition {
        self.metrics(Some(&format!("Bearer {TOKEN}"))).await.expect("metrics")
    }

    /// Opens a WebSocket of a SignalR 2.x client.
    async fn classic_client(&self) -> WebSocketStream<MaybeTlsStream<TcpStream>> {
        let query = "clientProtocol=2.1&connectionData=%5B%7B%22name%22%3A%22chat%22%7D%5D";
        let mut response = self.server.get(format!("/signalr/negotiate?{query}")).send().await.expect("a response");
        let negotiated: Value = response.json().await.expect("a JSON body");
        let token: String =
            form_urlencoded::byte_serialize(negotiated["ConnectionToken"].as_str().expect("a token").as_bytes())
                .collect();
        let url = self.server.url(&format!("/signalr/connect?transport=webSockets&connectionToken={token}&{query}"));
        let (mut socket, _) = connect_async(url.replacen("http", "ws", 1)).await.expect("a WebSocket");
        let first = timeout(TEST_TIMEOUT, socket.next()).await.expect("in time").expect("a frame").expect("a frame");
        assert!(first.to_text().expect("text").contains("\"S\":1"), "{first}");
        socket
    }
}

fn active(exposition: &Exposition, dialect: &str) -> f64 {
    let labels = format!("hubcast_dialect=\"{dialect}\",signalr_transport=\"web_sockets\"");
    exposition.value(&format!("signalr_server_active_connections{{{labels}}}")).expect("a gauge")
}

#[actix::test]
async fn connections_of_both_dialects_are_counted() {
    let service = start_with(|builder| builder.classic("/signalr"));
    let before = service.metrics_with_token().await;
    assert_eq!((active(&before, "aspnetcore"), active(&before, "classic")), (0.0, 0.0));
    let (_ann, _bob) = (service.client("chat", "ann").await, service.client("news", "bob").await);
    let _classic = service.classic_client().await;
    let metrics = service.metrics_with_token().await;
    assert_eq!((active(&metrics, "aspnetcore"), active(&metrics, "classic")), (2.0, 1.0));
    assert_eq!(metrics.value("hubcast_users"), Some(2.0));
}

#[actix::test]
async fn durations_of_invocations_and_connections_are_counted() {
    let service = start();
    let mut ann = service.client("chat", "ann").await;
    ann.join("lobby").await;
    let metrics = service.metrics_with_token().await;
    let count =
        |outcome: &str| metrics.value(&format!("hubcast_invocation_duration_seconds_count{{outcome=\"{outcome}\"}}"));
    // The client has also invoked a method that does not exist.
    assert_eq!((count("completed"), count("failed")), (Some(1.0), Some(1.0)));
    assert_eq!(metrics.value("hubcast_groups"), Some(1.0));
    let clients = service.engine.hub("chat").expect("the hub").clients();
    assert_eq!(clients.user("ann").disconnect(crate::Reconnect::Deny).await, Ok(1));
    let metrics = service.metrics_with_token().await;
    let labels = r#"{signalr_connection_status="normal_closure",signalr_transport="web_sockets"}"#;
    assert_eq!(metrics.value(&format!("signalr_server_connection_duration_seconds_count{labels}")), Some(1.0));
    assert_eq!(active(&metrics, "aspnetcore"), 0.0);
}

#[actix::test]
async fn metrics_need_the_token_unless_public() {
    let service = start();
    assert_eq!(service.metrics(None).await.unwrap_err(), StatusCode::UNAUTHORIZED);
    assert_eq!(service.metrics(Some("Bearer wrong")).await.unwrap_err(), StatusCode::UNAUTHORIZED);
    let engine = service.engine.clone();
    let public = actix_test::start(move || App::new().configure(routes(&engine, &TOKEN.into(), MetricsAccess::Public)));
    for (path, status) in [("/metrics", StatusCode::OK), ("/admin/overview", StatusCode::UNAUTHORIZED)] {
        assert_eq!(public.get(path).send().await.expect("a response").status(), status, "{path}");
    }
    let refused = public.post("/metrics").send().await.expect("a response");
    assert_eq!(refused.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(refused.headers().get("allow").expect("an Allow header"), "GET, HEAD");
}
