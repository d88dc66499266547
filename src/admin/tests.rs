//! Tests of every admin route over real sockets, with connected hub clients.

use std::time::Duration;

use actix_test::TestServer;
use actix_web::{App, HttpRequest, http::StatusCode};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::{net::TcpStream, time::timeout};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async, tungstenite::Message};

use super::{MetricsAccess, routes};
use crate::{
    Args, Engine, EngineBuilder, Groups, Hub,
    hub::Identity,
    store::{
        faulty::{FaultMode, FaultyStore},
        memory::MemoryStore,
    },
    web::{AuthError, parse_query},
};

mod bulk;
mod changes;
mod connections;
mod filters;
mod groups;
mod metrics;
mod presence;
mod users;

const TOKEN: &str = "secret token";

/// The time limit of every single wait.
const TEST_TIMEOUT: Duration = Duration::from_secs(60);

struct TestService {
    engine: Engine,
    server: TestServer,
}

fn identify(request: &HttpRequest) -> Result<Identity, AuthError> {
    let user = parse_query(request.query_string()).into_iter().find(|(name, _)| name == "user");
    Ok(Identity::named(user.map(|(_, user)| user.into())))
}

fn start() -> TestService {
    start_with(|builder| builder)
}

fn start_with(change: impl FnOnce(EngineBuilder) -> EngineBuilder) -> TestService {
    let join = async |groups: Groups, Args((room,)): Args<(String,)>| {
        groups.join(room).await?;
        Ok::<_, crate::HubError>(())
    };
    let hub = |name| Hub::new(name).method("JoinRoom", join);
    let builder = Engine::builder().hub("/chat", hub("chat")).hub("/news", hub("news")).node("test");
    let engine = change(builder).authenticate(identify).build().expect("two hubs with different names");
    let served = engine.clone();
    let server = actix_test::start(move || {
        App::new().configure(routes(&served, &TOKEN.into(), MetricsAccess::Token)).configure(served.routes())
    });
    TestService { engine, server }
}

impl TestService {
    async fn get(&self, path: &str) -> (StatusCode, Value) {
        self.get_with_authorization(path, Some(&format!("Bearer {TOKEN}"))).await
    }

    async fn get_with_authorization(&self, path: &str, authorization: Option<&str>) -> (StatusCode, Value) {
        let mut request = self.server.get(path);
        if let Some(authorization) = authorization {
            request = request.insert_header(("Authorization", authorization));
        }
        let mut response = request.send().await.expect("a response");
        (response.status(), response.json().await.expect("a JSON body"))
    }

    async fn get_ok(&self, path: &str) -> Value {
        let (status, body) = self.get(path).await;
        assert_eq!(status, StatusCode::OK, "{path}: {body}");
        body
    }

    async fn get_error(&self, path: &str, status: StatusCode) -> String {
        let (actual, body) = self.get(path).await;
        assert_eq!(actual, status, "{path}: {body}");
        body["error"].as_str().expect("an error text").to_owned()
    }

    /// The values of a column in all pages of a list.
    async fn collect_pages(&self, path: &str, column: &str) -> Vec<Value> {
        let (mut values, mut next) = (Vec::new(), String::new());
        loop {
            let page = self.get_ok(&format!("{path}&cursor={next}")).await;
            values.extend(items(&page).iter().map(|row| row[column].clone()));
            match page["next"].as_str() {
                Some(cursor) => cursor.clone_into(&mut next),
                None => return values,
            }
        }
    }

    async fn client(&self, hub: &str, user: &str) -> TestClient {
        let url = self.server.url(&format!("/{hub}?user={user}")).replacen("http", "ws", 1);
        let (socket, _) = connect_async(url).await.expect("a WebSocket");
        let mut client = TestClient(socket);
        client.send(&json!({ "protocol": "json", "version": 1 })).await;
        assert_eq!(client.receive_matching(|_| true).await, json!({}));
        // Order: the server handles invocations only after the client is in its groups.
        client.send(&json!({ "type": 1, "invocationId": "0", "target": "NoSuchMethod", "arguments": [] })).await;
        client.receive_matching(|message| message["type"] == 3).await;
        client
    }
}

