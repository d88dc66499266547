//! The directory of all live connections of the process, by id, by user and by hub.
//!
//! A lookup by id takes no lock, a lookup by user locks that user only, and pushing to the outbox of a connection does
//! not wait. Connections register themselves before their `OnConnected` runs and unregister when they end. Hubs,
//! membership and admin look them up. The directory lives as long as the engine. It never creates or ends a connection.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use actix::prelude::*;
use by_user::ByUser;
use futures_util::future::join_all;
use papaya::HashMap as SharedMap;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::{
    client_log::{self, Cause, Fields, optional},
    group::{Joined, Left},
    groups::Error,
    ids::{ConnectionId, GroupKey, HubName, UserId},
    outbox::{Backlog, Outbox},
};

mod by_user;
mod causes;
mod limiter;
mod pace;

pub(crate) use causes::{JoinCause, LeaveCause};
pub use limiter::ConnectionLimits;
pub(crate) use limiter::{ConnectionLimiter, LimitReached, network};
pub(crate) use pace::Pace;

/// The commands that a connection accepts from other modules. A connection that can no longer answer drops the sender
/// of the answer.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) enum Command {
    /// Join a group.
    Join {
        /// The group.
        group: Arc<GroupKey>,
        /// Why the connection joins.
        cause: JoinCause,
        /// Receives the result.
        answer: oneshot::Sender<Result<Joined, Error>>,
    },
    /// Leave a group.
    Leave {
        /// The group.
        group: Arc<GroupKey>,
        /// Why the connection leaves.
        cause: LeaveCause,
        /// Receives the result.
        answer: oneshot::Sender<Result<Left, Error>>,
    },
    /// End the connection: a hub, the application or an operator asks for it.
    Disconnect {
        /// Whether the client may reconnect.
        reconnect: Reconnect,
        /// Receives the acknowledgement. The client is told after the messages that wait for it.
        answer: oneshot::Sender<()>,
    },
    /// The call with this number waits for a client, and gives back its slot among the parallel calls.
    ReleaseSlot(u64),
    /// End the connection because the process shuts down. The client should reconnect.
    Drain,
    /// Report the current state.
    Inspect(oneshot::Sender<ConnectionSnapshot>),
    /// Report the durable memberships. A connection whose client is not admitted, or whose groups are being restored,
    /// drops the sender.
    InspectDurable(oneshot::Sender<DurableSnapshot>),
    /// Panic, so that tests can observe the consequences.
    #[cfg(any(test, feature = "testkit"))]
    Crash,
}

/// Whether a client that is disconnected may reconnect by itself. It is a request to the client, and no ban: a program
/// that ignores it can open a new connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reconnect {
    /// A client with automatic reconnect reconnects. ASP.NET Core SignalR: `allowReconnect` of the Close message is true.
    /// A SignalR 2.x client continues the same connection and its groups.
    Allow,
    /// The client stops. ASP.NET Core SignalR: `allowReconnect` is not set. A SignalR 2.x client gets the disconnect
    /// command, at its next request if it has no channel now.
    Deny,
}

impl Reconnect {
    /// The name in the log and in the API for operators.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
        }
    }
}

/// The state of a connection at one moment.
#[derive(Clone, Debug, Default)]
pub struct ConnectionSnapshot {
    /// Its groups, sorted.
    pub groups: Vec<Arc<GroupKey>>,
    /// The number of hub method invocations that run or wait.
    pub calls: usize,
    /// The phase of its lifecycle.
    pub phase: &'static str,
}

/// The durable memberships of the user of a connection, as the connection has applied them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct DurableSnapshot {
    /// The hubs that the client receives from now.
    pub(crate) hubs: Vec<HubName>,
    /// The groups that the connection is in because its user is a durable member, and the durable groups that it has left
    /// by itself.
    pub(crate) groups: Vec<Arc<GroupKey>>,
}

