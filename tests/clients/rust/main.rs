//! Runs a scenario of the crate signalr-client against the hub `chat` of the fixtures.
//!
//! usage: `rust_client json|messagepack PORT`

use std::time::Duration;

use futures::StreamExt;
use signalr_client::{CallbackHandler, InvocationContext, SignalRClient};
use tokio::{sync::mpsc, time::timeout};

/// The time limit of the scenario.
const TIMEOUT: Duration = Duration::from_secs(60);

async fn connect(format: &str, port: i32) -> SignalRClient {
    let connected = SignalRClient::connect_with("127.0.0.1", "chat", |options| {
        options.with_port(port);
        options.unsecure();
        if format == "messagepack" {
            options.with_messagepack_protocol();
        }
    });
    connected.await.expect("the client connects")
}

async fn results(client: &mut SignalRClient) {
    let sum = client.invoke_with_args::<i32, _>("Add".into(), |call| {
        call.argument(2).argument(3);
    });
    assert_eq!(sum.await, Ok(5));
    for text in ["", "żółw 🐢", &"x".repeat(20_000)] {
        let echo = client.invoke_with_args::<String, _>("Echo".into(), |call| {
            call.argument(text);
        });
        assert_eq!(echo.await.as_deref(), Ok(text));
    }
    let failure = client.invoke_with_args::<(), _>("Fail".into(), |call| {
        call.argument("boom");
    });
    let text = "An unexpected error occurred invoking 'Fail' on the server. HubException: boom";
    assert_eq!(failure.await, Err(text.into()));
}

async fn streams(client: &mut SignalRClient) {
    for count in [0, 1, 200] {
        let items = client.enumerate_with_args::<i32, _>("Count".into(), |call| {
            call.argument(count).argument(0);
        });
        assert_eq!(items.await.collect::<Vec<_>>().await, (0..count).collect::<Vec<_>>());
    }
}

async fn messages(client: &mut SignalRClient, id: &str) {
    let (sender, mut received) = mpsc::unbounded_channel();
    let callback = client.register("addChatMessage".into(), move |message: InvocationContext| {
        let message = (message.argument::<String>(0), message.argument::<String>(1));
        sender.send(message).expect("the test waits for messages");
    });
    // The client takes the result of a method without one for an error.
    client
        .send_with_args("JoinRoom".into(), |call| {
            call.argument("lobby");
        })
        .await
        .expect("the call is sent");
    for text in ["one", "two", "three"] {
        let send = client.send_with_args("Send".into(), |call| {
            call.argument("lobby").argument(text);
        });
        send.await.expect("the call is sent");
    }
    for text in ["one", "two", "three"] {
        assert_eq!(received.recv().await, Some((Ok(id.to_owned()), Ok(text.to_owned()))));
    }
    callback.unregister();
}

/// Wire: the client writes its result as JSON over MessagePack too, so this is for JSON only.
async fn client_results(client: &mut SignalRClient, id: &str) {
    let _callback = client.register("ask".into(), |mut question: InvocationContext| {
        let text = question.argument::<String>(0).expect("the question is a text");
        InvocationContext::spawn(async move {
            question.complete(format!("{text} żółw")).await.expect("the answer is sent");
        });
    });
    let answer = client.invoke_with_args::<String, _>("Ask".into(), |call| {
        call.argument(id).argument("which");
    });
    assert_eq!(answer.await.as_deref(), Ok("which żółw"));
}

async fn run(format: &str, port: i32) {
    let mut client = connect(format, port).await;
    let id = client.invoke::<String>("WhoAmI".into()).await.expect("the connection has an id");
    results(&mut client).await;
    streams(&mut client).await;
    messages(&mut client, &id).await;
    if format == "json" {
        client_results(&mut client, &id).await;
    }
    client.disconnect();
}

#[tokio::main]
async fn main() {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let [format, port] = &arguments[..] else { panic!("usage: rust_client json|messagepack PORT") };
    let port = port.parse().expect("a port is a number");
    timeout(TIMEOUT, run(format, port)).await.expect("the scenario ends in time");
}
