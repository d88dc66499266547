//! Tests of presence without clients: slow handlers, a store that does not answer, and calls with many changes.

use tokio::{sync::mpsc, time::sleep};

use super::*;
use crate::store::{
    CloseReason, Lease, LeaseChange, LeaseEnd,
    faulty::{FaultMode, FaultyStore},
};

/// The events of a hub, in order.
type Events = mpsc::UnboundedReceiver<(UserId, PresenceChange)>;

/// A hub that records its events. The handler never ends for the user `slow`, and panics for the user `bad`.
fn recording_hub() -> (Hub, Events) {
    let (sender, events) = mpsc::unbounded_channel();
    let hub = Hub::new("chat").on_presence(move |PresenceEvent { user, change, .. }| {
        let is_slow = *user == *"slow";
        assert!(*user != *"bad", "a handler that panics");
        sender.send((user, change)).expect("the test runs");
        async move {
            if is_slow {
                std::future::pending::<()>().await;
            }
        }
    });
    (hub, events)
}

fn end(services: &HubServices, handle: &Arc<ConnectionHandle>) {
    services.connections.unregister(handle);
    services.presence.disconnected(handle);
}

fn begin(services: &HubServices, user: &str) -> Arc<ConnectionHandle> {
    let handle = register(services, "chat", user, Some(user), Stub::default());
    services.presence.connected(&handle);
    handle
}

async fn next(events: &mut Events) -> (String, PresenceChange) {
    let (user, change) = events.recv().await.expect("the hub exists");
    (user.to_string(), change)
}

#[actix::test]
async fn slow_or_panicking_handler_delays_others_by_its_budget() {
    tokio::time::pause();
    let (hub, mut events) = recording_hub();
    let services = services(vec![hub]);
    for user in ["bad", "slow", "ann"] {
        begin(&services, user);
    }
    let arrived = [next(&mut events).await, next(&mut events).await];
    assert_eq!(arrived, ["slow", "ann"].map(|user| (user.to_owned(), PresenceChange::Online)));
    begin(&services, "bob");
    sleep(Duration::from_millis(4_990)).await;
    assert!(events.try_recv().is_err(), "the handler of the batch before is running");
    sleep(Duration::from_millis(20)).await;
    assert_eq!(next(&mut events).await.0, "bob");
    assert_eq!((services.metrics.presence_failures.get(), services.metrics.hub_panics.get()), (2, 1));
}

#[actix::test]
async fn events_wait_while_the_store_does_not_answer() {
    tokio::time::pause();
    let (hub, mut events) = recording_hub();
    let store = Arc::new(FaultyStore::new(MemoryStore::default()));
    let services = services_with(StoreParts::of(Arc::clone(&store)), vec![hub]);
    for fault in [FaultMode::Refuse, FaultMode::Hold] {
        store.set_mode(fault);
        let handle = begin(&services, "ann");
        sleep(Duration::from_secs(20)).await;
        end(&services, &handle);
        sleep(Duration::from_secs(60)).await;
        assert!(events.try_recv().is_err(), "{fault:?}");
        store.set_mode(FaultMode::None);
        assert_eq!(next(&mut events).await, ("ann".into(), PresenceChange::Online));
        let (user, change) = next(&mut events).await;
        assert!(user == "ann" && matches!(change, PresenceChange::Offline { .. }), "{user} {change:?}");
    }
}

/// The store takes the end of a refused connection for the time when its user was last seen.
#[actix::test]
async fn refused_return_hides_no_departure() {
    tokio::time::pause();
    let (hub, mut events) = recording_hub();
    let store = StoreParts::of(Arc::new(MemoryStore::default()));
    let services = services_with(store.clone(), vec![hub]);
    let ann = begin(&services, "ann");
    assert_eq!(next(&mut events).await, ("ann".into(), PresenceChange::Online));
    end(&services, &ann);
    let (connection, since) = (ConnectionId::from("refused"), SystemTime::now());
    let (user_agent, transport) = (String::new(), String::new());
    let opened = Lease { connection: connection.clone(), user: Some("ann".into()), user_agent, transport, since };
    let ended = LeaseEnd { connection, since, at: since, reason: CloseReason::ClientClosed };
    let node = Node { id: "beta".into(), incarnation: "1".into(), process: Process::current() };
    store.leases.lease(&node, &[LeaseChange::Opened(opened), LeaseChange::Closed(ended)]).await.unwrap();
    services.presence.refused(&ann);
    let (user, change) = next(&mut events).await;
    assert!(user == "ann" && matches!(change, PresenceChange::Offline { .. }), "{user} {change:?}");
}

