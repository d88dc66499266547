//! The pure half of rejoining: what a token says, whom it is for, and what follows from it.
//!
//! It knows neither keys nor clocks nor stores; what is compared is passed in.

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

/// A token whose list would make it longer than this carries none: it has to fit the query of a URL
/// beside everything else. The server then remembers the list for the family.
pub(crate) const LONGEST_LIST: usize = 3 * 1024;

/// What a rejoin token says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// The connection (classic), or the chain of connections (ASP.NET Core) that it was made for.
    #[serde(rename = "f")]
    pub family: String,
    /// The link of the chain; 0 for tokens that may be used more than once.
    #[serde(rename = "n", default)]
    pub epoch: u64,
    /// The hub, unless the connection has several.
    #[serde(rename = "h", default)]
    pub hub: Option<HubName>,
    /// The user.
    #[serde(rename = "u", default)]
    pub user: Option<UserId>,
    /// The groups that somebody had the connection join, each as `hub.group`; absent if the list was too long.
    #[serde(rename = "g", default)]
    joined: Option<Vec<String>>,
    /// Those that it was in because its user was for good, likewise.
    #[serde(rename = "d", default, skip_serializing_if = "Vec::is_empty")]
    durable: Vec<String>,
    /// When it was issued, in milliseconds since 1970.
    #[serde(rename = "i")]
    issued: u64,
    /// From when on it is refused, likewise.
    #[serde(rename = "e")]
    expires: u64,
}

/// Whom and what a token is made for.
#[derive(Clone, Debug)]
pub struct TokenSubject {
    /// See [`Claims::family`].
    pub family: String,
    /// See [`Claims::epoch`].
    pub epoch: u64,
    /// See [`Claims::hub`].
    pub hub: Option<HubName>,
    /// See [`Claims::user`].
    pub user: Option<UserId>,
}

/// The groups of a connection, by how it came into them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TokenGroups {
    /// Somebody had it join: a token brings it back.
    pub joined: Vec<Arc<GroupKey>>,
    /// Its user is a member for good: only the store brings it back, or whoever was removed would be with an old token.
    pub durable: Vec<Arc<GroupKey>>,
}

impl TokenGroups {
    /// All of them, sorted.
    #[must_use]
    pub fn all(self) -> Vec<Arc<GroupKey>> {
        let mut all: Vec<_> = self.joined.into_iter().chain(self.durable).collect();
        all.sort();
        all
    }

    /// The groups of one hub that a token brings back to a user who is `stored` in these for good.
    #[must_use]
    pub fn of_hub(&self, hub: &HubName, stored: &[GroupName]) -> Vec<GroupName> {
        let stored: HashSet<_> = stored.iter().collect();
        let durable = self.durable.iter().filter(|key| stored.contains(&key.name));
        self.joined.iter().chain(durable).filter(|key| key.hub == *hub).map(|key| key.name.clone()).collect()
    }
}

