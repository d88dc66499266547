//! The rejoin policy of a hub: token, store, or both.

use std::collections::HashSet;

use serde::Deserialize;

use crate::ids::GroupName;

/// Decides which groups a reconnecting client rejoins. It stays in the durable groups that its connection is in, and a
/// new connection joins all durable groups of its user, under every policy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Policy {
    /// The groups of the token, as in ASP.NET SignalR 2.x.
    #[default]
    Token,
    /// The groups of the store, without regard to the token.
    Store,
    /// Groups that are both in the token and in the store.
    Intersection,
    /// Groups that are in the token, in the store, or in both.
    Union,
}

impl Policy {
    /// True if the policy depends on the stored groups.
    #[must_use]
    pub fn asks_store(self) -> bool {
        self != Self::Token
    }

    /// The groups to rejoin, in the order of the token, then of the store.
    #[must_use]
    pub fn decide(self, token: &[GroupName], stored: &[GroupName]) -> Vec<GroupName> {
        let set = |groups: &[GroupName]| groups.iter().cloned().collect::<HashSet<_>>();
        match self {
            Self::Token => token.to_vec(),
            Self::Store => stored.to_vec(),
            Self::Intersection => {
                let stored = set(stored);
                token.iter().filter(|group| stored.contains(*group)).cloned().collect()
            }
            Self::Union => {
                let known = set(token);
                token.iter().chain(stored.iter().filter(|group| !known.contains(*group))).cloned().collect()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_policy_selects_its_groups() {
        let names = |list: &[&str]| list.iter().map(|name| GroupName::from(*name)).collect::<Vec<_>>();
        let (token, stored) = (names(&["a", "b"]), names(&["b", "c"]));
        assert_eq!(Policy::Token.decide(&token, &stored), names(&["a", "b"]));
        assert_eq!(Policy::Store.decide(&token, &stored), names(&["b", "c"]));
        assert_eq!(Policy::Intersection.decide(&token, &stored), names(&["b"]));
        assert_eq!(Policy::Union.decide(&token, &stored), names(&["a", "b", "c"]));
    }
}
