//! The names of things, parsed once at the edge and cheap to share afterwards.
//!
//! Role: a type per kind of name, so that a user can never be passed where a group is meant.
//! Life: values; each is a shared string, cloned by counting.
//! Neighbours: everybody uses these, and they use nothing.
//! Never: they do not know which wire they came from, and compare exactly (case matters).

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
    /// A hub by its registered name, in its registered case.
    HubName
}
name! {
    /// A group's name inside its hub; any text, the empty one too.
    GroupName
}
name! {
    /// A user as the identity provider named it.
    UserId
}
name! {
    /// The public identity of a connection: other clients may learn it.
    ConnectionId
}
name! {
    /// A process that serves connections, named by its configuration.
    NodeId
}

/// 16 bytes from the system's generator, base64url: 22 characters that nobody can guess.
#[must_use]
pub fn secret() -> String {
    URL_SAFE_NO_PAD.encode(rand::random::<[u8; 16]>())
}

impl ConnectionId {
    /// A fresh id in the form that ASP.NET Core servers use: 22 characters of base64url.
    #[must_use]
    pub fn random() -> Self {
        secret().into()
    }
}

/// The secret that opens a connection's transport: only its own client may know it, and no log shows it.
#[derive(Clone, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub struct ConnectionToken(Arc<str>);

impl ConnectionToken {
    /// A fresh token, independent of the connection's id.
    #[must_use]
    pub fn random() -> Self {
        Self(secret().into())
    }
}

impl From<&str> for ConnectionToken {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl Borrow<str> for ConnectionToken {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ConnectionToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ConnectionToken(..)")
    }
}

/// Connections that a broadcast leaves out, shared by whoever passes it on.
#[derive(Clone, Debug, Default)]
pub struct ConnectionSet(Arc<[ConnectionId]>);

impl ConnectionSet {
    /// True if this connection is one of them: each member of a group is asked for, and a client may have listed
    /// a thousand.
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

/// A group's full name: groups of the same name on two hubs are two groups.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupKey {
    /// The hub that the group belongs to.
    pub hub: HubName,
    /// The name inside that hub.
    pub name: GroupName,
}

impl GroupKey {
    /// The key of `name` on `hub`, ready to be shared.
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
    fn a_random_id_is_22_characters_that_fit_a_url() {
        let id = ConnectionId::random();
        assert_eq!(id.len(), 22);
        assert!(id.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_'), "{id}");
        assert_ne!(id, ConnectionId::random());
    }

    #[test]
    fn a_token_is_not_shown_to_who_debugs() {
        assert_eq!(format!("{:?}", ConnectionToken::from("secret")), "ConnectionToken(..)");
    }

    #[test]
    fn a_set_knows_its_connections_whatever_their_order() {
        let set: ConnectionSet = ["c", "a", "b", "a"].map(ConnectionId::from).into_iter().collect();
        assert!(["a", "b", "c"].iter().all(|id| set.contains(&(*id).into())));
        assert!(!set.contains(&"d".into()));
        assert!(!ConnectionSet::default().contains(&"a".into()));
    }

    #[test]
    fn names_compare_by_their_exact_text() {
        assert_ne!(GroupName::from("Room"), GroupName::from("room"));
        assert_eq!(UserId::from("ann"), UserId::from(String::from("ann")));
    }
}
