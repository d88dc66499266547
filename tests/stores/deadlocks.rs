//! Checks that concurrent calls of two processes do not wait for each other in a circle. Otherwise a call can fail: a
//! transaction that the database ends is tried again only a few times.

use std::{
    cell::Cell,
    sync::LazyLock,
    time::{Duration, SystemTime},
};

use futures_util::{
    future::{join_all, try_join_all},
    try_join,
};
use hubcast::{
    GroupKey,
    store::{
        CloseReason, Error, GroupList, Holder, Lease, LeaseChange, LeaseEnd, LeaseStore, MembershipChange,
        MembershipOp, MembershipStore, Node, Owner, Process, Redemption, TokenStore, TokenUse,
        conformance::memberships, sea::SeaStore,
    },
};
use hubcast_fixtures::databases::DatabaseServer;

/// A server for these checks only, because its count of deadlocks is that of all databases. So one deadlock fails all checks
/// that end after it.
static MARIADB: LazyLock<DatabaseServer> = LazyLock::new(DatabaseServer::mariadb);

const TERM: Duration = Duration::from_secs(30);

/// The number of changes of tokens that run at the same time as other calls.
const ROUNDS: u32 = 20;

/// The stores of two processes on one new database.
pub(crate) struct Stores {
    server: &'static DatabaseServer,
    url: String,
    both: [SeaStore; 2],
}

impl Stores {
    pub(crate) async fn on_postgres() -> Self {
        let server = DatabaseServer::shared_postgres();
        let url = server.new_database();
        // Calls that wait for each other fail by the limit of the wait for a lock. The server counts them too late.
        let database = url.rsplit('/').next().unwrap();
        server.query(&url, &format!("ALTER DATABASE {database} SET deadlock_timeout = '1h'"));
        Self::open(server, url).await
    }

    pub(crate) async fn on_mariadb() -> Self {
        Self::open(&MARIADB, MARIADB.new_database()).await
    }

    async fn open(server: &'static DatabaseServer, url: String) -> Self {
        let connect = || SeaStore::connect_with_test_timeouts(&url);
        let both = try_join!(connect(), connect()).unwrap().into();
        Self { server, url, both }
    }

    fn check(&self) {
        if self.url.starts_with("mysql:") {
            let count = self.server.query(&self.url, "SHOW GLOBAL STATUS LIKE 'Innodb_deadlocks'");
            assert_eq!(count, "Innodb_deadlocks\t0\n");
        }
    }
}

fn change(op: MembershipOp, user: usize, group: &str) -> MembershipChange {
    let owner = Owner { hub: "chat".into(), user: format!("user {user:03}").into() };
    MembershipChange { owner, group: group.into(), op }
}

async fn add_and_remove(store: &SeaStore, users: &[usize], group: &str) -> Result<(), Error> {
    for op in [MembershipOp::Add, MembershipOp::Remove].into_iter().cycle().take(4) {
        store.apply(&users.iter().map(|user| change(op, *user, group)).collect::<Vec<_>>()).await?;
    }
    Ok(())
}

pub(crate) async fn single_changes(stores: Stores) {
    memberships::concurrent_changes_lose_no_membership(&stores.both[0]).await.unwrap();
    stores.check();
}

pub(crate) async fn bulk_changes_in_opposite_order(stores: Stores) {
    let ([one, other], users) = (&stores.both, Vec::from_iter(0..600));
    let reversed = Vec::from_iter(users.iter().rev().copied());
    try_join!(add_and_remove(one, &users, "room"), add_and_remove(other, &reversed, "room")).unwrap();
    stores.check();
}

/// The changes of a large part of a table wait for no other rows.
pub(crate) async fn bulk_changes_of_different_users(stores: Stores) {
    let ([one, other], users) = (&stores.both, 0..40);
    let (even, odd): (Vec<_>, Vec<_>) = users.partition(|user| user % 2 == 0);
    try_join!(add_and_remove(one, &even, "even"), add_and_remove(other, &odd, "odd")).unwrap();
    stores.check();
}

fn node(name: &str) -> Node {
    Node { id: name.into(), incarnation: "1".into(), process: Process::with_id(name) }
}

/// The time of a round, which is after the leases of the previous one have expired.
fn time(round: u32) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000) + TERM * 2 * round
}

fn opened(connection: usize, since: SystemTime) -> LeaseChange {
    let (user, user_agent) = (Some(format!("user {}", connection % 7).into()), "agent".into());
    let (connection, transport) = (connection.to_string().into(), "webSockets".into());
    LeaseChange::Opened(Lease { connection, user, user_agent, transport, since })
}

fn closed(connection: usize, since: SystemTime, at: SystemTime) -> LeaseChange {
    LeaseChange::Closed(LeaseEnd { connection: connection.to_string().into(), since, at, reason: CloseReason::Lost })
}

