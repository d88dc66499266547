//! Tests of renewals that find more rows than one of them closes or deletes.

use super::*;
use crate::store::{
    CLOSED_LEASE_TERM, Lease,
    sea::{closing::MAX_CLOSED_PER_RENEWAL, expiry::MAX_DELETED, nodes::MAX_EXPIRED},
};

const TERM: Duration = Duration::from_secs(30);

/// More than the limit.
const EXCESS: usize = 2_000;

async fn renew(store: &SeaStore, node: &Node, now: SystemTime) -> u64 {
    match store.renew(node, now, TERM).await.unwrap() {
        Renewal::Renewed { closed, .. } => closed,
        Renewal::Held(lease) => panic!("held by {lease:?}"),
    }
}

fn opened(connection: usize, since: SystemTime) -> LeaseChange {
    let (user_agent, transport) = ("agent".into(), "webSockets".into());
    LeaseChange::Opened(Lease {
        connection: connection.to_string().into(),
        user: Some("ann".into()),
        user_agent,
        transport,
        since,
    })
}

#[tokio::test]
async fn renewals_share_a_large_number_of_leases() {
    let store = SeaStore::connect("sqlite::memory:").await.unwrap();
    let process = Process::current();
    let [alpha, beta] =
        ["alpha", "beta"].map(|id| Node { id: id.into(), incarnation: "1".into(), process: process.clone() });
    let start = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    renew(&store, &alpha, start).await;
    let leases: Vec<_> = (0..MAX_CLOSED_PER_RENEWAL + EXCESS).map(|number| opened(number, start)).collect();
    store.lease(&alpha, &leases).await.unwrap();
    let later = start + TERM * 2;
    assert_eq!(renew(&store, &beta, later).await, MAX_CLOSED_PER_RENEWAL as u64);
    assert_eq!(store.nodes().await.unwrap(), 2, "alpha has open leases");
    assert!(store.activity(&["ann".into()], later).await.unwrap()[0].nodes.is_empty(), "alpha has expired");
    assert_eq!(renew(&store, &beta, later + TERM / 3).await, EXCESS as u64);
    assert_eq!(store.nodes().await.unwrap(), 1);
    let day_later = later + TERM / 3 + CLOSED_LEASE_TERM;
    assert_eq!(MAX_DELETED, MAX_CLOSED_PER_RENEWAL);
    for left in [EXCESS, 0] {
        renew(&store, &beta, day_later).await;
        let rows = query_column(&store.db, "select cast(count(*) as text) from connections").await;
        assert_eq!(rows, [left.to_string()]);
    }
}

#[tokio::test]
async fn renewals_share_a_large_number_of_tokens() {
    let store = SeaStore::connect("sqlite::memory:").await.unwrap();
    let token = |number: usize| {
        let token = single_use_token();
        let single_use = token.single_use.map(|token_use| TokenUse { family: number.to_string(), ..token_use });
        Redemption { single_use, ..token }
    };
    let tokens = Vec::from_iter((0..MAX_DELETED + EXCESS).map(token));
    store.redeem_all(&tokens).await.unwrap();
    let expired_at = tokens[0].single_use.as_ref().unwrap().expires_at;
    for left in [EXCESS, 0] {
        store.delete_expired(expired_at + TERM, TERM, Duration::ZERO).await.unwrap();
        let rows = query_column(&store.db, "select cast(count(*) as text) from rejoin_families").await;
        assert_eq!(rows, [left.to_string()]);
    }
}

#[tokio::test]
async fn renewals_share_a_large_number_of_nodes() {
    let store = SeaStore::connect("sqlite::memory:").await.unwrap();
    let node = |id: String| Node { id: id.into(), incarnation: "1".into(), process: Process::current() };
    let start = SystemTime::UNIX_EPOCH;
    for number in 0..=MAX_EXPIRED {
        renew(&store, &node(number.to_string()), start).await;
    }
    let survivor = node("survivor".into());
    for left in [2, 1] {
        renew(&store, &survivor, start + TERM).await;
        assert_eq!(store.nodes().await.unwrap(), left);
    }
}

#[tokio::test]
async fn renewal_succeeds_without_the_deletion_of_old_rows() {
    let store = SeaStore::connect("sqlite::memory:").await.unwrap();
    let alpha = Node { id: "alpha".into(), incarnation: "1".into(), process: Process::current() };
    for (table, name, fails) in [("user_last_seen", "renamed", true), ("renamed", "user_last_seen", false)] {
        store.db.execute_unprepared(&format!("alter table {table} rename to {name}")).await.unwrap();
        renew(&store, &alpha, SystemTime::UNIX_EPOCH).await;
        assert_eq!(store.prune_fails.load(Relaxed), fails);
    }
}
