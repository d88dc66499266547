//! Checks of a store in the database of a server, beside the conformance suite.

use futures_util::future::try_join_all;
use hubcast::{
    GroupName,
    store::{Change, Error, MembershipStore, Owner, TokenStore, sea::SeaStore},
};
use hubcast_fixtures::{databases::DatabaseServer, fault_proxy::CommitFault, servers::reserve_port};

use crate::support::ProxiedStore;

fn ann() -> Owner {
    Owner { hub: "chat".into(), user: "ann".into() }
}

async fn connect_error(url: &str) -> Error {
    SeaStore::connect(url).await.unwrap_err()
}

pub(crate) async fn processes_that_start_together_share_the_schema(server: &DatabaseServer) {
    let url = server.new_database();
    let stores = try_join_all((0..6).map(|_| SeaStore::connect_patiently(&url))).await.unwrap();
    let (owner, group) = (ann(), GroupName::from("room"));
    let changes = try_join_all(stores.iter().map(|store| store.add(&owner, &group))).await.unwrap();
    assert_eq!(changes.iter().filter(|change| **change == Change::Applied).count(), 1, "{changes:?}");
}

pub(crate) async fn change_is_stored_if_answer_of_commit_is_lost(server: &DatabaseServer) {
    let ProxiedStore { store, witness, proxy } = ProxiedStore::open(server).await.unwrap();
    proxy.set_next(CommitFault::LoseAnswer);
    let error = store.add(&ann(), &"room".into()).await.unwrap_err();
    assert!(matches!(error, Error::Unavailable(_)), "{error}");
    assert_eq!(witness.groups_of(&[ann()]).await.unwrap(), [[GroupName::from("room")]]);
    assert_eq!(store.add(&ann(), &"room".into()).await.unwrap(), Change::Unchanged);
}

pub(crate) async fn unknown_user_or_database_is_a_wrong_address(server: &DatabaseServer) {
    let url = server.new_database();
    let database = url.rsplit('/').next().unwrap();
    for wrong in
        [url.replace(database, "missing"), url.replace("app@", "eve:hunter2@").replace("root@", "eve:hunter2@")]
    {
        let error = connect_error(&wrong).await;
        assert!(matches!(error, Error::Address(_)), "{wrong}: {error}");
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }
}

pub(crate) async fn unreachable_server_is_unavailable(server: &DatabaseServer) {
    let url = server.new_database();
    let error = connect_error(&url.replace(&server.process.address.to_string(), &reserve_port().to_string())).await;
    assert!(matches!(error, Error::Unavailable(_)), "{error}");
}

pub(crate) async fn value_that_does_not_fit_is_unsupported(server: &DatabaseServer) {
    let store = SeaStore::connect_patiently(&server.new_database()).await.unwrap();
    let error = store.add(&ann(), &"g".repeat(321).into()).await.unwrap_err();
    assert!(matches!(error, Error::Unsupported(_)), "{error}");
    assert!(store.groups_of(&[ann()]).await.unwrap()[0].is_empty());
}

pub(crate) async fn missing_table_is_corrupt(server: &DatabaseServer) {
    let url = server.new_database();
    let store = SeaStore::connect_patiently(&url).await.unwrap();
    server.query(&url, "DROP TABLE rejoin_families");
    let error = store.release_holders(&"alpha".into(), &["a".into()]).await.unwrap_err();
    assert!(matches!(error, Error::Corrupt(_)), "{error}");
}

/// Generates a test for each check.
macro_rules! server_checks {
    ($server:expr => $($check:ident)*) => {
        $(
            #[tokio::test]
            async fn $check() {
                crate::server_checks::$check($server).await;
            }
        )*
    };
    ($server:expr) => {
        $crate::server_checks::server_checks! { $server =>
            processes_that_start_together_share_the_schema
            change_is_stored_if_answer_of_commit_is_lost
            unknown_user_or_database_is_a_wrong_address
            unreachable_server_is_unavailable
            value_that_does_not_fit_is_unsupported
            missing_table_is_corrupt
        }
    };
}
pub(crate) use server_checks;
