//! Sending invocations to clients of a hub.

use std::{collections::HashSet, sync::Arc};

use serde::Serialize;

use super::{CallerState, HubBehavior, HubContext, SendError, requester::Requester, services::HubServices};
use crate::{
    connections::ConnectionHandle,
    groups,
    ids::{ConnectionId, ConnectionSet, GroupKey, GroupName, HubName, UserId, check_name},
    message::{Invocation, Message, Source},
    outbox::{Push, SharedMessage},
};

mod disconnect;

/// The clients of a hub. Hub methods take it as a parameter; other code gets it from
/// [`HubHandle::clients`](crate::HubHandle::clients).
///
/// ```
/// use hubcast::{Args, Clients, HubError};
///
/// async fn say(clients: Clients, Args((text,)): Args<(String,)>) -> Result<(), HubError> {
///     clients.others_in_group("lobby").send("said", (&text,)).await?;
///     clients.user("ann").send("said", (&text,)).await?;
///     Ok(())
/// }
/// ```
#[derive(Clone, Debug)]
pub struct Clients {
    services: Arc<HubServices>,
    hub: HubName,
    requester: Requester,
    state: CallerState,
    behavior: HubBehavior,
}

impl Clients {
    pub(super) fn of_context(HubContext { caller, state, behavior, services }: &HubContext) -> Self {
        Self {
            services: Arc::clone(services),
            hub: caller.hub().clone(),
            requester: Requester::Caller(Arc::clone(&caller.handle)),
            state: state.clone(),
            behavior: *behavior,
        }
    }

    pub(crate) fn of_hub(services: &Arc<HubServices>, hub: &HubName, requester: &Requester) -> Self {
        Self {
            services: Arc::clone(services),
            hub: hub.clone(),
            requester: requester.clone(),
            state: CallerState::default(),
            behavior: HubBehavior::default(),
        }
    }

    fn target(&self, recipients: Recipients) -> Target {
        Target { clients: self.clone(), recipients }
    }

    fn caller_list(&self) -> Vec<ConnectionId> {
        self.requester.caller().map(|caller| caller.id.clone()).into_iter().collect()
    }

    /// All connections on the hub. Unlike the members of a group, two clients can receive the messages of two senders
    /// in different orders.
    pub fn all(&self) -> Target {
        self.target(Recipients::All { except: ConnectionSet::default() })
    }

    /// All connections on the hub except these.
    pub fn all_except<I: Into<ConnectionId>>(&self, except: impl IntoIterator<Item = I>) -> Target {
        self.target(Recipients::All { except: connection_set(except) })
    }

    /// The caller; no connection outside of a hub method or hook. Changes of its [`CallerState`] are sent along if it
    /// is a classic client. Sending waits until the caller's outbox has capacity or the connection has ended. A hub
    /// method therefore cannot overflow the outbox of its own caller, and the caller misses no message.
    pub fn caller(&self) -> Target {
        self.target(Recipients::Caller)
    }

    /// All connections on the hub except the caller.
    pub fn others(&self) -> Target {
        self.all_except(self.caller_list())
    }

    /// One connection.
    pub fn client(&self, id: impl Into<ConnectionId>) -> Target {
        self.clients([id])
    }

    /// These connections. Duplicate ids count once.
    pub fn clients<I: Into<ConnectionId>>(&self, ids: impl IntoIterator<Item = I>) -> Target {
        self.target(Recipients::Connections(ids.into_iter().map(Into::into).collect()))
    }

    /// The members of a group.
    pub fn group(&self, name: impl Into<GroupName>) -> Target {
        self.target(Recipients::Group { name: name.into(), except: ConnectionSet::default() })
    }

    /// The members of a group except these connections.
    pub fn group_except<I: Into<ConnectionId>>(
        &self,
        name: impl Into<GroupName>,
        except: impl IntoIterator<Item = I>,
    ) -> Target {
        self.target(Recipients::Group { name: name.into(), except: connection_set(except) })
    }

    /// The members of a group except the caller. The caller need not be a member.
    pub fn others_in_group(&self, name: impl Into<GroupName>) -> Target {
        self.group_except(name, self.caller_list())
    }

    /// The members of these groups, one group after the other. A member of two of them receives the invocation twice.
    pub fn groups<I: Into<GroupName>>(&self, names: impl IntoIterator<Item = I>) -> Target {
        self.target(Recipients::Groups(names.into_iter().map(Into::into).collect()))
    }

    /// All connections of a user.
    pub fn user(&self, user: impl Into<UserId>) -> Target {
        self.users([user])
    }

    /// All connections of these users. Duplicate users count once.
    pub fn users<I: Into<UserId>>(&self, users: impl IntoIterator<Item = I>) -> Target {
        self.target(Recipients::Users(users.into_iter().map(Into::into).collect()))
    }
}

