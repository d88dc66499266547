//! Tests of the user routes.

use actix_web::http::Method;

use super::*;

#[actix::test]
async fn user_details_contain_connections_and_groups() {
    let service = start();
    let users = service.engine.hub("chat").expect("the hub").users();
    users.add_to_group("ann", "stored").await.expect("the store works");
    users.add_to_group("zoe", "stored").await.expect("the store works");
    let (mut one, _other) = (service.client("chat", "ann").await, service.client("news", "ann").await);
    one.join("lobby").await;
    let page = service.get_ok("/admin/users?prefix=a").await;
    assert_eq!(page, json!({ "items": [{ "user": "ann", "connections": 2 }], "total": 1, "next": null }));
    let ann = service.get_ok("/admin/users/ann?limit=1").await;
    assert_eq!((items(&ann["connections"]).len(), &ann["connections"]["total"]), (1, &json!(2)));
    let lobby = json!({ "hub": "chat", "name": "lobby", "connections": 1, "durable": false });
    let stored = json!({ "hub": "chat", "name": "stored", "connections": 1, "durable": true });
    assert_eq!(ann["groups"], json!([lobby, stored]));
    let zoe = service.get_ok("/admin/users/zoe").await;
    assert_eq!(
        (&zoe["connections"]["total"], &zoe["groups"][0]["connections"]),
        (&json!(0), &json!(0)),
        "zoe is not connected"
    );
}

/// Stores differ in the names that they can hold or look up, so no invalid name reaches them.
#[actix::test]
async fn invalid_names_are_refused_by_each_route() {
    let service = start();
    let long = "x".repeat(257);
    // The cursor of a page is the JSON of a name.
    let nul_cursor = "Ilx1MDAwMCI";
    for name in ["a%00b", &long] {
        for (method, path) in [
            (Method::GET, format!("/admin/users/{name}")),
            (Method::POST, format!("/admin/users/{name}/sign-out")),
            (Method::POST, format!("/admin/users/{name}/revoke-tokens")),
            (Method::PUT, format!("/admin/groups/chat/lobby/members/{name}")),
            (Method::DELETE, format!("/admin/groups/chat/lobby/members/{name}")),
            (Method::DELETE, format!("/admin/groups/chat/{name}/members/ann")),
            (Method::DELETE, format!("/admin/users/{name}/groups/chat")),
            (Method::POST, format!("/admin/groups/chat/{name}/revoke-tokens")),
            (Method::GET, format!("/admin/groups/chat/{name}")),
            (Method::GET, format!("/admin/groups/chat/{name}/presence")),
            (Method::GET, format!("/admin/groups/chat/lobby?durableCursor={nul_cursor}")),
            (Method::GET, format!("/admin/groups/chat/lobby/presence?cursor={nul_cursor}")),
            (Method::GET, format!("/admin/connections/{name}/lease")),
        ] {
            let (status, body) = service.change(method, &path).await;
            assert_eq!(status, StatusCode::BAD_REQUEST, "{path}: {body}");
        }
    }
}
