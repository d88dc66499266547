//! Test cases for leases: the methods `lease`, `renew`, `release` and `nodes`.
//!
//! The test cases count the leases of a node by closing them: `renew` of a new incarnation returns the number of open
//! leases that the previous incarnation left. [`closing`](super::closing) has those for the records of connections.
//! [`lease_store_conformance!`](crate::lease_store_conformance) lists the test cases. Each needs a new, empty store.

use std::time::Duration;

use futures_util::future::try_join_all;

use super::{at, process, renew};
use crate::store::{CloseReason, DynLeaseStore, Error, Lease, LeaseChange, LeaseEnd, Node, NodeLease, Renewal};

pub(super) const TERM: Duration = Duration::from_secs(30);

pub(super) fn node(id: &str, incarnation: &str) -> Node {
    Node { id: id.into(), incarnation: incarnation.into(), process: process("one") }
}

pub(super) fn opened(connection: &str) -> LeaseChange {
    LeaseChange::Opened(Lease {
        connection: connection.into(),
        user: Some("ann".into()),
        user_agent: "Mozilla/5.0 (a user agent can have any length) ".repeat(20),
        transport: "webSockets".into(),
        since: at(0),
    })
}

pub(super) fn closed(connection: &str) -> LeaseChange {
    let (connection, reason) = (connection.into(), CloseReason::ClientClosed);
    LeaseChange::Closed(LeaseEnd { connection, since: at(0), at: at(1), reason })
}

/// Starts a new incarnation of node `id` and returns the number of open leases that the previous one left.
pub(super) async fn left_by(store: &dyn DynLeaseStore, id: &str) -> Result<u64, Error> {
    renew(store, &node(id, "next"), at(1), TERM).await
}

/// A closed lease is not closed again.
pub async fn lease_is_held_until_closed(store: &dyn DynLeaseStore) -> Result<(), Error> {
    let alpha = node("alpha", "1");
    renew(store, &alpha, at(0), TERM).await?;
    store.lease(&alpha, &[opened("a"), opened("b"), opened("c")]).await?;
    store.lease(&alpha, &[closed("b")]).await?;
    store.lease(&alpha, &[]).await?;
    assert_eq!(left_by(store, "alpha").await?, 2);
    Ok(())
}

/// A caller can repeat a batch, for example after a lost reply.
pub async fn repeated_lease_changes_have_no_effect(store: &dyn DynLeaseStore) -> Result<(), Error> {
    let alpha = node("alpha", "1");
    renew(store, &alpha, at(0), TERM).await?;
    for _ in 0..2 {
        store.lease(&alpha, &[opened("a"), opened("b"), opened("a"), closed("b"), closed("never opened")]).await?;
    }
    assert_eq!(left_by(store, "alpha").await?, 1);
    Ok(())
}

/// The order also holds for several changes of one connection in a batch, and for a connection taken over from another
/// node.
pub async fn lease_changes_apply_in_order(store: &dyn DynLeaseStore) -> Result<(), Error> {
    let (alpha, beta) = (node("alpha", "1"), node("beta", "1"));
    renew(store, &alpha, at(0), TERM).await?;
    renew(store, &beta, at(0), TERM).await?;
    store.lease(&beta, &[opened("moved"), opened("ended")]).await?;
    let changes = [opened("a"), closed("a"), opened("a"), opened("b"), closed("b"), closed("moved"), opened("moved")];
    store.lease(&alpha, &changes).await?;
    store.lease(&alpha, &[opened("ended"), closed("ended")]).await?;
    assert_eq!((left_by(store, "alpha").await?, left_by(store, "beta").await?), (2, 0));
    Ok(())
}

/// A batch can exceed the number of values that one statement takes.
pub async fn large_batch_of_lease_changes_is_applied(store: &dyn DynLeaseStore) -> Result<(), Error> {
    let alpha = node("alpha", "1");
    renew(store, &alpha, at(0), TERM).await?;
    let names: Vec<_> = (0..70_000).map(|number| number.to_string()).collect();
    store.lease(&alpha, &Vec::from_iter(names.iter().take(12_000).map(|name| opened(name)))).await?;
    store.lease(&alpha, &Vec::from_iter(names.iter().skip(5).map(|name| closed(name)))).await?;
    assert_eq!(left_by(store, "alpha").await?, 5);
    Ok(())
}

