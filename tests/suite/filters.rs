//! Filters around the events of hubs, with clients of both generations.

use actix::prelude::*;
use hubcast::{
    Hub, HubError,
    filters::{
        AfterConnect, AfterDisconnect, AfterInvoke, AfterReconnect, AfterSend, AuthorizeConnect, BeforeConnect,
        BeforeDisconnect, BeforeInvoke, BeforeReconnect, BeforeSend, Decision, ErrorPolicy, EventKind, Events,
        FilterError, FilterMode, FilterOptions, HubFilter, IncomingError, Recipients, RejoiningGroups, on, supervised,
    },
    hub::CallError,
};
use serde_json::json;
use tokio::sync::mpsc;

use crate::{
    rejoin_filters::patient,
    rejoining::{ann_in_lobby, connect_with_token},
    support::{AuditLog, ClassicClient, CoreClient, Server, http_request, with_timeout},
};

/// Records the events of the hub that it handles.
struct Recorder(mpsc::UnboundedSender<String>);

impl Recorder {
    fn record(&self, event: impl Into<String>) {
        // The test may have ended and dropped the receiver.
        drop(self.0.send(event.into()));
    }
}

impl HubFilter for Recorder {
    fn events(&self) -> Events {
        Events::of(&EventKind::ALL)
    }

    async fn authorize_connect(&self, event: AuthorizeConnect) -> Decision<AuthorizeConnect> {
        self.record("authorize");
        Ok(event)
    }

    async fn before_connect(&self, event: BeforeConnect) -> Decision<BeforeConnect> {
        self.record("before connect");
        Ok(event)
    }

    async fn after_connect(&self, _: AfterConnect) -> Decision<()> {
        self.record("after connect");
        Ok(())
    }

    async fn before_reconnect(&self, event: BeforeReconnect) -> Decision<BeforeReconnect> {
        self.record("before reconnect");
        Ok(event)
    }

    async fn after_reconnect(&self, _: AfterReconnect) -> Decision<()> {
        self.record("after reconnect");
        Ok(())
    }

    async fn before_disconnect(&self, BeforeDisconnect(event): BeforeDisconnect) -> Decision<()> {
        self.record(if event.is_stop { "before stop" } else { "before disconnect" });
        Ok(())
    }

    async fn after_disconnect(&self, _: AfterDisconnect) -> Decision<()> {
        self.record("after disconnect");
        Ok(())
    }

    async fn before_invoke(&self, event: BeforeInvoke) -> Decision<BeforeInvoke> {
        self.record(format!("before {}", event.method));
        Ok(event)
    }

    async fn after_invoke(&self, event: AfterInvoke) -> Decision<AfterInvoke> {
        self.record(format!("after {}", event.method));
        Ok(event)
    }

    async fn incoming_error(&self, event: IncomingError) -> Decision<IncomingError> {
        self.record(format!("error of {}", event.method));
        Ok(event)
    }

    async fn before_send(&self, event: BeforeSend) -> Decision<BeforeSend> {
        self.record(format!("before sending {}", event.method()));
        Ok(event)
    }

    async fn after_send(&self, event: AfterSend) -> Decision<()> {
        self.record(format!("sent {} to {}", event.sent.method(), event.reached));
        Ok(())
    }

    async fn rejoining_groups(&self, event: RejoiningGroups) -> Decision<RejoiningGroups> {
        self.record("rejoining");
        Ok(event)
    }
}

/// A server whose filter records the events of the hub `chat`.
pub(crate) async fn start_recording() -> (Server, Recorded) {
    let (sender, events) = mpsc::unbounded_channel();
    (Server::start_with(|engine| engine.filter("recorder", Recorder(sender))).await, Recorded(events))
}

pub(crate) struct Recorded(mpsc::UnboundedReceiver<String>);

impl Recorded {
    /// Asserts that these are the next events.
    pub(crate) async fn expect(&mut self, expected: &[&str]) {
        for expected in expected {
            assert_eq!(with_timeout(self.0.recv()).await.expect("the filter exists"), *expected);
        }
    }
}

#[tokio::test]
async fn filter_sees_every_event_of_a_core_client() {
    let (server, mut events) = start_recording().await;
    let (mut ann, token) = ann_in_lobby(&server).await;
    events.expect(&["authorize", "before connect", "after connect", "before JoinRoom", "after JoinRoom"]).await;
    ann.invoke("SendTo", json!(["caller", [], "x"])).await;
    events
        .expect(&["before SendTo", "before sending addChatMessage", "sent addChatMessage to 1", "after SendTo"])
        .await;
    ann.invoke_error("Fail", json!(["why"])).await;
    events.expect(&["before Fail", "error of Fail"]).await;
    ann.drop_socket();
    events.expect(&["before disconnect", "after disconnect"]).await;
    let _back = connect_with_token(&server, "ann", &token).await;
    let rejoin = ["authorize", "rejoining", "before reconnect", "before connect", "after connect", "after reconnect"];
    events.expect(&rejoin).await;
}

