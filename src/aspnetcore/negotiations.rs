//! Tokens that were handed out, and whether a transport has come for them.

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

/// How many tokens may be out that no transport has come for. Beyond it negotiation is refused: no server
/// has so many clients that are about to connect, so that somebody is just asking for tokens.
const PENDING: usize = 100_000;

/// How much may be sent ahead of a transport. Wire: what the original buffers for it.
pub(crate) const AHEAD: usize = 64 * 1024;

/// How much of that is kept for all connections together: what few clients do takes little.
const ALL_AHEAD: usize = 16 * 1024 * 1024;

/// The tokens of one process.
#[derive(Debug)]
pub(crate) struct Negotiations {
    lifetime: Duration,
    tokens: Mutex<Tokens>,
}

#[derive(Debug, Default)]
struct Tokens {
    entries: HashMap<ConnectionToken, Entry>,
    /// When to look at each token again, the earliest first.
    due: VecDeque<(Instant, ConnectionToken)>,
    pending: usize,
    /// Bytes that were sent ahead of all transports that have not come.
    kept: usize,
}

#[derive(Debug)]
enum Entry {
    Pending(Pending),
    Open(Weak<Outbox>),
}

/// A connection that was negotiated and not yet opened.
#[derive(Clone, Debug)]
pub(crate) struct Pending {
    /// Its public id.
    pub(crate) id: ConnectionId,
    /// The path of its endpoint.
    pub(crate) path: Arc<str>,
    /// What was sent ahead of its transport.
    pub(crate) ahead: BytesMut,
}

/// What a token stands for.
#[derive(Debug)]
pub(crate) enum TokenStatus {
    /// Nothing, or nothing any more.
    Nothing,
    /// A connection that waits for its transport.
    Pending,
    /// A connection that has one.
    Open,
}

/// Too many tokens are out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooManyPending;

