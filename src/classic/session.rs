//! The pure half of a classic connection: how long it lives, what its client is told of itself, and what
//! becomes of its calls.
//!
//! A connection begins with the first request that needs it, has one channel at a time or none, and ends
//! when its client says good-bye, or has had no channel for too long.

use std::{sync::Arc, time::Duration};

use tokio::{sync::Mutex, time::Instant};

use super::{
    Settings,
    cursor::Cursor,
    message,
    query::{ConnectKind, Transport},
};
use crate::{
    connection::{ConnectError, Dialect, Effect, Effects, Ending, Event, Reason},
    hub::{HubBehavior, HubError, bind::Binding},
    outbox::{End, Resume},
    transport::{Inbound, Received},
};

mod attached;
mod calls;
mod channel;
mod groups_token;
mod start;

pub(super) use attached::{ChannelAttached, ResumePosition};
use calls::{Calls, PendingInvocation};
pub(super) use calls::{Incoming, Report, To, TooManyInvocations};
use channel::Channel;
use groups_token::GroupsTokenState;
use start::StartState;
pub(super) use start::{StartError, StartReply};

/// Wire: how much longer than the timeout the original waits for a stream to come back.
pub(super) const GRACE: Duration = Duration::from_secs(5);

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

/// See the module's documentation.
pub(crate) struct Session {
    settings: Arc<Settings>,
    calls: Calls,
    news: GroupsTokenState,
    epoch: Arc<str>,
    channel: Option<Channel>,
    has_had_channel: bool,
    /// Whose turn it is that wants a channel.
    turns: Arc<Mutex<()>>,
    /// When the connection ends that has no channel.
    away_until: Instant,
    welcome: StartState,
    /// The client waits for its first frame, which comes after OnConnected, on whatever channel it has then.
    owes_init: bool,
    /// A hub has ended the connection that its client believes to have.
    is_dismissed: bool,
    remember: Remember,
    has_ended: bool,
}

/// Remembers that a hub has ended the connection while its client was away.
type Remember = Box<dyn Fn(Instant) + Send>;

/// What a session begins with.
pub(super) struct SessionConfig {
    pub(super) settings: Arc<Settings>,
    pub(super) report: Report,
    /// How long a groups token is good.
    pub(super) token_lifetime: Duration,
    /// A connection of that name was ended by a hub not long ago, and its client was away.
    pub(super) is_dismissed: bool,
    pub(super) remember: Remember,
}

type Out = Effects<Session>;

impl Session {
    pub(super) fn new(begin: SessionConfig, now: Instant) -> Self {
        let SessionConfig { settings, report, token_lifetime, is_dismissed, remember } = begin;
        Self {
            calls: Calls::new(Arc::clone(&settings), report),
            news: GroupsTokenState::new(token_lifetime),
            epoch: crate::ids::secret().chars().filter(char::is_ascii_alphanumeric).take(8).collect::<String>().into(),
            channel: None,
            has_had_channel: false,
            turns: Arc::default(),
            away_until: now + settings.disconnect_timeout + GRACE,
            welcome: StartState::default(),
            owes_init: false,
            is_dismissed,
            remember,
            has_ended: false,
            settings,
        }
    }

    /// What makes this connection's cursors its own.
    pub(super) fn epoch(&self) -> &Arc<str> {
        &self.epoch
    }

    /// How long a client pauses between two polls.
    pub(super) fn pause(&self) -> Duration {
        self.settings.long_poll_delay
    }

    /// True if the connection has had a channel in this process.
    pub(super) fn has_had_channel(&self) -> bool {
        self.has_had_channel
    }

    /// True if all that is left to do is to send the client away.
    pub(super) fn is_dismissed(&self) -> bool {
        self.is_dismissed
    }

    /// True while a channel is there that is no poll.
    pub(super) fn has_stream(&self) -> bool {
        self.channel.as_ref().is_some_and(|channel| !channel.is_poll())
    }

    /// The line of requests for a channel.
    pub(super) fn turns(&self) -> &Arc<Mutex<()>> {
        &self.turns
    }

    /// Where a channel begins whose client brings this cursor, and whether that is where its client was.
    pub(super) fn place(&self, cursor: Option<&str>) -> (Resume, ResumePosition) {
        match cursor.map(Cursor::parse) {
            _ if self.is_dismissed => (Resume::Tail, ResumePosition::Unsaid),
            None if self.has_had_channel => (Resume::Tail, ResumePosition::Unsaid),
            None => (Resume::Waiting, ResumePosition::Unsaid),
            Some(Some(Cursor { epoch, at })) if *epoch == *self.epoch => (Resume::From(at), ResumePosition::Known),
            Some(_) => (Resume::Tail, ResumePosition::Lost),
        }
    }

