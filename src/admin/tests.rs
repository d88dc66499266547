//! Every route, over real sockets: operators' HTTP on one side, clients of a chat hub on the other.

use std::time::Duration;

use actix::{Actor, Addr, Context, Handler};
use actix_test::TestServer;
use actix_web::{App, HttpRequest, http::StatusCode};
use futures_util::{SinkExt, StreamExt, future::try_join_all};
use serde_json::{Value, json};
use tokio::{net::TcpStream, time::timeout};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async, tungstenite::Message};

use super::routes;
use crate::{
    Args, Engine, Groups, Hub,
    group::Delivery,
    groups::ActorMembership,
    hub::Identity,
    store::{
        Store,
        faulty::{Fault, Faulty},
        memory::MemoryStore,
    },
    web::{Unproven, query_of},
};

const TOKEN: &str = "tell me all";

/// How long anything in here may take.
const PATIENCE: Duration = Duration::from_secs(10);

struct Process {
    engine: Engine,
    server: TestServer,
}

fn identify(request: &HttpRequest) -> Result<Identity, Unproven> {
    let user = query_of(request.query_string()).into_iter().find(|(name, _)| name == "user");
    Ok(Identity::named(user.map(|(_, user)| user.into())))
}

fn process() -> Process {
    process_with(MemoryStore::default())
}

