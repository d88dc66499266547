//! Hubs of the application: hub methods that clients invoke, and lifecycle hooks of their connections.
//!
//! For each invocation this module finds the hub method, authorizes the caller, binds the arguments and runs the
//! method. A hub consists of plain async functions whose parameter types are extractors ([`extract`]), or it is an
//! actor of the application ([`Hub::actor`]). Hubs are built before the engine and are shared by all connections.
//! Connections invoke hub methods, and hub methods reach connections through [`Clients`], [`Groups`] and [`Users`].
//!
//! Code in this module must not depend on which generation of SignalR a client uses. The dialects pass the
//! differences in as `HubBehavior`.

use std::{collections::BTreeMap, future::Future, sync::Arc};

use actix::{Actor, Addr, Handler, dev::ToEnvelope};
use futures_util::future::{FutureExt, LocalBoxFuture};

use crate::ids::{HubName, check_method};

pub(crate) mod bind;
mod call;
mod clients;
#[cfg(any(test, feature = "testkit"))]
pub(crate) mod decoder_checks;
mod error;
pub mod extract;
pub mod filters;
mod groups;
mod keyed_mutex;
mod methods;
pub(crate) mod presence;
pub(crate) mod reconciler;
mod request;
mod requester;
mod scope;
pub(crate) mod services;
mod states;
mod streams;
mod uploads;
mod users;

pub use crate::router::InvokeError;
pub(crate) use call::HubBehavior;
pub use call::{Arguments, Call, Caller, CallerState, Connected, Disconnected, HubContext, Reconnected};
pub(crate) use call::{Reporter, Streams};
pub(crate) use clients::{CallSlot, ResultScope};
pub use clients::{Clients, Target};
pub use error::{CallError, HubError, SendError, UsersError};
pub use extract::{Args, FromCall, Progress, State};
use filters::{Chain, Registration};
pub use groups::{Added, Groups, Removed};
pub use methods::{Method, MethodFuture, Parameters};
use presence::PresenceHandler;
pub use presence::{GroupPresence, MAX_PRESENCE_PAGE, MemberPresence, PresenceChange, PresenceEvent};
pub use reconciler::Reconciled;
pub use request::{Identity, Request};
pub(crate) use requester::Requester;
pub use states::{StateType, States};
pub use streams::{HubResult, HubStream, IntoHubResult};
pub(crate) use streams::{ItemStream, until_error};
pub use uploads::UploadStream;
pub(crate) use uploads::{UploadCapacity, UploadReceiver, UploadSender, Uploads, upload};
pub use users::{
    DurableChange, Users,
    bulk::{BulkOutcome, MAX_BULK_CHANGES, TooManyChanges},
};

type HubFuture<T> = LocalBoxFuture<'static, T>;
type MethodFn = Arc<dyn Fn(Call, &States) -> HubFuture<Result<HubResult, CallError>> + Send + Sync>;
type Hook<M, T> = Arc<dyn Fn(M) -> HubFuture<T> + Send + Sync>;
/// Decides whether an identity may use a hub method or an endpoint.
pub(crate) type Authorize = Arc<dyn Fn(&Identity) -> bool + Send + Sync>;

#[derive(Clone)]
struct Entry {
    run: MethodFn,
    check_arguments: fn(&Call) -> Result<(), CallError>,
    argument_count: Option<usize>,
    authorize: Option<Authorize>,
    is_listed: bool,
    required_states: Vec<StateType>,
    /// The number of streams that the client sends along.
    stream_count: usize,
    returns_stream: bool,
}

/// Hub methods that clients invoke and lifecycle hooks, under one name.
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
    /// The key is the name in lowercase; the value holds the name as it was registered.
    methods: BTreeMap<String, (String, Entry)>,
    /// Runs invocations of methods that are not registered.
    fallback: Option<MethodFn>,
    states: States,
    /// Names of methods that replaced an earlier one.
    duplicate_methods: Vec<String>,
    connected: Option<Hook<Connected, Result<(), HubError>>>,
    reconnected: Option<Hook<Reconnected, Result<(), HubError>>>,
    disconnected: Option<Hook<Disconnected, ()>>,
    presence: Option<PresenceHandler>,
    filters: Vec<Registration>,
    /// The filters of the engine and of the hub. The engine sets it. `None` if there are none.
    chain: Option<Arc<Chain>>,
}

impl std::fmt::Debug for Hub {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hub").field("name", &self.name).field("methods", &self.method_names()).finish_non_exhaustive()
    }
}

