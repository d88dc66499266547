//! Filters: code of the application that runs before and after the events of a hub.
//!
//! A filter is a type that implements [`HubFilter`], a closure ([`on`]), or an actor of the application
//! ([`actor`], [`supervised`]). [`EngineBuilder::filter`](crate::EngineBuilder::filter) adds one for all hubs,
//! [`Hub::filter`](crate::Hub::filter) for one hub. `docs/hub-filters.md` describes the events.
//!
//! The filters of a hub are its chain. The hub runs it at its events; the pipeline runs it for clients that rejoin their
//! groups. A chain is shared and immutable. The modes and figures of its filters are atomic numbers that the engine owns,
//! so a restart of an actor loses neither.

use std::{
    future::{Future, ready},
    time::Duration,
};

use super::HubError;

mod actor;
mod chain;
mod erased;
mod events;
mod handle;
mod invocation;
mod kinds;
mod lifecycle;

pub use actor::{actor, supervised};
pub(crate) use chain::{Chain, Filter, Stopped};
pub use erased::{FilterEvent, on};
pub use events::{
    AfterConnect, AfterDisconnect, AfterInvoke, AfterReconnect, AfterSend, AuthorizeConnect, BeforeConnect,
    BeforeDisconnect, BeforeInvoke, BeforeReconnect, BeforeSend, IncomingError, RejoiningGroups, Sender,
};
pub use handle::{EventFigures, FilterHandle};
pub(crate) use invocation::invocation_events;
pub use kinds::{EventKind, Events};
pub(crate) use lifecycle::{Registration, create_chains};

pub use crate::router::Recipients;

/// The default time budget of a filter for one event. People notice a delay of a second, and a chain of ten filters
/// that use all of it stays within the 15 s that clients wait for a handshake.
const DEFAULT_BUDGET: Duration = Duration::from_secs(1);

/// What a filter returns: the event, which it may have changed, or an error. `()` if it only observes the event; then a
/// refusal counts as a failure.
pub type Decision<E> = Result<E, FilterError>;

/// Runs before and after the events of a hub.
///
/// Each event has a method, whose default continues. Filters run in the order in which they were added, those of the
/// engine before those of a hub. After an event, they run in the opposite order. A method that returns the
/// event can change or refuse it. The others only observe. The client waits for the filter, at most for its
/// time budget ([`FilterOptions::budget`]).
///
/// ```
/// use hubcast::{HubError, filters::{BeforeInvoke, Decision, EventKind, Events, FilterError, HubFilter}};
///
/// struct MembersOnly;
///
/// impl HubFilter for MembersOnly {
///     fn events(&self) -> Events {
///         EventKind::BeforeInvoke.into()
///     }
///
///     async fn before_invoke(&self, event: BeforeInvoke) -> Decision<BeforeInvoke> {
///         match event.context.caller().user() {
///             Some(_) => Ok(event),
///             None => Err(FilterError::refuse("Sign in first.")),
///         }
///     }
/// }
/// ```
pub trait HubFilter: Send + Sync + 'static {
    /// The events that the filter handles. The methods of other events are never called. It is read once.
    fn events(&self) -> Events;

    /// A client asks for a connection to a hub. ASP.NET Core SignalR: when it negotiates and when it opens its first
    /// transport. SignalR 2.x: at each request that names its hubs. A client that is refused gets 401, or 403 if it is
    /// authenticated; a classic client only if all of its hubs refuse it. A failure is answered with 503.
    fn authorize_connect(&self, event: AuthorizeConnect) -> impl Future<Output = Decision<AuthorizeConnect>> + Send {
        ready(Ok(event))
    }

    /// Before OnConnected. A refusal refuses the client with its text, as an error of OnConnected does.
    fn before_connect(&self, event: BeforeConnect) -> impl Future<Output = Decision<BeforeConnect>> + Send {
        ready(Ok(event))
    }

    /// After OnConnected has succeeded, before the client is told that it is connected.
    fn after_connect(&self, event: AfterConnect) -> impl Future<Output = Decision<()>> + Send {
        let _ = event;
        ready(Ok(()))
    }

    /// Before OnReconnected of a classic client. Also before a client of ASP.NET Core SignalR connects with a rejoin
    /// token that is accepted; then the events of the connect follow. A refusal refuses the client.
    fn before_reconnect(&self, event: BeforeReconnect) -> impl Future<Output = Decision<BeforeReconnect>> + Send {
        ready(Ok(event))
    }

    /// After the reconnect has succeeded.
    fn after_reconnect(&self, event: AfterReconnect) -> impl Future<Output = Decision<()>> + Send {
        let _ = event;
        ready(Ok(()))
    }

    /// Before OnDisconnected. It can be neither refused nor prevented.
    fn before_disconnect(&self, event: BeforeDisconnect) -> impl Future<Output = Decision<()>> + Send {
        let _ = event;
        ready(Ok(()))
    }

    /// After OnDisconnected.
    fn after_disconnect(&self, event: AfterDisconnect) -> impl Future<Output = Decision<()>> + Send {
        let _ = event;
        ready(Ok(()))
    }

    /// Before a hub method runs. The method exists, the caller is authorized, and the number of arguments is right. The
    /// filter can change the arguments, set the result, and then the method does not run, or refuse the invocation
    /// with an error.
    fn before_invoke(&self, event: BeforeInvoke) -> impl Future<Output = Decision<BeforeInvoke>> + Send {
        ready(Ok(event))
    }

    /// After a hub method has succeeded, or after a later filter has set its result. The filter can change the result,
    /// or replace it by an error.
    fn after_invoke(&self, event: AfterInvoke) -> impl Future<Output = Decision<AfterInvoke>> + Send {
        ready(Ok(event))
    }

    /// After a hub method has failed or panicked, or after a later filter has refused the invocation. The filter can
    /// change the error, or set a result instead of it.
    fn incoming_error(&self, event: IncomingError) -> impl Future<Output = Decision<IncomingError>> + Send {
        ready(Ok(event))
    }

    /// Before an invocation is sent to clients. The filter can change its recipients and arguments, or refuse it: the
    /// sender gets [`SendError::Refused`](super::SendError::Refused). An empty list of recipients drops it silently.
    fn before_send(&self, event: BeforeSend) -> impl Future<Output = Decision<BeforeSend>> + Send {
        ready(Ok(event))
    }

    /// After an invocation is in the outboxes of its recipients, and before the result of an invoked client is awaited.
    fn after_send(&self, event: AfterSend) -> impl Future<Output = Decision<()>> + Send {
        let _ = event;
        ready(Ok(()))
    }

    /// A client that reconnects is about to rejoin its groups. It is called once for each hub at each reconnect, even
    /// if the list is empty. The filter can change the list. With a refusal the client rejoins no group of the hub. A
    /// connection that is new to this process joins the durable groups of its user in any case. If the filter fails,
    /// the client is treated as if the store had not answered ([`OnStoreFailure`](crate::OnStoreFailure)).
    fn rejoining_groups(&self, event: RejoiningGroups) -> impl Future<Output = Decision<RejoiningGroups>> + Send {
        ready(Ok(event))
    }
}

