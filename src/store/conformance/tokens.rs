//! Test cases for rejoin tokens: their single use and their revocation.
//!
//! They do not depend on the token format.
//! [`token_store_conformance!`](crate::token_store_conformance) lists the test cases. Each needs a new, empty store.

use std::time::{Duration, SystemTime};

use futures_util::future::try_join_all;

use super::at;
use crate::store::{DynTokenStore, Error, Holder, Redemption, TokenUse, Verdict};

pub(super) fn ann(issued_at: SystemTime) -> Redemption {
    Redemption { user: Some("ann".into()), issued_at, groups: Vec::new(), list_of: None, single_use: None }
}

/// A token that the connection `first` of node `alpha` uses.
fn single_use(family: &str, epoch: u64) -> Redemption {
    let (expires_at, holder) = (at(60_000), holder("first", "alpha"));
    let token_use = TokenUse { family: family.into(), epoch, expires_at, holder, ended: None };
    Redemption { single_use: Some(token_use), ..ann(at(0)) }
}

fn holder(connection: &str, node: &str) -> Holder {
    Holder { connection: connection.into(), node: node.into() }
}

/// The same token, used by another connection that knows that a previous holder has `ended`.
fn used_by(token: &Redemption, holder: Holder, ended: Option<Holder>) -> Redemption {
    let token_use = token.single_use.clone().map(|token_use| TokenUse { holder, ended, ..token_use });
    Redemption { single_use: token_use, ..token.clone() }
}

/// Lets the store delete the records that are expired at `now`.
async fn delete_expired(store: &dyn DynTokenStore, now: SystemTime) -> Result<(), Error> {
    store.delete_expired(now, Duration::from_secs(30), Duration::from_secs(60)).await
}

/// The token can be of a user, or anonymous.
pub async fn unrestricted_token_is_always_accepted(store: &dyn DynTokenStore) -> Result<(), Error> {
    for user in [Some("ann".into()), None] {
        let token = Redemption { user, ..ann(at(0)) };
        assert_eq!(store.redeem(&token).await?, Verdict::Accepted);
        assert_eq!(store.redeem(&token).await?, Verdict::Accepted);
    }
    Ok(())
}

/// No token, no answer.
pub async fn empty_batch_of_tokens_has_no_answers(store: &dyn DynTokenStore) -> Result<(), Error> {
    assert!(store.redeem_all(&[]).await?.is_empty());
    Ok(())
}

/// A token that is used up by an earlier one of the batch is refused.
pub async fn tokens_of_a_batch_apply_in_order(store: &dyn DynTokenStore) -> Result<(), Error> {
    store.redeem(&single_use("old", 5)).await?;
    store.revoke(&"eve".into(), at(1_000)).await?;
    let second = |token: &Redemption| used_by(token, holder("second", "beta"), None);
    let batch = [
        single_use("g", 1),
        Redemption { user: Some("eve".into()), ..single_use("e", 1) },
        second(&single_use("g", 1)),
        single_use("old", 4),
        second(&single_use("g", 3)),
        ann(at(0)),
        single_use("g", 2),
        single_use("f", 1),
    ];
    let expected = [
        Verdict::Accepted,
        Verdict::Revoked,
        Verdict::InUse(holder("first", "alpha")),
        Verdict::Replayed,
        Verdict::Accepted,
        Verdict::Accepted,
        Verdict::Replayed,
        Verdict::Accepted,
    ];
    assert_eq!(verdicts(store, &batch).await?, expected);
    assert_eq!(store.redeem(&single_use("g", 3)).await?, Verdict::InUse(holder("second", "beta")));
    assert_eq!(store.redeem(&single_use("e", 1)).await?, Verdict::Accepted, "the revoked one was not used");
    Ok(())
}

async fn verdicts(store: &dyn DynTokenStore, batch: &[Redemption]) -> Result<Vec<Verdict>, Error> {
    Ok(store.redeem_all(batch).await?.into_iter().map(|redeemed| redeemed.verdict).collect())
}

