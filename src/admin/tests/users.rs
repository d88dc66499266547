//! Tests of the user routes.

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