/// While the lease of a dead node lasts, its users count as connected to it.
#[actix::test]
async fn users_of_a_dead_node_go_offline_with_its_lease() {
    tokio::time::pause();
    let (hub, mut events) = recording_hub();
    let store = StoreParts::of(Arc::new(MemoryStore::default()));
    let services = services_with(store.clone(), vec![hub]);
    let (process, term) = (Process::current(), Duration::from_secs(3_600));
    let beta = Node { id: "beta".into(), incarnation: "1".into(), process };
    store.leases.renew(&beta, SystemTime::now(), term).await.unwrap();
    let since = SystemTime::now() - Duration::from_secs(60);
    let lease = |connection: &str, user: &str| {
        let (connection, user_agent, transport) = (connection.into(), String::new(), String::new());
        LeaseChange::Opened(Lease { connection, user: Some(user.into()), user_agent, transport, since })
    };
    let ann = begin(&services, "ann");
    assert_eq!(next(&mut events).await, ("ann".into(), PresenceChange::Online));
    store.leases.lease(&beta, &[lease("a", "ann"), lease("b", "bob")]).await.unwrap();
    end(&services, &ann);
    // A connection of ann ended after the last renewal of beta.
    let (connection, at) = ("c".into(), SystemTime::now() + Duration::from_secs(1));
    let closed = LeaseChange::Closed(LeaseEnd { connection, since, at, reason: CloseReason::ClientClosed });
    store.leases.lease(&beta, &[lease("c", "ann"), closed]).await.unwrap();
    sleep(Duration::from_secs(60)).await;
    assert!(events.try_recv().is_err(), "ann is connected to beta");
    // Its lease expires, and the next renewal of this node closes the leases of its connections.
    store.leases.release(&beta).await.unwrap();
    let gone = [next(&mut events).await, next(&mut events).await];
    let mut gone = gone.map(|(user, change)| (user, matches!(change, PresenceChange::Offline { .. })));
    gone.sort();
    assert_eq!(gone, ["ann", "bob"].map(|user| (user.to_owned(), true)));
}

#[actix::test]
async fn each_change_of_a_bulk_call_is_an_event() {
    let (hub, mut events) = recording_hub();
    let services = services(vec![hub]);
    let users = Users::new(&services, &"chat".into(), &Requester::application());
    users.add_to_group("bob", "lobby").await.unwrap();
    assert_eq!(next(&mut events).await, ("bob".into(), PresenceChange::Joined));
    users.add_users_to_group(["ann", "bob", "cid"], "lobby").await.unwrap();
    let joined = [next(&mut events).await, next(&mut events).await];
    assert_eq!(joined, ["ann", "cid"].map(|user| (user.to_owned(), PresenceChange::Joined)), "bob was a member");
    users.remove_from_all_groups("cid").await.unwrap();
    assert_eq!(next(&mut events).await, ("cid".into(), PresenceChange::Left));
    assert!(events.try_recv().is_err());
}

#[actix::test]
async fn departures_of_a_storm_share_queries() {
    tokio::time::pause();
    let (hub, mut events) = recording_hub();
    let store = Arc::new(FaultyStore::new(MemoryStore::default()));
    let services = services_with(StoreParts::of(Arc::clone(&store)), vec![hub]);
    let queries = || store.calls().iter().filter(|call| **call == "activity").count();
    let handles: Vec<_> = (0..500).map(|number| begin(&services, &number.to_string())).collect();
    for _ in &handles {
        next(&mut events).await;
    }
    let before = queries();
    for handle in &handles {
        end(&services, handle);
        sleep(Duration::from_millis(1)).await;
    }
    for _ in &handles {
        assert!(matches!(next(&mut events).await.1, PresenceChange::Offline { .. }));
    }
    assert!(queries() - before <= 20, "{} queries", queries() - before);
}

/// The later changes of the same memberships wait for the handlers.
#[actix::test]
async fn handlers_of_a_call_have_one_budget() {
    tokio::time::pause();
    let hub = Hub::new("chat").on_presence(|_| std::future::pending());
    let services = services(vec![hub]);
    let users = Users::new(&services, &"chat".into(), &Requester::application());
    let (start, names) = (tokio::time::Instant::now(), (0..200).map(|number| number.to_string()));
    users.add_users_to_group(names, "lobby").await.unwrap();
    assert!((5_000..5_100).contains(&start.elapsed().as_millis()), "{:?}", start.elapsed());
    assert_eq!(services.metrics.presence_failures.get(), 200);
}

/// The handler of a change may change other memberships.
#[actix::test]
async fn handler_can_change_other_memberships() {
    let (sender, mut events) = mpsc::unbounded_channel();
    let hub = Hub::new("chat").on_presence(move |event| {
        let sender = sender.clone();
        async move {
            if event.groups == ["lobby".into()] {
                event.users().add_to_group(event.user.clone(), "news").await.expect("the store works");
            }
            sender.send(event.groups).expect("the test runs");
        }
    });
    let services = services(vec![hub]);
    let users = Users::new(&services, &"chat".into(), &Requester::application());
    users.add_to_group("ann", "lobby").await.unwrap();
    assert_eq!([events.recv().await, events.recv().await], [Some(vec!["news".into()]), Some(vec!["lobby".into()])]);
}

#[actix::test]
async fn page_of_presence_is_bounded() {
    let services = services(Vec::new());
    let users = Users::new(&services, &"chat".into(), &Requester::application());
    let groups = Groups::new(&services, &"chat".into(), &Requester::application());
    for batch in 0..3 {
        let names = (0..1_000).map(|number| format!("user {}", batch * 1_000 + number));
        users.add_users_to_group(names, "big").await.unwrap();
    }
    let page = groups.presence("big", &crate::store::Page { after: None, limit: u64::MAX }).await.unwrap();
    assert_eq!((page.members.len() as u64, page.total), (MAX_PRESENCE_PAGE, Some(3_000)));
}
