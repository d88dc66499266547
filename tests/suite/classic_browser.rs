//! The official client of classic ASP.NET SignalR (jQuery), in Chromium.

use std::{path::Path, time::Duration};

use hubcast::classic;

use crate::support::{ClientProcess, Server, ServiceProcess};

const SCRIPT: &str = "classic_browser.mjs";

const DEFAULT_DISCONNECT_TIMEOUT: Duration = Duration::from_secs(30);

/// A server with a long transport connect timeout, because a browser on a busy machine is slow to open a transport.
async fn start_server(disconnect_timeout: Duration) -> Server {
    let settings = classic::Settings { transport_connect_timeout: Duration::from_secs(30), ..Default::default() };
    let settings = settings.with_disconnect_timeout(disconnect_timeout);
    Server::start_with(|engine| engine.classic_settings(settings)).await
}

/// Runs a scenario that prints each of `steps` in this order.
async fn run_scenario(server: &Server, scenario: &str, steps: &[&str]) {
    let mut browser = ClientProcess::start(Path::new("node"), SCRIPT, &[scenario, &server.http("")]);
    for step in steps {
        browser.expect_line(step).await;
    }
    browser.expect_success().await;
}

#[tokio::test]
async fn every_transport_supports_calls_messages_errors_and_stop() {
    let server = start_server(DEFAULT_DISCONNECT_TIMEOUT).await;
    run_scenario(&server, "transports", &["webSockets", "serverSentEvents", "longPolling", "foreverFrame"]).await;
}

#[tokio::test]
async fn client_selects_websockets_by_default() {
    run_scenario(&start_server(DEFAULT_DISCONNECT_TIMEOUT).await, "transportSelection", &[]).await;
}

#[tokio::test]
async fn generated_proxies_work() {
    run_scenario(&start_server(DEFAULT_DISCONNECT_TIMEOUT).await, "proxies", &[]).await;
}

#[tokio::test]
async fn oversized_message_raises_error_event() {
    run_scenario(&start_server(DEFAULT_DISCONNECT_TIMEOUT).await, "oversizedMessage", &[]).await;
}

#[tokio::test]
async fn no_message_is_lost_during_network_outage() {
    let server = start_server(DEFAULT_DISCONNECT_TIMEOUT).await;
    run_scenario(&server, "networkOutage", &["restored"; 3]).await;
}

#[tokio::test]
async fn client_detects_silent_network() {
    let server = start_server(Duration::from_secs(15)).await;
    run_scenario(&server, "silentNetwork", &["restored"; 2]).await;
}

#[tokio::test]
async fn groups_are_restored_after_server_restart() {
    let data = tempfile::tempdir().unwrap();
    let server = ServiceProcess::start(data.path()).await;
    let base = format!("http://{}", server.address);
    let mut browser = ClientProcess::start(Path::new("node"), SCRIPT, &["serverRestart", &base]);
    browser.expect_line("ready").await;
    let _server = server.kill_and_restart(data.path()).await;
    browser.expect_success().await;
}
