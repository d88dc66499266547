use std::future::Future;

use entities::{
    clock, connection, conversation_room, group_revocation, node, rejoin_family, rejoin_list, user, user_last_seen,
    user_room,
};
use futures_util::future::try_join_all;
use migration::Migrator;
use sea_orm::{
    ConnectionTrait, Database, DbBackend, EntityTrait, Schema, SqliteTransactionMode, Statement, TransactionOptions,
    TransactionTrait,
};
use tempfile::TempDir;

use super::*;
use crate::store::{Holder, Process, TokenUse, Verdict, conformance::commits::poll_then_drop};

/// The limit of a wait that a test lets end.
const SHORT: Duration = Duration::from_secs(1);

/// When a test drops a call that waits for a lock.
const DROP_AFTER: Duration = Duration::from_millis(50);

mod in_memory {
    use super::*;

    crate::store_conformance!(SeaStore::connect_with_test_timeouts("sqlite::memory:").await?);
}

mod on_disk {
    use super::*;

    crate::store_conformance!(TempDatabase::new().open().await?);
}

mod failing_commit;
mod renewals;
mod space;

/// A temporary directory with a database file.
struct TempDatabase(TempDir);

impl TempDatabase {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn url(&self) -> String {
        format!("sqlite://{}/hubcast.db", self.0.path().display())
    }

    async fn open(&self) -> Result<SeaStore, Error> {
        SeaStore::connect_with_test_timeouts(&self.url()).await
    }
}

fn ann() -> Owner {
    Owner { hub: "chat".into(), user: "ann".into() }
}

/// Fails instead of hanging. The limit is above those of [`TEST_TIMEOUTS`].
async fn within<T>(call: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(120), call).await.expect("every call returns in time")
}

async fn query_column(db: &DatabaseConnection, query: &str) -> Vec<String> {
    let rows = db.query_all_raw(Statement::from_string(DbBackend::Sqlite, query)).await.unwrap();
    rows.iter().map(|row| row.try_get_by_index(0).unwrap()).collect()
}

fn single_use_token() -> Redemption {
    let token_use = TokenUse {
        family: "f".into(),
        epoch: 1,
        expires_at: SystemTime::UNIX_EPOCH + Duration::from_secs(60),
        holder: Holder { connection: "one".into(), node: "alpha".into() },
        ended: None,
    };
    Redemption {
        user: None,
        issued_at: SystemTime::UNIX_EPOCH,
        groups: Vec::new(),
        list_of: None,
        single_use: Some(token_use),
    }
}

#[tokio::test]
async fn data_survives_reopening() {
    let file = TempDatabase::new();
    let first = file.open().await.unwrap();
    first.add(&ann(), &"room".into()).await.unwrap();
    first.redeem(&single_use_token()).await.unwrap();
    first.db.close().await.unwrap();
    let second = file.open().await.unwrap();
    assert_eq!(second.groups_of(&[ann()]).await.unwrap(), [["room".into()]]);
    let holder = single_use_token().single_use.unwrap().holder;
    assert_eq!(second.redeem(&single_use_token()).await.unwrap(), Verdict::InUse(holder));
}

#[tokio::test]
async fn stores_started_concurrently_share_one_database() {
    for _ in 0..8 {
        let file = TempDatabase::new();
        let stores = try_join_all((0..4).map(|_| file.open())).await.unwrap();
        let (owner, group) = (ann(), "room".into());
        let adds = stores.iter().map(|store| store.add(&owner, &group));
        let changes = try_join_all(adds).await.unwrap();
        assert_eq!(changes.iter().filter(|change| **change == Change::Applied).count(), 1);
    }
}

#[tokio::test]
async fn migrating_up_and_down_leaves_nothing() {
    let store = SeaStore::connect("sqlite::memory:").await.unwrap();
    let ours = "select name from sqlite_master where tbl_name <> 'seaql_migrations' order by name";
    assert_eq!(query_column(&store.db, ours).await.iter().filter(|name| !name.starts_with("sqlite_")).count(), 21);
    Migrator::down(&store.db, None).await.unwrap();
    assert!(query_column(&store.db, ours).await.is_empty());
    assert!(query_column(&store.db, "select version from seaql_migrations").await.is_empty());
}

