//! Many durable changes in one call: one write to the store, then the live connections, then one answer.

use std::{collections::HashSet, fmt::Display, hash::Hash};

use futures_util::{StreamExt, stream};

use super::{ADD, DurableChange, REMOVE, Users};
use crate::{
    hub::UsersError,
    ids::{GroupName, InvalidName, UserId, check_group, check_user},
    store::{self, MembershipChange, MembershipOp},
};

/// The maximum number of changes in one call: 1,000. They are one transaction, which takes well under a second then, and
/// other durable changes wait for it.
pub const MAX_BULK_CHANGES: usize = 1_000;

/// The number of groups whose live members one call changes at a time.
const MAX_CONCURRENT_GROUPS: usize = 16;

/// A call asks for more changes than [`MAX_BULK_CHANGES`]. Nothing has changed; the caller can make several calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("The call makes {count} changes; the maximum is {MAX_BULK_CHANGES}.")]
pub struct TooManyChanges {
    /// The number of changes.
    pub count: usize,
}

impl TooManyChanges {
    pub(in crate::hub) fn check(count: usize) -> Result<(), Self> {
        if count > MAX_BULK_CHANGES { Err(Self { count }) } else { Ok(()) }
    }
}

/// The outcome of a call with many changes for one name: a group of the user, or a user of the group.
#[derive(Debug)]
pub struct BulkOutcome<N> {
    /// The group or the user.
    pub name: N,
    /// Whether the user was to become a member or to cease to be one.
    pub op: MembershipOp,
    /// The change. [`UsersError::InvalidName`]: the name is refused, and nothing has changed for it.
    /// [`UsersError::Group`]: the change is stored, but the group's actor crashed meanwhile; repeating the call completes it.
    pub result: Result<DurableChange, UsersError>,
}

/// A requested change. The name is refused if there is no change.
struct Request<N> {
    name: N,
    op: MembershipOp,
    change: Result<MembershipChange, InvalidName>,
}

/// The names in their order, each once.
pub(in crate::hub) fn unique<N: Clone + Eq + Hash>(names: impl IntoIterator<Item = impl Into<N>>) -> Vec<N> {
    let mut seen = HashSet::new();
    names.into_iter().map(Into::into).filter(|name: &N| seen.insert(name.clone())).collect()
}

impl Users {
    /// Adds a user to many groups durably. All memberships are stored by one call of the store, then every live connection
    /// of the user joins the groups. Returns the outcome for each group, in their order; a repeated name counts once.
    ///
    /// In a method or hook of a client, each group counts as a change for
    /// [`EngineBuilder::durable_change_rate`](crate::EngineBuilder::durable_change_rate): the next changes of the client wait.
    ///
    /// ```
    /// use hubcast::{HubHandle, hub::UsersError, store::Change};
    ///
    /// async fn subscribe(hub: &HubHandle) -> Result<(), UsersError> {
    ///     for outcome in hub.users().add_to_groups("ann", ["news", "sports"]).await? {
    ///         match outcome.result {
    ///             Ok(change) if change.stored == Change::Applied => println!("{}: added", outcome.name),
    ///             Ok(_) => println!("{}: was a member", outcome.name),
    ///             Err(error) => println!("{}: {error}", outcome.name),
    ///         }
    ///     }
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    /// [`UsersError::TooManyChanges`]: more than [`MAX_BULK_CHANGES`] groups; nothing has changed.
    /// [`UsersError::InvalidName`]: the name of the user is invalid; nothing has changed. [`UsersError::Store`]: the
    /// store failed, and no live connection has changed. Nothing is stored if the store promises
    /// [`atomic_batches`](crate::store::MembershipPromises::atomic_batches); otherwise a part can be, and repeating the
    /// call completes it.
    pub async fn add_to_groups(
        &self,
        user: impl Into<UserId>,
        groups: impl IntoIterator<Item = impl Into<GroupName>>,
    ) -> Result<Vec<BulkOutcome<GroupName>>, UsersError> {
        self.run(self.of_user(&user.into(), unique(groups), MembershipOp::Add)?).await
    }

