//! Users, with what is stored about them.

use super::*;

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
