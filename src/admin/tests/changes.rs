//! Tests of the routes that change connections and memberships.

use std::time::SystemTime;

use actix_test::ClientRequest;
use actix_web::http::Method;

use super::*;
use crate::store::sea::SeaStore;

impl TestService {
    pub(super) fn request(&self, method: Method, path: &str) -> ClientRequest {
        let request = self.server.request(method, self.server.url(path));
        request.insert_header(("Authorization", format!("Bearer {TOKEN}")))
    }

    pub(super) async fn change(&self, method: Method, path: &str) -> (StatusCode, Value) {
        let mut response = self.request(method, path).send().await.expect("a response");
        (response.status(), response.json().await.expect("a JSON body"))
    }

    async fn change_ok(&self, method: Method, path: &str) -> Value {
        let (status, body) = self.change(method, path).await;
        assert_eq!(status, StatusCode::OK, "{path}: {body}");
        body
    }

    /// The ids of the connections of a user.
    async fn ids(&self, user: &str) -> Vec<String> {
        let page = self.get_ok(&format!("/admin/connections?user={user}")).await;
        items(&page).iter().map(|row| row["id"].as_str().expect("an id").to_owned()).collect()
    }
}

impl TestClient {
    /// Joins a room and returns the rejoin token that names it.
    async fn join_for_token(&mut self, room: &str) -> String {
        self.send(&json!({ "type": 1, "target": "JoinRoom", "arguments": [room] })).await;
        let message = self.receive_matching(|message| message["target"] == "hubcast:rejoinToken").await;
        // A revocation concerns the tokens of earlier milliseconds.
        let (now, millis) = (SystemTime::now(), Duration::from_millis(1));
        while SystemTime::now() < now + millis {
            tokio::task::yield_now().await;
        }
        message["arguments"][0].as_str().expect("a token").to_owned()
    }

    /// The Close message of the server.
    async fn close_message(&mut self) -> Value {
        self.receive_matching(|message| message["type"] == 7).await
    }
}

#[actix::test]
async fn disconnect_tells_client_whether_to_reconnect() {
    let service = start();
    for (query, close) in [
        ("", json!({ "type": 7 })),
        ("?reconnect=deny", json!({ "type": 7 })),
        ("?reconnect=allow", json!({ "type": 7, "allowReconnect": true })),
    ] {
        let mut ann = service.client("chat", "ann").await;
        let id = service.ids("ann").await.remove(0);
        let path = format!("/admin/connections/{id}{query}");
        assert_eq!(service.change_ok(Method::DELETE, &path).await, json!({ "disconnected": 1 }));
        assert_eq!(ann.close_message().await, close, "{query}");
        assert_eq!(service.change(Method::DELETE, &path).await.0, StatusCode::NOT_FOUND);
    }
}

#[actix::test]
async fn user_is_disconnected_on_one_or_all_hubs() {
    let service = start();
    let mut clients =
        [service.client("chat", "ann").await, service.client("chat", "ann").await, service.client("news", "ann").await];
    let _bob = service.client("chat", "bob").await;
    let on_chat = service.change_ok(Method::POST, "/admin/users/ann/disconnect?hub=chat").await;
    assert_eq!(on_chat, json!({ "disconnected": 2 }));
    let anywhere = service.change_ok(Method::POST, "/admin/users/ann/disconnect?reconnect=allow").await;
    assert_eq!(anywhere, json!({ "disconnected": 1 }));
    for (client, allows) in clients.iter_mut().zip([Value::Null, Value::Null, json!(true)]) {
        assert_eq!(client.close_message().await["allowReconnect"], allows);
    }
    assert_eq!(service.change_ok(Method::POST, "/admin/users/ann/disconnect").await, json!({ "disconnected": 0 }));
    assert_eq!(service.get_ok("/admin/overview").await["live"]["connections"], json!(1));
}

