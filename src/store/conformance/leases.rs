//! What is promised of leases.
//!
//! Role: the verbs `lease` and `renew`. No verb reads a lease, so they are counted as they are removed: a node
//! that starts anew is told how many connections its earlier run left.
//! Life: each promise wants a store that nobody used before.
//! Neighbours: listed in [`store_conformance!`](crate::store_conformance).
//! Never: it does not ask what a lease says, only whose it is.

use std::time::Duration;

use super::{at, owner};
use crate::{
    ids::ConnectionId,
    store::{Change, DynStore, Error, Lease, LeaseChange, Node},
};

const TERM: Duration = Duration::from_secs(30);

fn node(id: &str, incarnation: &str) -> Node {
    Node { id: id.into(), incarnation: incarnation.into() }
}

fn opened(connection: &str) -> LeaseChange {
    LeaseChange::Opened(Lease {
        connection: connection.into(),
        user: Some("ann".into()),
        user_agent: "Mozilla/5.0 (an agent's name may have any length) ".repeat(20),
        transport: "webSockets".into(),
        since: at(0),
    })
}

fn closed(connection: &str) -> LeaseChange {
    LeaseChange::Closed(ConnectionId::from(connection))
}

/// How many connections the store holds of the node called `id`, by starting it anew.
async fn left_by(store: &dyn DynStore, id: &str) -> Result<u64, Error> {
    store.renew(&node(id, "the next run"), at(1), TERM).await
}

/// What is closed is not there to be removed.
pub async fn an_opened_lease_is_held_until_closed(store: &dyn DynStore) -> Result<(), Error> {
    let alpha = node("alpha", "1");
    store.renew(&alpha, at(0), TERM).await?;
    store.lease(&alpha, &[opened("a"), opened("b"), opened("c")]).await?;
    store.lease(&alpha, &[closed("b")]).await?;
    store.lease(&alpha, &[]).await?;
    assert_eq!(left_by(store, "alpha").await?, 2);
    Ok(())
}

/// A batch may be repeated, as after an answer that was lost.
pub async fn opening_or_closing_twice_changes_nothing(store: &dyn DynStore) -> Result<(), Error> {
    let alpha = node("alpha", "1");
    store.renew(&alpha, at(0), TERM).await?;
    for _ in 0..2 {
        store.lease(&alpha, &[opened("a"), opened("b"), opened("a"), closed("b"), closed("never opened")]).await?;
    }
    assert_eq!(left_by(store, "alpha").await?, 1);
    Ok(())
}

/// Also when one batch says several things of one connection, and when it takes it over from another node.
pub async fn changes_are_written_in_order(store: &dyn DynStore) -> Result<(), Error> {
    let (alpha, beta) = (node("alpha", "1"), node("beta", "1"));
    store.renew(&alpha, at(0), TERM).await?;
    store.renew(&beta, at(0), TERM).await?;
    store.lease(&beta, &[opened("moved"), opened("ended")]).await?;
    let changes = [opened("a"), closed("a"), opened("a"), opened("b"), closed("b"), closed("moved"), opened("moved")];
    store.lease(&alpha, &changes).await?;
    store.lease(&alpha, &[opened("ended"), closed("ended")]).await?;
    assert_eq!((left_by(store, "alpha").await?, left_by(store, "beta").await?), (2, 0));
    Ok(())
}

/// A batch may hold more values than a statement takes.
pub async fn a_storm_of_changes_is_written_whole(store: &dyn DynStore) -> Result<(), Error> {
    let alpha = node("alpha", "1");
    store.renew(&alpha, at(0), TERM).await?;
    let names: Vec<_> = (0..70_000).map(|number| number.to_string()).collect();
    store.lease(&alpha, &Vec::from_iter(names.iter().take(12_000).map(|name| opened(name)))).await?;
    store.lease(&alpha, &Vec::from_iter(names.iter().skip(5).map(|name| closed(name)))).await?;
    assert_eq!(left_by(store, "alpha").await?, 5);
    Ok(())
}

/// It may be anonymous, or of a user of whom nothing durable is known, and then makes nothing durable known.
pub async fn a_lease_needs_no_known_user(store: &dyn DynStore) -> Result<(), Error> {
    let alpha = node("alpha", "1");
    store.renew(&alpha, at(0), TERM).await?;
    let LeaseChange::Opened(lease) = opened("anonymous") else { return Ok(()) };
    store.lease(&alpha, &[LeaseChange::Opened(Lease { user: None, ..lease }), opened("a")]).await?;
    assert_eq!(store.add(&owner("ann"), &"room".into()).await?, Change::Made);
    assert_eq!(left_by(store, "alpha").await?, 2);
    Ok(())
}

