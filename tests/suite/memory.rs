//! What a client was sent, or has sent, is not held for it when it is through.

use std::path::Path;

use futures_util::future::join_all;
use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

use crate::support::{Client, Process, until, within};

const CLIENTS: usize = 64;
const LONG: usize = 1 << 20;

/// A quarter of what the clients would hold if each held one message: the allocator is not the subject.
const MOST: usize = CLIENTS * LONG / 4;

/// The service, taking long messages.
async fn service(data: &Path) -> Process {
    std::fs::write(data.join("hubcast.toml"), "[aspnetcore]\nmax_message = 'none'\n[limits]\nbytes = 8_388_608\n")
        .unwrap();
    Process::start(data).await
}

/// Clients in the lobby that have all been through what happens once in each connection's life.
async fn lobby(server: &Process) -> Vec<Client> {
    let mut clients = Vec::new();
    for number in 0..CLIENTS {
        clients.push(Client::join(server.address, &number.to_string(), "lobby").await);
    }
    clients[0].invoke("Send", json!(["lobby", "warm"])).await;
    hear(&mut clients, "warm").await;
    clients
}

async fn hear(clients: &mut [Client], text: &str) {
    let heard = join_all(clients.iter_mut().map(|client| client.heard())).await;
    assert!(heard.iter().all(|(_, heard)| heard == text), "all hear the same");
}

#[tokio::test]
async fn a_client_that_was_sent_a_megabyte_does_not_hold_it() {
    let data = tempfile::tempdir().unwrap();
    let server = service(data.path()).await;
    let mut clients = lobby(&server).await;
    let before = server.resident();
    let text = "x".repeat(LONG);
    clients[0].invoke("Send", json!(["lobby", text])).await;
    hear(&mut clients, &text).await;
    within(until(|| server.resident() < before + MOST)).await;
}

#[tokio::test]
async fn what_a_client_has_sent_is_not_held_when_it_was_acted_on() {
    let data = tempfile::tempdir().unwrap();
    let server = service(data.path()).await;
    let mut clients = lobby(&server).await;
    let before = server.resident();
    let text = "x".repeat(LONG);
    for client in &mut clients {
        client.invoke("Send", json!(["an empty room", text])).await;
    }
    within(until(|| server.resident() < before + MOST)).await;
}

/// What a client may send without being read is bounded by the system's buffers and a few of ours.
const UNREAD: usize = 16 << 20;

#[tokio::test]
async fn a_client_that_sends_faster_than_it_is_read_is_slowed_down_and_not_remembered() {
    let data = tempfile::tempdir().unwrap();
    let server = service(data.path()).await;
    let mut client = Client::join(server.address, "ann", "lobby").await;
    let before = server.resident();
    // Each is a message of a kind that nobody knows.
    let message = Message::text(format!("{{\"type\":77,\"text\":\"{}\"}}\u{1e}", "x".repeat(1_000)));
    for sent in 0..64_000 {
        client.send(message.clone()).await;
        if sent % 1_000 == 0 {
            assert!(server.resident() < before + UNREAD, "after {sent}: {} and {before} before", server.resident());
        }
    }
    client.invoke("Send", json!(["an empty room", "all was taken"])).await;
}
