//! What a session makes of what happens to it, told in words.

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::value::to_raw_value;
use tokio::sync::oneshot;

use super::*;
use crate::{classic::query::EndpointHubs, connection::Invoke, hub::CallError, message::Json, pipeline::TokenGroups};

mod beginning;
mod calling;
mod channels;
mod ending;
mod grouping;

/// A session and its time. Every effect becomes a line; what tests go on with is kept.
struct Bench {
    session: Session,
    now: Instant,
    channel: u32,
    /// The calls that run.
    running: Vec<(PendingInvocation, Invoke)>,
    /// What was reported of progress.
    reports: Arc<std::sync::Mutex<Vec<String>>>,
    /// How often it was to be remembered that a hub has ended the connection.
    dismissals: Arc<AtomicUsize>,
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

impl Bench {
    fn new(settings: Settings) -> Self {
        Self::begin(settings, false)
    }

    fn begin(settings: Settings, is_dismissed: bool) -> Self {
        let dismissals = Arc::<AtomicUsize>::default();
        let counted = Arc::clone(&dismissals);
        let reports = Arc::<std::sync::Mutex<Vec<String>>>::default();
        let kept = Arc::clone(&reports);
        let begin = SessionConfig {
            settings: Arc::new(settings),
            report: Arc::new(move |bytes| kept.lock().unwrap().push(text(&bytes))),
            token_lifetime: seconds(24 * 60 * 60),
            is_dismissed,
            remember: Box::new(move |_| {
                counted.fetch_add(1, Ordering::Relaxed);
            }),
        };
        let now = Instant::now();
        Self { session: Session::new(begin, now), now, channel: 0, running: Vec::new(), reports, dismissals }
    }

    /// A connection over a WebSocket whose OnConnected has run.
    fn open() -> Self {
        Self::open_with(Settings::default())
    }

    fn open_with(settings: Settings) -> Self {
        let mut bench = Self::new(settings);
        bench.attach(Transport::WebSockets, ConnectKind::Connect);
        bench.on(Event::Restored(Ok(())));
        drop(bench.start());
        bench.on(Event::Connected(Ok(())));
        bench
    }

    /// A channel of a client that asks for its OnConnected itself.
    fn channel(&mut self, transport: Transport, arrival: ConnectKind) -> ChannelAttached {
        self.channel += 1;
        ChannelAttached {
            number: self.channel,
            transport,
            arrival,
            asks_for_start: true,
            callable: Arc::new(EndpointHubs::new(&["Chat".into()])),
            token: None,
            claimed: None,
            place: if arrival == ConnectKind::Connect { ResumePosition::Unsaid } else { ResumePosition::Known },
            is_fresh: false,
            has_unsaid: false,
        }
    }

    fn attach(&mut self, transport: Transport, arrival: ConnectKind) -> Vec<String> {
        let attached = self.channel(transport, arrival);
        self.attached(&attached)
    }

    fn attached(&mut self, attached: &ChannelAttached) -> Vec<String> {
        let out = self.session.attached(attached, self.now);
        self.words(out)
    }

    fn on(&mut self, event: Event<PendingInvocation>) -> Vec<String> {
        let out = self.session.on(event, self.now);
        self.words(out)
    }

    fn after(&mut self, time: Duration) -> Vec<String> {
        self.now += time;
        self.on(Event::Tick)
    }

    fn start(&mut self) -> (Vec<String>, oneshot::Receiver<Result<(), StartError>>) {
        let (waiter, answer) = oneshot::channel();
        let out = self.session.start(waiter);
        (self.words(out), answer)
    }

    fn hear(&mut self, data: &str) -> Vec<String> {
        let data = Inbound::Text(data.to_owned().into());
        self.on(Event::Received(Received { channel: self.channel, data }))
    }

    /// The oldest call that runs comes to its end.
    fn return_(&mut self, result: Result<Json, CallError>) -> Vec<String> {
        let (ticket, _) = self.running.remove(0);
        self.on(Event::Returned(ticket, result))
    }

    /// How long nothing has to happen.
    fn rests(&self) -> Option<Duration> {
        self.session.deadline().map(|deadline| deadline - self.now)
    }

    fn words(&mut self, effects: Out) -> Vec<String> {
        effects.into_iter().map(|effect| self.word(effect)).collect()
    }

    fn word(&mut self, effect: Effect<PendingInvocation>) -> String {
        match effect {
            Effect::Send(bytes) => format!("send {}", text(&bytes)),
            Effect::Frame(bytes) => format!("frame {}", text(&bytes)),
            Effect::Reply(waiting, bytes) => {
                let word = format!("answer {}", text(&bytes));
                drop(waiting.send(bytes));
                word
            }
            Effect::Open(bytes) => format!("open {}", text(&bytes)).trim_end().to_owned(),
            Effect::Tell(Some(bytes)) => format!("tell {}", text(&bytes)),
            Effect::Tell(None) => "tell nothing".into(),
            Effect::Connect => "connect".into(),
            Effect::Restore => "restore".into(),
            Effect::Welcome => "welcome".into(),
            Effect::Reconnect { has_gap } => format!("reconnect{}", if has_gap { " with a gap" } else { "" }),
            Effect::Invoke(ticket, invoke) => {
                let word = format!("invoke {}.{}", invoke.hub, invoke.method);
                self.running.push((ticket, invoke));
                word
            }
            Effect::Retoken => "retoken".into(),
            Effect::HangUp(end) => format!("hang up {}", end.code),
            Effect::End(ending) => format!("end {:?} {}", ending.reason, ending.end.code),
            Effect::Forsake => "forsake".into(),
            Effect::Cut => "cut".into(),
        }
    }
}
