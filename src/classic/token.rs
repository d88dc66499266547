//! The connection token: it names a connection and its user.
//!
//! Wire: `<connection id>:<user name>`, signed. Anonymous users have an empty name. The token never expires, and each
//! request that presents it must come from the same user. The token of a live connection stays valid when the key that
//! signed it is removed from the key ring.

use sha2::{Digest, Sha256};

use crate::{
    ids::{ConnectionId, UserId},
    tokens::{KeyRing, Purpose, unverified_payload},
};

/// A hash of the text of a token. Only the same text has it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct TokenDigest([u8; 32]);

/// A token must not be logged, nor a value that identifies it.
impl std::fmt::Debug for TokenDigest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TokenDigest(..)")
    }
}

/// The content of a connection token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ConnectionToken {
    pub(super) connection: ConnectionId,
    pub(super) digest: TokenDigest,
    user: String,
}

impl ConnectionToken {
    /// Issues a token for a new connection of a user. Returns the connection and the text of the token.
    pub(super) fn issue(user: Option<&UserId>, ring: &KeyRing) -> (ConnectionId, String) {
        let connection = uuid::Uuid::new_v4().hyphenated().to_string();
        let payload = format!("{connection}:{}", user.map_or("", |user| user));
        (connection.into(), ring.seal(Purpose::Connection, payload.as_bytes()))
    }

    /// Verifies and parses a token. Returns `None` if it was not sealed by this key ring as a connection token.
    pub(super) fn open(text: &str, ring: &KeyRing) -> Option<Self> {
        Self::of_payload(text, ring.open(Purpose::Connection, text).ok()?)
    }

    /// Parses a token without verifying it. A token whose digest is that of a verified one is valid.
    pub(super) fn unverified(text: &str) -> Option<Self> {
        Self::of_payload(text, unverified_payload(text)?)
    }

    fn of_payload(text: &str, payload: Vec<u8>) -> Option<Self> {
        let payload = String::from_utf8(payload).ok()?;
        let (connection, user) = payload.split_once(':')?;
        let digest = TokenDigest(Sha256::digest(text).into());
        Some(Self { connection: connection.into(), digest, user: user.into() })
    }

    /// True if the token was issued to this user. Names are compared exactly, as in the rest of hubcast. Wire: ASP.NET
    /// SignalR ignores the case, so that a user could resume the connection of another one.
    pub(super) fn belongs_to(&self, user: Option<&UserId>) -> bool {
        *self.user == *user.map_or("", |user| user)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened(user: Option<&UserId>) -> ConnectionToken {
        let ring = KeyRing::ephemeral();
        let (connection, text) = ConnectionToken::issue(user, &ring);
        let opened = ConnectionToken::open(&text, &ring).unwrap();
        assert_eq!(opened.connection, connection);
        assert_eq!(ConnectionToken::unverified(&text), Some(opened.clone()));
        opened
    }

    #[test]
    fn token_belongs_to_its_user_only() {
        for name in ["ann", "a:b", "ü☃"] {
            let opened = opened(Some(&name.into()));
            assert!(opened.belongs_to(Some(&name.into())));
            assert!(!opened.belongs_to(Some(&name.to_uppercase().into())));
            assert!(!opened.belongs_to(Some(&"bob".into())));
            assert!(!opened.belongs_to(None));
        }
        assert!(opened(None).belongs_to(None));
        assert!(!opened(None).belongs_to(Some(&"ann".into())));
    }

    #[test]
    fn foreign_or_malformed_token_is_rejected() {
        let (ring, other) = (KeyRing::ephemeral(), KeyRing::ephemeral());
        let (connection, foreign) = ConnectionToken::issue(None, &other);
        assert_eq!(ConnectionToken::open(&foreign, &ring), None);
        assert_eq!(ConnectionToken::open(&ring.seal(Purpose::Rejoin, b"id:ann"), &ring), None);
        for text in ["", "zzz", &connection] {
            assert_eq!(ConnectionToken::open(text, &ring), None, "{text}");
            assert_eq!(ConnectionToken::unverified(text), None, "{text}");
        }
    }

    #[test]
    fn digest_differs_for_another_signature() {
        let (one, other) = (KeyRing::ephemeral(), KeyRing::ephemeral());
        let digest =
            |ring: &KeyRing| ConnectionToken::unverified(&ring.seal(Purpose::Connection, b"id:ann")).unwrap().digest;
        assert_eq!(digest(&one), digest(&one));
        assert_ne!(digest(&one), digest(&other));
    }
}
