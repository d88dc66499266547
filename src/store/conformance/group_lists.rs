//! Test cases for stored lists of groups that are too long for a token.
//!
//! [`token_store_conformance!`](crate::token_store_conformance) lists the test cases. Each needs a new, empty store.

use std::{sync::Arc, time::Duration};

use super::{at, tokens::ann};
use crate::{
    ids::GroupKey,
    store::{DynTokenStore, Error, GroupList, Holder, MAX_GROUP_LISTS, Redeemed, Redemption, TokenUse, Verdict},
};

fn key(hub: &str, name: &str) -> Arc<GroupKey> {
    GroupKey::new(&hub.into(), &name.into())
}

/// A list of a family, sorted by name.
fn list(family: &str, groups: &[&str]) -> GroupList {
    let groups = groups.iter().map(|name| key("chat", name)).collect();
    GroupList { family: family.into(), groups, omitted: 0, written_at: at(500), expires_at: at(60_000) }
}

/// A token that the list of `family` completes.
fn token(family: &str) -> Redemption {
    Redemption { list_of: Some(family.into()), ..ann(at(0)) }
}

async fn redeem(store: &dyn DynTokenStore, token: Redemption) -> Result<Redeemed, Error> {
    let mut redeemed = store.redeem_all(&[token]).await?;
    assert_eq!(redeemed.len(), 1, "one answer for one token");
    Ok(redeemed.remove(0))
}

async fn stored(store: &dyn DynTokenStore, family: &str) -> Result<Option<GroupList>, Error> {
    Ok(redeem(store, token(family)).await?.list)
}

/// The list is returned as it was saved, to a token that asks for it and to no other.
pub async fn stored_list_is_returned_unchanged(store: &dyn DynTokenStore) -> Result<(), Error> {
    let mut saved = GroupList { omitted: 7, ..list("f", &["", "a", "a.b", "ünï ☃ \"quoted\" \\"]) };
    saved.groups.push(key("news", "a"));
    assert_eq!(store.save_lists(std::slice::from_ref(&saved)).await?, 0);
    assert_eq!(stored(store, "f").await?, Some(saved));
    assert_eq!((stored(store, "F").await?, stored(store, "g").await?), (None, None));
    assert_eq!(redeem(store, ann(at(0))).await?.list, None);
    Ok(())
}

/// The last list counts, also within a call. A list without groups deletes the stored one.
pub async fn later_list_replaces_the_stored_one(store: &dyn DynTokenStore) -> Result<(), Error> {
    let (one, two, none) = (list("f", &["a"]), list("f", &["b", "c"]), list("f", &[]));
    for (saved, expected) in [
        (vec![one.clone()], Some(&one)),
        (vec![one.clone(), list("g", &["a"]), two.clone()], Some(&two)),
        (vec![one.clone()], Some(&one)),
        (vec![none.clone()], None),
        (vec![none.clone(), two.clone()], Some(&two)),
        (vec![one.clone(), none], None),
    ] {
        assert_eq!(store.save_lists(&saved).await?, 0);
        assert_eq!(stored(store, "f").await?.as_ref(), expected);
    }
    assert_eq!(stored(store, "g").await?, Some(list("g", &["a"])));
    assert_eq!(store.save_lists(&[]).await?, 0);
    Ok(())
}

/// 2,500 groups with names of 100 characters.
pub async fn long_list_is_stored(store: &dyn DynTokenStore) -> Result<(), Error> {
    let names: Vec<_> = (0..2_500).map(|number| format!("{number:0100}")).collect();
    let saved = list("f", &names.iter().map(|name| &**name).collect::<Vec<_>>());
    assert_eq!(store.save_lists(std::slice::from_ref(&saved)).await?, 0);
    assert_eq!(stored(store, "f").await?, Some(saved));
    Ok(())
}

/// Each token of a batch gets its own list.
pub async fn tokens_of_a_batch_get_their_lists(store: &dyn DynTokenStore) -> Result<(), Error> {
    let lists: Vec<_> = (0..40).map(|number| list(&format!("f{number}"), &[&format!("room {number}")])).collect();
    assert_eq!(store.save_lists(&lists).await?, 0);
    let batch: Vec<_> = lists.iter().rev().map(|list| token(&list.family)).chain([token("none"), ann(at(0))]).collect();
    let answers = store.redeem_all(&batch).await?;
    let expected: Vec<_> = lists.into_iter().rev().map(Some).chain([None, None]).collect();
    assert_eq!(answers.into_iter().map(|redeemed| redeemed.list).collect::<Vec<_>>(), expected);
    Ok(())
}

