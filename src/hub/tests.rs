//! Tests of hubs without a protocol: binding, authorization, and recipients.

use std::{
    collections::HashMap,
    num::NonZeroUsize,
    sync::{
        Mutex, OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, SystemTime},
};

use actix::{Arbiter, Context, Recipient};
use serde_json::json;

use super::{
    bind::Binding,
    presence::{Presence, PresenceSettings},
    services::{Drain, DurableGroups, HubServices},
    *,
};
use crate::{
    connections::{Command, ConnectionHandle, ConnectionInfo, ConnectionLimiter, Connections, Pace, Reconnect},
    group::{Member, MemberSink},
    groups::GroupDirectory,
    ids::{ConnectionId, GroupKey, UserId},
    membership::{Membership, MembershipConfig, Reports},
    message::{Invocation, WireForm},
    metrics::Metrics,
    outbox::{Limits, Outbox, ReplayLimits},
    payload::{Format, Payload},
    router::Router,
    store::{Node, Process, StoreHandle, StoreParts, memory::MemoryStore},
    supervised::Supervised,
};

mod audience;
mod bulk;
mod presence;

/// Encodes an invocation as the method name, followed by the state if there is one.
pub(crate) static FORM: WireForm = WireForm {
    slot: 2,
    format: Format::Json,
    answers: false,
    encode: |call| [&*call.target, &state_of(call)].concat().into(),
};

fn state_of(call: &Invocation) -> String {
    if call.state.is_empty() { String::new() } else { json!(call.state).to_string() }
}

/// Hub services with a store in memory and without clients.
pub(crate) fn services(hubs: Vec<Hub>) -> Arc<HubServices> {
    services_with(StoreParts::of(Arc::new(MemoryStore::default())), hubs)
}

pub(crate) fn services_with(store: StoreParts, hubs: Vec<Hub>) -> Arc<HubServices> {
    let (connections, metrics) = (Connections::default(), Arc::new(Metrics::default()));
    let inside = (store.clone(), connections.clone(), Arc::clone(&metrics));
    let (process, (reports, _, lost_users)) = (Process::current(), Reports::new());
    let membership = Supervised::start("membership", &Arbiter::current(), move || {
        let (store, connections, metrics) = inside.clone();
        let node = Node { id: "alpha".into(), incarnation: crate::ids::secret(), process: process.clone() };
        let (deadline, lease) = (Duration::from_secs(5), Duration::from_secs(30));
        let config = MembershipConfig { node, deadline, lease, token_lifetime: lease };
        Membership::new(store, config, connections, metrics, reports.clone())
    });
    let groups = GroupDirectory::new(1, Arbiter::current());
    let deadline = Duration::from_secs(5);
    let durable = DurableGroups::new(membership, StoreHandle::new(store, deadline), NonZeroUsize::new(10), deadline);
    let durable = Arc::new(durable);
    let (window, arbiter) = (Duration::from_secs(45), Arbiter::current());
    let settings = PresenceSettings { node: "alpha".into(), window, arbiter };
    Arc::new_cyclic(|services| HubServices {
        presence: Presence::start(&hubs, settings, lost_users, services, (&durable, &connections, &metrics)),
        hubs: hubs.into_iter().map(Arc::new).collect(),
        router: Arc::new(Router::new(connections.clone(), groups.clone(), Arc::clone(&metrics))),
        connections,
        limiter: ConnectionLimiter::default(),
        groups,
        durable,
        metrics,
        drain: Drain::default(),
    })
}

/// Replaces a connection's actor and counts the requests to end that it receives.
#[derive(Default)]
pub(crate) struct Stub(pub(crate) Arc<AtomicU32>);

impl Actor for Stub {
    type Context = Context<Self>;
}

impl Handler<Command> for Stub {
    type Result = ();

