//! The tokens with which a transport was opened.

use std::collections::{HashMap, VecDeque};

use super::ticket::{Seconds, Ticket, TokenBytes};

/// The maximum number of ended connections whose tokens are remembered until they expire. Beyond it the oldest is
/// forgotten. Its client can then open a transport once more within the lifetime of the token, as it can with a new
/// token, so no client can fill this table at the expense of another.
const MAX_ENDED: usize = 10_000;

/// See the module's documentation. Open ones are bounded by the number of connections.
#[derive(Debug, Default)]
pub(super) struct UsedTokens {
    /// Whether the transport of a token is open.
    entries: HashMap<TokenBytes, bool>,
    /// The ended ones, in the order of their end.
    ended: VecDeque<(Seconds, TokenBytes)>,
}

impl UsedTokens {
    /// Whether the transport of a token is open. `None` if none was opened.
    pub(super) fn is_open(&self, ticket: &Ticket) -> Option<bool> {
        self.entries.get(&ticket.bytes).copied()
    }

    /// Marks a token as open. Returns false if it was used before.
    pub(super) fn open(&mut self, ticket: &Ticket, now: Seconds) -> bool {
        self.forget_expired(now);
        if self.entries.contains_key(&ticket.bytes) {
            return false;
        }
        self.entries.insert(ticket.bytes, true);
        true
    }

    /// The connection of a token has ended. The token is remembered until it expires.
    pub(super) fn end(&mut self, ticket: &Ticket, now: Seconds) {
        self.forget_expired(now);
        if ticket.expires <= now {
            self.entries.remove(&ticket.bytes);
            return;
        }
        if self.ended.len() >= MAX_ENDED {
            self.forget_oldest();
        }
        self.entries.insert(ticket.bytes, false);
        self.ended.push_back((ticket.expires, ticket.bytes));
    }

    fn forget_expired(&mut self, now: Seconds) {
        while self.ended.front().is_some_and(|(expires, _)| *expires <= now) {
            self.forget_oldest();
        }
        if self.entries.is_empty() {
            // Memory: a crowd that has left leaves no capacity behind.
            *self = Self::default();
        }
    }

    fn forget_oldest(&mut self) {
        if let Some((_, token)) = self.ended.pop_front() {
            self.entries.remove(&token);
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{aspnetcore::negotiations::IdKind, tokens::KeyRing};

    const NOW: Seconds = Seconds(1_000);

    #[test]
    fn ended_tokens_are_forgotten_when_they_expire() {
        let (ring, mut used) = (KeyRing::ephemeral(), UsedTokens::default());
        let [early, late] =
            [15, 20].map(|seconds| Ticket::issue(&ring, "/chat", NOW.plus(seconds), IdKind::Separate.into()));
        for ticket in [&early, &late] {
            assert!(used.open(ticket, NOW));
            used.end(ticket, NOW);
        }
        assert_eq!((used.is_open(&early), used.len()), (Some(false), 2));
        let long = Ticket::issue(&ring, "/chat", NOW.plus(15), IdKind::Separate.into());
        assert!(used.open(&long, NOW.plus(15)));
        assert_eq!((used.is_open(&early), used.is_open(&late)), (None, Some(false)));
        used.end(&long, NOW.plus(60));
        assert_eq!(used.len(), 0, "an expired token needs no memory");
    }

    #[test]
    fn oldest_ended_token_is_forgotten_when_full() {
        let (ring, mut used) = (KeyRing::ephemeral(), UsedTokens::default());
        let tickets: Vec<_> =
            (0..=MAX_ENDED).map(|_| Ticket::issue(&ring, "/chat", NOW.plus(15), IdKind::Separate.into())).collect();
        for ticket in &tickets {
            assert!(used.open(ticket, NOW));
            used.end(ticket, NOW);
        }
        assert_eq!((used.len(), used.is_open(&tickets[0]), used.is_open(&tickets[1])), (MAX_ENDED, None, Some(false)));
    }
}
