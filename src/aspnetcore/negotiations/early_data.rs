//! Data that clients have sent before they opened their transports. Few clients send any.

use std::{
    collections::{HashMap, VecDeque},
    net::IpAddr,
};

use bytes::BytesMut;

use super::ticket::{Seconds, Ticket, TokenBytes};
use crate::connections::network;

/// The maximum number of bytes that a client may POST before it opens its transport. Wire: ASP.NET Core SignalR buffers
/// the same amount.
pub(crate) const MAX_EARLY_BYTES: usize = 64 * 1024;

/// The maximum number of such bytes for all connections together.
const MAX_TOTAL_BYTES: usize = 16 * 1024 * 1024;

/// The maximum number of such bytes for the connections of one client address, so that no client can use up the total.
const MAX_BYTES_PER_ADDRESS: usize = 1024 * 1024;

/// What a buffer counts at least, so that many small ones are bounded too.
const MIN_COST: usize = 1024;

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct EarlyData {
    buffers: HashMap<TokenBytes, Buffer>,
    /// When the token of each buffer expires, in the order in which the buffers were created.
    expiries: VecDeque<(Seconds, TokenBytes)>,
    /// The cost of all buffers.
    total: usize,
    /// The cost of the buffers of each client address.
    by_address: HashMap<Option<IpAddr>, usize>,
}

#[derive(Debug, Default)]
struct Buffer {
    bytes: BytesMut,
    /// The address of the client that has sent the first bytes.
    address: Option<IpAddr>,
}

impl Buffer {
    fn cost(&self) -> usize {
        cost(self.bytes.len())
    }
}

fn cost(length: usize) -> usize {
    length.max(MIN_COST)
}

impl EarlyData {
    /// Buffers bytes of a client. Returns false if they exceed the limit of this connection, of the client's address, or of
    /// all connections together.
    pub(super) fn add(&mut self, ticket: &Ticket, bytes: &[u8], address: Option<IpAddr>, now: Seconds) -> bool {
        self.forget_expired(now);
        if bytes.is_empty() {
            return true;
        }
        let previous = self.buffers.get(&ticket.bytes);
        let address = previous.map_or(address.map(network), |buffer| buffer.address);
        let length = previous.map_or(0, |buffer| buffer.bytes.len()) + bytes.len();
        let added = cost(length) - previous.map_or(0, Buffer::cost);
        let of_address = self.by_address.get(&address).copied().unwrap_or_default() + added;
        if length > MAX_EARLY_BYTES || of_address > MAX_BYTES_PER_ADDRESS || self.total + added > MAX_TOTAL_BYTES {
            return false;
        }
        if previous.is_none() {
            self.expiries.push_back((ticket.expires, ticket.bytes));
        }
        self.total += added;
        self.by_address.insert(address, of_address);
        let buffer = self.buffers.entry(ticket.bytes).or_insert(Buffer { bytes: BytesMut::new(), address });
        buffer.bytes.extend_from_slice(bytes);
        true
    }

    /// Removes and returns the data of a token.
    pub(super) fn take(&mut self, ticket: &Ticket, now: Seconds) -> BytesMut {
        self.forget_expired(now);
        self.remove(&ticket.bytes)
    }

    fn remove(&mut self, token: &TokenBytes) -> BytesMut {
        let Some(buffer) = self.buffers.remove(token) else { return BytesMut::new() };
        self.total -= buffer.cost();
        let of_address = self.by_address.remove(&buffer.address).unwrap_or_default() - buffer.cost();
        if of_address > 0 {
            self.by_address.insert(buffer.address, of_address);
        }
        buffer.bytes
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

    /// A client with an address of its own.
    fn client(number: usize) -> Option<IpAddr> {
        Some(std::net::Ipv4Addr::from(u32::try_from(number).unwrap()).into())
    }

    fn tickets(count: usize, expires: Seconds) -> Vec<Ticket> {
        let ring = KeyRing::ephemeral();
        (0..count).map(|_| Ticket::issue(&ring, "/chat", expires, IdKind::Separate.into())).collect()
    }

    #[test]
    fn data_of_one_connection_is_limited() {
        let (mut early_data, tickets) = (EarlyData::default(), tickets(1, NOW.plus(15)));
        assert!(early_data.add(&tickets[0], &[b'x'; MAX_EARLY_BYTES - 1], None, NOW));
        assert!(early_data.add(&tickets[0], b"y", None, NOW));
        assert!(!early_data.add(&tickets[0], b"z", None, NOW));
        assert_eq!(early_data.take(&tickets[0], NOW).len(), MAX_EARLY_BYTES);
    }

    #[test]
    fn data_of_one_address_is_limited() {
        let tickets = tickets(MAX_BYTES_PER_ADDRESS / MAX_EARLY_BYTES + 1, NOW.plus(15));
        let (mut early_data, (last, first)) = (EarlyData::default(), tickets.split_last().unwrap());
        assert!(first.iter().all(|ticket| early_data.add(ticket, &[b'x'; MAX_EARLY_BYTES], client(1), NOW)));
        assert!(!early_data.add(last, b"y", client(1), NOW));
        assert!(early_data.add(last, b"y", client(2), NOW), "another client has its own share");
        early_data.take(&first[0], NOW);
        assert!(early_data.add(&first[0], b"y", client(1), NOW), "an opened connection frees its bytes");
    }

    #[test]
    fn data_of_all_connections_is_limited() {
        let tickets = tickets(MAX_TOTAL_BYTES / MAX_EARLY_BYTES + 1, NOW.plus(15));
        let (mut early_data, (last, first)) = (EarlyData::default(), tickets.split_last().unwrap());
        let mut clients = first.iter().enumerate();
        assert!(clients.all(|(number, ticket)| early_data.add(ticket, &[b'x'; MAX_EARLY_BYTES], client(number), NOW)));
        assert!(!early_data.add(last, b"y", None, NOW), "the total limit is reached");
        assert_eq!(early_data.take(&first[0], NOW).len(), MAX_EARLY_BYTES);
        assert!(early_data.add(last, b"y", None, NOW), "an opened connection frees its bytes");
        assert!(early_data.add(last, &[b'x'; 1024], None, NOW.plus(15)), "expired data frees its bytes");
        assert_eq!((early_data.len(), early_data.by_address.len()), (1, 1));
    }

    #[test]
    fn number_of_small_buffers_is_limited() {
        let tickets = tickets(MAX_BYTES_PER_ADDRESS / MIN_COST + 1, NOW.plus(15));
        let (mut early_data, (last, first)) = (EarlyData::default(), tickets.split_last().unwrap());
        assert!(first.iter().all(|ticket| early_data.add(ticket, b"x", None, NOW)));
        assert!(!early_data.add(last, b"y", None, NOW));
    }
}
