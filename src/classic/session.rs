//! The pure half of a classic connection: how long it lives, what its client is told of itself, and what
//! becomes of its calls.
//!
//! A connection begins with the first request that needs it, has one channel at a time or none, and ends
//! when its client says good-bye, or has had no channel for too long.

use std::{collections::HashMap, sync::Arc, time::Duration};

use tokio::{
    sync::{Mutex, oneshot},
    time::Instant,
};

use super::{
    Settings,
    cursor::Cursor,
    frames::KEEP_ALIVE,
    message::{self, Answer, Call, DEEPEST, Id},
    query::{Arrival, Transport},
};
use crate::{
    connection::{Dialect, Effect, Effects, Ending, Event, Invoke, Reason, Refused, Regrouped},
    hub::{Arguments, CallError, CallerState, HubError, Manners, Reporter, Request, Streams, bind::Binding},
    ids::{GroupKey, HubName},
    message::{Json, depth_of},
    outbox::{End, Resume},
    transport::{Inbound, Received},
};

/// Wire: how much longer than the timeout the original waits for a stream to come back.
const GRACE: Duration = Duration::from_secs(5);

/// Wire: 1000, whatever happened; clients do not look.
const NORMAL: End = End { code: 1000 };

/// Better than the original, which just goes away: 1003 refuses a binary message, 1009 one that is too long,
/// and 1008 a client that does not read (RFC 6455 section 7.4.1).
const NO_BINARY: End = End { code: 1003 };
const TOO_LARGE: End = End { code: 1009 };
const TOO_SLOW: End = End { code: 1008 };

/// Wire: a channel's first frame; its client waits for it.
const INIT: &[u8] = b"\"S\":1";

/// Wire: the process ends; polling clients are to come back at once.
const LEAVING: &[u8] = b"\"T\":1";

/// Wire: both words that have ever stopped a client for good: the oldest know `D`, the newest `E`.
const DISMISSED: &[u8] = b"\"D\":1,\"E\":\"The server has closed the connection.\"";

/// Where the answer to a call belongs.
#[derive(Debug)]
pub(super) enum To {
    /// To the channel that it came over; it is worthless on any other, where the same id means another call.
    Channel(u32),
    /// To a request that waits.
    Request(oneshot::Sender<Box<[u8]>>),
}

/// What names a call.
#[derive(Debug)]
pub(crate) struct Ticket {
    id: Id,
    /// Hub and method as the client spelt them.
    hub: String,
    method: String,
    state: CallerState,
    to: To,
}

/// Something that is begun once and may be waited for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Ahead,
    UnderWay,
    Done,
}

/// Why a client's start has failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NotStarted {
    pub(super) text: String,
    pub(super) is_retryable: bool,
}

impl NotStarted {
    /// The connection ended meanwhile.
    pub(super) fn ended() -> Self {
        Self { text: "The connection has ended.".into(), is_retryable: true }
    }
}

/// Who waits for OnConnected.
pub(super) type Waiter = oneshot::Sender<Result<(), NotStarted>>;

/// Why a call is not taken.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotTaken {
    #[error("'{0}' Hub could not be resolved.")]
    NoHub(String),
    #[error("Too many invocations of this connection are under way.")]
    Busy,
}

/// What a client knows of its groups.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Known {
    groups: Vec<Arc<GroupKey>>,
    token: Option<String>,
}

#[derive(Debug)]
struct Channel {
    number: u32,
    transport: Transport,
    /// When the client is next told that the channel is alive.
    beat_due: Option<Instant>,
    /// When a channel that is never told so has had its time.
    ends_at: Option<Instant>,
    /// Its first frame waits for OnConnected.
    awaits_welcome: bool,
}

/// See the module's documentation.
pub(crate) struct Session {
    settings: Arc<Settings>,
    /// The hubs that can be called: their names in small letters, and as they are registered.
    hubs: Arc<HashMap<String, HubName>>,
    epoch: Arc<str>,
    /// Puts an element into the connection's sequence.
    report: Arc<dyn Fn(Box<[u8]>) + Send + Sync>,
    channel: Option<Channel>,
    has_had_channel: bool,
    /// Whose turn it is that wants a channel.
    turns: Arc<Mutex<()>>,
    /// When the connection ends that has no channel.
    away_until: Instant,
    running: usize,
    restored: Stage,
    welcomed: Stage,
    waiting: Vec<Waiter>,
    told: Known,
    next: Option<Known>,
    renews_token: bool,
    token_due: Option<Instant>,
    has_ended: bool,
}

