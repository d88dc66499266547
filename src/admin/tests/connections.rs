//! Tests of the connection routes.

use super::*;

#[actix::test]
async fn filters_select_by_hub_user_group_and_transport() {
    let service = start();
    let (mut ann, mut reader, _bob) =
        (service.client("chat", "ann").await, service.client("news", "ann").await, service.client("chat", "bob").await);
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
        let page = service.get_ok(&format!("/admin/connections?{filter}")).await;
        assert_eq!((items(&page).len(), &page["total"]), (expected, &json!(expected)), "{filter}");
    }
    let row = &service.get_ok("/admin/connections?hub=news").await["items"][0];
    assert_eq!((&row["user"], &row["hubs"], &row["dialect"]), (&json!("ann"), &json!(["news"]), &json!("aspnetcore")));
    assert_eq!((&row["transport"], &row["queue"]["items"]), (&json!("WebSockets"), &json!(0)));
}

#[actix::test]
async fn connections_are_sorted_and_paged() {
    let service = start();
    let mut clients = Vec::new();
    for user in ["bob", "ann", "eve", "dan", "cat"] {
        clients.push(service.client("chat", user).await);
    }
    let expected = json!(["ann", "bob", "cat", "dan", "eve"]);
    assert_eq!(json!(service.collect_pages("/admin/connections?sort=user&limit=2", "user").await), expected);
    let mut descending = service.collect_pages("/admin/connections?sort=-user&limit=2", "user").await;
    descending.reverse();
    assert_eq!(json!(descending), expected);
    let by_age = service.collect_pages("/admin/connections?sort=since&limit=1", "user").await;
    assert_eq!(json!(by_age), json!(["bob", "ann", "eve", "dan", "cat"]));
}

#[actix::test]
async fn connection_details_contain_its_groups() {
    let service = start();
    let mut ann = service.client("chat", "ann").await;
    ann.join("b").await;
    ann.join("a").await;
    let row = service.get_ok("/admin/connections").await["items"][0].clone();
    let id = row["id"].as_str().expect("an id");
    let detail = service.get_ok(&format!("/admin/connections/{id}")).await;
    assert_eq!(detail["groups"], json!([{ "hub": "chat", "name": "a" }, { "hub": "chat", "name": "b" }]));
    assert_eq!((&detail["id"], &detail["user"], &detail["calls"]), (&row["id"], &json!("ann"), &json!(0)));
    let error = service.get_error("/admin/connections/nobody", StatusCode::NOT_FOUND).await;
    assert!(error.contains("no connection"), "{error}");
}
