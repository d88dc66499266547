//! Results that the server requests from clients.

use serde_json::{Value, json};

use crate::support::{CoreClient, Server};

/// Two clients, the id of the second one, and the server.
async fn two_clients() -> (Server, CoreClient, CoreClient, Value) {
    let server = Server::start().await;
    let caller = CoreClient::connect(server.address, "/chat").await;
    let mut asked = CoreClient::connect(server.address, "/chat").await;
    let id = asked.invoke("WhoAmI", json!([])).await;
    (server, caller, asked, id)
}

async fn ask(caller: &mut CoreClient, connection: &Value) {
    let call = json!({ "type": 1, "invocationId": "ask", "target": "Ask", "arguments": [connection, "why?"] });
    caller.send_record(&call.to_string()).await;
}

/// The invocation id of the question.
async fn receive_question(asked: &mut CoreClient) -> Value {
    let question = asked.next_record().await;
    let id = question["invocationId"].clone();
    assert_eq!(question, json!({ "type": 1, "invocationId": id, "target": "ask", "arguments": ["why?"] }));
    id
}

async fn answer(asked: &mut CoreClient, id: &Value, result: &str) {
    asked.send_record(&json!({ "type": 3, "invocationId": id, "result": result }).to_string()).await;
}

#[tokio::test]
async fn answer_of_a_client_is_the_result_of_the_method() {
    let (_server, mut caller, mut asked, connection) = two_clients().await;
    ask(&mut caller, &connection).await;
    let id = receive_question(&mut asked).await;
    answer(&mut asked, &id, "because").await;
    assert_eq!(caller.completion("ask").await["result"], "because");
    answer(&mut asked, &id, "again").await;
    asked.expect_no_message().await;
}

#[tokio::test]
async fn client_can_ask_itself() {
    let (_server, mut caller, _asked, _) = two_clients().await;
    let own_id = caller.invoke("WhoAmI", json!([])).await;
    ask(&mut caller, &own_id).await;
    let id = receive_question(&mut caller).await;
    assert_eq!(caller.invoke("Echo", json!(["meanwhile"])).await, "meanwhile", "the waiting call blocks no other");
    answer(&mut caller, &id, "me").await;
    assert_eq!(caller.completion("ask").await["result"], "me");
}

#[tokio::test]
async fn error_or_end_of_the_asked_client_is_an_error() {
    let (_server, mut caller, mut asked, connection) = two_clients().await;
    ask(&mut caller, &connection).await;
    let id = receive_question(&mut asked).await;
    asked.send_record(&json!({ "type": 3, "invocationId": id, "error": "do not know" }).to_string()).await;
    let error = "An unexpected error occurred invoking 'Ask' on the server.";
    assert_eq!(caller.completion("ask").await["error"], format!("{error} HubException: do not know"));
    ask(&mut caller, &connection).await;
    receive_question(&mut asked).await;
    asked.drop_socket();
    assert_eq!(caller.completion("ask").await["error"], error);
    assert_eq!(caller.invoke_error("Ask", json!(["nobody", "why?"])).await, error);
}

#[tokio::test]
async fn only_the_asked_client_can_answer() {
    let (server, mut caller, mut asked, connection) = two_clients().await;
    let mut third = CoreClient::connect(server.address, "/chat").await;
    ask(&mut caller, &connection).await;
    let id = receive_question(&mut asked).await;
    answer(&mut third, &id, "me").await;
    let close = third.expect_close().await;
    assert_eq!(close.error.as_deref(), Some("Connection closed with an error."));
    answer(&mut asked, &id, "no, me").await;
    assert_eq!(caller.completion("ask").await["result"], "no, me");
}

#[tokio::test]
async fn answer_overtakes_the_calls_that_wait() {
    let (_server, mut caller, mut asked, connection) = two_clients().await;
    for (id, target, argument) in [("held", "Hold", "answers"), ("echo", "Echo", "later")] {
        let call = json!({ "type": 1, "invocationId": id, "target": target, "arguments": [argument] });
        asked.send_record(&call.to_string()).await;
    }
    ask(&mut caller, &connection).await;
    let id = receive_question(&mut asked).await;
    answer(&mut asked, &id, "because").await;
    assert_eq!(caller.completion("ask").await["result"], "because");
    caller.invoke("Open", json!(["answers"])).await;
    assert_eq!(asked.completion("held").await["result"], Value::Null);
    assert_eq!(asked.completion("echo").await["result"], "later");
}
