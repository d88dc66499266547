//! The official client, under Node.

use std::path::Path;

use crate::support::{Conversation, Process, Server, node};

async fn plays(scenario: &str) {
    let server = Server::start().await;
    node("node.mjs", &[scenario, &server.http("")]).await;
}

#[tokio::test]
async fn it_calls_and_is_answered() {
    plays("calls").await;
}

#[tokio::test]
async fn it_speaks_in_groups_and_to_users() {
    plays("groups").await;
}

#[tokio::test]
async fn it_may_skip_the_negotiation() {
    plays("skipsNegotiation").await;
}

#[tokio::test]
async fn it_understands_every_refusal() {
    plays("refusals").await;
}

#[tokio::test]
async fn it_returns_into_its_groups_with_a_token() {
    plays("returns").await;
}

#[tokio::test]
async fn it_survives_the_death_of_the_server() {
    let data = tempfile::tempdir().unwrap();
    let server = Process::start(data.path()).await;
    let base = format!("http://{}", server.address);
    let mut client = Conversation::begin(Path::new("node"), "node.mjs", &["survives", &base]);
    client.hears("ready").await;
    let _server = server.kill_and_restart(data.path()).await;
    client.ends_well().await;
}
