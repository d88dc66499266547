//! Tests of the group routes.

use actix::{Actor, Addr, Context, Handler};
use futures_util::future::try_join_all;

use super::*;
use crate::{group::Delivery, groups::ActorMembership};

/// An actor that joins groups.
struct Listener;

impl Actor for Listener {
    type Context = Context<Self>;
}

impl Handler<Delivery> for Listener {
    type Result = ();

    fn handle(&mut self, _: Delivery, _: &mut Self::Context) {}
}

async fn add_actors(
    engine: &Engine,
    hub: &str,
    group: &str,
    listener: &Addr<Listener>,
    count: usize,
) -> Vec<ActorMembership> {
    let groups = engine.hub(hub).expect("the hub").groups();
    let joins = (0..count).map(|_| groups.add_actor(group, listener.clone().recipient()));
    try_join_all(joins).await.expect("no group crashes")
}

#[actix::test]
async fn groups_are_sorted_and_filtered_by_prefix() {
    let (service, listener) = (start(), Listener.start());
    let mut memberships = Vec::new();
    for (group, members) in [("red", 2), ("rose", 3), ("blue", 1)] {
        memberships.extend(add_actors(&service.engine, "chat", group, &listener, members).await);
    }
    memberships.extend(add_actors(&service.engine, "news", "red", &listener, 1).await);
    let names = service.collect_pages("/admin/groups?limit=1", "name").await;
    assert_eq!(json!(names), json!(["blue", "red", "red", "rose"]));
    let sizes = service.collect_pages("/admin/groups?sort=-members&limit=3", "members").await;
    assert_eq!(json!(sizes), json!([3, 2, 1, 1]));
    let page = service.get_ok("/admin/groups?hub=chat&prefix=r").await;
    let expected = json!([
        { "hub": "chat", "name": "red", "members": 2, "published": 0 },
        { "hub": "chat", "name": "rose", "members": 3, "published": 0 },
    ]);
    assert_eq!(page, json!({ "items": expected, "total": 2, "next": null }));
}

#[actix::test]
async fn members_leaving_between_pages_hide_no_member() {
    let (service, listener) = (start(), Listener.start());
    let mut members = add_actors(&service.engine, "chat", "big", &listener, 1000).await;
    members.sort_by(|one, other| one.id().cmp(other.id()));
    let page = service.get_ok("/admin/groups/chat/big?limit=300").await["members"].clone();
    assert_eq!((items(&page).len(), &page["total"]), (300, &json!(1000)));
    // The last member of the first page and the first member of the next page leave.
    members.drain(299..301);
    let groups = service.engine.hub("chat").expect("the hub").groups();
    let both_left = async {
        while groups.members("big").await.expect("the group exists").is_none_or(|group| group.total > 998) {
            tokio::task::yield_now().await;
        }
    };
    timeout(TEST_TIMEOUT, both_left).await.expect("both leave");
    let next = page["next"].as_str().expect("700 more");
    let rest = service.get_ok(&format!("/admin/groups/chat/big?limit=1000&cursor={next}")).await["members"].clone();
    let ids: Vec<_> = items(&rest).iter().map(|member| member["id"].as_str().expect("an id")).collect();
    assert_eq!(ids, members[299..].iter().map(|member| member.id().as_str()).collect::<Vec<_>>());
    assert_eq!(rest["next"], Value::Null);
    assert!(items(&rest).iter().all(|member| member["isActor"] == json!(true) && member["user"].is_null()));
}

#[actix::test]
async fn group_names_are_decoded_from_the_path() {
    let service = start();
    let mut ann = service.client("chat", "ann").await;
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
        let group = service.get_ok(&format!("/admin/groups/chat/{encoded}")).await;
        assert_eq!((&group["name"], &group["members"]["total"]), (&json!(name), &json!(1)), "{encoded}");
        assert_eq!(group["members"]["items"][0]["user"], json!("ann"));
    }
}

#[actix::test]
async fn durable_members_are_listed_in_pages() {
    let service = start();
    let users = service.engine.hub("chat").expect("the hub").users();
    for user in ["dan", "ann", "cat", "bob", "eve"] {
        users.add_to_group(user, "stored").await.expect("the store works");
    }
    let _ann = service.client("chat", "ann").await;
    let group = service.get_ok("/admin/groups/chat/stored?limit=2").await;
    assert_eq!(group["members"]["items"].as_array().map(Vec::len), Some(1), "only ann is connected: {group}");
    assert_eq!(
        (&group["durableMembers"]["items"], &group["durableMembers"]["total"]),
        (&json!(["ann", "bob"]), &json!(5))
    );
    let next = group["durableMembers"]["next"].as_str().expect("three more");
    let rest = service.get_ok(&format!("/admin/groups/chat/stored?durableCursor={next}")).await;
    assert_eq!(
        (&rest["durableMembers"]["items"], &rest["durableMembers"]["next"]),
        (&json!(["cat", "dan", "eve"]), &Value::Null)
    );
    assert_eq!(
        service.get_ok("/admin/groups").await["items"],
        json!([{ "hub": "chat", "name": "stored", "members": 1, "published": 0 }])
    );
}
