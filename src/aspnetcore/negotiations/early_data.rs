//! Data that clients have sent before they opened their transports. Few clients send any.

use std::collections::{HashMap, VecDeque};

use bytes::BytesMut;

use super::ticket::{Seconds, Ticket, TokenBytes};

/// The maximum number of bytes that a client may POST before it opens its transport. Wire: ASP.NET Core SignalR buffers
/// the same amount.
pub(crate) const MAX_EARLY_BYTES: usize = 64 * 1024;

/// The maximum number of such bytes for all connections together.
const MAX_TOTAL_BYTES: usize = 16 * 1024 * 1024;

/// What a buffer counts at least, so that many small ones are bounded too.
const MIN_COST: usize = 1024;

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct EarlyData {
    buffers: HashMap<TokenBytes, BytesMut>,
    /// When the token of each buffer expires, in the order in which the buffers were created.
    expiries: VecDeque<(Seconds, TokenBytes)>,
    /// The cost of all buffers.
    total: usize,
}

fn cost(length: usize) -> usize {
    length.max(MIN_COST)
}

impl EarlyData {
    /// Buffers bytes. Returns false if they exceed the limit of this connection or of all connections together.
    pub(super) fn add(&mut self, ticket: &Ticket, bytes: &[u8], now: Seconds) -> bool {
        self.forget_expired(now);
        if bytes.is_empty() {
            return true;
        }
        let buffered = self.buffers.get(&ticket.bytes).map(BytesMut::len);
        let length = buffered.unwrap_or_default() + bytes.len();
        let total = self.total - buffered.map_or(0, cost) + cost(length);
        if length > MAX_EARLY_BYTES || total > MAX_TOTAL_BYTES {
            return false;
        }
        self.total = total;
        if buffered.is_none() {
            self.expiries.push_back((ticket.expires, ticket.bytes));
        }
        self.buffers.entry(ticket.bytes).or_default().extend_from_slice(bytes);
        true
    }

    /// Removes and returns the data of a token.
    pub(super) fn take(&mut self, ticket: &Ticket, now: Seconds) -> BytesMut {
        self.forget_expired(now);
        self.remove(&ticket.bytes)
    }

    fn remove(&mut self, token: &TokenBytes) -> BytesMut {
        let Some(buffer) = self.buffers.remove(token) else { return BytesMut::new() };
        self.total -= cost(buffer.len());
        buffer
    }

    fn forget_expired(&mut self, now: Seconds) {
        while let Some((_, token)) = self.expiries.pop_front_if(|(expires, _)| *expires <= now) {
            self.remove(&token);
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.buffers.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{aspnetcore::negotiations::IdKind, tokens::KeyRing};

    const NOW: Seconds = Seconds(1_000);

    fn tickets(count: usize, expires: Seconds) -> Vec<Ticket> {
        let ring = KeyRing::ephemeral();
        (0..count).map(|_| Ticket::issue(&ring, "/chat", expires, IdKind::Separate)).collect()
    }

    #[test]
    fn data_of_one_connection_is_limited() {
        let (mut early_data, tickets) = (EarlyData::default(), tickets(1, NOW.plus(15)));
        assert!(early_data.add(&tickets[0], &[b'x'; MAX_EARLY_BYTES - 1], NOW));
        assert!(early_data.add(&tickets[0], b"y", NOW));
        assert!(!early_data.add(&tickets[0], b"z", NOW));
        assert_eq!(early_data.take(&tickets[0], NOW).len(), MAX_EARLY_BYTES);
    }

    #[test]
    fn data_of_all_connections_is_limited() {
        let tickets = tickets(MAX_TOTAL_BYTES / MAX_EARLY_BYTES + 1, NOW.plus(15));
        let (mut early_data, (last, first)) = (EarlyData::default(), tickets.split_last().unwrap());
        assert!(first.iter().all(|ticket| early_data.add(ticket, &[b'x'; MAX_EARLY_BYTES], NOW)));
        assert!(!early_data.add(last, b"y", NOW), "the total limit is reached");
        assert_eq!(early_data.take(&first[0], NOW).len(), MAX_EARLY_BYTES);
        assert!(early_data.add(last, b"y", NOW), "an opened connection frees its bytes");
        assert!(early_data.add(last, &[b'x'; 1024], NOW.plus(15)), "expired data frees its bytes");
    }

    #[test]
    fn number_of_small_buffers_is_limited() {
        let tickets = tickets(MAX_TOTAL_BYTES / MIN_COST + 1, NOW.plus(15));
        let (mut early_data, (last, first)) = (EarlyData::default(), tickets.split_last().unwrap());
        assert!(first.iter().all(|ticket| early_data.add(ticket, b"x", NOW)));
        assert!(!early_data.add(last, b"y", NOW));
    }
}
