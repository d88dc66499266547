//! Tests of the session: events go in, and the effects come out as lines of text.

use tokio::sync::oneshot;

use super::*;
use crate::{
    classic::{
        frames::FrameFormat,
        query::{ConnectKind, EndpointHubs},
    },
    connection::{
        AttachChannel, Channel as OpenChannel, ChannelAttached, ChannelState, Dialect, Event, Invoke, RequestContext,
    },
    hub::CallError,
    payload::{Format, Payload},
    transport::Transport,
};

mod beginning;
mod calling;
mod channels;
mod ending;
mod grouping;

/// A session with a clock. Each effect becomes a line of text. Pending calls and progress reports are kept.
struct TestSession {
    session: Session,
    now: Instant,
    channel: u32,
    /// The calls that are running.
    running: Vec<Invoke>,
    /// The faults that were reported for the log.
    reports: Vec<ClientFault>,
    /// The gaps and reconnects that were counted.
    counted: Vec<String>,
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn request_for_channel(connect_kind: ConnectKind, cursor: Option<String>) -> ChannelRequest {
    ChannelRequest {
        connect_kind,
        frame_format: FrameFormat::WebSocket,
        sends_start: true,
        hubs: Vec::new(),
        endpoint_hubs: Arc::new(EndpointHubs::new(&["Chat".into()])),
        cursor,
        groups_token: None,
        expires: None,
    }
}

fn with_cursor(mut attached: ChannelAttached<Session>, cursor: Option<&str>) -> ChannelAttached<Session> {
    attached.request.cursor = cursor.map(str::to_owned);
    attached
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn json(value: impl serde::Serialize) -> Payload {
    Payload::encode(Format::Json, &value).unwrap()
}

impl TestSession {
    fn new(settings: Settings) -> Self {
        Self::begin(settings, false)
    }

    fn begin(settings: Settings, is_aborted_by_hub: bool) -> Self {
        let config = SessionConfig {
            settings: Arc::new(settings),
            groups_token_lifetime: seconds(24 * 60 * 60),
            is_aborted_by_hub,
        };
        let (session, now) = (Session::new(config), Instant::now());
        Self { session, now, channel: 0, running: Vec::new(), reports: Vec::new(), counted: Vec::new() }
    }

    /// A session with a WebSocket whose OnConnected is done.
    fn open() -> Self {
        Self::open_with(Settings::default())
    }

    fn open_with(settings: Settings) -> Self {
        let mut test = Self::new(settings);
        test.attach(Transport::WebSockets, ConnectKind::Connect);
        test.on(Event::Restored(Ok(())));
        drop(test.start());
        test.on(Event::Connected(Ok(())));
        test
    }

    /// A channel of a client that sends a start request. After a connect it presents a valid cursor.
    fn channel(&mut self, transport: Transport, connect_kind: ConnectKind) -> ChannelAttached<Session> {
        let cursor = (connect_kind != ConnectKind::Connect).then(|| format!("{}-0", self.session.epoch));
        self.channel += 1;
        ChannelAttached {
            channel: OpenChannel { number: self.channel, transport },
            request: request_for_channel(connect_kind, cursor),
            is_first: self.channel == 1,
            is_rejoined: false,
            has_gap: false,
            has_unsent_token: false,
            has_current_token: true,
        }
    }

    fn attach(&mut self, transport: Transport, connect_kind: ConnectKind) -> Vec<String> {
        let attached = self.channel(transport, connect_kind);
        self.attached(attached)
    }

    fn attached(&mut self, attached: ChannelAttached<Session>) -> Vec<String> {
        self.on(Event::Attached(attached))
    }

    fn on(&mut self, event: Event<Session>) -> Vec<String> {
        let out = self.session.on(event, self.now);
        self.describe_all(out)
    }

    fn advance(&mut self, time: Duration) -> Vec<String> {
        self.now += time;
        self.on(Event::Tick)
    }

    fn start(&mut self) -> (Vec<String>, oneshot::Receiver<Result<(), StartError>>) {
        let (reply, response) = oneshot::channel();
        let context = RequestContext { hubs: Vec::new(), request: Arc::default() };
        (self.on(Event::Request(Request::Start { context, reply })), response)
    }

    fn receive_text(&mut self, data: &str) -> Vec<String> {
        let data = Inbound::Text(data.to_owned().into());
        self.on(Event::Received(Received { channel: self.channel, data }))
    }

    /// Completes the oldest running call.
    fn complete_call(&mut self, result: Result<Payload, CallError>) -> Vec<String> {
        let number = self.running.remove(0).number;
        self.on(Event::Returned(number, result))
    }

    /// The time until the next deadline.
    fn until_deadline(&self) -> Option<Duration> {
        self.session.deadline().map(|deadline| deadline - self.now)
    }

    fn describe_all(&mut self, effects: SessionEffects) -> Vec<String> {
        effects.into_iter().filter_map(|effect| self.describe(effect)).collect()
    }

    /// `None` for a report, which goes to `reports`, and for a count, which goes to `counted`.
    fn describe(&mut self, effect: Effect<Session>) -> Option<String> {
        Some(match effect {
            Effect::Report(fault) => {
                self.reports.push(fault);
                return None;
            }
            Effect::Send(bytes) => format!("send {}", text(&bytes)),
            Effect::Own(OwnEffect::SendFrame(bytes)) => format!("frame {}", text(&bytes)),
            Effect::Own(OwnEffect::Reply(waiting, response)) => {
                let line = response.as_ref().map_or("reply too many".into(), |bytes| format!("reply {}", text(bytes)));
                drop(waiting.send(response));
                line
            }
            Effect::Own(OwnEffect::SetInit(bytes)) => format!("init {}", text(&bytes)).trim_end().to_owned(),
            Effect::Own(OwnEffect::RecordAbort) => "record abort".into(),
            Effect::SetContext(_) => "set context".into(),
            Effect::Own(OwnEffect::CountGap) => {
                self.counted.push("CountGap".into());
                return None;
            }
            Effect::CountReconnect { .. } => {
                self.counted.push(format!("{effect:?}"));
                return None;
            }
            Effect::SendGroupsToken(true) => "send token".into(),
            Effect::SendGroupsToken(false) => "send no token".into(),
            Effect::RestoreGroups => "restore groups".into(),
            Effect::RunConnected => "run connected".into(),
            Effect::RunReconnected { has_gap } => {
                format!("run reconnected{}", if has_gap { " with a gap" } else { "" })
            }
            Effect::Invoke(invoke) => {
                let line = format!("invoke {}.{}", invoke.hub, invoke.method);
                self.running.push(invoke);
                line
            }
            Effect::RefreshGroupsToken => "refresh groups token".into(),
            Effect::Own(OwnEffect::CloseChannel(end)) => format!("close channel {}", end),
            Effect::End(ending) => format!("end {:?} {}", ending.reason, ending.end),
            Effect::AwaitUpload(_) | Effect::ClientResult(..) => {
                panic!("classic clients have no streams and return no results")
            }
            Effect::SetEncoding(encoding) => panic!("classic clients have one encoding: {encoding:?}"),
        })
    }
}
