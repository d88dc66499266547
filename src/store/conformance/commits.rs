//! Test cases for a database that refuses a COMMIT: the call fails without an effect, and each later call that
//! succeeds is durable.
//!
//! A database can end a transaction by itself, for example on a full disk. A store that continues to use the connection
//! of that transaction, and rolls back once more on it, may acknowledge changes that it never stores. A second store on
//! the same data shows whether a change is stored, because a connection also sees its own uncommitted changes.
//! [`store_commit_conformance!`](crate::store_commit_conformance) lists the test cases. Each needs new, empty data.

use std::{future::poll_fn, pin::pin, task::Poll, time::Duration};

use super::{at, groups_of, owner, process, renew};
use crate::ids::GroupKey;
use crate::store::{
    Change, DynStore, Error, Holder, Lease, LeaseChange, MembershipChange, MembershipOp, Node, Owner, Redemption,
    StoreFuture, TokenUse, Verdict,
};

/// A store whose commits can be made to fail, and a second store on the same data.
pub trait CommitFaults: Send + Sync {
    /// The store under test.
    fn store(&self) -> &dyn DynStore;

    /// Another store on the same data that shares no connection with the first.
    fn witness(&self) -> &dyn DynStore;

    /// Makes the database itself refuse the next COMMIT of the store under test, once.
    fn fail_next_commit(&self) -> StoreFuture<'_, ()>;
}

/// Generates a test for every test case of [`commits`](crate::store::conformance::commits). The expression creates a
/// [`CommitFaults`](crate::store::conformance::commits::CommitFaults) and may await.
///
/// The tests run on tokio, so the calling crate needs tokio with the features `macros` and `rt`.
#[macro_export]
macro_rules! store_commit_conformance {
    ($faults:expr) => {
        $crate::store_conformance! { @cases commits $faults =>
            writes_after_failed_addition_are_stored
            failed_batch_changes_nothing
            writes_after_failed_removal_are_stored
            writes_after_failed_lease_are_stored
            writes_after_failed_renewal_are_stored
            writes_after_failed_redemption_are_stored
            writes_after_failed_revocation_are_stored
            writes_after_failed_group_revocation_are_stored
        }
    };
}

const TERM: Duration = Duration::from_secs(30);

/// More than the connections of a usual pool, so that each of them is used again.
const ROUNDS: usize = 11;

/// Fewer than a call needs, so that no call completes.
const MAX_STEPS: usize = 8;

fn node(id: &str, incarnation: &str) -> Node {
    Node { id: id.into(), incarnation: incarnation.into(), process: process("one") }
}

fn opened(connection: &str) -> [LeaseChange; 1] {
    let (user_agent, transport) = ("agent".into(), "webSockets".into());
    [LeaseChange::Opened(Lease { connection: connection.into(), user: None, user_agent, transport, since: at(0) })]
}

/// A token of `user` that `connection` presents.
fn token(user: &str, connection: &str) -> Redemption {
    let holder = Holder { connection: connection.into(), node: "alpha".into() };
    let single_use = TokenUse { family: user.into(), epoch: 1, expires_at: at(60_000), holder, ended: None };
    Redemption {
        user: Some(user.into()),
        issued_at: at(0),
        groups: Vec::new(),
        list_of: None,
        single_use: Some(single_use),
    }
}

async fn fail<T>(faults: &dyn CommitFaults, call: StoreFuture<'_, T>) -> Result<(), Error> {
    faults.fail_next_commit().await?;
    assert!(matches!(call.await, Err(Error::Unavailable(_))), "the COMMIT has failed");
    Ok(())
}

/// Drops calls at different points, so that each connection of the store rolls a transaction back.
async fn drop_calls(store: &dyn DynStore) {
    let owner = owner("dropped");
    for call in 0..ROUNDS * MAX_STEPS {
        let (steps, group) = (call / ROUNDS, call.to_string().into());
        poll_then_drop(store.add(&owner, &group), steps).await;
    }
}

/// Polls a call `steps` times, each time when it is woken, and then drops it.
pub(crate) async fn poll_then_drop(call: impl Future, mut steps: usize) {
    let mut call = pin!(call);
    poll_fn(|context| match steps.checked_sub(1) {
        None => Poll::Ready(()),
        Some(left) => {
            steps = left;
            call.as_mut().poll(context).map(drop)
        }
    })
    .await;
}

/// Uses each writing method after calls that were dropped, and checks through the witness that its effect is stored.
async fn check_later_writes(faults: &dyn CommitFaults) -> Result<(), Error> {
    let (store, witness) = (faults.store(), faults.witness());
    drop_calls(store).await;
    for round in 0..ROUNDS {
        let name = format!("later {round}");
        let (later, room) = (owner(&name), "room".into());
        assert_eq!(store.add(&later, &room).await?, Change::Applied);
        assert_eq!(groups_of(witness, &later).await?, ["room"], "added in round {round}");
        assert_eq!(store.remove(&later, &room).await?, Change::Applied);
        assert!(groups_of(witness, &later).await?.is_empty(), "removed in round {round}");
        assert_eq!(store.redeem(&token(&name, "a")).await?, Verdict::Accepted);
        let second = witness.redeem(&token(&name, "b")).await?;
        assert!(matches!(second, Verdict::InUse(_)), "redeemed in round {round}: {second:?}");
        store.revoke(&later.user, at(1)).await?;
        assert_eq!(witness.redeem(&token(&name, "b")).await?, Verdict::Revoked, "revoked in round {round}");
        renew(store, &node(&name, "1"), at(0), TERM).await?;
        store.lease(&node(&name, "1"), &opened(&name)).await?;
        assert_eq!(renew(witness, &node(&name, "2"), at(1), TERM).await?, 1, "leased in round {round}");
    }
    Ok(())
}