    /// A channel is there.
    pub(super) fn attached(&mut self, attached: &ChannelAttached, now: Instant) -> Out {
        let awaits_welcome = attached.arrival == ConnectKind::Connect && !attached.asks_for_start;
        self.has_had_channel = true;
        self.channel = Some(Channel::new(attached, &self.settings, now));
        if self.is_dismissed {
            return self.dismiss(now);
        }
        self.owes_init |= awaits_welcome;
        let mut out = self.greet(attached);
        out.append(&mut self.pay_init());
        out.append(&mut self.news.catch_up(attached));
        if attached.is_fresh {
            self.welcome.restored(false);
            out.append(&mut self.calls.release());
        }
        out.append(&mut if awaits_welcome { self.welcome.begin() } else { self.welcome.restore() });
        out
    }

    /// The first frame of a channel, as far as one is due, and the event that it is to hubs.
    fn greet(&self, attached: &ChannelAttached) -> Out {
        let is_poll = attached.transport == Transport::LongPolling && attached.arrival == ConnectKind::Other;
        match attached.arrival {
            ConnectKind::Connect if self.owes_init => Vec::new(),
            ConnectKind::Connect => vec![Effect::Open(INIT.into())],
            ConnectKind::Reconnect | ConnectKind::Other => {
                let mut out = Vec::new();
                if attached.place != ResumePosition::Known {
                    out.push(Effect::Open([].into()));
                }
                if !is_poll || attached.is_fresh {
                    out.push(Effect::Reconnect { has_gap: attached.place == ResumePosition::Lost });
                }
                out
            }
        }
    }

    /// Says the first frame that is owed, once OnConnected has run and there is a channel.
    fn pay_init(&mut self) -> Out {
        let pays = self.owes_init && self.welcome.is_done() && self.channel.is_some();
        self.owes_init &= !pays;
        pays.then(|| Effect::Open(INIT.into())).into_iter().collect()
    }

    /// True if nobody has asked for OnConnected yet.
    pub(super) fn is_unstarted(&self) -> bool {
        self.welcome.is_ahead()
    }

    /// The client asks for its OnConnected.
    pub(super) fn start(&mut self, waiter: StartReply) -> Out {
        self.welcome.begin_for(waiter)
    }

    fn restored(&mut self, outcome: Result<(), ConnectError>) -> Out {
        match outcome {
            Ok(()) => self.welcome.restored(self.owes_init).into_iter().chain(self.calls.release()).collect(),
            Err(refused) => self.refuse(&refused),
        }
    }

    fn connected(&mut self, outcome: Result<(), ConnectError>) -> Out {
        if let Err(refused) = outcome {
            return self.refuse(&refused);
        }
        self.welcome.settle(&Ok(()));
        self.pay_init()
    }

    fn refuse(&mut self, refused: &ConnectError) -> Out {
        self.welcome.settle(&Err(StartError::of(refused, self.settings.detailed_errors)));
        self.end(Reason::Refused, NORMAL)
    }

    /// The client says good-bye.
    pub(super) fn stopped(&mut self) -> Out {
        self.end(Reason::Stopped, NORMAL)
    }

    /// Wire: what comes over a channel that was replaced, or is being closed, is passed over.
    fn received(&mut self, received: &Received) -> Out {
        let Some(channel) = self.channel.as_mut().filter(|it| it.number == received.channel && !it.is_closing) else {
            return Vec::new();
        };
        match &received.data {
            Inbound::Text(bytes) => {
                let text = String::from_utf8_lossy(bytes);
                // Wire: what is no call, or is for no hub, is passed over; there is nothing to answer to.
                let Ok(call) = message::decode(&text) else { return Vec::new() };
                let Some(hub) = channel.callable.find(&call.hub).cloned() else { return Vec::new() };
                let incoming = Incoming { hub, call, to: To::Channel(received.channel), request: None };
                self.call(incoming).unwrap_or_default()
            }
            Inbound::Binary(_) => channel.close(NO_BINARY),
            Inbound::TooLarge => channel.close(TOO_LARGE),
        }
    }

