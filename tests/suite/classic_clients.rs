//! Independent clients of the older generation, under Node and Python.

use crate::support::{Server, node, python};

async fn plays_under_node(scenario: &str) {
    let server = Server::start().await;
    node("older.mjs", &[scenario, &server.http("")]).await;
}

async fn plays_under_python(scenario: &str) {
    let server = Server::start().await;
    python("older.py", &[scenario, &server.http("")]).await;
}

#[tokio::test]
async fn one_for_node_calls_and_is_answered() {
    plays_under_node("calls").await;
}

#[tokio::test]
async fn one_for_node_speaks_in_groups() {
    plays_under_node("groups").await;
}

#[tokio::test]
async fn one_for_python_calls_and_is_answered() {
    plays_under_python("calls").await;
}

#[tokio::test]
async fn one_for_python_speaks_in_groups() {
    plays_under_python("groups").await;
}
