use hubcast::store::{Error, sea::SeaStore};
use hubcast_fixtures::databases::DatabaseServer;

use crate::{
    deadlocks::deadlock_checks,
    server_checks::{failed_renewal_explains_the_outage, server_checks},
    support::ProxiedStore,
    tls::{self, tls_checks},
};

hubcast::store_conformance!(
    SeaStore::connect_with_test_timeouts(&DatabaseServer::shared_postgres().new_database()).await?
);
hubcast::store_commit_conformance!(ProxiedStore::open(DatabaseServer::shared_postgres()).await?);
hubcast::membership_fault_conformance!(ProxiedStore::open(DatabaseServer::shared_postgres()).await?);
server_checks!(DatabaseServer::shared_postgres());
tls_checks!(&tls::POSTGRES);
deadlock_checks!(crate::deadlocks::Stores::on_postgres().await);

#[tokio::test]
async fn read_only_database_is_refused() {
    let server = DatabaseServer::shared_postgres();
    let url = server.new_database();
    let (_, place) = url.split_once('@').unwrap();
    let database = url.rsplit('/').next().unwrap();
    server.query(&url, &format!("ALTER DATABASE {database} SET default_transaction_read_only = on"));
    match SeaStore::connect_with_test_timeouts(&url).await {
        Err(Error::Refused(text)) => assert!(text.contains(place) && text.ends_with("must be writable"), "{text}"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn failed_renewal_explains_an_outage() {
    failed_renewal_explains_the_outage(DatabaseServer::postgres()).await;
}
