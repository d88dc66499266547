//! Whom a hub can talk to.

use std::{collections::HashSet, sync::Arc};

use serde::Serialize;

use super::{CallerState, HubBehavior, HubContext, SendError, services::HubServices};
use crate::{
    connections::ConnectionHandle,
    ids::{ConnectionId, ConnectionSet, GroupKey, GroupName, HubName, UserId},
    message::{Invocation, Message, Source},
    outbox::{Push, SharedMessage},
};

/// Everybody on a hub, to choose from. Take it as an argument of a hub method, or from
/// [`HubHandle::clients`](crate::HubHandle::clients) outside of one.
#[derive(Clone, Debug)]
pub struct Clients {
    services: Arc<HubServices>,
    hub: HubName,
    caller: Option<ConnectionId>,
    state: CallerState,
    behavior: HubBehavior,
}

impl Clients {
    pub(super) fn of_moment(HubContext { caller, state, behavior, services }: &HubContext) -> Self {
        Self {
            services: Arc::clone(services),
            hub: caller.hub().clone(),
            caller: Some(caller.id().clone()),
            state: state.clone(),
            behavior: *behavior,
        }
    }

    pub(crate) fn of_hub(services: &Arc<HubServices>, hub: &HubName) -> Self {
        Self {
            services: Arc::clone(services),
            hub: hub.clone(),
            caller: None,
            state: CallerState::default(),
            behavior: HubBehavior::default(),
        }
    }

    fn target(&self, whom: Whom) -> Target {
        Target { clients: self.clone(), whom }
    }

    fn caller_list(&self) -> Vec<ConnectionId> {
        self.caller.iter().cloned().collect()
    }

    /// Everybody on the hub. Unlike the members of a group, two clients may hear two senders in different orders.
    pub fn all(&self) -> Target {
        self.target(Whom::All { except: ConnectionSet::default() })
    }

    /// Everybody on the hub, except these connections.
    pub fn all_except<I: Into<ConnectionId>>(&self, except: impl IntoIterator<Item = I>) -> Target {
        self.target(Whom::All { except: set_of(except) })
    }

    /// The client that called; outside of a hub method, nobody. What has changed in its [`CallerState`] goes
    /// along, if it is of the generation that has one. Whoever sends it much waits until it has taken most of that, or
    /// has ended: a method cannot make its own caller too slow, nor have it miss anything.
    pub fn caller(&self) -> Target {
        self.target(Whom::Caller)
    }

    /// Everybody on the hub except the client that called.
    pub fn others(&self) -> Target {
        self.all_except(self.caller_list())
    }

    /// One connection.
    pub fn client(&self, id: impl Into<ConnectionId>) -> Target {
        self.clients([id])
    }

    /// These connections, each once.
    pub fn clients<I: Into<ConnectionId>>(&self, ids: impl IntoIterator<Item = I>) -> Target {
        self.target(Whom::Connections(ids.into_iter().map(Into::into).collect()))
    }

    /// The members of a group.
    pub fn group(&self, name: impl Into<GroupName>) -> Target {
        self.target(Whom::Group { name: name.into(), except: ConnectionSet::default() })
    }

    /// The members of a group, except these connections.
    pub fn group_except<I: Into<ConnectionId>>(
        &self,
        name: impl Into<GroupName>,
        except: impl IntoIterator<Item = I>,
    ) -> Target {
        self.target(Whom::Group { name: name.into(), except: set_of(except) })
    }

    /// The members of a group, except the client that called. That client need not be a member.
    pub fn others_in_group(&self, name: impl Into<GroupName>) -> Target {
        self.group_except(name, self.caller_list())
    }

    /// The members of these groups, one group after the other: whoever is in two of them is called twice.
    pub fn groups<I: Into<GroupName>>(&self, names: impl IntoIterator<Item = I>) -> Target {
        self.target(Whom::Groups(names.into_iter().map(Into::into).collect()))
    }

    /// Every connection of a user.
    pub fn user(&self, user: impl Into<UserId>) -> Target {
        self.users([user])
    }

    /// Every connection of these users, each once.
    pub fn users<I: Into<UserId>>(&self, users: impl IntoIterator<Item = I>) -> Target {
        self.target(Whom::Users(users.into_iter().map(Into::into).collect()))
    }
}

fn set_of<I: Into<ConnectionId>>(ids: impl IntoIterator<Item = I>) -> ConnectionSet {
    ids.into_iter().map(Into::into).collect()
}

/// Whom a call goes to; [`Target::send`] makes it.
#[derive(Clone, Debug)]
#[must_use = "nothing is sent until `send` is awaited"]
pub struct Target {
    clients: Clients,
    whom: Whom,
}

