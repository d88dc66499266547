//! The JavaScript module in `clients/js`, with four versions of the official client in Node and in Chromium.

use std::path::Path;

use crate::support::{ClientProcess, ServiceProcess};

const SECRET: &str = "a secret that is as long as HS256 wants";

/// Runs a script that expects the service to be killed and restarted after it has printed `ready`.
async fn run_over_restart(script: &str, scenario: &[&str], settings: &[(&str, &str)]) {
    let data = tempfile::tempdir().unwrap();
    let server = ServiceProcess::start_with(data.path(), settings).await;
    let base = format!("http://{}", server.address);
    let secret = settings.iter().any(|(_, value)| *value == SECRET).then_some(SECRET);
    let arguments = [scenario, &[&*base], secret.as_slice()].concat();
    let mut client = ClientProcess::start(Path::new("node"), script, &arguments);
    client.expect_line("ready").await;
    let _server = server.kill_and_restart_with(data.path(), settings).await;
    client.expect_success().await;
}

const WITH_TOKENS: [(&str, &str); 2] = [("HUBCAST_AUTH__MODE", "jwt"), ("HUBCAST_AUTH__SECRETS", SECRET)];

#[tokio::test]
async fn node_clients_return_to_their_groups() {
    run_over_restart("rejoin.mjs", &[], &[]).await;
}

#[tokio::test]
async fn node_clients_with_access_token_return_to_their_groups() {
    run_over_restart("rejoin.mjs", &[], &WITH_TOKENS).await;
}

#[tokio::test]
async fn pages_return_to_their_groups() {
    run_over_restart("rejoin_browser.mjs", &["helper"], &[]).await;
}

#[tokio::test]
async fn pages_with_access_token_return_to_their_groups() {
    run_over_restart("rejoin_browser.mjs", &["helper"], &WITH_TOKENS).await;
}

#[tokio::test]
async fn documented_lines_return_pages_to_their_groups() {
    run_over_restart("rejoin_browser.mjs", &["documentedLines"], &[]).await;
}
