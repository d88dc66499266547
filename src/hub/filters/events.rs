//! The events that filters handle.

use std::sync::Arc;

use actix::Message;
use serde::{Serialize, de::DeserializeOwned};

use super::{Decision, Recipients};
use crate::{
    hub::{Arguments, CallError, Disconnected, HubContext, Identity, Request, Users},
    ids::{ConnectionId, ConnectionSet, GroupName, HubName, UserId},
    message::Invocation,
    payload::{DecodeError, EncodeError, Payload},
};

/// A client asks for a connection to a hub.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Decision<AuthorizeConnect>")]
pub struct AuthorizeConnect {
    /// The hub.
    pub hub: HubName,
    /// The identity of the client.
    pub identity: Arc<Identity>,
    /// The request.
    pub request: Arc<Request>,
}

/// OnConnected is about to run.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Decision<BeforeConnect>")]
pub struct BeforeConnect {
    /// The connection, and access to clients, groups and users.
    pub context: HubContext,
}

/// OnConnected has succeeded.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Decision<()>")]
pub struct AfterConnect {
    /// The connection, and access to clients, groups and users.
    pub context: HubContext,
}

/// A client reconnects.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Decision<BeforeReconnect>")]
pub struct BeforeReconnect {
    /// The connection, and access to clients, groups and users.
    pub context: HubContext,
    /// True if the client has missed messages, or may have.
    pub has_gap: bool,
}

/// A client has reconnected.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Decision<()>")]
pub struct AfterReconnect {
    /// The connection, and access to clients, groups and users.
    pub context: HubContext,
    /// True if the client has missed messages, or may have.
    pub has_gap: bool,
}

/// OnDisconnected is about to run.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Decision<()>")]
pub struct BeforeDisconnect(pub Disconnected);

/// OnDisconnected has run.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Decision<()>")]
pub struct AfterDisconnect(pub Disconnected);

/// A hub method is about to run.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Decision<BeforeInvoke>")]
pub struct BeforeInvoke {
    /// The caller, and access to clients, groups and users.
    pub context: HubContext,
    /// The name of the method as the client wrote it. If a filter changes it, that method runs.
    pub method: String,
    /// The arguments, not yet bound to types. [`Arguments::set`] replaces one.
    pub arguments: Arguments,
    pub(super) result: Option<Payload>,
}

/// A hub method has succeeded.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Decision<AfterInvoke>")]
pub struct AfterInvoke {
    /// The caller, and access to clients, groups and users.
    pub context: HubContext,
    /// The name of the method.
    pub method: String,
    /// The arguments that it was called with.
    pub arguments: Arguments,
    pub(super) result: Option<Payload>,
}

/// A hub method has failed.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Decision<IncomingError>")]
pub struct IncomingError {
    /// The caller, and access to clients, groups and users.
    pub context: HubContext,
    /// The name of the method.
    pub method: String,
    /// The arguments that it was called with.
    pub arguments: Arguments,
    /// The error. The filter can replace it.
    pub error: CallError,
    pub(super) result: Option<Payload>,
}

macro_rules! with_result {
    ($($event:ident $meaning:literal)*) => {
        $(
            impl $event {
                #[doc = $meaning]
                #[must_use]
                pub fn result(&self) -> Option<&Payload> {
                    self.result.as_ref()
                }

                /// Sets the result, encoded in the format of the caller.
                ///
                /// # Errors
                /// [`EncodeError`], if the value has no representation in the format.
                pub fn set_result(&mut self, value: &impl Serialize) -> Result<(), EncodeError> {
                    self.result = Some(Payload::encode(self.arguments.format(), value)?);
                    Ok(())
                }
            }
        )*
    };
}

with_result! {
    BeforeInvoke "The result that a filter has set. If there is one, the method does not run, nor do later filters."
    AfterInvoke "The result; `None` if it is a stream, which filters cannot replace."
    IncomingError "The result that the filter has set instead of the error."
}

/// Who sends an invocation to clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sender {
    /// The connection whose hub method or hook it is.
    pub connection: ConnectionId,
    /// Its user.
    pub user: Option<UserId>,
}

/// An invocation is about to be sent to clients, by [`Target::send`](crate::hub::Target::send) or
/// [`Target::invoke`](crate::hub::Target::invoke). Results, progress and items of streams are no such invocations.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Decision<BeforeSend>")]
pub struct BeforeSend {
    /// Who sends it; `None` if the application does, outside of hub methods and hooks.
    pub sender: Option<Sender>,
    /// The recipients.
    pub recipients: Recipients,
    /// The connections that are excluded.
    pub except: ConnectionSet,
    pub(in crate::hub) invocation: Invocation,
}

/// An invocation was sent to clients, by [`Target::send`](crate::hub::Target::send) or
/// [`Target::invoke`](crate::hub::Target::invoke). The client may not have answered yet.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Decision<()>")]
pub struct AfterSend {
    /// The invocation and its recipients.
    pub sent: Arc<BeforeSend>,
    /// The number of connections on this process that have it in their outbox.
    pub reached: usize,
}