/// What a session begins with.
pub(super) struct Begin {
    pub(super) settings: Arc<Settings>,
    pub(super) hubs: Arc<HashMap<String, HubName>>,
    pub(super) report: Arc<dyn Fn(Box<[u8]>) + Send + Sync>,
}

/// A channel that has been attached.
#[derive(Debug)]
pub(super) struct Attached {
    pub(super) number: u32,
    pub(super) transport: Transport,
    pub(super) arrival: Arrival,
    /// The client asks for its OnConnected itself.
    pub(super) asks_for_start: bool,
    /// The token that it presented.
    pub(super) token: Option<String>,
    /// The groups of that token, if it was asked what they are worth.
    pub(super) claimed: Option<Vec<Arc<GroupKey>>>,
    pub(super) place: Place,
    /// The connection is new to this process, although its client is not.
    pub(super) is_fresh: bool,
    /// What the client should know had not been said on the channel before.
    pub(super) has_unsaid: bool,
}

/// Where a client is in the sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Here.
    Known,
    /// It does not say.
    Unsaid,
    /// Nobody knows any more: it has missed what there was.
    Lost,
}

type Out = Effects<Session>;

impl Session {
    pub(super) fn new(begin: Begin, now: Instant) -> Self {
        let Begin { settings, hubs, report } = begin;
        Self {
            hubs,
            epoch: crate::ids::secret().chars().filter(char::is_ascii_alphanumeric).take(8).collect::<String>().into(),
            report,
            channel: None,
            has_had_channel: false,
            turns: Arc::default(),
            away_until: now + settings.disconnect_timeout + GRACE,
            running: 0,
            restored: Stage::Ahead,
            welcomed: Stage::Ahead,
            waiting: Vec::new(),
            told: Known::default(),
            next: None,
            renews_token: false,
            token_due: None,
            has_ended: false,
            settings,
        }
    }

    /// What makes this connection's cursors its own.
    pub(super) fn epoch(&self) -> &Arc<str> {
        &self.epoch
    }

    /// True if the connection has had a channel in this process.
    pub(super) fn has_had_channel(&self) -> bool {
        self.has_had_channel
    }

    /// True while a channel is there that is no poll.
    pub(super) fn has_stream(&self) -> bool {
        self.channel.as_ref().is_some_and(|channel| channel.transport != Transport::LongPolling)
    }

    /// The line of requests for a channel.
    pub(super) fn turns(&self) -> &Arc<Mutex<()>> {
        &self.turns
    }

    /// Where a channel begins whose client brings this cursor, and whether that is where its client was.
    pub(super) fn place(&self, cursor: Option<&str>) -> (Resume, Place) {
        match cursor.map(Cursor::parse) {
            None if self.has_had_channel => (Resume::Tail, Place::Unsaid),
            None => (Resume::Waiting, Place::Unsaid),
            Some(Some(Cursor { epoch, at })) if *epoch == *self.epoch => (Resume::From(at), Place::Known),
            Some(_) => (Resume::Tail, Place::Lost),
        }
    }

    /// A channel is there.
    pub(super) fn attached(&mut self, attached: Attached, now: Instant) -> Out {
        let awaits_welcome = attached.arrival == Arrival::Connect && !attached.asks_for_start;
        self.has_had_channel = true;
        self.channel = Some(self.channel(&attached, awaits_welcome && self.welcomed != Stage::Done, now));
        let mut out = self.greet(&attached);
        self.catch_up(&attached, &mut out);
        if attached.is_fresh {
            self.restored = Stage::Done;
        }
        if awaits_welcome {
            out.append(&mut self.welcome());
        } else {
            out.append(&mut self.restore());
        }
        out
    }

    fn channel(&self, attached: &Attached, awaits_welcome: bool, now: Instant) -> Channel {
        let keep_alive = self.settings.keep_alive;
        let has_end = attached.transport == Transport::LongPolling || keep_alive.is_none();
        Channel {
            number: attached.number,
            transport: attached.transport,
            beat_due: keep_alive.map(|period| now + period),
            ends_at: has_end.then(|| now + self.settings.connection_timeout),
            awaits_welcome,
        }
    }

