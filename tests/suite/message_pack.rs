//! Clients of ASP.NET Core SignalR that use MessagePack, byte for byte.

use std::net::SocketAddr;

use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

use crate::support::{CoreClient, Server};

async fn connect(server: SocketAddr, path: &str) -> CoreClient {
    let mut client = CoreClient::open(server, path).await;
    client.send_message(Message::text("{\"protocol\":\"messagepack\",\"version\":1}\u{1e}")).await;
    assert_eq!(client.next_binary().await, b"{}\x1e");
    client
}

async fn send(client: &mut CoreClient, message: &'static [u8]) {
    client.send_message(Message::binary(message)).await;
}

#[tokio::test]
async fn calls_are_answered_in_binary_messages() {
    let server = Server::start().await;
    let mut client = connect(server.address, "/chat").await;
    send(&mut client, b"\x0e\x96\x01\x80\xa11\xa4Echo\x91\xa1x\x90").await;
    assert_eq!(client.next_binary().await, b"\x08\x95\x03\x80\xa11\x03\xa1x");
    send(&mut client, b"\x12\x96\x01\x80\xa12\xa5Bytes\x91\xc4\x03\x01\x02\x03\x90").await;
    assert_eq!(client.next_binary().await, b"\x0b\x95\x03\x80\xa12\x03\xc4\x03\x01\x02\x03");
}

#[tokio::test]
async fn group_message_reaches_both_formats() {
    let server = Server::start().await;
    let mut json = CoreClient::connect_and_join(server.address, "ann", "r").await;
    let mut packed = connect(server.address, "/chat?user=bob").await;
    send(&mut packed, b"\x12\x96\x01\x80\xa11\xa8JoinRoom\x91\xa1r\x90").await;
    assert_eq!(packed.next_binary().await, b"\x07\x95\x03\x80\xa11\x03\xc0");
    json.invoke("Send", json!(["r", "hi"])).await;
    assert_eq!(packed.next_binary().await, b"\x1c\x96\x01\x80\xc0\xaeaddChatMessage\x92\xa3ann\xa2hi\x90");
    assert_eq!(json.next_chat_message().await, ("ann".into(), "hi".into()));
}
