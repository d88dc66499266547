//! The faults of the hubs, endpoints and settings of an engine.

use std::{fmt, time::Duration};

use super::checks::MIN_MESSAGE_LIMIT;
use crate::{ids::MAX_NODE_NAME_LENGTH, web::InvalidBasePath};

/// Why an engine cannot be built: all faults of its hubs, endpoints and settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildError(Vec<BuildFault>);

impl BuildError {
    /// All faults, at least one.
    #[must_use]
    pub fn faults(&self) -> &[BuildFault] {
        &self.0
    }

    /// An error with these faults and one more.
    pub(super) fn with(mut faults: Vec<BuildFault>, last: BuildFault) -> Self {
        faults.push(last);
        Self(faults)
    }

    /// An error with these faults, unless there are none.
    pub(super) fn unless_empty(faults: Vec<BuildFault>) -> Result<(), Self> {
        if faults.is_empty() { Ok(()) } else { Err(Self(faults)) }
    }
}

impl std::error::Error for BuildError {}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let [fault] = &*self.0 {
            return write!(f, "{fault}");
        }
        write!(f, "the engine has {} faults:", self.0.len())?;
        self.0.iter().try_for_each(|fault| write!(f, "\n  {fault}"))
    }
}

/// One reason why an engine cannot be built.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BuildFault {
    /// The engine has no hub.
    #[error("the engine has no hub; add one with `EngineBuilder::hub`")]
    NoHubs,
    /// Two hubs have the same name; clients do not distinguish case.
    #[error("two hubs are named `{0}`, ignoring case")]
    DuplicateHub(String),
    /// The name of a hub is empty.
    #[error("a hub has an empty name")]
    EmptyHubName,
    /// The name of a hub contains a dot. Classic groups are named `hub.group`, so it would be ambiguous.
    #[error("the hub name `{0}` contains a dot, which separates hub and group in the names of classic groups")]
    HubNameContainsDot(String),
    /// The name of a hub has more than 128 characters, or that of a hub method more than 256. The text contains its
    /// beginning.
    #[error("the name `{0}…` is too long: that of a hub has at most 128 characters, that of a method 256")]
    NameTooLong(String),
    /// The name of a hub method is empty.
    #[error("the hub `{0}` has a method with an empty name")]
    EmptyMethodName(String),
    /// Two methods of a hub have the same name; clients do not distinguish case.
    #[error("the hub `{hub}` has two methods named `{method}`, ignoring case")]
    DuplicateMethod {
        /// The hub.
        hub: String,
        /// The name as it was registered last.
        method: String,
    },
    /// A hub method takes a state that its hub does not have.
    #[error(
        "the method `{method}` takes a `State<{state}>`, which the hub `{hub}` does not have; add it with `Hub::state`"
    )]
    MissingState {
        /// The hub.
        hub: String,
        /// The method.
        method: String,
        /// The type of the state.
        state: &'static str,
    },
    /// Two filters have the same name.
    #[error("two filters are named `{0}`; names of filters are unique in an engine")]
    DuplicateFilter(String),
    /// The name of a filter is empty or has more than 64 characters. The text contains its beginning.
    #[error("the name `{0}` of a filter must have 1 to 64 characters")]
    InvalidFilterName(String),
    /// The time budget of a filter is zero, or longer than 100 years.
    #[error("the time budget of the filter `{0}` must be longer than 0 s and at most 100 years")]
    InvalidFilterBudget(String),
    /// The name of the node is empty.
    #[error("the name of the node is empty")]
    EmptyNodeName,
    /// The name of the node has more than 255 bytes.
    #[error("the name of the node has {0} bytes; it has at most {MAX_NODE_NAME_LENGTH}")]
    NodeNameTooLong(usize),
    /// An endpoint serves a hub that was not added.
    #[error("the endpoint `{path}` serves the hub `{hub}`, which was not added to the engine")]
    UnknownHub {
        /// The path of the endpoint.
        path: String,
        /// The missing hub.
        hub: String,
    },
    /// The path of an endpoint cannot be served.
    #[error("the path `{path}` of an endpoint {reason}")]
    InvalidPath {
        /// The path.
        path: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Two endpoints have the same path; paths do not distinguish case.
    #[error("two endpoints have the path `{0}`, ignoring case")]
    DuplicatePath(String),
    /// Two endpoints with different paths serve the same requests, of which one endpoint receives none.
    #[error(
        "requests for `{request}` match two endpoints, `{path}` and `{other}`: an endpoint of ASP.NET Core SignalR also \
         serves `/negotiate` below its path, a classic endpoint everything below its path, and each of them with and \
         without the base path"
    )]
    OverlappingPaths {
        /// The path of such a request, in lowercase.
        request: String,
        /// The path of one endpoint.
        path: String,
        /// The path of the other endpoint.
        other: String,
    },
    /// The base path is not a path prefix.
    #[error("base_path: {0}")]
    InvalidBasePath(#[from] InvalidBasePath),
    /// A duration is zero, but must not be.
    #[error("`{0}` must be longer than 0 s")]
    ZeroDuration(&'static str),
    /// A duration is too long.
    #[error("`{0}` must be at most 100 years")]
    DurationTooLong(&'static str),
    /// A rejoin policy names a hub that was not added. Policies use the registered case of the name.
    #[error("`rejoin.policies` names the hub `{0}`, which does not exist; the name must match in case")]
    UnknownPolicyHub(String),
    /// The message limit is too small for a handshake.
    #[error("`aspnetcore.max_message` must be at least {MIN_MESSAGE_LIMIT} bytes, so that a handshake fits")]
    MaxMessageTooSmall,
    /// The settings violate a rule of SignalR 2.x clients.
    #[error("invalid settings for classic clients: {0}")]
    InvalidClassicSettings(&'static str),
    /// The rejoin token of a classic client could expire before the client reconnects in time.
    #[error(
        "`rejoin.lifetime` must be at least {0:?}: a token is replaced after half of its lifetime, and the other half \
         must cover the longest disconnection of a classic client"
    )]
    RejoinLifetimeTooShort(Duration),
    /// No actix system runs on this thread.
    #[error(
        "no actix system is running on this thread; build the engine inside one, for example under `#[actix_web::main]`"
    )]
    NoActixSystem,
}
