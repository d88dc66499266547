//! Test cases for the revocation of groups in rejoin tokens.
//!
//! [`token_store_conformance!`](crate::token_store_conformance) lists the test cases. Each needs a new, empty store.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use futures_util::future::try_join_all;

use super::{at, tokens::ann};
use crate::{
    ids::GroupKey,
    store::{DynTokenStore, Error, Redemption, Verdict},
};

fn key(hub: &str, name: &str) -> Arc<GroupKey> {
    GroupKey::new(&hub.into(), &name.into())
}

/// A token that was issued at that time and restores these groups.
fn token(issued_at: SystemTime, groups: &[Arc<GroupKey>]) -> Redemption {
    Redemption { groups: groups.to_vec(), ..ann(issued_at) }
}

/// The groups of an accepted token that are revoked.
async fn revoked(
    store: &dyn DynTokenStore,
    issued_at: SystemTime,
    groups: &[Arc<GroupKey>],
) -> Result<Vec<Arc<GroupKey>>, Error> {
    let mut redeemed = store.redeem_all(&[token(issued_at, groups)]).await?;
    assert_eq!(redeemed.len(), 1, "one answer for one token");
    assert_eq!(redeemed[0].verdict, Verdict::Accepted);
    Ok(redeemed.remove(0).revoked_groups)
}

/// A token issued a millisecond before the revocation does not restore the group; one issued at that millisecond does. The
/// token is accepted, and its other groups are not concerned.
pub async fn revoked_group_is_named_to_the_millisecond(store: &dyn DynTokenStore) -> Result<(), Error> {
    let (lobby, home) = (key("chat", "lobby"), key("chat", "home"));
    let groups = [Arc::clone(&home), Arc::clone(&lobby)];
    assert!(revoked(store, at(999), &groups).await?.is_empty());
    store.revoke_group(&lobby, at(1_000)).await?;
    assert_eq!(revoked(store, at(0), &groups).await?, [Arc::clone(&lobby)]);
    assert_eq!(revoked(store, at(999), &groups).await?, [lobby]);
    assert!(revoked(store, at(1_000), &groups).await?.is_empty());
    assert!(revoked(store, at(0), &[home]).await?.is_empty());
    Ok(())
}

/// The same name on another hub, or in another case, is another group.
pub async fn other_groups_are_not_revoked(store: &dyn DynTokenStore) -> Result<(), Error> {
    let groups =
        [key("chat", "lobby"), key("news", "lobby"), key("chat", "Lobby"), key("chat", ""), key("", "chat.lobby")];
    for group in &groups {
        store.revoke_group(group, at(1_000)).await?;
        assert_eq!(revoked(store, at(999), std::slice::from_ref(group)).await?, [Arc::clone(group)]);
        store.revoke_group(group, at(2_000)).await?;
    }
    for group in &groups[1..] {
        store.revoke_group(group, at(3_000)).await?;
    }
    assert_eq!(revoked(store, at(2_500), &groups).await?, groups[1..]);
    Ok(())
}

/// A call with an earlier time changes nothing; a call with a later time does. Both can be repeated.
pub async fn group_revocation_never_moves_back(store: &dyn DynTokenStore) -> Result<(), Error> {
    let lobby = [key("chat", "lobby")];
    for (before, last) in [(2_000, 1_999), (1_000, 1_999), (0, 1_999), (2_000, 1_999), (3_000, 2_999)] {
        store.revoke_group(&lobby[0], at(before)).await?;
        assert_eq!(revoked(store, at(last), &lobby).await?, lobby, "{before}");
        assert!(revoked(store, at(last + 1), &lobby).await?.is_empty(), "{before}");
    }
    Ok(())
}

/// Tokens of one batch have their own groups and times of issue.
pub async fn tokens_of_a_batch_have_their_own_groups(store: &dyn DynTokenStore) -> Result<(), Error> {
    let (lobby, home) = (key("chat", "lobby"), key("chat", "home"));
    store.revoke_group(&lobby, at(1_000)).await?;
    store.revoke_group(&home, at(2_000)).await?;
    let both = [Arc::clone(&lobby), Arc::clone(&home)];
    let batch = [
        token(at(0), &both),
        token(at(1_500), &both),
        token(at(0), &both[..1]),
        token(at(0), &[]),
        token(at(2_000), &both),
    ];
    let answers = store.redeem_all(&batch).await?;
    let revoked: Vec<_> = answers.into_iter().map(|redeemed| redeemed.revoked_groups).collect();
    assert_eq!(revoked, [both.to_vec(), vec![home], vec![lobby], Vec::new(), Vec::new()]);
    Ok(())
}

/// A token of a revoked user restores nothing, so its groups are not named.
pub async fn refused_token_has_no_revoked_groups(store: &dyn DynTokenStore) -> Result<(), Error> {
    let lobby = key("chat", "lobby");
    store.revoke_group(&lobby, at(1_000)).await?;
    store.revoke(&"ann".into(), at(1_000)).await?;
    let answers = store.redeem_all(&[token(at(0), &[Arc::clone(&lobby)])]).await?;
    assert_eq!(answers[0].verdict, Verdict::Revoked);
    assert!(answers[0].revoked_groups.is_empty());
    Ok(())
}

/// Many groups can be revoked, and a token can have many groups.
pub async fn many_revoked_groups_are_found(store: &dyn DynTokenStore) -> Result<(), Error> {
    let groups: Vec<_> =
        (0..2_400).map(|number| key(["chat", "news"][number % 2], &format!("room {number}"))).collect();
    for batch in groups[..150].chunks(50) {
        try_join_all(batch.iter().map(|group| store.revoke_group(group, at(1_000)))).await?;
    }
    assert_eq!(revoked(store, at(0), &groups).await?, groups[..150]);
    assert_eq!(revoked(store, at(0), &groups[149..151]).await?, groups[149..150]);
    assert!(revoked(store, at(1_000), &groups).await?.is_empty());
    Ok(())
}

/// A revocation is kept until the last of its tokens has expired, and then deleted.
pub async fn group_revocations_are_deleted_after_their_tokens(store: &dyn DynTokenStore) -> Result<(), Error> {
    let (lobby, term) = ([key("chat", "lobby")], Duration::from_secs(30));
    store.revoke_group(&lobby[0], at(1_000)).await?;
    for now in [at(0), at(30_000), at(60_000), at(61_000)] {
        store.delete_expired(now, term, Duration::from_secs(60)).await?;
        assert_eq!(revoked(store, at(999), &lobby).await?, lobby, "{now:?}");
    }
    store.delete_expired(at(61_001), term, Duration::from_secs(60)).await?;
    assert!(revoked(store, at(999), &lobby).await?.is_empty());
    Ok(())
}
