//! Third-party clients of classic ASP.NET SignalR, under Node and Python.

use crate::support::{Server, run_node, run_python};

async fn run_under_node(scenario: &str) {
    let server = Server::start().await;
    run_node("classic.mjs", &[scenario, &server.http("")]).await;
}

async fn run_under_python(scenario: &str) {
    let server = Server::start().await;
    run_python("classic.py", &[scenario, &server.http("")]).await;
}

#[tokio::test]
async fn node_client_invokes_methods() {
    run_under_node("calls").await;
}

#[tokio::test]
async fn node_client_uses_groups() {
    run_under_node("groups").await;
}

#[tokio::test]
async fn python_client_invokes_methods() {
    run_under_python("calls").await;
}

#[tokio::test]
async fn python_client_uses_groups() {
    run_under_python("groups").await;
}
