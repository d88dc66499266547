//! Tests of the presence of groups and of the records of connections.

use super::*;

/// Repeats a request until the response fulfils a condition. The store learns of connections some milliseconds later.
async fn get_until(service: &TestService, path: &str, is_reached: impl Fn(&Value) -> bool) -> Value {
    let reached = async {
        loop {
            let (_, body) = service.get(path).await;
            if is_reached(&body) {
                return body;
            }
        }
    };
    timeout(TEST_TIMEOUT, reached).await.expect("the store learns of it")
}

#[actix::test]
async fn members_are_listed_with_their_presence() {
    let service = start_with(|builder| builder.presence_window(Duration::ZERO));
    let path = "/admin/groups/chat/stored/presence";
    let error = service.get_error(path, StatusCode::NOT_FOUND).await;
    assert!(error.contains("no durable members"), "{error}");
    let users = service.engine.hub("chat").expect("the hub").users();
    for user in ["dan", "ann", "cat"] {
        users.add_to_group(user, "stored").await.expect("the store works");
    }
    let ann = service.client("chat", "ann").await;
    let page = service.get_ok(&format!("{path}?limit=2")).await;
    assert_eq!(
        (&page["total"], &items(&page)[1]),
        (&json!(3), &json!({ "user": "cat", "isOnline": false, "lastSeen": null }))
    );
    assert_eq!((&items(&page)[0]["user"], &items(&page)[0]["isOnline"]), (&json!("ann"), &json!(true)));
    assert_eq!(json!(service.collect_pages(&format!("{path}?limit=1"), "user").await), json!(["ann", "cat", "dan"]));
    drop(ann);
    let page = get_until(&service, path, |page| page["items"][0]["isOnline"] == json!(false)).await;
    assert!(page["items"][0]["lastSeen"].as_str().is_some_and(|seen| seen.starts_with("20")), "{page}");
}

#[actix::test]
async fn presence_checks_hub_and_parameters() {
    let service = start();
    service.get_error("/admin/groups/nowhere/stored/presence", StatusCode::NOT_FOUND).await;
    for query in ["limit=0", "limit=1001", "sort=user", "cursor=x"] {
        service.get_error(&format!("/admin/groups/chat/stored/presence?{query}"), StatusCode::BAD_REQUEST).await;
    }
}

#[actix::test]
async fn record_of_a_connection_outlasts_it() {
    let service = start();
    let ann = service.client("chat", "ann").await;
    let id = service.get_ok("/admin/connections").await["items"][0]["id"].as_str().expect("an id").to_owned();
    let path = format!("/admin/connections/{id}/lease");
    let open = get_until(&service, &path, |record| record["id"] == json!(id)).await;
    assert_eq!((&open["user"], &open["node"], &open["closedAt"]), (&json!("ann"), &json!("test"), &Value::Null));
    drop(ann);
    let closed = get_until(&service, &path, |record| !record["closedAt"].is_null()).await;
    assert_eq!((&closed["closeReason"], &closed["since"]), (&json!("lost"), &open["since"]));
    let error = service.get_error("/admin/connections/nobody/lease", StatusCode::NOT_FOUND).await;
    assert!(error.contains("no record"), "{error}");
}
