//! Delivery to the connections of this process.

use std::{collections::HashSet, hash::Hash, sync::Arc};

use super::{Destination, Recipients};
use crate::{
    connections::{ConnectionHandle, Connections},
    groups::{Error, GroupDirectory},
    ids::{ConnectionId, ConnectionSet, GroupKey, GroupName, HubName, UserId},
    message::{Invocation, Message, Source},
    outbox::{Push, SharedMessage},
};

/// The connections and groups of this process.
#[derive(Debug)]
pub(super) struct LocalNode {
    pub(super) connections: Connections,
    pub(super) groups: GroupDirectory,
}

impl LocalNode {
    /// Queues an invocation in the outbox of each recipient. Returns the number of outboxes that have it.
    pub(super) async fn send(
        &self,
        Destination { recipients, except }: &Destination,
        invocation: Invocation,
    ) -> Result<usize, Error> {
        match recipients {
            Recipients::All => Ok(self.send_to_all(invocation, except)),
            Recipients::Connections(ids) => Ok(self.send_to_connections(invocation, ids, except)),
            Recipients::Users(users) => Ok(self.send_to_users(invocation, users, except)),
            Recipients::Groups(names) => self.send_to_groups(invocation, names, except).await,
        }
    }

    fn send_to_all(&self, invocation: Invocation, except: &ConnectionSet) -> usize {
        let message = Message::new(invocation, Source::Hub);
        let shared = SharedMessage::new(message.clone());
        let mut reached = 0;
        self.connections.for_each_on(&message.call().hub, |handle| {
            if except.contains(&handle.id) {
                handle.outbox.skip(&message);
            } else {
                reached += push(handle, &shared);
            }
        });
        reached
    }

    fn send_to_connections(&self, invocation: Invocation, ids: &[ConnectionId], except: &ConnectionSet) -> usize {
        let hub = invocation.hub.clone();
        let shared = SharedMessage::new(Message::new(invocation, Source::Connection));
        let included = unique(ids).filter(|id| !except.contains(id));
        included.filter_map(|id| self.find_on(&hub, id)).map(|handle| push(&handle, &shared)).sum()
    }

    fn send_to_users(&self, invocation: Invocation, users: &[UserId], except: &ConnectionSet) -> usize {
        let hub = invocation.hub.clone();
        let shared = SharedMessage::new(Message::new(invocation, Source::User));
        let handles = unique(users).flat_map(|user| self.connections.of_user(&hub, user));
        handles.filter(|handle| !except.contains(&handle.id)).map(|handle| push(&handle, &shared)).sum()
    }

    async fn send_to_groups(
        &self,
        invocation: Invocation,
        names: &[GroupName],
        except: &ConnectionSet,
    ) -> Result<usize, Error> {
        let content = Message::new(invocation, Source::Hub);
        let mut reached = 0;
        for name in names {
            let key = GroupKey::new(&content.call().hub, name);
            let message = Arc::new(content.with_source(Source::Group(Arc::clone(&key))));
            reached += self.groups.publish(&key, &message, except).await?.0;
        }
        Ok(reached)
    }

    /// The connections of a destination on a hub, each once.
    pub(super) async fn find(
        &self,
        hub: &HubName,
        Destination { recipients, except }: &Destination,
    ) -> Result<Vec<Arc<ConnectionHandle>>, Error> {
        let mut handles = match recipients {
            Recipients::All => self.all_on(hub),
            Recipients::Connections(ids) => self.find_all(hub, ids),
            Recipients::Users(users) => users.iter().flat_map(|user| self.connections.of_user(hub, user)).collect(),
            Recipients::Groups(names) => self.members(hub, names).await?,
        };
        handles.retain(|handle| !except.contains(&handle.id));
        handles.sort_unstable_by(|one, other| one.id.cmp(&other.id));
        handles.dedup_by(|one, other| one.id == other.id);
        Ok(handles)
    }

    fn all_on(&self, hub: &HubName) -> Vec<Arc<ConnectionHandle>> {
        let mut handles = Vec::new();
        self.connections.for_each_on(hub, |handle| handles.push(Arc::clone(handle)));
        handles
    }

    async fn members(&self, hub: &HubName, groups: &[GroupName]) -> Result<Vec<Arc<ConnectionHandle>>, Error> {
        let mut handles = Vec::new();
        for name in groups {
            let snapshot = self.groups.inspect(&GroupKey::new(hub, name)).await?.unwrap_or_default();
            handles.extend(self.find_all(hub, &snapshot.members));
        }
        Ok(handles)
    }

    fn find_all(&self, hub: &HubName, ids: &[ConnectionId]) -> Vec<Arc<ConnectionHandle>> {
        ids.iter().filter_map(|id| self.find_on(hub, id)).collect()
    }

    /// The connection with that id, unless it is bound to another hub.
    pub(super) fn find_on(&self, hub: &HubName, id: &ConnectionId) -> Option<Arc<ConnectionHandle>> {
        self.connections.find(id).filter(|handle| handle.listens_to(hub))
    }
}

/// Queues an invocation in the outbox of one connection. False if the connection has ended.
pub(super) fn send_to(handle: &ConnectionHandle, invocation: Invocation) -> bool {
    push(handle, &SharedMessage::new(Message::new(invocation, Source::Connection))) > 0
}

fn unique<T: Eq + Hash>(items: &[T]) -> impl Iterator<Item = &T> {
    items.iter().collect::<HashSet<_>>().into_iter()
}

fn push(handle: &ConnectionHandle, shared: &SharedMessage) -> usize {
    usize::from(handle.outbox.push(shared) == Push::Queued)
}
