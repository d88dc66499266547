//! A connection whose client's dialect is a puppet of the test: what it owes others on every way out.

use futures_util::FutureExt;
use tokio::{
    sync::{mpsc, watch},
    time::sleep,
};

use super::*;
use crate::{
    connections::JoinCause,
    group::{Joined, Left},
    hub::{
        Arguments, Caller, CallerState, Connected, Disconnected, Hub, HubBehavior, HubError, Identity, Streams,
        services::HubServices,
        tests::{FORM, services},
    },
    ids::{ConnectionId, GroupKey},
    message::{Invocation, Message as Sent, Source},
    outbox::{
        ChannelFilter, End, FrameFields, Framer, Limits, Outbox, OutboxReader, Overflow, ReplayLimits, Resume,
        SharedMessage,
    },
    pipeline::{Families, Pipeline, RejoinValidator, TokenSubject},
    supervised::Supervised,
    tokens::KeyRing,
    transport::{Inbound, Received},
};

mod endings;
mod grouping;

const END: End = End { code: 1000 };

/// More than anything in here takes, and than a connection stays after its end. The clock stands still
/// unless everybody waits for it.
const QUIET: Duration = Duration::from_secs(60);

/// Does what its client's text says, and ends for everything that a connection can end for.
struct Puppet {
    due: Option<Instant>,
    is_full: bool,
}

fn ending(reason: Reason) -> Vec<Effect<String>> {
    let error = (reason == Reason::Faulted).then(|| HubError::new("nonsense"));
    vec![Effect::End(Ending { reason, error, end: END })]
}

impl Puppet {
    fn obey(&mut self, text: &str, now: Instant) -> Vec<Effect<String>> {
        match text {
            "connect" => vec![Effect::Connect],
            "good-bye" => ending(Reason::Stopped),
            "nonsense" => ending(Reason::Faulted),
            "cut" => vec![Effect::Cut],
            "twice" => [ending(Reason::Stopped), ending(Reason::Faulted)].into_iter().flatten().collect(),
            "fall silent" => {
                self.due = Some(now + Duration::from_secs(1));
                Vec::new()
            }
            "fill up" => {
                self.is_full = true;
                Vec::new()
            }
            "panic" => panic!("as the test wants"),
            method => vec![Effect::Invoke(method.to_owned(), call(method))],
        }
    }
}

fn call(method: &str) -> Invoke {
    Invoke {
        hub: "chat".into(),
        method: method.to_owned(),
        arguments: Arguments::default(),
        state: CallerState::default(),
        reporter: None,
        streams: Streams::default(),
        request: None,
    }
}

impl Dialect for Puppet {
    type PendingInvocation = String;

    const BEHAVIOR: HubBehavior =
        HubBehavior { binding: crate::hub::bind::Binding::Strict, refuses_empty_group: false };

    fn on(&mut self, event: Event<String>, now: Instant) -> Effects<Self> {
        match event {
            Event::Received(Received { data: Inbound::Text(text), .. }) => {
                self.obey(str::from_utf8(&text).unwrap(), now)
            }
            Event::Tick if self.due.take_if(|due| *due <= now).is_some() => ending(Reason::TimedOut),
            Event::Connected(Err(_)) => ending(Reason::Refused),
            Event::Returned(ticket, result) => {
                let told = result.map_or_else(|error| format!("{error:?}"), |json| json.get().to_owned());
                vec![Effect::Send(format!("{ticket}: {told}").into_bytes().into())]
            }
            Event::Detached => ending(Reason::Lost),
            Event::Overflowed => ending(Reason::TooSlow),
            Event::Aborted => ending(Reason::Aborted),
            Event::Draining => ending(Reason::Drained),
            Event::Received(_)
            | Event::Tick
            | Event::Connected(Ok(()))
            | Event::Restored(_)
            | Event::Reconnected(_)
            | Event::GroupsChanged(_) => Vec::new(),
        }
    }

    fn deadline(&self) -> Option<Instant> {
        self.due
    }

    fn is_saturated(&self) -> bool {
        self.is_full
    }

    fn wants_tokens(&self) -> bool {
        false
    }

    fn queues_answer(_: &String) -> bool {
        true
    }

