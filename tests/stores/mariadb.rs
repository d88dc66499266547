use hubcast::store::{Change, MembershipStore, sea::SeaStore};
use hubcast_fixtures::databases::DatabaseServer;
use migration::Migrator;
use sea_orm::Database;

use crate::{
    deadlocks::deadlock_checks,
    server_checks::{ann, failed_renewal_explains_the_outage, server_checks},
    support::ProxiedStore,
    tls::{self, tls_checks},
};

hubcast::store_conformance!(
    SeaStore::connect_with_test_timeouts(&DatabaseServer::shared_mariadb().new_database()).await?
);
hubcast::store_commit_conformance!(ProxiedStore::open(DatabaseServer::shared_mariadb()).await?);
hubcast::membership_fault_conformance!(ProxiedStore::open(DatabaseServer::shared_mariadb()).await?);
server_checks!(DatabaseServer::shared_mariadb());
tls_checks!(&tls::MARIADB);
deadlock_checks!(crate::deadlocks::Stores::on_mariadb().await);

/// The server does not undo the statements of a process that was killed in a migration. The most that such a process
/// leaves is a migration that lacks only its record.
#[tokio::test]
async fn interrupted_migration_is_completed() {
    let server = DatabaseServer::shared_mariadb();
    let complete = server.new_database();
    SeaStore::connect_with_test_timeouts(&complete).await.unwrap();
    let migrations = server.query(&complete, "SELECT version FROM seaql_migrations ORDER BY version");
    for (index, interrupted) in migrations.lines().enumerate() {
        let url = server.new_database();
        let db = Database::connect(&url).await.unwrap();
        Migrator::up(&db, Some(index + 1)).await.unwrap();
        server.query(&url, &format!("UPDATE seaql_migrations SET applied_at = 0 WHERE version = '{interrupted}'"));
        let store =
            SeaStore::connect_with_test_timeouts(&url).await.unwrap_or_else(|error| panic!("{interrupted}: {error}"));
        assert_eq!(store.add(&ann(), &"room".into()).await.unwrap(), Change::Applied);
        let schema = "SELECT GROUP_CONCAT(table_name, column_name, column_type, IFNULL(collation_name, '') ORDER BY 1) \
                      FROM information_schema.columns WHERE table_schema = DATABASE()";
        assert_eq!(server.query(&url, schema), server.query(&complete, schema), "{interrupted}");
    }
}

/// A table of another application is not taken for one of hubcast, however often it starts.
#[tokio::test]
async fn table_of_another_application_is_refused() {
    let server = DatabaseServer::shared_mariadb();
    let url = server.new_database();
    server.query(&url, "CREATE TABLE users (id INT PRIMARY KEY)");
    for _ in 0..2 {
        let error = SeaStore::connect_with_test_timeouts(&url).await.unwrap_err();
        assert!(error.to_string().contains("Table 'users' already exists"), "{error}");
    }
}

#[tokio::test]
async fn failed_renewal_explains_an_outage() {
    failed_renewal_explains_the_outage(DatabaseServer::mariadb()).await;
}
