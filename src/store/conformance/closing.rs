//! Test cases for the records of connections and the activity of users: the methods `find` and `activity`, and the end of
//! leases.
//!
//! [`lease_store_conformance!`](crate::lease_store_conformance) lists the test cases. Each needs a new, empty store.

use std::time::{Duration, SystemTime};

use super::{
    at,
    leases::{TERM, node, opened},
    renew,
};
use crate::{
    ids::UserId,
    store::{
        CLOSED_LEASE_TERM, CloseReason, DynLeaseStore, Error, LAST_SEEN_TERM, LastSeen, Lease, LeaseChange, LeaseEnd,
        LeaseRecord, MAX_CLOSED_LEASES, Node, Renewal, UserActivity,
    },
};

/// A lease of `user`, opened at `since`.
fn lease(connection: &str, user: &str, since: SystemTime) -> Lease {
    let (user_agent, transport) = ("agent".into(), "webSockets".into());
    Lease { connection: connection.into(), user: Some(user.into()), user_agent, transport, since }
}

fn open(connection: &str, user: &str, since: SystemTime) -> LeaseChange {
    LeaseChange::Opened(lease(connection, user, since))
}

/// The end of the lease that was opened at `since`.
fn close(connection: &str, since: SystemTime, at: SystemTime) -> LeaseChange {
    let (connection, reason) = (connection.into(), CloseReason::Timeout);
    LeaseChange::Closed(LeaseEnd { connection, since, at, reason })
}

async fn start(store: &dyn DynLeaseStore, id: &str) -> Result<Node, Error> {
    let node = node(id, "1");
    renew(store, &node, at(0), TERM).await?;
    Ok(node)
}

async fn record(store: &dyn DynLeaseStore, connection: &str) -> Result<LeaseRecord, Error> {
    Ok(store.find(&connection.into()).await?.unwrap_or_else(|| panic!("{connection} has a record")))
}

async fn activity_of(store: &dyn DynLeaseStore, user: &str, now: SystemTime) -> Result<UserActivity, Error> {
    let mut activity = store.activity(&[user.into()], now).await?;
    assert_eq!(activity.len(), 1, "one answer for one user");
    Ok(activity.remove(0))
}

fn activity(nodes: &[&str], last_seen: Option<SystemTime>) -> UserActivity {
    UserActivity { nodes: nodes.iter().map(|node| (*node).into()).collect(), last_seen }
}

/// An open lease was last seen at the last renewal of its node.
pub async fn closed_lease_records_when_and_why(store: &dyn DynLeaseStore) -> Result<(), Error> {
    assert_eq!(store.find(&"a".into()).await?, None);
    let alpha = start(store, "alpha").await?;
    store.lease(&alpha, &[open("a", "ann", at(1))]).await?;
    let opened = LeaseRecord { lease: lease("a", "ann", at(1)), node: "alpha".into(), last_seen: at(1), closed: None };
    assert_eq!(record(store, "a").await?, opened);
    renew(store, &alpha, at(10_000), TERM).await?;
    assert_eq!(record(store, "a").await?.last_seen, at(10_000));
    for reason in CloseReason::ALL {
        let since = at(20_000);
        store.lease(&alpha, &[open("a", "ann", since)]).await?;
        let end = LeaseEnd { connection: "a".into(), since, at: at(20_005), reason: *reason };
        store.lease(&alpha, &[LeaseChange::Closed(end)]).await?;
        let (last_seen, closed) = (at(20_005), Some((at(20_005), *reason)));
        let ended = LeaseRecord { lease: lease("a", "ann", since), node: "alpha".into(), last_seen, closed };
        assert_eq!(record(store, "a").await?, ended);
    }
    Ok(())
}