/// More tokens than a database binds variables in one statement.
pub async fn large_batch_of_tokens_is_answered(store: &dyn DynTokenStore) -> Result<(), Error> {
    let token =
        |number: u64| Redemption { user: Some(format!("user {number}").into()), ..single_use(&number.to_string(), 1) };
    let batch: Vec<_> = (0..7_000).map(token).collect();
    store.redeem(&batch[6_999]).await?;
    store.revoke(&"user 3".into(), at(1_000)).await?;
    let verdicts = verdicts(store, &batch).await?;
    assert_eq!(verdicts.len(), 7_000);
    assert_eq!((&verdicts[3], &verdicts[6_999]), (&Verdict::Revoked, &Verdict::InUse(holder("first", "alpha"))));
    assert_eq!(verdicts.iter().filter(|verdict| **verdict == Verdict::Accepted).count(), 6_998);
    Ok(())
}

/// Batches with the same tokens, in different orders, end: none waits for the other forever.
pub async fn concurrent_batches_accept_each_token_once(store: &dyn DynTokenStore) -> Result<(), Error> {
    let batch: Vec<_> = (0..100).map(|number| single_use(&number.to_string(), 1)).collect();
    let reversed: Vec<_> = batch.iter().rev().cloned().collect();
    let batches: Vec<_> = (0..8).map(|number| if number % 2 == 0 { &batch } else { &reversed }).collect();
    let answers = try_join_all(batches.iter().map(|batch| verdicts(store, batch))).await?;
    assert_eq!(answers.iter().flatten().filter(|verdict| **verdict == Verdict::Accepted).count(), 100);
    Ok(())
}

/// Each epoch of each family counts separately, up to the largest epoch, and for every presenter.
pub async fn epoch_can_be_used_once(store: &dyn DynTokenStore) -> Result<(), Error> {
    let anonymous = Redemption { user: None, ..single_use("anonymous", 1) };
    let tokens = [single_use("f", 0), single_use("F", 1), single_use("", 1), single_use("g", u64::MAX), anonymous];
    for token in &tokens {
        assert_eq!(store.redeem(token).await?, Verdict::Accepted, "{token:?}");
    }
    let in_use = Verdict::InUse(holder("first", "alpha"));
    for token in &tokens {
        assert_eq!(store.redeem(token).await?, in_use, "{token:?}");
        assert_eq!(store.redeem(&used_by(token, holder("second", "beta"), None)).await?, in_use, "{token:?}");
    }
    let thief = Redemption { user: Some("bob".into()), ..single_use("f", 0) };
    assert_eq!(store.redeem(&thief).await?, in_use);
    Ok(())
}

/// The use of a later epoch, by any connection of any node, ends all earlier ones, used or not.
pub async fn earlier_epoch_is_never_accepted_again(store: &dyn DynTokenStore) -> Result<(), Error> {
    let (first, last) = (holder("first", "alpha"), holder("last", "beta"));
    store.redeem(&single_use("f", 1)).await?;
    assert_eq!(store.redeem(&used_by(&single_use("f", u64::MAX), last.clone(), None)).await?, Verdict::Accepted);
    for ended in [None, Some(first.clone()), Some(last)] {
        for epoch in [0, 1, 2] {
            let again = used_by(&single_use("f", epoch), holder("thief", "alpha"), ended.clone());
            assert_eq!(store.redeem(&again).await?, Verdict::Replayed, "{again:?}");
        }
    }
    store.release_holders(&first.node, &[first.connection]).await?;
    assert_eq!(store.redeem(&single_use("f", 1)).await?, Verdict::Replayed);
    Ok(())
}