#[tokio::test]
async fn filter_sees_every_event_of_a_classic_client() {
    let (server, mut events) = start_recording().await;
    let mut ann = ClassicClient::connect(server.address, "webSockets", "&user=ann").await;
    events.expect(&["authorize", "authorize", "authorize", "before connect", "after connect"]).await;
    ann.invoke("Echo", json!(["x"])).await;
    events.expect(&["before Echo", "after Echo"]).await;
    ann.drop_channel();
    ann.reconnect().await;
    events.expect(&["authorize", "rejoining", "before reconnect", "after reconnect"]).await;
    ann.connection.request("abort").await;
    events.expect(&["authorize", "before stop", "after disconnect"]).await;
}

/// Doubles the first argument of `Add`, answers `Nothing`, refuses `Secret`, and panics in `Any`.
async fn change_calls(mut event: BeforeInvoke) -> Decision<BeforeInvoke> {
    match &*event.method {
        "Add" => {
            let first: i64 = event.arguments.get(0).map_err(|_| FilterError::refuse("not a number"))?;
            event.arguments.set(0, &(first * 2))?;
        }
        "Nothing" => event.set_result(&"something")?,
        "WhoAmI" => return Err(FilterError::refuse("nobody")),
        "Any" => panic!("the panic that the test expects"),
        _ => {}
    }
    Ok(event)
}

/// Adds an exclamation mark to the result of `Echo`.
async fn change_results(mut event: AfterInvoke) -> Decision<AfterInvoke> {
    if event.method == "Echo" {
        let text: String = event.result().expect("a value").decode()?;
        event.set_result(&(text + "!"))?;
    }
    Ok(event)
}

/// Answers failed calls of `Fail` with the reason, and replaces the error of `Crash`.
async fn change_errors(mut event: IncomingError) -> Decision<IncomingError> {
    match (&*event.method, &event.error) {
        ("Fail", CallError::Failed(error)) => {
            let text = error.message().to_owned();
            event.set_result(&text)?;
        }
        ("Crash", _) => event.error = HubError::new("replaced").into(),
        _ => {}
    }
    Ok(event)
}

async fn start_changing() -> Server {
    Server::start_with(|engine| {
        engine
            .filter("calls", on(change_calls))
            .filter("results", on(change_results))
            .filter("errors", on(change_errors))
    })
    .await
}

#[tokio::test]
async fn filters_change_arguments_results_and_errors() {
    let server = start_changing().await;
    let mut core = CoreClient::connect(server.address, "/chat?user=ann").await;
    let mut classic = ClassicClient::connect(server.address, "webSockets", "&user=ann").await;
    for (method, arguments, expected) in [
        ("Add", json!([2, 1]), json!(5)),
        ("Echo", json!(["x"]), json!("x!")),
        ("Nothing", json!([]), json!("something")),
        ("Fail", json!(["reason"]), json!("reason")),
    ] {
        assert_eq!(core.invoke(method, arguments.clone()).await, expected, "{method}");
        assert_eq!(classic.invoke(method, arguments).await, expected, "{method}");
    }
    for (method, text) in [("WhoAmI", "HubException: nobody"), ("Crash", "HubException: replaced")] {
        let error = core.invoke_error(method, json!([])).await;
        assert!(error.ends_with(text), "{error}");
        let answer = classic.invoke_raw(method, json!([])).await;
        assert!(text.ends_with(answer["E"].as_str().unwrap()), "{answer}");
    }
    let error = core.invoke_error("Any", json!([1])).await;
    assert_eq!(error, "An unexpected error occurred invoking 'Any' on the server.");
    assert_eq!(server.engine.metrics().hub_panics.get(), 1);
}

#[tokio::test]
async fn refused_client_is_answered_with_the_text_of_the_filter() {
    let refuse = on(async |event: BeforeConnect| match event.context.caller().name() {
        "ann" => Err(FilterError::refuse("Ann has to wait.")),
        _ => Ok(event),
    });
    let server = Server::start_with(|engine| engine.filter("refuse", refuse)).await;
    let close = CoreClient::connect(server.address, "/chat?user=ann").await.expect_close().await;
    assert!(close.error.unwrap_or_default().ends_with("Ann has to wait."));
    CoreClient::connect(server.address, "/chat?user=bob").await.invoke("Echo", json!(["admitted"])).await;
}

#[tokio::test]
async fn unauthorized_connect_is_refused_before_it_exists() {
    let members = on(async |event: AuthorizeConnect| match event.identity.user {
        Some(_) => Ok(event),
        None => Err(FilterError::refuse("")),
    });
    let server = Server::start_with(|engine| engine.filter("members", members)).await;
    let data = "connectionData=%5B%7B%22name%22%3A%22chat%22%7D%5D&clientProtocol=2.1";
    for (method, path, status) in [
        ("POST", "/chat/negotiate".to_owned(), 401),
        ("POST", "/chat/negotiate?user=ann".to_owned(), 200),
        ("GET", format!("/signalr/negotiate?{data}"), 401),
        ("GET", format!("/signalr/negotiate?{data}&user=ann"), 200),
    ] {
        let response = http_request(server.address, &format!("{method} {path}"), "").await;
        assert_eq!(response.status, status, "{method} {path}");
    }
}

