//! Tests of calls with many durable changes.

use super::*;
use crate::{
    hub::users::bulk::MAX_BULK_CHANGES,
    ids::GroupName,
    store::{
        Change, MembershipOp,
        faulty::{FaultMode, FaultyStore},
    },
};

fn users(services: &Arc<HubServices>) -> Users {
    Users::new(services, &"chat".into(), &Requester::application())
}

/// The outcomes as `+room` or `-room` if the store has changed, `=room` if it has not, and `!room` for an error.
fn text<N: std::fmt::Display>(outcomes: &[BulkOutcome<N>]) -> String {
    let sign = |outcome: &BulkOutcome<N>| match (&outcome.result, outcome.op) {
        (Err(_), _) => '!',
        (Ok(DurableChange { stored: Change::Unchanged, .. }), _) => '=',
        (Ok(_), MembershipOp::Add) => '+',
        (Ok(_), MembershipOp::Remove) => '-',
    };
    outcomes.iter().map(|outcome| format!("{}{}", sign(outcome), outcome.name)).collect::<Vec<_>>().join(" ")
}

async fn stored(users: &Users, user: &str) -> String {
    let mut groups = users.groups_of(user).await.unwrap();
    groups.sort_unstable();
    groups.iter().map(GroupName::as_str).collect::<Vec<_>>().join(" ")
}

#[actix::test]
async fn outcome_of_each_group_is_named_in_order() {
    let users = users(&services(Vec::new()));
    users.add_to_group("ann", "b").await.unwrap();
    let long = "x".repeat(257);
    let outcomes = users.add_to_groups("ann", ["c", "b", "c", &long, "a"]).await.unwrap();
    assert_eq!(text(&outcomes), format!("+c =b !{long} +a"));
    assert!(matches!(outcomes[2].result, Err(UsersError::InvalidName(_))));
    assert_eq!(stored(&users, "ann").await, "a b c");
    let outcomes = users.remove_from_groups("ann", ["a", "z"]).await.unwrap();
    assert_eq!(text(&outcomes), "-a =z");
    assert_eq!(stored(&users, "ann").await, "b c");
}

#[actix::test]
async fn set_of_a_user_is_replaced() {
    let users = users(&services(Vec::new()));
    users.add_to_groups("ann", ["d", "a", "b", "c"]).await.unwrap();
    users.add_to_group("bob", "a").await.unwrap();
    assert_eq!(text(&users.set_groups("ann", ["e", "b"]).await.unwrap()), "+e =b -a -c -d");
    assert_eq!(stored(&users, "ann").await, "b e");
    assert_eq!(text(&users.remove_from_all_groups("ann").await.unwrap()), "-b -e");
    assert_eq!(text(&users.remove_from_all_groups("ann").await.unwrap()), "");
    assert_eq!((stored(&users, "ann").await, stored(&users, "bob").await), (String::new(), "a".into()));
}

#[actix::test]
async fn many_users_are_added_to_a_group() {
    let users = users(&services(Vec::new()));
    users.add_to_group("bob", "lobby").await.unwrap();
    let outcomes = users.add_users_to_group(["cid", "bob", "no\0name", "ann"], "lobby").await.unwrap();
    assert_eq!(text(&outcomes), "+cid =bob !no\0name +ann");
    assert_eq!(text(&users.remove_users_from_group(["ann", "zoe"], "lobby").await.unwrap()), "-ann =zoe");
    assert!(matches!(users.add_users_to_group(["ann"], "x".repeat(257)).await, Err(UsersError::InvalidName(_))));
}

#[actix::test]
async fn user_with_an_empty_name_is_refused() {
    let users = users(&services(Vec::new()));
    let results = [
        users.add_to_group("", "lobby").await.map(drop),
        users.remove_from_group("", "lobby").await.map(drop),
        users.set_groups("", ["lobby"]).await.map(drop),
        users.revoke_tokens("").await,
        users.sign_out("").await.map(drop),
    ];
    for result in results {
        assert_eq!(result.unwrap_err().to_string(), "The user name is empty.");
    }
    assert_eq!(text(&users.add_users_to_group(["ann", ""], "").await.unwrap()), "+ann !", "a group needs no name");
}

#[actix::test]
async fn call_beyond_the_maximum_changes_nothing() {
    let users = users(&services(Vec::new()));
    let names = |count: usize| (0..count).map(|number| number.to_string());
    let error = users.add_to_groups("ann", names(MAX_BULK_CHANGES + 1)).await.unwrap_err();
    assert_eq!(error.to_string(), "The call makes 1001 changes; the maximum is 1000.");
    assert!(HubError::from(error).is_shown());
    assert_eq!(stored(&users, "ann").await, "");
    assert_eq!(users.add_to_groups("ann", names(MAX_BULK_CHANGES)).await.unwrap().len(), MAX_BULK_CHANGES);
    let error = users.set_groups("ann", ["other"]).await.unwrap_err();
    assert!(matches!(error, UsersError::TooManyChanges(TooManyChanges { count: 1_001 })));
    assert_eq!(users.groups_of("ann").await.unwrap().len(), MAX_BULK_CHANGES);
}

#[actix::test]
async fn refused_write_leaves_no_outcome() {
    let store = Arc::new(FaultyStore::new(MemoryStore::default()));
    let users = users(&services_with(StoreParts::of(Arc::clone(&store)), Vec::new()));
    tokio::time::pause();
    store.set_mode(FaultMode::Refuse);
    let error = users.add_to_groups("ann", ["a", "b"]).await.unwrap_err();
    assert!(matches!(error, UsersError::Store(_)));
    let shown = HubError::from(error);
    assert_eq!(
        (shown.is_shown(), shown.message(), shown.hidden_text().as_deref()),
        (
            true,
            "The server cannot access its stored data now. Try again in a moment.",
            Some("the store is unavailable: injected fault")
        )
    );
    store.set_mode(FaultMode::None);
    assert_eq!(stored(&users, "ann").await, "");
    let before = store.calls().len();
    users.add_to_groups("ann", ["a", "b"]).await.unwrap();
    assert_eq!(store.calls()[before..], ["apply"]);
}

#[actix::test]
async fn bulk_changes_of_a_client_delay_its_next_ones() {
    let services = services(Vec::new());
    let ann = register(&services, "chat", "ann1", Some("ann"), Stub::default());
    tokio::time::pause();
    let (start, users) = (tokio::time::Instant::now(), context(&services, &ann, Identity::default()).users());
    users.add_to_groups("zoe", (0..30).map(|number| number.to_string())).await.unwrap();
    // The timer rounds up to a millisecond.
    assert!(start.elapsed() < Duration::from_millis(10), "{:?}", start.elapsed());
    users.add_to_group("zoe", "one more").await.unwrap();
    assert!(
        (2_000..2_010).contains(&start.elapsed().as_millis()),
        "30 changes at 10 per second: {:?}",
        start.elapsed()
    );
}
