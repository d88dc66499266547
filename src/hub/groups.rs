//! Group membership of connections, and durable group membership of users.

use std::{fmt::Debug, sync::Arc};

use actix::Recipient;
use tokio::time::{Instant, sleep_until};

use super::{
    UsersError,
    requester::Requester,
    services::{DurableGroups, HubServices},
};
use crate::{
    connections::{JoinCause, Reconnect},
    group::{self, Delivery, Joined, Left},
    groups::{ActorMembership, Error},
    ids::{ConnectionId, GroupKey, GroupName, HubName, InvalidName, UserId, check_name},
    router::Router,
    store::{self, Change, Members, MembershipChange, MembershipOp, Owner, Page},
};

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
    router: Arc<Router>,
    hub: HubName,
    requester: Requester,
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
}

impl Removed {
    fn of(left: Option<Left>) -> Self {
        match left {
            Some(Left::Now) => Self::Left,
            Some(Left::NotMember) => Self::NotMember,
            None => Self::NoSuchConnection,
        }
    }
}

impl Groups {
    pub(crate) fn new(services: &Arc<HubServices>, hub: &HubName, requester: &Requester) -> Self {
        Self { router: Arc::clone(&services.router), hub: hub.clone(), requester: requester.clone() }
    }

    fn key(&self, group: impl Into<GroupName>) -> Arc<GroupKey> {
        GroupKey::new(&self.hub, &group.into())
    }

    /// The key of a group that may be created now.
    fn new_key(&self, group: impl Into<GroupName>) -> Result<Arc<GroupKey>, InvalidName> {
        let key = self.key(group);
        check_name("group", &key.name).map(|()| key)
    }

    /// Adds a connection to a group. The group is created if it does not exist. Adding twice has no effect.
    ///
    /// # Errors
    /// [`Error::Interrupted`], if the group's actor crashes repeatedly meanwhile. [`Error::InvalidName`], if the name has
    /// more than 256 characters or contains U+0000.
    pub async fn add(&self, id: impl Into<ConnectionId>, group: impl Into<GroupName>) -> Result<Added, Error> {
        let (id, key) = (id.into(), self.new_key(group)?);
        let added = self.router.join(&id, &key, JoinCause::Caller).await.map(Added::of);
        self.audit("add connection to group", &id, &key, &added);
        added
    }

    /// Removes a connection from a group and returns whether it was a member.
    ///
    /// # Errors
    /// [`Error::Interrupted`], if the group's actor crashes meanwhile.
    pub async fn remove(&self, id: impl Into<ConnectionId>, group: impl Into<GroupName>) -> Result<Removed, Error> {
        let (id, key) = (id.into(), self.key(group));
        let removed = self.router.leave(&id, &key).await.map(Removed::of);
        self.audit("remove connection from group", &id, &key, &removed);
        removed
    }

    fn audit<T: Debug>(&self, action: &str, id: &ConnectionId, key: &GroupKey, result: &Result<T, Error>) {
        let subject = [("hub", &*self.hub), ("conn", &**id), ("group", &*key.name)];
        self.requester.audit(action, &subject, result, |result| format!("{result:?}"));
    }

    /// Adds the caller to a group.
    ///
    /// # Errors
    /// The errors of [`Groups::add`].
    pub async fn join(&self, group: impl Into<GroupName>) -> Result<Added, Error> {
        match self.requester.caller() {
            Some(caller) => caller.join(&self.new_key(group)?, JoinCause::Caller).await.map(Added::of),
            None => Ok(Added::NoSuchConnection),
        }
    }

    /// Removes the caller from a group.
    ///
    /// # Errors
    /// The errors of [`Groups::remove`].
    pub async fn leave(&self, group: impl Into<GroupName>) -> Result<Removed, Error> {
        match self.requester.caller() {
            Some(caller) => caller.leave(&self.key(group)).await.map(Removed::of),
            None => Ok(Removed::NoSuchConnection),
        }
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
        self.router.local_groups().join_actor(self.new_key(group)?, actor).await
    }