#[tokio::test]
async fn sends_are_changed_redirected_and_refused() {
    let censor = on(async |mut event: BeforeSend| {
        let Ok((name, text)) = event.arguments::<(String, String)>() else { return Ok(event) };
        match &*text {
            "refused" => return Err(FilterError::refuse("not sent")),
            "dropped" => event.recipients = Recipients::Connections(Vec::new()),
            _ => event.set_arguments(&(name, text.to_uppercase()))?,
        }
        Ok(event)
    });
    let server = Server::start_with(|engine| engine.filter("censor", censor)).await;
    let mut ann = CoreClient::connect_and_join(server.address, "ann", "lobby").await;
    let clients = server.engine.hub("chat").unwrap().clients();
    let send = async |text: &str| clients.group("lobby").send("addChatMessage", ("server", text)).await;
    assert_eq!(send("refused").await.unwrap_err().to_string(), "HubException: not sent");
    assert_eq!(send("dropped").await.unwrap(), 0);
    assert_eq!(send("loud").await.unwrap(), 1);
    assert_eq!(ann.next_chat_message().await.1, "LOUD");
}

/// An actor that panics when it handles a call of `Echo` with the text `crash`.
#[derive(Default)]
struct Crashing {
    calls: u32,
}

impl Actor for Crashing {
    type Context = Context<Self>;
}

impl Handler<BeforeInvoke> for Crashing {
    type Result = Decision<BeforeInvoke>;

    fn handle(&mut self, mut event: BeforeInvoke, _: &mut Self::Context) -> Self::Result {
        let text: String = event.arguments.get(0).map_err(|_| FilterError::refuse("no text"))?;
        assert_ne!(text, "crash", "the panic that the test expects");
        self.calls += 1;
        event.arguments.set(0, &format!("{text} {}", self.calls))?;
        Ok(event)
    }
}

#[tokio::test]
async fn crashed_actor_is_replaced_and_its_event_fails() {
    for (policy, answer) in [(ErrorPolicy::FailClosed, None), (ErrorPolicy::Bypass, Some("crash"))] {
        let options = FilterOptions { policy, ..patient() };
        let filter = || supervised::<BeforeInvoke, _>(Crashing::default);
        let server = Server::start_with(move |engine| engine.filter_with("actor", options, filter())).await;
        let mut ann = CoreClient::connect(server.address, "/chat?user=ann").await;
        assert_eq!(ann.invoke("Echo", json!(["a"])).await, "a 1");
        assert_eq!(ann.invoke("Echo", json!(["b"])).await, "b 2");
        let completion = ann.invoke_raw("Echo", json!(["crash"])).await;
        assert_eq!(completion["result"].as_str(), answer, "{completion}");
        assert_eq!(ann.invoke("Echo", json!(["c"])).await, "c 1", "the new actor starts from zero");
        let figures = server.engine.filter("actor").unwrap().figures(EventKind::BeforeInvoke);
        assert_eq!((figures.calls, figures.failures, figures.bypassed), (4, 1, u64::from(answer.is_some())));
    }
}

#[tokio::test]
async fn filters_of_a_hub_run_on_this_hub_only() {
    let refuse = on(async |_: BeforeInvoke| Err(FilterError::refuse("closed")));
    let closed = Hub::new("closed").method("Hi", async || Ok::<_, HubError>("hi")).filter("closed", refuse);
    let server = Server::start_with(|engine| engine.hub("/closed", closed)).await;
    let mut ann = CoreClient::connect(server.address, "/closed?user=ann").await;
    assert!(ann.invoke_error("Hi", json!([])).await.ends_with("closed"));
    let mut bob = CoreClient::connect(server.address, "/chat?user=bob").await;
    assert_eq!(bob.invoke("Echo", json!(["open"])).await, "open");
    let filter = server.engine.filter("closed").unwrap();
    let log = AuditLog::start();
    assert_eq!(filter.set_mode(FilterMode::Shadow), FilterMode::Enabled);
    assert_eq!(ann.invoke("Hi", json!([])).await, "hi");
    assert_eq!(filter.figures(EventKind::BeforeInvoke).differences, 1);
    assert_eq!(filter.acting_as("bob").set_mode(FilterMode::Disabled), FilterMode::Shadow);
    let lines = [
        "application filter=closed mode=shadow result=\"was enabled\"",
        "bob filter=closed mode=disabled result=\"was shadow\"",
    ];
    assert_eq!(log.lines_with(&["filter=closed"]), lines.map(|line| format!("set filter mode by={line}")));
}
