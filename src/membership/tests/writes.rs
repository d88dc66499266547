use tokio::sync::oneshot;

use super::*;
use crate::store::{Change, Members, MembershipChange, MembershipStore, Page};

/// Holds the store until `requests` are waiting in the actor. The paused clock advances when all tasks are idle.
async fn release_when_idle(harness: &Harness) {
    sleep(Duration::from_millis(1)).await;
    harness.store.set_mode(FaultMode::None);
}

#[actix::test]
async fn queued_changes_share_transactions() {
    let harness = Harness::new();
    harness.write(MembershipOp::Add, "ann", "room").await.unwrap();
    let before = harness.store.calls().len();
    harness.store.set_mode(FaultMode::Hold);
    let users: Vec<_> = (0..1_000).map(|number| format!("user {number}")).collect();
    let writes = join_all(users.iter().map(|user| harness.write(MembershipOp::Add, user, "room")));
    let (answers, ()) = join!(writes, release_when_idle(&harness));
    assert!(answers.iter().all(|answer| matches!(answer, Ok(Change::Applied))));
    let calls = harness.store.calls().len() - before;
    assert!(calls <= 6, "{calls} calls");
    let page = Page { after: None, limit: 0 };
    assert_eq!(
        MembershipStore::members(&*harness.store, &"chat".into(), &"room".into(), &page).await.unwrap().total,
        Some(1_001)
    );
}

#[actix::test]
async fn changes_of_one_request_share_a_transaction() {
    let harness = Harness::new();
    harness.write(MembershipOp::Add, "ann", "7").await.unwrap();
    let before = harness.store.calls().len();
    let groups = 0..MAX_WRITE_BATCH * 2;
    let change = |number: usize| {
        let (owner, group) = (owner("ann"), number.to_string().into());
        MembershipChange { owner, group, op: MembershipOp::Add }
    };
    let effects = harness.write_all(groups.clone().map(change).collect()).await.unwrap();
    assert_eq!(harness.store.calls()[before..], ["apply"]);
    assert_eq!(effects.len(), groups.len());
    assert!(effects.iter().enumerate().all(|(number, effect)| (*effect == Change::Unchanged) == (number == 7)));
    assert_eq!(harness.write_all(Vec::new()).await.unwrap(), []);
}

#[actix::test]
async fn user_with_many_changes_delays_no_other() {
    tokio::time::pause();
    let membership = start(StoreParts {
        memberships: Arc::new(SlowStore(MemoryStore::default())),
        ..StoreParts::of(Arc::new(MemoryStore::default()))
    });
    let write = async |user: &str, number: usize| {
        let group = number.to_string().into();
        let change = MembershipChange { owner: owner(user), group, op: MembershipOp::Add };
        membership.ask(|answer| Write { changes: vec![change.clone()], answer }).await.unwrap().unwrap();
    };
    let written = std::cell::Cell::new(0);
    let many = join_all((0..5_000).map(|number| {
        let (write, written) = (&write, &written);
        async move {
            write("ann", number).await;
            written.set(written.get() + 1);
        }
    }));
    let one = async {
        // The first transactions of ann have ended, and the rest of her changes wait.
        sleep(CALL_DURATION * 3).await;
        let before = written.get();
        write("bob", 0).await;
        written.get() - before
    };
    let (_, overtaken) = join!(many, one);
    assert!(overtaken <= MAX_WRITE_BATCH * 2, "{overtaken} changes of ann were written first");
}

#[actix::test]
async fn durable_changes_come_before_leases() {
    let harness = Harness::new();
    harness.write(MembershipOp::Add, "ann", "room").await.unwrap();
    let before = harness.store.calls().len();
    harness.store.set_mode(FaultMode::Hold);
    let leases = async {
        for connection in ["a", "b"] {
            harness.update_lease(opened(connection)).await;
        }
    };
    let (first, (), second, ()) = join!(
        harness.write(MembershipOp::Add, "ann", "one"),
        leases,
        harness.write(MembershipOp::Add, "ann", "two"),
        release_when_idle(&harness)
    );
    assert!(first.is_ok() && second.is_ok());
    assert_eq!(harness.count_leases().await, 2);
    assert_eq!(harness.store.calls()[before..before + 3], ["apply", "apply", "lease"]);
}

#[actix::test]
async fn leases_are_written_despite_many_changes() {
    let harness = Harness::new();
    harness.update_lease(opened("a")).await;
    let stop = std::cell::Cell::new(false);
    let changes = async {
        for number in 0.. {
            if stop.get() {
                break;
            }
            harness.write(MembershipOp::Add, "ann", &number.to_string()).await.unwrap();
            tokio::time::advance(Duration::from_millis(100)).await;
        }
    };
    let leased = async {
        while !harness.store.calls().contains(&"lease") {
            tokio::task::yield_now().await;
        }
        stop.set(true);
    };
    join!(changes, leased);
}

