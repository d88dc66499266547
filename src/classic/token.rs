//! The connection token: which connection, and whose.
//!
//! Wire: `<connection id>:<user name>`, signed; who has no name is the empty one. It is good for ever, and
//! whoever presents it must still be the same user.

use crate::{
    ids::{ConnectionId, UserId},
    tokens::{KeyRing, Purpose},
};

/// What a connection token says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) connection: ConnectionId,
    user: String,
}

impl Token {
    /// A token for a new connection of a user.
    pub(super) fn new(user: Option<&UserId>) -> Self {
        let connection = uuid::Uuid::new_v4().hyphenated().to_string().into();
        Self { connection, user: user.map(ToString::to_string).unwrap_or_default() }
    }

    pub(super) fn seal(&self, ring: &KeyRing) -> String {
        ring.seal(Purpose::Connection, format!("{}:{}", self.connection, self.user).as_bytes())
    }

    /// `None` for anything but a token of ours.
    pub(super) fn open(text: &str, ring: &KeyRing) -> Option<Self> {
        let payload = String::from_utf8(ring.open(Purpose::Connection, text).ok()?).ok()?;
        let (connection, user) = payload.split_once(':')?;
        Some(Self { connection: connection.into(), user: user.into() })
    }

    /// True if it was made for this user. Wire: names compare without case.
    pub(super) fn is_of(&self, user: Option<&UserId>) -> bool {
        self.user.to_lowercase() == user.map_or("", |user| user).to_lowercase()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_belongs_to_its_user_in_any_case() {
        let ring = KeyRing::ephemeral();
        for name in ["ann", "a:b", "ü☃"] {
            let token = Token::new(Some(&name.into()));
            let opened = Token::open(&token.seal(&ring), &ring).unwrap();
            assert_eq!(opened, token);
            assert!(opened.is_of(Some(&name.to_uppercase().into())));
            assert!(!opened.is_of(Some(&"bob".into())));
            assert!(!opened.is_of(None));
        }
        assert!(Token::new(None).is_of(None));
        assert!(!Token::new(None).is_of(Some(&"ann".into())));
    }

    #[test]
    fn only_our_own_tokens_for_this_purpose_open() {
        let (ring, other) = (KeyRing::ephemeral(), KeyRing::ephemeral());
        let token = Token::new(None);
        assert_eq!(Token::open(&token.seal(&other), &ring), None);
        assert_eq!(Token::open(&ring.seal(Purpose::Rejoin, b"id:ann"), &ring), None);
        for text in ["", "zzz", &token.connection] {
            assert_eq!(Token::open(text, &ring), None, "{text}");
        }
    }
}
