//! An invocation of a hub method, and its caller.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use actix::Message;
use serde::Serialize;
use serde_json::Value;

use super::{
    CallError, Clients, Groups, Identity, Request, ResultScope, Uploads, Users, bind::Binding, requester::Requester,
    services::HubServices, streams::encode,
};
use crate::{
    connections::{ConnectionHandle, Reconnect},
    ids::{ConnectionId, HubName, UserId},
    payload::{EncodeError, Format, Payload},
};

/// The client that invoked a hub method, or whose connection a hook is about.
///
/// ```
/// use hubcast::{Caller, HubError};
///
/// async fn who_am_i(caller: Caller) -> Result<String, HubError> {
///     let user = caller.user().ok_or_else(|| HubError::new("you have no name"))?;
///     Ok(format!("{user} on connection {}", caller.id()))
/// }
/// ```
#[derive(Clone, Debug)]
pub struct Caller {
    pub(crate) handle: Arc<ConnectionHandle>,
    pub(crate) hub: HubName,
    pub(crate) identity: Arc<Identity>,
    pub(crate) request: Arc<Request>,
    /// `None` if there are none.
    pub(crate) headers: Option<Arc<BTreeMap<String, String>>>,
}

impl Caller {
    /// The connection's public id.
    #[must_use]
    pub fn id(&self) -> &ConnectionId {
        &self.handle.id
    }

    /// The user, if the client has one.
    #[must_use]
    pub fn user(&self) -> Option<&UserId> {
        self.handle.user.as_ref()
    }

    /// A display name of the client: its user, or else its connection id.
    #[must_use]
    pub fn name(&self) -> &str {
        self.user().map_or(self.id(), |user| user)
    }

    /// The hub that was invoked.
    #[must_use]
    pub fn hub(&self) -> &HubName {
        &self.hub
    }

    /// The identity of the client.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The request that started the connection or its current channel.
    #[must_use]
    pub fn request(&self) -> &Request {
        &self.request
    }

    /// A header of the invocation, by its exact name. Clients of ASP.NET Core SignalR send the trace context in
    /// `traceparent` and `tracestate`. Lifecycle hooks see no headers.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.as_ref()?.get(name).map(String::as_str)
    }

    /// The name of the transport on the wire, such as `WebSockets`.
    #[must_use]
    pub fn transport(&self) -> &'static str {
        self.handle.info.transport()
    }

    /// Closes the connection. The client does not reconnect automatically.
    pub async fn abort(&self) {
        self.handle.disconnect(Reconnect::Deny).await;
    }

    /// Completes when the connection has ended or its client has disconnected permanently (ASP.NET Core SignalR:
    /// `ConnectionAborted`). A hub method keeps running when its caller disconnects. A long-running hub method can wait
    /// for this future beside its work and return early.
    pub fn ended(&self) -> impl Future<Output = ()> + Send + use<> {
        self.handle.ended().clone().cancelled_owned()
    }
}

/// Differences in hub behavior between the generations of SignalR. The dialect sets them, so that hub code does not
/// depend on the generation.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct HubBehavior {
    /// How strictly arguments must match the parameter types.
    pub binding: Binding,
    /// True if sending to a single group with an empty name is an error. In a list of groups it always is.
    pub refuses_empty_group: bool,
}

/// The arguments of an invocation, not yet bound to types.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Arguments {
    format: Format,
    values: Vec<Payload>,
    /// Why the values could not be read.
    fault: Option<Box<str>>,
    binding: Binding,
}

impl Arguments {
    /// Arguments as received, all in the format.
    #[must_use]
    pub(crate) fn new(format: Format, values: Vec<Payload>, binding: Binding) -> Self {
        Self { format, values, fault: None, binding }
    }

    /// Arguments that could not be read. The invocation fails with the text.
    pub(crate) fn malformed(format: Format, fault: impl Into<Box<str>>) -> Self {
        Self { format, fault: Some(fault.into()), ..Self::default() }
    }

    pub(super) fn fault(&self) -> Option<&str> {
        self.fault.as_deref()
    }

    /// The format of the arguments, in which the client also expects the result.
    #[must_use]
    pub fn format(&self) -> Format {
        self.format
    }

    /// The number of arguments.
    #[must_use]
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// True if there are no arguments.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Iterates over the arguments.
    pub fn iter(&self) -> impl Iterator<Item = &Payload> {
        self.values.iter()
    }

    /// Replaces the argument at `index`, or appends one if `index` is the number of arguments. The value is encoded in
    /// the format of the arguments.
    ///
    /// # Errors
    /// [`EncodeError`], if the value has no representation in the format or `index` is too large.
    pub fn set(&mut self, index: usize, value: &impl Serialize) -> Result<(), EncodeError> {
        if index > self.values.len() {
            return Err(EncodeError(format!("there is no argument {index}")));
        }
        let value = [Payload::encode(self.format, value)?];
        self.values.splice(index..self.values.len().min(index + 1), value);
        Ok(())
    }

    /// The argument at `index` as a `T`.
    ///
    /// # Errors
    /// [`CallError::Binding`], if it is not a `T` or there is no such argument.
    pub fn get<T: serde::de::DeserializeOwned>(&self, index: usize) -> Result<T, CallError> {
        let value = self.values.get(index).ok_or_else(|| CallError::Binding("argument missing".into()))?;
        super::bind::bind_payload(self.binding, value).map_err(CallError::Binding)
    }
}