/// The end of a lease can be reported after the connection was opened again, in the same batch or later.
pub async fn late_end_closes_no_newer_lease(store: &dyn DynLeaseStore) -> Result<(), Error> {
    let alpha = start(store, "alpha").await?;
    store.lease(&alpha, &[open("a", "ann", at(1)), open("a", "ann", at(2)), close("a", at(1), at(3))]).await?;
    assert_eq!(record(store, "a").await?.closed, None);
    store.lease(&alpha, &[close("a", at(1), at(4))]).await?;
    assert_eq!(record(store, "a").await?.closed, None);
    store.lease(&alpha, &[close("a", at(2), at(5)), close("a", at(1), at(6))]).await?;
    assert_eq!(record(store, "a").await?.closed, Some((at(5), CloseReason::Timeout)));
    store.lease(&alpha, &[close("a", at(2), at(7))]).await?;
    assert_eq!(record(store, "a").await?.closed, Some((at(5), CloseReason::Timeout)), "the first report counts");
    Ok(())
}

/// A node without the store for a while reports connections late that have moved to another node meanwhile.
pub async fn late_connect_takes_no_newer_lease_over(store: &dyn DynLeaseStore) -> Result<(), Error> {
    let (alpha, beta) = (start(store, "alpha").await?, start(store, "beta").await?);
    store.lease(&beta, &[open("a", "ann", at(2_000)), open("b", "bob", at(2_000))]).await?;
    store.lease(&alpha, &[open("a", "ann", at(1_000)), close("a", at(1_000), at(1_500))]).await?;
    store.lease(&alpha, &[open("b", "bob", at(3_000))]).await?;
    let holders = [record(store, "a").await?, record(store, "b").await?].map(|record| (record.node, record.closed));
    assert_eq!(holders, [("beta".into(), None), ("alpha".into(), None)]);
    Ok(())
}

/// The record of the previous lease is replaced.
pub async fn closed_lease_can_be_opened_again(store: &dyn DynLeaseStore) -> Result<(), Error> {
    let (alpha, beta) = (start(store, "alpha").await?, start(store, "beta").await?);
    store.lease(&alpha, &[open("a", "ann", at(2)), close("a", at(2), at(3))]).await?;
    store.lease(&beta, &[open("a", "ann", at(1))]).await?;
    let opened = LeaseRecord { lease: lease("a", "ann", at(1)), node: "beta".into(), last_seen: at(1), closed: None };
    assert_eq!(record(store, "a").await?, opened);
    Ok(())
}

/// The connections were last seen at the last renewal of the node, or when they were opened after it.
pub async fn expired_node_closes_its_leases_with_a_reason(store: &dyn DynLeaseStore) -> Result<(), Error> {
    let alpha = start(store, "alpha").await?;
    renew(store, &alpha, at(10_000), TERM).await?;
    store.lease(&alpha, &[open("a", "ann", at(1)), open("b", "bob", at(12_000))]).await?;
    assert_eq!(renew(store, &node("beta", "1"), at(50_000), TERM).await?, 2);
    for (connection, user, last_seen) in [("a", "ann", at(10_000)), ("b", "bob", at(12_000))] {
        let record = record(store, connection).await?;
        assert_eq!((record.last_seen, record.closed), (last_seen, Some((at(50_000), CloseReason::NodeExpired))));
        assert_eq!(activity_of(store, user, at(50_000)).await?, activity(&[], Some(last_seen)));
    }
    Ok(())
}

/// A lease that the new incarnation has opened again stays open.
pub async fn restarted_node_closes_its_leases_with_a_reason(store: &dyn DynLeaseStore) -> Result<(), Error> {
    let (alpha, restarted) = (start(store, "alpha").await?, node("alpha", "2"));
    store.lease(&alpha, &[open("a", "ann", at(1)), open("b", "bob", at(1))]).await?;
    renew(store, &alpha, at(10_000), TERM).await?;
    store.lease(&restarted, &[open("b", "bob", at(1))]).await?;
    assert_eq!(renew(store, &restarted, at(15_000), TERM).await?, 1);
    let (a, b) = (record(store, "a").await?, record(store, "b").await?);
    assert_eq!((a.last_seen, a.closed), (at(10_000), Some((at(15_000), CloseReason::NodeRestarted))));
    assert_eq!((b.last_seen, b.closed), (at(15_000), None));
    Ok(())
}

