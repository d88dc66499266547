//! Claims of rejoin tokens: their content and checks.
//!
//! Everything here is pure: it uses no keys, clocks or stores. Callers pass in the values to compare.

use std::{
    collections::{BTreeSet, HashSet},
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};

use super::RejoinError;
use crate::{
    ids::{GroupKey, GroupName, HubName, UserId},
    store::GroupList,
};

mod encoding;
mod lists;

pub(crate) use lists::{GroupLists, ListKind, ListsSummary};

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
    /// The groups that the connection itself was added to, each as `hub.group`.
    #[serde(rename = "g", default)]
    joined: Vec<String>,
    /// The groups that the connection was in because its user was a durable member, each as `hub.group`.
    #[serde(rename = "d", default, skip_serializing_if = "Vec::is_empty")]
    durable: Vec<String>,
    /// The number of groups that `joined` lacks, because the token would be too long.
    #[serde(rename = "o", default, skip_serializing_if = "is_zero")]
    omitted_joined: usize,
    /// The number of groups that `durable` lacks for the same reason.
    #[serde(rename = "p", default, skip_serializing_if = "is_zero")]
    omitted_durable: usize,
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

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(count: &usize) -> bool {
    *count == 0
}

fn parse_list(list: &[String]) -> Vec<Arc<GroupKey>> {
    let key = |text: &String| text.split_once('.').map(|(hub, name)| GroupKey::new(&hub.into(), &name.into()));
    list.iter().filter_map(key).collect()
}

impl Claims {
    /// Creates the claims of `subject` to these groups, valid from `now` for `lifetime`.
    #[must_use]
    pub(crate) fn new(subject: &TokenSubject, groups: &GroupLists, now: SystemTime, lifetime: Duration) -> Self {
        let mut capacity = encoding::MAX_LIST_BYTES;
        let (joined, omitted_joined) = encoding::token_list(groups.parts(ListKind::Joined), &mut capacity);
        let (durable, omitted_durable) = encoding::token_list(groups.parts(ListKind::Durable), &mut capacity);
        Self {
            family: subject.family.clone(),
            epoch: subject.epoch,
            hub: subject.hub.clone(),
            user: subject.user.clone(),
            joined,
            durable,
            omitted_joined,
            omitted_durable,
            issued: millis(now),
            expires: millis(now + lifetime),
        }
    }

    /// The groups that the token lists.
    #[must_use]
    pub(crate) fn groups(&self) -> TokenGroups {
        TokenGroups { joined: parse_list(&self.joined), durable: parse_list(&self.durable) }
    }

    /// The groups of a token that could not list all of them, with those of the stored list of its family. A list that was
    /// made after the token replaces the groups that the connection was added to: it lacks those that it has left.
    #[must_use]
    pub(crate) fn groups_with(&self, list: GroupList) -> TokenGroups {
        let TokenGroups { joined, durable } = self.groups();
        let is_later = millis(list.written_at) >= self.issued;
        let known = if is_later { Vec::new() } else { joined };
        let all: BTreeSet<_> = known.into_iter().chain(list.groups).collect();
        TokenGroups { joined: all.into_iter().collect(), durable }
    }

    /// False if groups were omitted from the lists.
    #[must_use]
    pub(crate) fn is_complete(&self) -> bool {
        self.omitted_joined == 0 && self.omitted_durable == 0
    }

    /// The number of omitted groups that only the token could restore.
    #[must_use]
    pub(crate) fn omitted(&self) -> usize {
        self.omitted_joined
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
        TokenGroups { durable: keys(&["durable"]), ..joined(&["", "a", "b.c"]) }
    }

    fn claims_for(groups: &TokenGroups, now: SystemTime, lifetime: Duration) -> Claims {
        Claims::new(&subject(), &groups.into(), now, lifetime)
    }

    fn claims() -> Claims {
        claims_for(&listed(), UNIX_EPOCH + HOUR, HOUR)
    }

    #[test]
    fn encoded_claims_decode_unchanged() {
        let read = Claims::decode(&claims().encode()).unwrap();
        assert_eq!(read, claims());
        assert_eq!(read.groups(), listed(), "a group's name may hold dots, a hub's may not");
        assert_eq!(read.issued() + HOUR, read.expires());
    }

    #[test]
    fn stored_list_completes_or_replaces_the_token() {
        let issued = UNIX_EPOCH + HOUR;
        let list = |written_at| GroupList {
            family: "family".into(),
            groups: keys(&["b.c", "z"]),
            omitted: 0,
            written_at,
            expires_at: issued + HOUR,
        };
        let with = |written_at| claims().groups_with(list(written_at));
        let expected = |names: &[&str]| TokenGroups { durable: keys(&["durable"]), ..joined(names) };
        assert_eq!(with(issued), expected(&["b.c", "z"]), "the client has left the other groups");
        assert_eq!(with(issued - Duration::from_millis(1)), expected(&["", "a", "b.c", "z"]));
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
    fn token_restores_joined_groups_and_stored_durable_groups() {
        let listed = TokenGroups { durable: keys(&["stored", "removed"]), ..joined(&["joined"]) };
        let names = |list: &[&str]| list.iter().map(|name| GroupName::from(*name)).collect::<Vec<_>>();
        assert_eq!(listed.of_hub(&"chat".into(), &names(&["stored", "another"])), names(&["joined", "stored"]));
        assert_eq!(listed.of_hub(&"other".into(), &names(&["stored"])), names(&[]));
    }
}
