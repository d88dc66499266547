//! Connection tokens that prove themselves.
//!
//! Wire: a token has 22 characters of base64url, like those of ASP.NET Core SignalR. That is room for 16 bytes:
//!
//! ```text
//! expiry in seconds (4) | kind (2 bits) and random (46 bits) | signature (6)
//! ```
//!
//! The signature is short, but a forged token has no value: it opens a new connection of its bearer, which every client
//! can open without a token. The secret of a token is its random part and its signature, 94 bits together, so another
//! client cannot open the transport in its place. The public id of the connection is another part of the same
//! signature and reveals nothing of the token.

use std::{fmt, time::SystemTime};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use subtle::ConstantTimeEq;

use crate::tokens::{KeyRing, Purpose};

const TOKEN_LENGTH: usize = 16;
const SIGNED_LENGTH: usize = 10;
const EXPIRY_LENGTH: usize = 4;

/// Seconds of the wall clock since 1970, because tokens are valid on all nodes with the same keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Seconds(pub(super) u32);

impl Seconds {
    pub(crate) fn now() -> Self {
        let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self(u32::try_from(since_epoch.as_secs()).unwrap_or(u32::MAX))
    }

    pub(super) fn plus(self, seconds: u32) -> Self {
        Self(self.0.saturating_add(seconds))
    }
}

/// A connection token as bytes. It must not be logged, so `Debug` does not show it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct TokenBytes([u8; TOKEN_LENGTH]);

impl TokenBytes {
    /// Reads a token, which is not verified.
    pub(crate) fn parse(token: &str) -> Option<Self> {
        Some(Self(URL_SAFE_NO_PAD.decode(token).ok()?.try_into().ok()?))
    }
}

impl fmt::Debug for TokenBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenBytes(..)")
    }
}

/// What the public id of a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IdKind {
    /// An id of its own. The token is secret.
    Separate,
    /// Wire: in version 0 the id is also the token.
    Token,
}

/// What was negotiated for a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TicketKind {
    pub(crate) id_kind: IdKind,
    /// The client may resume the connection with a new WebSocket.
    pub(crate) can_reconnect: bool,
}

impl From<IdKind> for TicketKind {
    fn from(id_kind: IdKind) -> Self {
        Self { id_kind, can_reconnect: false }
    }
}

/// The bits of [`TicketKind`] in the byte after the expiry.
const ID_IS_TOKEN: u8 = 0x80;
const CAN_RECONNECT: u8 = 0x40;

impl TicketKind {
    fn bits(self) -> u8 {
        let id_kind = if self.id_kind == IdKind::Token { ID_IS_TOKEN } else { 0 };
        id_kind | if self.can_reconnect { CAN_RECONNECT } else { 0 }
    }
}

/// A valid connection token. It may have expired.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ticket {
    pub(crate) bytes: TokenBytes,
    /// From then on it opens no transport.
    pub(super) expires: Seconds,
    id: [u8; TOKEN_LENGTH],
}

impl Ticket {
    /// Issues a ticket for the endpoint with this path.
    pub(super) fn issue(ring: &KeyRing, path: &str, expires: Seconds, kind: TicketKind) -> Self {
        let mut bytes: [u8; TOKEN_LENGTH] = rand::random();
        bytes[..EXPIRY_LENGTH].copy_from_slice(&expires.0.to_be_bytes());
        bytes[EXPIRY_LENGTH] = bytes[EXPIRY_LENGTH] & !(ID_IS_TOKEN | CAN_RECONNECT) | kind.bits();
        let signature = ring.signatures(Purpose::Negotiation, &payload(&bytes, path)).next();
        Self::sign(bytes, &signature.expect("a key ring has a key"))
    }

    fn sign(mut bytes: [u8; TOKEN_LENGTH], signature: &[u8; 32]) -> Self {
        let (head, id) = signature.split_at(TOKEN_LENGTH);
        bytes[SIGNED_LENGTH..].copy_from_slice(&head[..TOKEN_LENGTH - SIGNED_LENGTH]);
        let [a, b, c, d, kind, ..] = bytes;
        let id = if kind & ID_IS_TOKEN == 0 { id.try_into().expect("half of 32 bytes are 16") } else { bytes };
        Self { bytes: TokenBytes(bytes), expires: Seconds(u32::from_be_bytes([a, b, c, d])), id }
    }

