//! What is promised of rejoin tokens: their single use and their revocation.
//!
//! Role: the verbs `redeem` and `revoke`, and what `renew` does for them.
//! Life: each promise wants a store that nobody used before.
//! Neighbours: listed in [`store_conformance!`](crate::store_conformance).
//! Never: it does not know what a token looks like.

use std::time::{Duration, SystemTime};

use futures_util::future::try_join_all;

use super::{at, groups_of, owner};
use crate::store::{DynStore, Error, Node, Redemption, Spend, Verdict};

fn ann(issued: SystemTime) -> Redemption {
    Redemption { user: Some("ann".into()), issued, once: None }
}

fn once(family: &str, epoch: u64) -> Redemption {
    let spend = Spend { family: family.into(), epoch, expires: at(60_000) };
    Redemption { once: Some(spend), ..ann(at(0)) }
}

/// Lets the store forget what has run out at `now`.
async fn sweep(store: &dyn DynStore, now: SystemTime) -> Result<(), Error> {
    let node = Node { id: "alpha".into(), incarnation: "1".into() };
    store.renew(&node, now, Duration::from_secs(30)).await.map(drop)
}

/// Of a known user, of an unknown one, and of none.
pub async fn a_token_without_limits_is_always_accepted(store: &dyn DynStore) -> Result<(), Error> {
    store.add(&owner("ann"), &"room".into()).await?;
    for user in [Some("ann".into()), Some("bob".into()), None] {
        let token = Redemption { user, ..ann(at(0)) };
        assert_eq!(store.redeem(&token).await?, Verdict::Accepted);
        assert_eq!(store.redeem(&token).await?, Verdict::Accepted);
    }
    Ok(())
}

/// Each epoch of each family by itself, to the last of them, and whoever presents it.
pub async fn an_epoch_is_spent_once(store: &dyn DynStore) -> Result<(), Error> {
    let anonymous = Redemption { user: None, ..once("anonymous", 1) };
    let tokens = [once("f", 0), once("f", 1), once("F", 1), once("", 1), once("f", u64::MAX), anonymous];
    for token in &tokens {
        assert_eq!(store.redeem(token).await?, Verdict::Accepted, "{token:?}");
    }
    for token in &tokens {
        assert_eq!(store.redeem(token).await?, Verdict::Replayed, "{token:?}");
    }
    let thief = Redemption { user: Some("bob".into()), ..once("f", 1) };
    assert_eq!(store.redeem(&thief).await?, Verdict::Replayed);
    Ok(())
}

/// Of thirty-two who present the same epoch at once, one is told that it was accepted.
pub async fn concurrent_redeemers_spend_an_epoch_once(store: &dyn DynStore) -> Result<(), Error> {
    for epoch in 0..8 {
        let tokens = vec![once("f", epoch); 32];
        let verdicts = try_join_all(tokens.iter().map(|token| store.redeem(token))).await?;
        let accepted = verdicts.iter().filter(|verdict| **verdict == Verdict::Accepted).count();
        let replayed = verdicts.iter().filter(|verdict| **verdict == Verdict::Replayed).count();
        assert_eq!((accepted, replayed), (1, 31));
    }
    Ok(())
}

/// Not a moment before their expiry has passed: until then the token may be young enough to be presented.
pub async fn spent_epochs_are_forgotten_after_they_expire(store: &dyn DynStore) -> Result<(), Error> {
    store.redeem(&once("f", 1)).await?;
    for now in [at(0), at(59_999), at(60_000)] {
        sweep(store, now).await?;
        assert_eq!(store.redeem(&once("f", 1)).await?, Verdict::Replayed, "{now:?}");
    }
    sweep(store, at(60_001)).await?;
    assert_eq!(store.redeem(&once("f", 1)).await?, Verdict::Accepted);
    Ok(())
}

/// The token of the millisecond before is refused, that of the very millisecond is not.
pub async fn a_revocation_is_precise_to_the_millisecond(store: &dyn DynStore) -> Result<(), Error> {
    store.revoke(&"ann".into(), at(1_000)).await?;
    assert_eq!(store.redeem(&ann(at(0))).await?, Verdict::Revoked);
    assert_eq!(store.redeem(&ann(at(999))).await?, Verdict::Revoked);
    assert_eq!(store.redeem(&ann(at(1_000))).await?, Verdict::Accepted);
    assert_eq!(store.redeem(&ann(at(1_001))).await?, Verdict::Accepted);
    Ok(())
}

/// An earlier revocation that comes late changes nothing; a later one counts.
pub async fn a_revocation_never_moves_back(store: &dyn DynStore) -> Result<(), Error> {
    store.revoke(&"ann".into(), at(2_000)).await?;
    store.revoke(&"ann".into(), at(1_000)).await?;
    store.revoke(&"ann".into(), SystemTime::UNIX_EPOCH).await?;
    assert_eq!(store.redeem(&ann(at(1_999))).await?, Verdict::Revoked);
    assert_eq!(store.redeem(&ann(at(2_000))).await?, Verdict::Accepted);
    store.revoke(&"ann".into(), at(3_000)).await?;
    assert_eq!(store.redeem(&ann(at(2_999))).await?, Verdict::Revoked);
    Ok(())
}

/// The same revocation again revokes no more.
pub async fn revoking_twice_changes_nothing(store: &dyn DynStore) -> Result<(), Error> {
    for _ in 0..2 {
        store.revoke(&"ann".into(), at(1_000)).await?;
        assert_eq!(store.redeem(&ann(at(999))).await?, Verdict::Revoked);
        assert_eq!(store.redeem(&ann(at(1_000))).await?, Verdict::Accepted);
    }
    Ok(())
}

/// It stays revoked when it joins its first group, and nobody else is, known or not: names differ by case.
pub async fn a_user_never_seen_can_be_revoked(store: &dyn DynStore) -> Result<(), Error> {
    store.add(&owner("bob"), &"room".into()).await?;
    store.revoke(&"ann".into(), at(1_000)).await?;
    assert!(groups_of(store, &owner("ann")).await?.is_empty());
    store.add(&owner("ann"), &"room".into()).await?;
    assert_eq!(store.redeem(&ann(at(0))).await?, Verdict::Revoked);
    for user in [Some("Ann".into()), Some("bob".into()), Some("cid".into()), None] {
        assert_eq!(store.redeem(&Redemption { user, ..ann(at(0)) }).await?, Verdict::Accepted);
    }
    Ok(())
}

/// Revoked is what it is called however often it comes, and its epoch is still to be spent.
pub async fn a_revoked_token_is_not_spent(store: &dyn DynStore) -> Result<(), Error> {
    store.revoke(&"ann".into(), at(1_000)).await?;
    assert_eq!(store.redeem(&once("f", 1)).await?, Verdict::Revoked);
    assert_eq!(store.redeem(&once("f", 1)).await?, Verdict::Revoked);
    let fresh = Redemption { issued: at(1_000), ..once("f", 1) };
    assert_eq!(store.redeem(&fresh).await?, Verdict::Accepted);
    assert_eq!(store.redeem(&once("f", 1)).await?, Verdict::Revoked);
    Ok(())
}

/// Tokens are revoked, memberships are not.
pub async fn a_revoked_user_keeps_its_groups(store: &dyn DynStore) -> Result<(), Error> {
    store.add(&owner("ann"), &"room".into()).await?;
    store.revoke(&"ann".into(), at(1_000)).await?;
    assert_eq!(groups_of(store, &owner("ann")).await?, ["room"]);
    Ok(())
}
