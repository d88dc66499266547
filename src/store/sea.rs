//! A store in a database, through SeaORM: SQLite, PostgreSQL, MySQL or MariaDB.
//!
//! Only this module and its submodules know tables and statements; only they use the crates `entities` (the tables)
//! and `migration` (the schema changes). The statements are the same for all databases; `backend` and the module of each
//! database contain the differences. Connecting also migrates the schema. The connection pool closes when its last
//! clone is dropped.
//!
//! Each writing method is one transaction, which first locks the rows that its decisions depend on: a row is locked by an
//! insert that changes nothing if the row exists. `renew` is three: the renewal, and two deletions of old rows. No method
//! learns from a failed statement: PostgreSQL ends the transaction of such a statement. A transaction that the database
//! ends because of another one is repeated.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, SystemTime},
};

use log::warn;
use sea_orm::{DatabaseConnection, DatabaseTransaction as Transaction, DbErr};
use secrecy::{ExposeSecret, SecretString};

use self::{backend::Backend, conflicts::retry_conflicts, runtime::StoreRuntime};
use super::{
    Change, Error, GroupList, LeaseChange, LeaseRecord, LeaseStore, Members, MembershipChange, MembershipStore, Node,
    Owner, Page, Redeemed, Redemption, Renewal, TokenStore, UserActivity,
};
use crate::ids::{ConnectionId, GroupKey, GroupName, HubName, NodeId, UserId};

mod activity;
mod backend;
mod closing;
mod conflicts;
mod errors;
mod expiry;
mod leases;
mod memberships;
mod millis;
#[cfg(feature = "mysql")]
mod mysql;
mod nodes;
mod parameters;
#[cfg(feature = "postgres")]
mod postgres;
mod runtime;
#[cfg(any(feature = "mysql", feature = "postgres"))]
mod server;
mod settled;
mod sqlite;
mod tokens;

/// A store in a database.
#[derive(Clone, Debug)]
pub struct SeaStore {
    backend: Backend,
    db: DatabaseConnection,
    /// The address. It can contain a password.
    url: SecretString,
    runtime: StoreRuntime,
    /// Whether the last deletion of old rows after a renewal has failed.
    prune_fails: Arc<AtomicBool>,
    _anchor: sqlite::Anchor,
}

/// The time limits of the database. A healthy database answers much faster. Order: those of a call end before the deadline
/// of the caller, 5 s, so that the caller hears why the call failed.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(not(any(feature = "mysql", feature = "postgres")), expect(dead_code, reason = "some are for servers"))]
struct Timeouts {
    /// The maximum time to open a SQLite database, including the wait for other processes that open it.
    open: Duration,
    /// The maximum wait for a connection of the pool. After it, a call returns [`Error::Unavailable`].
    acquire: Duration,
    /// The maximum wait for a lock of the database. After it, a call returns [`Error::Unavailable`].
    lock: Duration,
    /// The maximum time of a statement on a server.
    statement: Duration,
    /// After that time without a statement, a server ends a transaction: its process has stopped.
    idle_transaction: Duration,
}

const TIMEOUTS: Timeouts = Timeouts {
    // Longer than a start of the machine keeps its disk and processors busy.
    open: Duration::from_secs(30),
    acquire: Duration::from_secs(3),
    lock: Duration::from_secs(3),
    statement: Duration::from_secs(4),
    idle_transaction: Duration::from_secs(10),
};

/// Time limits for tests: other processes can keep the disk and the processors of a test machine busy for many seconds.
#[cfg(any(test, feature = "testkit"))]
const TEST_TIMEOUTS: Timeouts = {
    const MINUTE: Duration = Duration::from_secs(60);
    Timeouts { open: MINUTE, acquire: MINUTE, lock: MINUTE, statement: MINUTE, idle_transaction: MINUTE }
};

/// The maximum number of bind variables in one statement: few enough for a statement of some milliseconds, and below the
/// lowest limit of the databases (SQLite: 32,766).
const MAX_BIND_VARIABLES: usize = 2_000;

/// The maximum number of prepared statements that a connection keeps. A batch is a statement of its own for each number
/// of rows, and a long one takes up to 100 KB. The statements with a fixed number of rows are fewer than this.
const PREPARED_STATEMENTS: usize = 16;

impl SeaStore {
    /// Connects to a database, and creates or migrates its tables.
    ///
    /// * `sqlite:///path/hubcast.db` is a file; it is created if it is missing, unless the address sets `?mode=rw`.
    ///   `sqlite::memory:` is a database in memory that lives as long as the store.
    /// * `postgres://user:password@host:5432/database` is a database of a PostgreSQL server (feature `postgres`).
    /// * `mysql://user:password@host:3306/database` is a database of a MySQL or MariaDB server (feature `mysql`).
    ///
    /// # Errors
    ///
    /// [`Error::Address`] if `url` is not the address of a supported database, [`Error::Refused`] if the server refuses the
    /// user, lacks the database or TLS, or does not let the user change tables, [`Error::Unavailable`] if the database
    /// cannot be opened now, [`Error::Corrupt`] if the file is not a database, or has an unknown schema.
    pub async fn connect(url: &str) -> Result<Self, Error> {
        Self::connect_within(url, TIMEOUTS).await
    }

