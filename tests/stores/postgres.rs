use hubcast::store::sea::SeaStore;
use hubcast_fixtures::databases::DatabaseServer;

use crate::{
    server_checks::server_checks,
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