/// Only from the connection that holds it.
pub async fn token_is_taken_over_from_ended_holder(store: &dyn DynTokenStore) -> Result<(), Error> {
    let [first, second, third] = [("first", "alpha"), ("second", "beta"), ("third", "beta")].map(|(c, n)| holder(c, n));
    let token = single_use("f", 1);
    store.redeem(&token).await?;
    let refused = used_by(&token, second.clone(), Some(third.clone()));
    assert_eq!(store.redeem(&refused).await?, Verdict::InUse(first.clone()));
    let taken = used_by(&token, second.clone(), Some(first.clone()));
    assert_eq!(store.redeem(&taken).await?, Verdict::Accepted);
    assert_eq!(store.redeem(&used_by(&token, third, Some(first))).await?, Verdict::InUse(second));
    Ok(())
}

/// Only the node of a connection can report its end.
pub async fn released_holder_no_longer_holds_its_token(store: &dyn DynTokenStore) -> Result<(), Error> {
    let (token, ended) = (single_use("f", 1), ["first".into()]);
    store.redeem(&token).await?;
    store.release_holders(&"beta".into(), &ended).await?;
    assert_eq!(store.redeem(&token).await?, Verdict::InUse(holder("first", "alpha")));
    store.release_holders(&"alpha".into(), &ended).await?;
    let second = used_by(&token, holder("second", "beta"), None);
    assert_eq!(store.redeem(&second).await?, Verdict::Accepted);
    store.release_holders(&"alpha".into(), &ended).await?;
    assert_eq!(store.redeem(&token).await?, Verdict::InUse(holder("second", "beta")));
    Ok(())
}

/// Of thirty-two concurrent redemptions of the same epoch, exactly one is accepted.
pub async fn concurrent_redemptions_of_an_epoch_accept_one(store: &dyn DynTokenStore) -> Result<(), Error> {
    for epoch in 0..8 {
        let tokens = vec![single_use("f", epoch); 32];
        let verdicts = try_join_all(tokens.iter().map(|token| store.redeem(token))).await?;
        let accepted = verdicts.iter().filter(|verdict| **verdict == Verdict::Accepted).count();
        let in_use = verdicts.iter().filter(|verdict| matches!(verdict, Verdict::InUse(_))).count();
        assert_eq!((accepted, in_use), (1, 31));
    }
    Ok(())
}

/// Of thirty-two connections that take a token over from the same ended holder, exactly one succeeds.
pub async fn concurrent_takeovers_accept_one(store: &dyn DynTokenStore) -> Result<(), Error> {
    let (token, ended) = (single_use("f", 1), Some(holder("first", "alpha")));
    store.redeem(&token).await?;
    let takeover = |n: u32| used_by(&token, holder(&format!("connection {n}"), "beta"), ended.clone());
    let takeovers: Vec<_> = (0..32).map(takeover).collect();
    let verdicts = try_join_all(takeovers.iter().map(|token| store.redeem(token))).await?;
    assert_eq!(verdicts.iter().filter(|verdict| **verdict == Verdict::Accepted).count(), 1);
    Ok(())
}

/// A use is kept until its expiry has passed, because the token is valid until then.
pub async fn token_uses_are_deleted_after_expiry(store: &dyn DynTokenStore) -> Result<(), Error> {
    store.redeem(&single_use("f", 1)).await?;
    for now in [at(0), at(59_999), at(60_000)] {
        delete_expired(store, now).await?;
        assert!(matches!(store.redeem(&single_use("f", 1)).await?, Verdict::InUse(_)), "{now:?}");
    }
    delete_expired(store, at(60_001)).await?;
    assert_eq!(store.redeem(&single_use("f", 1)).await?, Verdict::Accepted);
    Ok(())
}

/// The clock by which uses expire follows the slowest node, also while the fast one calls more often.
pub async fn node_with_fast_clock_deletes_no_valid_use(store: &dyn DynTokenStore) -> Result<(), Error> {
    let (term, day) = (Duration::from_secs(1), Duration::from_secs(25 * 60 * 60));
    store.redeem(&single_use("f", 1)).await?;
    for second in 0..30 {
        let now = at(second * 1_000);
        store.delete_expired(now, term, term).await?;
        for _ in 0..3 {
            store.delete_expired(now + day, term, term).await?;
        }
        assert!(matches!(store.redeem(&single_use("f", 1)).await?, Verdict::InUse(_)), "{second} s");
    }
    Ok(())
}

