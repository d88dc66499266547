//! Sending invocations to clients of a hub.

use std::sync::Arc;

use serde::Serialize;

use super::{
    CallerState, HubBehavior, HubContext, SendError,
    filters::{AfterSend, BeforeSend, Chain, EventKind, Sender, Stopped},
    requester::Requester,
    services::HubServices,
};
use crate::{
    ids::{ConnectionId, ConnectionSet, GroupName, HubName, UserId},
    message::Invocation,
    router::{Destination, Recipients, Router},
};

mod disconnect;
mod invoke;

pub(crate) use invoke::{CallSlot, ResultScope};

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
    router: Arc<Router>,
    hub: HubName,
    requester: Requester,
    state: CallerState,
    behavior: HubBehavior,
    scope: ResultScope,
    /// The filters of the hub, if one of them handles sends.
    chain: Option<Arc<Chain>>,
}

impl Clients {
    pub(super) fn of_context(HubContext { caller, state, behavior, scope, services }: &HubContext) -> Self {
        Self {
            router: Arc::clone(&services.router),
            hub: caller.hub().clone(),
            requester: Requester::Caller(Arc::clone(&caller.handle)),
            state: state.clone(),
            behavior: *behavior,
            scope: scope.clone(),
            chain: send_chain(services, caller.hub()),
        }
    }

    pub(crate) fn of_hub(services: &Arc<HubServices>, hub: &HubName, requester: &Requester) -> Self {
        Self {
            router: Arc::clone(&services.router),
            hub: hub.clone(),
            requester: requester.clone(),
            state: CallerState::default(),
            behavior: HubBehavior::default(),
            scope: ResultScope::Free,
            chain: send_chain(services, hub),
        }
    }

    fn target(&self, destination: impl Into<Destination>) -> Target {
        Target { clients: self.clone(), destination: destination.into(), is_caller: false, refuses_empty_group: false }
    }

    fn group_target(&self, name: GroupName, except: ConnectionSet) -> Target {
        let destination = Destination { recipients: Recipients::Groups(vec![name]), except };
        Target { refuses_empty_group: self.behavior.refuses_empty_group, ..self.target(destination) }
    }

    fn caller_list(&self) -> Vec<ConnectionId> {
        self.requester.caller().map(|caller| caller.id.clone()).into_iter().collect()
    }

    /// All connections on the hub. Unlike the members of a group, two clients can receive the messages of two senders
    /// in different orders.
    pub fn all(&self) -> Target {
        self.target(Recipients::All)
    }

    /// All connections on the hub except these.
    pub fn all_except<I: Into<ConnectionId>>(&self, except: impl IntoIterator<Item = I>) -> Target {
        self.target(Destination { recipients: Recipients::All, except: connection_set(except) })
    }

    /// The caller; no connection outside of a hub method or hook. Changes of its [`CallerState`] are sent along if it
    /// is a classic client. Sending waits until the caller's outbox has capacity or the connection has ended. A hub
    /// method therefore cannot overflow the outbox of its own caller, and the caller misses no message.
    pub fn caller(&self) -> Target {
        Target { is_caller: true, ..self.clients(self.caller_list()) }
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
        self.group_target(name.into(), ConnectionSet::default())
    }

    /// The members of a group except these connections.
    pub fn group_except<I: Into<ConnectionId>>(
        &self,
        name: impl Into<GroupName>,
        except: impl IntoIterator<Item = I>,
    ) -> Target {
        self.group_target(name.into(), connection_set(except))
    }

    /// The members of a group except the caller. The caller need not be a member.
    pub fn others_in_group(&self, name: impl Into<GroupName>) -> Target {
        self.group_except(name, self.caller_list())
    }

    /// The members of these groups, one group after the other. A member of two of them receives the invocation twice.
    pub fn groups<I: Into<GroupName>>(&self, names: impl IntoIterator<Item = I>) -> Target {
        let groups = Recipients::Groups(names.into_iter().map(Into::into).collect());
        Target { refuses_empty_group: true, ..self.target(groups) }
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

fn send_chain(services: &HubServices, hub: &HubName) -> Option<Arc<Chain>> {
    services.hub(hub)?.chain(EventKind::BeforeSend | EventKind::AfterSend).cloned()
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
    destination: Destination,
    /// True for the caller of a hub method: a send waits for capacity and carries the changed state.
    is_caller: bool,
    refuses_empty_group: bool,
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
    pub async fn send(mut self, method: &str, arguments: impl Serialize) -> Result<usize, SendError> {
        let mut invocation = Invocation::new(&self.clients.hub, method, &arguments)?;
        if self.clients.router.formats().include_message_pack() {
            invocation.pack_arguments(&arguments)?;
        }
        if self.is_caller {
            invocation.state = self.clients.state.changed();
        }
        match self.clients.chain.take() {
            // The future is boxed, so that that of an unfiltered send is not larger.
            Some(chain) => Box::pin(self.send_filtered(&chain, invocation)).await,
            None => self.send_unfiltered(invocation).await,
        }
    }

    async fn send_unfiltered(&self, invocation: Invocation) -> Result<usize, SendError> {
        self.check_group_names()?;
        if self.is_caller {
            self.wait_for_capacity(&invocation).await;
        }
        Ok(self.clients.router.send(&self.destination, invocation).await?)
    }

    /// Sends between the filters.
    async fn send_filtered(mut self, chain: &Chain, invocation: Invocation) -> Result<usize, SendError> {
        let invocation =
            self.before_send(chain, invocation).await.map_err(|stopped| SendError::Refused(stopped.error))?;
        let sent = chain.handles(EventKind::AfterSend).then(|| Arc::new(self.event(invocation.clone())));
        let reached = self.send_unfiltered(invocation).await?;
        if let Some(sent) = sent {
            chain.observe(AfterSend { sent, reached }).await;
        }
        Ok(reached)
    }

    /// Passes an invocation through the filters before a send. They can change its recipients.
    async fn before_send(&mut self, chain: &Chain, invocation: Invocation) -> Result<Invocation, Stopped> {
        let BeforeSend { recipients, except, invocation, .. } = chain.decide(self.event(invocation)).await?;
        self.destination = Destination { recipients, except };
        Ok(invocation)
    }

    fn event(&self, invocation: Invocation) -> BeforeSend {
        let sender = self.clients.requester.caller();
        let sender = sender.map(|caller| Sender { connection: caller.id.clone(), user: caller.user.clone() });
        let Destination { recipients, except } = self.destination.clone();
        BeforeSend { sender, recipients, except, invocation }
    }

    fn check_group_names(&self) -> Result<(), SendError> {
        match &self.destination.recipients {
            Recipients::Groups(names) if self.refuses_empty_group && names.iter().any(|name| name.is_empty()) => {
                Err(SendError::EmptyGroupName)
            }
            _ => Ok(()),
        }
    }

    async fn wait_for_capacity(&self, invocation: &Invocation) {
        if let Some(caller) = self.clients.requester.caller() {
            caller.outbox.wait_for_capacity(invocation.arguments.get().len()).await;
        }
    }
}
