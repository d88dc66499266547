//! Tests of the connection actor, with a dialect that runs the texts of its client as commands.

use std::{convert::Infallible, sync::Arc, time::Duration};

use futures_util::{FutureExt, StreamExt};
use tokio::{
    sync::{mpsc, watch},
    time::sleep,
};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::{
    connections::{ConnectionHandle, JoinCause, LeaveCause, Reconnect},
    group::{Joined, Left},
    hub::{
        Arguments, Caller, CallerState, Connected, Disconnected, Hub, HubBehavior, HubError, Identity, Streams,
        Uploads,
        services::HubServices,
        tests::{FORM, services_with},
    },
    ids::{ConnectionId, GroupKey},
    message::{Invocation, Message as Sent, Source},
    metrics::ConnectionStatus,
    outbox::{End, FrameFields, Framer, Limits, Outbox, OutboxReader, Overflow, ReplayLimits, Resume, SharedMessage},
    pipeline::{Pipeline, Redemptions, RejoinValidator, TokenSubject},
    store::{StoreParts, memory::MemoryStore},
    supervised::Supervised,
    tokens::{KeyRing, SharedKeyRing},
    transport::{Inbound, Received, Transport},
};

mod channels;
mod endings;
mod grouping;
mod reconciling;
mod scripted_session;
mod streams;
mod tokens;

use scripted_session::{Open, ScriptedSession};

const END: End = End::Close(1000);

/// Longer than everything in these tests, and longer than the actor of an ended connection lives. The paused clock
/// advances only while all tasks wait.
const SETTLE_TIME: Duration = Duration::from_secs(60);

struct RawFramer;

impl Framer for RawFramer {
    fn frame(&self, _: &FrameFields, elements: &mut dyn Iterator<Item = &[u8]>, _: u64, out: &mut bytes::BytesMut) {
        elements.for_each(|element| out.extend_from_slice(element));
    }

    fn write_raw(&self, frame: &[u8], out: &mut bytes::BytesMut) {
        out.extend_from_slice(frame);
    }
}

/// An engine with one hub that reports connects and disconnects to the test.
struct TestEngine {
    services: Arc<HubServices>,
    rejoin_service: Arc<RejoinService>,
    event_log: mpsc::UnboundedReceiver<String>,
    /// OnConnected and the methods `Hold` and `Finish` wait until it is true.
    gate: watch::Sender<bool>,
}

fn hub(log: mpsc::UnboundedSender<String>, gate: &watch::Sender<bool>) -> Hub {
    let (gate, held, finishing) = (gate.subscribe(), gate.subscribe(), gate.subscribe());
    let (gone, finished, dropped) = (log.clone(), log.clone(), log.clone());
    let connected = move |Connected(context): Connected| {
        let (log, mut gate) = (log.clone(), gate.clone());
        async move {
            log.send("connected".into())?;
            gate.wait_for(|is_open| *is_open).await?;
            match context.caller().user().map(|user| user.as_str()) {
                Some("eve") => Err(HubError::new("not you")),
                Some(_) | None => Ok(()),
            }
        }
    };
    let disconnected = move |Disconnected { error, is_stop, .. }: Disconnected| {
        let how = if is_stop { "stopped" } else { "disconnected" };
        let sent = gone.send(error.map_or(how.to_owned(), |(_, text)| format!("{how}: {text}")));
        async move { sent.expect("the test receives events") }
    };
    let hold = move || {
        let mut held = held.clone();
        async move {
            held.wait_for(|is_open| *is_open).await?;
            Ok::<_, HubError>("held")
        }
    };
    let finish = move |caller: Caller| {
        let (log, mut gate) = (finished.clone(), finishing.clone());
        async move {
            gate.wait_for(|is_open| *is_open).await?;
            let is_after_end = caller.ended().now_or_never().is_some();
            log.send(if is_after_end { "finished after end" } else { "finished" }.into())?;
            Ok::<_, HubError>(())
        }
    };
    let hub = Hub::new("chat").on_connected(connected).on_disconnected(disconnected);
    let hub = streams::add_streams(hub, dropped);
    hub.method("Hold", hold).method("Finish", finish).method("Panic", panics).method("PanicAtOnce", panics_at_once)
}