/// The groups of the list are checked like those of the token, and each is named once.
pub async fn revoked_groups_of_a_list_are_named(store: &dyn DynTokenStore) -> Result<(), Error> {
    store.save_lists(&[list("f", &["a", "b", "c"])]).await?;
    for name in ["b", "c"] {
        store.revoke_group(&key("chat", name), at(1_000)).await?;
    }
    let token = Redemption { groups: vec![key("chat", "a"), key("chat", "b")], ..token("f") };
    let mut revoked = redeem(store, token.clone()).await?.revoked_groups;
    revoked.sort();
    assert_eq!(revoked, [key("chat", "b"), key("chat", "c")]);
    let later = Redemption { issued_at: at(1_000), ..token };
    let revoked = redeem(store, later.clone()).await?.revoked_groups;
    assert_eq!(revoked, [key("chat", "c")], "the list is older than the revocation");
    store.save_lists(&[GroupList { written_at: at(1_000), ..list("f", &["a", "b", "c"]) }]).await?;
    assert!(redeem(store, later).await?.revoked_groups.is_empty());
    Ok(())
}

/// A node that was late neither replaces nor deletes the list of a later one.
pub async fn older_list_changes_nothing(store: &dyn DynTokenStore) -> Result<(), Error> {
    let newer = list("f", &["a"]);
    assert_eq!(store.save_lists(std::slice::from_ref(&newer)).await?, 0);
    for groups in [&["b"][..], &[]] {
        let older = GroupList { written_at: at(499), ..list("f", groups) };
        assert_eq!(store.save_lists(&[older]).await?, 0);
        assert_eq!(stored(store, "f").await?.as_ref(), Some(&newer));
    }
    Ok(())
}

/// A token that is revoked or used up gets no list.
pub async fn refused_token_gets_no_list(store: &dyn DynTokenStore) -> Result<(), Error> {
    store.save_lists(&[list("f", &["a"])]).await?;
    let holder = |name: &str| Holder { connection: name.into(), node: "alpha".into() };
    let used_by = |name: &str| {
        let token_use =
            TokenUse { family: "f".into(), epoch: 1, expires_at: at(60_000), holder: holder(name), ended: None };
        Redemption { single_use: Some(token_use), ..token("f") }
    };
    assert_eq!(redeem(store, used_by("first")).await?.list, Some(list("f", &["a"])));
    let second = redeem(store, used_by("second")).await?;
    assert_eq!((second.verdict, second.list), (Verdict::InUse(holder("first")), None));
    store.revoke(&"ann".into(), at(1_000)).await?;
    assert_eq!(redeem(store, token("f")).await?.list, None);
    Ok(())
}

/// A list is kept until its expiry has passed. A later list extends it.
pub async fn lists_are_deleted_after_expiry(store: &dyn DynTokenStore) -> Result<(), Error> {
    let (term, lifetime) = (Duration::from_secs(30), Duration::from_secs(60));
    store.save_lists(&[list("f", &["a"]), GroupList { expires_at: at(80_000), ..list("g", &["a"]) }]).await?;
    for now in [at(0), at(30_000), at(60_000)] {
        store.delete_expired(now, term, lifetime).await?;
        assert!(stored(store, "f").await?.is_some(), "{now:?}");
    }
    store.delete_expired(at(60_001), term, lifetime).await?;
    assert_eq!(stored(store, "f").await?, None);
    assert!(stored(store, "g").await?.is_some());
    Ok(())
}

/// At the limit, lists of new families are refused and counted. Known families can change, and an end makes room.
pub async fn number_of_lists_is_limited(store: &dyn DynTokenStore) -> Result<(), Error> {
    let lists: Vec<_> = (0..MAX_GROUP_LISTS).map(|number| list(&format!("f{number}"), &["a"])).collect();
    for lists in lists.chunks(1_000) {
        assert_eq!(store.save_lists(lists).await?, 0);
    }
    let (changed, further, ended) = (list("f0", &["b"]), list("new", &["a"]), list("f1", &[]));
    assert_eq!(store.save_lists(&[further.clone(), changed.clone()]).await?, 1);
    assert_eq!((stored(store, "f0").await?, stored(store, "new").await?), (Some(changed), None));
    assert_eq!(store.save_lists(&[further.clone(), ended]).await?, 0);
    assert_eq!(stored(store, "new").await?, Some(further));
    Ok(())
}
