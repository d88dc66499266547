//! Identifier types: one for each kind of name, so that the compiler rejects a user id in place of a group name.
//!
//! Each is a shared string: a clone increments a reference count. They are created where data enters the process and
//! used by all other modules. They do not depend on a wire protocol. Comparison is exact and case-sensitive.

use std::{borrow::Borrow, fmt, ops::Deref, sync::Arc};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.into())
            }
        }

        impl From<String> for $name {
            fn from(text: String) -> Self {
                Self(text.into())
            }
        }

        impl Deref for $name {
            type Target = str;

            fn deref(&self) -> &str {
                &self.0
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, f)
            }
        }
    };
}

name! {
    /// The registered name of a hub, in its registered case.
    HubName
}
name! {
    /// The name of a group within its hub. Any text of at most 256 characters without U+0000 is allowed, including the
    /// empty one.
    GroupName
}
name! {
    /// The id of a user, as the identity provider supplied it: 1 to 256 characters, none of which is U+0000. A client
    /// without a name, or with an empty one, is anonymous: it has no user.
    UserId
}
name! {
    /// The public id of a connection. It may be disclosed to other clients.
    ConnectionId
}
name! {
    /// The id of a server process, set by its configuration.
    NodeId
}

/// The maximum length of the name of a user, group or hub method, in characters. Names are kept as long as the
/// connections, groups and stored rows that have them.
pub(crate) const MAX_NAME_LENGTH: usize = 256;

/// The maximum length of the name of a hub, in characters. The names of a hub, a user and a group are one key of a stored
/// row, and MySQL limits a key to 3,072 bytes.
pub(crate) const MAX_HUB_NAME_LENGTH: usize = 128;

/// The maximum length of the name of a node, in bytes. The columns of databases for it have 255 characters.
pub(crate) const MAX_NODE_NAME_LENGTH: usize = 255;

/// A name is invalid. Each variant contains the kind of the name, such as `user`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidName {
    /// It is empty.
    #[error("The {0} name is empty.")]
    Empty(&'static str),
    /// It has more than 256 characters.
    #[error("The {0} name has more than {MAX_NAME_LENGTH} characters.")]
    TooLong(&'static str),
    /// It contains the character U+0000, which PostgreSQL does not store.
    #[error("The {0} name contains the character U+0000.")]
    ContainsNul(&'static str),
}

impl InvalidName {
    /// The kind of the name, such as `user`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Empty(kind) | Self::TooLong(kind) | Self::ContainsNul(kind) => kind,
        }
    }
}

/// Checks the name of a user.
pub(crate) fn check_user(name: &UserId) -> Result<(), InvalidName> {
    if name.is_empty() { Err(InvalidName::Empty("user")) } else { check_name("user", name) }
}

/// Checks the name of a group.
pub(crate) fn check_group(name: &GroupName) -> Result<(), InvalidName> {
    check_name("group", name)
}

/// Checks the id of a connection that an operator asks for.
pub(crate) fn check_connection(id: &ConnectionId) -> Result<(), InvalidName> {
    check_name("connection", id)
}

/// Checks the name of a hub method.
pub(crate) fn check_method(name: &str) -> Result<(), InvalidName> {
    check_name("method", name)
}

fn check_name(kind: &'static str, name: &str) -> Result<(), InvalidName> {
    if name.chars().nth(MAX_NAME_LENGTH).is_some() {
        Err(InvalidName::TooLong(kind))
    } else if name.contains('\0') {
        Err(InvalidName::ContainsNul(kind))
    } else {
        Ok(())
    }
}

/// The beginning of a text, at most `bytes` long.
pub(crate) fn truncated(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
}

/// 16 random bytes in base64url: 22 characters that cannot be guessed.
#[must_use]
pub(crate) fn secret() -> String {
    URL_SAFE_NO_PAD.encode(rand::random::<[u8; 16]>())
}

impl ConnectionId {
    /// A random id in the form that ASP.NET Core SignalR uses: 22 characters of base64url.
    #[must_use]
    pub fn random() -> Self {
        secret().into()
    }
}

/// The connections that a broadcast excludes. Clones share the same list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConnectionSet(Arc<[ConnectionId]>);

impl ConnectionSet {
    /// True if the set contains this connection. A binary search, since it is called for each member of a group and a
    /// client may have listed a thousand connections.
    #[must_use]
    pub fn contains(&self, id: &ConnectionId) -> bool {
        self.0.binary_search(id).is_ok()
    }
}

impl FromIterator<ConnectionId> for ConnectionSet {
    fn from_iter<I: IntoIterator<Item = ConnectionId>>(ids: I) -> Self {
        let mut ids: Vec<_> = ids.into_iter().collect();
        ids.sort_unstable();
        Self(ids.into())
    }
}

/// The full name of a group. Groups of the same name on two hubs are different groups.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupKey {
    /// The hub that the group belongs to.
    pub hub: HubName,
    /// The name within that hub.
    pub name: GroupName,
}

impl GroupKey {
    /// The shared key of group `name` of `hub`.
    #[must_use]
    pub fn new(hub: &HubName, name: &GroupName) -> Arc<Self> {
        Arc::new(Self { hub: hub.clone(), name: name.clone() })
    }
}

impl fmt::Display for GroupKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.hub, self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_id_is_22_url_safe_characters() {
        let id = ConnectionId::random();
        assert_eq!(id.len(), 22);
        assert!(id.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_'), "{id}");
        assert_ne!(id, ConnectionId::random());
    }

    #[test]
    fn connection_set_contains_ids_in_any_order() {
        let set: ConnectionSet = ["c", "a", "b", "a"].map(ConnectionId::from).into_iter().collect();
        assert!(["a", "b", "c"].iter().all(|id| set.contains(&(*id).into())));
        assert!(!set.contains(&"d".into()));
        assert!(!ConnectionSet::default().contains(&"a".into()));
    }

    #[test]
    fn name_has_at_most_256_characters() {
        assert_eq!(check_user(&"ü".repeat(256).into()), Ok(()));
        let error = check_user(&"u".repeat(257).into()).unwrap_err();
        assert_eq!(error.to_string(), "The user name has more than 256 characters.");
    }

    #[test]
    fn name_with_nul_is_refused() {
        let error = check_group(&"a\0b".into()).unwrap_err();
        assert_eq!(error.to_string(), "The group name contains the character U+0000.");
    }

    #[test]
    fn group_may_have_an_empty_name_but_no_user() {
        assert_eq!(check_group(&"".into()), Ok(()));
        assert_eq!(check_user(&"".into()).unwrap_err().to_string(), "The user name is empty.");
    }

    #[test]
    fn text_is_truncated_at_a_character() {
        assert_eq!((truncated("aüb", 2), truncated("aüb", 3), truncated("aüb", 9)), ("a", "aü", "aüb"));
    }

    #[test]
    fn names_compare_by_exact_text() {
        assert_ne!(GroupName::from("Room"), GroupName::from("room"));
        assert_eq!(UserId::from("ann"), UserId::from(String::from("ann")));
    }
}