/// The shared handle of a live connection.
#[derive(Debug)]
pub struct ConnectionHandle {
    /// Its public id.
    pub id: ConnectionId,
    /// Its user, if it has one.
    pub user: Option<UserId>,
    /// Its hub. `None` if it can have several hubs and filters the messages for each channel.
    pub hub: Option<HubName>,
    /// The queue of its outgoing messages.
    pub(crate) outbox: Arc<Outbox>,
    /// Metadata of its client.
    pub info: ConnectionInfo,
    /// Cancelled when the connection ends or its client is known not to return. Created on first use, because nothing
    /// waits for the end of most connections.
    pub(crate) ended: OnceLock<CancellationToken>,
    /// Spreads the durable changes that its client causes over time.
    pub(crate) pace: Pace,
    /// Accepts commands to the connection.
    pub(crate) commands: Recipient<Command>,
}

/// Metadata of a client.
#[derive(Debug)]
pub struct ConnectionInfo {
    /// The name of the dialect.
    pub dialect: &'static str,
    /// The hubs that the client requested.
    pub hubs: Vec<HubName>,
    /// The transport of its newest channel, by its name on the wire.
    pub(crate) transport: Mutex<&'static str>,
    /// The remote address of the client, if known.
    pub remote: Option<std::net::SocketAddr>,
    /// The client's `X-SignalR-User-Agent` header, or else its `User-Agent` header.
    pub user_agent: Box<str>,
    /// The time at which the connection was created.
    pub since: std::time::SystemTime,
}

impl ConnectionInfo {
    /// The transport of the newest channel, by its name on the wire.
    #[must_use]
    pub fn transport(&self) -> &'static str {
        *self.transport.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records the transport of a new channel.
    pub(crate) fn set_transport(&self, transport: &'static str) {
        *self.transport.lock().unwrap_or_else(PoisonError::into_inner) = transport;
    }
}

impl ConnectionHandle {
    /// True if messages of `hub` to users or to all clients may concern this connection.
    #[must_use]
    pub fn listens_to(&self, hub: &HubName) -> bool {
        self.hub.as_ref().is_none_or(|own| own == hub)
    }

    /// Cancelled when the connection ends or its client is known not to return.
    pub(crate) fn ended(&self) -> &CancellationToken {
        self.ended.get_or_init(CancellationToken::new)
    }

    /// True if the connection has ended or its client is known not to return.
    pub(crate) fn has_gone(&self) -> bool {
        self.ended.get().is_some_and(CancellationToken::is_cancelled)
    }

    /// Logs a line about this connection, with its id, its user and the address of its client.
    pub(crate) fn log(&self, cause: Cause, fields: Fields<'_>) {
        let (user, address) = (optional(self.user.as_ref()), optional(self.info.remote));
        let subject: Fields<'_> = &[("conn", &self.id), ("user", &user), ("address", &address)];
        client_log::log(cause, &[subject, fields].concat());
    }

    /// The amount of data that waits to be sent to its client.
    #[must_use]
    pub fn backlog(&self) -> Backlog {
        self.outbox.backlog()
    }

    /// Asks the connection for its current state. Returns `None` if the connection ends first.
    pub async fn inspect(&self) -> Option<ConnectionSnapshot> {
        self.ask(Command::Inspect).await
    }

    /// Adds the connection to a group. Returns `None` if the connection ends first.
    ///
    /// Order: hub methods of the connection use the mailbox too, because they run beside its actor. Only the actor knows
    /// which operations on the group are in progress, and runs them one after another.
    pub(crate) async fn join(&self, group: &Arc<GroupKey>, cause: JoinCause) -> Result<Option<Joined>, Error> {
        self.ask(|answer| Command::Join { group: Arc::clone(group), cause, answer }).await.transpose()
    }

    /// Removes the connection from a group, in order like [`ConnectionHandle::join`]. Returns `None` if the connection
    /// ends first.
    pub(crate) async fn leave(&self, group: &Arc<GroupKey>, cause: LeaveCause) -> Result<Option<Left>, Error> {
        self.ask(|answer| Command::Leave { group: Arc::clone(group), cause, answer }).await.transpose()
    }

    /// Asks the connection for the durable memberships of its user. Returns `None` if they are not settled now, or if the
    /// connection ends first.
    pub(crate) async fn inspect_durable(&self) -> Option<DurableSnapshot> {
        self.ask(Command::InspectDurable).await
    }

