use std::{
    future::{Future, poll_fn},
    pin::pin,
    task::Poll,
};

use futures_util::future::try_join_all;
use sea_orm::{ConnectionTrait, DbBackend, Schema, Statement};
use tempfile::TempDir;

use super::*;

/// Short enough to wait for, and long enough to open a database on a machine that does other things.
const IMPATIENCE: Duration = Duration::from_secs(2);

/// How soon a call is given up that waits for a lock.
const HASTE: Duration = Duration::from_millis(50);

mod in_memory {
    use super::*;

    crate::store_conformance!(SeaStore::connect("sqlite::memory:").await?);
}

mod on_disk {
    use super::*;

    crate::store_conformance!(Disk::new().open().await?);
}

/// A folder with a database, until it is dropped.
struct Disk(TempDir);

impl Disk {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn url(&self) -> String {
        format!("sqlite://{}/hubcast.db", self.0.path().display())
    }

    async fn open(&self) -> Result<SeaStore, Error> {
        SeaStore::connect(&self.url()).await
    }
}

fn ann() -> Owner {
    Owner { hub: "chat".into(), user: "ann".into() }
}

/// Fails rather than hangs. Far above [`PATIENCE`], to hold on a machine that has other things to do.
async fn within<T>(call: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), call).await.expect("every call is answered in the end")
}

async fn lines(db: &DatabaseConnection, query: &str) -> Vec<String> {
    let rows = db.query_all_raw(Statement::from_string(DbBackend::Sqlite, query)).await.unwrap();
    rows.iter().map(|row| row.try_get_by_index(0).unwrap()).collect()
}

fn once() -> Redemption {
    let spend = Spend { family: "f".into(), epoch: 1, expires: SystemTime::UNIX_EPOCH + Duration::from_secs(60) };
    Redemption { user: None, issued: SystemTime::UNIX_EPOCH, once: Some(spend) }
}

#[tokio::test]
async fn what_is_written_survives_reopening() {
    let disk = Disk::new();
    let first = disk.open().await.unwrap();
    first.add(&ann(), &"room".into()).await.unwrap();
    first.redeem(&once()).await.unwrap();
    first.db.close().await.unwrap();
    let second = disk.open().await.unwrap();
    assert_eq!(second.groups_of(&[ann()]).await.unwrap(), [["room".into()]]);
    assert_eq!(second.redeem(&once()).await.unwrap(), Verdict::Replayed);
}

#[tokio::test]
async fn stores_that_start_together_share_one_database() {
    for _ in 0..8 {
        let disk = Disk::new();
        let stores = try_join_all((0..4).map(|_| disk.open())).await.unwrap();
        let (owner, group) = (ann(), "room".into());
        let adds = stores.iter().map(|store| store.add(&owner, &group));
        let changes = try_join_all(adds).await.unwrap();
        assert_eq!(changes.iter().filter(|change| **change == Change::Made).count(), 1);
    }
}

#[tokio::test]
async fn up_and_down_leave_nothing() {
    let store = SeaStore::connect("sqlite::memory:").await.unwrap();
    let ours = "select name from sqlite_master where tbl_name <> 'seaql_migrations' order by name";
    assert_eq!(lines(&store.db, ours).await.iter().filter(|name| !name.starts_with("sqlite_")).count(), 9);
    Migrator::down(&store.db, None).await.unwrap();
    assert!(lines(&store.db, ours).await.is_empty());
    assert!(lines(&store.db, "select version from seaql_migrations").await.is_empty());
}

/// A table's columns and foreign keys, one per line.
async fn shape(db: &DatabaseConnection, table: &str) -> Vec<String> {
    let columns = format!(
        r#"select concat_ws(' ', name, type, "notnull", pk) as line from pragma_table_info('{table}')
        union all select concat_ws(' ', "from", "table", "to", on_update, on_delete)
        from pragma_foreign_key_list('{table}') order by line"#
    );
    lines(db, &columns).await
}

async fn check_shape<E: EntityTrait>(migrated: &SeaStore, entity: E) {
    let expected = Database::connect("sqlite::memory:").await.unwrap();
    expected.execute(&Schema::new(DbBackend::Sqlite).create_table_from_entity(entity)).await.unwrap();
    let table = entity.table_name();
    let columns = shape(&migrated.db, table).await;
    assert!(!columns.is_empty(), "{table} is missing");
    assert_eq!(columns, shape(&expected, table).await, "{table}");
}