/// Connections move from one node to the other, and others back.
pub(crate) async fn leases_that_change_places(stores: Stores) {
    let (even, odd): (Vec<_>, Vec<_>) = (0..100).partition(|connection| connection % 2 == 0);
    let mut places = [even, odd];
    for round in 0..20 {
        places.reverse();
        let write = |index: usize| {
            let (here, there) = (&places[index], &places[1 - index]);
            let opened = here.iter().map(|connection| opened(*connection, time(round + 1)));
            let closed = there.iter().map(|connection| closed(*connection, time(round), time(round + 1)));
            let changes = opened.chain(closed).collect::<Vec<_>>();
            let store = &stores.both[index];
            async move { store.lease(&node(["alpha", "beta"][index]), &changes).await }
        };
        try_join_all([0, 1].map(write)).await.unwrap();
    }
    stores.check();
}

/// After an outage of the database, the leases of all nodes have expired. They renew them, while clients move from one node
/// to another.
pub(crate) async fn renewals_after_an_outage(stores: Stores) {
    let nodes = ["alpha", "beta", "gamma", "delta"].map(node);
    for round in 0..5 {
        let calls = nodes.iter().enumerate().map(|(index, node)| {
            let store = &stores.both[index % 2];
            let moved = (0..100).map(|connection| (connection * 37 + index * 11) % 100);
            let changes = Vec::from_iter(moved.map(|connection| opened(connection, time(round))));
            async move {
                LeaseStore::renew(store, node, time(round), TERM).await?;
                store.lease(node, &changes[index * 20..]).await
            }
        });
        join_all(calls).await.into_iter().collect::<Result<(), _>>().unwrap();
    }
    stores.check();
}

fn redemption(family: usize, epoch: u32, connection: usize, node: &str) -> Redemption {
    let holder = Holder { connection: connection.to_string().into(), node: node.into() };
    // The order of the times is not that of the names.
    let expires_at =
        if family.is_multiple_of(20) { time(epoch + 1) - TERM / 500 * family as u32 } else { time(epoch + ROUNDS) };
    let family = format!("family {family:03}");
    let single_use = Some(TokenUse { family, epoch: epoch.into(), expires_at, holder, ended: None });
    Redemption { user: None, issued_at: time(epoch), groups: Vec::new(), list_of: None, single_use }
}

/// The holders of tokens end while others use later tokens of the same families, and earlier uses expire.
pub(crate) async fn uses_and_ends_of_tokens(stores: Stores) {
    let ([one, other], alpha, round) = (&stores.both, "alpha".into(), Cell::new(0));
    let redeem = async {
        while round.get() < ROUNDS {
            let redemptions = (0..500).map(|family| redemption(family, round.get(), 500 - family, "alpha"));
            one.redeem_all(&redemptions.collect::<Vec<_>>()).await?;
            round.set(round.get() + 1);
        }
        Ok(())
    };
    // Few, so that the database finds them by an index.
    let ended: Vec<_> = (0..=500).step_by(20).map(|connection| connection.to_string().into()).collect();
    let release = async {
        while round.get() < ROUNDS {
            other.release_holders(&alpha, &ended).await?;
        }
        Ok(())
    };
    try_join!(redeem, release, delete_expired(other, &round)).unwrap();
    stores.check();
}

/// Deletes what was written in the rounds before `round`, until the last one.
async fn delete_expired(store: &SeaStore, round: &Cell<u32>) -> Result<(), Error> {
    while round.get() < ROUNDS {
        store.delete_expired(time(round.get()), TERM * 10, TERM).await?;
    }
    Ok(())
}

pub(crate) async fn lists_and_revocations(stores: Stores) {
    let ([one, other], round) = (&stores.both, Cell::new(0));
    let save = async {
        while round.get() < ROUNDS {
            let list = |family: u32| GroupList {
                family: format!("family {family:03}"),
                groups: vec![GroupKey::new(&"chat".into(), &"room".into())],
                omitted: 0,
                written_at: time(round.get()),
                // The order of the times is not that of the names.
                expires_at: time(round.get()) + Duration::from_millis((500 - family).into()),
            };
            one.save_lists(&(0..500).map(list).collect::<Vec<_>>()).await?;
            round.set(round.get() + 1);
        }
        Ok(())
    };
    let revoke = async {
        while round.get() < ROUNDS {
            one.revoke_group(&GroupKey::new(&"chat".into(), &"room".into()), time(round.get())).await?;
            one.revoke(&"ann".into(), time(round.get())).await?;
        }
        Ok(())
    };
    try_join!(save, revoke, delete_expired(other, &round)).unwrap();
    stores.check();
}

/// Generates a test for each check.
macro_rules! deadlock_checks {
    ($stores:expr) => {
        mod do_not_deadlock {
            $crate::support::tests_of! { deadlocks $stores =>
                single_changes
                bulk_changes_in_opposite_order
                bulk_changes_of_different_users
                leases_that_change_places
                renewals_after_an_outage
                uses_and_ends_of_tokens
                lists_and_revocations
            }
        }
    };
}
pub(crate) use deadlock_checks;