    fn handle(&mut self, command: Command, _: &mut Self::Context) {
        match command {
            Command::Disconnect { answer, .. } => answer.send(()).expect("the caller waits"),
            Command::Drain => {}
            _ => return,
        }
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// Registers a connection that is not in any group.
pub(crate) fn register(
    services: &HubServices,
    hub: &str,
    id: &str,
    user: Option<&str>,
    stub: Stub,
) -> Arc<ConnectionHandle> {
    register_with(services, hub, id, user, stub.start().recipient())
}

/// Registers a connection whose commands `commands` receives.
pub(crate) fn register_with(
    services: &HubServices,
    hub: &str,
    id: &str,
    user: Option<&str>,
    commands: Recipient<Command>,
) -> Arc<ConnectionHandle> {
    let info = ConnectionInfo {
        dialect: "none",
        hubs: vec![hub.into()],
        transport: Mutex::new("none"),
        remote: None,
        user_agent: Box::default(),
        since: SystemTime::now(),
    };
    let handle = Arc::new(ConnectionHandle {
        id: id.into(),
        user: user.map(UserId::from),
        hub: Some(hub.into()),
        outbox: Outbox::new(&FORM, Limits::default(), ReplayLimits::default()),
        info,
        ended: OnceLock::new(),
        pace: Pace::default(),
        commands,
    });
    assert!(services.connections.register(&handle));
    handle
}

fn context(services: &Arc<HubServices>, handle: &Arc<ConnectionHandle>, identity: Identity) -> HubContext {
    let hub = handle.hub.clone().expect("it has one");
    let (identity, request) = (Arc::new(identity), Arc::default());
    let caller = Caller { handle: Arc::clone(handle), hub, identity, request, headers: None };
    let (state, behavior) = (CallerState::default(), HubBehavior::default());
    HubContext { caller, state, behavior, scope: ResultScope::Free, services: Arc::clone(services) }
}

fn values(arguments: &serde_json::Value) -> Vec<Payload> {
    let values = arguments.as_array().expect("a list");
    values.iter().map(|value| Payload::encode(Format::Json, value).expect("JSON")).collect()
}

/// Invokes a method of the hub as `identity` and returns its result or error.
async fn call_as(hub: Hub, identity: Identity, method: &str, arguments: serde_json::Value, streams: Streams) -> String {
    let services = services(vec![hub]);
    let handle = register(&services, "chat", "caller", None, Stub::default());
    let arguments = Arguments::new(Format::Json, values(&arguments), Binding::Strict);
    let context = context(&services, &handle, identity);
    let call = Call { method: method.into(), arguments, context, reporter: None, streams, uploads: Uploads::default() };
    match services.hubs[0].invoke(call).await {
        Ok(result) => result.into_value().ok().and_then(|value| value.as_json().map(str::to_owned)).expect("JSON"),
        Err(error) => format!("{error:?}"),
    }
}

async fn call(hub: Hub, method: &str, arguments: serde_json::Value) -> String {
    call_as(hub, Identity::default(), method, arguments, Streams::default()).await
}

fn chat() -> Hub {
    let add = async |Args((a, b)): Args<(i32, i32)>| Ok::<_, HubError>(a + b);
    Hub::new("chat").method("Add", add).method("Nothing", async || Ok::<_, HubError>(()))
}

#[actix::test]
async fn method_is_found_case_insensitively() {
    for name in ["Add", "add", "ADD"] {
        assert_eq!(call(chat(), name, json!([2, 3])).await, "5", "{name}");
    }
    assert_eq!(call(chat(), "Nothing", json!([])).await, "null");
}

#[actix::test]
async fn mismatched_invocation_returns_specific_error() {
    for (method, arguments, wanted) in [
        ("Subtract", json!([2, 3]), "NoSuchMethod"),
        ("add", json!([2]), r#"WrongArgumentCount { method: "Add", given: 1, expected: 2 }"#),
        ("add", json!([2, 3, 4]), r#"WrongArgumentCount { method: "Add", given: 3, expected: 2 }"#),
        ("Nothing", json!([2]), r#"WrongArgumentCount { method: "Nothing", given: 1, expected: 0 }"#),
    ] {
        assert_eq!(call(chat(), method, arguments).await, wanted, "{method}");
    }
    assert!(call(chat(), "Add", json!([2, "3"])).await.starts_with("Binding("));
}

#[actix::test]
async fn later_method_replaces_earlier_in_any_case() {
    let hub = chat().method("ADD", async || Ok::<_, HubError>("replaced"));
    assert_eq!(hub.method_names(), ["ADD", "Nothing"]);
    assert_eq!(call(hub, "add", json!([])).await, "\"replaced\"");
}

#[actix::test]
async fn authorized_method_refuses_unauthorized_callers() {
    let hub =
        || chat().authorized_method("Secret", |identity| identity.is_authenticated, async || Ok::<_, HubError>("told"));
    let invoke = async |identity, arguments| call_as(hub(), identity, "secret", arguments, Streams::default()).await;
    assert_eq!(invoke(Identity::authenticated("ann".into()), json!([])).await, "\"told\"");
    assert_eq!(invoke(Identity::named(Some("ann".into())), json!([])).await, "Unauthorized");
    let wrong = invoke(Identity::default(), json!([1])).await;
    assert!(wrong.starts_with("WrongArgumentCount"), "the argument count is checked before authorization: {wrong}");
}

#[actix::test]
async fn arguments_are_bound_before_other_checks() {
    let method = async |Args((number,)): Args<(i32,)>| Ok::<_, HubError>(number);
    let hub = || chat().authorized_method("Secret", |identity| identity.is_authenticated, method);
    let invoke = async |arguments, streams| call_as(hub(), Identity::default(), "secret", arguments, streams).await;
    assert!(invoke(json!(["x"]), Streams::default()).await.starts_with("Binding"));
    assert_eq!(invoke(json!([1]), Streams::default()).await, "Unauthorized");
    let wants_stream = Streams { sent: 0, wants_stream: true };
    assert!(call_as(chat(), Identity::default(), "Add", json!(["x", 1]), wants_stream).await.starts_with("Binding"));
}

#[actix::test]
async fn method_with_stream_needs_stream_invocation() {
    let hub = || chat().method("Count", async || Ok(HubStream::new(futures_util::stream::iter([1, 2]))));
    assert_eq!(call(hub(), "Count", json!([])).await, "StreamRequired");
}

#[actix::test]
async fn streams_are_refused() {
    let with = async |streams| call_as(chat(), Identity::default(), "Nothing", json!([]), streams).await;
    assert_eq!(with(Streams { sent: 0, wants_stream: true }).await, "NoStream");
    let sends = with(Streams { sent: 2, wants_stream: false }).await;
    assert!(sends.contains("Client sent 2 stream(s), Hub method expects 0."), "{sends}");
}

#[actix::test]
async fn extractors_work_in_any_order() {
    async fn all(
        state: State<&'static str>,
        caller: Caller,
        Args((text,)): Args<(String,)>,
        caller_state: CallerState,
        progress: Progress,
    ) -> Result<String, HubError> {
        progress.report("not received");
        Ok(format!("{} {} {text} {}", *state, caller.id(), caller_state.get("color")))
    }
    assert_eq!(call(chat().state("state").method("All", all), "all", json!(["x"])).await, "\"state caller x null\"");
    let missing = call(chat().method("All", all), "all", json!(["x"])).await;
    assert!(missing.contains("the hub has no state of type &str"), "{missing}");
}

#[actix::test]
async fn method_error_and_unserializable_result_are_distinguished() {
    let hub = Hub::new("chat")
        .method("Fail", async || Err::<(), _>(HubError::new("boom")))
        .method("Keyed", async || Ok::<_, HubError>(HashMap::from([(vec![1], 2)])));
    assert!(call(hub.clone(), "Fail", json!([])).await.contains("boom"));
    assert!(call(hub, "Keyed", json!([])).await.starts_with("UnserializableResult("));
}

#[test]
fn unlisted_methods_are_omitted_from_proxies() {
    let hub = chat().unlisted(&["NOTHING", "no such method"]);
    assert_eq!(hub.listed_methods().collect::<Vec<_>>(), ["Add"]);
    assert_eq!(hub.method_names(), ["Add", "Nothing"]);
}

/// A hub that is an actor and refuses connections without a user.
struct AuthenticatingHub;

impl Actor for AuthenticatingHub {
    type Context = Context<Self>;
}

impl Handler<Call> for AuthenticatingHub {
    type Result = Result<Payload, CallError>;

    fn handle(&mut self, call: Call, _: &mut Self::Context) -> Self::Result {
        call.encode(&format!("{} of {}", call.method, call.arguments.len()))
    }
}

impl Handler<Connected> for AuthenticatingHub {
    type Result = Result<(), HubError>;

    fn handle(&mut self, Connected(context): Connected, _: &mut Self::Context) -> Self::Result {
        context.caller().user().map(drop).ok_or_else(|| HubError::new("who are you?"))
    }
}

impl Handler<Disconnected> for AuthenticatingHub {
    type Result = ();

    fn handle(&mut self, _: Disconnected, ctx: &mut Self::Context) {
        actix::ActorContext::stop(ctx);
    }
}

#[actix::test]
async fn actor_hub_refuses_after_it_has_stopped() {
    let actor = AuthenticatingHub.start();
    let services = services(vec![Hub::actor("chat", &actor)]);
    let hub = &services.hubs[0];
    let anonymous = register(&services, "chat", "1", None, Stub::default());
    let ann = register(&services, "chat", "2", Some("ann"), Stub::default());
    let context_of = |handle| context(&services, handle, Identity::default());
    assert_eq!(hub.connected(context_of(&anonymous)).await.unwrap_err().message(), "who are you?");
    assert!(hub.connected(context_of(&ann)).await.is_ok());
    let call = || Call {
        method: "Any".into(),
        arguments: Arguments::new(Format::Json, values(&json!([1, 2])), Binding::Strict),
        context: context_of(&ann),
        reporter: None,
        streams: Streams::default(),
        uploads: Uploads::default(),
    };
    let result = hub.invoke(call()).await.unwrap().into_value();
    assert_eq!(result.ok().as_ref().and_then(Payload::as_json), Some("\"Any of 2\""));

    hub.disconnected(Disconnected { context: context_of(&ann), error: None, is_stop: true }).await;
    let Err(CallError::Failed(error)) = hub.invoke(call()).await else { panic!("the actor has stopped") };
    assert_eq!(error.message(), "the hub's actor has stopped");
    assert!(hub.connected(context_of(&ann)).await.is_err());
}

#[actix::test]
async fn abort_reaches_the_callers_connection() {
    let services = services(vec![chat()]);
    let aborts = Arc::new(AtomicU32::new(0));
    let handle = register(&services, "chat", "caller", None, Stub(Arc::clone(&aborts)));
    context(&services, &handle, Identity::default()).caller().abort().await;
    assert_eq!(aborts.load(Ordering::SeqCst), 1);
}

#[test]
fn only_changed_state_is_returned() {
    let state = CallerState::new(json!({ "color": "red", "size": 1 }).as_object().cloned().expect("an object"));
    assert_eq!((state.get("color"), state.get("Color")), (json!("red"), json!(null)));
    state.set("size", 1);
    state.set("color", "blue");
    state.set("new", json!([1]));
    assert_eq!(state.get("color"), "blue");
    assert_eq!(serde_json::Value::Object(state.changed()), json!({ "color": "blue", "new": [1] }));
}