#[actix::test]
async fn checks_share_one_write_per_second() {
    let harness = Harness::new();
    sleep(Duration::from_secs(2)).await;
    let before = harness.store.calls().len();
    assert!(join_all((0..50).map(|_| harness.check())).await.iter().all(Result::is_ok));
    assert!(harness.check().await.is_ok());
    assert_eq!(harness.store.calls()[before..], ["renew", "delete_expired", "groups_of"]);
    sleep(Duration::from_secs(1)).await;
    assert!(harness.check().await.is_ok());
    assert_eq!(harness.store.calls()[before + 3..], ["renew", "delete_expired", "groups_of"]);
}

#[actix::test]
async fn check_of_failing_store_says_why() {
    let harness = Harness::new();
    sleep(Duration::from_secs(2)).await;
    harness.store.set_mode(FaultMode::Refuse);
    assert_eq!(harness.check().await.unwrap_err().to_string(), "the store is unavailable: injected fault");
    harness.store.set_mode(FaultMode::Hold);
    let asked = Instant::now();
    assert_eq!(harness.check().await.unwrap_err().to_string(), "the store is unavailable: injected fault");
    assert!(asked.elapsed() < Duration::from_secs(1));
    harness.store.set_mode(FaultMode::None);
    assert!(harness.check().await.is_ok());
    sleep(Duration::from_secs(2)).await;
    harness.store.set_mode(FaultMode::Hold);
    assert_eq!(harness.check().await.unwrap_err().to_string(), "the store is unavailable: no answer in time");
}

/// Probes ask again before a check of silent memberships ends. The store of leases is another one.
#[actix::test]
async fn leases_are_written_while_memberships_are_silent() {
    tokio::time::pause();
    let memberships = Arc::new(FaultyStore::new(MemoryStore::default()));
    memberships.set_mode(FaultMode::Hold);
    let leases = Arc::new(MemoryStore::default());
    let parts = StoreParts { memberships, ..StoreParts::of(Arc::clone(&leases)) };
    let membership = start(parts);
    for connection in ["a", "b", "c"] {
        assert!(membership.ask(|answer| Check { answer }).await.unwrap().is_err());
        membership.send_once(LeaseUpdate { change: opened(connection) }).await.unwrap();
        sleep(Duration::from_secs(1)).await;
        assert!(leases.find(&connection.into()).await.unwrap().is_some(), "{connection}");
    }
}

/// The store of memberships can fail alone.
#[actix::test]
async fn check_fails_while_memberships_are_unreadable() {
    let memberships = Arc::new(FaultyStore::new(MemoryStore::default()));
    memberships.set_mode(FaultMode::Refuse);
    let other = StoreParts::of(Arc::new(MemoryStore::default()));
    let membership = start(StoreParts { memberships: Arc::clone(&memberships) as _, ..other });
    let check = async || membership.ask(|answer| Check { answer }).await.unwrap();
    assert_eq!(check().await.unwrap_err().to_string(), "the store is unavailable: injected fault");
    memberships.set_mode(FaultMode::None);
    assert!(check().await.is_ok());
}

const CALL_DURATION: Duration = Duration::from_millis(10);

/// A store that takes time, and cannot store one group.
struct SlowStore(MemoryStore);

fn start(store: StoreParts) -> Supervised<Membership> {
    let node = Node { id: "alpha".into(), incarnation: "1".into(), process: Process::current() };
    let config = MembershipConfig { node, deadline: DEADLINE, lease: LEASE, token_lifetime: LEASE };
    Supervised::start("membership", &Arbiter::current(), move || {
        Membership::new(store.clone(), config.clone(), Connections::default(), Arc::default(), Reports::new().0)
    })
}

impl MembershipStore for SlowStore {
    async fn apply(&self, changes: &[MembershipChange]) -> Result<Vec<Change>, Error> {
        sleep(CALL_DURATION).await;
        if changes.iter().any(|change| *change.group == *"bad") {
            return Err(Error::Corrupt("a bad group".into()));
        }
        MembershipStore::apply(&self.0, changes).await
    }

    async fn groups_of(&self, owners: &[Owner]) -> Result<Vec<Vec<GroupName>>, Error> {
        MembershipStore::groups_of(&self.0, owners).await
    }

    async fn members(&self, _: &crate::ids::HubName, _: &GroupName, _: &Page) -> Result<Members, Error> {
        Ok(Members::default())
    }
}

#[actix::test]
async fn refused_change_fails_without_its_batch() {
    let (mut batch, mut answers) = (Vec::new(), Vec::new());
    for group in ["one", "bad", "two"] {
        let (answer, answered) = oneshot::channel();
        let change = MembershipChange { owner: owner("ann"), group: group.into(), op: MembershipOp::Add };
        batch
            .push(WithDeadline { deadline: Instant::now() + DEADLINE, value: Write { changes: vec![change], answer } });
        answers.push(answered);
    }
    tokio::time::pause();
    let store = SlowStore(MemoryStore::default());
    assert_eq!(write_changes(&store, batch).await, 1);
    let answers = join_all(answers).await;
    assert!(matches!(&answers[1], Ok(Err(Error::Corrupt(_)))));
    for index in [0, 2] {
        assert!(matches!(&answers[index], Ok(Ok(effects)) if **effects == [Change::Applied]), "{index}");
    }
    assert_eq!(MembershipStore::groups_of(&store, &[owner("ann")]).await.unwrap()[0], ["one".into(), "two".into()]);
}
