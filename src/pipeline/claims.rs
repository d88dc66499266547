//! Claims of rejoin tokens: their content, encoding and checks.
//!
//! Everything here is pure: it uses no keys, clocks or stores. Callers pass in the values to compare.

use std::{
    collections::HashSet,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    ids::{GroupKey, GroupName, HubName, UserId},
    metrics::{Counter, Metrics},
    tokens::BadToken,
};

/// The maximum length of the group lists in a token, in bytes of JSON. The token must fit into the query of a URL with
/// the other parameters. A token with longer lists carries no groups, and the server keeps the groups for the family.
pub(crate) const MAX_GROUP_LIST_BYTES: usize = 3 * 1024;

/// The claims of a rejoin token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Claims {
    /// The family that the token was issued for: a connection (classic) or a chain of connections (ASP.NET Core).
    #[serde(rename = "f")]
    pub family: String,
    /// The position in the chain. 0 for tokens that may be used more than once.
    #[serde(rename = "n", default)]
    pub epoch: u64,
    /// The hub; `None` if the connection can use several hubs.
    #[serde(rename = "h", default)]
    pub hub: Option<HubName>,
    /// The user.
    #[serde(rename = "u", default)]
    pub user: Option<UserId>,
    /// The groups that the connection itself was added to, each as `hub.group`. `None` if the list was too long.
    #[serde(rename = "g", default)]
    joined: Option<Vec<String>>,
    /// The groups that the connection was in because its user was a durable member, each as `hub.group`.
    #[serde(rename = "d", default, skip_serializing_if = "Vec::is_empty")]
    durable: Vec<String>,
    /// The time of issue, in milliseconds since the Unix epoch.
    #[serde(rename = "i")]
    issued: u64,
    /// The time from which the token is refused, in milliseconds since the Unix epoch.
    #[serde(rename = "e")]
    expires: u64,
}

/// The subject of a token: the connection that it is issued to.
#[derive(Clone, Debug)]
pub(crate) struct TokenSubject {
    /// See [`Claims::family`].
    pub family: String,
    /// See [`Claims::epoch`].
    pub epoch: u64,
    /// See [`Claims::hub`].
    pub hub: Option<HubName>,
    /// See [`Claims::user`].
    pub user: Option<UserId>,
}

/// The groups of a connection, by the reason for its membership.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TokenGroups {
    /// Groups that the connection itself was added to. A token restores them.
    pub joined: Vec<Arc<GroupKey>>,
    /// Groups in which the connection's user is a durable member. A token restores them only if the store confirms the
    /// membership. Otherwise an old token would restore users that have been removed.
    pub durable: Vec<Arc<GroupKey>>,
}

impl TokenGroups {
    /// All groups, sorted.
    #[must_use]
    pub(crate) fn all(self) -> Vec<Arc<GroupKey>> {
        let mut all: Vec<_> = self.joined.into_iter().chain(self.durable).collect();
        all.sort();
        all
    }

    /// The groups of one hub that a token restores. `stored` are the user's durable groups.
    #[must_use]
    pub(crate) fn of_hub(&self, hub: &HubName, stored: &[GroupName]) -> Vec<GroupName> {
        let stored: HashSet<_> = stored.iter().collect();
        let durable = self.durable.iter().filter(|key| stored.contains(&key.name));
        self.joined.iter().chain(durable).filter(|key| key.hub == *hub).map(|key| key.name.clone()).collect()
    }
}

