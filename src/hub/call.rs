//! One call of a hub method, and who calls.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};

use actix::Message;
use serde_json::{Value, value::RawValue};

use super::{CallError, Clients, Groups, Users, bind::Binding, services::HubServices};
use crate::{
    connections::{Command, ConnectionHandle},
    ids::{ConnectionId, HubName, UserId},
    message::Json,
};

/// Who somebody is, as the application's authentication found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// The user's name, if the client has one.
    pub user: Option<UserId>,
    /// True if somebody vouches for it: a name alone is not proof.
    pub is_authenticated: bool,
    /// What else is known, by name.
    pub claims: BTreeMap<String, String>,
    /// When the proof runs out.
    pub expires: Option<SystemTime>,
}

impl Identity {
    /// Somebody who merely says a name.
    #[must_use]
    pub fn named(user: Option<UserId>) -> Self {
        Self { user, ..Self::default() }
    }

    /// Somebody whose name is proven.
    #[must_use]
    pub fn proven(user: UserId) -> Self {
        Self { user: Some(user), is_authenticated: true, ..Self::default() }
    }
}

/// The HTTP request that a connection, or its present channel, began with.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// The members of the query, decoded, in their order.
    pub query: Vec<(String, String)>,
    /// The headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// Where it came from.
    pub remote: Option<SocketAddr>,
}

impl Request {
    /// The first member of that name in the query; names compare without case.
    #[must_use]
    pub fn query(&self, name: &str) -> Option<&str> {
        find(&self.query, name)
    }

    /// The first header of that name, in any case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        find(&self.headers, name)
    }
}

fn find<'a>(pairs: &'a [(String, String)], name: &str) -> Option<&'a str> {
    pairs.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| &**value)
}

/// The client that a hub method or hook works for.
#[derive(Clone, Debug)]
pub struct Caller {
    pub(crate) handle: Arc<ConnectionHandle>,
    pub(crate) hub: HubName,
    pub(crate) identity: Arc<Identity>,
    pub(crate) request: Arc<Request>,
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

    /// What to call the client: its user, or else its connection's id.
    #[must_use]
    pub fn name(&self) -> &str {
        self.user().map_or(self.id(), |user| user)
    }

    /// The hub that is called.
    #[must_use]
    pub fn hub(&self) -> &HubName {
        &self.hub
    }

    /// Who the client is.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The request that the connection, or its present channel, began with.
    #[must_use]
    pub fn request(&self) -> &Request {
        &self.request
    }

    /// The transport by its name on the wire, such as `WebSockets`.
    #[must_use]
    pub fn transport(&self) -> &'static str {
        self.handle.about.transport()
    }

    /// Ends the connection; the client does not come back by itself.
    pub async fn abort(&self) {
        // A connection that has ended already needs no ending.
        let _ = self.handle.port.send(Command::Abort).await;
    }

    /// Waits until the connection has ended, or its client has gone for good. A method is run to its end even if its
    /// caller goes meanwhile; one that would work on for nobody waits for this beside its work. (ASP.NET Core:
    /// `ConnectionAborted`.)
    pub fn ended(&self) -> impl Future<Output = ()> + Send + use<> {
        self.handle.ended.clone().cancelled_owned()
    }
}

/// What differs in how a hub behaves towards each generation of clients. It is decided by the dialect, so
/// that no line of a hub has to know whom it talks to.
#[derive(Clone, Copy, Debug, Default)]
pub struct HubBehavior {
    /// How closely arguments must match.
    pub binding: Binding,
    /// True if sending to a group without a name is an error even where it is the only one.
    pub refuses_empty_group: bool,
}

/// The arguments of a call, unbound.
#[derive(Debug, Default)]
pub struct Arguments {
    values: Vec<Json>,
    binding: Binding,
}