impl Hub {
    /// Creates a hub without methods. Classic clients request it by `name`, compared case-insensitively.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self {
            name: name.into(),
            methods: BTreeMap::new(),
            fallback: None,
            states: States::default(),
            duplicate_methods: Vec::new(),
            connected: None,
            reconnected: None,
            disconnected: None,
            presence: None,
            filters: Vec::new(),
            chain: None,
        }
    }

    /// Creates a hub that is an actor. It receives every invocation and every lifecycle event as a message.
    pub fn actor<A>(name: &str, actor: &Addr<A>) -> Self
    where
        A: Actor + Handler<Call> + Handler<Connected> + Handler<Disconnected>,
        A::Context: ToEnvelope<A, Call> + ToEnvelope<A, Connected> + ToEnvelope<A, Disconnected>,
    {
        let (calls, connects, disconnects) =
            (actor.clone().recipient::<Call>(), actor.clone().recipient::<Connected>(), actor.clone().recipient());
        let mut hub = Self::new(name);
        hub.fallback = Some(Arc::new(move |call, _| {
            let result = calls.send(call);
            async move {
                let result = result.await.unwrap_or_else(|_| Err(CallError::Failed(actor_stopped())));
                result.map(HubResult::from)
            }
            .boxed_local()
        }));
        hub.on_connected(move |connected| {
            let result = connects.send(connected);
            async move { result.await.unwrap_or_else(|_| Err(actor_stopped())) }
        })
        .on_disconnected(move |disconnected: Disconnected| {
            let handled = disconnects.send(disconnected);
            async move {
                // An actor that has stopped needs no notification.
                let _ = handled.await;
            }
        })
    }

    /// Adds a hub method: an async function or closure whose parameters are extractors ([`extract`]). Clients invoke it by
    /// `name`, compared case-insensitively. [`EngineBuilder::build`](crate::EngineBuilder::build) refuses a hub
    /// with two methods of the same name, or without a `State<T>` that a method takes.
    ///
    /// `docs/hub-methods.md` lists the rules of hub methods. The compiler names the rule that a function violates.
    #[must_use]
    pub fn method<M, ParameterTypes>(self, name: &str, method: M) -> Self
    where
        M: Method<ParameterTypes> + Send + Sync + 'static,
        ParameterTypes: Parameters, // a closure states the types of its parameters
        M::Returned: MethodFuture,
        <M::Returned as MethodFuture>::Returned: IntoHubResult,
    {
        self.insert(name, method, None)
    }

    /// Adds a hub method for callers that `authorize` accepts. Invocations of other callers fail with
    /// [`CallError::Unauthorized`].
    #[must_use]
    pub fn authorized_method<M, ParameterTypes>(
        self,
        name: &str,
        authorize: impl Fn(&Identity) -> bool + Send + Sync + 'static,
        method: M,
    ) -> Self
    where
        M: Method<ParameterTypes> + Send + Sync + 'static,
        ParameterTypes: Parameters, // a closure states the types of its parameters
        M::Returned: MethodFuture,
        <M::Returned as MethodFuture>::Returned: IntoHubResult,
    {
        self.insert(name, method, Some(Arc::new(authorize)))
    }

    fn insert<M, P>(mut self, name: &str, method: M, authorize: Option<Authorize>) -> Self
    where
        M: Method<P> + Send + Sync + 'static,
        P: Parameters,
        M::Returned: MethodFuture,
        <M::Returned as MethodFuture>::Returned: IntoHubResult,
    {
        let run: MethodFn = Arc::new(move |call, states| match P::from_call(&call, states) {
            Ok(parameters) => {
                let format = call.arguments.format();
                method.call(parameters).map(move |result| result.into_hub_result(format)).boxed_local()
            }
            Err(error) => async { Err(error) }.boxed_local(),
        });
        let entry = Entry {
            run,
            check_arguments: P::check_arguments,
            argument_count: Some(P::ARGUMENT_COUNT),
            authorize,
            is_listed: true,
            required_states: P::required_states(),
            stream_count: P::STREAM_COUNT,
            returns_stream: <<M::Returned as MethodFuture>::Returned as IntoHubResult>::IS_STREAM,
        };
        if self.methods.insert(name.to_lowercase(), (name.to_owned(), entry)).is_some() {
            self.duplicate_methods.push(name.to_owned());
        }
        self
    }

    /// Omits methods from the JavaScript proxies that are generated for classic clients. The methods can still be
    /// invoked. Unknown names are ignored.
    #[must_use]
    pub fn unlisted(mut self, names: &[&str]) -> Self {
        for name in names {
            if let Some((_, entry)) = self.methods.get_mut(&name.to_lowercase()) {
                entry.is_listed = false;
            }
        }
        self
    }

    /// Adds a value that hub methods can take as [`State<T>`]. There is one value for each type.
    #[must_use]
    pub fn state<T: Send + Sync + 'static>(mut self, value: T) -> Self {
        self.states.insert(value);
        self
    }

    /// Sets the hook that runs when a connection has started and has joined its durable groups (OnConnected). The
    /// client is notified that it is connected after the hook has returned. An error ends the connection.
    ///
    /// As in ASP.NET Core SignalR, the hook also runs for a client that disconnects before it starts. Then
    /// [`Caller::ended`](crate::Caller::ended) is complete, the connection joins no groups, and OnDisconnected follows.
    #[must_use]
    pub fn on_connected<F, R>(mut self, hook: F) -> Self
    where
        F: Fn(Connected) -> R + Send + Sync + 'static,
        R: Future<Output = Result<(), HubError>> + 'static,
    {
        self.connected = Some(Arc::new(move |connected| hook(connected).boxed_local()));
        self
    }

    /// Sets the hook that runs when a classic connection continues over a new channel (OnReconnected).
    #[must_use]
    pub fn on_reconnected<F, R>(mut self, hook: F) -> Self
    where
        F: Fn(Reconnected) -> R + Send + Sync + 'static,
        R: Future<Output = Result<(), HubError>> + 'static,
    {
        self.reconnected = Some(Arc::new(move |reconnected| hook(reconnected).boxed_local()));
        self
    }

    /// Sets the hook that runs when a connection has ended (OnDisconnected). It runs exactly once for each connection
    /// that was connected.
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

    /// The names of the hub's methods as they were registered, sorted case-insensitively.
    #[must_use]
    pub fn method_names(&self) -> Vec<&str> {
        self.methods.values().map(|(name, _)| &**name).collect()
    }

    /// The names of the methods in generated proxies as they were registered, sorted case-insensitively.
    pub(crate) fn listed_methods(&self) -> impl Iterator<Item = &str> {
        self.methods.values().filter(|(_, entry)| entry.is_listed).map(|(name, _)| &**name)
    }

    /// The registered name of a method, found case-insensitively.
    pub(crate) fn registered_name(&self, method: &str) -> Option<&str> {
        self.methods.get(&method.to_lowercase()).map(|(name, _)| &**name)
    }

    /// Runs the hub method that a client invokes.
    pub(crate) fn invoke(&self, call: Call) -> HubFuture<Result<HubResult, CallError>> {
        match self.find_method(&call) {
            Ok(run) => run(call, &self.states),
            Err(error) => async { Err(error) }.boxed_local(),
        }
    }

    /// Finds the method. Fails if the number of arguments or streams is wrong, the caller is not authorized, or the
    /// method returns a stream where the client expects none, or the other way round.
    pub(crate) fn find_method(&self, call: &Call) -> Result<&MethodFn, CallError> {
        // The methods of a hub that is an actor have names too.
        check_method(&call.method).map_err(|_| CallError::NoSuchMethod)?;
        let Some((name, entry)) = self.methods.get(&call.method.to_lowercase()) else {
            let fallback = self.fallback.as_ref().ok_or(CallError::NoSuchMethod)?;
            return check_streams(call.streams, 0, false).map(|()| fallback);
        };
        if let Some(fault) = call.arguments.fault() {
            return Err(CallError::MalformedArguments(fault.into()));
        }
        let given = call.arguments.len();
        if let Some(expected) = entry.argument_count.filter(|expected| *expected != given) {
            return Err(CallError::WrongArgumentCount { method: name.as_str().into(), given, expected });
        }
        // Wire: the arguments are bound before these checks, so their error comes first. A method that runs binds them.
        let refusal = |error| (entry.check_arguments)(call).err().unwrap_or(error);
        if entry.authorize.as_ref().is_some_and(|authorize| !authorize(call.context.caller().identity())) {
            return Err(refusal(CallError::Unauthorized));
        }
        check_streams(call.streams, entry.stream_count, entry.returns_stream).map_err(refusal)?;
        Ok(&entry.run)
    }
}

/// Wire: the text is that of ASP.NET Core SignalR.
fn check_streams(streams: Streams, expected: usize, returns_stream: bool) -> Result<(), CallError> {
    match streams {
        Streams { wants_stream: true, .. } if !returns_stream => Err(CallError::NoStream),
        Streams { wants_stream: false, .. } if returns_stream => Err(CallError::StreamRequired),
        Streams { sent, .. } if sent == expected => Ok(()),
        Streams { sent, .. } => {
            let text = format!("Client sent {sent} stream(s), Hub method expects {expected}.");
            Err(CallError::Failed(HubError::new(text)))
        }
    }
}

fn actor_stopped() -> HubError {
    HubError::hidden("InvalidOperationException", "the hub's actor has stopped")
}

#[cfg(test)]
pub(crate) mod tests;
