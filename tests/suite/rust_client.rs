//! The crate `signalr-client` from crates.io, a client of ASP.NET Core SignalR, with each format.
//!
//! `tests/clients/rust` contains its scenario.

use tokio::process::Command;

use crate::support::{Server, packages_folder, with_timeout};

async fn run_scenario(format: &str) {
    let server = Server::start().await;
    let program = packages_folder().join("rust/debug/rust_client");
    let port = server.address.port().to_string();
    let status = with_timeout(Command::new(&program).args([format, &port]).kill_on_drop(true).status()).await;
    let status = status.unwrap_or_else(|error| panic!("{}: {error}; run `tests/run --long`", program.display()));
    assert!(status.success(), "{status}; the output of the client is above");
}

#[tokio::test]
#[ignore = "its dependencies take minutes to build: run `tests/run --long`"]
async fn rust_client_uses_json() {
    run_scenario("json").await;
}

#[tokio::test]
#[ignore = "its dependencies take minutes to build: run `tests/run --long`"]
async fn rust_client_uses_message_pack() {
    run_scenario("messagepack").await;
}
