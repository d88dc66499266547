use std::{
    sync::{Mutex, OnceLock},
    time::SystemTime,
};

use futures_util::future::join_all;
use tokio::{join, sync::watch, time::sleep};

use super::*;
use crate::{
    connections::{Command, ConnectionHandle, ConnectionInfo, Pace},
    ids::GroupName,
    message::WireForm,
    outbox::{Limits, Outbox, ReplayLimits},
    payload::Format,
    store::{
        Change, CloseReason, Lease, LeaseChange, LeaseEnd, LeaseStore, MembershipChange, MembershipOp, Process,
        Renewal,
        faulty::{FaultMode, FaultyStore},
        memory::MemoryStore,
    },
    supervised::{Crash, Died, Supervised},
};

mod node_names;
mod writes;

const DEADLINE: Duration = Duration::from_secs(5);
const LEASE: Duration = Duration::from_secs(30);

/// A membership actor with a store that fails on demand. The clock is paused: it advances only when all tasks are idle.
struct Harness {
    store: Arc<FaultyStore<MemoryStore>>,
    connections: Connections,
    metrics: Arc<Metrics>,
    membership: Supervised<Membership>,
    process: Process,
    node_name: watch::Receiver<NodeName>,
}

impl Harness {
    fn new() -> Self {
        tokio::time::pause();
        let store = Arc::new(FaultyStore::new(MemoryStore::default()));
        let (connections, metrics) = (Connections::default(), Arc::new(Metrics::default()));
        let parts = (Arc::clone(&store), connections.clone(), Arc::clone(&metrics));
        let (process, (reports, node_name, _)) = (Process::current(), Reports::new());
        let own = process.clone();
        let membership = Supervised::start("membership", &Arbiter::current(), move || {
            let (store, connections, metrics) = parts.clone();
            let node = Node { id: "alpha".into(), incarnation: crate::ids::secret(), process: own.clone() };
            let config = MembershipConfig { node, deadline: DEADLINE, lease: LEASE, token_lifetime: LEASE };
            Membership::new(StoreParts::of(store), config, connections, metrics, reports.clone())
        });
        Self { store, connections, metrics, membership, process, node_name }
    }

    async fn load(&self, user: &str) -> Result<Vec<GroupName>, Error> {
        let owner = owner(user);
        self.membership.ask(|answer| Load { owner: owner.clone(), answer }).await.expect("the actor runs or restarts")
    }

    async fn write(&self, op: MembershipOp, user: &str, group: &str) -> Result<Change, Error> {
        let change = MembershipChange { owner: owner(user), group: group.into(), op };
        self.write_all(vec![change]).await.map(|effects| effects[0])
    }

    async fn write_all(&self, changes: Vec<MembershipChange>) -> Result<Vec<Change>, Error> {
        let write = |answer| Write { changes: changes.clone(), answer };
        self.membership.ask(write).await.expect("the actor runs or restarts")
    }

    async fn update_lease(&self, change: LeaseChange) {
        self.membership.send(LeaseUpdate { change }).await.unwrap();
    }

    /// The number of open leases in the store. Closes them, as the renewal by a new incarnation of the node does. The paused
    /// clock advances when all lease changes are written.
    async fn count_leases(&self) -> u64 {
        sleep(Duration::from_millis(1)).await;
        let successor = Node { id: "alpha".into(), incarnation: "the next run".into(), process: self.process.clone() };
        renew(&*self.store, &successor, SystemTime::now()).await
    }

    async fn check(&self) -> Result<(), Error> {
        self.membership.ask(|answer| Check { answer }).await.expect("the actor runs or restarts")
    }

    async fn crash(&self) {
        assert_eq!(self.membership.send_once(Crash).await, Err(Died));
    }
}

async fn renew(store: &impl LeaseStore, node: &Node, now: SystemTime) -> u64 {
    match LeaseStore::renew(store, node, now, LEASE).await.unwrap() {
        Renewal::Renewed { closed, .. } => closed,
        Renewal::Held(lease) => panic!("held by {lease:?}"),
    }
}

fn owner(user: &str) -> Owner {
    Owner { hub: "chat".into(), user: user.into() }
}

fn opened(connection: &str) -> LeaseChange {
    let (user_agent, transport) = (String::new(), String::new());
    LeaseChange::Opened(Lease { connection: connection.into(), user: None, user_agent, transport, since: since() })
}

fn closed(connection: &str) -> LeaseChange {
    let (connection, reason) = (connection.into(), CloseReason::Lost);
    LeaseChange::Closed(LeaseEnd { connection, since: since(), at: SystemTime::now(), reason })
}

/// When the connections of the tests were opened.
fn since() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

fn is_unavailable<T>(answer: &Result<T, Error>) -> bool {
    matches!(answer, Err(Error::Unavailable(_)))
}

/// Stands in for the actor of a connection.
struct Probe;

