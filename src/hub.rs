//! The application's side: methods that clients call, and hooks for the moments of a connection's life.
//!
//! Role: finds the method, binds its arguments, runs it. A hub is made of plain async functions whose
//! argument types say what they need ([`extract`]), or is an actor of the application ([`Hub::actor`]).
//! Life: made before the engine, shared by all connections. Neighbours: connections call in, methods call
//! out through [`Clients`], [`Groups`] and [`Users`].
//! Never: nothing in here knows which generation of clients it serves.

use std::{
    any::TypeId,
    collections::{BTreeMap, HashMap},
    future::Future,
    sync::Arc,
};

use actix::{Actor, Addr, Handler, dev::ToEnvelope};
use futures_util::future::{FutureExt, LocalBoxFuture};
use serde::Serialize;
use serde_json::value::to_raw_value;

use crate::{ids::HubName, message::Json};

pub(crate) mod bind;
mod call;
mod clients;
mod error;
pub mod extract;
mod groups;
mod keyed_mutex;
mod methods;
pub(crate) mod services;

pub use call::{
    Arguments, Call, Caller, CallerState, Connected, Disconnected, HubBehavior, HubContext, Identity, Reconnected,
    Request,
};
pub(crate) use call::{Reporter, Streams};
pub use clients::{Clients, Target};
pub use error::{CallError, HubError, SendError, UsersError};
pub use extract::{Args, FromCall, Progress, State};
pub use groups::{Added, DurableChange, Groups, Removed, Users};
pub(crate) use keyed_mutex::KeyedMutex;
pub use methods::Method;

type HubFuture<T> = LocalBoxFuture<'static, T>;
type MethodFn = Arc<dyn Fn(Call, &extract::States) -> HubFuture<Result<Json, CallError>> + Send + Sync>;
type Hook<M, T> = Arc<dyn Fn(M) -> HubFuture<T> + Send + Sync>;
type Authorize = Arc<dyn Fn(&Identity) -> bool + Send + Sync>;

#[derive(Clone)]
struct Entry {
    run: MethodFn,
    count: Option<usize>,
    guard: Option<Authorize>,
    is_listed: bool,
}

/// Methods that clients call, under one name.
///
/// ```
/// use hubcast::{Args, Clients, Hub, HubError};
///
/// async fn shout(clients: Clients, Args((text,)): Args<(String,)>) -> Result<(), HubError> {
///     clients.all().send("heard", (text.to_uppercase(),)).await?;
///     Ok(())
/// }
///
/// let hub = Hub::new("chat").method("Shout", shout);
/// ```
#[derive(Clone)]
pub struct Hub {
    name: HubName,
    methods: BTreeMap<String, (String, Entry)>,
    otherwise: Option<MethodFn>,
    states: extract::States,
    connected: Option<Hook<Connected, Result<(), HubError>>>,
    reconnected: Option<Hook<Reconnected, Result<(), HubError>>>,
    disconnected: Option<Hook<Disconnected, ()>>,
}

impl std::fmt::Debug for Hub {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hub").field("name", &self.name).field("methods", &self.method_names()).finish_non_exhaustive()
    }
}

