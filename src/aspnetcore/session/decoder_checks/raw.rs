//! Checks of the bytes that a client sends to an endpoint without a hub protocol.

use super::*;
use crate::{Binary, aspnetcore::protocol::raw::RawProtocol};

/// The longest chunk that a hub method receives.
const LIMIT: usize = 128;

/// Passes bytes to a session without a hub protocol: all at once, in two parts, and byte by byte. The first byte of the
/// input selects where they are cut.
///
/// # Panics
/// If the hub method does not receive these bytes in order and in chunks within the limit, or the client does not receive
/// what the method returns.
pub fn raw_input(input: &[u8]) {
    let Some((selector, input)) = input.split_first() else { return };
    let (head, tail) = input.split_at(input.len() * usize::from(*selector) / 256);
    check(input, [input].into_iter());
    check(input, [head, tail].into_iter());
    if input.len() <= MAX_SINGLE_BYTES {
        check(input, input.chunks(1));
    }
}

fn check<'a>(whole: &[u8], parts: impl Iterator<Item = &'a [u8]>) {
    let setup = Setup { limit: LIMIT, can_reconnect: false };
    let config = SessionConfig { fixed_protocol: Some(&RawProtocol), ..setup.config() };
    let now = Instant::now();
    let mut session = RawSession { inner: Session::new(config, now), now, received: Vec::new(), sent: Vec::new() };
    session.on(Event::Attached(channel(Transport::LongPolling, 1)));
    for part in parts {
        session.on(Event::Posted(Bytes::copy_from_slice(part)));
    }
    assert!(session.received == whole && session.sent == whole, "the bytes return as they are");
}

/// A session whose hub method returns what it receives.
struct RawSession {
    inner: Session,
    now: Instant,
    received: Vec<u8>,
    sent: Vec<u8>,
}

impl RawSession {
    fn on(&mut self, event: Event<Session>) {
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            let effects = self.inner.on(event, self.now);
            events.extend(effects.into_iter().filter_map(|effect| self.apply(effect)));
        }
    }

    /// Returns the event that follows.
    fn apply(&mut self, effect: Effect<Session>) -> Option<Event<Session>> {
        match effect {
            Effect::RestoreGroups => Some(Event::Restored(Ok(()))),
            Effect::RunConnected => Some(Event::Connected(Ok(()))),
            Effect::Invoke(invoke) => {
                let argument = invoke.arguments.iter().next().expect("the method has an argument").clone();
                let Binary(chunk) = argument.decode().expect("the argument is bytes");
                assert!(!chunk.is_empty() && chunk.len() <= LIMIT, "a chunk of {} bytes", chunk.len());
                self.received.extend(chunk);
                Some(Event::Returned(invoke.number, Ok(argument)))
            }
            Effect::Send(bytes) => {
                self.sent.extend(bytes);
                None
            }
            Effect::SetEncoding(_) => None,
            other => panic!("unexpected effect: {other:?}"),
        }
    }
}