#[derive(Clone, Debug)]
enum Whom {
    All { except: ConnectionSet },
    Caller,
    Connections(Vec<ConnectionId>),
    Group { name: GroupName, except: ConnectionSet },
    Groups(Vec<GroupName>),
    Users(Vec<UserId>),
}

impl Target {
    /// Calls `method` on the clients. A tuple or list passes one argument for each element, `()` none, and
    /// any other value is a single argument.
    ///
    /// Answers how many connections the call was handed to: each has it in its queue then, in the order in
    /// which it was sent. That nobody is there is no error. Nobody waits until they have read it: a burst that exceeds
    /// [`Limits`](crate::outbox::Limits) before its recipients have taken it disconnects them, or is forgotten in part where
    /// they are away.
    ///
    /// # Errors
    /// [`SendError`], which a hub method passes on with `?`.
    pub async fn send(self, method: &str, arguments: impl Serialize) -> Result<usize, SendError> {
        let call = Invocation::new(&self.clients.hub, method, &arguments)?;
        let services = Arc::clone(&self.clients.services);
        let reached = self.deliver(call).await?;
        services.metrics.sends.count();
        services.metrics.deliveries.add(reached as u64);
        Ok(reached)
    }

    async fn deliver(self, call: Invocation) -> Result<usize, SendError> {
        let Self { clients, whom } = self;
        match whom {
            Whom::All { except } => Ok(clients.send_to_all(call, &except)),
            Whom::Caller => {
                let call = Invocation { state: clients.state.changed(), ..call };
                Ok(clients.send_to_caller(call).await)
            }
            Whom::Connections(ids) => Ok(clients.send_to_connections(call, &ids)),
            Whom::Users(users) => Ok(clients.send_to_users(call, &users)),
            Whom::Group { name, except } => {
                if clients.behavior.refuses_empty_group && name.is_empty() {
                    return Err(SendError::EmptyGroupName);
                }
                clients.send_to_groups(call, &[name], &except).await
            }
            Whom::Groups(names) if names.iter().any(|name| name.is_empty()) => Err(SendError::EmptyGroupName),
            Whom::Groups(names) => clients.send_to_groups(call, &names, &ConnectionSet::default()).await,
        }
    }
}

impl Clients {
    fn send_to_all(&self, call: Invocation, except: &ConnectionSet) -> usize {
        let message = Message::new(call, Source::Hub);
        let shared = SharedMessage::new(message.clone());
        let mut reached = 0;
        self.services.connections.for_each_on(&self.hub, |handle| {
            if except.contains(&handle.id) {
                handle.outbox.pass_over(&message);
            } else {
                reached += push(handle, &shared);
            }
        });
        reached
    }

    async fn send_to_caller(&self, call: Invocation) -> usize {
        let handle = self.caller.as_ref().and_then(|id| self.services.connections.find(id));
        let Some(handle) = handle.filter(|handle| handle.listens_to(&self.hub)) else { return 0 };
        handle.outbox.room_for(call.arguments.get().len()).await;
        push(&handle, &SharedMessage::new(Message::new(call, Source::Connection)))
    }

    fn send_to_connections(&self, call: Invocation, ids: &[ConnectionId]) -> usize {
        let shared = SharedMessage::new(Message::new(call, Source::Connection));
        let unique: HashSet<_> = ids.iter().collect();
        let handles = unique.into_iter().filter_map(|id| self.services.connections.find(id));
        handles.filter(|handle| handle.listens_to(&self.hub)).map(|handle| push(&handle, &shared)).sum()
    }

    fn send_to_users(&self, call: Invocation, users: &[UserId]) -> usize {
        let shared = SharedMessage::new(Message::new(call, Source::User));
        let unique: HashSet<_> = users.iter().collect();
        let handles = unique.into_iter().flat_map(|user| self.services.connections.of_user(&self.hub, user));
        handles.map(|handle| push(&handle, &shared)).sum()
    }

    async fn send_to_groups(
        &self,
        call: Invocation,
        names: &[GroupName],
        except: &ConnectionSet,
    ) -> Result<usize, SendError> {
        let content = Message::new(call, Source::Hub);
        let mut reached = 0;
        for name in names {
            let key = GroupKey::new(&self.hub, name);
            let message = Arc::new(content.with_source(Source::Group(Arc::clone(&key))));
            reached += self.services.groups.publish(&key, &message, except).await?.0;
        }
        Ok(reached)
    }
}

fn push(handle: &ConnectionHandle, shared: &SharedMessage) -> usize {
    usize::from(handle.outbox.push(shared) == Push::Queued)
}