    /// The first frame of a channel, as far as one is due, and the event that it is to hubs.
    fn greet(&self, attached: &Attached) -> Out {
        let is_poll = attached.transport == Transport::LongPolling && attached.arrival == Arrival::Other;
        match attached.arrival {
            Arrival::Connect if self.channel.as_ref().is_some_and(|channel| channel.awaits_welcome) => Vec::new(),
            Arrival::Connect => vec![Effect::Open(INIT.into())],
            Arrival::Reconnect | Arrival::Other => {
                let mut out = Vec::new();
                if attached.place != Place::Known {
                    out.push(Effect::Open([].into()));
                }
                if !is_poll || attached.is_fresh {
                    out.push(Effect::Reconnect { has_gap: attached.place == Place::Lost });
                }
                out
            }
        }
    }

    /// Tells the client of its groups what it cannot know. What a channel before did not say is said now.
    fn catch_up(&mut self, attached: &Attached, out: &mut Out) {
        if let Some(claimed) = &attached.claimed {
            self.told = Known { groups: claimed.clone(), token: attached.token.clone() };
            self.next = None;
            return out.push(Effect::Retoken);
        }
        match self.next.take() {
            Some(next) if attached.has_unsaid => self.next = Some(next),
            Some(next) => self.told = next,
            None => {}
        }
        let token = self.next.as_ref().map_or(&self.told.token, |next| &next.token);
        if token.is_some() && *token != attached.token {
            out.push(Effect::Tell(token.as_deref().map(message::groups)));
        }
    }

    fn restore(&mut self) -> Out {
        if self.restored == Stage::Ahead {
            self.restored = Stage::UnderWay;
            return vec![Effect::Restore];
        }
        Vec::new()
    }

    /// Has OnConnected run, once, when the durable groups are joined.
    fn welcome(&mut self) -> Out {
        match (self.restored, self.welcomed) {
            (Stage::Done, Stage::Ahead) => {
                self.welcomed = Stage::UnderWay;
                vec![Effect::Welcome]
            }
            (Stage::Done, _) | (Stage::UnderWay, _) => Vec::new(),
            (Stage::Ahead, _) => self.restore(),
        }
    }

    /// The client asks for its OnConnected.
    pub(super) fn start(&mut self, waiter: Waiter) -> Out {
        if self.welcomed == Stage::Done {
            return self.tell_waiting_and(waiter);
        }
        self.waiting.push(waiter);
        self.welcome()
    }

    fn tell_waiting_and(&mut self, waiter: Waiter) -> Out {
        self.waiting.push(waiter);
        self.tell_waiting(&Ok(()));
        Vec::new()
    }

    fn tell_waiting(&mut self, outcome: &Result<(), NotStarted>) {
        for waiter in self.waiting.drain(..) {
            // Whoever asked may have gone.
            let _ = waiter.send(outcome.clone());
        }
    }

    fn is_awaited(&self) -> bool {
        !self.waiting.is_empty() || self.channel.as_ref().is_some_and(|channel| channel.awaits_welcome)
    }

    fn restored(&mut self, outcome: Result<(), Refused>) -> Out {
        self.restored = Stage::Done;
        match outcome {
            Ok(()) if self.is_awaited() => self.welcome(),
            Ok(()) => Vec::new(),
            Err(refused) => self.refuse(&refused),
        }
    }

    fn connected(&mut self, outcome: Result<(), Refused>) -> Out {
        self.welcomed = Stage::Done;
        if let Err(refused) = outcome {
            return self.refuse(&refused);
        }
        self.tell_waiting(&Ok(()));
        let awaited = self.channel.as_mut().is_some_and(|channel| std::mem::take(&mut channel.awaits_welcome));
        awaited.then(|| Effect::Open(INIT.into())).into_iter().collect()
    }

    fn refuse(&mut self, Refused { error, is_retryable }: &Refused) -> Out {
        let is_shown = error.is_shown() || self.settings.detailed_errors;
        let text = if is_shown { error.message() } else { "The connection was not let in." };
        self.tell_waiting(&Err(NotStarted { text: text.to_owned(), is_retryable: *is_retryable }));
        self.end(Reason::Refused, NORMAL)
    }

    /// The client says good-bye.
    pub(super) fn stopped(&mut self) -> Out {
        self.end(Reason::Stopped, NORMAL)
    }