#[tokio::test]
async fn used_tokens_survive_the_migration_to_families() {
    let store = SeaStore::connect("sqlite::memory:").await.unwrap();
    Migrator::down(&store.db, Some(9)).await.unwrap();
    let uses = "insert into rejoin_uses (family, epoch, expires_at) values ('f', 1, 5), ('f', 2, 6), ('g', 1, 7)";
    store.db.execute_unprepared(uses).await.unwrap();
    Migrator::up(&store.db, None).await.unwrap();
    let rows = "select concat_ws(' ', family, epoch, expires_at) from rejoin_families order by family";
    assert_eq!(query_column(&store.db, rows).await, ["f 2 6", "g 1 7"]);
    assert_eq!(store.redeem(&single_use_token()).await.unwrap(), Verdict::Replayed);
}

/// The columns and foreign keys of a table, one per entry.
async fn table_schema(db: &DatabaseConnection, table: &str) -> Vec<String> {
    let columns = format!(
        r#"select concat_ws(' ', name, type, "notnull", pk) as line from pragma_table_info('{table}')
        union all select concat_ws(' ', "from", "table", "to", on_update, on_delete)
        from pragma_foreign_key_list('{table}') order by line"#
    );
    query_column(db, &columns).await
}

async fn check_table_schema<E: EntityTrait>(migrated: &SeaStore, entity: E) {
    let expected = Database::connect("sqlite::memory:").await.unwrap();
    expected.execute(&Schema::new(DbBackend::Sqlite).create_table_from_entity(entity)).await.unwrap();
    let table = entity.table_name();
    let columns = table_schema(&migrated.db, table).await;
    assert!(!columns.is_empty(), "{table} is missing");
    assert_eq!(columns, table_schema(&expected, table).await, "{table}");
}

#[tokio::test]
async fn entities_and_migrated_tables_agree() {
    let store = SeaStore::connect("sqlite::memory:").await.unwrap();
    check_table_schema(&store, user::Entity).await;
    check_table_schema(&store, conversation_room::Entity).await;
    check_table_schema(&store, user_room::Entity).await;
    check_table_schema(&store, connection::Entity).await;
    check_table_schema(&store, user_last_seen::Entity).await;
    check_table_schema(&store, node::Entity).await;
    check_table_schema(&store, rejoin_family::Entity).await;
    check_table_schema(&store, clock::Entity).await;
    check_table_schema(&store, group_revocation::Entity).await;
    check_table_schema(&store, rejoin_list::Entity).await;
}

#[tokio::test]
async fn memberships_are_deleted_with_user_or_group() {
    let store = SeaStore::connect("sqlite::memory:").await.unwrap();
    for group in ["one", "two"] {
        store.add(&ann(), &group.into()).await.unwrap();
    }
    conversation_room::Entity::delete_by_id(("chat".into(), "one".into())).exec(&store.db).await.unwrap();
    assert_eq!(store.groups_of(&[ann()]).await.unwrap(), [["two".into()]]);
    user::Entity::delete_by_id("ann").exec(&store.db).await.unwrap();
    assert!(store.groups_of(&[ann()]).await.unwrap()[0].is_empty());
}

#[tokio::test]
async fn locked_database_is_unavailable_until_released() {
    let file = TempDatabase::new();
    let other = file.open().await.unwrap();
    let short = Timeouts { lock: SHORT, ..TEST_TIMEOUTS };
    let store = SeaStore::connect_within(&file.url(), short).await.unwrap();
    let exclusive = Some(SqliteTransactionMode::Exclusive);
    let options = TransactionOptions { sqlite_transaction_mode: exclusive, ..Default::default() };
    let lock = other.db.begin_with_options(options).await.unwrap();
    let refused = within(store.add(&ann(), &"room".into())).await.unwrap_err();
    assert!(matches!(refused, Error::Unavailable(_)), "{refused}");
    let unspent = within(store.redeem(&single_use_token())).await.unwrap_err();
    assert!(matches!(unspent, Error::Unavailable(_)), "{unspent}");
    let short = Timeouts { open: SHORT, ..short };
    let late = within(SeaStore::connect_within(&file.url(), short)).await.unwrap_err();
    assert!(matches!(late, Error::Unavailable(_)), "{late}");
    assert!(within(store.groups_of(&[ann()])).await.unwrap()[0].is_empty());
    lock.rollback().await.unwrap();
    assert_eq!(store.add(&ann(), &"room".into()).await.unwrap(), Change::Applied);
    assert_eq!(store.redeem(&single_use_token()).await.unwrap(), Verdict::Accepted);
}

