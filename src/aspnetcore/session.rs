//! The pure half of an ASP.NET Core connection: what its client may do when, and what it is told.
//!
//! ```text
//! handshake → connecting (OnConnected runs) → open → ended
//!                                               ├→ leaving (the client has gone, what it called still runs)
//!                                               └→ faulted (what it called before its fault is still answered)
//! ```

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{
    Settings, handshake,
    json::{self, ClientMessage},
};
use crate::{
    connection::{ConnectError, Dialect, Effect, Effects, Ending, Event, GroupsChanged, Invoke, Reason},
    hub::{Hub, HubBehavior, HubError, Streams},
    outbox::End,
    transport::Inbound,
};

mod calls;
mod clock;
mod error_messages;
mod record_buffer;

use error_messages::{ErrorMessages, PendingInvocation};
use record_buffer::{RecordBuffer, TooLarge};

/// How long calls that came before a fault may take to be answered before the client is told of it.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

/// Wire: 1000 whatever happened; the reason was said in the Close message before.
const NORMAL: End = End { code: 1000 };

/// Wire: 1008, policy violation, to a client that does not read.
const TOO_SLOW: End = End { code: 1008 };

/// Wire: the client method that takes a rejoin token. It carries a colon, which no method of a hub written
/// in a common language can.
const REJOIN_TOKEN: &str = "hubcast:rejoinToken";

/// Wire: what every client is told of a fault; more only where detailed errors are on.
const CLOSED_WITH_ERROR: &str = "Connection closed with an error.";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Handshake,
    Connecting { has_client: bool },
    Open,
    Leaving,
    Faulted,
    Ended,
}

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Session {
    settings: Arc<Settings>,
    hub: Arc<Hub>,
    wants_tokens: bool,
    token_lifetime: Duration,
    state: State,
    inbox: RecordBuffer,
    texts: ErrorMessages,
    running: usize,
    /// A call that waits for its turn; nothing behind it is read.
    next: Option<(PendingInvocation, Invoke)>,
    handshake_due: Instant,
    ping_due: Instant,
    /// When the client was last heard of, once it has pinged: one that never does is never timed out.
    heard: Option<Instant>,
    expires: Option<Instant>,
    token_due: Option<Instant>,
    /// What the client did wrong, and until when calls from before are waited for.
    fault: Option<(HubError, Instant)>,
}

type Out = Effects<Session>;

impl Session {
    /// A connection whose transport has just come up.
    pub(crate) fn new(opened: SessionConfig, now: Instant) -> Self {
        let SessionConfig { settings, hub, wants_tokens, token_lifetime, expires } = opened;
        Self {
            hub,
            wants_tokens,
            token_lifetime,
            state: State::Handshake,
            inbox: RecordBuffer::new(settings.max_message),
            texts: ErrorMessages { is_detailed: settings.detailed_errors },
            running: 0,
            next: None,
            handshake_due: now + settings.handshake_timeout,
            ping_due: now + settings.keep_alive,
            heard: None,
            expires,
            token_due: None,
            fault: None,
            settings,
        }
    }

    fn receive(&mut self, data: &Inbound, now: Instant) -> Out {
        match data {
            Inbound::Text(bytes) | Inbound::Binary(bytes) => self.inbox.put(bytes),
            Inbound::TooLarge => return self.too_large(now),
        }
        match self.state {
            State::Handshake => self.shake_hands(now),
            State::Open => self.read_on(now),
            State::Connecting { .. } | State::Leaving | State::Faulted | State::Ended => Vec::new(),
        }
    }

    fn too_large(&mut self, now: Instant) -> Out {
        match self.state {
            State::Handshake => self.refuse_handshake(handshake::CANCELLED),
            _ => self.misbehaved(self.inbox.size_error(), now),
        }
    }

