//! Tests of the pace, with stubs for connections.

use tokio::time::{Instant, sleep};

use super::*;
use crate::{
    connections::{Command, Connections, DurableSnapshot},
    group::Joined,
    hub::tests::{register_with, services_with},
    store::{
        MembershipStore, Owner, StoreParts,
        faulty::{FaultMode, FaultyStore},
        memory::MemoryStore,
    },
    supervised::Supervised,
};

const INTERVAL: Duration = Duration::from_secs(60);

/// A connection of the hub `chat` in no durable group, which joins every group.
struct InNoGroup;

impl Actor for InNoGroup {
    type Context = Context<Self>;
}

impl Handler<Command> for InNoGroup {
    type Result = ();

    fn handle(&mut self, command: Command, _: &mut Self::Context) {
        match command {
            Command::InspectDurable(answer) => {
                let snapshot = DurableSnapshot { hubs: vec!["chat".into()], groups: Vec::new() };
                answer.send(snapshot).expect("the reconciler waits");
            }
            Command::Join { answer, .. } => answer.send(Ok(Joined::Now)).expect("the reconciler waits"),
            _ => unreachable!("the reconciler sends no other command"),
        }
    }
}

/// A connection in no durable group that keeps commands without an answer.
#[derive(Default)]
struct Blocked {
    answers_inspections: bool,
    kept: Vec<Command>,
}

impl Actor for Blocked {
    type Context = Context<Self>;
}

impl Handler<Command> for Blocked {
    type Result = ();

    fn handle(&mut self, command: Command, ctx: &mut Self::Context) {
        match command {
            Command::InspectDurable(_) if self.answers_inspections => {
                let address = InNoGroup.start();
                let forwarded = async move { address.send(command).await.expect("the stub runs") };
                ctx.spawn(forwarded.into_actor(self));
            }
            command => self.kept.push(command),
        }
    }
}

struct Harness {
    store: Arc<FaultyStore<MemoryStore>>,
    connections: Connections,
    services: Arc<HubServices>,
    reconciler: Supervised<Reconciler>,
}

impl Harness {
    /// A reconciler with one connection for each of many users.
    async fn start(users: usize) -> Self {
        tokio::time::pause();
        let store = Arc::new(FaultyStore::new(MemoryStore::default()));
        let services = services_with(StoreParts::of(Arc::clone(&store)), Vec::new());
        let stub = InNoGroup.start();
        for number in 0..users {
            let name = number.to_string();
            register_with(&services, "chat", &name, Some(&name), stub.clone().recipient());
        }
        let shared = Arc::clone(&services);
        let start = move || Reconciler::new(Arc::clone(&shared), Some(INTERVAL));
        let reconciler = Supervised::start("reconciler", &Arbiter::current(), start);
        // The first start of the actor is not part of the interval.
        tokio::task::yield_now().await;
        Self { store, connections: services.connections.clone(), services, reconciler }
    }

    /// The number of queries for memberships. Each renewal of the node, which ends with `delete_expired`, makes another one
    /// to check the store.
    fn queries(&self) -> usize {
        let calls = self.store.calls();
        let count = |name| calls.iter().filter(|call| **call == name).count();
        count("groups_of") - count("delete_expired")
    }

    async fn reconcile(&self) -> Result<Reconciled, Error> {
        self.reconciler.ask(|answer| Reconcile { answer }).await.expect("the actor runs or restarts")
    }
}

#[actix::test]
async fn users_are_spread_over_the_interval() {
    let harness = Harness::start(2_001).await;
    let mut queries = Vec::new();
    for _ in 0..12 {
        sleep(INTERVAL / 6).await;
        sleep(Duration::from_millis(10)).await;
        queries.push(harness.queries());
    }
    assert_eq!(queries, [0, 0, 0, 0, 0, 1, 1, 2, 2, 3, 3, 4]);
    assert_eq!(harness.services.metrics.reconcile_passes.get(), 1);
}

#[actix::test]
async fn requested_comparison_takes_short_pauses() {
    let harness = Harness::start(2_001).await;
    let started = Instant::now();
    assert_eq!(harness.reconcile().await.unwrap(), Reconciled::default());
    assert_eq!(harness.queries(), 3);
    let elapsed = started.elapsed();
    assert!((pass::MIN_PAUSE * 2..pass::MIN_PAUSE * 3).contains(&elapsed), "{elapsed:?}");
}

#[actix::test]
async fn requests_during_a_comparison_share_the_next() {
    let harness = Harness::start(1).await;
    harness.store.set_mode(FaultMode::Hold);
    let begin = async {
        harness.store.wait_for_calls(harness.store.calls().len() + 1).await;
        sleep(Duration::from_secs(1)).await;
        harness.store.set_mode(FaultMode::None);
    };
    let (first, second, third, ()) = tokio::join!(harness.reconcile(), harness.reconcile(), harness.reconcile(), begin);
    assert!(first.is_ok() && second.is_ok() && third.is_ok());
    assert_eq!(harness.queries(), 2);
}

#[actix::test]
async fn later_request_does_not_restart_a_comparison() {
    let harness = Harness::start(2_001).await;
    let first = async {
        assert!(harness.reconcile().await.is_ok());
        harness.queries()
    };
    let second = async {
        sleep(pass::MIN_PAUSE + pass::MIN_PAUSE / 2).await;
        assert!(harness.reconcile().await.is_ok());
        harness.queries()
    };
    let (first, second) = tokio::join!(first, second);
    assert!((3..=4).contains(&first), "{first} queries");
    assert_eq!(second, 6);
}

#[actix::test]
async fn request_interrupts_a_slow_comparison() {
    let harness = Harness::start(2_001).await;
    sleep(INTERVAL + Duration::from_secs(1)).await;
    assert_eq!(harness.queries(), 1);
    assert!(harness.reconcile().await.is_ok());
    assert_eq!((harness.queries(), harness.services.metrics.reconcile_passes.get()), (4, 1));
}

fn owner(user: &str) -> Owner {
    Owner { hub: "chat".into(), user: user.into() }
}

#[actix::test]
async fn blocked_connections_do_not_delay_others() {
    let harness = Harness::start(1).await;
    harness.store.add(&owner("0"), &"lobby".into()).await.unwrap();
    for number in 0..500 {
        let user = format!("blocked {number}");
        register_with(&harness.services, "chat", &user, Some(&user), Blocked::default().start().recipient());
    }
    let started = Instant::now();
    assert_eq!(harness.reconcile().await.unwrap(), Reconciled { joined: 1, left: 0 });
    assert!((1_000..1_100).contains(&started.elapsed().as_millis()), "{:?}", started.elapsed());
}

#[actix::test]
async fn blocked_connection_does_not_hold_locks() {
    let harness = Harness::start(0).await;
    let blocked = Blocked { answers_inspections: true, kept: Vec::new() };
    register_with(&harness.services, "chat", "ann1", Some("ann"), blocked.start().recipient());
    harness.store.add(&owner("ann"), &"lobby".into()).await.unwrap();
    assert_eq!(harness.reconcile().await.unwrap(), Reconciled::default());
    let started = Instant::now();
    assert!(harness.services.durable.lock(&owner("ann"), &"lobby".into()).await.is_ok());
    assert_eq!(started.elapsed(), Duration::ZERO);
}

#[actix::test]
async fn draining_process_compares_nobody() {
    let harness = Harness::start(1).await;
    harness.services.drain.begin();
    assert_eq!(harness.reconcile().await.unwrap(), Reconciled::default());
    assert_eq!((harness.queries(), harness.connections.count()), (0, 1));
}