    /// The current members of a group; `None` if there is no such group.
    ///
    /// # Errors
    /// [`Error::Interrupted`], if the group's actor crashes meanwhile.
    pub async fn members(&self, group: impl Into<GroupName>) -> Result<Option<group::GroupSnapshot>, Error> {
        self.router.local_groups().inspect(&self.key(group)).await
    }

    /// The groups that exist now, in no particular order.
    #[must_use]
    pub fn list(&self) -> Vec<GroupName> {
        self.router.local_groups().keys(Some(&self.hub)).iter().map(|key| key.name.clone()).collect()
    }
}

/// The users of a hub and their durable groups. Hub methods take it as a parameter; other code gets it from
/// [`HubHandle::users`](crate::HubHandle::users).
///
/// ```
/// use hubcast::{Args, Caller, HubError, Users};
///
/// async fn subscribe(caller: Caller, users: Users, Args((room,)): Args<(String,)>) -> Result<(), HubError> {
///     let user = caller.user().ok_or_else(|| HubError::new("sign in first"))?;
///     users.add_to_group(user.clone(), room).await?;
///     Ok(())
/// }
/// ```
#[derive(Clone, Debug)]
pub struct Users {
    router: Arc<Router>,
    durable: Arc<DurableGroups>,
    hub: HubName,
    requester: Requester,
}

/// The result of a durable change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DurableChange {
    /// The change in the store.
    pub stored: Change,
    /// The number of live connections of the user that joined or left.
    pub connections: usize,
}

impl Users {
    pub(crate) fn new(services: &Arc<HubServices>, hub: &HubName, requester: &Requester) -> Self {
        Self {
            router: Arc::clone(&services.router),
            durable: Arc::clone(&services.durable),
            hub: hub.clone(),
            requester: requester.clone(),
        }
    }

    fn owner(&self, user: &UserId) -> Owner {
        Owner { hub: self.hub.clone(), user: user.clone() }
    }

    /// Adds a user to a group durably. The membership is stored first, then every live connection of the user joins the
    /// group. Later connections of the user join when they start.
    ///
    /// In a method or hook of a client, the call waits while the client makes more durable changes than
    /// [`EngineBuilder::durable_change_rate`](crate::EngineBuilder::durable_change_rate) allows.
    ///
    /// # Errors
    /// [`UsersError::Store`]: the store failed, and no live connection has changed. [`UsersError::InvalidName`]: a name has
    /// more than 256 characters or contains U+0000, and nothing has changed. [`UsersError::Group`]: the membership is stored, but a group's
    /// actor crashed meanwhile; repeating the call completes the change.
    pub async fn add_to_group(
        &self,
        user: impl Into<UserId>,
        group: impl Into<GroupName>,
    ) -> Result<DurableChange, UsersError> {
        let (user, group) = (user.into(), group.into());
        check_name("user", &user)?;
        check_name("group", &group)?;
        self.audited_change("add user to group", user, group, MembershipOp::Add).await
    }

    /// Removes a user from a group durably. The membership is deleted from the store first, then every live connection
    /// of the user leaves the group.
    ///
    /// # Errors
    /// The errors of [`Users::add_to_group`].
    pub async fn remove_from_group(
        &self,
        user: impl Into<UserId>,
        group: impl Into<GroupName>,
    ) -> Result<DurableChange, UsersError> {
        self.audited_change("remove user from group", user.into(), group.into(), MembershipOp::Remove).await
    }

    async fn audited_change(
        &self,
        action: &str,
        user: UserId,
        group: GroupName,
        op: MembershipOp,
    ) -> Result<DurableChange, UsersError> {
        let changed = self.change(&user, &group, op).await;
        let subject = [("hub", &*self.hub), ("user", &*user), ("group", &*group)];
        self.requester.audit(action, &subject, &changed, |DurableChange { stored, connections }| {
            format!("store {stored:?}, {connections} connections")
        });
        changed
    }

