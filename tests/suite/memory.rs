//! The memory of messages is released once they are sent or handled.

use std::path::Path;

use futures_util::future::join_all;
use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

use crate::support::{CoreClient, ServiceProcess, wait_until, with_timeout};

const CLIENTS: usize = 64;
const MESSAGE_SIZE: usize = 1 << 20;

/// A quarter of the memory that the clients would take if one message of each was retained. The rest of the growth is
/// allocator overhead, which these tests do not measure.
const MAX_GROWTH: usize = CLIENTS * MESSAGE_SIZE / 4;

/// The service, configured to accept long messages.
async fn start_service(data: &Path) -> ServiceProcess {
    std::fs::write(data.join("hubcast.toml"), "[aspnetcore]\nmax_message = 'none'\n[limits]\nbytes = 8_388_608\n")
        .unwrap();
    ServiceProcess::start(data).await
}

/// Clients that have joined the lobby and received a message, so that one-time allocations are done.
async fn connect_clients(server: &ServiceProcess) -> Vec<CoreClient> {
    let mut clients = Vec::new();
    for number in 0..CLIENTS {
        clients.push(CoreClient::connect_and_join(server.address, &number.to_string(), "lobby").await);
    }
    clients[0].invoke("Send", json!(["lobby", "warm"])).await;
    expect_message(&mut clients, "warm").await;
    clients
}

async fn expect_message(clients: &mut [CoreClient], text: &str) {
    let received = join_all(clients.iter_mut().map(|client| client.next_chat_message())).await;
    assert!(received.iter().all(|(_, received)| received == text), "all receive the same text");
}

#[tokio::test]
async fn memory_of_sent_messages_is_released() {
    let data = tempfile::tempdir().unwrap();
    let server = start_service(data.path()).await;
    let mut clients = connect_clients(&server).await;
    let before = server.resident_memory();
    let text = "x".repeat(MESSAGE_SIZE);
    clients[0].invoke("Send", json!(["lobby", text])).await;
    expect_message(&mut clients, &text).await;
    with_timeout(wait_until(|| server.resident_memory() < before + MAX_GROWTH)).await;
}

#[tokio::test]
async fn memory_of_received_messages_is_released() {
    let data = tempfile::tempdir().unwrap();
    let server = start_service(data.path()).await;
    let mut clients = connect_clients(&server).await;
    let before = server.resident_memory();
    let text = "x".repeat(MESSAGE_SIZE);
    for client in &mut clients {
        client.invoke("Send", json!(["an empty room", text])).await;
    }
    with_timeout(wait_until(|| server.resident_memory() < before + MAX_GROWTH)).await;
}

/// The bound of unread bytes of one client: the socket buffers of the system and a few buffers of the server.
const MAX_UNREAD: usize = 16 << 20;

#[tokio::test]
async fn fast_sender_is_throttled_without_buffering() {
    let data = tempfile::tempdir().unwrap();
    let server = start_service(data.path()).await;
    let mut client = CoreClient::connect_and_join(server.address, "ann", "lobby").await;
    let before = server.resident_memory();
    // Messages of an unknown type, which the server ignores.
    let message = Message::text(format!("{{\"type\":77,\"text\":\"{}\"}}\u{1e}", "x".repeat(1_000)));
    for sent in 0..64_000 {
        client.send_message(message.clone()).await;
        if sent % 1_000 == 0 {
            assert!(
                server.resident_memory() < before + MAX_UNREAD,
                "after {sent}: {} and {before} before",
                server.resident_memory()
            );
        }
    }
    client.invoke("Send", json!(["an empty room", "done"])).await;
}