fn items(page: &Value) -> &Vec<Value> {
    page["items"].as_array().expect("a page has items")
}

struct TestClient(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl TestClient {
    async fn send(&mut self, message: &Value) {
        self.0.send(Message::text(format!("{message}\u{1e}"))).await.expect("an open socket");
    }

    async fn receive_matching(&mut self, matches: impl Fn(&Value) -> bool) -> Value {
        let received = async {
            loop {
                let message = self.0.next().await.expect("an open socket").expect("a message");
                let message = message.into_text().expect("text");
                let message = serde_json::from_str(message.trim_end_matches('\u{1e}')).expect("JSON");
                if matches(&message) {
                    return message;
                }
            }
        };
        timeout(TEST_TIMEOUT, received).await.expect("the message in time")
    }

    async fn join(&mut self, room: &str) {
        self.send(&json!({ "type": 1, "invocationId": "1", "target": "JoinRoom", "arguments": [room] })).await;
        let completion = self.receive_matching(|message| message["type"] == 3).await;
        assert_eq!(completion["error"], Value::Null, "{completion}");
    }
}

#[actix::test]
async fn admin_routes_require_the_token() {
    let service = start();
    for authorization in [
        None,
        Some("Bearer"),
        Some("Bearer "),
        Some("Bearer secret toke"),
        Some("Bearer secret token!"),
        Some("Basic secret token"),
        Some("secret token"),
    ] {
        for path in ["/admin/overview", "/admin/connections", "/admin/nothing", "/admin"] {
            let (status, body) = service.get_with_authorization(path, authorization).await;
            assert_eq!(status, StatusCode::UNAUTHORIZED, "{authorization:?} {path}");
            let has_token = authorization.is_some_and(|text| text.starts_with("Bearer secret"));
            let text = match has_token {
                true => "the admin token is wrong",
                false => "the admin token is required: `Authorization: Bearer …`",
            };
            assert_eq!(body, json!({ "error": text }), "{authorization:?} {path}");
        }
    }
    let refused = service.server.get("/admin/overview").send().await.expect("a response");
    assert!(refused.headers().get("www-authenticate").is_some_and(|value| value.as_bytes().starts_with(b"Bearer")));
    assert_eq!(service.get_with_authorization("/admin/overview", Some("bearer secret token")).await.0, StatusCode::OK);
}

#[actix::test]
async fn empty_token_refuses_all_requests() {
    let engine = Engine::builder().hub("/chat", Hub::new("chat")).build().expect("a valid engine");
    let server = actix_test::start(move || App::new().configure(routes(&engine, &"".into(), MetricsAccess::Token)));
    for authorization in ["Bearer ", "Bearer x"] {
        let request = server.get("/admin/overview").insert_header(("Authorization", authorization));
        assert_eq!(request.send().await.expect("a response").status(), StatusCode::UNAUTHORIZED);
    }
}

#[actix::test]
async fn health_needs_no_token_and_reports_draining() {
    let service = start();
    assert_eq!(
        service.get_with_authorization("/healthz/live", None).await,
        (StatusCode::OK, json!({ "status": "live" }))
    );
    assert_eq!(
        service.get_with_authorization("/healthz/ready", None).await,
        (StatusCode::OK, json!({ "status": "ready" }))
    );
    let head = service.server.head("/healthz/live").send().await.expect("a response");
    assert_eq!(head.status(), StatusCode::OK);
    service.engine.drain(Duration::ZERO).await;
    let (status, body) = service.get_with_authorization("/healthz/ready", None).await;
    assert_eq!((status, body), (StatusCode::SERVICE_UNAVAILABLE, json!({ "status": "draining" })));
    assert_eq!(service.get_with_authorization("/healthz/live", None).await.0, StatusCode::OK);
    assert_eq!(service.get_ok("/admin/overview").await["isDraining"], json!(true));
}

#[actix::test]
async fn overview_counts_live_connections_groups_and_users() {
    let service = start();
    let (mut ann, _second, _bob) =
        (service.client("chat", "ann").await, service.client("news", "ann").await, service.client("chat", "bob").await);
    ann.join("lobby").await;
    let overview = service.get_ok("/admin/overview").await;
    assert_eq!(overview["live"], json!({ "connections": 3, "groups": 1, "users": 2 }));
    assert_eq!((&overview["version"], &overview["node"]), (&json!(env!("CARGO_PKG_VERSION")), &json!("test")));
    assert_eq!(overview["store"], json!({ "isWritable": true, "reason": null }));
    assert_eq!((&overview["hubs"], &overview["isDraining"]), (&json!(["chat", "news"]), &json!(false)));
    assert_eq!(overview["counters"]["connections_opened"], json!(3));
    assert_eq!(overview["longestQueue"], Value::Null, "every queue is empty");
    assert_eq!(overview["restarts"], json!({ "groups": 0, "membership": 0, "pipeline": 0, "reconciler": 0 }));
}

#[actix::test]
async fn invalid_parameter_errors_list_allowed_values() {
    let service = start();
    for (path, expected) in [
        ("/admin/connections?limit=0", "`limit` must be a number from 1 to 1000"),
        ("/admin/connections?sort=mood", "`sort` must be one of: id, since,"),
        ("/admin/connections?cursor=%21", "`cursor` must be the unchanged `next`"),
        ("/admin/connections?colour=red", "`colour` is unknown; allowed parameters: hub, user,"),
        ("/admin/connections?hub=Chat", "`hub` must be one of: chat, news"),
        ("/admin/connections?group=lobby", "`group` requires `hub`"),
        ("/admin/groups?hub=nowhere", "`hub` must be one of: chat, news"),
        ("/admin/groups?prefix=a&prefix=b", "`prefix` is repeated"),
        ("/admin/groups/chat/x?cursor=x", "`cursor` must be"),
        ("/admin/groups/chat/x?durableCursor=x", "`durableCursor` must be"),
        ("/admin/users?sort=age", "`sort` must be one of: user, connections;"),
        ("/admin/users/ann?limit=1001", "`limit` must be"),
    ] {
        let error = service.get_error(path, StatusCode::BAD_REQUEST).await;
        assert!(error.starts_with(expected), "{path}: {error}");
    }
}

#[actix::test]
async fn unknown_objects_and_methods_are_refused() {
    let service = start();
    for path in ["/admin/nothing", "/admin/groups/chat/empty", "/admin/groups/nowhere/x", "/admin/users/nobody"] {
        service.get_error(path, StatusCode::NOT_FOUND).await;
    }
    let post = service.server.post("/admin/overview").insert_header(("Authorization", format!("Bearer {TOKEN}")));
    let refused = post.send().await.expect("a response");
    assert_eq!(refused.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(refused.headers().get("allow").expect("an Allow header"), "GET, HEAD");
}

#[actix::test]
async fn store_failure_makes_the_service_unready() {
    let store = FaultyStore::new(MemoryStore::default());
    store.set_mode(FaultMode::Refuse);
    let service = start_with(|builder| builder.store(store).store_deadline(Duration::from_millis(10)));
    let (status, body) = service.get_with_authorization("/healthz/ready", None).await;
    let reason = "the store is unavailable: injected fault";
    let public = "the store fails; the log of the server states why";
    let unready = |reason| json!({ "status": "store unavailable", "reason": reason });
    assert_eq!((status, body), (StatusCode::SERVICE_UNAVAILABLE, unready(public)));
    let wrong = service.get_with_authorization("/healthz/ready", Some("Bearer wrong")).await;
    assert_eq!(wrong, (StatusCode::SERVICE_UNAVAILABLE, unready(public)));
    assert_eq!(service.get("/healthz/ready").await, (StatusCode::SERVICE_UNAVAILABLE, unready(reason)));
    assert_eq!(service.get_with_authorization("/healthz/live", None).await.0, StatusCode::OK);
    for path in ["/admin/groups/chat/any", "/admin/users/ann"] {
        let error = service.get_error(path, StatusCode::SERVICE_UNAVAILABLE).await;
        assert!(error.starts_with("the store is unavailable"), "{path}: {error}");
    }
    let overview = service.get_ok("/admin/overview").await;
    assert_eq!(overview["store"], json!({ "isWritable": false, "reason": reason }));
    assert_eq!(overview["counters"]["store_failures"], json!(2));
}
