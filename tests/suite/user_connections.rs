//! The example `user_connections`: the samples of Microsoft's page about users and their connections, each with clients of
//! both generations.

use std::path::Path;

use hubcast::store::{
    MembershipStore, Owner,
    azure::{AzureCredential, AzureTableStore},
};
use hubcast_fixtures::{azurite::AZURITE_KEY, databases::DatabaseServer};
use sea_orm::{ConnectionTrait, Database, Statement};

use crate::{
    examples::{AZURITE, Example, SAMPLES_ENVIRONMENT},
    support::{ClientProcess, http_request, run_node, wait_until_async, with_timeout},
};

const SCRIPT: &str = "user_connections.mjs";

/// One way to map users to connections, with its files in a directory of the test.
struct Way<'a> {
    name: &'a str,
    directory: &'a Path,
    store: &'a str,
}

impl Way<'_> {
    async fn start(&self, address: &str) -> Example {
        let arguments = [self.name, address, self.store];
        Example::start_with("user_connections", self.directory, &arguments, &SAMPLES_ENVIRONMENT).await
    }

    /// Runs a scenario whose clients are connected when the server is killed, and then another one. Returns the example.
    async fn run_with_restart(&self, scenarios: [&str; 2]) -> Example {
        let example = self.start("127.0.0.1:0").await;
        let mut clients = ClientProcess::start(Path::new("node"), SCRIPT, &[scenarios[0], &example.url()]);
        clients.expect_line("ready").await;
        let address = example.kill().await.to_string();
        // Order: the clients would connect again.
        drop(clients);
        let example = self.start(&address).await;
        run_node(SCRIPT, &[scenarios[1], &example.url()]).await;
        example
    }
}

async fn run_scenario(way: &str, scenario: &str) {
    let directory = tempfile::tempdir().unwrap();
    let example = Way { name: way, directory: directory.path(), store: "" }.start("127.0.0.1:0").await;
    run_node(SCRIPT, &[scenario, &example.url()]).await;
}

#[tokio::test]
async fn samples_1_to_3_find_users_by_a_provider() {
    run_scenario("provider", "provider").await;
}

#[tokio::test]
async fn sample_1_refuses_unknown_users_with_a_reason() {
    let directory = tempfile::tempdir().unwrap();
    let example = Way { name: "provider", directory: directory.path(), store: "" }.start("127.0.0.1:0").await;
    let response = http_request(example.address, "POST /myHub/negotiate?access_token=%20", "").await;
    assert_eq!((response.status, &*response.body), (401, "the bearer token names no user"));
}

#[tokio::test]
async fn samples_4_and_5_map_users_in_memory() {
    run_scenario("in-memory", "inMemory").await;
}

#[tokio::test]
async fn sample_5_registers_classic_clients_that_reconnect() {
    let directory = tempfile::tempdir().unwrap();
    let way = Way { name: "in-memory", directory: directory.path(), store: "" };
    let example = way.start("127.0.0.1:0").await;
    let mut browser = ClientProcess::start(Path::new("node"), "samples_browser.mjs", &["inMemory", &example.url()]);
    browser.expect_line("ready").await;
    let address = example.kill().await.to_string();
    let _example = way.start(&address).await;
    browser.expect_success().await;
}

#[tokio::test]
async fn sample_6_keeps_groups_of_users_apart_from_rooms() {
    run_scenario("group-per-user", "groupPerUser").await;
}

#[tokio::test]
async fn samples_7_and_8_map_users_in_a_database() {
    let directory = tempfile::tempdir().unwrap();
    let store = format!("sqlite://{}?mode=rwc", directory.path().join("users.db").display());
    let way = Way { name: "database", directory: directory.path(), store: &store };
    let _example = way.run_with_restart(["database", "databaseRestarted"]).await;
    let db = Database::connect(&store).await.unwrap();
    let rows = async |query: &str| {
        let rows = db.query_all_raw(Statement::from_string(db.get_database_backend(), query)).await.unwrap();
        rows.iter().map(|row| row.try_get_by_index::<String>(0).unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(rows("SELECT user_name FROM users ORDER BY 1").await, ["bob", "eve", "nina"]);
    // The clients have ended. Rows are deleted a moment later.
    with_timeout(wait_until_async(async || rows("SELECT connection_id FROM connections").await.is_empty())).await;
}

#[tokio::test]
async fn samples_7_and_8_run_on_database_servers() {
    let directory = tempfile::tempdir().unwrap();
    for server in [DatabaseServer::shared_postgres(), DatabaseServer::shared_mariadb()] {
        let way = Way { name: "database", directory: directory.path(), store: &server.new_database() };
        way.run_with_restart(["database", "databaseRestarted"]).await;
    }
}

#[tokio::test]
async fn samples_9_and_10_map_users_in_a_table() {
    let directory = tempfile::tempdir().unwrap();
    let store = AZURITE.new_table();
    let way = Way { name: "table", directory: directory.path(), store: &store };
    let _example = way.run_with_restart(["table", "tableRestarted"]).await;
    let table = AzureTableStore::connect(&store, AzureCredential::key(AZURITE_KEY)).await.unwrap();
    let nina = [Owner { hub: "ChatHub".into(), user: "nina/1#".into() }];
    // The clients have ended. Rows are deleted a moment later.
    with_timeout(wait_until_async(async || table.groups_of(&nina).await.unwrap() == [[]])).await;
}