#[actix::test]
async fn group_disconnect_ends_only_its_members() {
    let service = start();
    let (mut ann, mut bob) = (service.client("chat", "ann").await, service.client("chat", "bob").await);
    let _eve = service.client("chat", "eve").await;
    ann.join("a/b").await;
    bob.join("a/b").await;
    let path = "/admin/groups/chat/a%2Fb/disconnect";
    assert_eq!(service.change_ok(Method::POST, path).await, json!({ "disconnected": 2 }));
    ann.close_message().await;
    bob.close_message().await;
    assert_eq!(service.ids("eve").await.len(), 1);
    assert_eq!(service.change_ok(Method::POST, path).await, json!({ "disconnected": 0 }));
}

#[actix::test]
async fn signed_out_user_cannot_use_its_token() {
    let service = start();
    for (action, response) in
        [("sign-out", json!({ "revoked": true, "disconnected": 1 })), ("revoke-tokens", json!({ "revoked": true }))]
    {
        let mut ann = service.client("chat", "ann&rejoin=1").await;
        let token = ann.join_for_token("lobby").await;
        assert_eq!(service.change_ok(Method::POST, &format!("/admin/users/ann/{action}")).await, response);
        let revoked = service.engine.metrics().rejoins_revoked.get();
        let back = service.client("chat", &format!("ann&rejoin={token}")).await;
        assert_eq!(service.engine.metrics().rejoins_revoked.get(), revoked + 1, "{action}");
        drop((ann, back));
    }
}

#[actix::test]
async fn failing_store_does_not_prevent_sign_out() {
    let store = FaultyStore::new(SeaStore::connect("sqlite::memory:").await.expect("a store"));
    let faults = store.clone();
    let service = start_with(|builder| builder.store(store));
    let mut ann = service.client("chat", "ann").await;
    faults.set_mode(FaultMode::Refuse);
    let (status, body) = service.change(Method::POST, "/admin/users/ann/sign-out").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!((&body["revoked"], &body["disconnected"]), (&json!(false), &json!(1)), "{body}");
    assert_eq!(ann.close_message().await, json!({ "type": 7 }));
    faults.set_mode(FaultMode::None);
    let repeated = service.change_ok(Method::POST, "/admin/users/ann/sign-out").await;
    assert_eq!(repeated, json!({ "revoked": true, "disconnected": 0 }));
}

#[actix::test]
async fn revoked_group_is_not_restored() {
    let service = start();
    let mut ann = service.client("chat", "ann&rejoin=1").await;
    let token = ann.join_for_token("a/b").await;
    let path = "/admin/groups/chat/a%2Fb/revoke-tokens";
    assert_eq!(service.change_ok(Method::POST, path).await, json!({ "revoked": true }));
    let _back = service.client("chat", &format!("ann&rejoin={token}")).await;
    assert_eq!(service.engine.metrics().rejoin_groups_revoked.get(), 1);
    assert_eq!(service.change(Method::POST, &format!("{path}?hub=chat")).await.0, StatusCode::BAD_REQUEST);
    assert_eq!(service.change(Method::POST, "/admin/groups/none/a/revoke-tokens").await.0, StatusCode::NOT_FOUND);
    assert_eq!(service.change(Method::GET, path).await.0, StatusCode::METHOD_NOT_ALLOWED);
}

#[actix::test]
async fn durable_member_is_added_and_removed() {
    let service = start();
    let _ann = service.client("chat", "ann").await;
    let path = "/admin/groups/chat/lobby/members/ann";
    for (method, stored, connections) in [
        (Method::PUT, "applied", 1),
        (Method::PUT, "unchanged", 0),
        (Method::DELETE, "applied", 1),
        (Method::DELETE, "unchanged", 0),
    ] {
        let is_added = method == Method::PUT;
        let expected = json!({ "stored": stored, "connections": connections });
        assert_eq!(service.change_ok(method, path).await, expected);
        assert_eq!(service.get("/admin/groups/chat/lobby").await.0 == StatusCode::OK, is_added);
    }
}