fn millis(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// The groups in the form in which a token lists them, or `None` if that takes more than `capacity` bytes. A token is
/// created whenever groups change, so names beyond the limit are not processed.
fn token_list(groups: &[Arc<GroupKey>], capacity: &mut usize) -> Option<Vec<String>> {
    let mut fit = |name: String| {
        // JSON escapes make names longer.
        let length = Value::from(&*name).to_string().len() + ",".len();
        *capacity = capacity.checked_sub(length)?;
        Some(name)
    };
    groups.iter().map(|group| fit(group.to_string())).collect()
}

fn parse_list(list: &[String]) -> Vec<Arc<GroupKey>> {
    let key = |text: &String| text.split_once('.').map(|(hub, name)| GroupKey::new(&hub.into(), &name.into()));
    list.iter().filter_map(key).collect()
}

impl Claims {
    /// Creates the claims of `subject` to these groups, valid from `now` for `lifetime`.
    #[must_use]
    pub(crate) fn new(subject: &TokenSubject, groups: &TokenGroups, now: SystemTime, lifetime: Duration) -> Self {
        let mut capacity = MAX_GROUP_LIST_BYTES;
        let lists = token_list(&groups.joined, &mut capacity).zip(token_list(&groups.durable, &mut capacity));
        let (joined, durable) = lists.unzip();
        Self {
            family: subject.family.clone(),
            epoch: subject.epoch,
            hub: subject.hub.clone(),
            user: subject.user.clone(),
            joined,
            durable: durable.unwrap_or_default(),
            issued: millis(now),
            expires: millis(now + lifetime),
        }
    }

    /// Encodes the claims as the payload that is signed.
    #[must_use]
    pub(crate) fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("strings and numbers can always be serialized")
    }

    /// Decodes the claims from a signed payload.
    ///
    /// # Errors
    /// [`RejoinError::Malformed`], if the payload is not the JSON of claims.
    pub(crate) fn decode(payload: &[u8]) -> Result<Self, RejoinError> {
        serde_json::from_slice(payload).map_err(|_| RejoinError::Malformed)
    }

    /// The groups; `None` if the lists were too long for the token.
    #[must_use]
    pub(crate) fn groups(&self) -> Option<TokenGroups> {
        self.joined
            .as_ref()
            .map(|joined| TokenGroups { joined: parse_list(joined), durable: parse_list(&self.durable) })
    }

    /// False if the lists were too long for the token.
    #[must_use]
    pub(crate) fn has_list(&self) -> bool {
        self.joined.is_some()
    }

    /// The time of issue.
    #[must_use]
    pub(crate) fn issued(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(self.issued)
    }

    /// The time from which the token is refused.
    #[must_use]
    pub(crate) fn expires(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(self.expires)
    }

    /// Compares the claims with the identity that presents them.
    ///
    /// # Errors
    /// The first [`RejoinError`] that applies.
    pub(crate) fn check(&self, identity: &RejoinIdentity, now: SystemTime) -> Result<(), RejoinError> {
        let refusals = [
            (millis(now) >= self.expires, RejoinError::Expired),
            (identity.connection.as_ref().is_some_and(|id| *id != self.family), RejoinError::WrongConnection),
            (identity.user != self.user, RejoinError::WrongUser),
            (identity.hub != self.hub, RejoinError::WrongHub),
        ];
        refusals.into_iter().find_map(|(applies, refusal)| applies.then_some(Err(refusal))).unwrap_or(Ok(()))
    }
}

/// The identity that presents a token.
#[derive(Clone, Debug, Default)]
pub(crate) struct RejoinIdentity {
    /// The connection that the token must have been issued for; `None` if tokens are not bound to a connection.
    pub connection: Option<String>,
    /// The user, as authenticated now.
    pub user: Option<UserId>,
    /// The hub; `None` if the connection can use several hubs.
    pub hub: Option<HubName>,
}

/// Why a rejoin token is not accepted. The client starts without its groups; each reason is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RejoinError {
    /// It is not a token.
    #[error("malformed")]
    Malformed,
    /// It is signed with a key that is not in the key ring.
    #[error("signed with an unknown key")]
    UnknownKey,
    /// Its signature is invalid.
    #[error("forged")]
    Forged,
    /// It has expired.
    #[error("expired")]
    Expired,
    /// It was issued for another user.
    #[error("issued for another user")]
    WrongUser,
    /// It was issued for another hub.
    #[error("issued for another hub")]
    WrongHub,
    /// It was issued for another connection.
    #[error("issued for another connection")]
    WrongConnection,
    /// It was used before.
    #[error("used before")]
    Replayed,
    /// It was revoked.
    #[error("revoked")]
    Revoked,
    /// The store did not answer whether it was used or revoked.
    #[error("the store did not answer")]
    Unchecked,
}

impl RejoinError {
    /// The counter of this reason.
    #[must_use]
    pub(crate) fn counter(self, metrics: &Metrics) -> &Counter {
        match self {
            Self::Malformed => &metrics.rejoins_malformed,
            Self::UnknownKey => &metrics.rejoins_unknown_key,
            Self::Forged => &metrics.rejoins_forged,
            Self::Expired => &metrics.rejoins_expired,
            Self::WrongUser => &metrics.rejoins_wrong_user,
            Self::WrongHub => &metrics.rejoins_wrong_hub,
            Self::WrongConnection => &metrics.rejoins_wrong_connection,
            Self::Replayed => &metrics.rejoins_replayed,
            Self::Revoked => &metrics.rejoins_revoked,
            Self::Unchecked => &metrics.rejoins_unchecked,
        }
    }
}