    /// As [`SeaStore::connect`], for tests: the time limits of the database are a minute, because a test machine can be
    /// busy for longer than a service waits.
    ///
    /// # Errors
    /// Those of [`SeaStore::connect`].
    #[cfg(any(test, feature = "testkit"))]
    pub async fn connect_with_test_timeouts(url: &str) -> Result<Self, Error> {
        Self::connect_within(url, TEST_TIMEOUTS).await
    }

    /// The fault of an address, without any of its secrets. Neither files nor the database are opened.
    #[cfg(feature = "service")]
    pub(crate) fn address_fault(url: &str) -> Option<String> {
        Backend::of(url).err().map(Error::into_text)
    }

    async fn connect_within(url: &str, timeouts: Timeouts) -> Result<Self, Error> {
        let backend = Backend::of(url)?;
        // On the heap: the state of these calls is large, and the compiler limits how deep calls can be nested.
        let (db, _anchor) = Box::pin(backend.open(url, timeouts)).await?;
        let migrated = Box::pin(backend.migrate(url, &db)).await;
        migrated.map_err(|error| errors::connecting(&backend.shown_address(url), &error))?;
        backend.prepare(&db).await?;
        let (runtime, prune_fails) = (StoreRuntime::current(), Arc::default());
        Ok(Self { backend, db, url: url.into(), runtime, prune_fails, _anchor })
    }

    async fn begin(&self) -> Result<Transaction, DbErr> {
        self.backend.begin(&self.db).await
    }

    async fn apply_once(&self, changes: &[MembershipChange]) -> Result<Vec<Change>, DbErr> {
        let transaction = self.begin().await?;
        let effects = memberships::apply(&transaction, changes).await?;
        transaction.commit().await?;
        Ok(effects)
    }

    async fn lease_once(&self, node: &Node, changes: &[LeaseChange]) -> Result<(), DbErr> {
        let transaction = self.begin().await?;
        leases::write(&transaction, node, changes).await?;
        transaction.commit().await
    }

    async fn renew_once(&self, node: &Node, now: SystemTime, term: Duration) -> Result<Renewal, DbErr> {
        let transaction = self.begin().await?;
        let renewal = nodes::renew(&transaction, node, now, term).await?;
        transaction.commit().await?;
        Ok(renewal)
    }

    async fn prune_leases_once(&self, now: i64) -> Result<(), DbErr> {
        let transaction = self.begin().await?;
        closing::prune_leases(&transaction, now).await?;
        transaction.commit().await
    }

    async fn prune_last_seen_once(&self, now: i64) -> Result<(), DbErr> {
        let transaction = self.begin().await?;
        closing::prune_last_seen(&transaction, now).await?;
        transaction.commit().await
    }

    /// Deletes closed leases and last-seen times that are too old or too many. If it fails, the next renewal repeats it. The
    /// log has the first failure of several in a row, because each renewal would add one.
    ///
    /// Order: after the renewal, and each table by itself, because the renewal has locked rows of both.
    async fn prune(&self, now: SystemTime) {
        let now = millis::floor(now);
        let leases = retry_conflicts(|| self.prune_leases_once(now)).await;
        let seen = retry_conflicts(|| self.prune_last_seen_once(now)).await;
        let result = leases.and(seen);
        let failed_before = self.prune_fails.swap(result.is_err(), Relaxed);
        if let Err(error) = result
            && !failed_before
        {
            warn!(error:% = error; "failed to delete old leases and last-seen times; will retry at each renewal");
        }
    }

    async fn release_once(&self, node: &Node) -> Result<(), DbErr> {
        let transaction = self.begin().await?;
        nodes::release(&transaction, node).await?;
        transaction.commit().await
    }

    async fn redeem_once(&self, redemptions: &[Redemption]) -> Result<Vec<Redeemed>, DbErr> {
        if redemptions.iter().all(|redemption| redemption.single_use.is_none()) {
            return tokens::check(&self.db, redemptions).await;
        }
        let transaction = self.begin().await?;
        let mut redeemed = tokens::check(&transaction, redemptions).await?;
        tokens::record(&transaction, redemptions, &mut redeemed).await?;
        transaction.commit().await?;
        Ok(redeemed)
    }

    async fn revoke_once(&self, user: &UserId, before: SystemTime) -> Result<(), DbErr> {
        let transaction = self.begin().await?;
        tokens::revoke(&transaction, user, before).await?;
        transaction.commit().await
    }