/// Each user is in the answer of one renewal. A connection that has ended by itself can be its latest one.
pub async fn renewal_names_the_users_of_dead_nodes(store: &dyn DynLeaseStore) -> Result<(), Error> {
    let alpha = start(store, "alpha").await?;
    let anonymous = LeaseChange::Opened(Lease { user: None, ..lease("d", "", at(1)) });
    let opened = [open("a", "ann", at(1)), open("b", "bob", at(2)), open("c", "ann", at(12_000)), anonymous];
    store.lease(&alpha, &opened).await?;
    store.lease(&alpha, &[open("e", "cid", at(1)), close("e", at(1), at(3))]).await?;
    store.lease(&alpha, &[open("f", "bob", at(1)), close("f", at(1), at(15_000))]).await?;
    renew(store, &alpha, at(10_000), TERM).await?;
    for (now, closed, users) in
        [(39_999, 0, vec![]), (40_000, 4, vec![("ann", 12_000), ("bob", 15_000)]), (50_000, 0, vec![])]
    {
        let Renewal::Renewed { closed: count, users: mut named } =
            store.renew(&node("beta", "1"), at(now), TERM).await?
        else {
            panic!("beta is free");
        };
        named.sort_by(|one, other| one.user.cmp(&other.user));
        let users: Vec<_> =
            users.into_iter().map(|(user, seen)| LastSeen { user: user.into(), at: at(seen) }).collect();
        assert_eq!((count, named), (closed, users), "at {now}");
    }
    Ok(())
}

/// The next renewal after the term deletes them.
pub async fn closed_leases_are_deleted_by_age(store: &dyn DynLeaseStore) -> Result<(), Error> {
    let alpha = start(store, "alpha").await?;
    let changes = [open("a", "ann", at(1)), open("b", "bob", at(1)), close("a", at(1), at(2)), open("c", "cid", at(1))];
    store.lease(&alpha, &changes).await?;
    store.lease(&alpha, &[close("b", at(1), at(3))]).await?;
    let days_later = CLOSED_LEASE_TERM + Duration::from_millis(2);
    renew(store, &alpha, at(0) + days_later, CLOSED_LEASE_TERM).await?;
    assert_eq!(store.find(&"a".into()).await?, None);
    assert!(record(store, "b").await?.closed.is_some());
    assert!(record(store, "c").await?.closed.is_none(), "open leases stay");
    Ok(())
}

/// The leases that were closed first are deleted.
pub async fn closed_leases_are_deleted_by_number(store: &dyn DynLeaseStore) -> Result<(), Error> {
    let alpha = start(store, "alpha").await?;
    let names: Vec<_> = (0..MAX_CLOSED_LEASES + 10).map(|number| number.to_string()).collect();
    for (batch, names) in names.chunks(5_000).enumerate() {
        let opened = names.iter().map(|name| LeaseChange::Opened(Lease { user: None, ..lease(name, "", at(0)) }));
        store.lease(&alpha, &Vec::from_iter(opened)).await?;
        let ends = names.iter().enumerate().map(|(index, name)| {
            let order = batch * 5_000 + index;
            close(name, at(0), at(1 + order as u64))
        });
        store.lease(&alpha, &Vec::from_iter(ends)).await?;
    }
    renew(store, &alpha, at(25_000), TERM).await?;
    for (name, stays) in [("9", false), ("10", true), (names.last().expect("there are names"), true)] {
        assert_eq!(store.find(&name.into()).await?.is_some(), stays, "{name}");
    }
    Ok(())
}