#[actix::test]
async fn connection_is_added_and_removed() {
    let service = start();
    let _ann = service.client("chat", "ann").await;
    let id = service.ids("ann").await.remove(0);
    let path = format!("/admin/groups/chat/lobby/connections/{id}");
    for (method, result) in [
        (Method::PUT, "joined"),
        (Method::PUT, "alreadyMember"),
        (Method::DELETE, "left"),
        (Method::DELETE, "notMember"),
    ] {
        assert_eq!(service.change_ok(method, &path).await, json!({ "result": result }));
    }
    for path in ["/admin/groups/chat/lobby/connections/nobody", &path.replace("/chat/", "/news/")] {
        assert_eq!(service.change(Method::PUT, path).await.0, StatusCode::NOT_FOUND, "{path}");
    }
}

#[actix::test]
async fn wrong_method_is_answered_with_allowed_ones() {
    let service = start();
    for (path, allow, hint) in [
        ("/admin/overview", "GET, HEAD", "use GET"),
        ("/admin/connections/x", "GET, HEAD, DELETE", "use GET or DELETE"),
        ("/admin/users/ann/sign-out", "POST", "use POST"),
        ("/admin/groups/chat/lobby/members/ann", "PUT, DELETE", "use PUT or DELETE"),
    ] {
        let mut refused = service.request(Method::PATCH, path).send().await.expect("a response");
        assert_eq!(refused.status(), StatusCode::METHOD_NOT_ALLOWED, "{path}");
        assert_eq!(refused.headers().get("allow").expect("an Allow header"), allow);
        let body: Value = refused.json().await.expect("a JSON body");
        assert_eq!(body["error"], format!("method not allowed; {hint}"));
    }
}

#[actix::test]
async fn changes_without_the_token_are_refused() {
    let service = start();
    let _ann = service.client("chat", "ann").await;
    for (method, path) in [
        (Method::POST, "/admin/users/ann/disconnect"),
        (Method::POST, "/admin/users/ann/sign-out"),
        (Method::PUT, "/admin/groups/chat/lobby/members/ann"),
    ] {
        let refused = service.server.request(method, service.server.url(path)).send().await.expect("a response");
        assert_eq!(refused.status(), StatusCode::UNAUTHORIZED, "{path}");
    }
    assert_eq!(service.ids("ann").await.len(), 1);
    assert_eq!(service.get("/admin/groups/chat/lobby").await.0, StatusCode::NOT_FOUND);
}

#[actix::test]
async fn faulty_changes_are_refused() {
    let store = FaultyStore::new(MemoryStore::default());
    store.set_mode(FaultMode::Refuse);
    let service = start_with(|builder| builder.store(store).store_deadline(Duration::from_millis(10)));
    for (method, path, status, error) in [
        (Method::DELETE, "/admin/connections/x?reconnect=yes", 400, "`reconnect` must be one of: allow, deny"),
        (Method::POST, "/admin/users/ann/disconnect?hub=nowhere", 400, "`hub` must be one of: chat, news"),
        (Method::POST, "/admin/users/ann/sign-out?reconnect=allow", 400, "`reconnect` is unknown"),
        (Method::POST, "/admin/groups/nowhere/x/disconnect", 404, "no hub is named `nowhere`"),
        (Method::PUT, "/admin/groups/nowhere/x/members/ann", 404, "no hub is named `nowhere`"),
        (Method::PUT, "/admin/groups/chat/x/members/ann", 503, "the store is unavailable"),
        (
            Method::POST,
            "/admin/users/ann/sign-out",
            503,
            "the rejoin tokens may still be valid: the store is unavailable",
        ),
        (Method::POST, "/admin/users/ann/revoke-tokens", 503, "the store is unavailable"),
    ] {
        let (actual, body) = service.change(method, path).await;
        assert_eq!(actual.as_u16(), status, "{path}: {body}");
        let text = body["error"].as_str().expect("an error text");
        assert!(text.starts_with(error), "{path}: {text}");
    }
}
