//! Third-party clients of ASP.NET Core SignalR, under Python.

use crate::support::{Server, run_python};

async fn run_scenario(scenario: &str) {
    let server = Server::start().await;
    for protocol in ["json", "messagepack"] {
        run_python("client.py", &[scenario, protocol, &server.http("")]).await;
    }
}

#[tokio::test]
async fn client_invokes_methods() {
    run_scenario("calls").await;
}

#[tokio::test]
async fn client_uses_groups() {
    run_scenario("groups").await;
}

/// Over long polling, signalrcore leaves messages unread until the next poll ends, if a poll has several.
#[tokio::test]
async fn signalrcore_invokes_methods_and_uses_groups() {
    let server = Server::start().await;
    for transport in ["web_sockets", "server_sent_events"] {
        run_python("signalrcore_client.py", &[transport, &server.http("")]).await;
    }
}
