//! Invocations of hub methods, and their errors.

use hubcast::{store::faulty::FaultMode, testkit};
use serde_json::json;

use crate::support::{CloseMessage, CoreClient, Server, wait_until, wait_until_async, with_timeout};

const INVALID_JSON: &str = "InvalidDataException: Error reading JSON.";

#[tokio::test]
async fn completion_contains_the_result() {
    let server = Server::start().await;
    let mut client = CoreClient::connect(server.address, "/chat").await;
    assert_eq!(client.invoke_raw("Add", json!([2, 3])).await, json!({ "type": 3, "invocationId": "1", "result": 5 }));
    assert_eq!(
        client.invoke_raw("nothing", json!([])).await,
        json!({ "type": 3, "invocationId": "2", "result": null })
    );
    let text = "żółw 🐢 <&'> \u{1e} \"quoted\"";
    assert_eq!(
        client.invoke("ECHO", json!([text])).await,
        text,
        "method names are case-insensitive, and strings are unchanged"
    );
    let nested = json!({ "a": [1, 2.5, { "b": null }], "c": "d" });
    assert_eq!(client.invoke("Any", json!([nested])).await, nested);
}

#[tokio::test]
async fn member_order_and_unknown_members_are_ignored() {
    let server = Server::start().await;
    let mut client = CoreClient::connect(server.address, "/chat").await;
    let invocation = r#"{"arguments":[1,1],"more":[{}],"target":"Bump","target":"Add","headers":{"a":"b"},"invocationId":"x y","type":1}"#;
    client.send_record(invocation).await;
    assert_eq!(client.next_record().await, json!({ "type": 3, "invocationId": "x y", "result": 2 }));
}