impl Actor for Probe {
    type Context = Context<Self>;
}

impl Handler<Command> for Probe {
    type Result = ();

    fn handle(&mut self, _: Command, _: &mut Self::Context) {}
}

static FORM: WireForm = WireForm { slot: 0, format: Format::Json, answers: false, encode: |_| bytes::Bytes::new() };

fn handle(id: &str) -> Arc<ConnectionHandle> {
    let info = ConnectionInfo {
        dialect: "test",
        hubs: Vec::new(),
        transport: Mutex::new("webSockets"),
        remote: None,
        user_agent: Box::default(),
        since: SystemTime::now(),
    };
    let outbox = Outbox::new(&FORM, Limits::default(), ReplayLimits::default());
    let probe = Probe.start();
    let commands = probe.recipient();
    Arc::new(ConnectionHandle {
        id: id.into(),
        user: None,
        hub: None,
        outbox,
        info,
        ended: OnceLock::new(),
        pace: Pace::default(),
        commands,
    })
}

#[actix::test]
async fn writes_are_visible_to_loads() {
    let harness = Harness::new();
    assert_eq!(harness.load("ann").await.unwrap(), []);
    assert_eq!(harness.write(MembershipOp::Add, "ann", "room").await.unwrap(), Change::Applied);
    assert_eq!(harness.write(MembershipOp::Add, "ann", "room").await.unwrap(), Change::Unchanged);
    assert_eq!(harness.load("ann").await.unwrap(), ["room".into()]);
    assert_eq!(harness.write(MembershipOp::Remove, "ann", "room").await.unwrap(), Change::Applied);
    assert_eq!(harness.write(MembershipOp::Remove, "ann", "room").await.unwrap(), Change::Unchanged);
    assert_eq!(harness.load("ann").await.unwrap(), []);
}

#[actix::test]
async fn writes_take_effect_in_request_order() {
    let harness = Harness::new();
    let ops = [MembershipOp::Add, MembershipOp::Remove, MembershipOp::Add, MembershipOp::Remove, MembershipOp::Add];
    let answers = join_all(ops.map(|op| harness.write(op, "ann", "room"))).await;
    assert!(answers.iter().all(|answer| matches!(answer, Ok(Change::Applied))), "{answers:?}");
    assert_eq!(harness.load("ann").await.unwrap(), ["room".into()]);
}

/// The first load gets a query of its own. The loads that arrive while it runs share the next queries, up to a thousand
/// in each.
#[actix::test]
async fn storm_of_loads_costs_few_queries() {
    let harness = Harness::new();
    harness.write(MembershipOp::Add, "user 4321", "room").await.unwrap();
    let before = harness.store.calls().len();
    let users: Vec<_> = (0..5_000).map(|number| format!("user {number}")).collect();
    harness.store.set_mode(FaultMode::Hold);
    let release = async {
        // The paused clock advances when all tasks are idle, that is when all loads have arrived.
        sleep(Duration::from_millis(1)).await;
        harness.store.set_mode(FaultMode::None);
    };
    let (answers, ()) = join!(join_all(users.iter().map(|user| harness.load(user))), release);
    let found: Vec<_> = (0..users.len()).filter(|index| !answers[*index].as_ref().unwrap().is_empty()).collect();
    assert_eq!(found, [4321], "each load gets the groups of its own user");
    let queries = harness.store.calls().len() - before;
    assert!(queries <= 7, "{queries} queries");
}

#[actix::test]
async fn short_outage_is_retried() {
    let harness = Harness::new();
    harness.store.set_mode(FaultMode::Refuse);
    let recovery = async {
        harness.store.wait_for_calls(harness.store.calls().len() + 5).await;
        harness.store.set_mode(FaultMode::None);
    };
    let (loaded, written, ()) = join!(harness.load("ann"), harness.write(MembershipOp::Add, "ann", "room"), recovery);
    assert!(loaded.is_ok(), "{loaded:?}");
    assert_eq!(written.unwrap(), Change::Applied);
}

/// Each request has its own full deadline, regardless of the requests before it.
async fn check_requests_fail_at_deadline(fault: FaultMode) {
    let harness = Harness::new();
    harness.store.set_mode(fault);
    join_all((0..8).map(|delay| check_answers_within_deadline(&harness, delay))).await;
    assert!(harness.metrics.store_failures.get() >= 16);
    harness.store.set_mode(FaultMode::None);
    assert!(harness.load("ann").await.is_ok());
    assert!(harness.write(MembershipOp::Add, "ann", "room").await.is_ok());
}

async fn check_answers_within_deadline(harness: &Harness, delay: u64) {
    sleep(Duration::from_secs(delay)).await;
    let (asked, group) = (Instant::now(), delay.to_string());
    let (loaded, written) = join!(harness.load("ann"), harness.write(MembershipOp::Add, "ann", &group));
    assert!(is_unavailable(&loaded) && is_unavailable(&written), "{loaded:?}, {written:?}");
    assert!(asked.elapsed() <= DEADLINE + Duration::from_millis(10), "{:?}", asked.elapsed());
}

