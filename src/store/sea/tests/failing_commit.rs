use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use super::*;
use crate::store::{self, StoreFuture, conformance::commits::CommitFaults};

crate::store_commit_conformance!(FailingCommit::open().await?);

/// Two stores on one database file. SQLite refuses a commit of the first store if the flag is set, and rolls the
/// transaction back by itself, as it does on a full disk.
struct FailingCommit {
    store: SeaStore,
    witness: SeaStore,
    _file: TempDatabase,
    fails: Arc<AtomicBool>,
}

impl FailingCommit {
    async fn open() -> Result<Self, Error> {
        let file = TempDatabase::new();
        let (store, witness) = (file.open().await?, file.open().await?);
        let fails = refuse_commits(&store.db).await;
        Ok(Self { store, witness, _file: file, fails })
    }
}

impl CommitFaults for FailingCommit {
    fn store(&self) -> &dyn store::DynStore {
        &self.store
    }

    fn witness(&self) -> &dyn store::DynStore {
        &self.witness
    }

    fn fail_next_commit(&self) -> StoreFuture<'_, ()> {
        self.fails.store(true, Ordering::Relaxed);
        Box::pin(async { Ok(()) })
    }
}

/// Installs a commit hook on all connections of the pool. It refuses one commit each time the returned flag is set.
async fn refuse_commits(db: &DatabaseConnection) -> Arc<AtomicBool> {
    let (pool, fails) = (db.get_sqlite_connection_pool(), Arc::new(AtomicBool::new(false)));
    let all = (0..pool.options().get_max_connections()).map(|_| pool.acquire());
    for mut connection in try_join_all(all).await.unwrap() {
        let fails = Arc::clone(&fails);
        let mut handle = connection.lock_handle().await.unwrap();
        handle.set_commit_hook(move || !fails.swap(false, Ordering::Relaxed));
    }
    fails
}

#[tokio::test]
async fn database_in_memory_survives_failed_commit() {
    let store = SeaStore::connect("sqlite::memory:").await.unwrap();
    let fails = refuse_commits(&store.db).await;
    store.add(&ann(), &"before".into()).await.unwrap();
    fails.store(true, Ordering::Relaxed);
    assert!(matches!(store.add(&ann(), &"refused".into()).await, Err(Error::Unavailable(_))));
    store.begin().await.unwrap().rollback().await.unwrap();
    store.add(&ann(), &"after".into()).await.unwrap();
    store.db.execute_unprepared("begin").await.expect("the connection is outside of a transaction");
    assert_eq!(store.groups_of(&[ann()]).await.unwrap(), [["after".into(), "before".into()]]);
}