    fn send_timeout(&self) -> Duration {
        Duration::from_secs(10)
    }

    fn calls(&self) -> usize {
        0
    }

    fn phase(&self) -> &'static str {
        "open"
    }
}

struct Plain;

impl Framer for Plain {
    fn frame(&self, _: &FrameFields, elements: &mut dyn Iterator<Item = &[u8]>, _: u64, out: &mut bytes::BytesMut) {
        elements.for_each(|element| out.extend_from_slice(element));
    }

    fn whole(&self, frame: &[u8], out: &mut bytes::BytesMut) {
        out.extend_from_slice(frame);
    }
}

/// A world with one hub that tells the test of everybody who comes and goes.
struct House {
    services: Arc<HubServices>,
    rejoin_service: Arc<RejoinService>,
    told: mpsc::UnboundedReceiver<String>,
    /// OnConnected and the methods `Hold` and `Finish` wait for it.
    gate: watch::Sender<bool>,
}

fn hub(tell: mpsc::UnboundedSender<String>, gate: &watch::Sender<bool>) -> Hub {
    let (gate, held, finishing) = (gate.subscribe(), gate.subscribe(), gate.subscribe());
    let (gone, finished) = (tell.clone(), tell.clone());
    let connected = move |Connected(context): Connected| {
        let (tell, mut gate) = (tell.clone(), gate.clone());
        async move {
            tell.send("comes".into())?;
            gate.wait_for(|is_open| *is_open).await?;
            match context.caller().user().map(|user| user.as_str()) {
                Some("eve") => Err(HubError::new("not you")),
                Some(_) | None => Ok(()),
            }
        }
    };
    let disconnected = move |Disconnected { error, is_stop, .. }: Disconnected| {
        let how = if is_stop { "stops" } else { "goes" };
        let told = gone.send(error.map_or(how.to_owned(), |(_, text)| format!("{how}: {text}")));
        async move { told.expect("the test listens") }
    };
    let hold = move || {
        let mut held = held.clone();
        async move {
            held.wait_for(|is_open| *is_open).await?;
            Ok::<_, HubError>("held")
        }
    };
    let finish = move |caller: Caller| {
        let (tell, mut gate) = (finished.clone(), finishing.clone());
        async move {
            gate.wait_for(|is_open| *is_open).await?;
            let is_alone = caller.ended().now_or_never().is_some();
            tell.send(if is_alone { "finished alone" } else { "finished" }.into())?;
            Ok::<_, HubError>(())
        }
    };
    let hub = Hub::new("chat").on_connected(connected).on_disconnected(disconnected);
    hub.method("Hold", hold).method("Finish", finish).method("Panic", panics).method("PanicAtOnce", panics_at_once)
}

fn panics_at_once() -> std::future::Ready<Result<(), HubError>> {
    panic!("before there is anything to wait for")
}

async fn panics() -> Result<(), HubError> {
    panic!("as the test wants")
}

impl House {
    fn new() -> Self {
        let (tell, told) = mpsc::unbounded_channel();
        let gate = watch::Sender::new(true);
        let services = services(vec![hub(tell, &gate)]);
        let ring = Arc::new(KeyRing::ephemeral());
        let validator = RejoinValidator {
            ring: Arc::clone(&ring),
            store: services.store.clone(),
            modules: Arc::new([]),
            connections: services.connections.clone(),
            families: Families::default(),
            metrics: Arc::clone(&services.metrics),
        };
        let pipeline = Supervised::start("pipeline", &Arbiter::current(), move || Pipeline::new(validator.clone()));
        let rejoin_service = Arc::new(RejoinService { ring, pipeline, settings: RejoinSettings::default() });
        Self { services, rejoin_service, told, gate }
    }

