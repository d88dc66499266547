//! The router: sends invocations to connections, users and groups, and changes the membership of connections.
//!
//! Hub code names recipients by id and never looks them up; the router finds them. All of them are on this process:
//! [`local`] finds them in the directories of connections and groups. The router is the seam for a cluster, where an
//! operation also concerns other processes. `docs/decisions/0008-router-as-the-seam-for-a-cluster.md` states which
//! orders and counts hold on one process and which of them also hold in a cluster.

use std::{collections::HashSet, sync::Arc};

use futures_util::future::join_all;

use crate::{
    connections::{ConnectionHandle, Connections, JoinCause, LeaveCause, Reconnect, disconnect_all},
    group::{Joined, Left},
    groups::{Error, GroupDirectory},
    ids::{ConnectionId, ConnectionSet, GroupKey, GroupName, HubName, UserId, check_group},
    message::Invocation,
    metrics::Metrics,
    payload::FormatsInUse,
};

mod client_results;
mod local;

pub use client_results::InvokeError;
pub(crate) use client_results::{ClientResult, ClientResults, NotAsked, SentInvocation};
use local::LocalNode;

/// The recipients of an invocation, with exceptions.
#[derive(Clone, Debug)]
pub(crate) struct Destination {
    pub(crate) recipients: Recipients,
    /// The connections that are excluded.
    pub(crate) except: ConnectionSet,
}

/// The recipients of an invocation on a hub.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recipients {
    /// All connections on the hub.
    All,
    /// These connections, as far as they are on the hub. Duplicate ids count once.
    Connections(Vec<ConnectionId>),
    /// All connections of these users on the hub. Duplicate users count once.
    Users(Vec<UserId>),
    /// The members of these groups, one group after the other. A member of two of them is reached twice.
    Groups(Vec<GroupName>),
}

impl From<Recipients> for Destination {
    fn from(recipients: Recipients) -> Self {
        Self { recipients, except: ConnectionSet::default() }
    }
}

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Router {
    local: LocalNode,
    formats: FormatsInUse,
    client_results: Arc<ClientResults>,
    metrics: Arc<Metrics>,
}

impl Router {
    pub(crate) fn new(connections: Connections, groups: GroupDirectory, metrics: Arc<Metrics>) -> Self {
        Self {
            local: LocalNode { connections, groups },
            formats: FormatsInUse::default(),
            client_results: Arc::default(),
            metrics,
        }
    }

    /// The formats that recipients use.
    pub(crate) fn formats(&self) -> &FormatsInUse {
        &self.formats
    }

    /// Sends an invocation to the connections of a destination on its hub. Returns the number of connections on this
    /// process that have it in their outbox. Invocations of one sender to one destination arrive in order.
    ///
    /// # Errors
    /// [`Error::InvalidName`], and nothing was sent. [`Error::Interrupted`], if the actor of a group crashes meanwhile;
    /// groups earlier in the list have received the invocation.
    pub(crate) async fn send(&self, destination: &Destination, invocation: Invocation) -> Result<usize, Error> {
        if let Recipients::Groups(names) = &destination.recipients {
            names.iter().try_for_each(check_group)?;
        }
        let reached = self.local.send(destination, invocation).await?;
        self.metrics.sends.increment();
        self.metrics.deliveries.add(reached as u64);
        Ok(reached)
    }

    /// The invocations that wait for a result.
    pub(crate) fn client_results(&self) -> &ClientResults {
        &self.client_results
    }

    /// Sends an invocation to one connection on its hub. The result can be awaited.
    ///
    /// # Errors
    /// If the connection does not exist, returns no results, or has ended.
    pub(crate) fn start_invocation(
        &self,
        id: &ConnectionId,
        mut invocation: Invocation,
    ) -> Result<SentInvocation, InvokeError> {
        let found = self.local.find_on(&invocation.hub, id);
        let connection = found.ok_or_else(|| InvokeError::NotConnected(id.clone()))?;
        if !connection.outbox.answers_invocations() {
            return Err(InvokeError::Unsupported(id.clone()));
        }
        let pending = self.client_results.register(id);
        invocation.id = Some(pending.id());
        self.metrics.sends.increment();
        if !local::send_to(&connection, invocation) {
            return Err(InvokeError::Disconnected(id.clone()));
        }
        self.metrics.deliveries.increment();
        Ok(SentInvocation { connection, pending })
    }

