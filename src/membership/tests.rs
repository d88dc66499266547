use std::sync::RwLock;

use futures_util::future::join_all;
use tokio::{join, time::sleep};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::{
    connections::{Address, Command, ConnectionInfo},
    message::WireForm,
    outbox::{Limits, Outbox, ReplayLimits},
    store::{
        Store,
        faulty::{Fault, Faulty},
        memory::MemoryStore,
    },
    supervised::{Crash, Died, Supervised},
};

const DEADLINE: Duration = Duration::from_secs(5);
const TERM: Duration = Duration::from_secs(30);

/// A supervisor over a store that fails on demand. The clock stands still unless everybody waits for it.
struct House {
    store: Arc<Faulty<MemoryStore>>,
    connections: Connections,
    metrics: Arc<Metrics>,
    membership: Supervised<Membership>,
}

impl House {
    fn new() -> Self {
        tokio::time::pause();
        let store = Arc::new(Faulty::new(MemoryStore::default()));
        let (connections, metrics) = (Connections::default(), Arc::new(Metrics::default()));
        let inside = (Arc::clone(&store), connections.clone(), Arc::clone(&metrics));
        let membership = Supervised::start("membership", &Arbiter::current(), move || {
            let (store, connections, metrics) = inside.clone();
            let node = Node { id: "alpha".into(), incarnation: crate::ids::secret() };
            Membership::new(store, MembershipConfig { node, deadline: DEADLINE, lease: TERM }, connections, metrics)
        });
        Self { store, connections, metrics, membership }
    }

    async fn load(&self, user: &str) -> Result<Vec<GroupName>, Error> {
        let owner = owner(user);
        self.membership.ask(|answer| Load { owner: owner.clone(), answer }).await.expect("it lives, or comes back")
    }

    async fn write(&self, verb: Verb, user: &str, group: &str) -> Result<Change, Error> {
        let write = |answer| Write { owner: owner(user), group: group.into(), verb, answer };
        self.membership.ask(write).await.expect("it lives, or comes back")
    }

    async fn note(&self, change: LeaseChange) {
        self.membership.send(LeaseUpdate { change }).await.unwrap();
    }

    /// How many rows of connections the store has; it forgets them with the answer. What is written is
    /// written in order, so a write that is answered comes after the notes before it.
    async fn rows(&self) -> u64 {
        self.write(Verb::Remove, "nobody", "nothing").await.unwrap();
        let successor = Node { id: "alpha".into(), incarnation: "the next run".into() };
        Store::renew(&*self.store, &successor, SystemTime::now(), TERM).await.unwrap()
    }

    async fn crash(&self) {
        assert_eq!(self.membership.send_once(Crash).await, Err(Died));
    }
}

fn owner(user: &str) -> Owner {
    Owner { hub: "chat".into(), user: user.into() }
}

fn opened(connection: &str) -> LeaseChange {
    let (user_agent, transport) = (String::new(), String::new());
    LeaseChange::Opened(Lease {
        connection: connection.into(),
        user: None,
        user_agent,
        transport,
        since: SystemTime::now(),
    })
}

fn is_unavailable<T>(answer: &Result<T, Error>) -> bool {
    matches!(answer, Err(Error::Unavailable(_)))
}

/// Stands where a connection would.
struct Probe;

impl Actor for Probe {
    type Context = Context<Self>;
}

impl Handler<Command> for Probe {
    type Result = ();

    fn handle(&mut self, _: Command, _: &mut Self::Context) {}
}

static FORM: WireForm = WireForm { slot: 0, encode: |_| bytes::Bytes::new() };

fn handle(id: &str) -> Arc<ConnectionHandle> {
    let about = ConnectionInfo {
        dialect: "test",
        hubs: Vec::new(),
        transport: RwLock::new("webSockets"),
        remote: None,
        user_agent: String::new(),
        since: SystemTime::now(),
    };
    let outbox = Outbox::new(&FORM, Limits::default(), ReplayLimits::default());
    let probe = Probe.start();
    let (port, address) = (probe.clone().recipient(), Address::new(probe));
    let ended = CancellationToken::new();
    Arc::new(ConnectionHandle { id: id.into(), user: None, hub: None, outbox, about, ended, port, address })
}

