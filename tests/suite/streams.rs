//! Streams between clients and hub methods.

use serde_json::{Value, json};

use crate::support::{CoreClient, Server};

async fn send(client: &mut CoreClient, message: Value) {
    client.send_record(&message.to_string()).await;
}

#[tokio::test]
async fn thousand_items_arrive_in_order() {
    let server = Server::start().await;
    let mut client = CoreClient::connect(server.address, "/chat").await;
    send(&mut client, json!({ "type": 4, "invocationId": "1", "target": "Count", "arguments": [1000, 0] })).await;
    for number in 0..1000 {
        assert_eq!(client.next_record().await, json!({ "type": 2, "invocationId": "1", "item": number }));
    }
    assert_eq!(client.next_record().await, json!({ "type": 3, "invocationId": "1" }));
}

#[tokio::test]
async fn cancelled_stream_is_dropped_by_the_hub() {
    let server = Server::start().await;
    let mut watcher = CoreClient::connect_and_join(server.address, "ann", "room").await;
    let mut client = CoreClient::connect(server.address, "/chat").await;
    send(&mut client, json!({ "type": 4, "invocationId": "1", "target": "Forever", "arguments": ["room"] })).await;
    assert_eq!(client.next_record().await["item"], 0);
    send(&mut client, json!({ "type": 5, "invocationId": "1" })).await;
    assert_eq!(client.next_record().await, json!({ "type": 3, "invocationId": "1" }));
    assert_eq!(watcher.next_chat_message().await, ("stream".into(), "cancelled".into()));
}

#[tokio::test]
async fn items_of_the_client_reach_the_method() {
    let server = Server::start().await;
    let mut client = CoreClient::connect(server.address, "/chat").await;
    let call = json!({ "type": 1, "invocationId": "1", "target": "Two", "arguments": ["="], "streamIds": ["x", "y"] });
    send(&mut client, call).await;
    for (id, item) in [("y", json!("b1")), ("x", json!(4)), ("y", json!("b2")), ("x", json!(5))] {
        send(&mut client, json!({ "type": 2, "invocationId": id, "item": item })).await;
    }
    for id in ["y", "x"] {
        send(&mut client, json!({ "type": 3, "invocationId": id })).await;
    }
    assert_eq!(client.completion("1").await["result"], "9=b1b2");
}

#[tokio::test]
async fn full_stream_holds_back_the_messages_behind_it() {
    let server = Server::start().await;
    let mut client = CoreClient::connect(server.address, "/chat").await;
    let mut other = CoreClient::connect(server.address, "/chat").await;
    let call =
        json!({ "type": 1, "invocationId": "1", "target": "HoldSum", "arguments": ["full"], "streamIds": ["s"] });
    send(&mut client, call).await;
    for _ in 0..10 {
        send(&mut client, json!({ "type": 2, "invocationId": "s", "item": 1 })).await;
    }
    assert_eq!(client.invoke("Echo", json!(["ten items fit"])).await, "ten items fit");
    send(&mut client, json!({ "type": 2, "invocationId": "s", "item": 1 })).await;
    send(&mut client, json!({ "type": 1, "invocationId": "2", "target": "Bump", "arguments": ["behind"] })).await;
    assert_eq!(other.invoke("Bump", json!(["behind"])).await, 1, "the call behind the item has not run");
    other.invoke("Open", json!(["full"])).await;
    assert_eq!(client.completion("2").await["result"], 2);
    send(&mut client, json!({ "type": 3, "invocationId": "s" })).await;
    assert_eq!(client.completion("1").await["result"], 11);
}
