//! Connections: filtered, sorted, one by one.

use super::*;

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