#[tokio::test]
async fn expired_rows_are_deleted() {
    let store = SeaStore::connect("sqlite::memory:").await.unwrap();
    let [alpha, beta] =
        ["alpha", "beta"].map(|id| Node { id: id.into(), incarnation: "1".into(), process: Process::current() });
    store.renew(&alpha, SystemTime::UNIX_EPOCH, Duration::from_secs(30)).await.unwrap();
    store.delete_expired(SystemTime::UNIX_EPOCH, Duration::from_secs(30), Duration::ZERO).await.unwrap();
    store.redeem(&single_use_token()).await.unwrap();
    for term in [30, 31] {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(61);
        store.renew(&beta, now, Duration::from_secs(term)).await.unwrap();
        store.delete_expired(now, Duration::from_secs(term), Duration::ZERO).await.unwrap();
    }
    assert_eq!(query_column(&store.db, "select node_id from nodes").await, ["beta"]);
    assert!(query_column(&store.db, "select family from rejoin_families").await.is_empty());
}

/// Wherever the call is dropped, it has taken effect in full or not at all, and the connection serves the next call.
#[tokio::test]
async fn dropped_call_is_atomic() {
    let file = TempDatabase::new();
    for store in [SeaStore::connect("sqlite::memory:").await.unwrap(), file.open().await.unwrap()] {
        for steps in 0..40 {
            let (dropped, kept) =
                (GroupName::from(format!("dropped {steps}")), GroupName::from(format!("kept {steps}")));
            let owner = Owner { hub: "chat".into(), user: steps.to_string().into() };
            poll_then_drop(store.add(&owner, &dropped), steps).await;
            assert_eq!(store.add(&owner, &kept).await.unwrap(), Change::Applied);
            let groups = store.groups_of(&[owner]).await.unwrap().concat();
            assert!(steps > 0 || groups == [kept.clone()], "never started: {groups:?}");
            assert!(steps < 39 || groups == [dropped, kept], "finished: {groups:?}");
        }
    }
}

#[tokio::test]
async fn read_only_database_says_so() {
    let store = SeaStore::connect("sqlite::memory:").await.unwrap();
    store.db.execute_unprepared("pragma query_only = on").await.unwrap();
    let node = Node { id: "alpha".into(), incarnation: "1".into(), process: Process::current() };
    let error = store.renew(&node, SystemTime::now(), Duration::from_secs(30)).await.unwrap_err();
    assert!(matches!(error, Error::Unavailable(_)), "{error}");
    assert!(error.to_string().ends_with("attempt to write a readonly database"), "{error}");
}

#[tokio::test]
async fn exhausted_pool_is_unavailable() {
    let store =
        SeaStore::connect_within("sqlite::memory:", Timeouts { acquire: SHORT, ..TEST_TIMEOUTS }).await.unwrap();
    let _taken = store.begin().await.unwrap();
    let refused = within(store.groups_of(&[ann()])).await.unwrap_err();
    assert!(matches!(refused, Error::Unavailable(_)), "{refused}");
}

/// Drops a call that waits for the lock, adds a member, closes the store, and reopens it. Also returns whether the call
/// was dropped before it returned.
async fn drop_while_locked<T>(file: &TempDatabase, call: impl AsyncFn(&SeaStore) -> T) -> (SeaStore, bool) {
    let (store, other) = (file.open().await.unwrap(), file.open().await.unwrap());
    store.add(&ann(), &"room".into()).await.unwrap();
    let lock = other.begin().await.unwrap();
    let is_dropped = tokio::time::timeout(DROP_AFTER, call(&store)).await.is_err();
    lock.rollback().await.unwrap();
    store.add(&ann(), &"room".into()).await.unwrap();
    // Closing the pool waits for all statements that are still running.
    store.db.close().await.unwrap();
    (file.open().await.unwrap(), is_dropped)
}

#[tokio::test]
async fn dropped_removal_does_not_undo_later_add() {
    let file = TempDatabase::new();
    let (store, is_dropped) = drop_while_locked(&file, async |store| store.remove(&ann(), &"room".into()).await).await;
    assert!(is_dropped);
    assert_eq!(store.groups_of(&[ann()]).await.unwrap(), [[GroupName::from("room")]]);
}

