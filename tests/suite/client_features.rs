//! What each official client of ASP.NET Core SignalR can do, over each transport with each format, in Node and in Chromium.
//!
//! `tests/clients/features.mjs` lists the features.

use hubcast::aspnetcore::Settings;

use crate::support::{Server, run_node};

const MODERN: &str = "@microsoft/signalr";
const PREDECESSOR: &str = "@aspnet/signalr";

/// The features send 60 KB of bytes, which are 80 KB in Base64.
const MAX_MESSAGE: usize = 128 * 1024;

async fn start() -> Server {
    Server::start_with(|engine| {
        engine.aspnetcore_settings(Settings { max_message: Some(MAX_MESSAGE), ..Settings::default() })
    })
    .await
}

/// Runs all features of both clients under Node.
async fn run_pair(transport: &str, format: &str) {
    let server = start().await;
    for client in [MODERN, PREDECESSOR] {
        run_node("features_node.mjs", &[client, transport, format, &server.http("")]).await;
    }
}

#[tokio::test]
async fn websockets_with_json() {
    run_pair("WebSockets", "json").await;
}

#[tokio::test]
async fn websockets_with_message_pack() {
    run_pair("WebSockets", "messagepack").await;
}

#[tokio::test]
async fn server_sent_events_with_json() {
    run_pair("ServerSentEvents", "json").await;
}

#[tokio::test]
async fn long_polling_with_json() {
    run_pair("LongPolling", "json").await;
}

#[tokio::test]
async fn long_polling_with_message_pack() {
    run_pair("LongPolling", "messagepack").await;
}

#[tokio::test]
async fn pages_use_each_transport_and_format() {
    let server = start().await;
    run_node("features_browser.mjs", &[MODERN, &server.http("")]).await;
}

#[tokio::test]
async fn pages_use_predecessor_with_each_transport_and_format() {
    let server = start().await;
    run_node("features_browser.mjs", &[PREDECESSOR, &server.http("")]).await;
}