    /// Waits while the caller makes durable changes faster than a client may.
    async fn keep_pace(&self) {
        if let (Some(caller), Some(rate)) = (self.requester.caller(), self.durable.rate) {
            sleep_until(caller.pace.reserve(Instant::now(), rate)).await;
        }
    }

    async fn change(&self, user: &UserId, group: &GroupName, op: MembershipOp) -> Result<DurableChange, UsersError> {
        let (owner, key) = (self.owner(user), GroupKey::new(&self.hub, group));
        self.keep_pace().await;
        let _lock = self.durable.lock(&owner, group).await?;
        let stored = self.durable.write(MembershipChange { owner, group: group.clone(), op }).await?;
        let connections = match op {
            MembershipOp::Add => self.router.join_user(user, &key).await?,
            MembershipOp::Remove => self.router.leave_user(user, &key).await?,
        };
        Ok(DurableChange { stored, connections })
    }

    /// The durable groups of a user.
    ///
    /// # Errors
    /// [`UsersError::Store`], if the store fails or does not answer in time.
    pub async fn groups_of(&self, user: impl Into<UserId>) -> Result<Vec<GroupName>, UsersError> {
        Ok(self.durable.groups_of(&self.owner(&user.into())).await?)
    }

    /// The users that are durable members of a group, ordered by name.
    ///
    /// # Errors
    /// [`UsersError::Store`], if the store fails or does not answer in time.
    pub async fn members_of(&self, group: impl Into<GroupName>, page: &Page) -> Result<Members, UsersError> {
        let group = group.into();
        Ok(self.durable.members_of(&self.hub, &group, page).await?)
    }

    /// Revokes all rejoin tokens of a user that were issued until now, on all hubs and all nodes. If several nodes share
    /// the store, tokens that are issued in the next [`CLOCK_TOLERANCE`](crate::store::CLOCK_TOLERANCE) are revoked too,
    /// because the clocks of the nodes can differ.
    ///
    /// # Errors
    /// [`UsersError::Store`], if the store fails or does not confirm in time. It may have stored the revocation anyway;
    /// the call can safely be repeated.
    pub async fn revoke_tokens(&self, user: impl Into<UserId>) -> Result<(), UsersError> {
        let user = user.into();
        check_name("user", &user)?;
        let revoked = self.durable.revoke_tokens(&user).await;
        self.requester.audit("revoke tokens", &[("user", &*user)], &revoked, |()| "revoked".into());
        Ok(revoked?)
    }

    /// Signs a user out: revokes its rejoin tokens and ends its connections on all hubs of this node. Returns the number
    /// of clients that were told. A client with automatic reconnect does not return. The application must first make the
    /// user's credentials invalid, or a new connection with them succeeds; it is in the durable groups of the user only.
    ///
    /// # Errors
    /// [`UsersError::Store`], if the store fails or does not confirm in time. Connections may have ended anyway; the
    /// call can safely be repeated.
    pub async fn sign_out(&self, user: impl Into<UserId>) -> Result<usize, UsersError> {
        let user = user.into();
        let signed_out = self.revoke_and_disconnect(&user).await;
        self.requester.audit("sign out", &[("user", &*user)], &signed_out, |count| format!("{count} disconnected"));
        Ok(signed_out?)
    }

    /// Order: the first revocation refuses the tokens of clients that return at once. The second one covers tokens that
    /// were issued between the first and the end of the connections.
    async fn revoke_and_disconnect(&self, user: &UserId) -> Result<usize, store::Error> {
        self.durable.revoke_tokens(user).await?;
        let told = self.router.disconnect_user(user, Reconnect::Deny).await;
        self.durable.revoke_tokens(user).await?;
        Ok(told)
    }
}
