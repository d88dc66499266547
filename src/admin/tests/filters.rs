//! Tests of the routes for filters.

use actix_web::http::Method;

use super::*;
use crate::filters::{BeforeInvoke, ErrorPolicy, FilterError, FilterOptions, on};

fn with_filters(builder: EngineBuilder) -> EngineBuilder {
    let mute = on(async |_: BeforeInvoke| Err(FilterError::refuse("muted")));
    let pass = on(async |event: BeforeInvoke| Ok(event));
    let options = FilterOptions { policy: ErrorPolicy::Bypass, ..FilterOptions::default() };
    let join = async |groups: Groups, Args((room,)): Args<(String,)>| {
        groups.join(room).await?;
        Ok::<_, crate::HubError>(())
    };
    let quiet = Hub::new("quiet").method("JoinRoom", join).filter("mute", mute);
    builder.filter_with("pass", options, pass).hub("/quiet", quiet)
}

/// Invokes `JoinRoom` and returns the error of the completion, or null.
async fn join_error(client: &mut TestClient) -> Value {
    client.send(&json!({ "type": 1, "target": "JoinRoom", "arguments": ["lobby"], "invocationId": "1" })).await;
    client.receive_matching(|message| message["type"] == 3).await["error"].take()
}

#[actix::test]
async fn filters_are_listed_with_their_figures() {
    let service = start_with(with_filters);
    let mut ann = service.client("quiet", "ann").await;
    assert_eq!(
        join_error(&mut ann).await,
        "An unexpected error occurred invoking 'JoinRoom' on the server. HubException: muted"
    );
    let page = service.get_ok("/admin/filters?hub=quiet").await;
    let [pass, mute] = &items(&page)[..] else { panic!("two filters: {page}") };
    assert_eq!((&pass["name"], &pass["hub"], &pass["policy"]), (&json!("pass"), &Value::Null, &json!("bypass")));
    assert_eq!((&mute["name"], &mute["hub"], &mute["mode"]), (&json!("mute"), &json!("quiet"), &json!("enabled")));
    assert_eq!(mute["budgetSeconds"], 1.0);
    let counts = |row: &Value| {
        (row["events"]["before_invoke"]["calls"].clone(), row["events"]["before_invoke"]["refusals"].clone())
    };
    assert_eq!((counts(pass), counts(mute)), ((json!(1), json!(0)), (json!(1), json!(1))));
    assert_eq!(items(&service.get_ok("/admin/filters?hub=chat").await).len(), 1);
    let text = service.metrics_text().await;
    assert!(
        text.contains("hubcast_filter_events_total{filter=\"mute\",event=\"before_invoke\",outcome=\"refused\"} 1\n"),
        "{text}"
    );
}

#[actix::test]
async fn mode_of_a_filter_is_changed() {
    let service = start_with(with_filters);
    let mut ann = service.client("quiet", "ann").await;
    let set = async |mode: &str| service.change(Method::PUT, &format!("/admin/filters/mute?mode={mode}")).await;
    assert_eq!(set("disabled").await, (StatusCode::OK, json!({ "mode": "disabled", "previous": "enabled" })));
    assert_eq!(join_error(&mut ann).await, Value::Null);
    assert_eq!(set("enabled").await, (StatusCode::OK, json!({ "mode": "enabled", "previous": "disabled" })));
    assert_ne!(join_error(&mut ann).await, Value::Null);
    assert_eq!(set("off").await.0, StatusCode::BAD_REQUEST);
    let unknown = service.change(Method::PUT, "/admin/filters/other?mode=shadow").await;
    assert_eq!(unknown, (StatusCode::NOT_FOUND, json!({ "error": "no filter is named `other`" })));
}
