//! Every route, over real sockets: operators' HTTP on one side, clients of a chat hub on the other.

use std::time::Duration;

use actix_test::TestServer;
use actix_web::{App, HttpRequest, http::StatusCode};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::{net::TcpStream, time::timeout};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async, tungstenite::Message};

use super::routes;
use crate::{
    Args, Engine, EngineBuilder, Groups, Hub,
    hub::Identity,
    store::{
        faulty::{Fault, Faulty},
        memory::MemoryStore,
    },
    web::{AuthError, query_of},
};

mod connections;
mod groups;
mod users;

const TOKEN: &str = "tell me all";

/// How long anything in here may take.
const PATIENCE: Duration = Duration::from_secs(60);

struct Process {
    engine: Engine,
    server: TestServer,
}

fn identify(request: &HttpRequest) -> Result<Identity, AuthError> {
    let user = query_of(request.query_string()).into_iter().find(|(name, _)| name == "user");
    Ok(Identity::named(user.map(|(_, user)| user.into())))
}

fn process() -> Process {
    process_with(|builder| builder)
}

fn process_with(change: impl FnOnce(EngineBuilder) -> EngineBuilder) -> Process {
    let join = async |groups: Groups, Args((room,)): Args<(String,)>| {
        groups.join(room).await?;
        Ok::<_, crate::HubError>(())
    };
    let hub = |name| Hub::new(name).method("JoinRoom", join);
    let builder = Engine::builder().hub("/chat", hub("chat")).hub("/news", hub("news")).node("test");
    let engine = change(builder).authenticate(identify).build().expect("two hubs of two names");
    let served = engine.clone();
    let server =
        actix_test::start(move || App::new().configure(routes(&served, &TOKEN.into())).configure(served.routes()));
    Process { engine, server }
}

impl Process {
    async fn ask(&self, path: &str) -> (StatusCode, Value) {
        self.ask_with(path, Some(&format!("Bearer {TOKEN}"))).await
    }

    async fn ask_with(&self, path: &str, authorization: Option<&str>) -> (StatusCode, Value) {
        let mut request = self.server.get(path);
        if let Some(authorization) = authorization {
            request = request.insert_header(("Authorization", authorization));
        }
        let mut response = request.send().await.expect("an answer");
        (response.status(), response.json().await.expect("JSON, whatever the status"))
    }

    async fn tell(&self, path: &str) -> Value {
        let (status, body) = self.ask(path).await;
        assert_eq!(status, StatusCode::OK, "{path}: {body}");
        body
    }

    async fn refusal(&self, path: &str, status: StatusCode) -> String {
        let (answered, body) = self.ask(path).await;
        assert_eq!(answered, status, "{path}: {body}");
        body["error"].as_str().expect("why").to_owned()
    }

    /// What a column holds in all pages of a list.
    async fn walk(&self, path: &str, column: &str) -> Vec<Value> {
        let (mut seen, mut next) = (Vec::new(), String::new());
        loop {
            let page = self.tell(&format!("{path}&cursor={next}")).await;
            seen.extend(items(&page).iter().map(|row| row[column].clone()));
            match page["next"].as_str() {
                Some(cursor) => cursor.clone_into(&mut next),
                None => return seen,
            }
        }
    }

    async fn client(&self, hub: &str, user: &str) -> Client {
        let url = self.server.url(&format!("/{hub}?user={user}")).replacen("http", "ws", 1);
        let (socket, _) = connect_async(url).await.expect("a WebSocket");
        let mut client = Client(socket);
        client.say(&json!({ "protocol": "json", "version": 1 })).await;
        assert_eq!(client.hear(|_| true).await, json!({}));
        // Order: what a client calls is looked at when it is in its groups, and not before.
        client.say(&json!({ "type": 1, "invocationId": "0", "target": "NoSuchMethod", "arguments": [] })).await;
        client.hear(|message| message["type"] == 3).await;
        client
    }
}

fn items(page: &Value) -> &Vec<Value> {
    page["items"].as_array().expect("a page has items")
}