    fn received(&mut self, received: &Received) -> Out {
        match &received.data {
            Inbound::Text(bytes) => {
                let text = String::from_utf8_lossy(bytes);
                // Wire: what is no call, or is for no hub, is passed over; there is nothing to answer to.
                let call = message::decode(&text).ok();
                let taken = call.and_then(|call| self.call(call, To::Channel(received.channel), None).ok());
                taken.unwrap_or_default()
            }
            Inbound::Binary(_) => vec![Effect::HangUp(NO_BINARY)],
            Inbound::TooLarge => vec![Effect::HangUp(TOO_LARGE)],
        }
    }

    /// A call has come in.
    pub(super) fn call(&mut self, call: Call, to: To, request: Option<Arc<Request>>) -> Result<Out, NotTaken> {
        let Call { hub, method, arguments, id, state } = call;
        let Some(registered) = self.hubs.get(&hub.to_lowercase()) else { return Err(NotTaken::NoHub(hub)) };
        if matches!(to, To::Request(_)) && self.is_saturated() {
            return Err(NotTaken::Busy);
        }
        let state = CallerState::new(state);
        let is_too_deep = arguments.iter().any(|argument| depth_of(argument.get()) > DEEPEST);
        let invoke = Invoke {
            hub: registered.clone(),
            method: method.clone(),
            arguments: Arguments::new(arguments, Binding::Lenient),
            reporter: Some(self.reporter(id.clone(), state.clone())),
            state: state.clone(),
            streams: Streams::default(),
            request,
        };
        self.running += 1;
        let ticket = Ticket { id, hub, method, state, to };
        if is_too_deep {
            let error = CallError::Binding("an argument nests deeper than 20".into());
            return Ok(self.returned(ticket, Err(error)));
        }
        Ok(vec![Effect::Invoke(ticket, invoke)])
    }

    fn reporter(&self, id: Id, state: CallerState) -> Reporter {
        let report = Arc::clone(&self.report);
        Arc::new(move |value: Json| report(message::progress(&id, &value, state.changed())))
    }

    fn returned(&mut self, ticket: Ticket, result: Result<Json, CallError>) -> Out {
        self.running -= 1;
        let answer = match &result {
            Ok(value) => Answer::result(value),
            Err(CallError::Failed(error)) if error.is_shown() => Answer::error(error),
            Err(error) => Answer::failure(self.text_of(error, &ticket)),
        };
        let bytes = answer.encode(ticket.id, ticket.state.changed());
        match ticket.to {
            To::Request(waiting) => vec![Effect::Answer(waiting, bytes)],
            To::Channel(number) if self.channel.as_ref().is_some_and(|channel| channel.number == number) => {
                vec![Effect::Frame(bytes)]
            }
            To::Channel(_) => Vec::new(),
        }
    }

    /// Wire: the texts of the original, names as the client wrote them.
    fn text_of(&self, error: &CallError, Ticket { hub, method, .. }: &Ticket) -> String {
        if !self.settings.detailed_errors {
            return format!("There was an error invoking Hub method '{hub}.{method}'.");
        }
        let unresolved = |why: String| format!("'{method}' method could not be resolved. {why}");
        match error {
            CallError::Count { method: registered, expected, .. } if **registered == *method => {
                unresolved(format!("Potential candidates are: \n{registered}({expected} arguments)"))
            }
            CallError::NoSuchMethod | CallError::Count { .. } => unresolved("No method found with that name.".into()),
            CallError::Unauthorized => format!("Caller is not authorized to invoke the {method} method on {hub}."),
            CallError::NoStream => "The method gives no stream.".into(),
            CallError::Binding(text) | CallError::Unwritable(text) => text.clone(),
            CallError::Failed(error) => error.message().to_owned(),
        }
    }

    fn regrouped(&mut self, Regrouped { groups, token, has_unsaid }: Regrouped, now: Instant) -> Out {
        if let Some(next) = self.next.take()
            && !has_unsaid
        {
            self.told = next;
        }
        self.token_due = Some(now + self.settings.token_lifetime / 2);
        if groups == self.told.groups && !std::mem::take(&mut self.renews_token) {
            return vec![Effect::Tell(None)];
        }
        let news = message::groups(&token);
        self.next = Some(Known { groups, token: Some(token) });
        vec![Effect::Tell(Some(news))]
    }