/// A node that renews in time loses no lease, neither through its own renewals nor through those of another node.
pub async fn renewal_keeps_leases_of_live_nodes(store: &dyn DynLeaseStore) -> Result<(), Error> {
    let (alpha, beta) = (node("alpha", "1"), node("beta", "1"));
    renew(store, &alpha, at(0), TERM).await?;
    store.lease(&alpha, &[opened("a")]).await?;
    for step in 0..4 {
        let now = at(step * 20_000);
        let removed = [renew(store, &alpha, now, TERM).await?, renew(store, &beta, now, TERM).await?];
        assert_eq!((removed, renew(store, &alpha, now, TERM).await?), ([0, 0], 0));
    }
    assert_eq!(left_by(store, "alpha").await?, 1);
    Ok(())
}

/// The new incarnation keeps the leases that it has opened itself. Incarnations are distinct, but not ordered.
pub async fn new_incarnation_closes_leases_of_previous_one(store: &dyn DynLeaseStore) -> Result<(), Error> {
    let (first, second, third) = (node("alpha", "m"), node("alpha", "z"), node("alpha", "a"));
    renew(store, &first, at(0), TERM).await?;
    store.lease(&first, &[opened("a"), opened("b"), opened("c")]).await?;
    store.lease(&second, &[opened("c"), opened("d")]).await?;
    assert_eq!(renew(store, &second, at(1), TERM).await?, 2);
    assert_eq!(renew(store, &second, at(2), TERM).await?, 0);
    store.lease(&third, &[opened("e")]).await?;
    assert_eq!(renew(store, &third, at(3), TERM).await?, 2);
    assert_eq!(left_by(store, "alpha").await?, 1);
    Ok(())
}

/// The node expires exactly at the end of its term. Leases that it writes after that are closed as well.
pub async fn expired_node_loses_its_connections(store: &dyn DynLeaseStore) -> Result<(), Error> {
    let (alpha, beta) = (node("alpha", "1"), node("beta", "1"));
    renew(store, &alpha, at(0), TERM).await?;
    store.lease(&alpha, &[opened("a"), opened("b")]).await?;
    assert_eq!(renew(store, &beta, at(29_999), TERM).await?, 0);
    assert_eq!(renew(store, &beta, at(30_000), TERM).await?, 2);
    store.lease(&alpha, &[opened("late")]).await?;
    assert_eq!(renew(store, &beta, at(30_001), TERM).await?, 1);
    renew(store, &alpha, at(30_002), TERM).await?;
    store.lease(&alpha, &[opened("a")]).await?;
    assert_eq!(renew(store, &beta, at(30_003), TERM).await?, 0);
    Ok(())
}

/// Otherwise its leases would stay open forever if it died before its first renewal.
pub async fn node_that_never_renewed_is_expired(store: &dyn DynLeaseStore) -> Result<(), Error> {
    store.lease(&node("alpha", "1"), &[opened("a")]).await?;
    assert_eq!(renew(store, &node("beta", "1"), at(0), TERM).await?, 1);
    Ok(())
}

/// The previous node of a connection can report a late end of its own session; the connection stays open.
pub async fn last_opener_holds_the_lease(store: &dyn DynLeaseStore) -> Result<(), Error> {
    let (alpha, beta) = (node("alpha", "1"), node("beta", "1"));
    renew(store, &alpha, at(0), TERM).await?;
    renew(store, &beta, at(0), TERM).await?;
    store.lease(&alpha, &[opened("a")]).await?;
    store.lease(&beta, &[opened("a")]).await?;
    store.lease(&alpha, &[closed("a")]).await?;
    store.lease(&node("beta", "0"), &[closed("a")]).await?;
    assert_eq!((left_by(store, "alpha").await?, left_by(store, "beta").await?), (0, 1));
    Ok(())
}

/// A node counts from its first call until the renewal that finds it expired.
pub async fn nodes_are_counted(store: &dyn DynLeaseStore) -> Result<(), Error> {
    assert_eq!(store.nodes().await?, 0);
    let (alpha, beta) = (node("alpha", "1"), node("beta", "1"));
    renew(store, &alpha, at(0), TERM).await?;
    renew(store, &alpha, at(1), TERM).await?;
    assert_eq!(store.nodes().await?, 1);
    store.lease(&beta, &[opened("a")]).await?;
    assert_eq!(store.nodes().await?, 2);
    renew(store, &alpha, at(2), TERM).await?;
    assert_eq!(store.nodes().await?, 1);
    Ok(())
}