fn panics_at_once() -> std::future::Ready<Result<(), HubError>> {
    panic!("before the first await")
}

async fn panics() -> Result<(), HubError> {
    panic!("requested by the test")
}

impl TestEngine {
    fn new() -> Self {
        Self::with_store(StoreParts::of(Arc::new(MemoryStore::default())))
    }

    fn with_store(store: StoreParts) -> Self {
        let (log, events) = mpsc::unbounded_channel();
        let gate = watch::Sender::new(true);
        let services = services_with(store, vec![hub(log, &gate)]);
        let ring = SharedKeyRing::new(KeyRing::ephemeral());
        let validator = RejoinValidator {
            node: "alpha".into(),
            ring: ring.clone(),
            redemptions: Redemptions::new(services.durable.store.clone(), Arc::clone(&services.metrics)),
            hubs: Arc::new([]),
            connections: services.connections.clone(),
            metrics: Arc::clone(&services.metrics),
        };
        let pipeline = Supervised::start("pipeline", &Arbiter::current(), move || Pipeline::new(validator.clone()));
        let rejoin_service = Arc::new(RejoinService {
            ring,
            pipeline,
            settings: RejoinSettings::default(),
            lists: StoredLists::new(services.durable.store.clone(), Arc::clone(&services.metrics)),
            services: Arc::clone(&services),
            restore_slots: RestoreSlots::default(),
        });
        Self { services, rejoin_service, event_log: events, gate }
    }

    async fn open(&self, user: &str) -> TestClient {
        self.open_as(user, ConnectionId::random()).await
    }

    async fn open_as(&self, user: &str, id: ConnectionId) -> TestClient {
        self.open_with(user, id, ScriptedSession::default()).await
    }

    async fn open_with(&self, user: &str, id: ConnectionId, session: ScriptedSession) -> TestClient {
        let mut client = self.start(user, id, session);
        client.reader = Some(client.attach(Open::AtOnce).await.expect("the session attaches it"));
        client
    }

    /// A connection without a channel.
    fn start(&self, user: &str, id: ConnectionId, session: ScriptedSession) -> TestClient {
        Self::start_with(self.new_connection(user, id), session)
    }

    fn start_with(new: NewConnection, session: ScriptedSession) -> TestClient {
        let (id, outbox) = (new.id.clone(), Arc::clone(&new.outbox));
        let address = Connection::spawn(new, session, ());
        TestClient { id, address, outbox, reader: None }
    }

    fn new_connection(&self, user: &str, id: ConnectionId) -> NewConnection {
        let limits = Limits { items: 16, bytes: 1_000, overflow: Overflow::Close };
        let outbox = Outbox::new(&FORM, limits, ReplayLimits::default());
        let token_subject = TokenSubject { family: id.to_string(), epoch: 0, hub: None, user: None };
        NewConnection {
            id,
            dialect: "scripted",
            transport: "none",
            hubs: self.services.hubs.clone(),
            has_one_hub: true,
            identity: Arc::new(Identity::named(Some(user.into()))),
            request: Arc::default(),
            outbox,
            services: Arc::clone(&self.services),
            rejoin_service: Arc::clone(&self.rejoin_service),
            rejoin_token: None,
            token_subject,
            held_until_end: Box::new(()),
            held_until_channel: Box::new(()),
            held_until_stop: Box::new(()),
        }
    }

    /// Connects a client and joins these groups.
    async fn connect(&mut self, user: &str, groups: &[&str]) -> TestClient {
        let client = self.open(user).await;
        client.send("connect").await;
        assert_eq!(self.event_log.recv().await.as_deref(), Some("connected"));
        for group in groups {
            let joined = self.services.router.join(&client.id, &key(group), JoinCause::Caller).await;
            assert_eq!(joined, Ok(Some(Joined::Now)), "{group}");
        }
        client
    }