    fn tick(&mut self, now: Instant) -> Out {
        let mut out = match &self.channel {
            Some(_) => self.beat(now),
            None if now >= self.away_until => return self.end(Reason::Lost, NORMAL),
            None => Vec::new(),
        };
        if self.token_due.is_some_and(|due| now >= due) {
            (self.token_due, self.renews_token) = (None, true);
            out.push(Effect::Retoken);
        }
        out
    }

    fn beat(&mut self, now: Instant) -> Out {
        let Some(channel) = &mut self.channel else { return Vec::new() };
        if channel.ends_at.is_some_and(|end| now >= end) {
            channel.ends_at = None;
            return match channel.transport {
                Transport::LongPolling => vec![Effect::Open([].into())],
                _ => vec![Effect::HangUp(NORMAL)],
            };
        }
        match (channel.beat_due, self.settings.keep_alive) {
            (Some(due), Some(period)) if now >= due => {
                channel.beat_due = Some(now + period);
                vec![Effect::Frame(KEEP_ALIVE.into())]
            }
            _ => Vec::new(),
        }
    }

    fn detached(&mut self, now: Instant) -> Out {
        if let Some(channel) = self.channel.take() {
            let grace = if channel.transport == Transport::LongPolling { self.settings.long_poll_delay } else { GRACE };
            self.away_until = now + self.settings.disconnect_timeout + grace;
        }
        Vec::new()
    }

    fn drain(&mut self) -> Out {
        let is_polling = self.channel.as_ref().is_some_and(|channel| channel.transport == Transport::LongPolling);
        let word = is_polling.then(|| Effect::Open(LEAVING.into()));
        word.into_iter().chain(self.end(Reason::Drained, NORMAL)).collect()
    }

    fn dismiss(&mut self) -> Out {
        let mut out = vec![Effect::Open(DISMISSED.into())];
        out.append(&mut self.end(Reason::Aborted, NORMAL));
        out
    }

    /// Ends the connection; without a channel nothing is left to wait for.
    fn end(&mut self, reason: Reason, end: End) -> Out {
        self.has_ended = true;
        self.waiting.clear();
        let ending = Ending { reason, error: None, end };
        let cut = self.channel.is_none().then_some(Effect::Cut);
        [Effect::End(ending)].into_iter().chain(cut).collect()
    }

    fn reconnected(outcome: Result<(), HubError>) -> Out {
        match outcome {
            Ok(()) => Vec::new(),
            // The client comes back and asks again.
            Err(_) => vec![Effect::HangUp(NORMAL)],
        }
    }
}

impl Dialect for Session {
    type Ticket = Ticket;

    const MANNERS: Manners = Manners { binding: Binding::Lenient, refuses_empty_group: true };

    fn on(&mut self, event: Event<Ticket>, now: Instant) -> Out {
        if self.has_ended {
            return Vec::new();
        }
        match event {
            Event::Received(received) => self.received(&received),
            Event::Tick => self.tick(now),
            Event::Restored(outcome) => self.restored(outcome),
            Event::Connected(outcome) => self.connected(outcome),
            Event::Returned(ticket, result) => self.returned(ticket, result),
            Event::Reconnected(outcome) => Self::reconnected(outcome),
            Event::Detached => self.detached(now),
            Event::Overflowed => self.end(Reason::TooSlow, TOO_SLOW),
            Event::Regrouped(regrouped) => self.regrouped(regrouped, now),
            Event::Aborted => self.dismiss(),
            Event::Draining => self.drain(),
        }
    }

    fn deadline(&self) -> Option<Instant> {
        let own = match &self.channel {
            _ if self.has_ended => return None,
            Some(channel) => channel.beat_due.into_iter().chain(channel.ends_at).min(),
            None => Some(self.away_until),
        };
        own.into_iter().chain(self.token_due).min()
    }

    fn is_saturated(&self) -> bool {
        self.running >= self.settings.parallel_calls.get()
    }

    fn wants_tokens(&self) -> bool {
        true
    }

    fn send_timeout(&self) -> Duration {
        self.settings.send_timeout
    }

    fn calls(&self) -> usize {
        self.running
    }

    fn phase(&self) -> &'static str {
        match &self.channel {
            _ if self.has_ended => "ended",
            None => "away",
            Some(_) if self.welcomed == Stage::Done => "open",
            Some(_) => "connecting",
        }
    }
}