struct Client(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Client {
    async fn say(&mut self, message: &Value) {
        self.0.send(Message::text(format!("{message}\u{1e}"))).await.expect("an open socket");
    }

    async fn hear(&mut self, is_wanted: impl Fn(&Value) -> bool) -> Value {
        let heard = async {
            loop {
                let message = self.0.next().await.expect("an open socket").expect("a message");
                let message = message.into_text().expect("text");
                let message = serde_json::from_str(message.trim_end_matches('\u{1e}')).expect("JSON");
                if is_wanted(&message) {
                    return message;
                }
            }
        };
        timeout(PATIENCE, heard).await.expect("the message in time")
    }

    async fn join(&mut self, room: &str) {
        self.say(&json!({ "type": 1, "invocationId": "1", "target": "JoinRoom", "arguments": [room] })).await;
        let completion = self.hear(|message| message["type"] == 3).await;
        assert_eq!(completion["error"], Value::Null, "{completion}");
    }
}

#[actix::test]
async fn nobody_is_told_anything_without_the_token() {
    let process = process();
    for authorization in [
        None,
        Some("Bearer"),
        Some("Bearer "),
        Some("Bearer tell me al"),
        Some("Bearer tell me all!"),
        Some("Basic tell me all"),
        Some("tell me all"),
    ] {
        for path in ["/admin/overview", "/admin/connections", "/admin/nothing", "/admin"] {
            let (status, body) = process.ask_with(path, authorization).await;
            assert_eq!(status, StatusCode::UNAUTHORIZED, "{authorization:?} {path}");
            assert!(body["error"].is_string(), "{body}");
        }
    }
    let refused = process.server.get("/admin/overview").send().await.expect("an answer");
    assert!(refused.headers().get("www-authenticate").is_some_and(|value| value.as_bytes().starts_with(b"Bearer")));
    assert_eq!(process.ask_with("/admin/overview", Some("bearer tell me all")).await.0, StatusCode::OK);
}

#[actix::test]
async fn an_empty_token_opens_nothing() {
    let engine = Engine::builder().build().expect("no hub is a valid choice");
    let server = actix_test::start(move || App::new().configure(routes(&engine, &"".into())));
    for authorization in ["Bearer ", "Bearer x"] {
        let request = server.get("/admin/overview").insert_header(("Authorization", authorization));
        assert_eq!(request.send().await.expect("an answer").status(), StatusCode::UNAUTHORIZED);
    }
}

#[actix::test]
async fn health_needs_no_token_and_a_draining_process_is_not_ready() {
    let process = process();
    assert_eq!(process.ask_with("/healthz/live", None).await, (StatusCode::OK, json!({ "status": "live" })));
    assert_eq!(process.ask_with("/healthz/ready", None).await, (StatusCode::OK, json!({ "status": "ready" })));
    let head = process.server.head("/healthz/live").send().await.expect("an answer");
    assert_eq!(head.status(), StatusCode::OK);
    process.engine.drain().await;
    let (status, body) = process.ask_with("/healthz/ready", None).await;
    assert_eq!((status, body), (StatusCode::SERVICE_UNAVAILABLE, json!({ "status": "draining" })));
    assert_eq!(process.ask_with("/healthz/live", None).await.0, StatusCode::OK);
    assert_eq!(process.tell("/admin/overview").await["isDraining"], json!(true));
}

#[actix::test]
async fn the_overview_counts_who_is_here() {
    let process = process();
    let (mut ann, _second, _bob) =
        (process.client("chat", "ann").await, process.client("news", "ann").await, process.client("chat", "bob").await);
    ann.join("lobby").await;
    let overview = process.tell("/admin/overview").await;
    assert_eq!(overview["live"], json!({ "connections": 3, "groups": 1, "users": 2 }));
    assert_eq!((&overview["version"], &overview["node"]), (&json!(env!("CARGO_PKG_VERSION")), &json!("test")));
    assert_eq!((&overview["hubs"], &overview["isDraining"]), (&json!(["chat", "news"]), &json!(false)));
    assert_eq!(overview["counters"]["connections_opened"], json!(3));
    assert_eq!(overview["longestQueue"], Value::Null, "nobody is behind");
    assert_eq!(overview["restarts"], json!({ "groups": 0, "membership": 0, "pipeline": 0 }));
}

#[actix::test]
async fn what_is_asked_wrongly_is_told_what_is_allowed() {
    let process = process();
    for (path, why) in [
        ("/admin/connections?limit=0", "`limit` has to be a number from 1 to 1000"),
        ("/admin/connections?sort=mood", "`sort` has to be one of: id, since,"),
        ("/admin/connections?cursor=%21", "`cursor` has to be the `next` of a page before"),
        ("/admin/connections?colour=red", "`colour` is not known here; known are: hub, user,"),
        ("/admin/connections?hub=Chat", "`hub` has to be one of: chat, news"),
        ("/admin/connections?group=lobby", "`group` needs `hub`"),
        ("/admin/groups?hub=nowhere", "`hub` has to be one of: chat, news"),
        ("/admin/groups?prefix=a&prefix=b", "`prefix` is given twice"),
        ("/admin/groups/chat/x?cursor=x", "`cursor` has to be"),
        ("/admin/groups/chat/x?durableCursor=x", "`durableCursor` has to be"),
        ("/admin/users?sort=age", "`sort` has to be one of: user, connections;"),
        ("/admin/users/ann?limit=1001", "`limit` has to be"),
    ] {
        let told = process.refusal(path, StatusCode::BAD_REQUEST).await;
        assert!(told.starts_with(why), "{path}: {told}");
    }
}

#[actix::test]
async fn what_is_not_there_is_not_found_and_nothing_is_written() {
    let process = process();
    for path in ["/admin/nothing", "/admin/groups/chat/empty", "/admin/groups/nowhere/x", "/admin/users/nobody"] {
        process.refusal(path, StatusCode::NOT_FOUND).await;
    }
    let post = process.server.post("/admin/overview").insert_header(("Authorization", format!("Bearer {TOKEN}")));
    let refused = post.send().await.expect("an answer");
    assert_eq!(refused.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(refused.headers().get("allow").expect("what is allowed"), "GET, HEAD");
}

#[actix::test]
async fn without_its_store_a_process_is_not_ready_and_says_what_it_cannot_tell() {
    let store = Faulty::new(MemoryStore::default());
    store.set(Fault::Refuse);
    let process = process_with(|builder| builder.store(store).store_deadline(Duration::from_millis(10)));
    let (status, body) = process.ask_with("/healthz/ready", None).await;
    assert_eq!((status, body), (StatusCode::SERVICE_UNAVAILABLE, json!({ "status": "store unavailable" })));
    assert_eq!(process.ask_with("/healthz/live", None).await.0, StatusCode::OK);
    for path in ["/admin/groups/chat/any", "/admin/users/ann"] {
        let why = process.refusal(path, StatusCode::SERVICE_UNAVAILABLE).await;
        assert!(why.starts_with("the store does not answer now"), "{path}: {why}");
    }
    assert_eq!(process.tell("/admin/overview").await["counters"]["store_failures"], json!(3));
}