    /// A call has come in. It is acted on when the durable groups are joined.
    pub(super) fn call(&mut self, incoming: Incoming) -> Result<Out, TooManyInvocations> {
        if self.welcome.is_restored() {
            return self.calls.take(incoming);
        }
        self.calls.hold(incoming)?;
        Ok(self.welcome.restore())
    }

    fn channel_number(&self) -> Option<u32> {
        self.channel.as_ref().map(|channel| channel.number)
    }

    fn tick(&mut self, now: Instant) -> Out {
        let mut out = match &mut self.channel {
            Some(channel) => channel.beat(&self.settings, now),
            None if now >= self.away_until => return self.end(Reason::Lost, NORMAL),
            None => Vec::new(),
        };
        out.append(&mut self.news.renew(now));
        out
    }

    fn detached(&mut self, now: Instant) -> Out {
        if let Some(channel) = self.channel.take() {
            let grace = if channel.is_poll() { self.settings.long_poll_delay } else { GRACE };
            self.away_until = now + self.settings.disconnect_timeout + grace;
        }
        Vec::new()
    }

    fn drain(&mut self) -> Out {
        let is_polling = self.channel.as_ref().is_some_and(Channel::is_poll);
        let word = is_polling.then(|| Effect::Open(LEAVING.into()));
        word.into_iter().chain(self.end(Reason::Drained, NORMAL)).collect()
    }

    /// A hub ends the connection. Its client is told on the channel that it has, or on the next that it asks for.
    fn dismiss(&mut self, now: Instant) -> Out {
        if self.channel.is_none() {
            (self.remember)(now);
        }
        let mut out = vec![Effect::Open(DISMISSED.into())];
        out.append(&mut self.end(Reason::Aborted, NORMAL));
        out
    }

    /// Ends the connection; without a channel nothing is left to wait for.
    fn end(&mut self, reason: Reason, end: End) -> Out {
        self.has_ended = true;
        self.welcome.give_up();
        let ending = Ending { reason, error: None, end };
        let cut = self.channel.is_none().then_some(Effect::Cut);
        [Effect::End(ending)].into_iter().chain(cut).collect()
    }

    fn reconnected(&mut self, outcome: &Result<(), HubError>) -> Out {
        match (outcome, &mut self.channel) {
            // The client comes back and asks again.
            (Err(_), Some(channel)) => channel.close(NORMAL),
            (Err(_), None) | (Ok(()), _) => Vec::new(),
        }
    }
}

impl Dialect for Session {
    type PendingInvocation = PendingInvocation;

    const BEHAVIOR: HubBehavior = HubBehavior { binding: Binding::Lenient, refuses_empty_group: true };

    fn on(&mut self, event: Event<PendingInvocation>, now: Instant) -> Out {
        if self.has_ended {
            return Vec::new();
        }
        match event {
            Event::Received(received) => self.received(&received),
            Event::Tick => self.tick(now),
            Event::Restored(outcome) => self.restored(outcome),
            Event::Connected(outcome) => self.connected(outcome),
            Event::Returned(ticket, result) => self.calls.returned(ticket, &result, self.channel_number()),
            Event::Reconnected(outcome) => self.reconnected(&outcome),
            Event::Detached => self.detached(now),
            Event::Overflowed => self.end(Reason::TooSlow, TOO_SLOW),
            Event::GroupsChanged(regrouped) => self.news.regrouped(regrouped, now),
            Event::Aborted => self.dismiss(now),
            Event::Draining => self.drain(),
        }
    }

    fn deadline(&self) -> Option<Instant> {
        let own = match &self.channel {
            _ if self.has_ended => return None,
            Some(channel) => channel.deadline(),
            None => Some(self.away_until),
        };
        own.into_iter().chain(self.news.renewal_due()).min()
    }

    fn is_saturated(&self) -> bool {
        self.calls.is_saturated()
    }

    fn wants_tokens(&self) -> bool {
        true
    }

    fn queues_answer(ticket: &PendingInvocation) -> bool {
        ticket.goes_to_a_channel()
    }

    fn send_timeout(&self) -> Duration {
        self.settings.send_timeout
    }

    fn calls(&self) -> usize {
        self.calls.running()
    }

    fn phase(&self) -> &'static str {
        match &self.channel {
            _ if self.has_ended => "ended",
            None => "away",
            Some(_) if self.welcome.is_done() => "open",
            Some(_) => "connecting",
        }
    }
}

#[cfg(test)]
mod tests;