#[tokio::test]
async fn nonblocking_invocation_gets_no_completion() {
    let server = Server::start().await;
    let mut client = CoreClient::connect(server.address, "/chat").await;
    for (method, arguments) in
        [("Add", json!([1, 1])), ("Crash", json!([])), ("Missing", json!([])), ("Add", json!([]))]
    {
        client.invoke_nonblocking(method, arguments).await;
    }
    client.send_record(r#"{"type":1,"invocationId":"","target":"Crash","arguments":[]}"#).await;
    client.expect_no_message().await;
}

#[tokio::test]
async fn invocation_errors_match_aspnet_core() {
    let server = Server::start().await;
    let mut client = CoreClient::connect(server.address, "/chat").await;
    let failed = |method: &str| format!("Failed to invoke '{method}' due to an error on the server.");
    let unexpected = |method: &str| format!("An unexpected error occurred invoking '{method}' on the server.");
    for (method, arguments, text) in [
        ("Missing", json!([]), failed("Missing") + " HubException: Method does not exist."),
        ("mISSING", json!([1]), failed("mISSING") + " HubException: Method does not exist."),
        ("Add", json!([1]), failed("Add")),
        ("add", json!([1, "two"]), failed("Add")),
        ("Secret", json!([]), "Failed to invoke 'Secret' because user is unauthorized".to_owned()),
        ("Crash", json!([]), unexpected("Crash")),
        ("Fail", json!(["boom"]), unexpected("Fail") + " HubException: boom"),
        ("JoinRoom", json!([null]), unexpected("JoinRoom")),
    ] {
        assert_eq!(client.invoke_error(method, arguments).await, text);
    }
}

#[tokio::test]
async fn invocation_errors_are_explained_with_detailed_errors() {
    let server = Server::start_with_detailed_errors().await;
    let mut client = CoreClient::connect(server.address, "/chat").await;
    let failed = "Failed to invoke 'Add' due to an error on the server. InvalidDataException:";
    let binding = "Error binding arguments. Make sure that the types of the provided values match the types of the \
                   hub method being invoked.";
    for (method, arguments, text) in [
        ("Add", json!([1]), format!("{failed} Invocation provides 1 argument(s) but target expects 2.")),
        ("Add", json!([1, 2, 3]), format!("{failed} Invocation provides 3 argument(s) but target expects 2.")),
        ("Add", json!([1, "two"]), format!("{failed} {binding}")),
        (
            "Crash",
            json!([]),
            "An unexpected error occurred invoking 'Crash' on the server. InvalidOperationException: crash".to_owned(),
        ),
    ] {
        let error = client.invoke_error(method, arguments).await;
        assert_eq!(error.replace("secret", "crash"), text);
    }
}

#[tokio::test]
async fn streaming_a_non_streaming_method_is_refused() {
    let server = Server::start().await;
    let mut client = CoreClient::connect(server.address, "/chat").await;
    client.send_record(r#"{"type":4,"invocationId":"s","target":"Add","arguments":[1,2]}"#).await;
    let text = "The client attempted to invoke the non-streaming 'Add' method with a streaming invocation.";
    assert_eq!(client.next_record().await, json!({ "type": 3, "invocationId": "s", "error": text }));
    client.send_record(r#"{"type":1,"invocationId":"u","target":"Add","arguments":[1,2],"streamIds":["7","8"]}"#).await;
    let text = "An unexpected error occurred invoking 'Add' on the server. \
                HubException: Client sent 2 stream(s), Hub method expects 0.";
    assert_eq!(client.next_record().await, json!({ "type": 3, "invocationId": "u", "error": text }));
}

#[tokio::test]
async fn authorized_caller_can_invoke_guarded_method() {
    let server = Server::start().await;
    let mut member = CoreClient::connect(server.address, "/chat?access_token=ann").await;
    assert_eq!(member.invoke("Secret", json!([])).await, "for members");
}

#[tokio::test]
async fn arguments_are_converted_by_their_types() {
    let server = Server::start().await;
    let mut client = CoreClient::connect(server.address, "/chat").await;
    for (method, argument, result) in [
        ("Long", json!(9_007_199_254_740_993_i64), json!(9_007_199_254_740_993_i64)),
        ("Double", json!(1), json!(1)),
        ("Double", json!(0.1), json!(0.1)),
        ("Bool", json!(true), json!(true)),
        ("Bytes", json!("AQID"), json!("AQID")),
        ("Time", json!("2020-02-29T12:00:00.1200Z"), json!("2020-02-29T12:00:00.12Z")),
        ("Echo", json!(null), json!(null)),
    ] {
        assert_eq!(client.invoke(method, json!([argument])).await, result, "{method}");
    }
    for (method, argument) in [("Long", json!(1.5)), ("Bool", json!("true")), ("Bytes", json!("A")), ("Echo", json!(1))]
    {
        let text = format!("Failed to invoke '{method}' due to an error on the server.");
        assert_eq!(client.invoke_error(method, json!([argument])).await, text);
    }
}

#[tokio::test]
async fn invocations_of_one_client_run_sequentially() {
    let server = Server::start().await;
    let mut ann = CoreClient::connect(server.address, "/chat?user=ann").await;
    let mut bob = CoreClient::connect(server.address, "/chat?user=bob").await;
    ann.send_record(r#"{"type":1,"invocationId":"a","target":"Hold","arguments":["gate"]}"#).await;
    ann.send_record(r#"{"type":1,"invocationId":"b","target":"Add","arguments":[1,1]}"#).await;
    let handle = testkit::connections(&server.engine).of_user_on_any_hub(&"ann".into()).remove(0);
    with_timeout(wait_until_async(async || handle.inspect().await.is_some_and(|detail| detail.calls == 2))).await;
    // The first invocation runs; the second one has arrived and waits.
    with_timeout(wait_until(|| server.engine.metrics().invocations.get() == 1)).await;
    bob.invoke("Open", json!(["gate"])).await;
    assert_eq!(
        ann.next_record().await["invocationId"],
        "a",
        "the first invocation completes first, although the second one is faster"
    );
    assert_eq!(ann.next_record().await["invocationId"], "b");
}

#[tokio::test]
async fn messages_to_caller_precede_the_completion() {
    let server = Server::start().await;
    let mut client = CoreClient::connect(server.address, "/chat").await;
    client.send_record(r#"{"type":1,"invocationId":"a","target":"Burst","arguments":[100]}"#).await;
    for tick in 0..100 {
        assert_eq!(client.next_invocation().await, ("tick".to_owned(), json!([tick])));
    }
    assert_eq!(client.next_record().await["type"], 3);
}

#[tokio::test]
async fn close_message_is_answered_with_close() {
    let server = Server::start().await;
    for close in [r#"{"type":7}"#, r#"{"type":7,"error":"tired","allowReconnect":true}"#] {
        let mut client = CoreClient::connect(server.address, "/chat").await;
        client.send_record(close).await;
        assert_eq!(client.expect_close().await, CloseMessage { error: None, allow_reconnect: false }, "{close}");
    }
}

#[tokio::test]
async fn hub_can_abort_its_caller() {
    let server = Server::start().await;
    let mut client = CoreClient::connect(server.address, "/chat").await;
    client.invoke_nonblocking("Drop", json!([])).await;
    assert_eq!(client.expect_close().await, CloseMessage { error: None, allow_reconnect: false });
}

#[tokio::test]
async fn unserializable_result_closes_the_connection() {
    let server = Server::start().await;
    let mut client = CoreClient::connect(server.address, "/chat").await;
    client.invoke_nonblocking("Double", json!([1])).await;
    client.send_record(r#"{"type":1,"invocationId":"1","target":"Double","arguments":[1e999]}"#).await;
    let close = client.expect_close().await;
    assert_eq!(close.error.as_deref(), Some("Connection closed with an error."));
    assert!(close.allow_reconnect);
}

#[tokio::test]
async fn unexpected_and_unknown_messages_are_ignored() {
    let server = Server::start().await;
    let mut client = CoreClient::connect(server.address, "/chat").await;
    for record in [
        r#"{"type":2,"invocationId":"none","item":1}"#,
        r#"{"type":3,"invocationId":"none","result":1}"#,
        r#"{"type":5,"invocationId":"none"}"#,
        r#"{"type":6}"#,
        r#"{"type":8,"sequenceId":99}"#,
        r#"{"type":9,"sequenceId":99}"#,
        r#"{"type":42,"news":true}"#,
        r#"{"type":6}{"type":7}"#,
    ] {
        client.send_record(record).await;
    }
    client.expect_no_message().await;
}

#[tokio::test]
async fn protocol_errors_close_the_connection_with_details() {
    let server = Server::start_with_detailed_errors().await;
    let invalid = |text: &str| format!("InvalidDataException: {text}");
    let missing = |name: &str| invalid(&format!("Missing required property '{name}'."));
    let expected = |name: &str, kind: &str| invalid(&format!("Expected '{name}' to be of type {kind}."));
    let token = |kind: &str| invalid(&format!("Unexpected JSON Token Type '{kind}'. Expected a JSON Object."));
    for (record, text) in [
        ("", INVALID_JSON.to_owned()),
        ("{", INVALID_JSON.to_owned()),
        ("{\"type\":1,}", INVALID_JSON.to_owned()),
        ("no JSON", INVALID_JSON.to_owned()),
        ("[]", token("Array")),
        ("\"text\"", token("String")),
        ("7", token("Number")),
        ("null", token("Null")),
        ("{}", missing("type")),
        (r#"{"type":1,"arguments":[]}"#, missing("target")),
        (r#"{"type":1,"target":"Add"}"#, missing("arguments")),
        (r#"{"type":4,"target":"Add","arguments":[]}"#, missing("invocationId")),
        (r#"{"type":2,"invocationId":"1"}"#, missing("item")),
        (r#"{"type":2,"item":1}"#, missing("invocationId")),
        (r#"{"type":3}"#, missing("invocationId")),
        (r#"{"type":5,"invocationId":""}"#, missing("invocationId")),
        (r#"{"type":8}"#, missing("sequenceId")),
        (r#"{"type":"1"}"#, expected("type", "Number")),
        (r#"{"type":1,"invocationId":1,"target":"Add","arguments":[]}"#, expected("invocationId", "String")),
        (r#"{"type":1,"invocationId":null,"target":"Add","arguments":[]}"#, expected("invocationId", "String")),
        (r#"{"type":1,"target":null,"arguments":[]}"#, expected("target", "String")),
        (r#"{"type":1,"target":"Add","arguments":{}}"#, expected("arguments", "Array")),
        (r#"{"type":1,"target":"Add","arguments":[],"headers":[]}"#, expected("headers", "StartObject")),
        (
            r#"{"type":1,"target":"Add","arguments":[],"headers":{"h":1}}"#,
            invalid("Expected header 'h' to be of type String."),
        ),
        (r#"{"type":7,"allowReconnect":1}"#, invalid("Expected 'allowReconnect' to be true or false.")),
        (
            r#"{"type":1,"target":"Add","arguments":[],"streamIds":[null]}"#,
            invalid("Null value for 'streamIds' is not valid."),
        ),
        (
            r#"{"type":3,"invocationId":"1","error":"a","result":1}"#,
            invalid("The 'error' and 'result' properties are mutually exclusive."),
        ),
    ] {
        let mut client = CoreClient::connect(server.address, "/chat").await;
        client.send_record(record).await;
        let error = Some(format!("Connection closed with an error. {text}"));
        assert_eq!(client.expect_close().await, CloseMessage { error, allow_reconnect: true }, "{record}");
    }
}

#[tokio::test]
async fn protocol_errors_have_no_details_by_default() {
    let server = Server::start().await;
    let mut client = CoreClient::connect(server.address, "/chat").await;
    client.send_record("no JSON").await;
    let error = Some("Connection closed with an error.".to_owned());
    assert_eq!(client.expect_close().await, CloseMessage { error, allow_reconnect: true });
}

#[tokio::test]
async fn messages_after_a_protocol_error_are_dropped() {
    let server = Server::start().await;
    let mut client = CoreClient::connect(server.address, "/chat").await;
    let call = |id: u8| format!(r#"{{"type":1,"invocationId":"{id}","target":"Bump","arguments":["faults"]}}"#);
    client.send_record(&format!("{}\u{1e}no JSON\u{1e}{}", call(1), call(2))).await;
    assert_eq!(client.next_record().await, json!({ "type": 3, "invocationId": "1", "result": 1 }));
    client.expect_close().await;
    let mut other = CoreClient::connect(server.address, "/chat").await;
    assert_eq!(other.invoke("Bump", json!(["faults"])).await, 2, "the second call did not run");
}

#[tokio::test]
async fn caller_learns_that_the_store_is_unavailable() {
    let (server, store) = Server::start_with_faulty_store(|engine| engine).await;
    let mut client = CoreClient::connect(server.address, "/chat?user=ann").await;
    client.invoke("WhoAmI", json!([])).await;
    store.set_mode(FaultMode::Refuse);
    let expected = "An unexpected error occurred invoking 'AddToRoom' on the server. \
                    HubException: The server cannot access its stored data now. Try again in a moment.";
    assert_eq!(client.invoke_error("AddToRoom", json!(["lobby"])).await, expected);
}
