//! Names and requests that are too long.

use serde_json::json;

use crate::support::{ClassicClient, CoreClient, Server, UPGRADE, http_request};

#[tokio::test]
async fn too_long_user_name_is_refused() {
    let server = Server::start().await;
    for path in
        ["POST /chat/negotiate?negotiateVersion=1", "GET /chat?x=1", "GET /signalr/negotiate?clientProtocol=2.1"]
    {
        for (length, is_refused) in [(256, false), (257, true)] {
            let request = format!("{path}&user={}", "u".repeat(length));
            let response = http_request(server.address, &request, UPGRADE).await;
            assert_eq!(response.status == 400, is_refused, "{path}");
            assert_eq!(response.body.contains("The user name has more than 256 characters."), is_refused, "{path}");
        }
    }
}

#[tokio::test]
async fn too_long_group_name_is_an_error_for_the_caller() {
    let server = Server::start().await;
    let (fits, long) = ("g".repeat(256), "g".repeat(257));
    let mut core = CoreClient::connect(server.address, "/chat?user=ann").await;
    core.invoke("JoinRoom", json!([fits])).await;
    for method in ["JoinRoom", "AddToRoom"] {
        let error = core.invoke_error(method, json!([long])).await;
        assert!(error.ends_with("HubException: The group name has more than 256 characters."), "{method}: {error}");
    }
    let mut classic = ClassicClient::connect(server.address, "webSockets", "&user=bob").await;
    let answer = classic.invoke_raw("JoinRoom", json!([long])).await;
    assert_eq!(answer["E"], "The group name has more than 256 characters.");
    assert_eq!(server.engine.hub("chat").unwrap().groups().list().len(), 1);
}

#[tokio::test]
async fn too_long_method_name_is_cut_in_the_error() {
    let server = Server::start().await;
    let mut core = CoreClient::connect(server.address, "/chat").await;
    let (long, cut) = ("m".repeat(1000), "m".repeat(256));
    let expected =
        format!("Failed to invoke '{cut}' due to an error on the server. HubException: Method does not exist.");
    assert_eq!(core.invoke_error(&long, json!([])).await, expected);
    let mut classic = ClassicClient::connect(server.address, "webSockets", "").await;
    let answer = classic.invoke_raw(&long, json!([])).await;
    assert_eq!(answer["E"], format!("There was an error invoking Hub method 'chat.{cut}'."));
}

#[tokio::test]
async fn request_with_too_many_bytes_is_refused() {
    let server = Server::start().await;
    for path in [
        "/chat/negotiate?negotiateVersion=1",
        "/chat?x=1",
        "/signalr/negotiate?clientProtocol=2.1",
        "/signalr/ping?x=1",
    ] {
        let long = "x".repeat(32 * 1024);
        let in_query = http_request(server.address, &format!("POST {path}&pad={long}"), "").await;
        let in_header = http_request(server.address, &format!("POST {path}"), &format!("Cookie: {long}\r\n")).await;
        let error = "The query and the headers of the request have more than 32768 bytes.";
        for response in [in_query, in_header] {
            assert_eq!((response.status, &*response.body), (431, error), "{path}");
        }
    }
}
