//! Group membership of connections.

use std::sync::Arc;

use actix::Recipient;
use futures_util::{StreamExt, stream};

use super::{
    TooManyChanges, UsersError,
    presence::GroupPresence,
    requester::Requester,
    scope::HubScope,
    services::HubServices,
    users::{bulk::unique, check_page},
};
use crate::{
    connections::{JoinCause, LeaveCause},
    group::{self, Delivery, Joined, Left},
    groups::{ActorMembership, Error},
    ids::{ConnectionId, GroupKey, GroupName, HubName, InvalidName, check_group},
    store::Page,
};

/// The number of groups that one call joins or leaves at a time.
const MAX_CONCURRENT_CHANGES: usize = 16;

/// The groups of a hub. Hub methods take it as a parameter; other code gets it from
/// [`HubHandle::groups`](crate::HubHandle::groups).
///
/// ```
/// use hubcast::{Args, Clients, Groups, HubError};
///
/// async fn join(groups: Groups, clients: Clients, Args((room,)): Args<(String,)>) -> Result<(), HubError> {
///     groups.join(room.as_str()).await?;
///     // The caller is a member now, so it receives the message, too.
///     clients.group(room).send("joined", ()).await?;
///     Ok(())
/// }
/// ```
#[derive(Clone, Debug)]
pub struct Groups {
    scope: HubScope,
}

/// The result of adding a connection to a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Added {
    /// The connection is now a member. It receives everything that is sent to the group from now on.
    Joined,
    /// The connection was already a member.
    AlreadyMember,
    /// There is no such connection on this hub, or it has ended meanwhile.
    NoSuchConnection,
}

/// The result of removing a connection from a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removed {
    /// The connection was a member and has left.
    Left,
    /// The connection was not a member.
    NotMember,
    /// There is no such connection on this hub, or it has ended meanwhile and left all groups.
    NoSuchConnection,
}

impl Added {
    fn of(joined: Option<Joined>) -> Self {
        match joined {
            Some(Joined::Now) => Self::Joined,
            Some(Joined::Already) => Self::AlreadyMember,
            None => Self::NoSuchConnection,
        }
    }

    /// The name for operators.
    fn name(self) -> &'static str {
        match self {
            Self::Joined => "joined",
            Self::AlreadyMember => "already member",
            Self::NoSuchConnection => "no such connection",
        }
    }
}

impl Removed {
    fn of(left: Option<Left>) -> Self {
        match left {
            Some(Left::Now) => Self::Left,
            Some(Left::NotMember) => Self::NotMember,
            None => Self::NoSuchConnection,
        }
    }

    /// The name for operators.
    fn name(self) -> &'static str {
        match self {
            Self::Left => "left",
            Self::NotMember => "not member",
            Self::NoSuchConnection => "no such connection",
        }
    }
}

impl Groups {
    pub(crate) fn new(services: &HubServices, hub: &HubName, requester: &Requester) -> Self {
        Self { scope: HubScope::new(services, hub, requester) }
    }

    fn key(&self, group: impl Into<GroupName>) -> Arc<GroupKey> {
        GroupKey::new(&self.scope.hub, &group.into())
    }

    /// The key of a group that may be created now.
    fn new_key(&self, group: impl Into<GroupName>) -> Result<Arc<GroupKey>, InvalidName> {
        let key = self.key(group);
        check_group(&key.name).map(|()| key)
    }

    /// Adds a connection to a group. The group is created if it does not exist. Adding twice has no effect.
    ///
    /// # Errors
    /// [`Error::Interrupted`], if the group's actor crashes repeatedly meanwhile. [`Error::InvalidName`], if the name has
    /// more than 256 characters or contains U+0000.
    pub async fn add(&self, id: impl Into<ConnectionId>, group: impl Into<GroupName>) -> Result<Added, Error> {
        let (id, key) = (id.into(), self.new_key(group)?);
        let added = self.scope.router.join(&id, &key, JoinCause::Caller).await.map(Added::of);
        self.audit("add connection to group", &id, &key, added.as_ref().map(|added| added.name()));
        added
    }

    /// Removes a connection from a group and returns whether it was a member. A durable membership of its user stays stored:
    /// the next connection of the user joins the group, and this one stays out of it.
    ///
    /// # Errors
    /// [`Error::Interrupted`], if the group's actor crashes meanwhile.
    pub async fn remove(&self, id: impl Into<ConnectionId>, group: impl Into<GroupName>) -> Result<Removed, Error> {
        let (id, key) = (id.into(), self.key(group));
        let removed = self.scope.router.leave(&id, &key).await.map(Removed::of);
        self.audit("remove connection from group", &id, &key, removed.as_ref().map(|removed| removed.name()));
        removed
    }

    fn audit(&self, action: &str, id: &ConnectionId, key: &GroupKey, result: Result<&str, &Error>) {
        let subject = [("hub", &*self.scope.hub), ("conn", &**id), ("group", &*key.name)];
        self.scope.requester.audit(action, &subject, &result, |name| (*name).to_owned());
    }

    /// Adds the caller to a group.
    ///
    /// # Errors
    /// The errors of [`Groups::add`].
    pub async fn join(&self, group: impl Into<GroupName>) -> Result<Added, Error> {
        match self.scope.requester.caller() {
            Some(caller) => caller.join(&self.new_key(group)?, JoinCause::Caller).await.map(Added::of),
            None => Ok(Added::NoSuchConnection),
        }
    }