fn millis(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// The groups as a token lists them; nothing if that would take more than `room`. It is made anew whenever groups
/// change, so that what comes after the limit is not looked at.
fn list_of(groups: &[Arc<GroupKey>], room: &mut usize) -> Option<Vec<String>> {
    let mut fit = |name: String| {
        // What JSON escapes is longer than it looks.
        let length = Value::from(&*name).to_string().len() + ",".len();
        *room = room.checked_sub(length)?;
        Some(name)
    };
    groups.iter().map(|group| fit(group.to_string())).collect()
}

fn keys_of(list: &[String]) -> Vec<Arc<GroupKey>> {
    let key = |text: &String| text.split_once('.').map(|(hub, name)| GroupKey::new(&hub.into(), &name.into()));
    list.iter().filter_map(key).collect()
}

impl Claims {
    /// The claims of `bearer` to these groups, from `now` on for `lifetime`.
    #[must_use]
    pub fn new(bearer: &TokenSubject, groups: &TokenGroups, now: SystemTime, lifetime: Duration) -> Self {
        let mut room = LONGEST_LIST;
        let lists = list_of(&groups.joined, &mut room).zip(list_of(&groups.durable, &mut room));
        let (joined, durable) = lists.unzip();
        Self {
            family: bearer.family.clone(),
            epoch: bearer.epoch,
            hub: bearer.hub.clone(),
            user: bearer.user.clone(),
            joined,
            durable: durable.unwrap_or_default(),
            issued: millis(now),
            expires: millis(now + lifetime),
        }
    }

    /// The bytes to be signed.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("texts and numbers are always JSON")
    }

    /// What was signed.
    ///
    /// # Errors
    /// [`RejoinError::Malformed`], if it is no such thing.
    pub fn decode(payload: &[u8]) -> Result<Self, RejoinError> {
        serde_json::from_slice(payload).map_err(|_| RejoinError::Malformed)
    }

    /// The groups; `None` if the list was too long for the token.
    #[must_use]
    pub fn groups(&self) -> Option<TokenGroups> {
        self.joined.as_ref().map(|joined| TokenGroups { joined: keys_of(joined), durable: keys_of(&self.durable) })
    }

    /// False if the list was too long for the token.
    #[must_use]
    pub fn has_list(&self) -> bool {
        self.joined.is_some()
    }

    /// When it was issued.
    #[must_use]
    pub fn issued(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(self.issued)
    }

    /// From when on it is refused.
    #[must_use]
    pub fn expires(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(self.expires)
    }

    /// Compares the claims with whoever presents them.
    ///
    /// # Errors
    /// The first [`RejoinError`] that applies.
    pub fn check(&self, presenter: &RejoinIdentity, now: SystemTime) -> Result<(), RejoinError> {
        let refusals = [
            (millis(now) >= self.expires, RejoinError::Expired),
            (presenter.connection.as_ref().is_some_and(|id| *id != self.family), RejoinError::WrongConnection),
            (presenter.user != self.user, RejoinError::WrongUser),
            (presenter.hub != self.hub, RejoinError::WrongHub),
        ];
        refusals.into_iter().find_map(|(applies, refusal)| applies.then_some(Err(refusal))).unwrap_or(Ok(()))
    }
}

/// Who presents a token.
#[derive(Clone, Debug, Default)]
pub struct RejoinIdentity {
    /// The connection that it must be made for, where a token is bound to one.
    pub connection: Option<String>,
    /// The user, as authenticated now.
    pub user: Option<UserId>,
    /// The hub, unless the connection has several.
    pub hub: Option<HubName>,
}

/// Why a rejoin token is not accepted. The client starts without its groups; each reason is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RejoinError {
    /// It is no token.
    #[error("malformed")]
    Malformed,
    /// It is signed under a key that is not in the ring.
    #[error("signed under an unknown key")]
    UnknownKey,
    /// Its signature is wrong.
    #[error("forged")]
    Forged,
    /// It is too old.
    #[error("expired")]
    Expired,
    /// It was made for another user.
    #[error("made for another user")]
    WrongUser,
    /// It was made for another hub.
    #[error("made for another hub")]
    WrongHub,
    /// It was made for another connection.
    #[error("made for another connection")]
    WrongConnection,
    /// It was used before.
    #[error("used before")]
    Replayed,
    /// It was revoked.
    #[error("revoked")]
    Revoked,
    /// The store could not say whether it was used or revoked.
    #[error("the store could not be asked about it")]
    Unchecked,
}

