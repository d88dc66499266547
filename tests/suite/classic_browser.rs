//! The official classic client, jQuery's, in Chromium.

use std::{path::Path, time::Duration};

use hubcast::classic;

use crate::support::{Conversation, Process, Server};

const SCRIPT: &str = "browser.mjs";

/// The usual time that a client may be away.
const PATIENT: Duration = Duration::from_secs(30);

/// A server that gives a browser on a machine that does other things time to open a transport.
async fn unhurried(disconnect_timeout: Duration) -> Server {
    let settings = classic::Settings { transport_connect_timeout: Duration::from_secs(30), ..Default::default() };
    let settings = settings.with_disconnect_timeout(disconnect_timeout);
    Server::start_with(|engine| engine.classic_settings(settings)).await
}

/// Plays a scenario that says each of these lines when it is so far.
async fn plays(server: &Server, scenario: &str, steps: &[&str]) {
    let mut browser = Conversation::begin(Path::new("node"), SCRIPT, &[scenario, &server.http("")]);
    for step in steps {
        browser.hears(step).await;
    }
    browser.ends_well().await;
}

#[tokio::test]
async fn it_calls_hears_fails_and_stops_over_every_transport() {
    let server = unhurried(PATIENT).await;
    plays(&server, "transports", &["webSockets", "serverSentEvents", "longPolling", "foreverFrame"]).await;
}

#[tokio::test]
async fn it_chooses_websockets() {
    plays(&unhurried(PATIENT).await, "choice", &[]).await;
}

#[tokio::test]
async fn it_speaks_through_generated_proxies() {
    plays(&unhurried(PATIENT).await, "proxies", &[]).await;
}

#[tokio::test]
async fn it_misses_nothing_while_its_network_is_cut() {
    let server = unhurried(PATIENT).await;
    plays(&server, "cuts", &["healed"; 3]).await;
}

#[tokio::test]
async fn it_notices_a_network_that_swallows_everything() {
    let server = unhurried(Duration::from_secs(15)).await;
    plays(&server, "silence", &["healed"; 2]).await;
}

#[tokio::test]
async fn it_is_back_in_its_groups_after_the_death_of_the_server() {
    let data = tempfile::tempdir().unwrap();
    let server = Process::start(data.path()).await;
    let base = format!("http://{}", server.address);
    let mut browser = Conversation::begin(Path::new("node"), SCRIPT, &["survives", &base]);
    browser.hears("ready").await;
    let _server = server.kill_and_restart(data.path()).await;
    browser.ends_well().await;
}