impl BeforeSend {
    /// The hub that sends it.
    #[must_use]
    pub fn hub(&self) -> &HubName {
        &self.invocation.hub
    }

    /// The name of the client method.
    #[must_use]
    pub fn method(&self) -> &str {
        &self.invocation.target
    }

    /// The arguments as JSON, an array.
    #[must_use]
    pub fn arguments_json(&self) -> &str {
        self.invocation.arguments.get()
    }

    /// The arguments as a `T`: a tuple, or a list.
    ///
    /// # Errors
    /// [`DecodeError`], if they are not a `T`.
    pub fn arguments<T: DeserializeOwned>(&self) -> Result<T, DecodeError> {
        serde_json::from_str(self.arguments_json()).map_err(|error| DecodeError(error.to_string()))
    }

    /// Replaces the arguments. A tuple or list passes one argument for each element.
    ///
    /// # Errors
    /// [`EncodeError`], if they cannot be encoded in a format that clients use. They are unchanged.
    pub fn set_arguments(&mut self, arguments: &impl Serialize) -> Result<(), EncodeError> {
        let mut invocation = Invocation::new(&self.invocation.hub, &self.invocation.target, arguments)?;
        if self.invocation.packed_arguments.is_some() {
            invocation.pack_arguments(arguments)?;
        }
        invocation.state.append(&mut self.invocation.state);
        self.invocation = invocation;
        Ok(())
    }
}

/// A client is about to rejoin its groups of a hub.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Decision<RejoiningGroups>")]
pub struct RejoiningGroups {
    /// The hub whose groups are decided.
    pub hub: HubName,
    /// The connection that reconnects, or that continues an earlier connection.
    pub connection: ConnectionId,
    /// The user of the connection.
    pub user: Option<UserId>,
    /// The groups that policy and earlier filters have selected.
    pub groups: Vec<GroupName>,
    /// The users of the hub and their durable groups. A change of these by the filter does not change `groups`.
    pub users: Users,
}

/// What the log and shadow mode need of an event.
pub trait Described {
    /// The hub and the connection, for the log.
    fn subject(&self) -> (&HubName, Option<&ConnectionId>);

    /// True if a filter has changed `earlier` to this event.
    fn is_changed(&self, earlier: &Self) -> bool {
        let _ = earlier;
        false
    }
}

fn of_context(context: &HubContext) -> (&HubName, Option<&ConnectionId>) {
    (context.caller().hub(), Some(context.caller().id()))
}

macro_rules! described {
    ($($event:ident: $context:expr, $is_changed:expr;)*) => {
        $(
            impl Described for $event {
                fn subject(&self) -> (&HubName, Option<&ConnectionId>) {
                    let context: fn(&Self) -> &HubContext = $context;
                    of_context(context(self))
                }

                fn is_changed(&self, earlier: &Self) -> bool {
                    let is_changed: fn(&Self, &Self) -> bool = $is_changed;
                    is_changed(self, earlier)
                }
            }
        )*
    };
}

described! {
    BeforeConnect: |event| &event.context, |_, _| false;
    AfterConnect: |event| &event.context, |_, _| false;
    BeforeReconnect: |event| &event.context, |_, _| false;
    AfterReconnect: |event| &event.context, |_, _| false;
    BeforeDisconnect: |event| &event.0.context, |_, _| false;
    AfterDisconnect: |event| &event.0.context, |_, _| false;
    BeforeInvoke: |event| &event.context, |one, other| {
        (&one.method, &one.arguments, &one.result) != (&other.method, &other.arguments, &other.result)
    };
    AfterInvoke: |event| &event.context, |one, other| one.result != other.result;
    IncomingError: |event| &event.context, |one, other| (&one.error, &one.result) != (&other.error, &other.result);
}

impl Described for AuthorizeConnect {
    fn subject(&self) -> (&HubName, Option<&ConnectionId>) {
        (&self.hub, None)
    }
}

impl Described for RejoiningGroups {
    fn subject(&self) -> (&HubName, Option<&ConnectionId>) {
        (&self.hub, Some(&self.connection))
    }

    fn is_changed(&self, earlier: &Self) -> bool {
        self.groups != earlier.groups
    }
}

impl Described for BeforeSend {
    fn subject(&self) -> (&HubName, Option<&ConnectionId>) {
        (self.hub(), self.sender.as_ref().map(|sender| &sender.connection))
    }

    fn is_changed(&self, earlier: &Self) -> bool {
        let parts = |event: &Self| (event.recipients.clone(), event.except.clone());
        self.arguments_json() != earlier.arguments_json() || parts(self) != parts(earlier)
    }
}

impl Described for AfterSend {
    fn subject(&self) -> (&HubName, Option<&ConnectionId>) {
        self.sent.subject()
    }
}
