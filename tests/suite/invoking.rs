//! Calls of hub methods, and every way in which they fail.

use serde_json::json;

use crate::support::{Client, Farewell, Server, until, until_async, within};

const UNREADABLE: &str = "InvalidDataException: Error reading JSON.";

#[tokio::test]
async fn a_call_is_answered_with_what_the_method_says() {
    let server = Server::start().await;
    let mut client = Client::connect(server.address, "/chat").await;
    assert_eq!(client.call("Add", json!([2, 3])).await, json!({ "type": 3, "invocationId": "1", "result": 5 }));
    assert_eq!(client.call("nothing", json!([])).await, json!({ "type": 3, "invocationId": "2", "result": null }));
    let text = "żółw 🐢 <&'> \u{1e} \"quoted\"";
    assert_eq!(client.invoke("ECHO", json!([text])).await, text, "methods have no case, and texts are kept");
    let nested = json!({ "a": [1, 2.5, { "b": null }], "c": "d" });
    assert_eq!(client.invoke("Any", json!([nested])).await, nested);
}

#[tokio::test]
async fn a_call_may_be_spelt_in_any_order_and_with_more_than_is_needed() {
    let server = Server::start().await;
    let mut client = Client::connect(server.address, "/chat").await;
    let call = r#"{"arguments":[1,1],"more":[{}],"target":"Bump","target":"Add","headers":{"a":"b"},"invocationId":"x y","type":1}"#;
    client.say(call).await;
    assert_eq!(client.next().await, json!({ "type": 3, "invocationId": "x y", "result": 2 }));
}

#[tokio::test]
async fn a_call_without_an_id_is_not_answered_not_even_when_it_fails() {
    let server = Server::start().await;
    let mut client = Client::connect(server.address, "/chat").await;
    for (method, arguments) in
        [("Add", json!([1, 1])), ("Crash", json!([])), ("Missing", json!([])), ("Add", json!([]))]
    {
        client.tell(method, arguments).await;
    }
    client.say(r#"{"type":1,"invocationId":"","target":"Crash","arguments":[]}"#).await;
    client.heard_nothing().await;
}

#[tokio::test]
async fn every_failure_is_told_in_the_words_of_the_original() {
    let server = Server::start().await;
    let mut client = Client::connect(server.address, "/chat").await;
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
        assert_eq!(client.refusal(method, arguments).await, text);
    }
}

#[tokio::test]
async fn every_failure_is_explained_where_errors_are_detailed() {
    let server = Server::start_detailed().await;
    let mut client = Client::connect(server.address, "/chat").await;
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
        let told = client.refusal(method, arguments).await;
        assert_eq!(told.replace("secret", "crash"), text);
    }
}