impl RejoinError {
    /// The counter of this reason.
    #[must_use]
    pub fn counter(self, metrics: &Metrics) -> &Counter {
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

    fn bearer() -> TokenSubject {
        TokenSubject { family: "family".into(), epoch: 3, hub: Some("chat".into()), user: Some("ann".into()) }
    }

    fn presenter() -> RejoinIdentity {
        RejoinIdentity { connection: None, user: Some("ann".into()), hub: Some("chat".into()) }
    }

    fn keys(names: &[&str]) -> Vec<Arc<GroupKey>> {
        names.iter().map(|name| GroupKey::new(&"chat".into(), &(*name).into())).collect()
    }

    fn joined(names: &[&str]) -> TokenGroups {
        TokenGroups { joined: keys(names), durable: Vec::new() }
    }

    fn listed() -> TokenGroups {
        TokenGroups { durable: keys(&["for good"]), ..joined(&["a", "b.c", ""]) }
    }

    fn claims() -> Claims {
        Claims::new(&bearer(), &listed(), UNIX_EPOCH + HOUR, HOUR)
    }

    #[test]
    fn claims_survive_being_encoded() {
        let read = Claims::decode(&claims().encode()).unwrap();
        assert_eq!(read, claims());
        assert_eq!(read.groups().unwrap(), listed(), "a group's name may hold dots, a hub's may not");
        assert_eq!(read.issued() + HOUR, read.expires());
    }

    #[test]
    fn claims_are_accepted_from_their_bearer_until_they_expire() {
        assert_eq!(claims().check(&presenter(), UNIX_EPOCH + HOUR), Ok(()));
        assert_eq!(claims().check(&presenter(), UNIX_EPOCH + HOUR * 2 - Duration::from_millis(1)), Ok(()));
        assert_eq!(claims().check(&presenter(), UNIX_EPOCH + HOUR * 2), Err(RejoinError::Expired));
    }

    #[test]
    fn claims_of_another_are_refused_by_what_differs() {
        let now = UNIX_EPOCH + HOUR;
        let with = |change: fn(&mut RejoinIdentity)| {
            let mut presenter = presenter();
            change(&mut presenter);
            claims().check(&presenter, now)
        };
        assert_eq!(with(|p| p.user = Some("bob".into())), Err(RejoinError::WrongUser));
        assert_eq!(with(|p| p.user = None), Err(RejoinError::WrongUser));
        assert_eq!(with(|p| p.hub = Some("other".into())), Err(RejoinError::WrongHub));
        assert_eq!(with(|p| p.connection = Some("another".into())), Err(RejoinError::WrongConnection));
        assert_eq!(with(|p| p.connection = Some("family".into())), Ok(()));
    }

    #[test]
    fn a_list_too_long_for_a_url_is_left_out() {
        let many: Vec<_> = (0..1000).map(|n| n.to_string()).collect();
        let names: Vec<_> = many.iter().map(String::as_str).collect();
        let claims = Claims::new(&bearer(), &joined(&names), UNIX_EPOCH, HOUR);
        assert_eq!(claims.groups(), None);
        assert!(claims.encode().len() < 200);
        for name in ["plain", "\u{1}\u{2}\u{3}\u{4}\u{5}"] {
            let mut count = 0;
            while Claims::new(&bearer(), &joined(&vec![name; count + 1]), UNIX_EPOCH, HOUR).has_list() {
                count += 1;
            }
            let longest = Claims::new(&bearer(), &joined(&vec![name; count]), UNIX_EPOCH, HOUR).encode().len();
            assert!((LONGEST_LIST..LONGEST_LIST + 200).contains(&longest), "{count} times {name:?}: {longest}");
        }
    }

    #[test]
    fn one_list_that_is_too_long_leaves_out_both() {
        let many = keys(&vec!["a group of some length"; 200]);
        for listed in [
            TokenGroups { joined: many.clone(), ..listed() },
            TokenGroups { durable: many.clone(), ..listed() },
            TokenGroups { joined: many[..90].to_vec(), durable: many[..90].to_vec() },
        ] {
            let claims = Claims::new(&bearer(), &listed, UNIX_EPOCH, HOUR);
            assert_eq!(claims.groups(), None);
            assert!(claims.encode().len() < 200);
        }
    }

    #[test]
    fn a_token_brings_back_what_was_joined_and_of_the_rest_what_is_stored() {
        let listed = TokenGroups { durable: keys(&["stored", "removed"]), ..joined(&["joined"]) };
        let names = |list: &[&str]| list.iter().map(|name| GroupName::from(*name)).collect::<Vec<_>>();
        assert_eq!(listed.of_hub(&"chat".into(), &names(&["stored", "another"])), names(&["joined", "stored"]));
        assert_eq!(listed.of_hub(&"other".into(), &names(&["stored"])), names(&[]));
    }

    #[test]
    fn what_is_no_claim_is_malformed() {
        for payload in [&b""[..], b"{}", b"[1]", b"\xff"] {
            assert_eq!(Claims::decode(payload), Err(RejoinError::Malformed));
        }
    }
}
