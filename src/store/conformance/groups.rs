//! What is promised of durable membership.
//!
//! Role: the verbs `groups_of`, `add`, `remove` and `members`, and what they say of each other.
//! Life: each promise wants a store that nobody used before.
//! Neighbours: listed in [`store_conformance!`](crate::store_conformance).
//! Never: it does not expect an order of the groups of one owner.

use futures_util::future::{join_all, try_join_all};

use super::{groups_of, owner};
use crate::{
    ids::{GroupName, HubName, UserId},
    store::{Change, DynStore, Error, Members, Owner, Page},
};

/// Names that a careless store changes, confuses or chokes on. All of them are different names.
fn odd_names() -> Vec<String> {
    let plain = [
        "",
        " ",
        "a",
        "a ",
        " a",
        "A",
        "a%",
        "a_",
        "%",
        "_",
        "*",
        "a\\",
        "a'b",
        "a''b",
        "a\"b",
        "`a`",
        "a;b",
        "--",
        "a\nb",
        "null",
        "0",
        "00",
        "0x0",
        "1e3",
        "é",
        "e\u{301}",
        "ß",
        "ss",
        "İ",
        "i",
        "名前",
        "👩‍👩‍👧",
        "\u{202e}abc",
        "\u{feff}",
        "'); drop table users; --",
    ];
    let long = ["x".repeat(300), "x".repeat(299), "名".repeat(300)];
    plain.into_iter().map(Into::into).chain(long).collect()
}

async fn page(store: &dyn DynStore, group: &str, after: Option<&str>, limit: u64) -> Result<(Vec<String>, u64), Error> {
    let page = Page { after: after.map(UserId::from), limit };
    let Members { users, total } = store.members(&"chat".into(), &group.into(), &page).await?;
    Ok((users.iter().map(ToString::to_string).collect(), total))
}

async fn add(store: &dyn DynStore, user: &str, group: &str) -> Result<Change, Error> {
    store.add(&owner(user), &group.into()).await
}

async fn remove(store: &dyn DynStore, user: &str, group: &str) -> Result<Change, Error> {
    store.remove(&owner(user), &group.into()).await
}

/// An empty batch is answered by an empty list.
pub async fn nobody_asked_for_is_nobody_answered(store: &dyn DynStore) -> Result<(), Error> {
    assert!(store.groups_of(&[]).await?.is_empty());
    Ok(())
}

/// Nobody is an error.
pub async fn an_unknown_user_has_no_groups(store: &dyn DynStore) -> Result<(), Error> {
    add(store, "ann", "room").await?;
    assert!(groups_of(store, &owner("bob")).await?.is_empty());
    assert_eq!(page(store, "nowhere", None, 10).await?, (vec![], 0));
    Ok(())
}

/// The answer at each place is that of the owner at that place, known or not, however often it is asked for.
pub async fn answers_come_in_the_order_of_the_owners(store: &dyn DynStore) -> Result<(), Error> {
    add(store, "ann", "a").await?;
    add(store, "bob", "b").await?;
    let elsewhere = Owner { hub: "news".into(), user: "ann".into() };
    store.add(&elsewhere, &"n".into()).await?;
    let asked = [owner("zoe"), owner("bob"), elsewhere, owner("ann"), owner("nobody"), owner("bob")];
    let answers = store.groups_of(&asked).await?;
    assert_eq!(
        answers,
        [vec![], vec!["b".into()], vec!["n".into()], vec!["a".into()], vec![], vec![GroupName::from("b")]]
    );
    Ok(())
}

/// A batch may be longer than any database's list of variables (SQLite 32,766; PostgreSQL, MySQL 65,535).
pub async fn a_storm_of_owners_is_answered_whole(store: &dyn DynStore) -> Result<(), Error> {
    let asked: Vec<_> = (0..70_000).map(|number| owner(&number.to_string())).collect();
    for known in [0, 33_000, 69_999] {
        store.add(&asked[known], &"room".into()).await?;
    }
    let answers = store.groups_of(&asked).await?;
    let found: Vec<_> = (0..answers.len()).filter(|place| !answers[*place].is_empty()).collect();
    assert_eq!((answers.len(), found), (70_000, vec![0, 33_000, 69_999]));
    Ok(())
}