    /// Removes a user from many groups durably, as [`Users::add_to_groups`] adds it.
    ///
    /// # Errors
    /// The errors of [`Users::add_to_groups`].
    pub async fn remove_from_groups(
        &self,
        user: impl Into<UserId>,
        groups: impl IntoIterator<Item = impl Into<GroupName>>,
    ) -> Result<Vec<BulkOutcome<GroupName>>, UsersError> {
        self.run(self.of_user(&user.into(), unique(groups), MembershipOp::Remove)?).await
    }

    /// Removes a user from all its durable groups. Groups that its connections joined without a durable membership stay.
    /// Returns the outcome for each group.
    ///
    /// # Errors
    /// The errors of [`Users::add_to_groups`]. A user in more than [`MAX_BULK_CHANGES`] groups is removed by several calls
    /// of [`Users::remove_from_groups`].
    pub async fn remove_from_all_groups(
        &self,
        user: impl Into<UserId>,
    ) -> Result<Vec<BulkOutcome<GroupName>>, UsersError> {
        self.set_groups(user, [] as [GroupName; 0]).await
    }

    /// Makes `groups` the durable groups of a user: it is added to them and removed from all others, by one call of the
    /// store. Returns the outcomes for `groups` in their order, then those for the others, sorted by name. A group that
    /// another call adds to the user at the same time can stay.
    ///
    /// # Errors
    /// The errors of [`Users::add_to_groups`]. Additions and removals together count as changes.
    pub async fn set_groups(
        &self,
        user: impl Into<UserId>,
        groups: impl IntoIterator<Item = impl Into<GroupName>>,
    ) -> Result<Vec<BulkOutcome<GroupName>>, UsersError> {
        let (user, groups) = (user.into(), unique::<GroupName>(groups));
        let wanted: HashSet<_> = groups.iter().cloned().collect();
        let mut requests = self.of_user(&user, groups, MembershipOp::Add)?;
        TooManyChanges::check(requests.len())?;
        let stored = self.scope.durable.groups_of(&self.owner(&user)).await;
        let mut others = stored.inspect_err(|error| self.audit_unread(&user, &requests, error))?;
        others.retain(|group| !wanted.contains(group));
        others.sort_unstable();
        requests.extend(self.of_user(&user, others, MembershipOp::Remove)?);
        self.run(requests).await
    }

    /// Adds many users to a group durably, as [`Users::add_to_groups`] adds one user to many groups. Returns the outcome for
    /// each user, in their order; a repeated name counts once.
    ///
    /// # Errors
    /// The errors of [`Users::add_to_groups`], with [`UsersError::InvalidName`] for the name of the group.
    pub async fn add_users_to_group(
        &self,
        users: impl IntoIterator<Item = impl Into<UserId>>,
        group: impl Into<GroupName>,
    ) -> Result<Vec<BulkOutcome<UserId>>, UsersError> {
        self.run(self.of_group(&group.into(), unique(users), MembershipOp::Add)?).await
    }

    /// Removes many users from a group durably.
    ///
    /// # Errors
    /// The errors of [`Users::add_users_to_group`].
    pub async fn remove_users_from_group(
        &self,
        users: impl IntoIterator<Item = impl Into<UserId>>,
        group: impl Into<GroupName>,
    ) -> Result<Vec<BulkOutcome<UserId>>, UsersError> {
        self.run(self.of_group(&group.into(), unique(users), MembershipOp::Remove)?).await
    }

    /// The same change of a user in each of `groups`. Fails if the name of the user is invalid.
    fn of_user(
        &self,
        user: &UserId,
        groups: Vec<GroupName>,
        op: MembershipOp,
    ) -> Result<Vec<Request<GroupName>>, InvalidName> {
        check_user(user)?;
        let request = |group: GroupName| {
            let change = || MembershipChange { owner: self.owner(user), group: group.clone(), op };
            Request { change: check_group(&group).map(|()| change()), name: group, op }
        };
        Ok(groups.into_iter().map(request).collect())
    }

