//! The chat page of the service, in Chromium.

use crate::support::{ServiceProcess, run_node};

async fn run_scenario(scenario: &str) {
    let data = tempfile::tempdir().unwrap();
    let server = ServiceProcess::start(data.path()).await;
    run_node("page.mjs", &[scenario, &format!("http://{}", server.address)]).await;
}

#[tokio::test]
async fn two_tabs_exchange_messages() {
    run_scenario("messages").await;
}

#[tokio::test]
async fn tabs_of_both_protocols_exchange_messages() {
    run_scenario("bothProtocols").await;
}
