//! The reconciler, with real connections and groups. The tests change the store without the engine, as another process
//! does.

use super::*;
use crate::{
    hub::{
        Reconciled, Requester, Users,
        reconciler::{Reconcile, Reconciler},
    },
    store::{
        self, MembershipStore, Owner,
        faulty::{FaultMode, FaultyStore},
    },
    supervised::Crash,
};

const INTERVAL: Duration = Duration::from_secs(60);

/// An engine with a reconciler, and the store behind it.
struct Reconciling {
    engine: TestEngine,
    store: Arc<FaultyStore<MemoryStore>>,
    reconciler: Supervised<Reconciler>,
}

impl Reconciling {
    fn start(interval: Option<Duration>) -> Self {
        tokio::time::pause();
        let store = Arc::new(FaultyStore::new(MemoryStore::default()));
        let engine = TestEngine::with_store(StoreParts::of(Arc::clone(&store)));
        let services = Arc::clone(&engine.services);
        let start = move || Reconciler::new(Arc::clone(&services), interval);
        let reconciler = Supervised::start("reconciler", &Arbiter::current(), start);
        Self { engine, store, reconciler }
    }

    async fn reconcile(&self) -> Result<Reconciled, store::Error> {
        self.reconciler.ask(|answer| Reconcile { answer }).await.expect("the actor runs or restarts")
    }

    /// The numbers of joins and leaves of one comparison.
    async fn changes(&self) -> (u64, u64) {
        let Reconciled { joined, left } = self.reconcile().await.unwrap();
        (joined, left)
    }

    async fn store_add(&self, user: &str, group: &str) {
        self.store.add(&owner(user), &group.into()).await.unwrap();
    }

    async fn store_remove(&self, user: &str, group: &str) {
        self.store.remove(&owner(user), &group.into()).await.unwrap();
    }

    fn users(&self) -> Users {
        Users::new(&self.engine.services, &"chat".into(), &Requester::application())
    }

    async fn is_member(&self, client: &TestClient, group: &str) -> bool {
        let snapshot = self.engine.services.groups.inspect(&key(group)).await.unwrap().unwrap_or_default();
        snapshot.members.contains(&client.id)
    }
}

fn owner(user: &str) -> Owner {
    Owner { hub: "chat".into(), user: user.into() }
}

#[actix::test]
async fn change_of_another_process_reaches_connections() {
    let mut test = Reconciling::start(None);
    let (first, second) = (test.engine.connect("ann", &[]).await, test.engine.connect("ann", &["lobby"]).await);
    let bob = test.engine.connect("bob", &[]).await;
    test.store_add("ann", "lobby").await;
    assert_eq!(test.changes().await, (1, 0), "the other connection was in the group");
    assert!(test.is_member(&first, "lobby").await && test.is_member(&second, "lobby").await);
    assert!(!test.is_member(&bob, "lobby").await);
    assert_eq!(test.changes().await, (0, 0));
    test.store_remove("ann", "lobby").await;
    assert_eq!(test.changes().await, (0, 2));
    assert!(!test.is_member(&first, "lobby").await && !test.is_member(&second, "lobby").await);
    let metrics = &test.engine.services.metrics;
    assert_eq!((metrics.reconciled_joins.get(), metrics.reconciled_leaves.get()), (1, 2));
    assert_eq!(metrics.reconcile_passes.get(), 3);
}

#[actix::test]
async fn groups_joined_without_durability_stay() {
    let mut test = Reconciling::start(None);
    let ann = test.engine.connect("ann", &["lobby"]).await;
    test.store_add("ann", "news").await;
    assert_eq!(test.changes().await, (1, 0));
    test.store_remove("ann", "news").await;
    assert_eq!(test.changes().await, (0, 1));
    assert!(test.is_member(&ann, "lobby").await);
}

#[actix::test]
async fn left_durable_group_is_not_joined_again() {
    let mut test = Reconciling::start(None);
    let ann = test.engine.connect("ann", &[]).await;
    test.users().add_to_group("ann", "lobby").await.unwrap();
    let left = test.engine.services.router.leave(&ann.id, &key("lobby")).await;
    assert_eq!(left, Ok(Some(Left::Now)));
    assert_eq!(test.changes().await, (0, 0));
    assert!(!test.is_member(&ann, "lobby").await);
    test.store_remove("ann", "lobby").await;
    assert_eq!(test.changes().await, (0, 0));
    test.store_add("ann", "lobby").await;
    assert_eq!(test.changes().await, (1, 0), "it is another membership");
    assert!(test.is_member(&ann, "lobby").await);
}

