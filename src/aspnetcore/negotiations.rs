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
pub(crate) use ticket::{IdKind, Seconds, Ticket};
use used::UsedTokens;

use crate::tokens::KeyRing;

/// The tokens of one process.
#[derive(Debug)]
pub(crate) struct Negotiations {
    ring: Arc<KeyRing>,
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
#[derive(Debug)]
pub(crate) enum TokenStatus {
    /// The token was never issued, or has expired, or its connection has ended.
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
    pub(crate) fn new(ring: Arc<KeyRing>, lifetime: Duration) -> Self {
        let lifetime = u32::try_from(lifetime.as_millis().div_ceil(1_000)).unwrap_or(u32::MAX);
        Self { ring, lifetime, state: Arc::default() }
    }

    /// A ticket for a new connection at the endpoint with this path.
    pub(crate) fn issue(&self, path: &str, id_kind: IdKind, now: Seconds) -> Ticket {
        Ticket::issue(&self.ring, path, now.plus(self.lifetime), id_kind)
    }

    /// The status of a token at the endpoint with this path. Tokens of other endpoints are unknown.
    pub(crate) fn status(&self, token: &str, path: &str, now: Seconds) -> TokenStatus {
        let Some(ticket) = Ticket::open(&self.ring, path, token) else { return TokenStatus::Unknown };
        match lock(&self.state).used.is_open(&ticket) {
            Some(true) => TokenStatus::Open,
            None if ticket.expires > now => TokenStatus::Pending,
            Some(false) | None => TokenStatus::Unknown,
        }
    }

    /// Buffers bytes that arrived before the transport. Returns false if the token cannot open a transport, or if the
    /// bytes exceed the limit of this connection, of the client's address or of all connections together.
    pub(crate) fn buffer_early_data(
        &self,
        token: &str,
        path: &str,
        bytes: &[u8],
        address: Option<IpAddr>,
        now: Seconds,
    ) -> bool {
        let Some(ticket) = Ticket::open(&self.ring, path, token) else { return false };
        let mut state = lock(&self.state);
        if state.used.is_open(&ticket).is_some() || ticket.expires <= now {
            return false;
        }
        state.early_data.add(&ticket, bytes, address, now)
    }

    /// Opens the transport of a token, which no other transport can use from now on. Returns the ticket, the use of the
    /// token, and the early data. Returns `None` if the token cannot open a transport.
    pub(crate) fn open(&self, token: &str, path: &str, now: Seconds) -> Option<(Ticket, OpenToken, BytesMut)> {
        let ticket = Ticket::open(&self.ring, path, token).filter(|ticket| ticket.expires > now)?;
        let mut state = lock(&self.state);
        if !state.used.open(&ticket, now) {
            return None;
        }
        let early_data = state.early_data.take(&ticket, now);
        drop(state);
        Some((ticket.clone(), OpenToken { ticket, state: Arc::clone(&self.state) }, early_data))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIFETIME: Duration = Duration::from_secs(15);
    const NOW: Seconds = Seconds(1_000_000_000);

    fn negotiations() -> Negotiations {
        Negotiations::new(Arc::new(KeyRing::ephemeral()), LIFETIME)
    }

    fn status_at(negotiations: &Negotiations, token: &str, now: Seconds) -> &'static str {
        match negotiations.status(token, "/chat", now) {
            TokenStatus::Unknown => "unknown",
            TokenStatus::Pending => "pending",
            TokenStatus::Open => "open",
        }
    }

    #[test]
    fn token_opens_one_transport_until_connection_ends() {
        // The end of a connection reads the clock.
        let (negotiations, now) = (negotiations(), Seconds::now());
        let token = negotiations.issue("/chat", IdKind::Separate, now).token();
        assert_eq!(status_at(&negotiations, &token, now), "pending");
        let (_, open_token, _) = negotiations.open(&token, "/chat", now).unwrap();
        assert_eq!(status_at(&negotiations, &token, now), "open");
        assert!(negotiations.open(&token, "/chat", now).is_none(), "a second transport");
        assert_eq!(status_at(&negotiations, &token, now.plus(45)), "open", "an open connection keeps its token");
        drop(open_token);
        assert_eq!(status_at(&negotiations, &token, now), "unknown");
        assert!(negotiations.open(&token, "/chat", now).is_none(), "a transport after the end");
    }

    #[test]
    fn unused_token_expires() {
        let negotiations = negotiations();
        let token = negotiations.issue("/chat", IdKind::Separate, NOW).token();
        assert_eq!(status_at(&negotiations, &token, NOW.plus(14)), "pending");
        assert_eq!(status_at(&negotiations, &token, NOW.plus(15)), "unknown");
        assert!(negotiations.open(&token, "/chat", NOW.plus(15)).is_none());
    }

    #[test]
    fn token_is_unknown_at_other_endpoint() {
        let negotiations = negotiations();
        let token = negotiations.issue("/other", IdKind::Separate, NOW).token();
        assert_eq!(status_at(&negotiations, &token, NOW), "unknown");
        assert!(negotiations.open(&token, "/chat", NOW).is_none());
    }

    #[test]
    fn negotiations_leave_nothing_behind() {
        let negotiations = negotiations();
        for _ in 0..200 {
            let token = negotiations.issue("/chat", IdKind::Separate, NOW).token();
            assert_eq!(status_at(&negotiations, &token, NOW), "pending");
        }
        let state = lock(&negotiations.state);
        assert_eq!((state.used.len(), state.early_data.len()), (0, 0));
    }

    #[test]
    fn early_data_goes_to_its_transport() {
        let negotiations = negotiations();
        let token = negotiations.issue("/chat", IdKind::Separate, NOW).token();
        assert!(negotiations.buffer_early_data(&token, "/chat", b"ab", None, NOW));
        assert!(negotiations.buffer_early_data(&token, "/chat", b"c", None, NOW));
        assert!(!negotiations.buffer_early_data(&token, "/other", b"d", None, NOW));
        let (_, _open_token, early_data) = negotiations.open(&token, "/chat", NOW).unwrap();
        assert_eq!(&early_data[..], b"abc");
        assert!(!negotiations.buffer_early_data(&token, "/chat", b"e", None, NOW), "the transport is open");
    }
}