    /// Ends the connection. Returns whether its client was told: false if the connection had ended before.
    pub(crate) async fn disconnect(&self, reconnect: Reconnect) -> bool {
        self.ask(|answer| Command::Disconnect { reconnect, answer }).await.is_some()
    }

    /// Sends a command to the connection and awaits the answer. Returns `None` if the connection ends first.
    pub(crate) async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Option<T> {
        let (answer, answered) = oneshot::channel();
        self.commands.send(command(answer)).await.ok()?;
        answered.await.ok()
    }
}

/// Ends these connections and returns the number of clients that were told.
pub(crate) async fn disconnect_all(handles: &[Arc<ConnectionHandle>], reconnect: Reconnect) -> usize {
    let told = join_all(handles.iter().map(|handle| handle.disconnect(reconnect))).await;
    told.into_iter().filter(|was_told| *was_told).count()
}

type ById = SharedMap<ConnectionId, Arc<ConnectionHandle>, foldhash::fast::RandomState>;

/// The directory of live connections. Clones share the same directory.
#[derive(Clone, Debug, Default)]
pub struct Connections(Arc<Directory>);

#[derive(Debug, Default)]
struct Directory {
    by_id: ById,
    by_user: ByUser<Arc<ConnectionHandle>>,
}

impl Connections {
    /// Registers a connection. Returns false if another connection has the same id; that one stays registered.
    #[must_use]
    pub(crate) fn register(&self, handle: &Arc<ConnectionHandle>) -> bool {
        let by_id = self.0.by_id.pin();
        if by_id.try_insert(handle.id.clone(), Arc::clone(handle)).is_err() {
            return false;
        }
        if let Some(user) = &handle.user {
            self.0.by_user.add(user, &handle.id, handle);
        }
        true
    }

    /// Removes this connection. Does not remove a later connection of the same id.
    pub(crate) fn unregister(&self, handle: &Arc<ConnectionHandle>) {
        let by_id = self.0.by_id.pin();
        let removed = by_id.remove_if(&handle.id, |_, found| Arc::ptr_eq(found, handle));
        if let (Ok(Some(_)), Some(user)) = (removed, &handle.user) {
            self.0.by_user.remove(user, &handle.id);
        }
    }

    /// The connection with this id.
    #[must_use]
    pub fn find(&self, id: &ConnectionId) -> Option<Arc<ConnectionHandle>> {
        self.0.by_id.pin().get(id).cloned()
    }

    /// The connections of a user that listen to a hub.
    #[must_use]
    pub fn of_user(&self, hub: &HubName, user: &UserId) -> Vec<Arc<ConnectionHandle>> {
        self.0.by_user.of(user, |handle| handle.listens_to(hub))
    }

    /// The connections of a user, regardless of their hubs.
    #[must_use]
    pub fn of_user_on_any_hub(&self, user: &UserId) -> Vec<Arc<ConnectionHandle>> {
        self.0.by_user.of(user, |_| true)
    }

    /// Calls `visit` with each connection that listens to a hub.
    pub fn for_each_on(&self, hub: &HubName, mut visit: impl FnMut(&Arc<ConnectionHandle>)) {
        self.0.by_id.pin().values().filter(|handle| handle.listens_to(hub)).for_each(&mut visit);
    }

    /// Calls `visit` with each connection.
    pub(crate) fn for_each(&self, visit: impl FnMut(&Arc<ConnectionHandle>)) {
        self.0.by_id.pin().values().for_each(visit);
    }

    /// All connections, in no particular order.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<ConnectionHandle>> {
        self.0.by_id.pin().values().cloned().collect()
    }

    /// All users with at least one connection, in no particular order.
    #[must_use]
    pub fn users(&self) -> Vec<UserId> {
        self.0.by_user.users()
    }

    /// The number of connections.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.by_id.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Memory: with the counts of its `Arc`, a handle takes a size class of 256 bytes.
    #[test]
    fn handle_fits_its_size_class() {
        assert!(size_of::<ConnectionHandle>() <= 256 - 16, "{}", size_of::<ConnectionHandle>());
    }
}
