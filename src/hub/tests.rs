//! Hubs without a wire: what is called with what, who may, and who hears.

use std::{
    sync::{
        RwLock,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::{Duration, SystemTime},
};

use actix::{Arbiter, Context};
use serde_json::{json, value::RawValue};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{bind::Binding, services::HubServices, *};
use crate::{
    connections::{Address, Command, ConnectionHandle, ConnectionInfo, Connections},
    group::{Member, MemberSink},
    groups::GroupDirectory,
    ids::{ConnectionId, GroupKey, UserId},
    membership::{Membership, MembershipConfig},
    message::{Invocation, WireForm},
    metrics::Metrics,
    outbox::{Limits, Outbox, ReplayLimits},
    store::{DynStore, Node, StoreHandle, memory::MemoryStore},
    supervised::Supervised,
};

mod audience;

/// Calls as tests tell them apart: the method, and the state if there is one.
pub(crate) static FORM: WireForm =
    WireForm { slot: 2, encode: |call| [&*call.target, &state_of(call)].concat().into() };

fn state_of(call: &Invocation) -> String {
    if call.state.is_empty() { String::new() } else { json!(call.state).to_string() }
}

/// What hubs share, over a store in memory and without any client.
pub(crate) fn services(hubs: Vec<Hub>) -> Arc<HubServices> {
    let (connections, metrics) = (Connections::default(), Arc::new(Metrics::default()));
    let store: Arc<dyn DynStore> = Arc::new(MemoryStore::default());
    let inside = (Arc::clone(&store), connections.clone(), Arc::clone(&metrics));
    let membership = Supervised::start("membership", &Arbiter::current(), move || {
        let (store, connections, metrics) = inside.clone();
        let node = Node { id: "alpha".into(), incarnation: crate::ids::secret() };
        let (deadline, lease) = (Duration::from_secs(5), Duration::from_secs(30));
        Membership::new(store, MembershipConfig { node, deadline, lease }, connections, metrics)
    });
    let (groups, store) = (GroupDirectory::new(1, Arbiter::current()), StoreHandle::new(store, Duration::from_secs(5)));
    let (hubs, at_work) = (hubs.into_iter().map(Arc::new).collect(), TaskTracker::new());
    Arc::new(HubServices {
        hubs,
        connections,
        groups,
        membership,
        store,
        turns: KeyedMutex::new(Duration::from_secs(5)),
        metrics,
        at_work,
        is_draining: AtomicBool::new(false),
    })
}

/// Stands where the actor of a connection would, and counts how often it is told to end.
#[derive(Default)]
struct Stub(Arc<AtomicU32>);

impl Actor for Stub {
    type Context = Context<Self>;
}

impl Handler<Command> for Stub {
    type Result = ();

    fn handle(&mut self, command: Command, _: &mut Self::Context) {
        if matches!(command, Command::Abort) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
}

/// A client that is in the world, but not in any group.
fn enter(services: &HubServices, hub: &str, id: &str, user: Option<&str>, stub: Stub) -> Arc<ConnectionHandle> {
    let about = ConnectionInfo {
        dialect: "none",
        hubs: vec![hub.into()],
        transport: RwLock::new("none"),
        remote: None,
        user_agent: String::new(),
        since: SystemTime::now(),
    };
    let stub = stub.start();
    let handle = Arc::new(ConnectionHandle {
        id: id.into(),
        user: user.map(UserId::from),
        hub: Some(hub.into()),
        outbox: Outbox::new(&FORM, Limits::default(), ReplayLimits::default()),
        about,
        ended: CancellationToken::default(),
        port: stub.clone().recipient(),
        address: Address::new(stub),
    });
    assert!(services.connections.enter(&handle));
    handle
}

fn context(services: &Arc<HubServices>, handle: &Arc<ConnectionHandle>, identity: Identity) -> HubContext {
    let hub = handle.hub.clone().expect("it has one");
    let (identity, request) = (Arc::new(identity), Arc::default());
    let caller = Caller { handle: Arc::clone(handle), hub, identity, request };
    let (state, behavior) = (CallerState::default(), HubBehavior::default());
    HubContext { caller, state, behavior, services: Arc::clone(services) }
}

fn values(arguments: &serde_json::Value) -> Vec<Json> {
    let values = arguments.as_array().expect("a list");
    values.iter().map(|value| RawValue::from_string(value.to_string()).expect("JSON")).collect()
}

/// Calls a method of the hub as `identity`; its result, or how it failed.
async fn call_as(hub: Hub, identity: Identity, method: &str, arguments: serde_json::Value, streams: Streams) -> String {
    let services = services(vec![hub]);
    let handle = enter(&services, "chat", "caller", None, Stub::default());
    let arguments = Arguments::new(values(&arguments), Binding::Strict);
    let context = context(&services, &handle, identity);
    let call = Call { method: method.into(), arguments, context, reporter: None, streams };
    match services.hubs[0].invoke(call).await {
        Ok(result) => result.get().to_owned(),
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
async fn a_method_is_found_in_any_case_and_called_with_its_arguments() {
    for name in ["Add", "add", "ADD"] {
        assert_eq!(call(chat(), name, json!([2, 3])).await, "5", "{name}");
    }
    assert_eq!(call(chat(), "Nothing", json!([])).await, "null");
}

#[actix::test]
async fn a_call_that_fits_no_method_says_why() {
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
async fn a_later_method_of_a_name_replaces_the_earlier_in_whichever_case() {
    let hub = chat().method("ADD", async || Ok::<_, HubError>("replaced"));
    assert_eq!(hub.method_names(), ["ADD", "Nothing"]);
    assert_eq!(call(hub, "add", json!([])).await, "\"replaced\"");
}

#[actix::test]
async fn a_guarded_method_is_for_those_whom_its_guard_lets_pass() {
    let hub = || chat().guarded_method("Secret", |who| who.is_authenticated, async || Ok::<_, HubError>("told"));
    let say = async |identity, arguments| call_as(hub(), identity, "secret", arguments, Streams::default()).await;
    assert_eq!(say(Identity::proven("ann".into()), json!([])).await, "\"told\"");
    assert_eq!(say(Identity::named(Some("ann".into())), json!([])).await, "Unauthorized");
    let wrong = say(Identity::default(), json!([1])).await;
    assert!(wrong.starts_with("WrongArgumentCount"), "arguments are bound before anybody asks who calls: {wrong}");
}

#[actix::test]
async fn no_method_takes_or_gives_a_stream() {
    let with = async |streams| call_as(chat(), Identity::default(), "Nothing", json!([]), streams).await;
    assert_eq!(with(Streams { sent: 0, wants_answer: true }).await, "NoStream");
    let sends = with(Streams { sent: 2, wants_answer: false }).await;
    assert!(sends.contains("Client sent 2 stream(s), Hub method expects 0."), "{sends}");
}

#[actix::test]
async fn extractors_come_in_any_order_and_take_what_they_name() {
    async fn all(
        state: State<&'static str>,
        caller: Caller,
        Args((text,)): Args<(String,)>,
        bag: CallerState,
        progress: Progress,
    ) -> Result<String, HubError> {
        progress.report("nobody listens");
        Ok(format!("{} {} {text} {}", *state, caller.id(), bag.get("color")))
    }
    assert_eq!(call(chat().state("state").method("All", all), "all", json!(["x"])).await, "\"state caller x null\"");
    let missing = call(chat().method("All", all), "all", json!(["x"])).await;
    assert!(missing.contains("the hub has no state of type &str"), "{missing}");
}

#[actix::test]
async fn a_method_fails_with_its_own_error_or_because_its_answer_is_no_json() {
    let hub = Hub::new("chat")
        .method("Fail", async || Err::<(), _>(HubError::new("boom")))
        .method("Keyed", async || Ok::<_, HubError>(HashMap::from([(vec![1], 2)])));
    assert!(call(hub.clone(), "Fail", json!([])).await.contains("boom"));
    assert!(call(hub, "Keyed", json!([])).await.starts_with("UnserializableResult("));
}

#[test]
fn the_listed_methods_are_all_but_those_left_out() {
    let hub = chat().unlisted(&["NOTHING", "no such method"]);
    assert_eq!(hub.listed_methods().collect::<Vec<_>>(), ["Add"]);
    assert_eq!(hub.method_names(), ["Add", "Nothing"]);
}

/// A hub that is an actor, and refuses whoever has no user.
struct Doorman;

impl Actor for Doorman {
    type Context = Context<Self>;
}

impl Handler<Call> for Doorman {
    type Result = Result<Json, CallError>;

    fn handle(&mut self, call: Call, _: &mut Self::Context) -> Self::Result {
        Ok::<_, HubError>(format!("{} of {}", call.method, call.arguments.len())).into_answer()
    }
}

impl Handler<Connected> for Doorman {
    type Result = Result<(), HubError>;

    fn handle(&mut self, Connected(context): Connected, _: &mut Self::Context) -> Self::Result {
        context.caller().user().map(drop).ok_or_else(|| HubError::new("who are you?"))
    }
}

impl Handler<Disconnected> for Doorman {
    type Result = ();

    fn handle(&mut self, _: Disconnected, ctx: &mut Self::Context) {
        actix::ActorContext::stop(ctx);
    }
}

#[actix::test]
async fn a_hub_can_be_an_actor_and_one_that_has_gone_refuses() {
    let doorman = Doorman.start();
    let services = services(vec![Hub::actor("chat", &doorman)]);
    let hub = &services.hubs[0];
    let nobody = enter(&services, "chat", "1", None, Stub::default());
    let ann = enter(&services, "chat", "2", Some("ann"), Stub::default());
    let moment_of = |handle| context(&services, handle, Identity::default());
    assert_eq!(hub.connected(moment_of(&nobody)).await.unwrap_err().message(), "who are you?");
    assert!(hub.connected(moment_of(&ann)).await.is_ok());
    let call = || Call {
        method: "Any".into(),
        arguments: Arguments::new(values(&json!([1, 2])), Binding::Strict),
        context: moment_of(&ann),
        reporter: None,
        streams: Streams::default(),
    };
    assert_eq!(hub.invoke(call()).await.unwrap().get(), "\"Any of 2\"");

    hub.disconnected(Disconnected { context: moment_of(&ann), error: None, is_stop: true }).await;
    let Err(CallError::Failed(error)) = hub.invoke(call()).await else { panic!("it has gone") };
    assert_eq!(error.message(), "the hub's actor has gone");
    assert!(hub.connected(moment_of(&ann)).await.is_err());
}

#[actix::test]
async fn a_caller_can_be_ended() {
    let services = services(vec![chat()]);
    let aborts = Arc::new(AtomicU32::new(0));
    let handle = enter(&services, "chat", "caller", None, Stub(Arc::clone(&aborts)));
    context(&services, &handle, Identity::default()).caller().abort().await;
    assert_eq!(aborts.load(Ordering::SeqCst), 1);
}

#[test]
fn only_what_changed_in_a_bag_goes_back_to_its_client() {
    let bag = CallerState::new(json!({ "color": "red", "size": 1 }).as_object().cloned().expect("an object"));
    assert_eq!((bag.get("color"), bag.get("Color")), (json!("red"), json!(null)));
    bag.set("size", 1);
    bag.set("color", "blue");
    bag.set("new", json!([1]));
    assert_eq!(bag.get("color"), "blue");
    assert_eq!(serde_json::Value::Object(bag.changed()), json!({ "color": "blue", "new": [1] }));
}
