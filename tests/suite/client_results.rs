//! Results that the server requests from clients.

use hubcast::filters::{BeforeSend, FilterError, Recipients, on};
use serde_json::{Value, json};

use crate::{
    filters::start_recording,
    support::{CoreClient, Server},
};

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

/// Lets a client ask itself and answer with the question. Returns the completion of the call.
async fn ask_itself(client: &mut CoreClient, id: &Value, question: &str) -> Value {
    let call = json!({ "type": 1, "invocationId": "ask", "target": "Ask", "arguments": [id, question] });
    client.send_record(&call.to_string()).await;
    let asked = client.next_record().await;
    if asked["type"] == 3 {
        return asked;
    }
    let answer = json!({ "type": 3, "invocationId": asked["invocationId"], "result": asked["arguments"][0] });
    client.send_record(&answer.to_string()).await;
    client.completion("ask").await
}

#[tokio::test]
async fn question_to_a_client_is_observed_before_its_answer() {
    let (server, mut events) = start_recording().await;
    let mut ann = CoreClient::connect(server.address, "/chat?user=ann").await;
    let id = ann.invoke("WhoAmI", json!([])).await;
    events.expect(&["authorize", "before connect", "after connect", "before WhoAmI", "after WhoAmI"]).await;
    assert_eq!(ask_itself(&mut ann, &id, "why?").await["result"], "why?");
    events.expect(&["before Ask", "before sending ask", "sent ask to 1", "after Ask"]).await;
    assert!(ann.invoke_raw("Ask", json!(["nobody", "why?"])).await.get("error").is_some());
    events.expect(&["before Ask", "before sending ask", "error of Ask"]).await;
}

#[tokio::test]
async fn questions_to_clients_are_changed_redirected_and_refused() {
    let censor = on(async |mut event: BeforeSend| {
        match event.arguments::<(String,)>() {
            Ok((text,)) if text == "refused" => return Err(FilterError::refuse("not asked")),
            Ok((text,)) if text == "all" => event.recipients = Recipients::All,
            Ok((text,)) => event.set_arguments(&(text.to_uppercase(),))?,
            Err(_) => {}
        }
        Ok(event)
    });
    let server = Server::start_with(|engine| engine.filter("censor", censor)).await;
    let mut ann = CoreClient::connect(server.address, "/chat?user=ann").await;
    let id = ann.invoke("WhoAmI", json!([])).await;
    assert_eq!(ask_itself(&mut ann, &id, "why?").await["result"], "WHY?");
    let text = "An unexpected error occurred invoking 'Ask' on the server.";
    for question in ["refused", "all"] {
        assert_eq!(ask_itself(&mut ann, &id, question).await["error"], text, "{question}");
    }
    let clients = server.engine.hub("chat").unwrap().clients();
    let ask = async |question: &str| {
        let asked = clients.client(id.as_str().unwrap()).invoke::<String>("ask", (question,)).await;
        asked.unwrap_err().to_string()
    };
    assert_eq!(ask("refused").await, "not asked");
    assert_eq!(ask("all").await, "InvokeAsync only works with Single clients.");
}