/// The longest term is valid.
pub async fn term_beyond_the_clock_never_expires(store: &dyn DynLeaseStore) -> Result<(), Error> {
    let alpha = node("alpha", "1");
    renew(store, &alpha, at(0), Duration::MAX).await?;
    store.lease(&alpha, &[opened("a")]).await?;
    assert_eq!(renew(store, &node("beta", "1"), at(u64::from(u32::MAX)), TERM).await?, 0);
    Ok(())
}

fn node_of(id: &str, of_process: &str) -> Node {
    Node { process: process(of_process), ..node(id, of_process) }
}

/// The answer names the holder and the end of its lease. Other names are free.
pub async fn name_of_a_node_is_held_by_one_process(store: &dyn DynLeaseStore) -> Result<(), Error> {
    let (one, two) = (node_of("alpha", "one"), node_of("alpha", "two"));
    for step in [0, 20_000] {
        renew(store, &one, at(step), TERM).await?;
        let lease = NodeLease { process: one.process.clone(), until: Some(at(step + 30_000)) };
        assert_eq!(store.renew(&two, at(step + 1), TERM).await?, Renewal::Held(lease));
    }
    assert_eq!(renew(store, &node_of("beta", "two"), at(20_002), TERM).await?, 0);
    assert_eq!(renew(store, &node("alpha", "a new part of process one"), at(20_003), TERM).await?, 0);
    Ok(())
}

/// The lease ends exactly at the end of its term. The previous holder is refused from then on.
pub async fn expired_name_goes_to_the_next_process(store: &dyn DynLeaseStore) -> Result<(), Error> {
    let (one, two) = (node_of("alpha", "one"), node_of("alpha", "two"));
    renew(store, &one, at(0), TERM).await?;
    store.lease(&one, &[opened("a")]).await?;
    assert!(matches!(store.renew(&two, at(29_999), TERM).await?, Renewal::Held(_)));
    assert_eq!(renew(store, &two, at(30_000), TERM).await?, 1);
    assert!(matches!(store.renew(&one, at(30_001), TERM).await?, Renewal::Held(_)));
    Ok(())
}

/// A process that stops lets the next one start at once. Its leases are closed then.
pub async fn released_name_is_free_at_once(store: &dyn DynLeaseStore) -> Result<(), Error> {
    let (one, two) = (node_of("alpha", "one"), node_of("alpha", "two"));
    renew(store, &one, at(0), TERM).await?;
    store.lease(&one, &[opened("a")]).await?;
    for _ in 0..2 {
        store.release(&one).await?;
    }
    assert_eq!(renew(store, &two, at(1), TERM).await?, 1);
    Ok(())
}

/// A process that has lost the name does not release it for its successor. A free name can be released.
pub async fn only_the_holder_releases_a_name(store: &dyn DynLeaseStore) -> Result<(), Error> {
    let (one, two) = (node_of("alpha", "one"), node_of("alpha", "two"));
    store.release(&one).await?;
    renew(store, &two, at(0), TERM).await?;
    store.release(&one).await?;
    assert!(matches!(store.renew(&one, at(1), TERM).await?, Renewal::Held(_)));
    Ok(())
}

/// Neither the leases of the holder nor those of expired nodes are closed.
pub async fn refused_renewal_changes_nothing(store: &dyn DynLeaseStore) -> Result<(), Error> {
    let (one, two) = (node_of("alpha", "one"), node_of("alpha", "two"));
    renew(store, &one, at(10_000), TERM).await?;
    store.lease(&one, &[opened("a")]).await?;
    renew(store, &node("beta", "1"), at(0), TERM).await?;
    store.lease(&node("beta", "1"), &[opened("b")]).await?;
    assert!(matches!(store.renew(&two, at(35_000), TERM).await?, Renewal::Held(_)));
    assert_eq!(renew(store, &one, at(35_001), TERM).await?, 1, "the connection of beta");
    assert_eq!(left_by(store, "alpha").await?, 1);
    Ok(())
}

/// Of processes that take a free name at the same time, exactly one gets it.
pub async fn concurrent_processes_get_a_name_once(store: &dyn DynLeaseStore) -> Result<(), Error> {
    let nodes: Vec<_> = (0..8).map(|number| node_of("alpha", &number.to_string())).collect();
    let renewals = try_join_all(nodes.iter().map(|node| store.renew(node, at(0), TERM))).await?;
    assert_eq!(renewals.iter().filter(|renewal| matches!(renewal, Renewal::Renewed { .. })).count(), 1);
    Ok(())
}