#[tokio::test]
async fn a_stream_from_a_method_that_gives_none_is_refused() {
    let server = Server::start().await;
    let mut client = Client::connect(server.address, "/chat").await;
    client.say(r#"{"type":4,"invocationId":"s","target":"Add","arguments":[1,2]}"#).await;
    let text = "The client attempted to invoke the non-streaming 'Add' method with a streaming invocation.";
    assert_eq!(client.next().await, json!({ "type": 3, "invocationId": "s", "error": text }));
    client.say(r#"{"type":1,"invocationId":"u","target":"Add","arguments":[1,2],"streamIds":["7","8"]}"#).await;
    let text = "An unexpected error occurred invoking 'Add' on the server. \
                HubException: Client sent 2 stream(s), Hub method expects 0.";
    assert_eq!(client.next().await, json!({ "type": 3, "invocationId": "u", "error": text }));
}

#[tokio::test]
async fn a_proven_caller_may_call_what_others_may_not() {
    let server = Server::start().await;
    let mut member = Client::connect(server.address, "/chat?access_token=ann").await;
    assert_eq!(member.invoke("Secret", json!([])).await, "for members");
}

#[tokio::test]
async fn arguments_take_what_their_types_take() {
    let server = Server::start().await;
    let mut client = Client::connect(server.address, "/chat").await;
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
        assert_eq!(client.refusal(method, json!([argument])).await, text);
    }
}

#[tokio::test]
async fn calls_of_one_client_run_one_after_the_other() {
    let server = Server::start().await;
    let mut ann = Client::connect(server.address, "/chat?user=ann").await;
    let mut bob = Client::connect(server.address, "/chat?user=bob").await;
    ann.say(r#"{"type":1,"invocationId":"a","target":"Hold","arguments":["gate"]}"#).await;
    ann.say(r#"{"type":1,"invocationId":"b","target":"Add","arguments":[1,1]}"#).await;
    let handle = server.engine.connections().of_user_anywhere(&"ann".into()).remove(0);
    within(until_async(async || handle.inspect().await.is_some_and(|detail| detail.calls == 2))).await;
    // The first has begun; the second has come and waits.
    within(until(|| server.engine.metrics().invocations.get() == 1)).await;
    bob.invoke("Open", json!(["gate"])).await;
    assert_eq!(ann.next().await["invocationId"], "a", "although the second call was the quicker one");
    assert_eq!(ann.next().await["invocationId"], "b");
}

#[tokio::test]
async fn what_a_method_sends_to_its_caller_comes_before_its_answer() {
    let server = Server::start().await;
    let mut client = Client::connect(server.address, "/chat").await;
    client.say(r#"{"type":1,"invocationId":"a","target":"Burst","arguments":[100]}"#).await;
    for tick in 0..100 {
        assert_eq!(client.called().await, ("tick".to_owned(), json!([tick])));
    }
    assert_eq!(client.next().await["type"], 3);
}

#[tokio::test]
async fn who_leaves_in_order_is_answered_in_order() {
    let server = Server::start().await;
    for close in [r#"{"type":7}"#, r#"{"type":7,"error":"tired","allowReconnect":true}"#] {
        let mut client = Client::connect(server.address, "/chat").await;
        client.say(close).await;
        assert_eq!(client.farewell().await, Farewell { error: None, may_return: false }, "{close}");
    }
}

#[tokio::test]
async fn a_hub_can_end_the_connection_of_its_caller() {
    let server = Server::start().await;
    let mut client = Client::connect(server.address, "/chat").await;
    client.tell("Drop", json!([])).await;
    assert_eq!(client.farewell().await, Farewell { error: None, may_return: false });
}

#[tokio::test]
async fn a_result_that_cannot_be_written_ends_the_connection() {
    let server = Server::start().await;
    let mut client = Client::connect(server.address, "/chat").await;
    client.tell("Double", json!([1])).await;
    client.say(r#"{"type":1,"invocationId":"1","target":"Double","arguments":[1e999]}"#).await;
    let farewell = client.farewell().await;
    assert_eq!(farewell.error.as_deref(), Some("Connection closed with an error."));
    assert!(farewell.may_return);
}

#[tokio::test]
async fn answers_to_nothing_and_unknown_kinds_are_passed_over() {
    let server = Server::start().await;
    let mut client = Client::connect(server.address, "/chat").await;
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
        client.say(record).await;
    }
    client.heard_nothing().await;
}

#[tokio::test]
async fn every_fault_on_the_wire_ends_the_connection_and_says_why() {
    let server = Server::start_detailed().await;
    let invalid = |text: &str| format!("InvalidDataException: {text}");
    let missing = |name: &str| invalid(&format!("Missing required property '{name}'."));
    let expected = |name: &str, kind: &str| invalid(&format!("Expected '{name}' to be of type {kind}."));
    let token = |kind: &str| invalid(&format!("Unexpected JSON Token Type '{kind}'. Expected a JSON Object."));
    for (record, text) in [
        ("", UNREADABLE.to_owned()),
        ("{", UNREADABLE.to_owned()),
        ("{\"type\":1,}", UNREADABLE.to_owned()),
        ("no JSON", UNREADABLE.to_owned()),
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
        let mut client = Client::connect(server.address, "/chat").await;
        client.say(record).await;
        let error = Some(format!("Connection closed with an error. {text}"));
        assert_eq!(client.farewell().await, Farewell { error, may_return: true }, "{record}");
    }
}

#[tokio::test]
async fn the_fault_is_not_explained_unless_errors_are_detailed() {
    let server = Server::start().await;
    let mut client = Client::connect(server.address, "/chat").await;
    client.say("no JSON").await;
    let error = Some("Connection closed with an error.".to_owned());
    assert_eq!(client.farewell().await, Farewell { error, may_return: true });
}

#[tokio::test]
async fn what_came_before_a_fault_is_answered_and_nothing_behind_it() {
    let server = Server::start().await;
    let mut client = Client::connect(server.address, "/chat").await;
    let call = |id: u8| format!(r#"{{"type":1,"invocationId":"{id}","target":"Bump","arguments":["faults"]}}"#);
    client.say(&format!("{}\u{1e}no JSON\u{1e}{}", call(1), call(2))).await;
    assert_eq!(client.next().await, json!({ "type": 3, "invocationId": "1", "result": 1 }));
    client.farewell().await;
    let mut other = Client::connect(server.address, "/chat").await;
    assert_eq!(other.invoke("Bump", json!(["faults"])).await, 2, "the second call did not run");
}