#[actix::test]
async fn what_is_written_is_loaded() {
    let house = House::new();
    assert_eq!(house.load("ann").await.unwrap(), []);
    assert_eq!(house.write(Verb::Add, "ann", "room").await.unwrap(), Change::Made);
    assert_eq!(house.write(Verb::Add, "ann", "room").await.unwrap(), Change::Already);
    assert_eq!(house.load("ann").await.unwrap(), ["room".into()]);
    assert_eq!(house.write(Verb::Remove, "ann", "room").await.unwrap(), Change::Made);
    assert_eq!(house.write(Verb::Remove, "ann", "room").await.unwrap(), Change::Already);
    assert_eq!(house.load("ann").await.unwrap(), []);
}

#[actix::test]
async fn changes_take_effect_in_the_order_in_which_they_were_asked_for() {
    let house = House::new();
    let verbs = [Verb::Add, Verb::Remove, Verb::Add, Verb::Remove, Verb::Add];
    let answers = join_all(verbs.map(|verb| house.write(verb, "ann", "room"))).await;
    assert!(answers.iter().all(|answer| matches!(answer, Ok(Change::Made))), "{answers:?}");
    assert_eq!(house.load("ann").await.unwrap(), ["room".into()]);
}

/// The first asks alone; whoever comes while it waits shares the next queries, a thousand in each.
#[actix::test]
async fn a_storm_of_connections_costs_a_few_queries() {
    let house = House::new();
    house.write(Verb::Add, "user 4321", "room").await.unwrap();
    let before = house.store.calls();
    let users: Vec<_> = (0..5_000).map(|number| format!("user {number}")).collect();
    house.store.set(Fault::Hold);
    let busy = async {
        // The clock moves when nobody has anything to do any more: all have asked.
        sleep(Duration::from_millis(1)).await;
        house.store.set(Fault::None);
    };
    let (answers, ()) = join!(join_all(users.iter().map(|user| house.load(user))), busy);
    let found: Vec<_> = (0..users.len()).filter(|place| !answers[*place].as_ref().unwrap().is_empty()).collect();
    assert_eq!(found, [4321], "to each their own");
    let queries = house.store.calls() - before;
    assert!(queries <= 7, "{queries} queries");
}

#[actix::test]
async fn a_short_outage_is_waited_out() {
    let house = House::new();
    house.store.set(Fault::Refuse);
    let mend = async {
        house.store.arrived(house.store.calls() + 5).await;
        house.store.set(Fault::None);
    };
    let (loaded, written, ()) = join!(house.load("ann"), house.write(Verb::Add, "ann", "room"), mend);
    assert!(loaded.is_ok(), "{loaded:?}");
    assert_eq!(written.unwrap(), Change::Made);
}

/// Whoever asks later has as long as whoever asked first.
async fn check_that_nobody_waits_longer_than_the_deadline(fault: Fault) {
    let house = House::new();
    house.store.set(fault);
    join_all((0..8).map(|delay| check_patience(&house, delay))).await;
    assert!(house.metrics.store_failures.get() >= 16);
    house.store.set(Fault::None);
    assert!(house.load("ann").await.is_ok());
    assert!(house.write(Verb::Add, "ann", "room").await.is_ok());
}

async fn check_patience(house: &House, delay: u64) {
    sleep(Duration::from_secs(delay)).await;
    let (asked, group) = (Instant::now(), delay.to_string());
    let (loaded, written) = join!(house.load("ann"), house.write(Verb::Add, "ann", &group));
    assert!(is_unavailable(&loaded) && is_unavailable(&written), "{loaded:?}, {written:?}");
    assert!(asked.elapsed() <= DEADLINE + Duration::from_millis(10), "{:?}", asked.elapsed());
}

#[actix::test]
async fn a_store_that_refuses_is_given_up_in_time() {
    check_that_nobody_waits_longer_than_the_deadline(Fault::Refuse).await;
}

#[actix::test]
async fn a_store_that_is_silent_is_given_up_in_time() {
    check_that_nobody_waits_longer_than_the_deadline(Fault::Hold).await;
}