    async fn revoke_group_once(&self, group: &GroupKey, before: SystemTime) -> Result<(), DbErr> {
        let transaction = self.begin().await?;
        tokens::revoke_group(&transaction, group, before).await?;
        transaction.commit().await
    }

    async fn save_lists_once(&self, lists: &[GroupList]) -> Result<u64, DbErr> {
        let transaction = self.begin().await?;
        let refused = tokens::save_lists(&transaction, lists).await?;
        transaction.commit().await?;
        Ok(refused)
    }

    async fn release_holders_once(&self, node: &NodeId, connections: &[ConnectionId]) -> Result<(), DbErr> {
        let transaction = self.begin().await?;
        tokens::release(&transaction, node, connections).await?;
        transaction.commit().await
    }

    async fn delete_expired_once(&self, now: SystemTime, term: Duration, lifetime: Duration) -> Result<(), DbErr> {
        let transaction = self.begin().await?;
        let now_at = tokens::delete_expired(&transaction, now, term).await?;
        let longest = tokens::longest_lifetime(&transaction, lifetime).await?;
        memberships::delete_revocations(&transaction, now_at.saturating_sub(longest)).await?;
        tokens::delete_group_revocations(&transaction, now_at.saturating_sub(longest)).await?;
        transaction.commit().await
    }
}

impl MembershipStore for SeaStore {
    async fn groups_of(&self, owners: &[Owner]) -> Result<Vec<Vec<GroupName>>, Error> {
        Ok(self.runtime.run(memberships::groups_of(&self.db, owners)).await?)
    }

    async fn apply(&self, changes: &[MembershipChange]) -> Result<Vec<Change>, Error> {
        self.runtime.run(retry_conflicts(|| self.apply_once(changes))).await
    }

    async fn members(&self, hub: &HubName, group: &GroupName, page: &Page) -> Result<Members, Error> {
        Ok(self.runtime.run(memberships::members(&self.db, hub, group, page)).await?)
    }
}

impl LeaseStore for SeaStore {
    async fn lease(&self, node: &Node, changes: &[LeaseChange]) -> Result<(), Error> {
        self.runtime.run(retry_conflicts(|| self.lease_once(node, changes))).await
    }

    async fn renew(&self, node: &Node, now: SystemTime, term: Duration) -> Result<Renewal, Error> {
        let renew = async {
            match retry_conflicts(|| self.renew_once(node, now, term)).await {
                Ok(renewal) => {
                    if matches!(renewal, Renewal::Renewed { .. }) {
                        self.prune(now).await;
                    }
                    self.backend.release_space(&self.db).await;
                    Ok(renewal)
                }
                // The log explains an outage by the error of a renewal.
                Err(Error::Unavailable(text)) => Err(self.backend.explain(self.url.expose_secret(), text).await),
                Err(error) => Err(error),
            }
        };
        self.runtime.run(renew).await
    }

    async fn release(&self, node: &Node) -> Result<(), Error> {
        self.runtime.run(retry_conflicts(|| self.release_once(node))).await
    }

    async fn nodes(&self) -> Result<u64, Error> {
        Ok(self.runtime.run(nodes::count(&self.db)).await?)
    }

    async fn find(&self, connection: &ConnectionId) -> Result<Option<LeaseRecord>, Error> {
        Ok(self.runtime.run(activity::find(&self.db, connection)).await?)
    }

    async fn activity(&self, users: &[UserId], now: SystemTime) -> Result<Vec<UserActivity>, Error> {
        Ok(self.runtime.run(activity::activity(&self.db, users, now)).await?)
    }
}

impl TokenStore for SeaStore {
    async fn redeem_all(&self, redemptions: &[Redemption]) -> Result<Vec<Redeemed>, Error> {
        self.runtime.run(retry_conflicts(|| self.redeem_once(redemptions))).await
    }

    async fn revoke(&self, user: &UserId, before: SystemTime) -> Result<(), Error> {
        self.runtime.run(retry_conflicts(|| self.revoke_once(user, before))).await
    }

    async fn revoke_group(&self, group: &GroupKey, before: SystemTime) -> Result<(), Error> {
        self.runtime.run(retry_conflicts(|| self.revoke_group_once(group, before))).await
    }

    async fn save_lists(&self, lists: &[GroupList]) -> Result<u64, Error> {
        self.runtime.run(retry_conflicts(|| self.save_lists_once(lists))).await
    }

    async fn release_holders(&self, node: &NodeId, connections: &[ConnectionId]) -> Result<(), Error> {
        self.runtime.run(retry_conflicts(|| self.release_holders_once(node, connections))).await
    }

    async fn delete_expired(&self, now: SystemTime, term: Duration, lifetime: Duration) -> Result<(), Error> {
        self.runtime.run(retry_conflicts(|| self.delete_expired_once(now, term, lifetime))).await
    }
}

#[cfg(test)]
mod tests;