/// Why a filter stops an event.
///
/// `?` turns any other error into a failure. A refusal is deliberate.
#[derive(Clone, Debug)]
pub enum FilterError {
    /// The filter refuses the event. Its cause receives the error.
    Refused(HubError),
    /// The filter cannot decide. Its [`ErrorPolicy`] applies. The error goes to the log.
    Failed(HubError),
}

impl FilterError {
    /// A refusal with a text for the client.
    pub fn refuse(text: impl Into<String>) -> Self {
        Self::Refused(HubError::new(text))
    }
}

impl<E: std::error::Error + 'static> From<E> for FilterError {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

/// What happens to an event if a filter fails: it returns [`FilterError::Failed`], panics, exceeds its time budget, or
/// its actor does not answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ErrorPolicy {
    /// The event is refused with a general error. A filter that protects something never lets an event pass unseen.
    #[default]
    FailClosed,
    /// The event continues as if the filter were absent, and is counted.
    Bypass,
}

impl ErrorPolicy {
    /// The name: `failClosed` or `bypass`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::FailClosed => "failClosed",
            Self::Bypass => "bypass",
        }
    }
}

/// Whether a filter runs, and whether its decisions count. It can be changed while the engine runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum FilterMode {
    /// The filter runs and decides.
    #[default]
    Enabled,
    /// The filter does not run.
    Disabled,
    /// The filter runs on a copy of the event. Its decisions are ignored, and those that would have changed or stopped
    /// the event are counted. The event waits for it, so that its durations are those that it has when it is enabled.
    Shadow,
}

impl FilterMode {
    /// All modes.
    pub const ALL: [Self; 3] = [Self::Enabled, Self::Disabled, Self::Shadow];

    /// The name: `enabled`, `disabled` or `shadow`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Enabled => "enabled",
            Self::Disabled => "disabled",
            Self::Shadow => "shadow",
        }
    }
}

/// The options of a filter.
#[derive(Clone, Copy, Debug)]
pub struct FilterOptions {
    /// The maximum time that an event waits for the filter. Default 1 s: people notice a delay of a second, and a chain
    /// of ten such filters stays within the time that clients wait for a handshake.
    pub budget: Duration,
    /// What happens if the filter fails. Default: the event is refused.
    pub policy: ErrorPolicy,
    /// The mode at the start. Default: enabled.
    pub mode: FilterMode,
}

impl Default for FilterOptions {
    fn default() -> Self {
        Self { budget: DEFAULT_BUDGET, policy: ErrorPolicy::default(), mode: FilterMode::default() }
    }
}