fn connection_set<I: Into<ConnectionId>>(ids: impl IntoIterator<Item = I>) -> ConnectionSet {
    ids.into_iter().map(Into::into).collect()
}

/// Clients that an application selects: [`Target::send`] sends an invocation to them, [`Target::disconnect`] ends their
/// connections.
#[derive(Clone, Debug)]
#[must_use = "nothing happens until `send` or `disconnect` is awaited"]
pub struct Target {
    clients: Clients,
    recipients: Recipients,
}

#[derive(Clone, Debug)]
enum Recipients {
    All { except: ConnectionSet },
    Caller,
    Connections(Vec<ConnectionId>),
    Group { name: GroupName, except: ConnectionSet },
    Groups(Vec<GroupName>),
    Users(Vec<UserId>),
}

impl Target {
    /// Invokes `method` on the clients. A tuple or list passes one argument for each element, `()` passes no argument,
    /// and any other value is a single argument.
    ///
    /// Returns the number of connections that have the invocation in their outbox, in the order in which invocations
    /// were sent. An empty target is not an error. The call does not wait until clients have read the message. A burst
    /// that exceeds [`Limits`](crate::outbox::Limits) before its recipients have read it disconnects them. If a
    /// recipient is a classic client without a channel, part of the burst is dropped instead.
    ///
    /// # Errors
    /// [`SendError`], which a hub method can return with `?`.
    pub async fn send(self, method: &str, arguments: impl Serialize) -> Result<usize, SendError> {
        let invocation = Invocation::new(&self.clients.hub, method, &arguments)?;
        let services = Arc::clone(&self.clients.services);
        let reached = self.deliver(invocation).await?;
        services.metrics.sends.increment();
        services.metrics.deliveries.add(reached as u64);
        Ok(reached)
    }

    async fn deliver(self, invocation: Invocation) -> Result<usize, SendError> {
        let Self { clients, recipients } = self;
        match recipients {
            Recipients::All { except } => Ok(clients.send_to_all(invocation, &except)),
            Recipients::Caller => {
                let invocation = Invocation { state: clients.state.changed(), ..invocation };
                Ok(clients.send_to_caller(invocation).await)
            }
            Recipients::Connections(ids) => Ok(clients.send_to_connections(invocation, &ids)),
            Recipients::Users(users) => Ok(clients.send_to_users(invocation, &users)),
            Recipients::Group { name, except } => {
                if clients.behavior.refuses_empty_group && name.is_empty() {
                    return Err(SendError::EmptyGroupName);
                }
                clients.send_to_groups(invocation, &[name], &except).await
            }
            Recipients::Groups(names) if names.iter().any(|name| name.is_empty()) => Err(SendError::EmptyGroupName),
            Recipients::Groups(names) => clients.send_to_groups(invocation, &names, &ConnectionSet::default()).await,
        }
    }
}

impl Clients {
    fn send_to_all(&self, invocation: Invocation, except: &ConnectionSet) -> usize {
        let message = Message::new(invocation, Source::Hub);
        let shared = SharedMessage::new(message.clone());
        let mut reached = 0;
        self.services.connections.for_each_on(&self.hub, |handle| {
            if except.contains(&handle.id) {
                handle.outbox.skip(&message);
            } else {
                reached += push(handle, &shared);
            }
        });
        reached
    }

    async fn send_to_caller(&self, invocation: Invocation) -> usize {
        let handle = self.requester.caller().and_then(|caller| self.services.connections.find(&caller.id));
        let Some(handle) = handle.filter(|handle| handle.listens_to(&self.hub)) else { return 0 };
        handle.outbox.wait_for_capacity(invocation.arguments.get().len()).await;
        push(&handle, &SharedMessage::new(Message::new(invocation, Source::Connection)))
    }

    fn send_to_connections(&self, invocation: Invocation, ids: &[ConnectionId]) -> usize {
        let shared = SharedMessage::new(Message::new(invocation, Source::Connection));
        let unique: HashSet<_> = ids.iter().collect();
        let handles = unique.into_iter().filter_map(|id| self.services.connections.find(id));
        handles.filter(|handle| handle.listens_to(&self.hub)).map(|handle| push(&handle, &shared)).sum()
    }

    fn send_to_users(&self, invocation: Invocation, users: &[UserId]) -> usize {
        let shared = SharedMessage::new(Message::new(invocation, Source::User));
        let unique: HashSet<_> = users.iter().collect();
        let handles = unique.into_iter().flat_map(|user| self.services.connections.of_user(&self.hub, user));
        handles.map(|handle| push(&handle, &shared)).sum()
    }

    async fn send_to_groups(
        &self,
        invocation: Invocation,
        names: &[GroupName],
        except: &ConnectionSet,
    ) -> Result<usize, SendError> {
        for name in names {
            check_name("group", name).map_err(groups::Error::from)?;
        }
        let content = Message::new(invocation, Source::Hub);
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