    /// The client did something wrong. It is told so when the calls that came before are answered.
    fn misbehaved(&mut self, error: HubError, now: Instant) -> Out {
        if self.running == 0 {
            return self.fault(error, Reason::Faulted);
        }
        self.state = State::Faulted;
        self.inbox.clear();
        self.fault = Some((error, now + LAST_ANSWERS));
        Vec::new()
    }

    fn tell_fault(&mut self) -> Out {
        let fault = self.fault.take();
        fault.map_or_else(Vec::new, |(error, _)| self.fault(error, Reason::Faulted))
    }

    fn shake_hands(&mut self, now: Instant) -> Out {
        let record = match self.inbox.next() {
            Ok(None) => return Vec::new(),
            Ok(Some(record)) => record,
            Err(TooLarge) => return self.refuse_handshake(handshake::CANCELLED),
        };
        match handshake::check(&record) {
            Ok(()) => {
                self.state = State::Connecting { has_client: true };
                self.ping_due = now + self.settings.keep_alive;
                vec![Effect::Send(handshake::ACCEPTED.into()), Effect::Connect]
            }
            Err(handshake::HandshakeError::NotOffered(text)) => self.refuse_handshake(&text),
            Err(handshake::HandshakeError::Unreadable(error)) => {
                let text = self.texts.told("An unexpected error occurred during connection handshake.", &error);
                self.refuse_handshake(&text)
            }
        }
    }

    fn refuse_handshake(&mut self, text: &str) -> Out {
        self.state = State::Ended;
        let ending = Ending { reason: Reason::Refused, error: None, end: NORMAL };
        vec![Effect::Send(handshake::refused(text)), Effect::End(ending)]
    }

    /// Acts on all messages that have come in whole, up to a call that has to wait for its turn.
    fn read_on(&mut self, now: Instant) -> Out {
        let mut out = Vec::new();
        while self.state == State::Open && self.next.is_none() {
            match self.inbox.next() {
                Ok(Some(record)) => out.append(&mut self.act(&record, now)),
                Ok(None) => break,
                Err(TooLarge) => out.append(&mut self.too_large(now)),
            }
        }
        out
    }

    fn act(&mut self, record: &[u8], now: Instant) -> Out {
        self.heard = self.heard.map(|_| now);
        match json::decode(record) {
            Ok(ClientMessage::Invocation { id, target, arguments, streams, wants_stream }) => {
                let streams = Streams { sent: streams, wants_answer: wants_stream };
                let invoke = self.invoke(target.clone(), arguments, streams);
                self.call(PendingInvocation { id, target }, invoke)
            }
            Ok(ClientMessage::Ping) => {
                self.heard = Some(now);
                Vec::new()
            }
            Ok(ClientMessage::Close { error }) => self.close(Reason::Stopped, error.map(HubError::new), false),
            Ok(ClientMessage::Ignored) => Vec::new(),
            Err(error) => self.misbehaved(error, now),
        }
    }

    fn connected(&mut self, outcome: Result<(), ConnectError>, now: Instant) -> Out {
        let has_client = self.state == State::Connecting { has_client: true };
        match outcome {
            Ok(()) if has_client => {
                self.state = State::Open;
                self.read_on(now)
            }
            Ok(()) => self.leave(now),
            Err(ConnectError { error, is_retryable }) => {
                let text = self.texts.told(CLOSED_WITH_ERROR, &error);
                self.end(Reason::Refused, None, Some(json::close(Some(&text), is_retryable)))
            }
        }
    }

    fn detached(&mut self, now: Instant) -> Out {
        match self.state {
            State::Handshake => self.lost(),
            State::Connecting { .. } => {
                self.state = State::Connecting { has_client: false };
                vec![Effect::Forsake]
            }
            State::Open if self.next.is_some() => {
                self.state = State::Leaving;
                vec![Effect::Forsake]
            }
            State::Open => self.leave(now),
            State::Faulted => self.tell_fault(),
            State::Leaving | State::Ended => Vec::new(),
        }
    }