impl Arguments {
    /// Arguments as they came.
    #[must_use]
    pub fn new(values: Vec<Json>, binding: Binding) -> Self {
        Self { values, binding }
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// True if there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Each as JSON.
    pub fn iter(&self) -> impl Iterator<Item = &RawValue> {
        self.values.iter().map(|value| &**value)
    }

    /// The argument at `place` as a `T`.
    ///
    /// # Errors
    /// [`CallError::Binding`], if it is none, or there is no such argument.
    pub fn get<T: serde::de::DeserializeOwned>(&self, place: usize) -> Result<T, CallError> {
        let value = self.values.get(place).ok_or_else(|| CallError::Binding("argument missing".into()))?;
        super::bind::bind(self.binding, value.get()).map_err(|error| CallError::Binding(error.to_string()))
    }
}

/// Where a method reports its progress; classic clients can be told, others are not.
pub(crate) type Reporter = Arc<dyn Fn(Json) + Send + Sync>;

/// A client's bag of state for a hub: classic clients send it with each call and take back what changed, with
/// the answer, with progress, and with what [`Clients::caller`] is sent meanwhile.
#[derive(Clone, Debug, Default)]
pub struct CallerState(Arc<Mutex<Bag>>);

#[derive(Debug, Default)]
struct Bag {
    values: serde_json::Map<String, Value>,
    changed: serde_json::Map<String, Value>,
}

impl CallerState {
    /// The bag that a client has sent.
    #[must_use]
    pub fn new(values: serde_json::Map<String, Value>) -> Self {
        Self(Arc::new(Mutex::new(Bag { values, changed: serde_json::Map::new() })))
    }

    /// What the client has under `key`, spelt exactly so; null if nothing.
    #[must_use]
    pub fn get(&self, key: &str) -> Value {
        self.lock().values.get(key).cloned().unwrap_or_default()
    }

    /// Gives the client a value to keep under `key`.
    pub fn set(&self, key: &str, value: impl Into<Value>) {
        let (mut bag, value) = (self.lock(), value.into());
        if bag.values.get(key) != Some(&value) {
            bag.changed.insert(key.to_owned(), value.clone());
            bag.values.insert(key.to_owned(), value);
        }
    }

    /// What has changed since the client sent the bag.
    #[must_use]
    pub fn changed(&self) -> serde_json::Map<String, Value> {
        self.lock().changed.clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Bag> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A call of a hub method. An actor that handles this message can be a hub.
#[derive(Message)]
#[rtype(result = "Result<Json, CallError>")]
pub struct Call {
    /// The method as the client spelt it.
    pub method: String,
    /// What the client passes.
    pub arguments: Arguments,
    /// Who calls, and everybody whom the method can talk to.
    pub context: HubContext,
    pub(crate) reporter: Option<Reporter>,
    pub(crate) streams: Streams,
}

/// What a client wants streamed. No method streams yet, so that any wish is refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Streams {
    /// How many streams it wants to send.
    pub(crate) sent: usize,
    /// It wants a stream back.
    pub(crate) wants_answer: bool,
}

impl std::fmt::Debug for Call {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Call")
            .field("method", &self.method)
            .field("caller", self.context.caller.id())
            .finish_non_exhaustive()
    }
}

/// A connection has begun: its OnConnected. An actor hub may refuse it with an error.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Result<(), super::HubError>")]
pub struct Connected(pub HubContext);

/// A connection goes on over a new channel: its OnReconnected.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Result<(), super::HubError>")]
pub struct Reconnected {
    /// Whose.
    pub context: HubContext,
    /// True if the client has missed messages that could not be replayed.
    pub has_gap: bool,
}

/// A connection has ended: its OnDisconnected. It comes exactly once for each [`Connected`] that succeeded.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub struct Disconnected {
    /// Whose.
    pub context: HubContext,
    /// What ended it, if it was not the wish of either side: kind and text.
    pub error: Option<(String, String)>,
    /// True if the client said good-bye.
    pub is_stop: bool,
}

/// A moment in the life of a connection, and everybody whom the hub can talk to about it.
#[derive(Clone)]
pub struct HubContext {
    pub(crate) caller: Caller,
    pub(crate) state: CallerState,
    pub(crate) behavior: HubBehavior,
    pub(crate) services: Arc<HubServices>,
}

impl HubContext {
    /// Whose moment it is.
    #[must_use]
    pub fn caller(&self) -> &Caller {
        &self.caller
    }

    /// The client's state. It is empty unless the client calls: nothing of it comes with other moments.
    #[must_use]
    pub fn state(&self) -> &CallerState {
        &self.state
    }

    /// Everybody whom the hub can talk to.
    #[must_use]
    pub fn clients(&self) -> Clients {
        Clients::of_moment(self)
    }

    /// The groups of the hub.
    #[must_use]
    pub fn groups(&self) -> Groups {
        Groups::new(&self.services, self.caller.hub(), Some(self.caller.id()))
    }

    /// The users of the hub and their durable groups.
    #[must_use]
    pub fn users(&self) -> Users {
        Users::new(&self.services, self.caller.hub())
    }
}

impl std::fmt::Debug for HubContext {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Moment").field("caller", &self.caller).finish_non_exhaustive()
    }
}
