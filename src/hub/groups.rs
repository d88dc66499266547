//! Putting connections and users into groups, and taking them out.

use std::{sync::Arc, time::SystemTime};

use actix::Recipient;
use futures_util::future::join_all;

use super::{UsersError, services::HubServices};
use crate::{
    connections::JoinCause,
    group::{self, Delivery, Joined, Left},
    groups::{ActorMembership, Error},
    ids::{ConnectionId, GroupKey, GroupName, HubName, UserId},
    membership::{Verb, Write},
    store::{Change, Members, Owner, Page},
};

/// The groups of a hub. Take it as an argument of a hub method, or from
/// [`HubHandle::groups`](crate::HubHandle::groups) outside of one.
#[derive(Clone, Debug)]
pub struct Groups {
    services: Arc<HubServices>,
    hub: HubName,
    caller: Option<ConnectionId>,
}

/// What became of adding a connection to a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Added {
    /// It is a member now; whatever is sent to the group from here on reaches it.
    Joined,
    /// It was a member already.
    AlreadyMember,
    /// There is no such connection on this hub, or it ended meanwhile.
    NoSuchConnection,
}

/// What became of removing a connection from a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removed {
    /// It was a member, and no longer is.
    Left,
    /// It was no member.
    NoMember,
    /// There is no such connection on this hub, or it ended meanwhile and left everything.
    NoSuchConnection,
}

impl Groups {
    pub(crate) fn new(services: &Arc<HubServices>, hub: &HubName, caller: Option<&ConnectionId>) -> Self {
        Self { services: Arc::clone(services), hub: hub.clone(), caller: caller.cloned() }
    }

    fn key(&self, group: impl Into<GroupName>) -> Arc<GroupKey> {
        GroupKey::new(&self.hub, &group.into())
    }

    /// Makes a connection a member; the group comes into being if it has to. Adding twice is harmless.
    ///
    /// # Errors
    /// [`Error::Interrupted`], if the group dies again and again meanwhile.
    pub async fn add(&self, id: impl Into<ConnectionId>, group: impl Into<GroupName>) -> Result<Added, Error> {
        let joined = self.services.join(&id.into(), &self.key(group), JoinCause::Caller).await?;
        Ok(match joined {
            Some(Joined::Now) => Added::Joined,
            Some(Joined::Already) => Added::AlreadyMember,
            None => Added::NoSuchConnection,
        })
    }

    /// Ends a connection's membership, and answers at once what it was.
    ///
    /// # Errors
    /// [`Error::Interrupted`], if the group dies meanwhile.
    pub async fn remove(&self, id: impl Into<ConnectionId>, group: impl Into<GroupName>) -> Result<Removed, Error> {
        let left = self.services.leave(&id.into(), &self.key(group)).await?;
        Ok(match left {
            Some(Left::Now) => Removed::Left,
            Some(Left::NoMember) => Removed::NoMember,
            None => Removed::NoSuchConnection,
        })
    }

    /// Makes the client that called a member.
    ///
    /// # Errors
    /// As [`Groups::add`].
    pub async fn join(&self, group: impl Into<GroupName>) -> Result<Added, Error> {
        match &self.caller {
            Some(caller) => self.add(caller.clone(), group).await,
            None => Ok(Added::NoSuchConnection),
        }
    }

    /// Ends the membership of the client that called.
    ///
    /// # Errors
    /// As [`Groups::remove`].
    pub async fn leave(&self, group: impl Into<GroupName>) -> Result<Removed, Error> {
        match &self.caller {
            Some(caller) => self.remove(caller.clone(), group).await,
            None => Ok(Removed::NoSuchConnection),
        }
    }

    /// Makes an actor a member until the answer is dropped. A message that finds the actor's mailbox full
    /// is not delivered to it.
    ///
    /// # Errors
    /// As [`Groups::add`].
    pub async fn add_actor(
        &self,
        group: impl Into<GroupName>,
        actor: Recipient<Delivery>,
    ) -> Result<ActorMembership, Error> {
        self.services.groups.join_actor(self.key(group), actor).await
    }

    /// Who is in a group now; `None` if there is no such group.
    ///
    /// # Errors
    /// [`Error::Interrupted`], if the group dies meanwhile.
    pub async fn members(&self, group: impl Into<GroupName>) -> Result<Option<group::Snapshot>, Error> {
        self.services.groups.inspect(&self.key(group)).await
    }