    fn lost(&mut self) -> Out {
        let is_cut_short = self.state != State::Handshake && !self.inbox.is_empty();
        let error = is_cut_short
            .then(|| HubError::hidden("InvalidDataException", "Connection terminated while reading a message."));
        self.end(Reason::Lost, error, None)
    }

    fn fault(&mut self, error: HubError, reason: Reason) -> Out {
        let text = self.texts.told(CLOSED_WITH_ERROR, &error);
        self.end(reason, Some(error), Some(json::close(Some(&text), true)))
    }

    fn close(&mut self, reason: Reason, error: Option<HubError>, allows_reconnect: bool) -> Out {
        self.end(reason, error, Some(json::close(None, allows_reconnect)))
    }

    fn end(&mut self, reason: Reason, error: Option<HubError>, last_word: Option<Box<[u8]>>) -> Out {
        self.state = State::Ended;
        self.inbox.clear();
        let end = if reason == Reason::TooSlow { TOO_SLOW } else { NORMAL };
        last_word.map(Effect::Send).into_iter().chain([Effect::End(Ending { reason, error, end })]).collect()
    }

    fn regrouped(&mut self, GroupsChanged { token, .. }: &GroupsChanged, now: Instant) -> Out {
        // The client is given a new token while the old one still has half of its life.
        self.token_due = Some(now + self.token_lifetime / 2);
        vec![Effect::Send(json::call(REJOIN_TOKEN, token))]
    }
}

impl Dialect for Session {
    type PendingInvocation = PendingInvocation;

    const BEHAVIOR: HubBehavior =
        HubBehavior { binding: crate::hub::bind::Binding::Strict, refuses_empty_group: false };

    fn on(&mut self, event: Event<PendingInvocation>, now: Instant) -> Out {
        if self.state == State::Ended {
            return Vec::new();
        }
        match event {
            Event::Received(received) => self.receive(&received.data, now),
            Event::Tick => self.tick(now),
            Event::Connected(outcome) => self.connected(outcome, now),
            Event::Returned(ticket, result) => self.returned(&ticket, result, now),
            Event::Detached => self.detached(now),
            Event::Overflowed => self.end(Reason::TooSlow, None, None),
            Event::GroupsChanged(regrouped) => self.regrouped(&regrouped, now),
            Event::Aborted => self.close(Reason::Aborted, None, false),
            Event::Draining => self.close(Reason::Drained, None, true),
            Event::Restored(_) | Event::Reconnected(_) => Vec::new(),
        }
    }

    fn deadline(&self) -> Option<Instant> {
        self.next_deadline()
    }

    fn is_saturated(&self) -> bool {
        // What waits while the session reads on is the beginning of one message.
        let reads_on = matches!(self.state, State::Handshake | State::Open) && self.next.is_none();
        !reads_on && self.inbox.is_full()
    }

    fn wants_tokens(&self) -> bool {
        self.wants_tokens
    }

    fn queues_answer(ticket: &PendingInvocation) -> bool {
        ticket.id.is_some()
    }

    fn send_timeout(&self) -> Duration {
        self.settings.send_timeout
    }

    fn calls(&self) -> usize {
        self.running + usize::from(self.next.is_some())
    }

    fn phase(&self) -> &'static str {
        match self.state {
            State::Handshake => "handshake",
            State::Connecting { .. } => "connecting",
            State::Open => "open",
            State::Leaving => "leaving",
            State::Faulted => "faulted",
            State::Ended => "ended",
        }
    }
}

/// What a session begins with.
#[derive(Debug)]
pub(crate) struct SessionConfig {
    pub(crate) settings: Arc<Settings>,
    pub(crate) hub: Arc<Hub>,
    /// The client has asked for rejoin tokens.
    pub(crate) wants_tokens: bool,
    /// How long a rejoin token is good.
    pub(crate) token_lifetime: Duration,
    /// When the connection ends with the client's proof of identity, if it does.
    pub(crate) expires: Option<Instant>,
}

#[cfg(test)]
mod tests;