    /// The events until nothing happens any more.
    async fn events(&mut self) -> Vec<String> {
        sleep(SETTLE_TIME).await;
        std::iter::from_fn(|| self.event_log.try_recv().ok()).collect()
    }

    /// Asserts that there are no connections and no groups.
    fn assert_nothing_left(&self, why: &str) {
        assert_eq!(self.services.connections.count(), 0, "{why}");
        assert_eq!(self.services.groups.keys(None), [], "{why}");
    }
}

fn key(group: &str) -> Arc<GroupKey> {
    GroupKey::new(&"chat".into(), &group.into())
}

/// The client's side of a connection.
struct TestClient {
    id: ConnectionId,
    address: Addr<Connection<ScriptedSession>>,
    outbox: Arc<Outbox>,
    reader: Option<OutboxReader>,
}

impl TestClient {
    /// Sends a text, which may end the connection.
    async fn send(&self, text: &str) {
        let data = Inbound::Text(text.to_owned().into());
        let _ = self.address.send(Received { channel: 1, data }).await;
    }

    /// Opens a channel over a WebSocket.
    async fn attach(&self, request: Open) -> Result<OutboxReader, AttachError<ScriptedSession>> {
        let attach =
            AttachChannel { transport: Transport::WebSockets, socket: None, context: None, identity: None, request };
        self.address.send(attach).await.unwrap_or(Err(AttachError::Ended))
    }

    async fn command(&self, command: Command) {
        let _ = self.address.send(command).await;
    }

    async fn disconnect(&self) {
        let (answer, _acknowledged) = oneshot::channel();
        self.command(Command::Disconnect { reconnect: Reconnect::Deny, answer }).await;
    }

    /// The next frame that the transport would write.
    async fn next_frame(&mut self) -> String {
        let reader = self.reader.as_mut().expect("it has a transport");
        let mut out = bytes::BytesMut::new();
        futures_util::future::poll_fn(|cx| reader.poll(cx, &mut out)).await;
        String::from_utf8(out.to_vec()).unwrap()
    }
}

#[actix::test]
async fn hub_method_panic_fails_only_that_invocation() {
    tokio::time::pause();
    let mut engine = TestEngine::new();
    let mut client = engine.connect("ann", &[]).await;
    for (method, panics) in [("Panic", 1), ("PanicAtOnce", 2)] {
        client.send(method).await;
        assert!(client.next_frame().await.starts_with(&format!("{method}: Failed(")));
        assert_eq!(engine.services.metrics.hub_panics.get(), panics);
        assert_eq!(engine.services.metrics.invocations_failed.get(), panics);
    }
    client.send("Hold").await;
    assert_eq!(client.next_frame().await, "Hold: \"held\"");
}

#[actix::test]
async fn pending_hub_method_does_not_block_its_connection() {
    tokio::time::pause();
    let mut engine = TestEngine::new();
    let mut client = engine.connect("ann", &[]).await;
    engine.gate.send_replace(false);
    client.send("Hold").await;
    let joined = engine.services.router.join(&client.id, &key("lobby"), JoinCause::Caller).await;
    assert_eq!(joined, Ok(Some(Joined::Now)));
    assert!(client.next_frame().now_or_never().is_none());
    engine.gate.send_replace(true);
    assert_eq!(client.next_frame().await, "Hold: \"held\"");
}

#[actix::test]
async fn client_without_progress_is_disconnected_as_too_slow() {
    tokio::time::pause();
    let mut engine = TestEngine::new();
    let client = engine.connect("ann", &[]).await;
    let message = SharedMessage::new(Sent::new(Invocation::new(&"chat".into(), "tell", &()).unwrap(), Source::Hub));
    for _ in 0..4 {
        client.outbox.push(&message);
    }
    assert_eq!(engine.events().await, ["disconnected"]);
    assert_eq!(engine.services.metrics.connections_evicted.get(), 1);
}
