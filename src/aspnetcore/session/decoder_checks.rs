//! Checks of the bytes that a client sends to a session, in any parts.

use std::collections::VecDeque;

use super::*;
use crate::{
    aspnetcore::protocol::Framing,
    connection::{Channel, ChannelAttached, Ending},
    hub::Streams,
    payload::{Format, Payload},
    transport::Transport,
};

mod raw;
mod stateful_reconnect;

pub use raw::raw_input;
pub use stateful_reconnect::stateful_reconnect;

/// Inputs up to this length are also passed byte by byte.
const MAX_SINGLE_BYTES: usize = 4096;

/// Passes bytes to the framing and to a session: all at once, in two parts, and byte by byte. The first byte of the
/// input selects the message limit, whether stateful reconnect was negotiated, and where the others are cut.
///
/// # Panics
/// If the parts make a difference, a message exceeds the limit, or the session acts after it has ended.
pub fn session_input(input: &[u8]) {
    let Some((selector, input)) = input.split_first() else { return };
    let setup = Setup { limit: if selector & 1 == 0 { 32 * 1024 } else { 128 }, can_reconnect: selector & 2 != 0 };
    let (head, tail) = input.split_at(input.len() * usize::from(*selector) / 256);
    check_parts(input, [head, tail].into_iter(), setup);
    if input.len() <= MAX_SINGLE_BYTES {
        check_parts(input, input.chunks(1), setup);
    }
}

/// How a session is set up.
#[derive(Clone, Copy)]
struct Setup {
    /// The longest message that it accepts.
    limit: usize,
    /// Stateful reconnect was negotiated.
    can_reconnect: bool,
}

impl Setup {
    fn config(self) -> SessionConfig {
        let settings = Settings { max_message: Some(self.limit), detailed_errors: true, ..Settings::default() };
        SessionConfig {
            settings: Arc::new(settings),
            hub: Arc::new(Hub::new("chat")),
            wants_tokens: false,
            token_lifetime: Duration::from_secs(60),
            fixed_protocol: None,
            early_data: Bytes::new(),
            can_reconnect: self.can_reconnect,
        }
    }
}

fn check_parts<'a>(whole: &'a [u8], parts: impl Iterator<Item = &'a [u8]> + Clone, setup: Setup) {
    for framing in [Framing::Separator, Framing::LengthPrefix] {
        let whole = split(framing, [whole].into_iter(), setup.limit);
        assert_eq!(split(framing, parts.clone(), setup.limit), whole, "{framing:?}");
    }
    assert_eq!(CheckedSession::run(parts, setup), CheckedSession::run([whole].into_iter(), setup));
}

/// The messages in these bytes, and the error behind them.
fn split<'a>(
    framing: Framing,
    parts: impl Iterator<Item = &'a [u8]>,
    limit: usize,
) -> (Vec<Bytes>, Option<FramingError>) {
    let (mut buffer, mut messages) = (MessageBuffer::new(Some(limit)), Vec::new());
    for part in parts {
        buffer.append(&Bytes::copy_from_slice(part));
        loop {
            match buffer.next_message(framing) {
                Ok(Some(message)) => messages.push(message),
                Ok(None) => break,
                Err(error) => return (messages, Some(error)),
            }
            assert!(messages.last().is_some_and(|message| message.len() < limit), "the limit includes the framing");
        }
    }
    (messages, None)
}

/// The content of a buffer that holds one message.
///
/// # Panics
/// If it holds anything else.
pub(in crate::aspnetcore) fn only_message(framing: Framing, bytes: &[u8]) -> Bytes {
    let (messages, error) = split(framing, [bytes].into_iter(), usize::MAX);
    assert!(error.is_none() && messages.len() == 1, "{error:?} after {} messages", messages.len());
    messages.into_iter().next().unwrap_or_default()
}

/// A new channel. Each of these transports carries messages of both formats.
fn channel(transport: Transport, number: u32) -> ChannelAttached<Session> {
    ChannelAttached {
        channel: Channel { number, transport },
        request: ChannelRequest { expires: None },
        is_first: number == 1,
        is_rejoined: false,
        has_gap: false,
        has_unsent_token: false,
        has_current_token: true,
    }
}

/// A session whose calls return when all input has been passed.
struct CheckedSession {
    inner: Session,
    now: Instant,
    limit: usize,
    running_calls: VecDeque<u64>,
    /// The number of calls with streams so far.
    calls_with_streams: usize,
    format: Format,
    effects: Vec<String>,
}

impl CheckedSession {
    /// Passes the input and returns the effects.
    fn run<'a>(parts: impl Iterator<Item = &'a [u8]>, setup: Setup) -> Vec<String> {
        let mut session = Self::new(setup);
        for part in parts {
            session.on(Event::Posted(Bytes::copy_from_slice(part)));
        }
        while let Some(number) = session.running_calls.pop_front() {
            let result = Payload::encode(session.format, &()).expect("nil has an encoding");
            session.on(Event::Returned(number, Ok(result)));
        }
        session.effects
    }

    fn new(setup: Setup) -> Self {
        let now = Instant::now();
        let (inner, limit) = (Session::new(setup.config(), now), setup.limit);
        let (running_calls, format, effects) = (VecDeque::new(), Format::Json, Vec::new());
        let mut session = Self { inner, now, limit, running_calls, calls_with_streams: 0, format, effects };
        session.on(Event::Attached(channel(Transport::LongPolling, 1)));
        session
    }

    fn on(&mut self, event: Event<Session>) {
        let had_ended = self.inner.state == State::Ended;
        for effect in self.inner.on(event, self.now) {
            assert!(!had_ended, "{effect:?} after the end");
            self.apply(effect);
        }
        assert!(self.running_calls.len() <= 1 + self.calls_with_streams, "one plain call runs at a time");
    }

    fn apply(&mut self, effect: Effect<Session>) {
        match effect {
            Effect::SetEncoding(encoding) => self.format = encoding.form.format,
            Effect::RestoreGroups => {
                self.effects.push("connect".into());
                self.on(Event::Restored(Ok(())));
            }
            Effect::RunConnected => {
                self.on(Event::Connected(Ok(())));
            }
            Effect::Send(bytes) => self.effects.push(format!("send {}", bytes.escape_ascii())),
            Effect::Invoke(invoke) => {
                let arguments: Vec<_> = invoke.arguments.iter().map(Payload::as_bytes).collect();
                let arguments = arguments.join(&b',');
                assert!(invoke.method.len() + arguments.len() < 3 * self.limit, "a message exceeds the limit");
                self.effects.push(format!("call {:?} {}", invoke.method, arguments.escape_ascii()));
                self.calls_with_streams += usize::from(invoke.streams != Streams::default());
                self.running_calls.push_back(invoke.number);
            }
            Effect::End(Ending { reason, end, .. }) => self.effects.push(format!("end {reason:?} {}", end)),
            _ => {}
        }
    }
}
