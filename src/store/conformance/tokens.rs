//! Test cases for rejoin tokens: their single use and their revocation.
//!
//! They cover the methods `redeem` and `revoke`, and the cleanup in `renew`. They do not depend on the token format.
//! [`store_conformance!`](crate::store_conformance) lists the test cases. Each needs a new, empty store.

use std::time::{Duration, SystemTime};

use futures_util::future::try_join_all;

use super::{at, groups_of, owner};
use crate::store::{DynStore, Error, Node, Redemption, TokenUse, Verdict};

fn ann(issued_at: SystemTime) -> Redemption {
    Redemption { user: Some("ann".into()), issued_at, single_use: None }
}

fn single_use(family: &str, epoch: u64) -> Redemption {
    let token_use = TokenUse { family: family.into(), epoch, expires_at: at(60_000) };
    Redemption { single_use: Some(token_use), ..ann(at(0)) }
}

/// Lets the store delete the records that are expired at `now`.
async fn delete_expired(store: &dyn DynStore, now: SystemTime) -> Result<(), Error> {
    let node = Node { id: "alpha".into(), incarnation: "1".into() };
    store.renew(&node, now, Duration::from_secs(30)).await.map(drop)
}

/// The token can be of a known user, of an unknown user, or anonymous.
pub async fn unrestricted_token_is_always_accepted(store: &dyn DynStore) -> Result<(), Error> {
    store.add(&owner("ann"), &"room".into()).await?;
    for user in [Some("ann".into()), Some("bob".into()), None] {
        let token = Redemption { user, ..ann(at(0)) };
        assert_eq!(store.redeem(&token).await?, Verdict::Accepted);
        assert_eq!(store.redeem(&token).await?, Verdict::Accepted);
    }
    Ok(())
}

/// Each epoch of each family counts separately, up to the largest epoch, and for every presenter.
pub async fn epoch_can_be_used_once(store: &dyn DynStore) -> Result<(), Error> {
    let anonymous = Redemption { user: None, ..single_use("anonymous", 1) };
    let tokens = [
        single_use("f", 0),
        single_use("f", 1),
        single_use("F", 1),
        single_use("", 1),
        single_use("f", u64::MAX),
        anonymous,
    ];
    for token in &tokens {
        assert_eq!(store.redeem(token).await?, Verdict::Accepted, "{token:?}");
    }
    for token in &tokens {
        assert_eq!(store.redeem(token).await?, Verdict::Replayed, "{token:?}");
    }
    let thief = Redemption { user: Some("bob".into()), ..single_use("f", 1) };
    assert_eq!(store.redeem(&thief).await?, Verdict::Replayed);
    Ok(())
}

/// Of thirty-two concurrent redemptions of the same epoch, exactly one is accepted.
pub async fn concurrent_redemptions_of_an_epoch_accept_one(store: &dyn DynStore) -> Result<(), Error> {
    for epoch in 0..8 {
        let tokens = vec![single_use("f", epoch); 32];
        let verdicts = try_join_all(tokens.iter().map(|token| store.redeem(token))).await?;
        let accepted = verdicts.iter().filter(|verdict| **verdict == Verdict::Accepted).count();
        let replayed = verdicts.iter().filter(|verdict| **verdict == Verdict::Replayed).count();
        assert_eq!((accepted, replayed), (1, 31));
    }
    Ok(())
}

/// A use is kept until its expiry has passed, because the token is valid until then.
pub async fn token_uses_are_deleted_after_expiry(store: &dyn DynStore) -> Result<(), Error> {
    store.redeem(&single_use("f", 1)).await?;
    for now in [at(0), at(59_999), at(60_000)] {
        delete_expired(store, now).await?;
        assert_eq!(store.redeem(&single_use("f", 1)).await?, Verdict::Replayed, "{now:?}");
    }
    delete_expired(store, at(60_001)).await?;
    assert_eq!(store.redeem(&single_use("f", 1)).await?, Verdict::Accepted);
    Ok(())
}

/// A token issued a millisecond before the revocation time is refused; a token issued at that millisecond is accepted.
pub async fn revocation_is_precise_to_the_millisecond(store: &dyn DynStore) -> Result<(), Error> {
    store.revoke(&"ann".into(), at(1_000)).await?;
    assert_eq!(store.redeem(&ann(at(0))).await?, Verdict::Revoked);
    assert_eq!(store.redeem(&ann(at(999))).await?, Verdict::Revoked);
    assert_eq!(store.redeem(&ann(at(1_000))).await?, Verdict::Accepted);
    assert_eq!(store.redeem(&ann(at(1_001))).await?, Verdict::Accepted);
    Ok(())
}

/// A call with an earlier time changes nothing; a call with a later time does.
pub async fn revocation_time_never_moves_back(store: &dyn DynStore) -> Result<(), Error> {
    store.revoke(&"ann".into(), at(2_000)).await?;
    store.revoke(&"ann".into(), at(1_000)).await?;
    store.revoke(&"ann".into(), SystemTime::UNIX_EPOCH).await?;
    assert_eq!(store.redeem(&ann(at(1_999))).await?, Verdict::Revoked);
    assert_eq!(store.redeem(&ann(at(2_000))).await?, Verdict::Accepted);
    store.revoke(&"ann".into(), at(3_000)).await?;
    assert_eq!(store.redeem(&ann(at(2_999))).await?, Verdict::Revoked);
    Ok(())
}

/// Repeating a revocation revokes no further tokens.
pub async fn repeated_revocation_changes_nothing(store: &dyn DynStore) -> Result<(), Error> {
    for _ in 0..2 {
        store.revoke(&"ann".into(), at(1_000)).await?;
        assert_eq!(store.redeem(&ann(at(999))).await?, Verdict::Revoked);
        assert_eq!(store.redeem(&ann(at(1_000))).await?, Verdict::Accepted);
    }
    Ok(())
}

/// The revocation stays when the user joins a first group. Other users are not revoked, even if only the case differs.
pub async fn unknown_user_can_be_revoked(store: &dyn DynStore) -> Result<(), Error> {
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

/// A revoked token is reported as revoked each time, and its epoch stays unused.
pub async fn revoked_token_is_not_used_up(store: &dyn DynStore) -> Result<(), Error> {
    store.revoke(&"ann".into(), at(1_000)).await?;
    assert_eq!(store.redeem(&single_use("f", 1)).await?, Verdict::Revoked);
    assert_eq!(store.redeem(&single_use("f", 1)).await?, Verdict::Revoked);
    let fresh = Redemption { issued_at: at(1_000), ..single_use("f", 1) };
    assert_eq!(store.redeem(&fresh).await?, Verdict::Accepted);
    assert_eq!(store.redeem(&single_use("f", 1)).await?, Verdict::Revoked);
    Ok(())
}

/// A revocation does not end memberships.
pub async fn revoked_user_keeps_its_groups(store: &dyn DynStore) -> Result<(), Error> {
    store.add(&owner("ann"), &"room".into()).await?;
    store.revoke(&"ann".into(), at(1_000)).await?;
    assert_eq!(groups_of(store, &owner("ann")).await?, ["room"]);
    Ok(())
}