/// A node that renews in time loses nothing, neither by its own renewals nor by another's.
pub async fn renewing_keeps_what_is_alive(store: &dyn DynStore) -> Result<(), Error> {
    let (alpha, beta) = (node("alpha", "1"), node("beta", "1"));
    store.renew(&alpha, at(0), TERM).await?;
    store.lease(&alpha, &[opened("a")]).await?;
    for step in 0..4 {
        let now = at(step * 20_000);
        let removed = [store.renew(&alpha, now, TERM).await?, store.renew(&beta, now, TERM).await?];
        assert_eq!((removed, store.renew(&alpha, now, TERM).await?), ([0, 0], 0));
    }
    assert_eq!(left_by(store, "alpha").await?, 1);
    Ok(())
}

/// And keeps what it has opened itself since. Runs are different, not numbered.
pub async fn a_successor_removes_what_its_predecessor_left(store: &dyn DynStore) -> Result<(), Error> {
    let (first, second, third) = (node("alpha", "m"), node("alpha", "z"), node("alpha", "a"));
    store.renew(&first, at(0), TERM).await?;
    store.lease(&first, &[opened("a"), opened("b"), opened("c")]).await?;
    store.lease(&second, &[opened("c"), opened("d")]).await?;
    assert_eq!(store.renew(&second, at(1), TERM).await?, 2);
    assert_eq!(store.renew(&second, at(2), TERM).await?, 0);
    store.lease(&third, &[opened("e")]).await?;
    assert_eq!(store.renew(&third, at(3), TERM).await?, 2);
    assert_eq!(left_by(store, "alpha").await?, 1);
    Ok(())
}

/// At the very end of its term, not before; and what it writes afterwards goes the same way.
pub async fn a_node_whose_lease_ran_out_loses_its_connections(store: &dyn DynStore) -> Result<(), Error> {
    let (alpha, beta) = (node("alpha", "1"), node("beta", "1"));
    store.renew(&alpha, at(0), TERM).await?;
    store.lease(&alpha, &[opened("a"), opened("b")]).await?;
    assert_eq!(store.renew(&beta, at(29_999), TERM).await?, 0);
    assert_eq!(store.renew(&beta, at(30_000), TERM).await?, 2);
    store.lease(&alpha, &[opened("late")]).await?;
    assert_eq!(store.renew(&beta, at(30_001), TERM).await?, 1);
    store.renew(&alpha, at(30_002), TERM).await?;
    store.lease(&alpha, &[opened("a")]).await?;
    assert_eq!(store.renew(&beta, at(30_003), TERM).await?, 0);
    Ok(())
}

/// Or its connections would stay for ever if it died before.
pub async fn a_node_that_never_renewed_counts_as_dead(store: &dyn DynStore) -> Result<(), Error> {
    store.lease(&node("alpha", "1"), &[opened("a")]).await?;
    assert_eq!(store.renew(&node("beta", "1"), at(0), TERM).await?, 1);
    Ok(())
}

/// The node that had the connection before may report its end late: that end is not the connection's.
pub async fn who_opened_last_holds_the_lease(store: &dyn DynStore) -> Result<(), Error> {
    let (alpha, beta) = (node("alpha", "1"), node("beta", "1"));
    store.renew(&alpha, at(0), TERM).await?;
    store.renew(&beta, at(0), TERM).await?;
    store.lease(&alpha, &[opened("a")]).await?;
    store.lease(&beta, &[opened("a")]).await?;
    store.lease(&alpha, &[closed("a")]).await?;
    store.lease(&node("beta", "0"), &[closed("a")]).await?;
    assert_eq!((left_by(store, "alpha").await?, left_by(store, "beta").await?), (0, 1));
    Ok(())
}

/// The longest term is no error, and means for ever.
pub async fn a_term_may_outlast_the_clock(store: &dyn DynStore) -> Result<(), Error> {
    let alpha = node("alpha", "1");
    store.renew(&alpha, at(0), Duration::MAX).await?;
    store.lease(&alpha, &[opened("a")]).await?;
    assert_eq!(store.renew(&node("beta", "1"), at(u64::from(u32::MAX)), TERM).await?, 0);
    Ok(())
}
