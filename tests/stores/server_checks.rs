//! Checks of a store in the database of a server, beside the conformance suite.

use std::time::{Duration, SystemTime};

use futures_util::future::try_join_all;
use hubcast::{
    GroupName,
    store::{Change, Error, LeaseStore, MembershipStore, Node, Owner, Process, TokenStore, sea::SeaStore},
};
use hubcast_fixtures::{databases::DatabaseServer, fault_proxy::Fault, servers::reserve_port};

use crate::support::ProxiedStore;

pub(crate) fn ann() -> Owner {
    Owner { hub: "chat".into(), user: "ann".into() }
}

pub(crate) async fn processes_that_start_together_share_the_schema(server: &DatabaseServer) {
    let url = server.new_database();
    let stores = try_join_all((0..6).map(|_| SeaStore::connect_with_test_timeouts(&url))).await.unwrap();
    let (owner, group) = (ann(), GroupName::from("room"));
    let changes = try_join_all(stores.iter().map(|store| store.add(&owner, &group))).await.unwrap();
    assert_eq!(changes.iter().filter(|change| **change == Change::Applied).count(), 1, "{changes:?}");
}

pub(crate) async fn change_is_stored_if_answer_of_commit_is_lost(server: &DatabaseServer) {
    let ProxiedStore { store, witness, proxy } = ProxiedStore::open(server).await.unwrap();
    proxy.set_next(Fault::LoseAnswer);
    let error = store.add(&ann(), &"room".into()).await.unwrap_err();
    assert!(matches!(error, Error::Unavailable(_)), "{error}");
    assert_eq!(witness.groups_of(&[ann()]).await.unwrap(), [[GroupName::from("room")]]);
    assert_eq!(store.add(&ann(), &"room".into()).await.unwrap(), Change::Unchanged);
}

/// The text of a refusal, which never contains the password of the address.
pub(crate) async fn refusal(url: &str) -> String {
    match SeaStore::connect_with_test_timeouts(url).await {
        Err(Error::Refused(text)) if !text.contains("hunter2") => text,
        other => panic!("{url}: {other:?}"),
    }
}

pub(crate) async fn unknown_database_is_named(server: &DatabaseServer) {
    let url = server.new_database();
    let database = url.rsplit('/').next().unwrap();
    let text = refusal(&url.replace(database, "missing")).await.to_lowercase();
    assert!(
        text.contains("database \"missing\" does not exist") || text.contains("unknown database 'missing'"),
        "{text}"
    );
}

pub(crate) async fn wrong_password_or_user_is_refused(server: &DatabaseServer) {
    server.create_user("bob", "right");
    let url = server.new_database();
    let with_user = |user: &str| url.replace("app@", user).replace("root@", user);
    for (user, address) in [("bob", with_user("bob:hunter2@")), ("eve", with_user("eve:hunter2@"))] {
        let text = refusal(&address).await.to_lowercase();
        let expected =
            [format!("password authentication failed for user \"{user}\""), format!("access denied for user '{user}'")];
        assert!(expected.iter().any(|expected| text.contains(expected)), "{text}");
        assert!(text.contains("the server refuses the user") && !text.contains("at line"), "{text}");
    }
}

pub(crate) async fn missing_right_to_create_tables_is_named(server: &DatabaseServer) {
    server.create_user("reader", "hunter2");
    let url = server.new_database();
    let (_, place) = url.split_once('@').unwrap();
    if url.starts_with("mysql:") {
        server.query(&url, &format!("GRANT SELECT ON {}.* TO reader", url.rsplit('/').next().unwrap()));
    }
    let text = refusal(&url.replace("app@", "reader:hunter2@").replace("root@", "reader:hunter2@")).await;
    assert!(text.contains(place) && text.contains("denied"), "{text}");
    assert!(text.contains("needs the right to create and alter tables") && !text.contains("at line"), "{text}");
}

pub(crate) async fn unreachable_server_is_named(server: &DatabaseServer) {
    let (url, nowhere) = (server.new_database(), reserve_port().to_string());
    let url = url.replace(&server.process.address.to_string(), &nowhere).replace('@', ":hunter2@");
    let error = SeaStore::connect(&url).await.unwrap_err();
    assert!(matches!(error, Error::Unavailable(_)), "{error}");
    let text = error.to_string();
    assert!(text.contains(&format!("cannot connect to {nowhere}: Connection refused")), "{text}");
    assert!(!text.contains("hunter2"), "{text}");
}

/// Stops the server, which no other test may use.
pub(crate) async fn failed_renewal_explains_the_outage(server: DatabaseServer) {
    let store = SeaStore::connect(&server.new_database()).await.unwrap();
    server.process.stop();
    let node = Node { id: "alpha".into(), incarnation: "1".into(), process: Process::current() };
    let renewed = LeaseStore::renew(&store, &node, SystemTime::now(), Duration::from_secs(30)).await;
    let (text, address) = (renewed.unwrap_err().to_string(), server.process.address);
    assert!(text.contains(&format!("cannot connect to {address}: Connection refused")), "{text}");
}

pub(crate) async fn value_that_does_not_fit_is_unsupported(server: &DatabaseServer) {
    let store = SeaStore::connect_with_test_timeouts(&server.new_database()).await.unwrap();
    let error = store.add(&ann(), &"g".repeat(321).into()).await.unwrap_err();
    assert!(matches!(error, Error::Unsupported(_)), "{error}");
    assert!(store.groups_of(&[ann()]).await.unwrap()[0].is_empty());
}

pub(crate) async fn missing_table_is_corrupt(server: &DatabaseServer) {
    let url = server.new_database();
    let store = SeaStore::connect_with_test_timeouts(&url).await.unwrap();
    server.query(&url, "DROP TABLE rejoin_families");
    let error = store.release_holders(&"alpha".into(), &["a".into()]).await.unwrap_err();
    assert!(matches!(error, Error::Corrupt(_)), "{error}");
}

/// Generates a test for each check.
macro_rules! server_checks {
    ($server:expr) => {
        $crate::support::tests_of! { server_checks $server =>
            processes_that_start_together_share_the_schema
            change_is_stored_if_answer_of_commit_is_lost
            unknown_database_is_named
            wrong_password_or_user_is_refused
            missing_right_to_create_tables_is_named
            unreachable_server_is_named
            value_that_does_not_fit_is_unsupported
            missing_table_is_corrupt
        }
    };
}
pub(crate) use server_checks;
