//! Tests of the session: events go in, and the effects come out as lines of text.

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::value::to_raw_value;
use tokio::sync::oneshot;

use super::*;
use crate::{
    classic::query::EndpointHubs,
    connection::{Dialect, Event, Invoke},
    hub::CallError,
    message::Json,
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
    running: Vec<(PendingInvocation, Invoke)>,
    /// The progress reports that were queued.
    progress_reports: Arc<std::sync::Mutex<Vec<String>>>,
    /// The number of recorded aborts by a hub.
    recorded_aborts: Arc<AtomicUsize>,
    /// The faults that were reported for the log.
    reports: Vec<ClientFault>,
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn json(value: impl serde::Serialize) -> Json {
    to_raw_value(&value).unwrap()
}

impl TestSession {
    fn new(settings: Settings) -> Self {
        Self::begin(settings, false)
    }

    fn begin(settings: Settings, is_aborted_by_hub: bool) -> Self {
        let recorded_aborts = Arc::<AtomicUsize>::default();
        let counted = Arc::clone(&recorded_aborts);
        let progress_reports = Arc::<std::sync::Mutex<Vec<String>>>::default();
        let kept = Arc::clone(&progress_reports);
        let config = SessionConfig {
            settings: Arc::new(settings),
            progress_sink: Arc::new(move |bytes| kept.lock().unwrap().push(text(&bytes))),
            groups_token_lifetime: seconds(24 * 60 * 60),
            is_aborted_by_hub,
            record_abort: Box::new(move |_| {
                counted.fetch_add(1, Ordering::Relaxed);
            }),
        };
        let now = Instant::now();
        Self {
            session: Session::new(config, now),
            now,
            channel: 0,
            running: Vec::new(),
            reports: Vec::new(),
            progress_reports,
            recorded_aborts,
        }
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

    /// A channel of a client that sends a start request.
    fn channel(&mut self, transport: Transport, connect_kind: ConnectKind) -> ChannelAttached {
        self.channel += 1;
        ChannelAttached {
            number: self.channel,
            transport,
            connect_kind,
            sends_start: true,
            endpoint_hubs: Arc::new(EndpointHubs::new(&["Chat".into()])),
            is_rejoined: false,
            resume_position: if connect_kind == ConnectKind::Connect {
                ResumePosition::Unspecified
            } else {
                ResumePosition::Known
            },
            is_recreated: false,
            expires: None,
            has_unsent_token: false,
            has_current_token: true,
        }
    }

    fn attach(&mut self, transport: Transport, connect_kind: ConnectKind) -> Vec<String> {
        let attached = self.channel(transport, connect_kind);
        self.attached(&attached)
    }

    fn attached(&mut self, attached: &ChannelAttached) -> Vec<String> {
        let out = self.session.on_attached(attached, self.now);
        self.describe_all(out)
    }

    fn on(&mut self, event: Event<PendingInvocation>) -> Vec<String> {
        let out = self.session.on(event, self.now);
        self.describe_all(out)
    }

    fn advance(&mut self, time: Duration) -> Vec<String> {
        self.now += time;
        self.on(Event::Tick)
    }

    fn start(&mut self) -> (Vec<String>, oneshot::Receiver<Result<(), StartError>>) {
        let (reply, response) = oneshot::channel();
        let out = self.session.start(reply);
        (self.describe_all(out), response)
    }

    fn receive_text(&mut self, data: &str) -> Vec<String> {
        let data = Inbound::Text(data.to_owned().into());
        self.on(Event::Received(Received { channel: self.channel, data }))
    }

    /// Completes the oldest running call.
    fn complete_call(&mut self, result: Result<Json, CallError>) -> Vec<String> {
        let (pending, _) = self.running.remove(0);
        self.on(Event::Returned(pending, result))
    }

    /// The time until the next deadline.
    fn until_deadline(&self) -> Option<Duration> {
        self.session.deadline().map(|deadline| deadline - self.now)
    }

    fn describe_all(&mut self, effects: SessionEffects) -> Vec<String> {
        effects.into_iter().filter_map(|effect| self.describe(effect)).collect()
    }

    /// `None` for a report, which goes to `reports`.
    fn describe(&mut self, effect: Effect<PendingInvocation>) -> Option<String> {
        Some(match effect {
            Effect::Report(fault) => {
                self.reports.push(fault);
                return None;
            }
            Effect::Send(bytes) => format!("send {}", text(&bytes)),
            Effect::SendFrame(bytes) => format!("frame {}", text(&bytes)),
            Effect::Reply(waiting, bytes) => {
                let line = format!("reply {}", text(&bytes));
                drop(waiting.send(bytes));
                line
            }
            Effect::SetInit(bytes) => format!("init {}", text(&bytes)).trim_end().to_owned(),
            Effect::SendGroupsToken(true) => "send token".into(),
            Effect::SendGroupsToken(false) => "send no token".into(),
            Effect::Connect => "connect".into(),
            Effect::RestoreGroups => "restore groups".into(),
            Effect::RunConnected => "run connected".into(),
            Effect::RunReconnected { has_gap } => {
                format!("run reconnected{}", if has_gap { " with a gap" } else { "" })
            }
            Effect::Invoke(pending, invoke) => {
                let line = format!("invoke {}.{}", invoke.hub, invoke.method);
                self.running.push((pending, invoke));
                line
            }
            Effect::RefreshGroupsToken => "refresh groups token".into(),
            Effect::CloseChannel(end) => format!("close channel {}", end.code),
            Effect::End(ending) => format!("end {:?} {}", ending.reason, ending.end.code),
            Effect::MarkClientGone => "mark client gone".into(),
            Effect::Terminate => "terminate".into(),
        })
    }
}