/// The second call says that it was so already.
pub async fn adding_twice_makes_one_member(store: &dyn DynStore) -> Result<(), Error> {
    assert_eq!(add(store, "ann", "room").await?, Change::Made);
    assert_eq!(add(store, "ann", "room").await?, Change::Already);
    assert_eq!(groups_of(store, &owner("ann")).await?, ["room"]);
    assert_eq!(page(store, "room", None, 10).await?, (vec!["ann".into()], 1));
    Ok(())
}

/// The second call says that it was so already, and the other members and groups stay.
pub async fn removing_twice_removes_once(store: &dyn DynStore) -> Result<(), Error> {
    for (user, group) in [("ann", "room"), ("ann", "other"), ("bob", "room")] {
        add(store, user, group).await?;
    }
    assert_eq!(remove(store, "ann", "room").await?, Change::Made);
    assert_eq!(remove(store, "ann", "room").await?, Change::Already);
    assert_eq!(groups_of(store, &owner("ann")).await?, ["other"]);
    assert_eq!(page(store, "room", None, 10).await?, (vec!["bob".into()], 1));
    Ok(())
}

/// Neither the user nor the group need be known.
pub async fn removing_what_never_was_changes_nothing(store: &dyn DynStore) -> Result<(), Error> {
    assert_eq!(remove(store, "ann", "room").await?, Change::Already);
    assert_eq!(add(store, "ann", "room").await?, Change::Made);
    assert_eq!(remove(store, "bob", "room").await?, Change::Already);
    assert_eq!(remove(store, "ann", "other").await?, Change::Already);
    assert_eq!(groups_of(store, &owner("ann")).await?, ["room"]);
    Ok(())
}

/// The rows of the user and of the group that stayed are in nobody's way.
pub async fn a_member_who_left_may_return(store: &dyn DynStore) -> Result<(), Error> {
    add(store, "ann", "room").await?;
    remove(store, "ann", "room").await?;
    assert_eq!(page(store, "room", None, 10).await?, (vec![], 0));
    assert_eq!(add(store, "ann", "room").await?, Change::Made);
    assert_eq!(groups_of(store, &owner("ann")).await?, ["room"]);
    Ok(())
}

/// Case matters in the name of a user, of a group and of a hub.
pub async fn names_differ_by_case(store: &dyn DynStore) -> Result<(), Error> {
    add(store, "ann", "room").await?;
    assert_eq!(add(store, "Ann", "Room").await?, Change::Made);
    assert_eq!(groups_of(store, &owner("ann")).await?, ["room"]);
    assert_eq!(groups_of(store, &owner("Ann")).await?, ["Room"]);
    assert_eq!(page(store, "Room", None, 10).await?, (vec!["Ann".into()], 1));
    let shouted = Owner { hub: "CHAT".into(), user: "ann".into() };
    assert!(groups_of(store, &shouted).await?.is_empty());
    assert_eq!(remove(store, "ANN", "room").await?, Change::Already);
    Ok(())
}

/// Any text is a name: of a user, of a group, and of a hub unless it is too long for one (128).
pub async fn odd_names_come_back_as_they_went(store: &dyn DynStore) -> Result<(), Error> {
    let mut sorted = odd_names();
    sorted.sort_unstable();
    for name in odd_names() {
        assert_eq!(add(store, &name, "room").await?, Change::Made, "user {name:?}");
        assert_eq!(add(store, "ann", &name).await?, Change::Made, "group {name:?}");
    }
    assert_eq!(groups_of(store, &owner("ann")).await?, sorted);
    assert_eq!(page(store, "room", None, 1_000).await?.0, sorted);
    for name in odd_names().into_iter().filter(|name| name.chars().count() <= 128) {
        let odd = Owner { hub: name.as_str().into(), user: name.as_str().into() };
        assert_eq!(store.add(&odd, &name.as_str().into()).await?, Change::Made, "hub {name:?}");
        assert_eq!(groups_of(store, &odd).await?, [name]);
    }
    Ok(())
}

