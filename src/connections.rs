//! All living connections of the process: found by id, by user, by hub.
//!
//! Role: a directory; reading it takes no lock, and pushing to whoever is found does not wait.
//! Life: as long as the engine. A connection is in it from before its OnConnected until it ends.
//! Neighbours: connections enter and leave; hubs, membership and admin look up.
//! Never: it does not make or end a connection.

use std::{
    any::Any,
    sync::{Arc, PoisonError, RwLock},
};

use actix::prelude::*;
use papaya::{HashMap as SharedMap, Operation};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::{
    group::{Joined, Left},
    ids::{ConnectionId, GroupKey, HubName, UserId},
    outbox::{Backlog, Outbox},
};

/// What others may ask of a connection. The answer to a command that it cannot give any more is that the
/// sender of the answer is dropped.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) enum Command {
    /// Join a group.
    Join {
        /// The group.
        group: Arc<GroupKey>,
        /// Who wants it.
        on_behalf_of: JoinCause,
        /// What became of it.
        answer: oneshot::Sender<Result<Joined, crate::groups::Error>>,
    },
    /// Leave a group.
    Leave {
        /// The group.
        group: Arc<GroupKey>,
        /// What became of it.
        answer: oneshot::Sender<Result<Left, crate::groups::Error>>,
    },
    /// End, as a hub ends the connection of its caller.
    Abort,
    /// End, since the process does; the client is to come back.
    Drain,
    /// Tell how it stands.
    Inspect(oneshot::Sender<ConnectionSnapshot>),
    /// Panic, for a test that wants to see what follows.
    #[cfg(any(test, feature = "testkit"))]
    Crash,
}

/// Why a connection joins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum JoinCause {
    /// Somebody asked for it now.
    Caller,
    /// Somebody has made its user a member for good now.
    User,
    /// A token brings it back; if somebody has asked to leave since, that holds.
    Token,
    /// Its user is a member for good; likewise.
    Store,
}

impl JoinCause {
    /// True if nobody asked for it now.
    pub(crate) fn restores(self) -> bool {
        matches!(self, Self::Token | Self::Store)
    }

    /// True if it is its user's membership.
    pub(crate) fn is_durable(self) -> bool {
        matches!(self, Self::User | Self::Store)
    }
}

/// A connection as an operator sees it.
#[derive(Clone, Debug, Default)]
pub struct ConnectionSnapshot {
    /// Its groups, sorted.
    pub groups: Vec<Arc<GroupKey>>,
    /// Calls of hub methods that run or wait.
    pub calls: usize,
    /// Where it stands in its life.
    pub phase: &'static str,
}

/// A living connection.
#[derive(Debug)]
pub struct ConnectionHandle {
    /// Its public identity.
    pub id: ConnectionId,
    /// Its user, if it has one.
    pub user: Option<UserId>,
    /// Its hub; absent if it has several, and decides for each channel what it hears.
    pub hub: Option<HubName>,
    /// Where its messages go.
    pub(crate) outbox: Arc<Outbox>,
    /// What there is to know about its client.
    pub about: ConnectionInfo,
    /// Cancelled when it ends, or its client has gone for good.
    pub(crate) ended: CancellationToken,
    pub(crate) port: Recipient<Command>,
    /// The actor's own address, for the dialect that it belongs to.
    pub(crate) address: Address,
}

/// The address of an actor that only its dialect can name.
pub(crate) struct Address(Box<dyn Any + Send + Sync>);

impl Address {
    pub(crate) fn new<A: Actor>(address: Addr<A>) -> Self {
        Self(Box::new(address))
    }

    pub(crate) fn of<A: Actor>(&self) -> Option<&Addr<A>> {
        self.0.downcast_ref()
    }
}

impl std::fmt::Debug for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Address")
    }
}

/// What there is to know about a client.
#[derive(Debug)]
pub struct ConnectionInfo {
    /// The dialect by its name.
    pub dialect: &'static str,
    /// The hubs that it named.
    pub hubs: Vec<HubName>,
    /// The transport of its newest channel, by its name on the wire.
    pub(crate) transport: RwLock<&'static str>,
    /// Where it connects from.
    pub remote: Option<std::net::SocketAddr>,
    /// What it calls itself.
    pub user_agent: String,
    /// When it came.
    pub since: std::time::SystemTime,
}

impl ConnectionInfo {
    /// The transport of the newest channel, by its name on the wire.
    #[must_use]
    pub fn transport(&self) -> &'static str {
        *self.transport.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes note of a new channel's transport.
    pub(crate) fn set_transport(&self, transport: &'static str) {
        *self.transport.write().unwrap_or_else(PoisonError::into_inner) = transport;
    }
}

