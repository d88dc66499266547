//! Test cases for a store that keeps all durable state: its parts do not disturb each other.
//!
//! [`store_conformance!`](crate::store_conformance) lists the test cases. Each needs a new, empty store.

use super::{
    at, groups_of,
    leases::{TERM, left_by, node, opened},
    owner, renew,
    tokens::ann,
};
use crate::store::{Change, DynStore, Error, Lease, LeaseChange, Redemption, Verdict};

/// The connection can be anonymous, or of a user without a record. Opening its lease creates no record of the user.
pub async fn lease_needs_no_known_user(store: &dyn DynStore) -> Result<(), Error> {
    let alpha = node("alpha", "1");
    renew(store, &alpha, at(0), TERM).await?;
    let LeaseChange::Opened(lease) = opened("anonymous") else { return Ok(()) };
    store.lease(&alpha, &[LeaseChange::Opened(Lease { user: None, ..lease }), opened("a")]).await?;
    assert_eq!(store.add(&owner("ann"), &"room".into()).await?, Change::Applied);
    assert_eq!(left_by(store, "alpha").await?, 2);
    Ok(())
}

/// The revocation stays when the user joins a first group and leaves the last one.
pub async fn revocation_outlasts_memberships(store: &dyn DynStore) -> Result<(), Error> {
    store.add(&owner("bob"), &"room".into()).await?;
    store.revoke(&"ann".into(), at(1_000)).await?;
    assert!(groups_of(store, &owner("ann")).await?.is_empty());
    store.add(&owner("ann"), &"room".into()).await?;
    assert_eq!(store.redeem(&ann(at(0))).await?, Verdict::Revoked);
    store.remove(&owner("ann"), &"room".into()).await?;
    assert_eq!(store.redeem(&ann(at(0))).await?, Verdict::Revoked);
    assert_eq!(store.redeem(&Redemption { user: Some("bob".into()), ..ann(at(0)) }).await?, Verdict::Accepted);
    Ok(())
}

/// A revocation does not end memberships.
pub async fn revoked_user_keeps_its_groups(store: &dyn DynStore) -> Result<(), Error> {
    store.add(&owner("ann"), &"room".into()).await?;
    store.revoke(&"ann".into(), at(1_000)).await?;
    assert_eq!(groups_of(store, &owner("ann")).await?, ["room"]);
    Ok(())
}