    /// Ends the connections of a destination on a hub, each once. Returns the number of clients that were told.
    ///
    /// # Errors
    /// [`Error::Interrupted`], if the actor of a group crashes meanwhile. No connection was ended.
    pub(crate) async fn disconnect(
        &self,
        hub: &HubName,
        destination: &Destination,
        reconnect: Reconnect,
    ) -> Result<usize, Error> {
        Ok(disconnect_all(&self.local.find(hub, destination).await?, reconnect).await)
    }

    /// Ends the connections of a user on all hubs, except those in `ended`, and adds them to it. Clients may not reconnect.
    /// Returns the number of clients that were told.
    pub(crate) async fn disconnect_user(&self, user: &UserId, ended: &mut HashSet<ConnectionId>) -> usize {
        let mut handles = self.local.connections.of_user_on_any_hub(user);
        handles.retain(|handle| ended.insert(handle.id.clone()));
        disconnect_all(&handles, Reconnect::Deny).await
    }

    /// Adds a connection to a group. `None` if there is no such connection on the group's hub. A connection that is
    /// added receives every invocation that is sent to the group afterwards.
    pub(crate) async fn join(
        &self,
        id: &ConnectionId,
        group: &Arc<GroupKey>,
        cause: JoinCause,
    ) -> Result<Option<Joined>, Error> {
        match self.local.find_on(&group.hub, id) {
            Some(handle) => handle.join(group, cause).await,
            None => Ok(None),
        }
    }

    /// Removes a connection from a group. `None` if there is no such connection on the group's hub.
    pub(crate) async fn leave(&self, id: &ConnectionId, group: &Arc<GroupKey>) -> Result<Option<Left>, Error> {
        match self.local.find_on(&group.hub, id) {
            Some(handle) => handle.leave(group, LeaveCause::Caller).await,
            None => Ok(None),
        }
    }

    /// Adds all connections of a user to a durable group of the user. Returns the number of connections that joined.
    ///
    /// # Errors
    /// [`Error::Interrupted`], if the actor of the group crashes meanwhile. Other connections may have joined.
    pub(crate) async fn join_user(
        &self,
        user: &UserId,
        group: &Arc<GroupKey>,
        cause: JoinCause,
    ) -> Result<usize, Error> {
        let join = async |handle: &ConnectionHandle| Ok(handle.join(group, cause).await? == Some(Joined::Now));
        self.change_user(user, &group.hub, join).await
    }

    /// Removes all connections of a user from a group. Returns the number of connections that left.
    ///
    /// # Errors
    /// [`Error::Interrupted`], if the actor of the group crashes meanwhile. Other connections may have left.
    pub(crate) async fn leave_user(
        &self,
        user: &UserId,
        group: &Arc<GroupKey>,
        cause: LeaveCause,
    ) -> Result<usize, Error> {
        let leave = async |handle: &ConnectionHandle| Ok(handle.leave(group, cause).await? == Some(Left::Now));
        self.change_user(user, &group.hub, leave).await
    }

    async fn change_user(
        &self,
        user: &UserId,
        hub: &HubName,
        change: impl AsyncFn(&ConnectionHandle) -> Result<bool, Error>,
    ) -> Result<usize, Error> {
        let handles = self.local.connections.of_user(hub, user);
        let changes = join_all(handles.iter().map(|handle| change(handle))).await;
        let changed = changes.into_iter().collect::<Result<Vec<_>, _>>()?;
        Ok(changed.into_iter().filter(|has_changed| *has_changed).count())
    }

    /// The groups with members on this process. Actors are members on their process only.
    pub(crate) fn local_groups(&self) -> &GroupDirectory {
        &self.local.groups
    }
}
