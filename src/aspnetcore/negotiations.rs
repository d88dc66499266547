//! Connection tokens issued by negotiation, and whether a transport was opened with them.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use bytes::BytesMut;
use tokio::time::Instant;

use crate::{
    ids::{ConnectionId, ConnectionToken},
    outbox::Outbox,
};

/// The maximum number of tokens without a transport. Further negotiations are rejected: no server has so many clients
/// that are about to connect, so this is a client that only requests tokens.
const MAX_PENDING: usize = 100_000;

/// The maximum number of bytes that a client may POST before it opens its transport. Wire: ASP.NET Core SignalR buffers
/// the same amount.
pub(crate) const MAX_EARLY_BYTES: usize = 64 * 1024;

/// The maximum number of such bytes for all connections together. Few clients send any.
const MAX_TOTAL_EARLY_BYTES: usize = 16 * 1024 * 1024;

/// The tokens of one process.
#[derive(Debug)]
pub(crate) struct Negotiations {
    lifetime: Duration,
    tokens: Mutex<Tokens>,
}

#[derive(Debug, Default)]
struct Tokens {
    entries: HashMap<ConnectionToken, Entry>,
    /// When to check each token for expiry, the earliest first.
    expiries: VecDeque<(Instant, ConnectionToken)>,
    pending_count: usize,
    /// The number of bytes in `early_data` of all pending connections.
    early_bytes: usize,
}

#[derive(Debug)]
enum Entry {
    Pending(Pending),
    Open(Weak<Outbox>),
}

