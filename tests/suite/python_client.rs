//! A third-party client of ASP.NET Core SignalR, under Python.

use crate::support::{Server, run_python};

async fn run_scenario(scenario: &str) {
    let server = Server::start().await;
    run_python("client.py", &[scenario, &server.http("")]).await;
}

#[tokio::test]
async fn client_invokes_methods() {
    run_scenario("calls").await;
}

#[tokio::test]
async fn client_uses_groups() {
    run_scenario("groups").await;
}
