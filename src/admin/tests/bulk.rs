//! Tests of the routes that change many memberships.

use actix_web::http::Method;

use super::*;

impl TestService {
    async fn send(&self, method: Method, path: &str, body: &Value) -> (StatusCode, Value) {
        let mut response = self.request(method, path).send_json(body).await.expect("a response");
        (response.status(), response.json().await.expect("a JSON body"))
    }

    /// The outcomes as lists of name, operation, result and number of connections.
    async fn outcomes(&self, method: Method, path: &str, body: &Value) -> Value {
        let (status, body) = self.send(method, path, body).await;
        assert_eq!(status, StatusCode::OK, "{path}: {body}");
        let row = |row: &Value| json!([row["name"], row["op"], row["result"], row["connections"]]);
        body["outcomes"].as_array().expect("a list").iter().map(row).collect()
    }
}

#[actix::test]
async fn groups_of_a_user_are_added_and_replaced() {
    let service = start();
    let _ann = service.client("chat", "ann").await;
    let (path, long) = ("/admin/users/ann/groups/chat", "x".repeat(257));
    let added = service.outcomes(Method::POST, path, &json!({ "groups": ["b", "a", long] })).await;
    assert_eq!(added, json!([["b", "add", "applied", 1], ["a", "add", "applied", 1], [long, "add", "refused", null]]));
    let set = service.outcomes(Method::PUT, path, &json!({ "groups": ["c", "b"] })).await;
    assert_eq!(set, json!([["c", "add", "applied", 1], ["b", "add", "unchanged", 0], ["a", "remove", "applied", 1]]));
    let (_, removed) = service.change(Method::DELETE, path).await;
    let result = |row: &Value| json!([row["name"], row["op"], row["result"], row["connections"]]);
    let removed: Value = removed["outcomes"].as_array().expect("a list").iter().map(result).collect();
    assert_eq!(removed, json!([["b", "remove", "applied", 1], ["c", "remove", "applied", 1]]));
    assert_eq!(service.get_ok("/admin/groups").await["total"], json!(0), "the connection has left its groups");
}

#[actix::test]
async fn many_users_are_added_to_a_group() {
    let service = start();
    let _ann = service.client("chat", "ann").await;
    let path = "/admin/groups/chat/lobby/members";
    let added = service.outcomes(Method::POST, path, &json!({ "users": ["bob", "", "ann"] })).await;
    assert_eq!(
        added,
        json!([["bob", "add", "applied", 0], ["", "add", "refused", null], ["ann", "add", "applied", 1]])
    );
    assert_eq!(service.get_ok("/admin/groups/chat/lobby").await["durableMembers"]["total"], json!(2));
}

#[actix::test]
async fn faulty_bodies_are_refused() {
    let service = start();
    let many: Vec<_> = (0..1_001).map(|number| number.to_string()).collect();
    for (body, error) in [
        (json!({ "groups": many }), "The call makes 1001 changes; the maximum is 1000."),
        (json!({ "group": ["a"] }), "the body is invalid: "),
        (json!(["a"]), "the body is invalid: "),
    ] {
        let (status, answer) = service.send(Method::POST, "/admin/users/ann/groups/chat", &body).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{answer}");
        assert!(answer["error"].as_str().is_some_and(|text| text.starts_with(error)), "{answer}");
    }
    let (status, _) = service.send(Method::POST, "/admin/users/ann/groups/nowhere", &json!({ "groups": [] })).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    let (_, users) = service.send(Method::POST, "/admin/users/ann/groups/chat", &json!({ "groups": [] })).await;
    assert_eq!(users, json!({ "outcomes": [] }));
}

#[actix::test]
async fn body_of_a_change_without_one_is_refused() {
    let service = start();
    let _ann = service.client("chat", "ann").await;
    let path = "/admin/users/ann/groups/chat";
    service.send(Method::POST, path, &json!({ "groups": ["kitchen", "garden"] })).await;
    let (status, answer) = service.send(Method::DELETE, path, &json!({ "groups": ["kitchen"] })).await;
    let text = "this route takes no body, and nothing has changed: it removes the user from all its durable groups; \
        `DELETE /admin/groups/{hub}/{name}/members/{user}` removes it from one";
    assert_eq!((status, answer), (StatusCode::BAD_REQUEST, json!({ "error": text })));
    for (method, path) in [
        (Method::POST, "/admin/users/ann/disconnect"),
        (Method::POST, "/admin/users/ann/sign-out"),
        (Method::POST, "/admin/users/ann/revoke-tokens"),
        (Method::POST, "/admin/groups/chat/kitchen/disconnect"),
        (Method::POST, "/admin/groups/chat/kitchen/revoke-tokens"),
        (Method::PUT, "/admin/groups/chat/kitchen/members/bob"),
        (Method::DELETE, "/admin/groups/chat/kitchen/members/ann"),
    ] {
        let (status, answer) = service.send(method, path, &json!({ "hub": "news" })).await;
        let text = "this route takes no body, and nothing has changed";
        assert_eq!((status, answer), (StatusCode::BAD_REQUEST, json!({ "error": text })), "{path}");
    }
    let ann = service.get_ok("/admin/users/ann").await;
    assert_eq!(ann["connections"]["total"], json!(1), "{ann}");
    assert_eq!(service.get_ok("/admin/groups/chat/kitchen").await["durableMembers"]["total"], json!(1));
}