impl Negotiations {
    /// No tokens yet; each is good for `lifetime`.
    pub(crate) fn new(lifetime: Duration) -> Self {
        Self { lifetime, tokens: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Tokens> {
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands a token out.
    pub(crate) fn issue(&self, token: ConnectionToken, pending: Pending, now: Instant) -> Result<(), TooManyPending> {
        let mut tokens = self.lock();
        tokens.sweep(now, self.lifetime);
        if tokens.pending >= PENDING {
            return Err(TooManyPending);
        }
        tokens.pending += 1;
        tokens.due.push_back((now + self.lifetime, token.clone()));
        tokens.entries.insert(token, Entry::Pending(pending));
        Ok(())
    }

    /// What a token stands for at the endpoint of that path.
    pub(crate) fn find(&self, token: &str, path: &str, now: Instant) -> TokenStatus {
        let mut tokens = self.lock();
        tokens.sweep(now, self.lifetime);
        match tokens.entries.get(token) {
            Some(Entry::Pending(pending)) if *pending.path == *path => TokenStatus::Pending,
            Some(Entry::Open(outbox)) if is_alive(outbox) => TokenStatus::Open,
            Some(_) | None => TokenStatus::Nothing,
        }
    }

    /// Keeps what was sent ahead of the transport. False if it is too much, for this connection or for all
    /// that wait.
    pub(crate) fn keep(&self, token: &str, bytes: &[u8]) -> bool {
        let mut tokens = self.lock();
        let kept = tokens.kept + bytes.len();
        match tokens.entries.get_mut(token) {
            Some(Entry::Pending(pending)) if pending.ahead.len() + bytes.len() <= AHEAD && kept <= ALL_AHEAD => {
                pending.ahead.extend_from_slice(bytes);
                tokens.kept = kept;
                true
            }
            _ => false,
        }
    }

    /// Takes the connection that waits for its transport, which has come with this outbox.
    pub(crate) fn open(&self, token: &str, outbox: &Arc<Outbox>) -> Option<Pending> {
        let mut tokens = self.lock();
        let entry = tokens.entries.get_mut(token)?;
        match std::mem::replace(entry, Entry::Open(Arc::downgrade(outbox))) {
            Entry::Pending(pending) => {
                tokens.kept -= pending.ahead.len();
                tokens.pending -= 1;
                Some(pending)
            }
            open @ Entry::Open(_) => {
                *entry = open;
                None
            }
        }
    }

    /// Takes note of a connection that was opened without negotiation.
    pub(crate) fn enter(&self, token: ConnectionToken, outbox: &Arc<Outbox>, now: Instant) {
        let mut tokens = self.lock();
        tokens.due.push_back((now + self.lifetime, token.clone()));
        tokens.entries.insert(token, Entry::Open(Arc::downgrade(outbox)));
    }
}

fn is_alive(outbox: &Weak<Outbox>) -> bool {
    outbox.upgrade().is_some_and(|outbox| outbox.is_open())
}

impl Tokens {
    /// Forgets tokens whose time is over. One whose connection lives is looked at again later.
    fn sweep(&mut self, now: Instant, lifetime: Duration) {
        while self.due.front().is_some_and(|(due, _)| *due <= now) {
            let Some((_, token)) = self.due.pop_front() else { return };
            match self.entries.get(&token) {
                Some(Entry::Open(outbox)) if is_alive(outbox) => self.due.push_back((now + lifetime, token)),
                Some(Entry::Open(_)) => drop(self.entries.remove(&token)),
                Some(Entry::Pending(pending)) => {
                    self.kept -= pending.ahead.len();
                    self.pending -= 1;
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
        Pending { id: "id".into(), path: "/chat".into(), ahead: BytesMut::new() }
    }

    fn found(negotiations: &Negotiations, token: &str, now: Instant) -> &'static str {
        match negotiations.find(token, "/chat", now) {
            TokenStatus::Nothing => "nothing",
            TokenStatus::Pending => "pending",
            TokenStatus::Open => "open",
        }
    }

    #[test]
    fn a_token_opens_one_transport_and_is_worthless_when_that_has_ended() {
        let (negotiations, now, outbox) = (Negotiations::new(LIFETIME), Instant::now(), outbox());
        negotiations.issue("t".into(), pending(), now).unwrap();
        assert_eq!(found(&negotiations, "t", now), "pending");
        assert_eq!(negotiations.open("t", &outbox).unwrap().id, "id".into());
        assert_eq!(found(&negotiations, "t", now), "open");
        assert!(negotiations.open("t", &outbox).is_none(), "a second transport");
        assert_eq!(found(&negotiations, "t", now + LIFETIME * 3), "open", "however long it lives");
        outbox.finish(End { code: 1000 });
        assert_eq!(found(&negotiations, "t", now), "nothing");
    }

    #[test]
    fn a_token_that_no_transport_comes_for_is_dropped() {
        let (negotiations, now) = (Negotiations::new(LIFETIME), Instant::now());
        negotiations.issue("t".into(), pending(), now).unwrap();
        assert_eq!(found(&negotiations, "t", now + LIFETIME - Duration::from_millis(1)), "pending");
        assert_eq!(found(&negotiations, "t", now + LIFETIME), "nothing");
    }

    #[test]
    fn a_token_is_good_at_its_own_endpoint_alone() {
        let (negotiations, now) = (Negotiations::new(LIFETIME), Instant::now());
        negotiations.issue("t".into(), pending(), now).unwrap();
        assert!(matches!(negotiations.find("t", "/other", now), TokenStatus::Nothing));
    }

    #[test]
    fn no_more_tokens_are_out_than_any_server_needs() {
        let (negotiations, now) = (Negotiations::new(LIFETIME), Instant::now());
        for n in 0..PENDING {
            negotiations.issue(n.to_string().as_str().into(), pending(), now).unwrap();
        }
        assert_eq!(negotiations.issue("one more".into(), pending(), now), Err(TooManyPending));
        assert_eq!(negotiations.issue("later".into(), pending(), now + LIFETIME), Ok(()));
    }

    #[test]
    fn what_is_sent_ahead_is_limited_for_all_together() {
        let negotiations = Negotiations::new(LIFETIME);
        let begun = Instant::now();
        let tokens: Vec<_> = (0..=ALL_AHEAD / AHEAD).map(|number| number.to_string()).collect();
        for token in &tokens {
            negotiations.issue(token.as_str().into(), pending(), begun).unwrap();
        }
        let (last, first) = tokens.split_last().unwrap();
        assert!(first.iter().all(|token| negotiations.keep(token, &[b'x'; AHEAD])));
        assert!(!negotiations.keep(last, b"y"), "no more is kept");
        assert!(negotiations.open(&first[0], &outbox()).is_some());
        assert!(negotiations.keep(last, b"y"), "one that was taken makes room");
        negotiations.find("", "", begun + LIFETIME);
        negotiations.issue("late".into(), pending(), begun + LIFETIME).unwrap();
        assert!(negotiations.keep("late", &[b'x'; AHEAD]), "those that ran out make room");
    }

    #[test]
    fn what_is_sent_ahead_is_kept_up_to_a_limit() {
        let (negotiations, now) = (Negotiations::new(LIFETIME), Instant::now());
        negotiations.issue("t".into(), pending(), now).unwrap();
        assert!(negotiations.keep("t", &[b'x'; AHEAD - 1]));
        assert!(negotiations.keep("t", b"y"));
        assert!(!negotiations.keep("t", b"z"));
        assert_eq!(negotiations.open("t", &outbox()).unwrap().ahead.len(), AHEAD);
    }
}
