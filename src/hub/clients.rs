//! Whom a hub can talk to.

use std::{collections::HashSet, sync::Arc};

use serde::Serialize;

use super::{CallerState, Manners, Moment, SendError, world::World};
use crate::{
    connections::Seat,
    ids::{ConnectionId, ConnectionSet, GroupKey, GroupName, HubName, UserId},
    message::{Invocation, Message, Source},
    outbox::{Parcel, Push},
};

/// Everybody on a hub, to choose from. Take it as an argument of a hub method, or from
/// [`HubHandle::clients`](crate::HubHandle::clients) outside of one.
#[derive(Clone, Debug)]
pub struct Clients {
    world: Arc<World>,
    hub: HubName,
    caller: Option<ConnectionId>,
    state: CallerState,
    manners: Manners,
}

impl Clients {
    pub(super) fn of_moment(Moment { caller, state, manners, world }: &Moment) -> Self {
        Self {
            world: Arc::clone(world),
            hub: caller.hub().clone(),
            caller: Some(caller.id().clone()),
            state: state.clone(),
            manners: *manners,
        }
    }

    pub(crate) fn of_hub(world: &Arc<World>, hub: &HubName) -> Self {
        Self {
            world: Arc::clone(world),
            hub: hub.clone(),
            caller: None,
            state: CallerState::default(),
            manners: Manners::default(),
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
        let world = Arc::clone(&self.clients.world);
        let reached = self.deliver(call).await?;
        world.metrics.sends.count();
        world.metrics.deliveries.add(reached as u64);
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
                if clients.manners.refuses_empty_group && name.is_empty() {
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
        let parcel = Parcel::new(message.clone());
        let mut reached = 0;
        self.world.connections.for_each_on(&self.hub, |seat| {
            if except.contains(&seat.id) {
                seat.outbox.pass_over(&message);
            } else {
                reached += push(seat, &parcel);
            }
        });
        reached
    }

    async fn send_to_caller(&self, call: Invocation) -> usize {
        let seat = self.caller.as_ref().and_then(|id| self.world.connections.find(id));
        let Some(seat) = seat.filter(|seat| seat.listens_to(&self.hub)) else { return 0 };
        seat.outbox.room_for(call.arguments.get().len()).await;
        push(&seat, &Parcel::new(Message::new(call, Source::Connection)))
    }

    fn send_to_connections(&self, call: Invocation, ids: &[ConnectionId]) -> usize {
        let parcel = Parcel::new(Message::new(call, Source::Connection));
        let unique: HashSet<_> = ids.iter().collect();
        let seats = unique.into_iter().filter_map(|id| self.world.connections.find(id));
        seats.filter(|seat| seat.listens_to(&self.hub)).map(|seat| push(&seat, &parcel)).sum()
    }

    fn send_to_users(&self, call: Invocation, users: &[UserId]) -> usize {
        let parcel = Parcel::new(Message::new(call, Source::User));
        let unique: HashSet<_> = users.iter().collect();
        let seats = unique.into_iter().flat_map(|user| self.world.connections.of_user(&self.hub, user));
        seats.map(|seat| push(&seat, &parcel)).sum()
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
            reached += self.world.groups.publish(&key, &message, except).await?.0;
        }
        Ok(reached)
    }
}

fn push(seat: &Seat, parcel: &Parcel) -> usize {
    usize::from(seat.outbox.push(parcel) == Push::Queued)
}