#[actix::test]
async fn a_store_whose_answers_are_lost_is_given_up_in_time() {
    check_that_nobody_waits_longer_than_the_deadline(Fault::Lose).await;
}

#[actix::test]
async fn who_waits_while_the_supervisor_dies_is_answered_by_its_successor() {
    let house = House::new();
    house.write(Verb::Add, "ann", "room").await.unwrap();
    house.store.set(Fault::Hold);
    let seen = house.store.calls();
    let kill = async {
        house.store.arrived(seen + 2).await;
        house.crash().await;
        house.store.set(Fault::None);
    };
    let loads = join_all((0..100).map(|_| house.load("ann")));
    let (loads, written, ()) = join!(loads, house.write(Verb::Add, "bob", "room"), kill);
    assert!(loads.iter().all(|groups| groups.as_ref().unwrap() == &["room".into()]));
    assert!(written.is_ok());
    assert_eq!(house.membership.restarts(), 1);
}

#[actix::test]
async fn a_supervisor_that_dies_over_and_over_leaves_nobody_waiting() {
    let house = House::new();
    house.store.set(Fault::Hold);
    let (waiting, ()) = join!(house.membership.ask(|answer| Load { owner: owner("ann"), answer }), async {
        for _ in 0..2 {
            let seen = house.store.calls();
            house.store.arrived(seen + 1).await;
            house.crash().await;
        }
    });
    assert!(waiting.is_err() || is_unavailable(&waiting.unwrap()));
    house.store.set(Fault::None);
    assert!(house.load("ann").await.is_ok());
}

#[actix::test]
async fn rows_of_connections_are_written_and_removed() {
    let house = House::new();
    for connection in ["a", "b", "c"] {
        house.note(opened(connection)).await;
    }
    house.note(LeaseChange::Closed("b".into())).await;
    assert_eq!(house.rows().await, 2);
}

#[actix::test]
async fn rows_wait_for_the_end_of_an_outage() {
    let house = House::new();
    for fault in [Fault::Refuse, Fault::Hold] {
        house.store.set(fault);
        house.note(opened("a")).await;
        house.note(opened("b")).await;
        sleep(TERM).await;
        house.note(LeaseChange::Closed("a".into())).await;
        house.store.set(Fault::None);
        sleep(TERM).await;
        assert_eq!(house.rows().await, 1, "{fault:?}");
    }
}

#[actix::test]
async fn a_successor_writes_the_rows_that_its_predecessor_took_along() {
    let house = House::new();
    house.store.set(Fault::Refuse);
    house.note(opened("ended")).await;
    for id in ["a", "b"] {
        assert!(house.connections.enter(&handle(id)));
        house.note(opened(id)).await;
    }
    house.store.set(Fault::None);
    house.crash().await;
    assert!(house.load("ann").await.is_ok(), "it lives again");
    assert_eq!(house.rows().await, 2);
}

/// The end of `ended` was known to the dead alone.
#[actix::test]
async fn a_successor_removes_the_rows_of_connections_that_ended_unnoticed() {
    let house = House::new();
    assert!(house.connections.enter(&handle("a")));
    house.note(opened("a")).await;
    house.note(opened("ended")).await;
    house.write(Verb::Remove, "nobody", "nothing").await.unwrap();
    house.crash().await;
    assert!(house.load("ann").await.is_ok(), "it lives again");
    assert_eq!(house.rows().await, 1);
}

#[actix::test]
async fn a_node_that_was_taken_for_dead_opens_its_rows_again() {
    let house = House::new();
    assert!(house.connections.enter(&handle("a")));
    house.note(opened("a")).await;
    house.write(Verb::Remove, "nobody", "nothing").await.unwrap();
    house.store.set(Fault::Refuse);
    sleep(TERM * 2).await;
    house.store.set(Fault::None);
    let beta = Node { id: "beta".into(), incarnation: "1".into() };
    let buried = Store::renew(&*house.store, &beta, SystemTime::now() + TERM * 2, TERM).await.unwrap();
    assert_eq!(buried, 1);
    sleep(TERM).await;
    assert_eq!(house.rows().await, 1);
}