    /// The groups that exist now, in no order.
    #[must_use]
    pub fn list(&self) -> Vec<GroupName> {
        self.services.groups.keys(Some(&self.hub)).iter().map(|key| key.name.clone()).collect()
    }
}

/// The users of a hub and their durable groups. Take it as an argument of a hub method, or from
/// [`HubHandle::users`](crate::HubHandle::users) outside of one.
#[derive(Clone, Debug)]
pub struct Users {
    services: Arc<HubServices>,
    hub: HubName,
}

/// What became of a durable change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DurableChange {
    /// What the store did.
    pub stored: Change,
    /// How many living connections of the user changed with it.
    pub connections: usize,
}

impl Users {
    pub(crate) fn new(services: &Arc<HubServices>, hub: &HubName) -> Self {
        Self { services: Arc::clone(services), hub: hub.clone() }
    }

    fn owner(&self, user: &UserId) -> Owner {
        Owner { hub: self.hub.clone(), user: user.clone() }
    }

    /// Makes a user a member for good: the row is written first, then every living connection of the user
    /// joins, and every later one will.
    ///
    /// # Errors
    /// If the store does not take it, nothing has changed. If a group was interrupted, the row is written,
    /// and the same call mends the rest.
    pub async fn add_to_group(
        &self,
        user: impl Into<UserId>,
        group: impl Into<GroupName>,
    ) -> Result<DurableChange, UsersError> {
        self.change(user.into(), group.into(), Verb::Add).await
    }

    /// Ends a user's membership for good: the row first, then every living connection leaves.
    ///
    /// # Errors
    /// As [`Users::add_to_group`].
    pub async fn remove_from_group(
        &self,
        user: impl Into<UserId>,
        group: impl Into<GroupName>,
    ) -> Result<DurableChange, UsersError> {
        self.change(user.into(), group.into(), Verb::Remove).await
    }

    async fn change(&self, user: UserId, group: GroupName, verb: Verb) -> Result<DurableChange, UsersError> {
        let (owner, key) = (self.owner(&user), GroupKey::new(&self.hub, &group));
        let _turn = self.services.turns.of(&(&owner, &group)).await?;
        let write = |answer| Write { owner: owner.clone(), group: group.clone(), verb, answer };
        let stored = self.services.membership.ask(write).await??;
        let ids = self.connections_of(&user);
        let changes = join_all(ids.iter().map(|id| self.change_one(id, &key, verb))).await;
        let changed = changes.into_iter().collect::<Result<Vec<_>, _>>()?;
        Ok(DurableChange { stored, connections: changed.into_iter().filter(|changed| *changed).count() })
    }

    async fn change_one(&self, id: &ConnectionId, key: &Arc<GroupKey>, verb: Verb) -> Result<bool, Error> {
        match verb {
            Verb::Add => Ok(self.services.join(id, key, JoinCause::User).await? == Some(Joined::Now)),
            Verb::Remove => Ok(self.services.leave(id, key).await? == Some(Left::Now)),
        }
    }

    fn connections_of(&self, user: &UserId) -> Vec<ConnectionId> {
        self.services.connections.of_user(&self.hub, user).iter().map(|handle| handle.id.clone()).collect()
    }

    /// A user's durable groups.
    ///
    /// # Errors
    /// If the store does not answer in time.
    pub async fn groups_of(&self, user: impl Into<UserId>) -> Result<Vec<GroupName>, UsersError> {
        Ok(self.services.durable_groups(&self.owner(&user.into())).await?)
    }

    /// The durable members of a group, in the order of their names.
    ///
    /// # Errors
    /// If the store does not answer in time.
    pub async fn members_of(&self, group: impl Into<GroupName>, page: &Page) -> Result<Members, UsersError> {
        let group = group.into();
        Ok(self.services.store.ask(|store| store.members(&self.hub, &group, page)).await?)
    }

    /// Makes every rejoin token of a user worthless that was issued until now.
    ///
    /// # Errors
    /// If the store does not take it in time; it may have taken it then, and taking it twice does no harm.
    pub async fn revoke_tokens(&self, user: impl Into<UserId>) -> Result<(), UsersError> {
        let (user, now) = (user.into(), SystemTime::now());
        Ok(self.services.store.ask(|store| store.revoke(&user, now)).await?)
    }
}
