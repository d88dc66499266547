//! Tests of the session: properties, individual rules, and a table of every state with every event.

use std::num::NonZeroUsize;

use tokio_util::sync::CancellationToken;

use super::*;
use crate::{
    connection::{Channel, ChannelAttached, Connection, Ending},
    hub::{CallError, Uploads},
    payload::{Format, Payload},
    transport::Received,
};

mod channels;
mod message_pack;
mod properties;
mod raw;
mod reconnecting;
mod rules;
mod streams;
mod transitions;
mod waiting;

const HANDSHAKE: &str = "{\"protocol\":\"json\",\"version\":1}\u{1e}";

/// A session with a manual clock.
struct TestSession {
    inner: Session,
    now: Instant,
    /// Running calls, in the order in which they were started.
    running_calls: Vec<u64>,
    /// The cancellations of the streams that were requested, in the order of their calls.
    streams: Vec<CancellationToken>,
    /// The faults that were reported for the log: cause and reason.
    reports: Vec<(Cause, String)>,
    /// The client's streams that hub methods have not ended.
    uploads: Vec<Uploads>,
    /// The formats that were chosen.
    formats: Vec<Format>,
}

impl TestSession {
    /// A session before its handshake.
    fn new(settings: Settings) -> Self {
        Self::with_config(config(settings))
    }

    /// A session over a WebSocket.
    fn with_config(config: SessionConfig) -> Self {
        let mut session = Self::without_channel(config);
        session.attach(Transport::WebSockets, None);
        session
    }

    fn without_channel(config: SessionConfig) -> Self {
        let now = Instant::now();
        Self {
            inner: Session::new(config, now),
            now,
            running_calls: Vec::new(),
            streams: Vec::new(),
            reports: Vec::new(),
            uploads: Vec::new(),
            formats: Vec::new(),
        }
    }

    /// An open session without calls.
    fn open(settings: Settings) -> Self {
        let mut session = Self::new(settings);
        session.send_text(HANDSHAKE);
        assert_eq!(session.on(Event::Connected(Ok(()))), "");
        session
    }

    /// Passes an event to the session and describes the resulting effects.
    fn on(&mut self, event: Event<Session>) -> String {
        let effects = self.inner.on(event, self.now);
        let described: Vec<_> = effects.into_iter().filter_map(|effect| self.describe(effect)).collect();
        described.join(" | ")
    }

    /// `None` for a report and an encoding, which are collected.
    fn describe(&mut self, effect: Effect<Session>) -> Option<String> {
        Some(match effect {
            Effect::SetEncoding(encoding) => {
                self.formats.push(encoding.form.format);
                return None;
            }
            Effect::Report(fault) => {
                self.reports.push((fault.cause, fault.reason));
                return None;
            }
            Effect::Send(bytes) => {
                let text = String::from_utf8(bytes.into()).expect("JSON is text");
                format!("send {}", text.strip_suffix('\u{1e}').expect("every message ends with a separator"))
            }
            Effect::Invoke(invoke) => {
                let arguments: Vec<_> = invoke.arguments.iter().filter_map(Payload::as_json).collect();
                let described = format!("call {}({})", invoke.method, arguments.join(","));
                self.running_calls.push(invoke.number);
                self.streams.extend(invoke.cancelled);
                self.uploads.push(invoke.uploads);
                described
            }
            Effect::End(Ending { reason, error, end, .. }) => {
                let error = error.map(|error| format!(" of {error}")).unwrap_or_default();
                format!("end {reason:?} {}{error}", end)
            }
            Effect::RestoreGroups => "restore groups".into(),
            Effect::RunConnected => "run connected".into(),
            Effect::RefreshGroupsToken => "renew token".into(),
            Effect::SendGroupsToken(true) => "send token".into(),
            Effect::SendGroupsToken(false) => "send no token".into(),
            Effect::ClientResult(id, result) => format!("client result {id} {result:?}"),
            Effect::AwaitUpload(_) => "await upload".into(),
            Effect::Own(OwnEffect::MarkClientGone) => "mark client gone".into(),
            Effect::CountReconnect { is_recreated: false } => "reconnected".into(),
            Effect::Own(OwnEffect::SendControl(bytes)) => return self.describe(Effect::Send(bytes)),
            Effect::Own(OwnEffect::ReplyToDelete(_, is_deleted)) => format!("deleted {is_deleted}"),
            Effect::Own(OwnEffect::KeepUntilAcknowledged(limit)) => format!("keep {limit}"),
            Effect::Own(OwnEffect::Acknowledge(number)) => format!("acknowledge {number}"),
            Effect::Own(OwnEffect::SendSequence(_)) => "send sequence".into(),
            other => panic!("unexpected effect: {other:?}"),
        })
    }

    /// Attaches a channel, which is the first one unless the session has one.
    fn attach(&mut self, transport: Transport, expires: Option<Instant>) -> String {
        let is_first = self.inner.transport.is_none();
        self.on(Event::Attached(ChannelAttached {
            channel: Channel { number: 1, transport },
            request: ChannelRequest { expires },
            is_first,
            is_rejoined: false,
            has_gap: false,
            has_unsent_token: false,
            has_current_token: true,
        }))
    }

    fn receive(&mut self, data: Inbound) -> String {
        self.on(Event::Received(Received { channel: 1, data }))
    }

    fn send_text(&mut self, text: &str) -> String {
        self.receive(Inbound::Text(text.to_owned().into()))
    }

    /// Completes the oldest running call.
    fn finish_call(&mut self, result: Result<&str, CallError>) -> String {
        let number = self.running_calls.remove(0);
        let result = result.map(|json| Payload::from_encoded(Format::Json, json.to_owned().into()));
        self.on(Event::Returned(number, result))
    }

    /// Advances the clock and delivers a tick.
    fn advance(&mut self, time: Duration) -> String {
        self.now += time;
        self.on(Event::Tick)
    }

    fn phase(&self) -> &'static str {
        self.inner.phase()
    }
}

/// A configuration with rejoin tokens whose lifetime is one minute.
fn config(settings: Settings) -> SessionConfig {
    SessionConfig {
        settings: Arc::new(settings),
        hub: Arc::new(Hub::new("chat").method("Known", async || Ok(()))),
        fixed_protocol: None,
        wants_tokens: true,
        token_lifetime: seconds(60),
        early_data: Bytes::new(),
        can_reconnect: false,
    }
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn call(id: &str, target: &str) -> String {
    format!("{{\"type\":1,\"invocationId\":\"{id}\",\"target\":\"{target}\",\"arguments\":[]}}\u{1e}")
}

const PING: &str = "{\"type\":6}\u{1e}";

fn groups_changed() -> Event<Session> {
    Event::GroupsChanged { are_known: false }
}

fn connect_refused(is_retryable: bool) -> Event<Session> {
    Event::Connected(Err(ConnectError { error: HubError::new("not you"), is_retryable }))
}

/// Memory: a connection is one task, for which actix and tokio add 440 bytes. The allocator of the service puts tasks of up
/// to 1,664 bytes into a size class, and larger ones into one that takes 256 bytes more.
#[test]
fn connection_fits_its_size_class() {
    assert!(size_of::<Connection<Session>>() <= 1_664 - 440, "{}", size_of::<Connection<Session>>());
}
