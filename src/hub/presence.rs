//! Presence: which durable members of a group are connected, and the events of it for hub code.
//!
//! A user is online while it has a connection on any hub of any node, and for the presence window after that. The
//! memberships and the leases in the store say who is online ([`Groups::presence`](super::Groups::presence)). [`Presence`]
//! follows the connections of this process and runs the handlers ([`Hub::on_presence`]). `docs/presence.md` describes both.

use std::{
    future::Future,
    sync::Arc,
    time::{Duration, SystemTime},
};

use futures_util::future::FutureExt;

use super::{Clients, Hook, Hub, Users, requester::Requester, services::HubServices};
use crate::ids::{GroupName, HubName, UserId};

mod table;
mod tracker;

pub(crate) use tracker::{Presence, PresenceSettings};

/// The maximum number of members on a page of presence: 2,000. A database reads the activity of so many users in a few
/// queries, which take some milliseconds.
pub const MAX_PRESENCE_PAGE: u64 = 2_000;

/// The default of [`EngineBuilder::presence_window`](crate::EngineBuilder::presence_window).
pub(crate) const DEFAULT_WINDOW: Duration = Duration::from_secs(45);

pub(super) type PresenceHandler = Hook<PresenceEvent, ()>;

/// Whether a durable member of a group is online.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberPresence {
    /// The member.
    pub user: UserId,
    /// It has a connection on a node that shares the store, or had one within the presence window.
    pub is_online: bool,
    /// When it was last known to have a connection. It lags for a user of another node, by at most 10 s, the interval of the
    /// renewals. `None`: it was never connected, or not within [`LAST_SEEN_TERM`](crate::store::LAST_SEEN_TERM).
    pub last_seen: Option<SystemTime>,
}

/// A page of the durable members of a group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupPresence {
    /// The members on this page, in the order of the store.
    pub members: Vec<MemberPresence>,
    /// The number of members on all pages, if the store counts them.
    pub total: Option<u64>,
}

/// What has happened to a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PresenceChange {
    /// It has become a durable member of the group.
    Joined,
    /// It has ceased to be a durable member of the group.
    Left,
    /// It has connected.
    Online,
    /// It has had no connection for the presence window.
    Offline {
        /// The end of its last connection, or the last renewal of a node that has died.
        last_seen: SystemTime,
    },
}

/// An event of the presence of a user, for [`Hub::on_presence`].
#[derive(Clone, Debug)]
pub struct PresenceEvent {
    /// The user.
    pub user: UserId,
    /// What has happened.
    pub change: PresenceChange,
    /// The groups that it concerns: the group that the user has joined or left, or else all its durable groups on this hub.
    pub groups: Vec<GroupName>,
    hub: HubName,
    services: Arc<HubServices>,
}

impl PresenceEvent {
    /// The clients of the hub.
    #[must_use]
    pub fn clients(&self) -> Clients {
        Clients::of_hub(&self.services, &self.hub, &Requester::application())
    }

    /// The users of the hub.
    #[must_use]
    pub fn users(&self) -> Users {
        Users::new(&self.services, &self.hub, &Requester::application())
    }
}

impl Hub {
    /// Sets the handler of the presence of users: they join and leave groups durably, and go online and offline. A user
    /// that returns within [`EngineBuilder::presence_window`](crate::EngineBuilder::presence_window) does not go offline.
    ///
    /// The events are those of the users of this process, of the memberships that it changes, and of users whose process
    /// has died: one of the other processes reports them as offline. The events of one user going online and offline come
    /// one after another. The call that changes memberships waits for the handlers, so a handler must not change the same
    /// membership and wait for that. A handler is cancelled after 5 s, and all handlers of one call together.
    ///
    /// ```
    /// use hubcast::{Hub, hub::{PresenceChange, PresenceEvent}};
    ///
    /// async fn announce(event: PresenceEvent) {
    ///     let is_online = !matches!(event.change, PresenceChange::Left | PresenceChange::Offline { .. });
    ///     for group in &event.groups {
    ///         // An error means that the group is crashing; its clients can ask for the members again.
    ///         let _ = event.clients().group(group.clone()).send("presence", (group, &event.user, is_online)).await;
    ///     }
    /// }
    ///
    /// let hub = Hub::new("chat").on_presence(announce);
    /// ```
    #[must_use]
    pub fn on_presence<F, R>(mut self, handler: F) -> Self
    where
        F: Fn(PresenceEvent) -> R + Send + Sync + 'static,
        R: Future<Output = ()> + 'static,
    {
        self.presence = Some(Arc::new(move |event| handler(event).boxed_local()));
        self
    }
}