    /// Verifies a token. Returns `None` if it was not issued with one of these keys for the endpoint with this path.
    pub(super) fn open(ring: &KeyRing, path: &str, token: &str) -> Option<Self> {
        let TokenBytes(bytes) = TokenBytes::parse(token)?;
        let payload = payload(&bytes, path);
        let signatures = ring.signatures(Purpose::Negotiation, &payload);
        let mut tickets = signatures.map(|signature| Self::sign(bytes, &signature));
        tickets.find(|ticket| bool::from(ticket.bytes.0.ct_eq(&bytes)))
    }

    /// The token with which the client opens its transport.
    pub(crate) fn token(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.bytes.0)
    }

    /// The client may resume the connection with a new WebSocket.
    pub(crate) fn can_reconnect(&self) -> bool {
        self.bytes.0[EXPIRY_LENGTH] & CAN_RECONNECT != 0
    }

    /// The public id of the connection.
    pub(crate) fn id(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.id)
    }
}

fn payload(bytes: &[u8; TOKEN_LENGTH], path: &str) -> Vec<u8> {
    [&bytes[..SIGNED_LENGTH], path.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXPIRES: Seconds = Seconds(1_000);

    #[test]
    fn ticket_opens_with_id_and_expiry() {
        let ring = KeyRing::ephemeral();
        let ticket = Ticket::issue(&ring, "/chat", EXPIRES, IdKind::Separate.into());
        let opened = Ticket::open(&ring, "/chat", &ticket.token()).unwrap();
        assert_eq!((&opened, opened.expires), (&ticket, EXPIRES));
        assert_eq!((ticket.token().len(), ticket.id().len()), (22, 22));
        assert_ne!(ticket.token(), ticket.id());
        assert_ne!(ticket.token(), Ticket::issue(&ring, "/chat", EXPIRES, IdKind::Separate.into()).token());
    }

    #[test]
    fn id_of_version_0_is_the_token() {
        let ring = KeyRing::ephemeral();
        let ticket = Ticket::issue(&ring, "/chat", EXPIRES, IdKind::Token.into());
        assert_eq!(Ticket::open(&ring, "/chat", &ticket.token()).unwrap().id(), ticket.token());
    }

    #[test]
    fn ticket_keeps_what_was_negotiated() {
        let ring = KeyRing::ephemeral();
        for id_kind in [IdKind::Separate, IdKind::Token] {
            for can_reconnect in [false, true] {
                let ticket = Ticket::issue(&ring, "/chat", EXPIRES, TicketKind { id_kind, can_reconnect });
                let opened = Ticket::open(&ring, "/chat", &ticket.token()).unwrap();
                assert_eq!(
                    (opened.can_reconnect(), opened.id() == ticket.token()),
                    (can_reconnect, id_kind == IdKind::Token)
                );
            }
        }
    }

    #[test]
    fn debug_output_hides_token() {
        let ticket = Ticket::issue(&KeyRing::ephemeral(), "/chat", EXPIRES, IdKind::Separate.into());
        assert!(format!("{ticket:?}").contains("bytes: TokenBytes(..)"));
    }

    #[test]
    fn altered_or_foreign_ticket_does_not_open() {
        let ring = KeyRing::ephemeral();
        let ticket = Ticket::issue(&ring, "/chat", EXPIRES, IdKind::Separate.into());
        for bit in 0..TOKEN_LENGTH * 8 {
            let mut bytes = ticket.bytes.0;
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Ticket::open(&ring, "/chat", &URL_SAFE_NO_PAD.encode(bytes)), None, "bit {bit}");
        }
        assert_eq!(Ticket::open(&ring, "/other", &ticket.token()), None);
        assert_eq!(Ticket::open(&KeyRing::ephemeral(), "/chat", &ticket.token()), None);
        for text in ["", "none", &ticket.id(), &format!("{}A", ticket.token())] {
            assert_eq!(Ticket::open(&ring, "/chat", text), None, "{text}");
        }
    }

    #[test]
    fn ticket_of_old_key_keeps_its_id() {
        let (old, new) = ("an old secret, long enough", "a new secret, long enough");
        let ticket = Ticket::issue(&KeyRing::new([old]).unwrap(), "/chat", EXPIRES, IdKind::Separate.into());
        let opened = Ticket::open(&KeyRing::new([new, old]).unwrap(), "/chat", &ticket.token()).unwrap();
        assert_eq!(opened.id(), ticket.id());
    }
}
