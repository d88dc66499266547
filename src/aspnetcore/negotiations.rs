//! Which transports may be opened with the connection tokens that negotiation has issued.
//!
//! A token proves itself ([`Ticket`]), so a negotiation leaves nothing behind. The process remembers only tokens with
//! which a transport was opened, and the data that clients have sent before it.

use std::{
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::BytesMut;

mod early_data;
mod ticket;
mod used;

use early_data::EarlyData;
pub(crate) use early_data::MAX_EARLY_BYTES;
pub(crate) use ticket::{IdKind, Seconds, Ticket, TicketKind, TokenBytes};
use used::UsedTokens;

use crate::tokens::SharedKeyRing;

/// The tokens of one process.
#[derive(Debug)]
pub(crate) struct Negotiations {
    ring: SharedKeyRing,
    /// The time in seconds within which a transport must be opened.
    lifetime: u32,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    used: UsedTokens,
    early_data: EarlyData,
}

/// The status of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TokenStatus {
    /// The token has expired, or its connection has ended.
    Unknown,
    /// Its connection has no transport yet.
    Pending,
    /// Its connection has a transport.
    Open,
}

/// A token that opened a transport. The token is used up when this is dropped.
#[derive(Debug)]
pub(crate) struct OpenToken {
    ticket: Ticket,
    state: Arc<Mutex<State>>,
}

impl Drop for OpenToken {
    fn drop(&mut self) {
        lock(&self.state).used.end(&self.ticket, Seconds::now());
    }
}

/// A panic under the lock leaves at worst one token that counts as used.
fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Negotiations {
    /// A transport must be opened within `lifetime`, rounded up to seconds.
    pub(crate) fn new(ring: SharedKeyRing, lifetime: Duration) -> Self {
        let lifetime = u32::try_from(lifetime.as_millis().div_ceil(1_000)).unwrap_or(u32::MAX);
        Self { ring, lifetime, state: Arc::default() }
    }

    /// A ticket for a new connection at the endpoint with this path.
    pub(crate) fn issue(&self, path: &str, kind: impl Into<TicketKind>, now: Seconds) -> Ticket {
        Ticket::issue(&self.ring.current(), path, now.plus(self.lifetime), kind.into())
    }

    /// The ticket of a token that was issued for the endpoint with this path.
    pub(crate) fn verify(&self, token: &str, path: &str) -> Option<Ticket> {
        Ticket::open(&self.ring.current(), path, token)
    }

    pub(crate) fn status(&self, ticket: &Ticket, now: Seconds) -> TokenStatus {
        match lock(&self.state).used.is_open(ticket) {
            Some(true) => TokenStatus::Open,
            None if ticket.expires > now => TokenStatus::Pending,
            Some(false) | None => TokenStatus::Unknown,
        }
    }

    /// Buffers bytes that arrived before the transport. Returns false if the token cannot open a transport, or if the
    /// bytes exceed the limit of this connection, of the client's address or of all connections together.
    pub(crate) fn buffer_early_data(
        &self,
        ticket: &Ticket,
        bytes: &[u8],
        address: Option<IpAddr>,
        now: Seconds,
    ) -> bool {
        let mut state = lock(&self.state);
        if state.used.is_open(ticket).is_some() || ticket.expires <= now {
            return false;
        }
        state.early_data.add(ticket, bytes, address, now)
    }

    /// Opens the connection of a ticket, once. Returns the use of its token, and the early data. Returns `None` if the
    /// token has expired or was used before.
    pub(crate) fn open(&self, ticket: &Ticket, now: Seconds) -> Option<(OpenToken, BytesMut)> {
        let mut state = lock(&self.state);
        if ticket.expires <= now || !state.used.open(ticket, now) {
            return None;
        }
        let early_data = state.early_data.take(ticket, now);
        drop(state);
        Some((OpenToken { ticket: ticket.clone(), state: Arc::clone(&self.state) }, early_data))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tokens::KeyRing;

    const LIFETIME: Duration = Duration::from_secs(15);
    const NOW: Seconds = Seconds(1_000_000_000);

    fn negotiations() -> Negotiations {
        Negotiations::new(SharedKeyRing::new(KeyRing::ephemeral()), LIFETIME)
    }

    #[test]
    fn token_opens_one_connection_until_it_ends() {
        // The end of a connection reads the clock.
        let (negotiations, now) = (negotiations(), Seconds::now());
        let ticket = negotiations.issue("/chat", IdKind::Separate, now);
        assert_eq!(negotiations.verify(&ticket.token(), "/chat").as_ref(), Some(&ticket));
        assert_eq!(negotiations.status(&ticket, now), TokenStatus::Pending);
        let (open_token, _) = negotiations.open(&ticket, now).unwrap();
        assert_eq!(negotiations.status(&ticket, now), TokenStatus::Open);
        assert!(negotiations.open(&ticket, now).is_none(), "a second connection");
        let later = negotiations.status(&ticket, now.plus(45));
        assert_eq!(later, TokenStatus::Open, "an open connection keeps its token");
        drop(open_token);
        assert_eq!(negotiations.status(&ticket, now), TokenStatus::Unknown);
        assert!(negotiations.open(&ticket, now).is_none(), "a connection after the end");
    }

    #[test]
    fn unused_token_expires() {
        let negotiations = negotiations();
        let ticket = negotiations.issue("/chat", IdKind::Separate, NOW);
        assert_eq!(negotiations.status(&ticket, NOW.plus(14)), TokenStatus::Pending);
        assert_eq!(negotiations.status(&ticket, NOW.plus(15)), TokenStatus::Unknown);
        assert!(negotiations.open(&ticket, NOW.plus(15)).is_none());
    }

    #[test]
    fn token_is_unknown_at_other_endpoint() {
        let negotiations = negotiations();
        let token = negotiations.issue("/other", IdKind::Separate, NOW).token();
        assert_eq!(negotiations.verify(&token, "/chat"), None);
    }

    #[test]
    fn negotiations_leave_nothing_behind() {
        let negotiations = negotiations();
        for _ in 0..200 {
            let ticket = negotiations.issue("/chat", IdKind::Separate, NOW);
            assert_eq!(negotiations.status(&ticket, NOW), TokenStatus::Pending);
        }
        let state = lock(&negotiations.state);
        assert_eq!((state.used.len(), state.early_data.len()), (0, 0));
    }

    #[test]
    fn early_data_goes_to_its_connection() {
        let negotiations = negotiations();
        let ticket = negotiations.issue("/chat", IdKind::Separate, NOW);
        assert!(negotiations.buffer_early_data(&ticket, b"ab", None, NOW));
        assert!(negotiations.buffer_early_data(&ticket, b"c", None, NOW));
        let (_open_token, early_data) = negotiations.open(&ticket, NOW).unwrap();
        assert_eq!(&early_data[..], b"abc");
        assert!(!negotiations.buffer_early_data(&ticket, b"e", None, NOW), "the connection is open");
    }
}