impl ConnectionHandle {
    /// True if what `hub` says to users or to everybody may concern this connection.
    #[must_use]
    pub fn listens_to(&self, hub: &HubName) -> bool {
        self.hub.as_ref().is_none_or(|own| own == hub)
    }

    /// How far behind its client is.
    #[must_use]
    pub fn backlog(&self) -> Backlog {
        self.outbox.backlog()
    }

    /// Asks the connection how it stands; `None` if it ends meanwhile.
    pub async fn inspect(&self) -> Option<ConnectionSnapshot> {
        self.ask(Command::Inspect).await
    }

    /// Gives the connection a command and waits for its answer; `None` if it ends meanwhile.
    pub(crate) async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Option<T> {
        let (answer, answered) = oneshot::channel();
        self.port.send(command(answer)).await.ok()?;
        answered.await.ok()
    }
}

type ById = SharedMap<ConnectionId, Arc<ConnectionHandle>, foldhash::fast::RandomState>;
type ByUser = SharedMap<UserId, Arc<[Arc<ConnectionHandle>]>, foldhash::fast::RandomState>;

/// The directory; clones are the same one.
#[derive(Clone, Debug, Default)]
pub struct Connections(Arc<Directory>);

#[derive(Debug, Default)]
struct Directory {
    by_id: ById,
    by_user: ByUser,
}

impl Connections {
    /// Enters a connection. False if there is one of that id, which stays.
    pub(crate) fn enter(&self, handle: &Arc<ConnectionHandle>) -> bool {
        let by_id = self.0.by_id.pin();
        if by_id.try_insert(handle.id.clone(), Arc::clone(handle)).is_err() {
            return false;
        }
        if let Some(user) = &handle.user {
            self.change_user(user, |handles| handles.iter().cloned().chain([Arc::clone(handle)]).collect());
        }
        true
    }

    /// Removes exactly this connection, not a later one of the same id.
    pub(crate) fn leave(&self, handle: &Arc<ConnectionHandle>) {
        let by_id = self.0.by_id.pin();
        let removed = by_id.remove_if(&handle.id, |_, found| Arc::ptr_eq(found, handle));
        if let (Ok(Some(_)), Some(user)) = (removed, &handle.user) {
            self.change_user(user, |handles| {
                handles.iter().filter(|other| !Arc::ptr_eq(other, handle)).cloned().collect()
            });
        }
    }

    fn change_user(&self, user: &UserId, change: impl Fn(&[Arc<ConnectionHandle>]) -> Arc<[Arc<ConnectionHandle>]>) {
        self.0.by_user.pin().compute(user.clone(), |entry| {
            let handles = change(entry.map_or(&[], |(_, handles)| &handles[..]));
            match (handles.is_empty(), entry) {
                (false, _) => Operation::Insert(handles),
                (true, Some(_)) => Operation::Remove,
                (true, None) => Operation::Abort(()),
            }
        });
    }

    /// The connection of that id.
    #[must_use]
    pub fn find(&self, id: &ConnectionId) -> Option<Arc<ConnectionHandle>> {
        self.0.by_id.pin().get(id).cloned()
    }

    /// The connections of a user that listen to a hub.
    #[must_use]
    pub fn of_user(&self, hub: &HubName, user: &UserId) -> Vec<Arc<ConnectionHandle>> {
        let by_user = self.0.by_user.pin();
        let handles = by_user.get(user).map_or(&[][..], |handles| handles);
        handles.iter().filter(|handle| handle.listens_to(hub)).cloned().collect()
    }

    /// The connections of a user, whatever they listen to.
    #[must_use]
    pub fn of_user_anywhere(&self, user: &UserId) -> Vec<Arc<ConnectionHandle>> {
        self.0.by_user.pin().get(user).map_or_else(Vec::new, |handles| handles.to_vec())
    }

    /// Calls `visit` with each connection that listens to a hub.
    pub fn for_each_on(&self, hub: &HubName, mut visit: impl FnMut(&Arc<ConnectionHandle>)) {
        self.0.by_id.pin().values().filter(|handle| handle.listens_to(hub)).for_each(&mut visit);
    }

    /// Every connection, in no order.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<ConnectionHandle>> {
        self.0.by_id.pin().values().cloned().collect()
    }

    /// Every user with a connection, in no order.
    #[must_use]
    pub fn users(&self) -> Vec<UserId> {
        self.0.by_user.pin().keys().cloned().collect()
    }

    /// How many connections there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.by_id.len()
    }
}