/// The member is not stored, and can be added afterwards.
pub async fn writes_after_failed_addition_are_stored(faults: &dyn CommitFaults) -> Result<(), Error> {
    let (ann, room) = (owner("ann"), "room".into());
    fail(faults, faults.store().add(&ann, &room)).await?;
    assert!(groups_of(faults.witness(), &ann).await?.is_empty());
    assert_eq!(faults.store().add(&ann, &room).await?, Change::Applied);
    assert_eq!(groups_of(faults.witness(), &ann).await?, ["room"]);
    check_later_writes(faults).await
}

/// None of the changes is stored.
pub async fn failed_batch_changes_nothing(faults: &dyn CommitFaults) -> Result<(), Error> {
    let owners = ["ann", "bob"].map(owner);
    faults.store().add(&owners[1], &"room".into()).await?;
    let [added, removed] = [MembershipOp::Add, MembershipOp::Remove];
    let change =
        |(owner, op): (&Owner, MembershipOp)| MembershipChange { owner: owner.clone(), group: "room".into(), op };
    let changes = [(&owners[0], added), (&owners[1], removed)].map(change);
    fail(faults, faults.store().apply(&changes)).await?;
    assert!(groups_of(faults.witness(), &owners[0]).await?.is_empty());
    assert_eq!(groups_of(faults.witness(), &owners[1]).await?, ["room"]);
    assert_eq!(faults.store().apply(&changes).await?, [Change::Applied; 2]);
    Ok(())
}

/// The member stays, and can be removed afterwards.
pub async fn writes_after_failed_removal_are_stored(faults: &dyn CommitFaults) -> Result<(), Error> {
    let (ann, room) = (owner("ann"), "room".into());
    faults.store().add(&ann, &room).await?;
    fail(faults, faults.store().remove(&ann, &room)).await?;
    assert_eq!(groups_of(faults.witness(), &ann).await?, ["room"]);
    assert_eq!(faults.store().remove(&ann, &room).await?, Change::Applied);
    assert!(groups_of(faults.witness(), &ann).await?.is_empty());
    check_later_writes(faults).await
}

/// The lease is not stored.
pub async fn writes_after_failed_lease_are_stored(faults: &dyn CommitFaults) -> Result<(), Error> {
    let alpha = node("alpha", "1");
    faults.store().renew(&alpha, at(0), TERM).await?;
    fail(faults, faults.store().lease(&alpha, &opened("a"))).await?;
    assert_eq!(renew(faults.witness(), &node("alpha", "2"), at(1), TERM).await?, 0);
    check_later_writes(faults).await
}

/// The node is not renewed: its connections are deleted as those of an expired node.
pub async fn writes_after_failed_renewal_are_stored(faults: &dyn CommitFaults) -> Result<(), Error> {
    let alpha = node("alpha", "1");
    faults.store().renew(&alpha, at(0), TERM).await?;
    faults.store().lease(&alpha, &opened("a")).await?;
    fail(faults, faults.store().renew(&alpha, at(29_000), TERM)).await?;
    assert_eq!(renew(faults.witness(), &node("beta", "1"), at(30_000), TERM).await?, 1);
    check_later_writes(faults).await
}

/// The token is not used.
pub async fn writes_after_failed_redemption_are_stored(faults: &dyn CommitFaults) -> Result<(), Error> {
    fail(faults, faults.store().redeem(&token("ann", "a"))).await?;
    assert_eq!(faults.witness().redeem(&token("ann", "b")).await?, Verdict::Accepted);
    assert!(matches!(faults.store().redeem(&token("ann", "a")).await?, Verdict::InUse(_)));
    check_later_writes(faults).await
}

/// The token is not revoked.
pub async fn writes_after_failed_revocation_are_stored(faults: &dyn CommitFaults) -> Result<(), Error> {
    fail(faults, faults.store().revoke(&"ann".into(), at(1))).await?;
    assert_eq!(faults.witness().redeem(&token("ann", "b")).await?, Verdict::Accepted);
    check_later_writes(faults).await
}

/// The group is not revoked.
pub async fn writes_after_failed_group_revocation_are_stored(faults: &dyn CommitFaults) -> Result<(), Error> {
    let lobby = GroupKey::new(&"chat".into(), &"lobby".into());
    fail(faults, faults.store().revoke_group(&lobby, at(1))).await?;
    let redemption = Redemption { groups: vec![lobby], ..token("ann", "a") };
    let answers = faults.witness().redeem_all(&[redemption]).await?;
    assert_eq!(answers[0].verdict, Verdict::Accepted);
    assert!(answers[0].revoked_groups.is_empty());
    check_later_writes(faults).await
}