    fn open(&self, user: &str) -> Client {
        let limits = Limits { items: 16, bytes: 1_000, overflow: Overflow::Close };
        let outbox = Outbox::new(&FORM, limits, ReplayLimits::default());
        let (feed, _) = outbox.attach(Resume::Waiting, ChannelFilter::default(), Arc::new(Plain));
        let id = ConnectionId::random();
        let bearer = TokenSubject { family: id.to_string(), epoch: 0, hub: None, user: None };
        let opening = NewConnection {
            id: id.clone(),
            dialect: "puppet",
            transport: "none",
            hubs: self.services.hubs.clone(),
            has_one_hub: true,
            identity: Arc::new(Identity::named(Some(user.into()))),
            request: Arc::default(),
            outbox: Arc::clone(&outbox),
            services: Arc::clone(&self.services),
            rejoin_service: Arc::clone(&self.rejoin_service),
            claim: None,
            bearer,
        };
        let address = Connection::open(opening, None, Puppet { due: None, is_full: false });
        Client { id, address, outbox, feed: Some(feed) }
    }

    /// A client that is connected and in these groups.
    async fn connect(&mut self, user: &str, groups: &[&str]) -> Client {
        let client = self.open(user);
        client.say("connect").await;
        assert_eq!(self.told.recv().await.as_deref(), Some("comes"));
        for group in groups {
            let joined = self.services.join(&client.id, &key(group), JoinCause::Caller).await;
            assert_eq!(joined, Ok(Some(Joined::Now)), "{group}");
        }
        client
    }

    /// What was told until nothing happens any more.
    async fn told(&mut self) -> Vec<String> {
        sleep(QUIET).await;
        std::iter::from_fn(|| self.told.try_recv().ok()).collect()
    }

    /// Nothing is left of anybody.
    fn assert_empty(&self, why: &str) {
        assert_eq!(self.services.connections.count(), 0, "{why}");
        assert_eq!(self.services.groups.keys(None), [], "{why}");
    }
}

fn key(group: &str) -> Arc<GroupKey> {
    GroupKey::new(&"chat".into(), &group.into())
}

/// The client's end.
struct Client {
    id: ConnectionId,
    address: Addr<Connection<Puppet>>,
    outbox: Arc<Outbox>,
    feed: Option<OutboxReader>,
}

impl Client {
    /// Says something, which the connection may not survive.
    async fn say(&self, text: &str) {
        let data = Inbound::Text(text.to_owned().into());
        let _ = self.address.send(Received { channel: 1, data }).await;
    }

    async fn command(&self, command: Command) {
        let _ = self.address.send(command).await;
    }

    /// What the transport would write next, if anything waits.
    async fn hears(&mut self) -> String {
        let feed = self.feed.as_mut().expect("it has a transport");
        let mut out = bytes::BytesMut::new();
        futures_util::future::poll_fn(|cx| feed.poll(cx, &mut out)).await;
        String::from_utf8(out.to_vec()).unwrap()
    }
}

#[actix::test]
async fn a_method_that_panics_harms_only_itself() {
    tokio::time::pause();
    let mut house = House::new();
    let mut client = house.connect("ann", &[]).await;
    for (method, panics) in [("Panic", 1), ("PanicAtOnce", 2)] {
        client.say(method).await;
        assert!(client.hears().await.starts_with(&format!("{method}: Failed(")));
        assert_eq!(house.services.metrics.hub_panics.get(), panics);
        assert_eq!(house.services.metrics.invocations_failed.get(), panics);
    }
    client.say("Hold").await;
    assert_eq!(client.hears().await, "Hold: \"held\"");
}

#[actix::test]
async fn a_method_does_not_hold_up_its_connection() {
    tokio::time::pause();
    let mut house = House::new();
    let mut client = house.connect("ann", &[]).await;
    house.gate.send_replace(false);
    client.say("Hold").await;
    let joined = house.services.join(&client.id, &key("lobby"), JoinCause::Caller).await;
    assert_eq!(joined, Ok(Some(Joined::Now)));
    assert!(client.hears().now_or_never().is_none());
    house.gate.send_replace(true);
    assert_eq!(client.hears().await, "Hold: \"held\"");
}

#[actix::test]
async fn a_client_that_takes_nothing_for_too_long_is_given_up() {
    tokio::time::pause();
    let mut house = House::new();
    let client = house.connect("ann", &[]).await;
    let message = SharedMessage::new(Sent::new(Invocation::new(&"chat".into(), "tell", &()).unwrap(), Source::Hub));
    for _ in 0..4 {
        client.outbox.push(&message);
    }
    assert_eq!(house.told().await, ["goes"]);
    assert_eq!(house.services.metrics.connections_evicted.get(), 1);
}
