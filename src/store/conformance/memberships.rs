//! Test cases for durable membership: the methods `groups_of`, `apply` (with `add` and `remove`) and `members`, and
//! their interaction.
//!
//! [`membership_store_conformance!`](crate::membership_store_conformance) lists the test cases. Each needs a new, empty
//! store. They do not expect an order of the groups of one owner.

use futures_util::future::{join_all, try_join_all};

use super::{groups_of, owner};
use crate::{
    ids::{GroupName, HubName, UserId},
    store::{Change, DynMembershipStore, Error, Members, MembershipChange, MembershipOp, Owner, Page},
};

/// Short names that a faulty store changes, confuses or rejects. All are distinct.
const SHORT_NAMES: &[&str] = &[
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
    "a\n",
    "a\t",
    "a/b",
    "a#b",
    "a?b",
    "a%2fb",
    "a+b",
    "\u{1}",
    "\u{1f}",
    "\u{7f}",
    "\u{85}",
    "\u{a0}",
    "a\u{3000}",
    "\u{ffff}",
    "\u{10ffff}",
    ".",
    "..",
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

/// [`SHORT_NAMES`] and long names.
fn unusual_names() -> Vec<String> {
    let long = ["x".repeat(300), "x".repeat(299), "名".repeat(300)];
    SHORT_NAMES.iter().map(|name| (*name).to_owned()).chain(long).collect()
}

/// A page of the members, in the order of the store, and the total. A store that does not count its members is asked for
/// all of them.
async fn page(
    store: &dyn DynMembershipStore,
    group: &str,
    after: Option<&str>,
    limit: u64,
) -> Result<(Vec<String>, u64), Error> {
    let page = Page { after: after.map(UserId::from), limit };
    let Members { users, total } = store.members(&"chat".into(), &group.into(), &page).await?;
    assert_eq!(total.is_some(), store.promises().totals, "the total is known if the store promises it");
    let all = Page { after: None, limit: u64::MAX };
    let total = match total {
        Some(total) => total,
        None => store.members(&"chat".into(), &group.into(), &all).await?.users.len() as u64,
    };
    Ok((users.iter().map(ToString::to_string).collect(), total))
}

/// The names in the order that the store promises: sorted, if it promises none.
fn in_order(store: &dyn DynMembershipStore, mut names: Vec<String>) -> Vec<String> {
    if !store.promises().sorted_members {
        names.sort_unstable();
    }
    names
}

async fn add(store: &dyn DynMembershipStore, user: &str, group: &str) -> Result<Change, Error> {
    store.add(&owner(user), &group.into()).await
}

async fn remove(store: &dyn DynMembershipStore, user: &str, group: &str) -> Result<Change, Error> {
    store.remove(&owner(user), &group.into()).await
}

/// A batch without owners is not an error.
pub async fn empty_batch_returns_empty_list(store: &dyn DynMembershipStore) -> Result<(), Error> {
    assert!(store.groups_of(&[]).await?.is_empty());
    Ok(())
}

/// An unknown user or group is not an error.
pub async fn unknown_user_has_no_groups(store: &dyn DynMembershipStore) -> Result<(), Error> {
    add(store, "ann", "room").await?;
    assert!(groups_of(store, &owner("bob")).await?.is_empty());
    assert_eq!(page(store, "nowhere", None, 10).await?, (vec![], 0));
    Ok(())
}

/// Each answer is at the index of its owner, whether the owner is known or not, and also for repeated owners.
pub async fn answers_follow_the_order_of_owners(store: &dyn DynMembershipStore) -> Result<(), Error> {
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

/// A batch can exceed the number of bind variables of any database (SQLite 32,766; PostgreSQL and MySQL 65,535).
pub async fn large_batch_of_owners_is_answered(store: &dyn DynMembershipStore) -> Result<(), Error> {
    let count = if store.promises().batched_loads { 70_000 } else { 2_000 };
    let asked: Vec<_> = (0..count).map(|number| owner(&number.to_string())).collect();
    let known = [0, count / 2, count - 1];
    for known in known {
        store.add(&asked[known], &"room".into()).await?;
    }
    let answers = store.groups_of(&asked).await?;
    let found: Vec<_> = (0..answers.len()).filter(|index| !answers[*index].is_empty()).collect();
    assert_eq!((answers.len(), &*found), (count, &known[..]));
    Ok(())
}

/// The second call returns [`Change::Unchanged`].
pub async fn adding_twice_stores_one_member(store: &dyn DynMembershipStore) -> Result<(), Error> {
    assert_eq!(add(store, "ann", "room").await?, Change::Applied);
    assert_eq!(add(store, "ann", "room").await?, Change::Unchanged);
    assert_eq!(groups_of(store, &owner("ann")).await?, ["room"]);
    assert_eq!(page(store, "room", None, 10).await?, (vec!["ann".into()], 1));
    Ok(())
}

/// The second call returns [`Change::Unchanged`], and the other members and groups stay.
pub async fn second_removal_changes_nothing(store: &dyn DynMembershipStore) -> Result<(), Error> {
    for (user, group) in [("ann", "room"), ("ann", "other"), ("bob", "room")] {
        add(store, user, group).await?;
    }
    assert_eq!(remove(store, "ann", "room").await?, Change::Applied);
    assert_eq!(remove(store, "ann", "room").await?, Change::Unchanged);
    assert_eq!(groups_of(store, &owner("ann")).await?, ["other"]);
    assert_eq!(page(store, "room", None, 10).await?, (vec!["bob".into()], 1));
    Ok(())
}

/// The user and the group can be unknown.
pub async fn removing_a_non_member_changes_nothing(store: &dyn DynMembershipStore) -> Result<(), Error> {
    assert_eq!(remove(store, "ann", "room").await?, Change::Unchanged);
    assert_eq!(add(store, "ann", "room").await?, Change::Applied);
    assert_eq!(remove(store, "bob", "room").await?, Change::Unchanged);
    assert_eq!(remove(store, "ann", "other").await?, Change::Unchanged);
    assert_eq!(groups_of(store, &owner("ann")).await?, ["room"]);
    Ok(())
}

/// The records of the user and the group end with the membership, and can be created again.
pub async fn removed_member_can_be_added_again(store: &dyn DynMembershipStore) -> Result<(), Error> {
    add(store, "ann", "room").await?;
    remove(store, "ann", "room").await?;
    assert_eq!(page(store, "room", None, 10).await?, (vec![], 0));
    assert_eq!(add(store, "ann", "room").await?, Change::Applied);
    assert_eq!(groups_of(store, &owner("ann")).await?, ["room"]);
    Ok(())
}

fn change(user: &str, group: &str, op: MembershipOp) -> MembershipChange {
    MembershipChange { owner: owner(user), group: group.into(), op }
}

/// The order also holds for several changes of one membership. A batch can be empty.
pub async fn changes_of_a_batch_apply_in_order(store: &dyn DynMembershipStore) -> Result<(), Error> {
    use Change::{Applied, Unchanged};
    use MembershipOp::{Add, Remove};
    assert!(store.apply(&[]).await?.is_empty());
    let changes = [
        change("ann", "room", Remove),
        change("ann", "room", Add),
        change("bob", "room", Add),
        change("ann", "room", Add),
        change("ann", "room", Remove),
        change("ann", "other", Add),
        change("bob", "room", Remove),
        change("bob", "room", Add),
    ];
    let effects = [Unchanged, Applied, Applied, Unchanged, Applied, Applied, Applied, Applied];
    assert_eq!(store.apply(&changes).await?, effects);
    assert_eq!(groups_of(store, &owner("ann")).await?, ["other"]);
    assert_eq!(page(store, "room", None, 10).await?, (vec!["bob".into()], 1));
    Ok(())
}

/// A batch can have more changes than the engine writes at a time.
pub async fn large_batch_of_changes_is_applied(store: &dyn DynMembershipStore) -> Result<(), Error> {
    let changes: Vec<_> = (0..1_000).map(|number| change(&number.to_string(), "room", MembershipOp::Add)).collect();
    assert_eq!(store.apply(&changes).await?, [Change::Applied; 1_000]);
    assert_eq!(page(store, "room", None, 0).await?.1, 1_000);
    Ok(())
}

/// Case matters in the names of users, groups and hubs.
pub async fn names_are_case_sensitive(store: &dyn DynMembershipStore) -> Result<(), Error> {
    add(store, "ann", "room").await?;
    assert_eq!(add(store, "Ann", "Room").await?, Change::Applied);
    assert_eq!(groups_of(store, &owner("ann")).await?, ["room"]);
    assert_eq!(groups_of(store, &owner("Ann")).await?, ["Room"]);
    assert_eq!(page(store, "Room", None, 10).await?, (vec!["Ann".into()], 1));
    let shouted = Owner { hub: "CHAT".into(), user: "ann".into() };
    assert!(groups_of(store, &shouted).await?.is_empty());
    assert_eq!(remove(store, "ANN", "room").await?, Change::Unchanged);
    Ok(())
}

/// Any text is a valid name of a user or a group, and of a hub if it has at most 128 characters.
pub async fn unusual_names_are_returned_unchanged(store: &dyn DynMembershipStore) -> Result<(), Error> {
    let mut sorted = unusual_names();
    sorted.sort_unstable();
    for name in unusual_names() {
        assert_eq!(add(store, &name, "room").await?, Change::Applied, "user {name:?}");
        assert_eq!(add(store, "ann", &name).await?, Change::Applied, "group {name:?}");
    }
    assert_eq!(groups_of(store, &owner("ann")).await?, sorted);
    assert_eq!(in_order(store, page(store, "room", None, 1_000).await?.0), sorted);
    for name in unusual_names().into_iter().filter(|name| name.chars().count() <= 128) {
        let odd = Owner { hub: name.as_str().into(), user: name.as_str().into() };
        assert_eq!(store.add(&odd, &name.as_str().into()).await?, Change::Applied, "hub {name:?}");
        assert_eq!(groups_of(store, &odd).await?, [name]);
    }
    Ok(())
}

/// The same name on another hub is another group.
pub async fn groups_of_different_hubs_are_separate(store: &dyn DynMembershipStore) -> Result<(), Error> {
    let news: HubName = "news".into();
    let there = Owner { hub: news.clone(), user: "ann".into() };
    add(store, "ann", "room").await?;
    assert!(groups_of(store, &there).await?.is_empty());
    assert_eq!(store.add(&there, &"room".into()).await?, Change::Applied);
    assert_eq!(remove(store, "ann", "room").await?, Change::Applied);
    let page = Page { after: None, limit: 10 };
    assert_eq!(store.members(&news, &"room".into(), &page).await?.users, ["ann".into()]);
    Ok(())
}

/// Of sixteen concurrent calls that add the same member, exactly one returns [`Change::Applied`].
pub async fn concurrent_adds_apply_once(store: &dyn DynMembershipStore) -> Result<(), Error> {
    for round in 0..8 {
        let group = GroupName::from(round.to_string());
        let owners = vec![owner("ann"); 16];
        let changes = try_join_all(owners.iter().map(|owner| store.add(owner, &group))).await?;
        assert_eq!(changes.iter().filter(|change| **change == Change::Applied).count(), 1, "{changes:?}");
    }
    Ok(())
}

/// Concurrent calls can create the same user from two groups, and the same group from two users.
pub async fn concurrent_first_adds_do_not_conflict(store: &dyn DynMembershipStore) -> Result<(), Error> {
    for round in 0..8 {
        let (ann, bob) = (format!("ann {round}"), format!("bob {round}"));
        let (one, two) = (format!("one {round}"), format!("two {round}"));
        let adds = [(&ann, &one), (&ann, &two), (&bob, &one), (&bob, &two)];
        let changes = join_all(adds.map(|(user, group)| add(store, user, group))).await;
        assert!(changes.iter().all(|change| matches!(change, Ok(Change::Applied))), "{changes:?}");
        assert_eq!(groups_of(store, &owner(&ann)).await?, [one, two]);
    }
    Ok(())
}

/// Calls that add the first membership of a user or a group run beside calls that remove the last one. Each call changes
/// a membership of its own, so each has an effect.
pub async fn concurrent_changes_lose_no_membership(store: &dyn DynMembershipStore) -> Result<(), Error> {
    let (users, groups) = (["ann", "bob", "cid"], ["one", "two", "three"]);
    let memberships: Vec<_> = users.iter().flat_map(|user| groups.iter().map(move |group| (*user, *group))).collect();
    let changes = |(user, group): (&'static str, &'static str)| async move {
        for round in 0..10 {
            assert_eq!(add(store, user, group).await?, Change::Applied, "{user} in {group}, round {round}");
            assert_eq!(remove(store, user, group).await?, Change::Applied, "{user} in {group}, round {round}");
        }
        add(store, user, group).await
    };
    let last = try_join_all(memberships.into_iter().map(changes)).await?;
    assert_eq!(last, [Change::Applied; 9]);
    for user in users {
        assert_eq!(groups_of(store, &owner(user)).await?, ["one", "three", "two"], "{user}");
    }
    Ok(())
}

/// The order is that of the bytes, so it is the same in every store that promises it.
pub async fn members_are_sorted_by_name(store: &dyn DynMembershipStore) -> Result<(), Error> {
    for user in ["bob", "Zoe", "ann", "é", "\u{10000}", "ann2", "_", "\u{ffff}", "10", "9"] {
        add(store, user, "room").await?;
    }
    let (users, total) = page(store, "room", None, 100).await?;
    assert_eq!(in_order(store, users), ["10", "9", "Zoe", "_", "ann", "ann2", "bob", "é", "\u{ffff}", "\u{10000}"]);
    assert_eq!(total, 10);
    Ok(())
}

/// Each page continues after the last name of the previous page, and the total counts all pages.
pub async fn pages_cover_every_member_once(store: &dyn DynMembershipStore) -> Result<(), Error> {
    for number in 0..10 {
        add(store, &format!("user {number}"), "room").await?;
    }
    let mut seen: Vec<String> = Vec::new();
    for expected in [4, 4, 2, 0] {
        let (users, total) = page(store, "room", seen.last().map(String::as_str), 4).await?;
        assert_eq!((users.len(), total), (expected, 10));
        seen.extend(users);
    }
    assert_eq!(in_order(store, seen), Vec::from_iter((0..10).map(|number| format!("user {number}"))));
    Ok(())
}

/// The limit can be zero or the maximum, and a page can start after a name that is not a member.
pub async fn page_limit_can_be_any_number(store: &dyn DynMembershipStore) -> Result<(), Error> {
    for user in ["ann", "cid"] {
        add(store, user, "room").await?;
    }
    assert_eq!(page(store, "room", None, 0).await?, (vec![], 2));
    let (users, total) = page(store, "room", None, u64::MAX).await?;
    assert_eq!((in_order(store, users), total), (vec!["ann".into(), "cid".into()], 2));
    if store.promises().sorted_members {
        assert_eq!(page(store, "room", Some("bob"), 10).await?, (vec!["cid".into()], 2));
        assert_eq!(page(store, "room", Some("zoe"), 10).await?, (vec![], 2));
    }
    Ok(())
}