#[tokio::test]
async fn entities_and_migrated_tables_agree() {
    let store = SeaStore::connect("sqlite::memory:").await.unwrap();
    check_shape(&store, user::Entity).await;
    check_shape(&store, conversation_room::Entity).await;
    check_shape(&store, user_room::Entity).await;
    check_shape(&store, connection::Entity).await;
    check_shape(&store, node::Entity).await;
    check_shape(&store, rejoin_use::Entity).await;
}

#[tokio::test]
async fn memberships_go_with_their_user_and_with_their_room() {
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
async fn a_locked_database_is_unavailable_and_then_available_again() {
    let disk = Disk::new();
    let other = disk.open().await.unwrap();
    let store = SeaStore::connect_within(&disk.url(), IMPATIENCE).await.unwrap();
    let exclusive = Some(SqliteTransactionMode::Exclusive);
    let options = TransactionOptions { sqlite_transaction_mode: exclusive, ..Default::default() };
    let lock = other.db.begin_with_options(options).await.unwrap();
    let refused = within(store.add(&ann(), &"room".into())).await.unwrap_err();
    assert!(matches!(refused, Error::Unavailable(_)), "{refused}");
    let unspent = within(store.redeem(&once())).await.unwrap_err();
    assert!(matches!(unspent, Error::Unavailable(_)), "{unspent}");
    let late = within(SeaStore::connect_within(&disk.url(), IMPATIENCE)).await.unwrap_err();
    assert!(matches!(late, Error::Unavailable(_)), "{late}");
    assert!(within(store.groups_of(&[ann()])).await.unwrap()[0].is_empty());
    lock.rollback().await.unwrap();
    assert_eq!(store.add(&ann(), &"room".into()).await.unwrap(), Change::Made);
    assert_eq!(store.redeem(&once()).await.unwrap(), Verdict::Accepted);
}

#[tokio::test]
async fn what_ran_out_leaves_no_row() {
    let store = SeaStore::connect("sqlite::memory:").await.unwrap();
    let [alpha, beta] = ["alpha", "beta"].map(|id| Node { id: id.into(), incarnation: "1".into() });
    store.renew(&alpha, SystemTime::UNIX_EPOCH, Duration::from_secs(30)).await.unwrap();
    store.redeem(&once()).await.unwrap();
    store.renew(&beta, SystemTime::now(), Duration::from_secs(30)).await.unwrap();
    assert_eq!(lines(&store.db, "select node_id from nodes").await, ["beta"]);
    assert!(lines(&store.db, "select family from rejoin_uses").await.is_empty());
}

/// However far it got: it took all its effect or none, and the connection is fit for the next call.
#[tokio::test]
async fn a_call_that_is_dropped_leaves_nothing_half_done() {
    let disk = Disk::new();
    for store in [SeaStore::connect("sqlite::memory:").await.unwrap(), disk.open().await.unwrap()] {
        for steps in 0..40 {
            let (dropped, kept) =
                (GroupName::from(format!("dropped {steps}")), GroupName::from(format!("kept {steps}")));
            let owner = Owner { hub: "chat".into(), user: steps.to_string().into() };
            abandon(store.add(&owner, &dropped), steps).await;
            assert_eq!(store.add(&owner, &kept).await.unwrap(), Change::Made);
            let groups = store.groups_of(&[owner]).await.unwrap().concat();
            assert!(steps > 0 || groups == [kept.clone()], "never begun: {groups:?}");
            assert!(steps < 39 || groups == [dropped, kept], "finished: {groups:?}");
        }
    }
}

/// Polls a call so often, each time that it can go on, and drops it when it could once more.
async fn abandon(call: impl Future, mut steps: usize) {
    let mut call = pin!(call);
    poll_fn(|context| match steps.checked_sub(1) {
        None => Poll::Ready(()),
        Some(left) => {
            steps = left;
            call.as_mut().poll(context).map(drop)
        }
    })
    .await;
}

#[tokio::test]
async fn a_pool_without_a_free_connection_is_unavailable() {
    let store = SeaStore::connect_within("sqlite::memory:", IMPATIENCE).await.unwrap();
    let _taken = store.begin().await.unwrap();
    let refused = within(store.groups_of(&[ann()])).await.unwrap_err();
    assert!(matches!(refused, Error::Unavailable(_)), "{refused}");
}

/// Gives a call up that waits for a lock, then goes on, and answers what is in the file when all is through.
async fn given_up<T>(disk: &Disk, call: impl AsyncFn(&SeaStore) -> T) -> (SeaStore, bool) {
    let (store, other) = (disk.open().await.unwrap(), disk.open().await.unwrap());
    store.add(&ann(), &"room".into()).await.unwrap();
    let lock = other.begin().await.unwrap();
    let is_given_up = tokio::time::timeout(HASTE, call(&store)).await.is_err();
    lock.rollback().await.unwrap();
    store.add(&ann(), &"room".into()).await.unwrap();
    // The end of the pool waits for whatever its connections still do.
    store.db.close().await.unwrap();
    (disk.open().await.unwrap(), is_given_up)
}

#[tokio::test]
async fn a_removal_that_was_given_up_does_not_undo_what_comes_after_it() {
    let disk = Disk::new();
    let (store, is_given_up) = given_up(&disk, async |store| store.remove(&ann(), &"room".into()).await).await;
    assert!(is_given_up);
    assert_eq!(store.groups_of(&[ann()]).await.unwrap(), [[GroupName::from("room")]]);
}

#[tokio::test]
async fn a_token_whose_redemption_was_given_up_is_not_spent() {
    let disk = Disk::new();
    let (store, is_given_up) = given_up(&disk, async |store| store.redeem(&once()).await).await;
    assert!(is_given_up);
    assert_eq!(store.redeem(&once()).await.unwrap(), Verdict::Accepted);
}

#[tokio::test]
async fn an_address_that_makes_no_sense_is_named() {
    for url in ["", "hubcast.db", "mysql://root@db/hubcast", "sqlite://h.db?mode=maybe", "sqlite://[h.db"] {
        let error = SeaStore::connect(url).await.unwrap_err();
        assert!(matches!(error, Error::Address(_)), "{url}: {error}");
    }
}

#[tokio::test]
async fn a_file_that_cannot_be_opened_is_named() {
    let error = SeaStore::connect("sqlite:///no/such/folder/hubcast.db?mode=rwc").await.unwrap_err();
    assert!(matches!(error, Error::Unavailable(_)), "{error}");
    assert!(error.to_string().contains("/no/such/folder/hubcast.db"), "{error}");
}

#[tokio::test]
async fn a_file_that_is_missing_is_made_unless_the_address_forbids_it() {
    let disk = Disk::new();
    let error = SeaStore::connect(&format!("{}?mode=rw", disk.url())).await.unwrap_err();
    assert!(matches!(error, Error::Unavailable(_)), "{error}");
    disk.open().await.unwrap();
    SeaStore::connect(&format!("{}?mode=rw", disk.url())).await.unwrap();
}

#[tokio::test]
async fn a_file_is_written_ahead_and_waits_for_its_lock() {
    let disk = Disk::new();
    let store = disk.open().await.unwrap();
    assert_eq!(lines(&store.db, "pragma journal_mode").await, ["wal"]);
    assert_eq!(lines(&store.db, "select cast(timeout as text) from pragma_busy_timeout").await, ["5000"]);
}

#[tokio::test]
async fn a_file_that_is_no_database_is_corrupt() {
    let disk = Disk::new();
    std::fs::write(disk.0.path().join("hubcast.db"), "Dear diary, ".repeat(1_000)).unwrap();
    let error = disk.open().await.unwrap_err();
    assert!(matches!(error, Error::Corrupt(_)), "{error}");
}

#[tokio::test]
async fn a_schema_that_does_not_fit_is_corrupt() {
    let disk = Disk::new();
    let store = disk.open().await.unwrap();
    store.db.execute_unprepared("insert into seaql_migrations values ('m20991231_from_the_future', 0)").await.unwrap();
    let newer = disk.open().await.unwrap_err();
    assert!(matches!(newer, Error::Corrupt(_)), "{newer}");
    store.db.execute_unprepared("drop table rejoin_uses").await.unwrap();
    let node = Node { id: "alpha".into(), incarnation: "1".into() };
    let missing = store.renew(&node, SystemTime::now(), Duration::ZERO).await.unwrap_err();
    assert!(matches!(missing, Error::Corrupt(_)), "{missing}");
}

#[tokio::test]
async fn a_row_of_the_wrong_type_is_corrupt() {
    let store = SeaStore::connect("sqlite::memory:").await.unwrap();
    store.db.execute_unprepared("insert into users values ('ann', 'yesterday', null)").await.unwrap();
    let token = Redemption { user: Some("ann".into()), issued: SystemTime::now(), once: None };
    let error = store.redeem(&token).await.unwrap_err();
    assert!(matches!(error, Error::Corrupt(_)), "{error}");
}
