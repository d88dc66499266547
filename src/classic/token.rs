//! The connection token: it names a connection and its user.
//!
//! Wire: `<connection id>:<user name>`, signed. Anonymous users have an empty name. The token never expires, and each
//! request that presents it must come from the same user.

use crate::{
    ids::{ConnectionId, UserId},
    tokens::{KeyRing, Purpose},
};

/// The content of a connection token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ConnectionToken {
    pub(super) connection: ConnectionId,
    user: String,
}

impl ConnectionToken {
    /// A token for a new connection of a user.
    pub(super) fn new(user: Option<&UserId>) -> Self {
        let connection = uuid::Uuid::new_v4().hyphenated().to_string().into();
        Self { connection, user: user.map(ToString::to_string).unwrap_or_default() }
    }

    pub(super) fn seal(&self, ring: &KeyRing) -> String {
        ring.seal(Purpose::Connection, format!("{}:{}", self.connection, self.user).as_bytes())
    }

    /// Verifies and parses a token. Returns `None` if it was not sealed by this key ring as a connection token.
    pub(super) fn open(text: &str, ring: &KeyRing) -> Option<Self> {
        let payload = String::from_utf8(ring.open(Purpose::Connection, text).ok()?).ok()?;
        let (connection, user) = payload.split_once(':')?;
        Some(Self { connection: connection.into(), user: user.into() })
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

    #[test]
    fn token_belongs_to_its_user_only() {
        let ring = KeyRing::ephemeral();
        for name in ["ann", "a:b", "ü☃"] {
            let token = ConnectionToken::new(Some(&name.into()));
            let opened = ConnectionToken::open(&token.seal(&ring), &ring).unwrap();
            assert_eq!(opened, token);
            assert!(opened.belongs_to(Some(&name.into())));
            assert!(!opened.belongs_to(Some(&name.to_uppercase().into())));
            assert!(!opened.belongs_to(Some(&"bob".into())));
            assert!(!opened.belongs_to(None));
        }
        assert!(ConnectionToken::new(None).belongs_to(None));
        assert!(!ConnectionToken::new(None).belongs_to(Some(&"ann".into())));
    }

    #[test]
    fn foreign_or_malformed_token_is_rejected() {
        let (ring, other) = (KeyRing::ephemeral(), KeyRing::ephemeral());
        let token = ConnectionToken::new(None);
        assert_eq!(ConnectionToken::open(&token.seal(&other), &ring), None);
        assert_eq!(ConnectionToken::open(&ring.seal(Purpose::Rejoin, b"id:ann"), &ring), None);
        for text in ["", "zzz", &token.connection] {
            assert_eq!(ConnectionToken::open(text, &ring), None, "{text}");
        }
    }
}