#[actix::test]
async fn leave_during_a_restore_is_not_undone() {
    let mut test = Reconciling::start(None);
    test.store_add("ann", "lobby").await;
    let ann = test.engine.open("ann").await;
    test.store.set_mode(FaultMode::Hold);
    ann.send("connect").await;
    let left = test.engine.services.router.leave(&ann.id, &key("lobby")).await;
    assert_eq!(left, Ok(Some(Left::NotMember)));
    test.store.set_mode(FaultMode::None);
    assert_eq!(test.engine.event_log.recv().await.as_deref(), Some("connected"));
    sleep(Duration::from_secs(1)).await;
    assert_eq!(test.changes().await, (0, 0));
    assert!(!test.is_member(&ann, "lobby").await);
}

#[actix::test]
async fn client_is_compared_once_it_is_admitted() {
    let mut test = Reconciling::start(None);
    test.engine.gate.send_replace(false);
    let ann = test.engine.connect("ann", &[]).await;
    test.store_add("ann", "lobby").await;
    assert_eq!(test.changes().await, (0, 0));
    test.engine.gate.send_replace(true);
    sleep(Duration::from_secs(1)).await;
    assert_eq!(test.changes().await, (1, 0));
    assert!(test.is_member(&ann, "lobby").await);
}

#[actix::test]
async fn running_change_is_not_taken_for_a_difference() {
    let mut test = Reconciling::start(None);
    let ann = test.engine.connect("ann", &[]).await;
    let services = Arc::clone(&test.engine.services);
    let lock = services.durable.lock(&owner("ann"), &"lobby".into()).await.unwrap();
    test.store_add("ann", "lobby").await;
    let reconciler = test.reconciler.clone();
    let reconciled = actix::spawn(async move { reconciler.ask(|answer| Reconcile { answer }).await });
    sleep(Duration::from_secs(1)).await;
    assert!(!reconciled.is_finished() && !test.is_member(&ann, "lobby").await);
    test.store_remove("ann", "lobby").await;
    drop(lock);
    assert_eq!(reconciled.await.unwrap().unwrap().unwrap(), Reconciled::default());
    assert!(!test.is_member(&ann, "lobby").await);
}

#[actix::test]
async fn comparisons_begin_at_intervals() {
    let mut test = Reconciling::start(Some(INTERVAL));
    let ann = test.engine.connect("ann", &[]).await;
    test.store_add("ann", "lobby").await;
    sleep(INTERVAL - Duration::from_secs(1)).await;
    assert!(!test.is_member(&ann, "lobby").await);
    sleep(Duration::from_secs(2)).await;
    assert!(test.is_member(&ann, "lobby").await);
    test.store_remove("ann", "lobby").await;
    sleep(INTERVAL).await;
    assert!(!test.is_member(&ann, "lobby").await);
    assert_eq!(test.engine.services.metrics.reconcile_passes.get(), 2);
}

#[actix::test]
async fn membership_restart_begins_a_comparison() {
    let mut test = Reconciling::start(Some(INTERVAL));
    let ann = test.engine.connect("ann", &[]).await;
    test.store_add("ann", "lobby").await;
    for restarts in 1..=2 {
        let _ = test.engine.services.durable.membership.send_once(Crash).await;
        sleep(Duration::from_secs(2)).await;
        assert!(test.is_member(&ann, "lobby").await);
        assert_eq!(test.engine.services.metrics.reconcile_passes.get(), restarts);
    }
}

#[actix::test]
async fn crashed_reconciler_goes_on_comparing() {
    let mut test = Reconciling::start(Some(INTERVAL));
    let ann = test.engine.connect("ann", &[]).await;
    test.store_add("ann", "lobby").await;
    let _ = test.reconciler.send_once(Crash).await;
    sleep(INTERVAL + Duration::from_secs(1)).await;
    assert!(test.is_member(&ann, "lobby").await);
}

#[actix::test]
async fn failed_comparison_is_repeated_later() {
    let mut test = Reconciling::start(Some(INTERVAL));
    let ann = test.engine.connect("ann", &[]).await;
    test.store_add("ann", "lobby").await;
    test.store.set_mode(FaultMode::Refuse);
    assert!(matches!(test.reconcile().await, Err(store::Error::Unavailable(_))));
    let metrics = &test.engine.services.metrics;
    assert_eq!((metrics.store_failures.get(), metrics.reconcile_passes.get()), (1, 0));
    test.store.set_mode(FaultMode::None);
    sleep(INTERVAL + Duration::from_secs(1)).await;
    assert!(test.is_member(&ann, "lobby").await);
}

#[actix::test]
async fn membership_lost_between_store_and_join_is_repaired() {
    let mut test = Reconciling::start(None);
    let ann = test.engine.connect("ann", &[]).await;
    test.store.set_mode(FaultMode::LoseReply);
    assert!(test.users().add_to_group("ann", "lobby").await.is_err(), "it is stored, but the caller does not know");
    test.store.set_mode(FaultMode::None);
    assert!(!test.is_member(&ann, "lobby").await);
    assert_eq!(test.changes().await, (1, 0));
    assert!(test.is_member(&ann, "lobby").await);
}