/// Hubs do not see each other's groups or members.
pub async fn the_same_name_on_another_hub_is_another_group(store: &dyn DynStore) -> Result<(), Error> {
    let news: HubName = "news".into();
    let there = Owner { hub: news.clone(), user: "ann".into() };
    add(store, "ann", "room").await?;
    assert!(groups_of(store, &there).await?.is_empty());
    assert_eq!(store.add(&there, &"room".into()).await?, Change::Made);
    assert_eq!(remove(store, "ann", "room").await?, Change::Made);
    let page = Page { after: None, limit: 10 };
    assert_eq!(store.members(&news, &"room".into(), &page).await?, Members { users: vec!["ann".into()], total: 1 });
    Ok(())
}

/// Of sixteen who add the same member at once, one is told that it did.
pub async fn concurrent_adds_make_a_member_once(store: &dyn DynStore) -> Result<(), Error> {
    for round in 0..8 {
        let group = GroupName::from(round.to_string());
        let owners = vec![owner("ann"); 16];
        let changes = try_join_all(owners.iter().map(|owner| store.add(owner, &group))).await?;
        assert_eq!(changes.iter().filter(|change| **change == Change::Made).count(), 1, "{changes:?}");
    }
    Ok(())
}

/// Two groups may each be the first that is heard of a user, and two users of a group.
pub async fn first_adds_of_a_new_user_do_not_collide(store: &dyn DynStore) -> Result<(), Error> {
    for round in 0..8 {
        let (ann, bob) = (format!("ann {round}"), format!("bob {round}"));
        let (one, two) = (format!("one {round}"), format!("two {round}"));
        let adds = [(&ann, &one), (&ann, &two), (&bob, &one), (&bob, &two)];
        let changes = join_all(adds.map(|(user, group)| add(store, user, group))).await;
        assert!(changes.iter().all(|change| matches!(change, Ok(Change::Made))), "{changes:?}");
        assert_eq!(groups_of(store, &owner(&ann)).await?, [one, two]);
    }
    Ok(())
}

/// By their bytes, so that the order is the same everywhere.
pub async fn members_are_sorted_by_name(store: &dyn DynStore) -> Result<(), Error> {
    for user in ["bob", "Zoe", "ann", "é", "ann2", "_", "10", "9"] {
        add(store, user, "room").await?;
    }
    let (users, total) = page(store, "room", None, 100).await?;
    assert_eq!(users, ["10", "9", "Zoe", "_", "ann", "ann2", "bob", "é"]);
    assert_eq!(total, 8);
    Ok(())
}

/// Each page goes on after the last name of the one before, and the total is that of all pages.
pub async fn pages_cover_every_member_once(store: &dyn DynStore) -> Result<(), Error> {
    for number in 0..10 {
        add(store, &format!("user {number}"), "room").await?;
    }
    let mut seen: Vec<String> = Vec::new();
    for expected in [4, 4, 2, 0] {
        let (users, total) = page(store, "room", seen.last().map(String::as_str), 4).await?;
        assert_eq!((users.len(), total), (expected, 10));
        seen.extend(users);
    }
    assert_eq!(seen, Vec::from_iter((0..10).map(|number| format!("user {number}"))));
    Ok(())
}

/// None or all; and it may begin after a name that is no member's.
pub async fn a_page_may_be_of_any_length(store: &dyn DynStore) -> Result<(), Error> {
    for user in ["ann", "cid"] {
        add(store, user, "room").await?;
    }
    assert_eq!(page(store, "room", None, 0).await?, (vec![], 2));
    assert_eq!(page(store, "room", None, u64::MAX).await?, (vec!["ann".into(), "cid".into()], 2));
    assert_eq!(page(store, "room", Some("bob"), 10).await?, (vec!["cid".into()], 2));
    assert_eq!(page(store, "room", Some("zoe"), 10).await?, (vec![], 2));
    Ok(())
}
