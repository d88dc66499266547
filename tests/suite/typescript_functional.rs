//! What the functional tests of the official TypeScript client check, at the example `typescript_functional`.

use std::{path::Path, process::Stdio};

use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::Child,
};

use crate::{
    examples::example,
    support::{ClientProcess, packages_folder, with_timeout},
};

/// A running example with an address for `https` and one for `http`. Dropping it kills the process.
struct FunctionalServer {
    urls: [String; 2],
    _process: Child,
}

impl FunctionalServer {
    async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut command = example("typescript_functional", directory.path());
        let mut process = command.env("PACKAGES", packages_folder()).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let mut url = async |scheme: &str| {
            let line = with_timeout(lines.next_line()).await.unwrap().unwrap();
            let url = line.strip_prefix("Now listening on: ").unwrap().to_owned();
            assert!(url.starts_with(&format!("{scheme}://")), "{url}");
            url
        };
        Self { urls: [url("https").await, url("http").await], _process: process }
    }

    /// Runs groups of scenarios over one transport with one protocol.
    async fn run(&self, transport: &str, protocol: &str, groups: &[&str]) {
        let [https, http] = &self.urls;
        for group in groups {
            // The certificate of the example is not trusted.
            let environment = [("NODE_TLS_REJECT_UNAUTHORIZED", "0".into()), ("NODE_NO_WARNINGS", "1".into())];
            let arguments = [https, http, transport, protocol, group];
            ClientProcess::start_with(Path::new("node"), "functional.mjs", &arguments, environment)
                .expect_success()
                .await;
        }
    }
}

#[tokio::test]
async fn websockets_with_json() {
    let groups = ["calls", "streams", "results", "refusal", "objects", "echo", "connections"];
    FunctionalServer::start().await.run("WebSockets", "json", &groups).await;
}

#[tokio::test]
async fn websockets_with_message_pack() {
    FunctionalServer::start()
        .await
        .run("WebSockets", "messagepack", &["calls", "streams", "results", "refusal", "objects", "connections"])
        .await;
}

#[tokio::test]
async fn event_streams_with_json() {
    FunctionalServer::start()
        .await
        .run("ServerSentEvents", "json", &["calls", "streams", "results", "objects", "echo", "connections"])
        .await;
}

#[tokio::test]
async fn polls_with_json() {
    let groups = ["calls", "streams", "results", "refusal", "objects", "echo", "connections", "httpRedirects"];
    FunctionalServer::start().await.run("LongPolling", "json", &groups).await;
}

#[tokio::test]
async fn polls_with_message_pack() {
    FunctionalServer::start()
        .await
        .run("LongPolling", "messagepack", &["calls", "streams", "results", "refusal", "objects", "connections"])
        .await;
}

#[tokio::test]
async fn transport_is_negotiated() {
    let server = FunctionalServer::start().await;
    server.run("WebSockets", "json", &["transports", "fallback"]).await;
    server.run("WebSockets", "messagepack", &["fallback"]).await;
}