/// Sends progress of a hub method to the caller. Only classic clients support it, whose format is JSON.
pub(crate) type Reporter = Arc<dyn Fn(&Payload) + Send + Sync>;

/// The state that a classic client keeps for a hub. The client sends it with each invocation. Changes go back to the
/// client with the result, with progress, and with messages that [`Clients::caller`] is sent during the invocation.
#[derive(Clone, Debug, Default)]
pub struct CallerState(Arc<Mutex<StateValues>>);

#[derive(Debug, Default)]
struct StateValues {
    values: serde_json::Map<String, Value>,
    changed: serde_json::Map<String, Value>,
}

impl CallerState {
    /// Creates the state from the values that a client has sent.
    #[must_use]
    pub fn new(values: serde_json::Map<String, Value>) -> Self {
        Self(Arc::new(Mutex::new(StateValues { values, changed: serde_json::Map::new() })))
    }

    /// The value of `key`, compared case-sensitively; null if there is none.
    #[must_use]
    pub fn get(&self, key: &str) -> Value {
        self.lock().values.get(key).cloned().unwrap_or_default()
    }

    /// Sets the value of `key`. The client receives and keeps the change.
    pub fn set(&self, key: &str, value: impl Into<Value>) {
        let (mut state, value) = (self.lock(), value.into());
        if state.values.get(key) != Some(&value) {
            state.changed.insert(key.to_owned(), value.clone());
            state.values.insert(key.to_owned(), value);
        }
    }

    /// The values that have changed since the client sent the state.
    #[must_use]
    pub fn changed(&self) -> serde_json::Map<String, Value> {
        self.lock().changed.clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, StateValues> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An invocation of a hub method. An actor that handles this message can be a hub.
#[derive(Message)]
#[rtype(result = "Result<Payload, CallError>")]
pub struct Call {
    /// The method name as the client wrote it.
    pub method: String,
    /// The arguments that the client passes.
    pub arguments: Arguments,
    /// The caller, and access to clients, groups and users.
    pub context: HubContext,
    pub(crate) reporter: Option<Reporter>,
    pub(crate) streams: Streams,
    pub(crate) uploads: Uploads,
}

impl Call {
    /// Encodes a result for the client.
    ///
    /// # Errors
    /// [`CallError::UnserializableResult`].
    pub fn encode(&self, result: &impl Serialize) -> Result<Payload, CallError> {
        encode(self.arguments.format(), result)
    }
}

/// The streams that an invocation requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Streams {
    /// The number of streams that the client wants to send.
    pub(crate) sent: usize,
    /// True if the client wants a stream as the result.
    pub(crate) wants_stream: bool,
}

impl std::fmt::Debug for Call {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Call")
            .field("method", &self.method)
            .field("caller", self.context.caller.id())
            .finish_non_exhaustive()
    }
}

/// A connection has started (OnConnected). An actor hub can refuse it with an error.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Result<(), super::HubError>")]
pub struct Connected(pub HubContext);

/// A connection continues over a new channel (OnReconnected).
#[derive(Clone, Debug, Message)]
#[rtype(result = "Result<(), super::HubError>")]
pub struct Reconnected {
    /// The connection, and access to clients, groups and users.
    pub context: HubContext,
    /// True if the client has missed messages that could not be replayed.
    pub has_gap: bool,
}

/// A connection has ended (OnDisconnected). It is sent exactly once for each [`Connected`] that succeeded.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub struct Disconnected {
    /// The connection, and access to clients, groups and users.
    pub context: HubContext,
    /// The error that ended the connection, as type name and text. `None` if client or server closed it normally.
    pub error: Option<(String, String)>,
    /// True if the client closed the connection explicitly.
    pub is_stop: bool,
}

/// The context of an invocation or a lifecycle event: the caller, and access to clients, groups and users.
#[derive(Clone)]
pub struct HubContext {
    pub(crate) caller: Caller,
    pub(crate) state: CallerState,
    pub(crate) behavior: HubBehavior,
    pub(crate) scope: ResultScope,
    pub(crate) services: Arc<HubServices>,
}

impl HubContext {
    /// The client that invoked the hub method, or whose lifecycle event this is.
    #[must_use]
    pub fn caller(&self) -> &Caller {
        &self.caller
    }

    /// The client's state. It is empty for lifecycle events, because clients send it only with invocations.
    #[must_use]
    pub fn state(&self) -> &CallerState {
        &self.state
    }

    /// The clients of the hub.
    #[must_use]
    pub fn clients(&self) -> Clients {
        Clients::of_context(self)
    }

    /// The groups of the hub.
    #[must_use]
    pub fn groups(&self) -> Groups {
        Groups::new(&self.services, self.caller.hub(), &self.requester())
    }

    /// The users of the hub and their durable groups.
    #[must_use]
    pub fn users(&self) -> Users {
        Users::new(&self.services, self.caller.hub(), &self.requester())
    }

    fn requester(&self) -> Requester {
        Requester::Caller(Arc::clone(&self.caller.handle))
    }
}

impl std::fmt::Debug for HubContext {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HubContext").field("caller", &self.caller).finish_non_exhaustive()
    }
}