    /// The same change of each of `users` in a group. Fails if the name of the group is invalid.
    fn of_group(
        &self,
        group: &GroupName,
        users: Vec<UserId>,
        op: MembershipOp,
    ) -> Result<Vec<Request<UserId>>, InvalidName> {
        check_group(group)?;
        let request = |user: UserId| {
            let change = || MembershipChange { owner: self.owner(&user), group: group.clone(), op };
            Request { change: check_user(&user).map(|()| change()), name: user, op }
        };
        Ok(users.into_iter().map(request).collect())
    }

    /// Order: write the store, then change the live connections, then answer.
    async fn run<N>(&self, requests: Vec<Request<N>>) -> Result<Vec<BulkOutcome<N>>, UsersError> {
        let checked = TooManyChanges::check(requests.len());
        let changes: Vec<_> = requests.iter().filter_map(|request| request.change.clone().ok()).collect();
        let results = match checked {
            Ok(()) => self.change_all(&changes).await,
            Err(error) => Err(error.into()),
        };
        let mut results = results.inspect_err(|error| self.audit_failure(&changes, error))?.into_iter();
        for (change, result) in changes.iter().zip(results.as_slice()) {
            self.audit_change(action(change.op), &change.owner.user, &change.group, result);
        }
        let outcome = |Request { name, op, change }| {
            let result = match change {
                Ok(_) => results.next()?,
                Err(refused) => Err(refused.into()),
            };
            Some(BulkOutcome { name, op, result })
        };
        Ok(requests.into_iter().filter_map(outcome).collect())
    }

    /// Makes the changes in one call of the store, and returns the result of each.
    async fn change_all(
        &self,
        changes: &[MembershipChange],
    ) -> Result<Vec<Result<DurableChange, UsersError>>, UsersError> {
        self.keep_pace(changes.len()).await;
        let _locks = self.scope.durable.lock_all(changes).await?;
        let stored = self.scope.durable.write_all(changes).await?;
        let stored: Vec<_> = changes.iter().zip(stored).collect();
        let live = stored.iter().map(|(change, stored)| self.change_live(change, *stored));
        let changed = stream::iter(Vec::from_iter(live)).buffered(MAX_CONCURRENT_GROUPS).collect().await;
        self.scope.presence.announce(stored).await;
        Ok(changed)
    }

    /// One line for each change. A call with too many of them is one line, because its length has no limit.
    fn audit_failure(&self, changes: &[MembershipChange], error: &UsersError) {
        if matches!(error, UsersError::TooManyChanges(_)) {
            let count = changes.len().to_string();
            return self.audit_call("change durable groups", &[("changes", &count)], error);
        }
        for change in changes {
            self.audit_change(action(change.op), &change.owner.user, &change.group, &Err(error));
        }
    }

    /// The groups that the user was to leave are not known: one line for all of them, after those for the additions.
    fn audit_unread(&self, user: &UserId, additions: &[Request<GroupName>], error: &store::Error) {
        for change in additions.iter().filter_map(|request| request.change.as_ref().ok()) {
            self.audit_change(ADD, user, &change.group, &Err(error));
        }
        self.audit_call("remove user from other groups", &[("user", user)], error);
    }

    fn audit_call(&self, action: &str, subject: &[(&str, &str)], error: &dyn Display) {
        let subject = [&[("hub", &*self.scope.hub)], subject].concat();
        let failed = Err::<(), _>(error);
        self.scope.requester.audit(action, &subject, &failed, |()| String::new());
    }
}

/// The name of a change in the audit log.
fn action(op: MembershipOp) -> &'static str {
    match op {
        MembershipOp::Add => ADD,
        MembershipOp::Remove => REMOVE,
    }
}
