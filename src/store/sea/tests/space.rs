use super::*;
use crate::store::{MembershipOp, Process};

const ALL_ROWS: &str = "select user_name from users union all select room_name from conversation_rooms order by 1";

fn on(hub: &str, user: &str) -> Owner {
    Owner { hub: hub.into(), user: user.into() }
}

#[tokio::test]
async fn last_membership_ends_with_its_user_and_group() {
    let store = SeaStore::connect("sqlite::memory:").await.unwrap();
    for (hub, user) in [("chat", "ann"), ("chat", "bob"), ("news", "ann")] {
        store.add(&on(hub, user), &"room".into()).await.unwrap();
    }
    store.revoke(&"bob".into(), SystemTime::now()).await.unwrap();
    store.remove(&on("chat", "bob"), &"room".into()).await.unwrap();
    assert_eq!(query_column(&store.db, ALL_ROWS).await, ["ann", "bob", "room", "room"]);
    store.remove(&on("chat", "ann"), &"room".into()).await.unwrap();
    assert_eq!(query_column(&store.db, ALL_ROWS).await, ["ann", "bob", "room"]);
    store.remove(&on("news", "ann"), &"room".into()).await.unwrap();
    assert_eq!(query_column(&store.db, ALL_ROWS).await, ["bob"], "the revocation stays");
}

#[tokio::test]
async fn expired_revocation_ends_with_its_unused_user() {
    let store = SeaStore::connect("sqlite::memory:").await.unwrap();
    let second = |second| SystemTime::UNIX_EPOCH + Duration::from_secs(second);
    store.add(&on("chat", "ann"), &"room".into()).await.unwrap();
    for (user, before) in [("ann", 1), ("bob", 1), ("cid", 2)] {
        store.revoke(&user.into(), second(before)).await.unwrap();
    }
    let lifetime = Duration::from_secs(60);
    store.delete_expired(second(62), Duration::ZERO, lifetime).await.unwrap();
    assert_eq!(query_column(&store.db, ALL_ROWS).await, ["ann", "cid", "room"]);
    let revoked = "select user_name from users where revoked_before is not null";
    assert_eq!(query_column(&store.db, revoked).await, ["cid"]);
}

#[tokio::test]
async fn migration_deletes_rows_without_memberships() {
    let store = SeaStore::connect("sqlite::memory:").await.unwrap();
    store.add(&ann(), &"room".into()).await.unwrap();
    Migrator::down(&store.db, Some(7)).await.unwrap();
    let unused = "insert into users values ('bob', 0, null), ('cid', 0, 1);
        insert into conversation_rooms values ('chat', 'empty', 0), ('news', 'room', 0)";
    store.db.execute_unprepared(unused).await.unwrap();
    Migrator::up(&store.db, None).await.unwrap();
    assert_eq!(query_column(&store.db, ALL_ROWS).await, ["ann", "cid", "room"]);
}

async fn file_size(store: &SeaStore, file: &TempDatabase) -> u64 {
    store.db.execute_unprepared("pragma wal_checkpoint(truncate)").await.unwrap();
    file.0.path().join("hubcast.db").metadata().unwrap().len()
}

#[tokio::test]
async fn file_shrinks_after_rows_are_deleted() {
    let file = TempDatabase::new();
    let store = file.open().await.unwrap();
    let change = |op| {
        let group = |number| GroupName::from(format!("{number}{}", "x".repeat(50_000)));
        let changes = (0..200).map(move |number| MembershipChange { owner: ann(), group: group(number), op });
        changes.collect::<Vec<_>>()
    };
    let empty = file_size(&store, &file).await;
    store.apply(&change(MembershipOp::Add)).await.unwrap();
    assert!(file_size(&store, &file).await > 10_000_000);
    store.apply(&change(MembershipOp::Remove)).await.unwrap();
    let node = Node { id: "alpha".into(), incarnation: "1".into(), process: Process::current() };
    // Each renewal returns a part of the pages.
    for _ in 0..10 {
        store.renew(&node, SystemTime::now(), Duration::from_secs(30)).await.unwrap();
    }
    assert!(file_size(&store, &file).await <= empty * 2, "{} bytes", file_size(&store, &file).await);
}

#[tokio::test]
async fn file_of_earlier_version_can_shrink() {
    let file = TempDatabase::new();
    let earlier = Database::connect(format!("{}?mode=rwc", file.url())).await.unwrap();
    earlier.execute_unprepared("create table earlier (id integer)").await.unwrap();
    earlier.close().await.unwrap();
    let store = file.open().await.unwrap();
    assert_eq!(query_column(&store.db, "select cast(auto_vacuum as text) from pragma_auto_vacuum").await, ["2"]);
}
