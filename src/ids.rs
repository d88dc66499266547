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
    /// The secret that opens a connection's transport: only its own client may know it.
    ConnectionToken
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

    /// A fresh id in the form that classic servers use: a lower-case GUID with dashes.
    #[must_use]
    pub fn guid() -> Self {
        let digits = format!("{:032x}", u128::from_be_bytes(version_4(rand::random())));
        let parts = [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]];
        parts.join("-").into()
    }
}

impl ConnectionToken {
    /// A fresh token, independent of the connection's id.
    #[must_use]
    pub fn random() -> Self {
        secret().into()
    }
}

/// Marks random bytes as a version 4 GUID (RFC 9562 section 5.4).
fn version_4(mut bytes: [u8; 16]) -> [u8; 16] {
    bytes[6] = (bytes[6] & 0x0f) | 0x40;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    bytes
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
    fn a_guid_has_the_dashes_and_the_version_of_one() {
        let id = ConnectionId::guid();
        let lengths: Vec<_> = id.split('-').map(str::len).collect();
        assert_eq!(lengths, [8, 4, 4, 4, 12]);
        assert_eq!(&id[14..15], "4");
        assert!(id.chars().all(|c| c == '-' || c.is_ascii_digit() || ('a'..='f').contains(&c)), "{id}");
    }

    #[test]
    fn names_compare_by_their_exact_text() {
        assert_ne!(GroupName::from("Room"), GroupName::from("room"));
        assert_eq!(UserId::from("ann"), UserId::from(String::from("ann")));
    }
}