fn process_with(store: impl Store) -> Process {
    let join = async |groups: Groups, Args((room,)): Args<(String,)>| {
        groups.join(room).await?;
        Ok::<_, crate::HubError>(())
    };
    let hub = |name| Hub::new(name).method("JoinRoom", join);
    let builder = Engine::builder().hub("/chat", hub("chat")).hub("/news", hub("news")).node("test");
    let builder = builder.store(store).store_deadline(Duration::from_millis(10));
    let engine = builder.authenticate(identify).build().expect("two hubs of two names");
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

/// An actor that joins groups.
struct Listener;

impl Actor for Listener {
    type Context = Context<Self>;
}

impl Handler<Delivery> for Listener {
    type Result = ();

    fn handle(&mut self, _: Delivery, _: &mut Self::Context) {}
}

async fn fill(
    engine: &Engine,
    hub: &str,
    group: &str,
    listener: &Addr<Listener>,
    count: usize,
) -> Vec<ActorMembership> {
    let groups = engine.hub(hub).expect("the hub").groups();
    let joins = (0..count).map(|_| groups.add_actor(group, listener.clone().recipient()));
    try_join_all(joins).await.expect("no group dies")
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
async fn connections_are_filtered_by_hub_user_group_and_transport() {
    let process = process();
    let (mut ann, mut reader, _bob) =
        (process.client("chat", "ann").await, process.client("news", "ann").await, process.client("chat", "bob").await);
    ann.join("lobby").await;
    reader.join("lobby").await;
    for (filter, expected) in [
        ("", 3),
        ("hub=chat", 2),
        ("user=ann", 2),
        ("hub=chat&user=ann", 1),
        ("user=Ann", 0),
        ("hub=news&group=lobby", 1),
        ("hub=news&group=lobby&user=bob", 0),
        ("hub=chat&group=nowhere", 0),
        ("transport=websockets", 3),
        ("transport=LongPolling", 0),
    ] {
        let page = process.tell(&format!("/admin/connections?{filter}")).await;
        assert_eq!((items(&page).len(), &page["total"]), (expected, &json!(expected)), "{filter}");
    }
    let row = &process.tell("/admin/connections?hub=news").await["items"][0];
    assert_eq!((&row["user"], &row["hubs"], &row["dialect"]), (&json!("ann"), &json!(["news"]), &json!("aspnetcore")));
    assert_eq!((&row["transport"], &row["queue"]["items"]), (&json!("WebSockets"), &json!(0)));
}

#[actix::test]
async fn connections_are_sorted_both_ways_and_paged() {
    let process = process();
    let mut clients = Vec::new();
    for user in ["bob", "ann", "eve", "dan", "cat"] {
        clients.push(process.client("chat", user).await);
    }
    let expected = json!(["ann", "bob", "cat", "dan", "eve"]);
    assert_eq!(json!(process.walk("/admin/connections?sort=user&limit=2", "user").await), expected);
    let mut descending = process.walk("/admin/connections?sort=-user&limit=2", "user").await;
    descending.reverse();
    assert_eq!(json!(descending), expected);
    let by_age = process.walk("/admin/connections?sort=since&limit=1", "user").await;
    assert_eq!(json!(by_age), json!(["bob", "ann", "eve", "dan", "cat"]));
}

#[actix::test]
async fn a_connection_is_shown_with_its_groups() {
    let process = process();
    let mut ann = process.client("chat", "ann").await;
    ann.join("b").await;
    ann.join("a").await;
    let row = process.tell("/admin/connections").await["items"][0].clone();
    let id = row["id"].as_str().expect("an id");
    let detail = process.tell(&format!("/admin/connections/{id}")).await;
    assert_eq!(detail["groups"], json!([{ "hub": "chat", "name": "a" }, { "hub": "chat", "name": "b" }]));
    assert_eq!((&detail["id"], &detail["user"], &detail["calls"]), (&row["id"], &json!("ann"), &json!(0)));
    let why = process.refusal("/admin/connections/nobody", StatusCode::NOT_FOUND).await;
    assert!(why.contains("no connection"), "{why}");
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
async fn groups_are_listed_by_name_by_size_and_by_prefix() {
    let (process, listener) = (process(), Listener.start());
    let mut kept = Vec::new();
    for (group, members) in [("red", 2), ("rose", 3), ("blue", 1)] {
        kept.extend(fill(&process.engine, "chat", group, &listener, members).await);
    }
    kept.extend(fill(&process.engine, "news", "red", &listener, 1).await);
    let names = process.walk("/admin/groups?limit=1", "name").await;
    assert_eq!(json!(names), json!(["blue", "red", "red", "rose"]));
    let sizes = process.walk("/admin/groups?sort=-members&limit=3", "members").await;
    assert_eq!(json!(sizes), json!([3, 2, 1, 1]));
    let page = process.tell("/admin/groups?hub=chat&prefix=r").await;
    let expected = json!([
        { "hub": "chat", "name": "red", "members": 2, "published": 0 },
        { "hub": "chat", "name": "rose", "members": 3, "published": 0 },
    ]);
    assert_eq!(page, json!({ "items": expected, "total": 2, "next": null }));
}

#[actix::test]
async fn a_group_of_a_thousand_is_paged_and_loses_no_member_to_those_who_leave() {
    let (process, listener) = (process(), Listener.start());
    let mut members = fill(&process.engine, "chat", "big", &listener, 1000).await;
    members.sort_by(|one, other| one.id().cmp(other.id()));
    let page = process.tell("/admin/groups/chat/big?limit=300").await["members"].clone();
    assert_eq!((items(&page).len(), &page["total"]), (300, &json!(1000)));
    // The last of the page leaves, and with it the first of the next.
    members.drain(299..301);
    let groups = process.engine.hub("chat").expect("the hub").groups();
    let settled = async {
        while groups.members("big").await.expect("the group lives").is_none_or(|group| group.total > 998) {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, settled).await.expect("both leave");
    let next = page["next"].as_str().expect("700 more");
    let rest = process.tell(&format!("/admin/groups/chat/big?limit=1000&cursor={next}")).await["members"].clone();
    let ids: Vec<_> = items(&rest).iter().map(|member| member["id"].as_str().expect("an id")).collect();
    assert_eq!(ids, members[299..].iter().map(|member| member.id().as_str()).collect::<Vec<_>>());
    assert_eq!(rest["next"], Value::Null);
    assert!(items(&rest).iter().all(|member| member["isActor"] == json!(true) && member["user"].is_null()));
}

#[actix::test]
async fn a_group_is_found_whatever_its_name() {
    let process = process();
    let mut ann = process.client("chat", "ann").await;
    for (name, encoded) in [
        ("a/b", "a%2Fb"),
        ("a/b", "a/b"),
        ("50%", "50%25"),
        ("a%2Fb", "a%252Fb"),
        ("grün & blau?", "gr%C3%BCn%20%26%20blau%3F"),
        ("#+;", "%23+%3B"),
        ("", ""),
    ] {
        ann.join(name).await;
        let group = process.tell(&format!("/admin/groups/chat/{encoded}")).await;
        assert_eq!((&group["name"], &group["members"]["total"]), (&json!(name), &json!(1)), "{encoded}");
        assert_eq!(group["members"]["items"][0]["user"], json!("ann"));
    }
}

#[actix::test]
async fn a_user_is_shown_with_connections_and_groups_live_and_durable() {
    let process = process();
    let users = process.engine.hub("chat").expect("the hub").users();
    users.add_to_group("ann", "stored").await.expect("the store answers");
    users.add_to_group("zoe", "stored").await.expect("the store answers");
    let (mut one, _other) = (process.client("chat", "ann").await, process.client("news", "ann").await);
    one.join("lobby").await;
    let page = process.tell("/admin/users?prefix=a").await;
    assert_eq!(page, json!({ "items": [{ "user": "ann", "connections": 2 }], "total": 1, "next": null }));
    let ann = process.tell("/admin/users/ann?limit=1").await;
    assert_eq!((items(&ann["connections"]).len(), &ann["connections"]["total"]), (1, &json!(2)));
    let lobby = json!({ "hub": "chat", "name": "lobby", "connections": 1, "durable": false });
    let stored = json!({ "hub": "chat", "name": "stored", "connections": 1, "durable": true });
    assert_eq!(ann["groups"], json!([lobby, stored]));
    let zoe = process.tell("/admin/users/zoe").await;
    assert_eq!((&zoe["connections"]["total"], &zoe["groups"][0]["connections"]), (&json!(0), &json!(0)), "is away");
}

#[actix::test]
async fn a_group_is_shown_with_durable_members_who_are_away_a_page_at_a_time() {
    let process = process();
    let users = process.engine.hub("chat").expect("the hub").users();
    for user in ["dan", "ann", "cat", "bob", "eve"] {
        users.add_to_group(user, "stored").await.expect("the store answers");
    }
    let _ann = process.client("chat", "ann").await;
    let group = process.tell("/admin/groups/chat/stored?limit=2").await;
    assert_eq!(group["members"]["items"].as_array().map(Vec::len), Some(1), "only ann is here: {group}");
    assert_eq!(
        (&group["durableMembers"]["items"], &group["durableMembers"]["total"]),
        (&json!(["ann", "bob"]), &json!(5))
    );
    let next = group["durableMembers"]["next"].as_str().expect("three more");
    let rest = process.tell(&format!("/admin/groups/chat/stored?durableCursor={next}")).await;
    assert_eq!(
        (&rest["durableMembers"]["items"], &rest["durableMembers"]["next"]),
        (&json!(["cat", "dan", "eve"]), &Value::Null)
    );
    assert_eq!(
        process.tell("/admin/groups").await["items"],
        json!([{ "hub": "chat", "name": "stored", "members": 1, "published": 0 }])
    );
}

#[actix::test]
async fn without_its_store_a_process_is_not_ready_and_says_what_it_cannot_tell() {
    let store = Faulty::new(MemoryStore::default());
    store.set(Fault::Refuse);
    let process = process_with(store);
    let (status, body) = process.ask_with("/healthz/ready", None).await;
    assert_eq!((status, body), (StatusCode::SERVICE_UNAVAILABLE, json!({ "status": "store unavailable" })));
    assert_eq!(process.ask_with("/healthz/live", None).await.0, StatusCode::OK);
    for path in ["/admin/groups/chat/any", "/admin/users/ann"] {
        let why = process.refusal(path, StatusCode::SERVICE_UNAVAILABLE).await;
        assert!(why.starts_with("the store does not answer now"), "{path}: {why}");
    }
    assert_eq!(process.tell("/admin/overview").await["counters"]["store_failures"], json!(3));
}