impl Hub {
    /// A hub without methods. Classic clients ask for it by `name`, without regard to case.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self {
            name: name.into(),
            methods: BTreeMap::new(),
            otherwise: None,
            states: HashMap::new(),
            connected: None,
            reconnected: None,
            disconnected: None,
        }
    }

    /// A hub that is an actor: each call and each moment is a message to it.
    pub fn actor<A>(name: &str, actor: &Addr<A>) -> Self
    where
        A: Actor + Handler<Call> + Handler<Connected> + Handler<Disconnected>,
        A::Context: ToEnvelope<A, Call> + ToEnvelope<A, Connected> + ToEnvelope<A, Disconnected>,
    {
        let (calls, connects, disconnects) =
            (actor.clone().recipient::<Call>(), actor.clone().recipient::<Connected>(), actor.clone().recipient());
        let mut hub = Self::new(name);
        hub.otherwise = Some(Arc::new(move |call, _| {
            let answer = calls.send(call);
            async move { answer.await.unwrap_or_else(|_| Err(CallError::Failed(gone()))) }.boxed_local()
        }));
        hub.on_connected(move |connected| {
            let answer = connects.send(connected);
            async move { answer.await.unwrap_or_else(|_| Err(gone())) }
        })
        .on_disconnected(move |disconnected: Disconnected| {
            let answer = disconnects.send(disconnected);
            async move {
                // A hub that has gone does not care who else has.
                let _ = answer.await;
            }
        })
    }

    /// Adds a method; clients find it by `name` without regard to case. A later one of the same name
    /// replaces it.
    #[must_use]
    pub fn method<M: Method<E>, E: 'static>(self, name: &str, method: M) -> Self {
        self.insert(name, method, None)
    }

    /// Adds a method for those whom `guard` lets pass; others are told that they are not authorized.
    #[must_use]
    pub fn guarded_method<M: Method<E>, E: 'static>(
        self,
        name: &str,
        guard: impl Fn(&Identity) -> bool + Send + Sync + 'static,
        method: M,
    ) -> Self {
        self.insert(name, method, Some(Arc::new(guard)))
    }

    fn insert<M: Method<E>, E: 'static>(mut self, name: &str, method: M, guard: Option<Authorize>) -> Self {
        let run: MethodFn = Arc::new(move |call, states| method.call(call, states));
        let entry = Entry { run, count: Some(M::COUNT), guard, is_listed: true };
        self.methods.insert(name.to_lowercase(), (name.to_owned(), entry));
        self
    }

    /// Leaves methods out of the proxies that are generated for classic clients; they can be called all
    /// the same. Unknown names are ignored.
    #[must_use]
    pub fn unlisted(mut self, names: &[&str]) -> Self {
        for name in names {
            if let Some((_, entry)) = self.methods.get_mut(&name.to_lowercase()) {
                entry.is_listed = false;
            }
        }
        self
    }

    /// Gives methods a value to take as [`State<T>`]; one for each type.
    #[must_use]
    pub fn state<T: Send + Sync + 'static>(mut self, value: T) -> Self {
        self.states.insert(TypeId::of::<T>(), Arc::new(value));
        self
    }

    /// What happens when a connection has begun, and is in its durable groups: its client is told that it
    /// is connected when this is done. An error ends the connection.
    #[must_use]
    pub fn on_connected<F, R>(mut self, hook: F) -> Self
    where
        F: Fn(Connected) -> R + Send + Sync + 'static,
        R: Future<Output = Result<(), HubError>> + 'static,
    {
        self.connected = Some(Arc::new(move |connected| hook(connected).boxed_local()));
        self
    }

    /// What happens when a classic connection goes on over a new channel.
    #[must_use]
    pub fn on_reconnected<F, R>(mut self, hook: F) -> Self
    where
        F: Fn(Reconnected) -> R + Send + Sync + 'static,
        R: Future<Output = Result<(), HubError>> + 'static,
    {
        self.reconnected = Some(Arc::new(move |reconnected| hook(reconnected).boxed_local()));
        self
    }

    /// What happens when a connection has ended; exactly once for each that was connected.
    #[must_use]
    pub fn on_disconnected<F, R>(mut self, hook: F) -> Self
    where
        F: Fn(Disconnected) -> R + Send + Sync + 'static,
        R: Future<Output = ()> + 'static,
    {
        self.disconnected = Some(Arc::new(move |disconnected| hook(disconnected).boxed_local()));
        self
    }

    /// The hub's name.
    #[must_use]
    pub fn name(&self) -> &HubName {
        &self.name
    }

    /// The names of its methods as they were registered, sorted without regard to case.
    #[must_use]
    pub fn method_names(&self) -> Vec<&str> {
        self.methods.values().map(|(name, _)| &**name).collect()
    }

    /// The names that generated proxies show, as they were registered, sorted without regard to case.
    pub(crate) fn listed_methods(&self) -> impl Iterator<Item = &str> {
        self.methods.values().filter(|(_, entry)| entry.is_listed).map(|(name, _)| &**name)
    }

    /// A method's name as it was registered, however a client spells it.
    pub(crate) fn registered(&self, method: &str) -> Option<&str> {
        self.methods.get(&method.to_lowercase()).map(|(name, _)| &**name)
    }

    /// Runs the method that a client calls.
    pub(crate) fn invoke(&self, call: Call) -> HubFuture<Result<Json, CallError>> {
        match self.admit(&call) {
            Ok(run) => run(call, &self.states),
            Err(error) => async { Err(error) }.boxed_local(),
        }
    }

    /// Finds the method, and refuses a call that has the wrong number of arguments or no right to it.
    fn admit(&self, call: &Call) -> Result<&MethodFn, CallError> {
        let Some((name, entry)) = self.methods.get(&call.method.to_lowercase()) else {
            return self.otherwise.as_ref().ok_or(CallError::NoSuchMethod);
        };
        let given = call.arguments.len();
        if let Some(expected) = entry.count.filter(|expected| *expected != given) {
            return Err(CallError::WrongArgumentCount { method: name.as_str().into(), given, expected });
        }
        if entry.guard.as_ref().is_some_and(|guard| !guard(call.context.caller().identity())) {
            return Err(CallError::Unauthorized);
        }
        refuse_streams(call.streams).map(|()| &entry.run)
    }

    pub(crate) fn connected(&self, context: HubContext) -> HubFuture<Result<(), HubError>> {
        match &self.connected {
            Some(hook) => hook(Connected(context)),
            None => async { Ok(()) }.boxed_local(),
        }
    }

    pub(crate) fn reconnected(&self, reconnected: Reconnected) -> HubFuture<Result<(), HubError>> {
        match &self.reconnected {
            Some(hook) => hook(reconnected),
            None => async { Ok(()) }.boxed_local(),
        }
    }

    pub(crate) fn disconnected(&self, disconnected: Disconnected) -> HubFuture<()> {
        match &self.disconnected {
            Some(hook) => hook(disconnected),
            None => async {}.boxed_local(),
        }
    }
}

/// Wire: the text is the original's.
fn refuse_streams(streams: Streams) -> Result<(), CallError> {
    match streams {
        Streams { wants_answer: true, .. } => Err(CallError::NoStream),
        Streams { sent: 0, .. } => Ok(()),
        Streams { sent, .. } => {
            let text = format!("Client sent {sent} stream(s), Hub method expects 0.");
            Err(CallError::Failed(HubError::new(text)))
        }
    }
}

fn gone() -> HubError {
    HubError::hidden("InvalidOperationException", "the hub's actor has gone")
}

/// What a hub method can answer.
pub trait IntoHubResult {
    /// The answer as JSON; null for `()`.
    ///
    /// # Errors
    /// The method's own failure, or that its answer cannot be JSON.
    fn into_answer(self) -> Result<Json, CallError>;
}

impl<T: Serialize> IntoHubResult for Result<T, HubError> {
    fn into_answer(self) -> Result<Json, CallError> {
        let value = self.map_err(CallError::Failed)?;
        to_raw_value(&value).map_err(|error| CallError::UnserializableResult(error.to_string()))
    }
}

#[cfg(test)]
pub(crate) mod tests;