#[actix::test]
async fn refusing_store_fails_requests_at_deadline() {
    check_requests_fail_at_deadline(FaultMode::Refuse).await;
}

#[actix::test]
async fn silent_store_fails_requests_at_deadline() {
    check_requests_fail_at_deadline(FaultMode::Hold).await;
}

#[actix::test]
async fn lost_replies_fail_requests_at_deadline() {
    check_requests_fail_at_deadline(FaultMode::LoseReply).await;
}

#[actix::test]
async fn restarted_actor_answers_pending_requests() {
    let harness = Harness::new();
    harness.write(MembershipOp::Add, "ann", "room").await.unwrap();
    harness.store.set_mode(FaultMode::Hold);
    let calls = harness.store.calls().len();
    let crash = async {
        harness.store.wait_for_calls(calls + 2).await;
        harness.crash().await;
        harness.store.set_mode(FaultMode::None);
    };
    let loads = join_all((0..100).map(|_| harness.load("ann")));
    let (loads, written, ()) = join!(loads, harness.write(MembershipOp::Add, "bob", "room"), crash);
    assert!(loads.iter().all(|groups| groups.as_ref().unwrap() == &["room".into()]));
    assert!(written.is_ok());
    assert_eq!(harness.membership.restarts(), 1);
}

#[actix::test]
async fn requests_fail_if_actor_keeps_crashing() {
    let harness = Harness::new();
    harness.store.set_mode(FaultMode::Hold);
    let (waiting, ()) = join!(harness.membership.ask(|answer| Load { owner: owner("ann"), answer }), async {
        for _ in 0..2 {
            let calls = harness.store.calls().len();
            harness.store.wait_for_calls(calls + 1).await;
            harness.crash().await;
        }
    });
    assert!(waiting.is_err() || is_unavailable(&waiting.unwrap()));
    harness.store.set_mode(FaultMode::None);
    assert!(harness.load("ann").await.is_ok());
}

#[actix::test]
async fn leases_are_written_and_closed() {
    let harness = Harness::new();
    for connection in ["a", "b", "c"] {
        harness.update_lease(opened(connection)).await;
    }
    harness.update_lease(closed("b")).await;
    assert_eq!(harness.count_leases().await, 2);
}

#[actix::test]
async fn lease_changes_survive_outage() {
    let harness = Harness::new();
    for fault in [FaultMode::Refuse, FaultMode::Hold] {
        harness.store.set_mode(fault);
        harness.update_lease(opened("a")).await;
        harness.update_lease(opened("b")).await;
        sleep(LEASE).await;
        harness.update_lease(closed("a")).await;
        harness.store.set_mode(FaultMode::None);
        sleep(LEASE).await;
        assert_eq!(harness.count_leases().await, 1, "{fault:?}");
    }
}

#[actix::test]
async fn restarted_actor_writes_lost_leases() {
    let harness = Harness::new();
    harness.store.set_mode(FaultMode::Refuse);
    harness.update_lease(opened("ended")).await;
    for id in ["a", "b"] {
        assert!(harness.connections.register(&handle(id)));
        harness.update_lease(opened(id)).await;
    }
    harness.store.set_mode(FaultMode::None);
    harness.crash().await;
    assert!(harness.load("ann").await.is_ok(), "the actor has restarted");
    assert_eq!(harness.count_leases().await, 2);
}

/// The restarted actor does not know `ended`: its lease is in the store, but the connection is not in the directory.
#[actix::test]
async fn restart_closes_leases_of_unknown_connections() {
    let harness = Harness::new();
    assert!(harness.connections.register(&handle("a")));
    harness.update_lease(opened("a")).await;
    harness.update_lease(opened("ended")).await;
    sleep(Duration::from_millis(1)).await;
    harness.crash().await;
    assert!(harness.load("ann").await.is_ok(), "the actor has restarted");
    assert_eq!(harness.count_leases().await, 1);
}

#[actix::test]
async fn node_considered_dead_rewrites_its_leases() {
    let harness = Harness::new();
    assert!(harness.connections.register(&handle("a")));
    harness.update_lease(opened("a")).await;
    sleep(Duration::from_millis(1)).await;
    harness.store.set_mode(FaultMode::Refuse);
    sleep(LEASE * 2).await;
    harness.store.set_mode(FaultMode::None);
    let beta = Node { id: "beta".into(), incarnation: "1".into(), process: Process::current() };
    let closed = renew(&*harness.store, &beta, SystemTime::now() + LEASE * 2).await;
    assert_eq!(closed, 1);
    sleep(LEASE).await;
    assert_eq!(harness.count_leases().await, 1);
}
