//! Durable group membership of users.

use std::{collections::HashSet, fmt::Display};

use tokio::time::{Instant, sleep_until};

use super::{UsersError, requester::Requester, scope::HubScope, services::HubServices};
use crate::{
    connections::{JoinCause, LeaveCause},
    ids::{GroupKey, GroupName, HubName, InvalidName, UserId, check_group, check_user},
    store::{self, Change, Members, MembershipChange, MembershipOp, Owner, Page},
};

pub(super) mod bulk;

/// The names of the changes in the audit log.
const ADD: &str = "add user to group";
const REMOVE: &str = "remove user from group";

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
    scope: HubScope,
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
    pub(crate) fn new(services: &HubServices, hub: &HubName, requester: &Requester) -> Self {
        Self { scope: HubScope::new(services, hub, requester) }
    }

    fn owner(&self, user: &UserId) -> Owner {
        Owner { hub: self.scope.hub.clone(), user: user.clone() }
    }

    /// Adds a user to a group durably. The membership is stored first, then every live connection of the user joins the
    /// group. Later connections of the user join when they start.
    ///
    /// In a method or hook of a client, the call waits while the client makes more durable changes than
    /// [`EngineBuilder::durable_change_rate`](crate::EngineBuilder::durable_change_rate) allows.
    ///
    /// # Errors
    /// [`UsersError::Store`]: the store failed, and no live connection has changed. [`UsersError::InvalidName`]: a name is
    /// invalid, and nothing has changed. [`UsersError::Group`]: the membership is stored, but a group's actor crashed
    /// meanwhile; repeating the call completes the change.
    pub async fn add_to_group(
        &self,
        user: impl Into<UserId>,
        group: impl Into<GroupName>,
    ) -> Result<DurableChange, UsersError> {
        self.audited_change(ADD, user.into(), group.into(), MembershipOp::Add).await
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
        self.audited_change(REMOVE, user.into(), group.into(), MembershipOp::Remove).await
    }

    async fn audited_change(
        &self,
        action: &str,
        user: UserId,
        group: GroupName,
        op: MembershipOp,
    ) -> Result<DurableChange, UsersError> {
        check_user(&user)?;
        check_group(&group)?;
        let changed = self.change(&user, &group, op).await;
        self.audit_change(action, &user, &group, &changed);
        changed
    }

    fn audit_change(
        &self,
        action: &str,
        user: &UserId,
        group: &GroupName,
        changed: &Result<DurableChange, impl Display>,
    ) {
        let subject = [("hub", &*self.scope.hub), ("user", &**user), ("group", &**group)];
        self.scope.requester.audit(action, &subject, changed, |DurableChange { stored, connections }| {
            format!("store {}, {connections} connections", stored.name())
        });
    }

    /// Waits while the caller makes durable changes faster than a client may. It makes `count` of them now.
    async fn keep_pace(&self, count: usize) {
        if let (Some(caller), Some(rate)) = (self.scope.requester.caller(), self.scope.durable.rate) {
            sleep_until(caller.pace.reserve(Instant::now(), rate, count)).await;
        }
    }

    async fn change(&self, user: &UserId, group: &GroupName, op: MembershipOp) -> Result<DurableChange, UsersError> {
        let change = MembershipChange { owner: self.owner(user), group: group.clone(), op };
        self.keep_pace(1).await;
        let _lock = self.scope.durable.lock(&change.owner, group).await?;
        let stored = self.scope.durable.write(change.clone()).await?;
        let changed = self.change_live(&change, stored).await;
        self.scope.presence.announce([(&change, stored)]).await;
        changed
    }

    /// Repeats a stored change on the live connections of the user.
    async fn change_live(&self, change: &MembershipChange, stored: Change) -> Result<DurableChange, UsersError> {
        let (user, key) = (&change.owner.user, GroupKey::new(&self.scope.hub, &change.group));
        let connections = match change.op {
            MembershipOp::Add => self.scope.router.join_user(user, &key, JoinCause::User).await?,
            MembershipOp::Remove => self.scope.router.leave_user(user, &key, LeaveCause::User).await?,
        };
        Ok(DurableChange { stored, connections })
    }

    /// The durable groups of a user.
    ///
    /// # Errors
    /// [`UsersError::Store`], if the store fails or does not answer in time. [`UsersError::InvalidName`], as for
    /// [`Users::add_to_group`].
    pub async fn groups_of(&self, user: impl Into<UserId>) -> Result<Vec<GroupName>, UsersError> {
        let user = user.into();
        check_user(&user)?;
        Ok(self.scope.durable.groups_of(&self.owner(&user)).await?)
    }

    /// The users that are durable members of a group, ordered by name.
    ///
    /// # Errors
    /// The errors of [`Users::groups_of`].
    pub async fn members_of(&self, group: impl Into<GroupName>, page: &Page) -> Result<Members, UsersError> {
        let group = group.into();
        check_page(&group, page)?;
        Ok(self.scope.durable.members_of(&self.scope.hub, &group, page).await?)
    }

    /// Revokes all rejoin tokens of a user that were issued until now, on all hubs and all nodes. If several nodes share
    /// the store, tokens that are issued in the next [`CLOCK_TOLERANCE`](crate::store::CLOCK_TOLERANCE) are revoked too,
    /// because the clocks of the nodes can differ.
    ///
    /// # Errors
    /// [`UsersError::Store`], if the store fails or does not confirm in time. It may have stored the revocation anyway;
    /// the call can safely be repeated. [`UsersError::InvalidName`], as for [`Users::add_to_group`].
    pub async fn revoke_tokens(&self, user: impl Into<UserId>) -> Result<(), UsersError> {
        let user = user.into();
        check_user(&user)?;
        let revoked = self.scope.durable.revoke_tokens(&user).await;
        self.scope.requester.audit("revoke tokens", &[("user", &*user)], &revoked, |()| "revoked".into());
        Ok(revoked?)
    }

    /// Signs a user out: ends its connections on all hubs of this node, and revokes its rejoin tokens. Returns the number
    /// of clients that were told. A client with automatic reconnect does not return. The application must first make the
    /// user's credentials invalid, or a new connection with them succeeds; it is in the durable groups of the user only.
    ///
    /// The connections end even if the store fails, and do not wait for it.
    ///
    /// # Errors
    /// [`UsersError::NotRevoked`], if the store fails or does not confirm in time. The connections have ended; the call can
    /// safely be repeated. [`UsersError::InvalidName`], as for [`Users::add_to_group`]: no connection has such a user.
    pub async fn sign_out(&self, user: impl Into<UserId>) -> Result<usize, UsersError> {
        let user = user.into();
        check_user(&user)?;
        let (disconnected, revoked) = self.disconnect_and_revoke(&user).await;
        let signed_out = match revoked {
            Ok(()) => Ok(disconnected),
            Err(error) => Err(UsersError::NotRevoked { disconnected, error }),
        };
        self.scope
            .requester
            .audit("sign out", &[("user", &*user)], &signed_out, |count| format!("{count} disconnected"));
        signed_out
    }

    /// Order: connections end at once, because the store can be slow or fail. Clients that return are refused from the first
    /// revocation on, so those that have returned before it are disconnected after it. The second revocation covers the
    /// tokens that these have received.
    async fn disconnect_and_revoke(&self, user: &UserId) -> (usize, Result<(), store::Error>) {
        let mut ended = HashSet::new();
        let (told, revoked) =
            tokio::join!(self.scope.router.disconnect_user(user, &mut ended), self.scope.durable.revoke_tokens(user));
        let told = told + self.scope.router.disconnect_user(user, &mut ended).await;
        match revoked {
            Ok(()) => (told, self.scope.durable.revoke_tokens(user).await),
            failed => (told, failed),
        }
    }
}

/// Checks the names in the request for a page of the durable members of a group.
pub(in crate::hub) fn check_page(group: &GroupName, page: &Page) -> Result<(), InvalidName> {
    check_group(group)?;
    page.after.as_ref().map_or(Ok(()), check_user)
}