/// A node that has expired counts no longer, even before its leases are closed.
pub async fn user_is_active_on_its_live_nodes(store: &dyn DynLeaseStore) -> Result<(), Error> {
    let (alpha, beta) = (start(store, "alpha").await?, start(store, "beta").await?);
    store.lease(&alpha, &[open("a", "ann", at(1)), open("b", "ann", at(2)), open("c", "bob", at(3))]).await?;
    store.lease(&beta, &[open("d", "ann", at(4))]).await?;
    renew(store, &alpha, at(20_000), TERM).await?;
    assert_eq!(activity_of(store, "ann", at(29_999)).await?, activity(&["alpha", "beta"], Some(at(20_000))));
    assert_eq!(activity_of(store, "ann", at(30_000)).await?, activity(&["alpha"], Some(at(20_000))));
    assert_eq!(activity_of(store, "Bob", at(30_000)).await?, activity(&[], None));
    store.lease(&alpha, &[close("a", at(1), at(30_001))]).await?;
    assert_eq!(activity_of(store, "ann", at(30_001)).await?, activity(&["alpha"], Some(at(30_001))));
    store.lease(&alpha, &[close("b", at(2), at(30_002))]).await?;
    assert_eq!(activity_of(store, "ann", at(30_002)).await?, activity(&[], Some(at(30_002))));
    Ok(())
}

/// A user can occur twice. A batch can exceed the number of values that one statement takes.
pub async fn activity_follows_the_order_of_users(store: &dyn DynLeaseStore) -> Result<(), Error> {
    assert!(store.activity(&[], at(0)).await?.is_empty());
    let alpha = start(store, "alpha").await?;
    let names: Vec<_> = (0..3_000).map(|number| format!("user {number}")).collect();
    store.lease(&alpha, &Vec::from_iter(names.iter().step_by(1_000).map(|name| open(name, name, at(5))))).await?;
    let mut users: Vec<_> = names.iter().rev().map(|name| UserId::from(name.as_str())).collect();
    users.push("user 1000".into());
    let answers = store.activity(&users, at(6)).await?;
    let active = users.iter().zip(&answers).filter(|(_, answer)| !answer.nodes.is_empty());
    let active: Vec<_> = active.map(|(user, _)| user.as_str()).collect();
    assert_eq!((answers.len(), active), (3_001, vec!["user 2000", "user 1000", "user 0", "user 1000"]));
    Ok(())
}

/// Two nodes can report the ends of two connections in any order.
pub async fn last_seen_is_that_of_the_latest_connection(store: &dyn DynLeaseStore) -> Result<(), Error> {
    let (alpha, beta) = (start(store, "alpha").await?, start(store, "beta").await?);
    store.lease(&alpha, &[opened("x"), open("a", "ann", at(1)), close("a", at(1), at(20_000))]).await?;
    store.lease(&beta, &[open("b", "ann", at(1)), close("b", at(1), at(15_000))]).await?;
    let seen = [open("c", "cid", at(1)), open("d", "cid", at(1)), close("c", at(1), at(9)), close("d", at(1), at(8))];
    store.lease(&beta, &seen).await?;
    store.lease(&alpha, &[close("x", at(0), at(20_001))]).await?;
    assert_eq!(activity_of(store, "ann", at(21_000)).await?, activity(&[], Some(at(20_001))));
    assert_eq!(activity_of(store, "cid", at(21_000)).await?, activity(&[], Some(at(9))));
    Ok(())
}

/// It is deleted after a term of its own.
pub async fn last_seen_outlives_closed_leases(store: &dyn DynLeaseStore) -> Result<(), Error> {
    let alpha = start(store, "alpha").await?;
    store.lease(&alpha, &[open("a", "ann", at(1)), close("a", at(1), at(2))]).await?;
    for (later, last_seen) in [(CLOSED_LEASE_TERM * 2, Some(at(2))), (LAST_SEEN_TERM + Duration::from_millis(2), None)]
    {
        let now = at(0) + later;
        renew(store, &alpha, now, TERM).await?;
        assert_eq!(store.find(&"a".into()).await?, None);
        assert_eq!(activity_of(store, "ann", now).await?, activity(&[], last_seen));
    }
    Ok(())
}