/// A negotiated connection without a transport.
#[derive(Clone, Debug)]
pub(crate) struct Pending {
    /// Its public id.
    pub(crate) id: ConnectionId,
    /// The path of its endpoint.
    pub(crate) path: Arc<str>,
    /// Bytes that the client sent before it opened its transport.
    pub(crate) early_data: BytesMut,
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

/// The limit of tokens without a transport is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooManyPending;

impl Negotiations {
    /// An empty table. A token expires after `lifetime` unless a transport is opened with it.
    pub(crate) fn new(lifetime: Duration) -> Self {
        Self { lifetime, tokens: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Tokens> {
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Registers a new token.
    pub(crate) fn issue(&self, token: ConnectionToken, pending: Pending, now: Instant) -> Result<(), TooManyPending> {
        let mut tokens = self.lock();
        tokens.remove_expired(now, self.lifetime);
        if tokens.pending_count >= MAX_PENDING {
            return Err(TooManyPending);
        }
        tokens.pending_count += 1;
        tokens.expiries.push_back((now + self.lifetime, token.clone()));
        tokens.entries.insert(token, Entry::Pending(pending));
        Ok(())
    }

    /// The status of a token at the endpoint with this path. Tokens of other endpoints are unknown.
    pub(crate) fn status(&self, token: &str, path: &str, now: Instant) -> TokenStatus {
        let mut tokens = self.lock();
        tokens.remove_expired(now, self.lifetime);
        match tokens.entries.get(token) {
            Some(Entry::Pending(pending)) if *pending.path == *path => TokenStatus::Pending,
            Some(Entry::Open(outbox)) if is_open(outbox) => TokenStatus::Open,
            Some(_) | None => TokenStatus::Unknown,
        }
    }

    /// Buffers bytes that arrived before the transport. Returns false if they exceed the limit of this connection or of
    /// all pending connections together.
    pub(crate) fn buffer_early_data(&self, token: &str, bytes: &[u8]) -> bool {
        let mut tokens = self.lock();
        let early_bytes = tokens.early_bytes + bytes.len();
        match tokens.entries.get_mut(token) {
            Some(Entry::Pending(pending))
                if pending.early_data.len() + bytes.len() <= MAX_EARLY_BYTES
                    && early_bytes <= MAX_TOTAL_EARLY_BYTES =>
            {
                pending.early_data.extend_from_slice(bytes);
                tokens.early_bytes = early_bytes;
                true
            }
            _ => false,
        }
    }

    /// Returns the pending connection of a token and marks the token as open with `outbox`. Returns `None` if the token
    /// is unknown or already open.
    pub(crate) fn open(&self, token: &str, outbox: &Arc<Outbox>) -> Option<Pending> {
        let mut tokens = self.lock();
        let entry = tokens.entries.get_mut(token)?;
        match std::mem::replace(entry, Entry::Open(Arc::downgrade(outbox))) {
            Entry::Pending(pending) => {
                tokens.early_bytes -= pending.early_data.len();
                tokens.pending_count -= 1;
                Some(pending)
            }
            open @ Entry::Open(_) => {
                *entry = open;
                None
            }
        }
    }

    /// Registers a connection that was opened without negotiation.
    pub(crate) fn register_open(&self, token: ConnectionToken, outbox: &Arc<Outbox>, now: Instant) {
        let mut tokens = self.lock();
        tokens.expiries.push_back((now + self.lifetime, token.clone()));
        tokens.entries.insert(token, Entry::Open(Arc::downgrade(outbox)));
    }
}

fn is_open(outbox: &Weak<Outbox>) -> bool {
    outbox.upgrade().is_some_and(|outbox| outbox.is_open())
}

impl Tokens {
    /// Removes expired tokens. A token of an open connection is checked again after another `lifetime`.
    fn remove_expired(&mut self, now: Instant, lifetime: Duration) {
        while self.expiries.front().is_some_and(|(expires, _)| *expires <= now) {
            let Some((_, token)) = self.expiries.pop_front() else { return };
            match self.entries.get(&token) {
                Some(Entry::Open(outbox)) if is_open(outbox) => self.expiries.push_back((now + lifetime, token)),
                Some(Entry::Open(_)) => drop(self.entries.remove(&token)),
                Some(Entry::Pending(pending)) => {
                    self.early_bytes -= pending.early_data.len();
                    self.pending_count -= 1;
                    self.entries.remove(&token);
                }
                None => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        aspnetcore::json::FORM,
        outbox::{End, Limits, ReplayLimits},
    };

    const LIFETIME: Duration = Duration::from_secs(15);

    fn outbox() -> Arc<Outbox> {
        Outbox::new(&FORM, Limits::default(), ReplayLimits::default())
    }

    fn pending() -> Pending {
        Pending { id: "id".into(), path: "/chat".into(), early_data: BytesMut::new() }
    }

    fn status_at(negotiations: &Negotiations, token: &str, now: Instant) -> &'static str {
        match negotiations.status(token, "/chat", now) {
            TokenStatus::Unknown => "unknown",
            TokenStatus::Pending => "pending",
            TokenStatus::Open => "open",
        }
    }

    #[test]
    fn token_opens_one_transport_until_connection_ends() {
        let (negotiations, now, outbox) = (Negotiations::new(LIFETIME), Instant::now(), outbox());
        negotiations.issue("t".into(), pending(), now).unwrap();
        assert_eq!(status_at(&negotiations, "t", now), "pending");
        assert_eq!(negotiations.open("t", &outbox).unwrap().id, "id".into());
        assert_eq!(status_at(&negotiations, "t", now), "open");
        assert!(negotiations.open("t", &outbox).is_none(), "a second transport");
        assert_eq!(status_at(&negotiations, "t", now + LIFETIME * 3), "open", "an open connection keeps its token");
        outbox.finish(End { code: 1000 });
        assert_eq!(status_at(&negotiations, "t", now), "unknown");
    }

    #[test]
    fn unused_token_expires() {
        let (negotiations, now) = (Negotiations::new(LIFETIME), Instant::now());
        negotiations.issue("t".into(), pending(), now).unwrap();
        assert_eq!(status_at(&negotiations, "t", now + LIFETIME - Duration::from_millis(1)), "pending");
        assert_eq!(status_at(&negotiations, "t", now + LIFETIME), "unknown");
    }

    #[test]
    fn token_is_unknown_at_other_endpoint() {
        let (negotiations, now) = (Negotiations::new(LIFETIME), Instant::now());
        negotiations.issue("t".into(), pending(), now).unwrap();
        assert!(matches!(negotiations.status("t", "/other", now), TokenStatus::Unknown));
    }

    #[test]
    fn pending_tokens_are_limited() {
        let (negotiations, now) = (Negotiations::new(LIFETIME), Instant::now());
        for n in 0..MAX_PENDING {
            negotiations.issue(n.to_string().as_str().into(), pending(), now).unwrap();
        }
        assert_eq!(negotiations.issue("one more".into(), pending(), now), Err(TooManyPending));
        assert_eq!(negotiations.issue("later".into(), pending(), now + LIFETIME), Ok(()));
    }

    #[test]
    fn early_data_of_all_connections_is_limited() {
        let negotiations = Negotiations::new(LIFETIME);
        let now = Instant::now();
        let tokens: Vec<_> = (0..=MAX_TOTAL_EARLY_BYTES / MAX_EARLY_BYTES).map(|number| number.to_string()).collect();
        for token in &tokens {
            negotiations.issue(token.as_str().into(), pending(), now).unwrap();
        }
        let (last, first) = tokens.split_last().unwrap();
        assert!(first.iter().all(|token| negotiations.buffer_early_data(token, &[b'x'; MAX_EARLY_BYTES])));
        assert!(!negotiations.buffer_early_data(last, b"y"), "the total limit is reached");
        assert!(negotiations.open(&first[0], &outbox()).is_some());
        assert!(negotiations.buffer_early_data(last, b"y"), "an opened connection frees its bytes");
        negotiations.status("", "", now + LIFETIME);
        negotiations.issue("late".into(), pending(), now + LIFETIME).unwrap();
        assert!(
            negotiations.buffer_early_data("late", &[b'x'; MAX_EARLY_BYTES]),
            "expired connections free their bytes"
        );
    }

    #[test]
    fn early_data_of_one_connection_is_limited() {
        let (negotiations, now) = (Negotiations::new(LIFETIME), Instant::now());
        negotiations.issue("t".into(), pending(), now).unwrap();
        assert!(negotiations.buffer_early_data("t", &[b'x'; MAX_EARLY_BYTES - 1]));
        assert!(negotiations.buffer_early_data("t", b"y"));
        assert!(!negotiations.buffer_early_data("t", b"z"));
        assert_eq!(negotiations.open("t", &outbox()).unwrap().early_data.len(), MAX_EARLY_BYTES);
    }
}
