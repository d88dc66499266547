//! The example `groups_page`: the samples of Microsoft's page about groups, each with clients of both generations.

use std::path::Path;

use entities::{connection, user, user_room};
use hubcast_fixtures::databases::DatabaseServer;
use sea_orm::{ColumnTrait, Database, EntityTrait, PaginatorTrait, QueryFilter};

use crate::{
    examples::{AZURITE, Example, SAMPLES_ENVIRONMENT},
    support::{ClientProcess, run_node, wait_until_async, with_timeout},
};

async fn start(address: &str, directory: &Path, store: &str) -> Example {
    Example::start_with("groups_page", directory, &[address, store], &SAMPLES_ENVIRONMENT).await
}

/// Kills the example, and starts it again at its address with the same store.
async fn kill_and_restart(example: Example, directory: &Path, store: &str) -> Example {
    let address = example.kill().await.to_string();
    start(&address, directory, store).await
}

fn database(directory: &Path) -> String {
    format!("sqlite://{}", directory.join("rooms.db").display())
}

/// Runs the rejoin scenario with a database of a server.
async fn run_with_server(server: &DatabaseServer) {
    let directory = tempfile::tempdir().unwrap();
    let example = start("127.0.0.1:0", directory.path(), &server.new_database()).await;
    run_node("groups_page.mjs", &["rejoin", &example.url()]).await;
}

#[tokio::test]
async fn database_of_the_samples_can_be_postgresql() {
    run_with_server(DatabaseServer::shared_postgres()).await;
}

#[tokio::test]
async fn database_of_the_samples_can_be_mariadb() {
    run_with_server(DatabaseServer::shared_mariadb()).await;
}

async fn run_scenario(scenario: &str) {
    let directory = tempfile::tempdir().unwrap();
    let example = start("127.0.0.1:0", directory.path(), &database(directory.path())).await;
    run_node("groups_page.mjs", &[scenario, &example.url()]).await;
}

#[tokio::test]
async fn samples_1_and_3_to_5_join_leave_and_send() {
    run_scenario("rooms").await;
}

#[tokio::test]
async fn sample_2_announces_a_new_member_once() {
    run_scenario("announcements").await;
}

#[tokio::test]
async fn samples_6_and_7_keep_members_in_a_database() {
    let directory = tempfile::tempdir().unwrap();
    let store = database(directory.path());
    let example = start("127.0.0.1:0", directory.path(), &store).await;
    let mut clients = ClientProcess::start(Path::new("node"), "groups_page.mjs", &["database", &example.url()]);
    clients.expect_line("ready").await;
    let db = Database::connect(&store).await.unwrap();
    let member = user::Entity::find_by_id("nina").one(&db).await.unwrap().expect("a row for the member");
    assert_eq!(member.revoked_before, None);
    let key = ("ChatHub".to_owned(), "nina".to_owned(), "lobby".to_owned());
    assert!(user_room::Entity::find_by_id(key).one(&db).await.unwrap().is_some());
    // Records of connections are written a moment after the connections exist.
    let open = connection::Entity::find().filter(connection::Column::UserName.eq("nina"));
    with_timeout(wait_until_async(async || open.clone().count(&db).await.unwrap() == 9)).await;
    let agents = open.all(&db).await.unwrap().into_iter().map(|row| row.user_agent);
    assert!(agents.into_iter().any(|agent| agent.starts_with("Microsoft SignalR/")));
    let address = example.kill().await.to_string();
    // Order: the clients would connect again.
    drop(clients);
    let example = start(&address, directory.path(), &store).await;
    run_node("groups_page.mjs", &["databaseRestarted", &example.url()]).await;
}

#[tokio::test]
async fn samples_8_and_9_keep_members_in_a_table() {
    let directory = tempfile::tempdir().unwrap();
    let store = AZURITE.new_table();
    let example = start("127.0.0.1:0", directory.path(), &store).await;
    run_node("groups_page.mjs", &["table", &example.url()]).await;
    let example = kill_and_restart(example, directory.path(), &store).await;
    run_node("groups_page.mjs", &["tableRestarted", &example.url()]).await;
}

#[tokio::test]
async fn samples_10_and_11_check_rejoined_rooms() {
    let directory = tempfile::tempdir().unwrap();
    let mut example = start("127.0.0.1:0", directory.path(), &database(directory.path())).await;
    run_node("groups_page.mjs", &["rejoin", &example.url()]).await;
    for line in ["rejoining ChatHub as ann: game 7, garden, lobby", "rejoining ChatHub as guest: game 7"] {
        let printed = example.next_line().await;
        assert_eq!(printed, line, "each client is decided about once");
    }
}

#[tokio::test]
async fn classic_client_rejoins_rooms_of_its_user_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let store = database(directory.path());
    let example = start("127.0.0.1:0", directory.path(), &store).await;
    let mut browser = ClientProcess::start(Path::new("node"), "samples_browser.mjs", &["groupsPage", &example.url()]);
    browser.expect_line("ready").await;
    let _example = kill_and_restart(example, directory.path(), &store).await;
    browser.expect_success().await;
}