    /// Removes the caller from a group. A durable membership of its user stays stored, as for [`Groups::remove`].
    ///
    /// # Errors
    /// The errors of [`Groups::remove`].
    pub async fn leave(&self, group: impl Into<GroupName>) -> Result<Removed, Error> {
        match self.scope.requester.caller() {
            Some(caller) => caller.leave(&self.key(group), LeaveCause::Caller).await.map(Removed::of),
            None => Ok(Removed::NoSuchConnection),
        }
    }

    /// Adds the caller to many groups. Returns the result for each name, in their order; a repeated name counts once.
    ///
    /// # Errors
    /// [`TooManyChanges`], and nothing has changed. The errors of a name are those of [`Groups::add`].
    pub async fn join_all(
        &self,
        groups: impl IntoIterator<Item = impl Into<GroupName>>,
    ) -> Result<Vec<(GroupName, Result<Added, Error>)>, TooManyChanges> {
        let groups = unique(groups);
        TooManyChanges::check(groups.len())?;
        let joins = groups.into_iter().map(async |group| {
            let joined = self.join(group.clone()).await;
            (group, joined)
        });
        Ok(stream::iter(Vec::from_iter(joins)).buffered(MAX_CONCURRENT_CHANGES).collect().await)
    }

    /// Removes the caller from all groups of this hub. Returns the result for each, sorted by name. Durable memberships
    /// of its user stay stored: its next connection joins those groups again.
    /// [`Users::remove_from_all_groups`](super::Users::remove_from_all_groups) ends them.
    pub async fn leave_all(&self) -> Vec<(GroupName, Result<Removed, Error>)> {
        let snapshot = match self.scope.requester.caller() {
            Some(caller) => caller.inspect().await.unwrap_or_default(),
            None => return Vec::new(),
        };
        let groups = snapshot.groups.into_iter().filter(|key| key.hub == self.scope.hub);
        let leaves = groups.map(async |key| {
            let left = self.leave(key.name.clone()).await;
            (key.name.clone(), left)
        });
        stream::iter(Vec::from_iter(leaves)).buffered(MAX_CONCURRENT_CHANGES).collect().await
    }

    /// Revokes a group in all rejoin tokens that were issued until now, on all nodes: these tokens do not put their clients
    /// back into the group. They still restore the other groups, and users stay durable members. The clock tolerance is
    /// that of [`Users::revoke_tokens`](super::Users::revoke_tokens).
    ///
    /// Live members stay, and receive new tokens with the group. To exclude members, call this, then remove them, then call
    /// this again. The first call refuses the group to clients that return in the meantime. The second call covers tokens
    /// that members have received before their removal.
    ///
    /// # Errors
    /// [`UsersError::Store`], if the store fails or does not confirm in time. It may have stored the revocation anyway;
    /// the call can safely be repeated. [`UsersError::InvalidName`], as for [`Groups::add`].
    pub async fn revoke_tokens(&self, group: impl Into<GroupName>) -> Result<(), UsersError> {
        let key = self.new_key(group)?;
        let revoked = self.scope.durable.revoke_group(&key).await;
        let subject = [("hub", &*self.scope.hub), ("group", &*key.name)];
        self.scope.requester.audit("revoke tokens", &subject, &revoked, |()| "revoked".into());
        Ok(revoked?)
    }

    /// Adds an actor to a group until the returned value is dropped. A message is not delivered to the actor if its
    /// mailbox is full.
    ///
    /// # Errors
    /// The errors of [`Groups::add`].
    pub async fn add_actor(
        &self,
        group: impl Into<GroupName>,
        actor: Recipient<Delivery>,
    ) -> Result<ActorMembership, Error> {
        self.scope.router.local_groups().join_actor(self.new_key(group)?, actor).await
    }

    /// The current members of a group; `None` if there is no such group.
    ///
    /// # Errors
    /// [`Error::Interrupted`], if the group's actor crashes meanwhile.
    pub async fn members(&self, group: impl Into<GroupName>) -> Result<Option<group::GroupSnapshot>, Error> {
        self.scope.router.local_groups().inspect(&self.key(group)).await
    }

    /// The durable members of a group, each with its presence. A page has at most
    /// [`MAX_PRESENCE_PAGE`](super::MAX_PRESENCE_PAGE) members; the last one is [`Page::after`] of the next page.
    ///
    /// ```
    /// use hubcast::{Groups, HubError, store::Page};
    ///
    /// async fn online(groups: &Groups, room: &str) -> Result<Vec<String>, HubError> {
    ///     let page = groups.presence(room, &Page { after: None, limit: 100 }).await?;
    ///     let online = page.members.iter().filter(|member| member.is_online);
    ///     Ok(online.map(|member| member.user.to_string()).collect())
    /// }
    /// ```
    ///
    /// # Errors
    /// The errors of [`Users::groups_of`](super::Users::groups_of).
    pub async fn presence(&self, group: impl Into<GroupName>, page: &Page) -> Result<GroupPresence, UsersError> {
        let group = group.into();
        check_page(&group, page)?;
        Ok(self.scope.presence.of_group(&self.scope.hub, &group, page).await?)
    }

    /// The groups that exist now, in no particular order.
    #[must_use]
    pub fn list(&self) -> Vec<GroupName> {
        self.scope.router.local_groups().keys(Some(&self.scope.hub)).iter().map(|key| key.name.clone()).collect()
    }
}