/// A revocation is kept until the last of its tokens has expired, and then deleted. Nodes with a shorter lifetime of tokens
/// do not shorten that.
pub async fn revocations_are_deleted_after_their_tokens(store: &dyn DynTokenStore) -> Result<(), Error> {
    let term = Duration::from_secs(30);
    store.revoke(&"ann".into(), at(1_000)).await?;
    for now in [at(0), at(30_000), at(59_999), at(60_999)] {
        delete_expired(store, now).await?;
        store.delete_expired(now, term, Duration::from_secs(1)).await?;
        assert_eq!(store.redeem(&ann(at(999))).await?, Verdict::Revoked, "{now:?}");
    }
    store.delete_expired(at(61_001), term, Duration::from_secs(1)).await?;
    assert_eq!(store.redeem(&ann(at(999))).await?, Verdict::Accepted);
    store.revoke(&"ann".into(), at(61_000)).await?;
    assert_eq!(store.redeem(&ann(at(60_999))).await?, Verdict::Revoked);
    Ok(())
}

/// A token issued a millisecond before the revocation time is refused; a token issued at that millisecond is accepted.
pub async fn revocation_is_precise_to_the_millisecond(store: &dyn DynTokenStore) -> Result<(), Error> {
    store.revoke(&"ann".into(), at(1_000)).await?;
    assert_eq!(store.redeem(&ann(at(0))).await?, Verdict::Revoked);
    assert_eq!(store.redeem(&ann(at(999))).await?, Verdict::Revoked);
    assert_eq!(store.redeem(&ann(at(1_000))).await?, Verdict::Accepted);
    assert_eq!(store.redeem(&ann(at(1_001))).await?, Verdict::Accepted);
    Ok(())
}

/// A call with an earlier time changes nothing; a call with a later time does.
pub async fn revocation_time_never_moves_back(store: &dyn DynTokenStore) -> Result<(), Error> {
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
pub async fn repeated_revocation_changes_nothing(store: &dyn DynTokenStore) -> Result<(), Error> {
    for _ in 0..2 {
        store.revoke(&"ann".into(), at(1_000)).await?;
        assert_eq!(store.redeem(&ann(at(999))).await?, Verdict::Revoked);
        assert_eq!(store.redeem(&ann(at(1_000))).await?, Verdict::Accepted);
    }
    Ok(())
}

/// Other users are not revoked, even if only the case differs.
pub async fn unknown_user_can_be_revoked(store: &dyn DynTokenStore) -> Result<(), Error> {
    store.revoke(&"ann".into(), at(1_000)).await?;
    assert_eq!(store.redeem(&ann(at(0))).await?, Verdict::Revoked);
    for user in [Some("Ann".into()), Some("bob".into()), Some("cid".into()), None] {
        assert_eq!(store.redeem(&Redemption { user, ..ann(at(0)) }).await?, Verdict::Accepted);
    }
    Ok(())
}

/// A revoked token is reported as revoked each time, and its epoch stays unused.
pub async fn revoked_token_is_not_used_up(store: &dyn DynTokenStore) -> Result<(), Error> {
    store.revoke(&"ann".into(), at(1_000)).await?;
    assert_eq!(store.redeem(&single_use("f", 1)).await?, Verdict::Revoked);
    assert_eq!(store.redeem(&single_use("f", 1)).await?, Verdict::Revoked);
    let fresh = Redemption { issued_at: at(1_000), ..single_use("f", 1) };
    assert_eq!(store.redeem(&fresh).await?, Verdict::Accepted);
    assert_eq!(store.redeem(&single_use("f", 1)).await?, Verdict::Revoked);
    Ok(())
}