impl From<BadToken> for RejoinError {
    fn from(bad: BadToken) -> Self {
        match bad {
            BadToken::Malformed => Self::Malformed,
            BadToken::UnknownKey => Self::UnknownKey,
            BadToken::Forged => Self::Forged,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn subject() -> TokenSubject {
        TokenSubject { family: "family".into(), epoch: 3, hub: Some("chat".into()), user: Some("ann".into()) }
    }

    fn identity() -> RejoinIdentity {
        RejoinIdentity { connection: None, user: Some("ann".into()), hub: Some("chat".into()) }
    }

    fn keys(names: &[&str]) -> Vec<Arc<GroupKey>> {
        names.iter().map(|name| GroupKey::new(&"chat".into(), &(*name).into())).collect()
    }

    fn joined(names: &[&str]) -> TokenGroups {
        TokenGroups { joined: keys(names), durable: Vec::new() }
    }

    fn listed() -> TokenGroups {
        TokenGroups { durable: keys(&["durable"]), ..joined(&["a", "b.c", ""]) }
    }

    fn claims() -> Claims {
        Claims::new(&subject(), &listed(), UNIX_EPOCH + HOUR, HOUR)
    }

    #[test]
    fn encoded_claims_decode_unchanged() {
        let read = Claims::decode(&claims().encode()).unwrap();
        assert_eq!(read, claims());
        assert_eq!(read.groups().unwrap(), listed(), "a group's name may hold dots, a hub's may not");
        assert_eq!(read.issued() + HOUR, read.expires());
    }

    #[test]
    fn claims_are_accepted_until_they_expire() {
        assert_eq!(claims().check(&identity(), UNIX_EPOCH + HOUR), Ok(()));
        assert_eq!(claims().check(&identity(), UNIX_EPOCH + HOUR * 2 - Duration::from_millis(1)), Ok(()));
        assert_eq!(claims().check(&identity(), UNIX_EPOCH + HOUR * 2), Err(RejoinError::Expired));
    }

    #[test]
    fn claims_of_another_identity_are_refused_with_reason() {
        let now = UNIX_EPOCH + HOUR;
        let with = |change: fn(&mut RejoinIdentity)| {
            let mut identity = identity();
            change(&mut identity);
            claims().check(&identity, now)
        };
        assert_eq!(with(|p| p.user = Some("bob".into())), Err(RejoinError::WrongUser));
        assert_eq!(with(|p| p.user = None), Err(RejoinError::WrongUser));
        assert_eq!(with(|p| p.hub = Some("other".into())), Err(RejoinError::WrongHub));
        assert_eq!(with(|p| p.connection = Some("another".into())), Err(RejoinError::WrongConnection));
        assert_eq!(with(|p| p.connection = Some("family".into())), Ok(()));
    }

    #[test]
    fn overlong_list_is_omitted() {
        let many: Vec<_> = (0..1000).map(|n| n.to_string()).collect();
        let names: Vec<_> = many.iter().map(String::as_str).collect();
        let claims = Claims::new(&subject(), &joined(&names), UNIX_EPOCH, HOUR);
        assert_eq!(claims.groups(), None);
        assert!(claims.encode().len() < 200);
        for name in ["plain", "\u{1}\u{2}\u{3}\u{4}\u{5}"] {
            let mut count = 0;
            while Claims::new(&subject(), &joined(&vec![name; count + 1]), UNIX_EPOCH, HOUR).has_list() {
                count += 1;
            }
            let longest = Claims::new(&subject(), &joined(&vec![name; count]), UNIX_EPOCH, HOUR).encode().len();
            assert!(
                (MAX_GROUP_LIST_BYTES..MAX_GROUP_LIST_BYTES + 200).contains(&longest),
                "{count} times {name:?}: {longest}"
            );
        }
    }

    #[test]
    fn one_overlong_list_omits_both() {
        let many = keys(&vec!["a group of some length"; 200]);
        for listed in [
            TokenGroups { joined: many.clone(), ..listed() },
            TokenGroups { durable: many.clone(), ..listed() },
            TokenGroups { joined: many[..90].to_vec(), durable: many[..90].to_vec() },
        ] {
            let claims = Claims::new(&subject(), &listed, UNIX_EPOCH, HOUR);
            assert_eq!(claims.groups(), None);
            assert!(claims.encode().len() < 200);
        }
    }

    #[test]
    fn token_restores_joined_groups_and_stored_durable_groups() {
        let listed = TokenGroups { durable: keys(&["stored", "removed"]), ..joined(&["joined"]) };
        let names = |list: &[&str]| list.iter().map(|name| GroupName::from(*name)).collect::<Vec<_>>();
        assert_eq!(listed.of_hub(&"chat".into(), &names(&["stored", "another"])), names(&["joined", "stored"]));
        assert_eq!(listed.of_hub(&"other".into(), &names(&["stored"])), names(&[]));
    }

    #[test]
    fn invalid_payload_is_malformed() {
        for payload in [&b""[..], b"{}", b"[1]", b"\xff"] {
            assert_eq!(Claims::decode(payload), Err(RejoinError::Malformed));
        }
    }
}
