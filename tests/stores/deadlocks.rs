//! Checks that concurrent calls of two processes do not wait for each other in a circle. Otherwise a call can fail: a
//! transaction that the database ends is tried again only a few times.

use std::sync::LazyLock;

use futures_util::try_join;
use hubcast::store::{
    Error, MembershipChange, MembershipOp, MembershipStore, Owner, conformance::memberships, sea::SeaStore,
};
use hubcast_fixtures::databases::DatabaseServer;

/// A server for these checks only, because its count of deadlocks is that of all databases.
static MARIADB: LazyLock<DatabaseServer> = LazyLock::new(DatabaseServer::mariadb);

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

/// Generates a test for each check.
macro_rules! deadlock_checks {
    ($stores:expr => $($check:ident)*) => {
        mod do_not_deadlock {
            $(
                #[tokio::test]
                async fn $check() {
                    crate::deadlocks::$check($stores).await;
                }
            )*
        }
    };
    ($stores:expr) => {
        $crate::deadlocks::deadlock_checks! { $stores =>
            single_changes
            bulk_changes_in_opposite_order
            bulk_changes_of_different_users
        }
    };
}
pub(crate) use deadlock_checks;