#[tokio::test]
async fn dropped_redemption_does_not_use_the_token() {
    let file = TempDatabase::new();
    let (store, is_dropped) = drop_while_locked(&file, async |store| store.redeem(&single_use_token()).await).await;
    assert!(is_dropped);
    assert_eq!(store.redeem(&single_use_token()).await.unwrap(), Verdict::Accepted);
}

/// actix drops the tasks of a thread outside of its runtime.
#[test]
fn call_can_be_dropped_outside_of_a_runtime() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let file = TempDatabase::new();
    let [store, other] = [(); 2].map(|()| runtime.block_on(file.open()).unwrap());
    let lock = runtime.block_on(other.begin()).unwrap();
    let (owner, group) = (ann(), "room".into());
    let mut call = Box::pin(store.add(&owner, &group));
    runtime.block_on(async { tokio::time::timeout(DROP_AFTER, &mut call).await.expect_err("it waits for the lock") });
    drop(call);
    runtime.block_on(lock.rollback()).unwrap();
    assert_eq!(runtime.block_on(store.groups_of(&[ann()])).unwrap(), [Vec::<GroupName>::new()]);
}

#[tokio::test]
async fn invalid_address_is_reported() {
    for url in
        ["", "hubcast.db", "mysql://root@db", "postgres://root@db/", "sqlite://h.db?mode=maybe", "sqlite://[h.db"]
    {
        let error = SeaStore::connect(url).await.unwrap_err();
        assert!(matches!(error, Error::Address(_)), "{url}: {error}");
    }
}

#[tokio::test]
async fn file_that_cannot_be_opened_is_named() {
    let error = SeaStore::connect("sqlite:///no/such/folder/hubcast.db?mode=rwc").await.unwrap_err();
    assert!(matches!(error, Error::Unavailable(_)), "{error}");
    assert!(error.to_string().contains("/no/such/folder/hubcast.db"), "{error}");
}

#[tokio::test]
async fn missing_file_is_created_unless_mode_is_rw() {
    let file = TempDatabase::new();
    let error = SeaStore::connect(&format!("{}?mode=rw", file.url())).await.unwrap_err();
    assert!(matches!(error, Error::Unavailable(_)), "{error}");
    file.open().await.unwrap();
    SeaStore::connect(&format!("{}?mode=rw", file.url())).await.unwrap();
}

#[tokio::test]
async fn file_uses_wal_full_sync_and_busy_timeout() {
    let file = TempDatabase::new();
    let store = SeaStore::connect(&file.url()).await.unwrap();
    assert_eq!(query_column(&store.db, "pragma journal_mode").await, ["wal"]);
    assert_eq!(query_column(&store.db, "select cast(timeout as text) from pragma_busy_timeout").await, ["3000"]);
    assert_eq!(
        query_column(&store.db, "select cast(synchronous as text) from pragma_synchronous").await,
        ["2"],
        "FULL"
    );
}

#[tokio::test]
async fn non_database_file_is_corrupt() {
    let file = TempDatabase::new();
    std::fs::write(file.0.path().join("hubcast.db"), "Dear diary, ".repeat(1_000)).unwrap();
    let error = file.open().await.unwrap_err();
    assert!(matches!(error, Error::Corrupt(_)), "{error}");
}

#[tokio::test]
async fn mismatching_schema_is_corrupt() {
    let file = TempDatabase::new();
    let store = file.open().await.unwrap();
    store.db.execute_unprepared("insert into seaql_migrations values ('m20991231_from_the_future', 0)").await.unwrap();
    let newer = file.open().await.unwrap_err();
    assert!(matches!(newer, Error::Corrupt(_)), "{newer}");
    store.db.execute_unprepared("drop table rejoin_families").await.unwrap();
    let missing = store.delete_expired(SystemTime::now(), Duration::ZERO, Duration::ZERO).await.unwrap_err();
    assert!(matches!(missing, Error::Corrupt(_)), "{missing}");
}

#[tokio::test]
async fn value_of_wrong_type_is_corrupt() {
    let store = SeaStore::connect("sqlite::memory:").await.unwrap();
    store.db.execute_unprepared("insert into users values ('ann', 0, 'yesterday')").await.unwrap();
    let token = Redemption {
        user: Some("ann".into()),
        issued_at: SystemTime::now(),
        groups: Vec::new(),
        list_of: None,
        single_use: None,
    };
    let error = store.redeem(&token).await.unwrap_err();
    assert!(matches!(error, Error::Corrupt(_)), "{error}");
}
